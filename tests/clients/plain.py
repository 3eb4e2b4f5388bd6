"""The API by plain requests: what a test of a client needs beforehand or leaves behind, without starting it."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tests.clients.demo import DEADLINE_SECONDS, Demo

IMAGE = "projects/debian-cloud/global/images/family/debian-12"


class Plain:
    """Makes and deletes machines and disks of the demo's own project, and waits until that is done."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._zone = f"projects/{demo.project}/zones/{demo.zone}"

    def machine(self, name: str, **members: Any) -> None:
        """A small machine without an address outside, as `instances create --no-address` makes it."""
        kind = f"zones/{self._demo.zone}/machineTypes/small-instance"
        disks = [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": IMAGE}}]
        networks = [{"network": "global/networks/default"}]
        body = {"name": name, "machineType": kind, "disks": disks, "networkInterfaces": networks, **members}
        self._done("POST", f"{self._zone}/instances", body)

    def no_machine(self, *names: str) -> None:
        """Delete machines, with the disks that go with them."""
        for name in names:
            self._done("DELETE", f"{self._zone}/instances/{name}")

    def disk(self, *names: str, size_gib: int) -> None:
        """Disks that are empty."""
        for name in names:
            self._done("POST", f"{self._zone}/disks", {"name": name, "sizeGb": str(size_gib)})

    def no_disk(self, *names: str) -> None:
        """Delete disks that no machine has."""
        for name in names:
            self._done("DELETE", f"{self._zone}/disks/{name}")

    def _done(self, verb: str, path: str, body: Any = None) -> None:
        operation = self._call(verb, path, body)
        while operation["status"] != "DONE":
            operation = self._call("POST", f"{self._zone}/operations/{operation['name']}/wait")
        if "error" in operation:
            raise AssertionError(operation["error"])

    def _call(self, verb: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._demo.token}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else b"" if verb == "POST" else None
        request = urllib.request.Request(f"{self._demo.url}/compute/v1/{path}", data, headers, method=verb)
        with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as reply:
            return json.loads(reply.read())
