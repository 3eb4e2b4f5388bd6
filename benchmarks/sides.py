"""
The two sides that are compared: CloudStack called with libcloud alone, and the same through gceshim.

A worker does one thing after another on a connection of its own, as one client does. Both sides end with Python
objects: what came over the wire is parsed.
"""

from __future__ import annotations

import http.client
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from libcloud.compute.drivers.cloudstack import CloudStackNodeDriver

PAGE_SIZE = 500
JOB_POLL_SECONDS = 0.05
JOB_SECONDS = 60.0
ANSWER_SECONDS = 150.0
MADE = "bench-"
_PRESENT = {"state": "Present", "details": "nics,servoff"}


class Failed(Exception):
    """An answer that is not what was measured for."""


@dataclass(frozen=True)
class Place:
    """What both sides name in their calls: CloudStack's ids, and GCE's names for the same."""

    zone_id: str
    zone: str
    network_id: str
    network: str
    offering_id: str
    machine_type: str
    template_id: str
    image: str


class Worker(ABC):
    """One client of one side. Each method is one operation that is measured."""

    @abstractmethod
    def get(self, name: str) -> None:
        """One machine with its disks, by name."""

    @abstractmethod
    def list(self) -> None:
        """The next page of 500 machines of the zone, with their disks; after the last comes the first."""

    @abstractmethod
    def aggregated_list(self) -> None:
        """The same for all zones."""

    @abstractmethod
    def insert(self, name: str) -> None:
        """Make a machine and wait until it runs."""

    @abstractmethod
    def close(self) -> None:
        """Give back the connection."""


class DirectWorker(Worker):
    """libcloud's CloudStack driver with the calls that gceshim makes, one after the other."""

    def __init__(self, endpoint: str, keys: tuple[str, str], place: Place | None = None) -> None:
        url = urlsplit(endpoint)
        # As Any: libcloud has types for some of its functions only.
        driver: Any = CloudStackNodeDriver
        self._driver = driver(*keys, secure=False, host=url.hostname, port=url.port, path=url.path)
        self._place = place
        self._pages: dict[str, int] = {}

    def call(self, command: str, /, **params: object) -> dict[str, Any]:
        """Any command. libcloud signs it, sends it and parses the answer."""
        form = {name: str(value) for name, value in params.items()}
        reply: dict[str, Any] = self._driver._sync_request(command, params=form, method="GET")
        return reply

    @property
    def place(self) -> Place:
        if self._place is None:
            raise Failed("this worker is for commands only")
        return self._place

    def get(self, name: str) -> None:
        found = self.call("listVirtualMachines", name=name, zoneid=self.place.zone_id, **_PRESENT)
        machine = _only(found, "virtualmachine")
        volumes = self.call("listVolumes", virtualmachineid=machine["id"], page=1, pagesize=PAGE_SIZE)
        _only(volumes, "volume")

    def list(self) -> None:
        self._page("list", zoneid=self.place.zone_id)

    def aggregated_list(self) -> None:
        self._page("aggregated_list")

    def insert(self, name: str) -> None:
        place = self.place
        job = self.call(
            "deployVirtualMachine",
            name=name,
            zoneid=place.zone_id,
            serviceofferingid=place.offering_id,
            templateid=place.template_id,
            networkids=place.network_id,
        )["jobid"]
        until = time.monotonic() + JOB_SECONDS
        while time.monotonic() < until:
            time.sleep(JOB_POLL_SECONDS)
            reply = self.call("queryAsyncJobResult", jobid=job)
            if reply["jobstatus"] == 1:
                return
            if reply["jobstatus"] == 2:
                break
        raise Failed(f"{name} was not made")

    def close(self) -> None:
        self._driver.connection.connection.session.close()

    def _page(self, key: str, **where: str) -> None:
        page = self._pages.get(key, 0) + 1
        reply = self.call("listVirtualMachines", page=page, pagesize=PAGE_SIZE, **where, **_PRESENT)
        kind = {"type": "DATADISK"} if reply.get("count", 0) > PAGE_SIZE else {}
        self.call("listVolumes", page=1, pagesize=PAGE_SIZE, **kind, **where)
        if not reply.get("virtualmachine"):
            raise Failed(f"page {page} is empty")
        self._pages[key] = page if reply["count"] > page * PAGE_SIZE else 0


class ShimWorker(Worker):
    """A plain HTTP client of gceshim."""

    def __init__(self, facts: Mapping[str, Any], place: Place) -> None:
        self._connection = http.client.HTTPConnection(facts["host"], facts["port"], timeout=ANSWER_SECONDS)
        self._headers = {"Authorization": f"Bearer {facts['token']}", "Content-Type": "application/json"}
        self._place = place
        self._zone = f"/compute/v1/projects/default/zones/{place.zone}"
        self._tokens: dict[str, str] = {}

    def call(self, verb: str, path: str, body: object = None) -> dict[str, Any]:
        """Any request."""
        content = None if body is None else json.dumps(body)
        self._connection.request(verb, path, body=content, headers=self._headers)
        reply = self._connection.getresponse()
        answer: dict[str, Any] = json.loads(reply.read())
        if reply.status != 200:
            raise Failed(f"{verb} {path}: {reply.status}: {answer}")
        return answer

    def get(self, name: str) -> None:
        answer = self.call("GET", f"{self._zone}/instances/{name}")
        if answer["name"] != name or not answer["disks"]:
            raise Failed(f"{name}: another machine")

    def list(self) -> None:
        self._page("list", f"{self._zone}/instances")

    def aggregated_list(self) -> None:
        self._page("aggregated_list", "/compute/v1/projects/default/aggregated/instances")

    def insert(self, name: str) -> None:
        place = self._place
        body = {
            "name": name,
            "machineType": f"zones/{place.zone}/machineTypes/{place.machine_type}",
            "networkInterfaces": [{"network": f"global/networks/{place.network}"}],
            "disks": [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": place.image}}],
        }
        operation = self.call("POST", f"{self._zone}/instances", body)
        while operation["status"] != "DONE":
            operation = self.call("POST", f"{self._zone}/operations/{operation['name']}/wait")
        if "error" in operation:
            raise Failed(f"{name}: {operation['error']}")

    def close(self) -> None:
        self._connection.close()

    def _page(self, key: str, path: str) -> None:
        token = self._tokens.pop(key, "")
        query = f"?maxResults={PAGE_SIZE}" + (f"&pageToken={quote(token, safe='')}" if token else "")
        answer = self.call("GET", path + query)
        if not answer.get("items"):
            raise Failed("an empty page")
        if "nextPageToken" in answer:
            self._tokens[key] = answer["nextPageToken"]


def look_around(direct: DirectWorker, facts: Mapping[str, Any]) -> Place:
    """Where and of what machines are made: the zone, network, offering and template of the ready-made ones."""
    machine = direct.call("listVirtualMachines", page=1, pagesize=1)["virtualmachine"][0]
    blank = Place("", "", "", "", "", "", "", "")
    shim = ShimWorker(facts, blank)
    try:
        zones = shim.call("GET", "/compute/v1/projects/default/aggregated/instances?maxResults=1")["items"]
        shown = next(iter(zones.values()))["instances"][0]
        image = shim.call("GET", "/compute/v1/projects/debian-cloud/global/images/family/debian-12")
    finally:
        shim.close()
    templates = direct.call("listTemplates", templatefilter="featured")["template"]
    return Place(
        zone_id=machine["zoneid"],
        zone=shown["zone"].rpartition("/")[2],
        network_id=machine["nic"][0]["networkid"],
        network=shown["networkInterfaces"][0]["network"].rpartition("/")[2],
        offering_id=machine["serviceofferingid"],
        machine_type=shown["machineType"].rpartition("/")[2],
        template_id=next(row["id"] for row in templates if row["name"].startswith("Debian 12")),
        image=image["selfLink"],
    )


def clear(direct: DirectWorker) -> None:
    """Take away the machines that were made, so that each round begins with the same."""
    until = time.monotonic() + JOB_SECONDS
    asked: set[str] = set()
    while time.monotonic() < until:
        found = direct.call("listVirtualMachines", keyword=MADE, details="min", state="Present")
        left = [row["id"] for row in found.get("virtualmachine", ()) if row["name"].startswith(MADE)]
        if not left:
            return
        for machine_id in left:
            if machine_id not in asked:
                direct.call("destroyVirtualMachine", id=machine_id, expunge="true")
                asked.add(machine_id)
        time.sleep(JOB_POLL_SECONDS)
    raise Failed("machines could not be taken away")


def _only(reply: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = reply.get(key, [])
    if len(found) != 1:
        raise Failed(f"{len(found)} of {key}, 1 was expected")
    row: Mapping[str, Any] = found[0]
    return row
