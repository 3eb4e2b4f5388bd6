"""
The two sides of a soak, gceshim and libcloud alone: what one client does there, each method one operation.

A client has at most one machine and one disk, which it makes, changes and takes away again. A mutation ends when the
cloud has carried it out.
"""

from __future__ import annotations

import http.client
import json
import random
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from benchmarks.sides import ANSWER_SECONDS, JOB_POLL_SECONDS, JOB_SECONDS, PAGE_SIZE, DirectWorker, Failed, Place

ROOT = "/compute/v1/projects/default"
IMAGE = "projects/debian-cloud/global/images/family/debian-12"
DEVICE = "spare"
DISK_GIB = 5
RENEW_SECONDS = 40.0
SMALL_PAGE = 7


class Side(ABC):
    """One client of one side."""

    @abstractmethod
    def get(self, name: str) -> None:
        """One machine with its disks."""

    @abstractmethod
    def list(self) -> None:
        """Machines of a zone, by a filter."""

    @abstractmethod
    def aggregated_list(self) -> None:
        """Machines of all zones, by a filter."""

    @abstractmethod
    def operations(self) -> None:
        """What was done lately."""

    @abstractmethod
    def insert(self, name: str) -> None:
        """Make a machine."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Take the machine away, with its boot disk."""

    @abstractmethod
    def stop(self, name: str) -> None:
        """Stop the machine."""

    @abstractmethod
    def start(self, name: str) -> None:
        """Start the machine."""

    @abstractmethod
    def label(self, name: str) -> None:
        """Give the machine another label."""

    @abstractmethod
    def insert_disk(self, disk: str) -> None:
        """Make a disk."""

    @abstractmethod
    def attach_disk(self, name: str, disk: str) -> None:
        """Put the disk into the machine."""

    @abstractmethod
    def detach_disk(self, name: str, disk: str) -> None:
        """Take it out."""

    @abstractmethod
    def delete_disk(self, disk: str) -> None:
        """Take the disk away."""

    @abstractmethod
    def close(self) -> None:
        """Give back the connection."""


class ShimSide(Side):
    """
    A plain HTTP client of gceshim, logged in as gcloud is.

    :param login: a refresh token; the access tokens that it brings last a minute.
    :param limited: called for each answer of 429, after which the request is sent again.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        login: Mapping[str, str],
        place: Place,
        seed: int,
        limited: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = http.client.HTTPConnection(facts["host"], facts["port"], timeout=ANSWER_SECONDS)
        self._login = dict(login)
        self._limited = limited
        self._place = place
        self._zone = f"{ROOT}/zones/{place.zone}"
        self._random = random.Random(seed)
        self._token = ""
        self._renew_at = 0.0
        self._turn = 0

    @property
    def stale(self) -> bool:
        """Whether it is time for `refresh`."""
        return time.monotonic() > self._renew_at

    def call(self, verb: str, path: str, body: object = None, *, expected: int = 200) -> dict[str, Any]:
        """Any request. :raises Failed: the answer has another status, or is none."""
        content = None if body is None else json.dumps(body)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        return self._send(verb, path, content, headers, expected)

    def refresh(self) -> None:
        """A new access token for the login."""
        form = {"grant_type": "refresh_token", **self._login}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self._send("POST", "/oauth2/token", urlencode(form), headers, 200)
        self._token = answer["access_token"]
        self._login["refresh_token"] = answer.get("refresh_token", self._login["refresh_token"])
        self._renew_at = time.monotonic() + RENEW_SECONDS

    def get(self, name: str) -> None:
        answer = self.call("GET", f"{self._zone}/instances/{name}")
        if answer["name"] != name or not answer["disks"]:
            raise Failed(f"{name}: another machine")

    def list(self) -> None:
        query = self._query()
        answer = self.call("GET", f"{self._zone}/instances?{query}")
        if token := answer.get("nextPageToken"):
            self.call("GET", f"{self._zone}/instances?{query}&pageToken={quote(token, safe='')}")

    def aggregated_list(self) -> None:
        self.call("GET", f"{ROOT}/aggregated/instances?{self._query()}")

    def operations(self) -> None:
        answer = self.call("GET", f"{self._zone}/operations?maxResults=50&orderBy=creationTimestamp%20desc")
        if answer.get("items"):
            self.call("GET", f"{self._zone}/operations/{self._random.choice(answer['items'])['name']}")

    def missing(self) -> None:
        """A machine that is not there."""
        self.call("GET", f"{self._zone}/instances/none-{self._random.getrandbits(64):x}", expected=404)

    def intrude(self) -> None:
        """A request of somebody who has no token of this server."""
        headers = {"Authorization": f"Bearer {self._random.getrandbits(256):x}"}
        self._send("GET", f"{self._zone}/instances", None, headers, 401)

    def insert(self, name: str) -> None:
        place = self._place
        body = {
            "name": name,
            "machineType": f"zones/{place.zone}/machineTypes/{place.machine_type}",
            "networkInterfaces": [{"network": "global/networks/default"}],
            "disks": [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": IMAGE}}],
            "labels": {"made": "soak"},
            "metadata": {"items": [{"key": "owner", "value": name}]},
        }
        self._change("POST", f"{self._zone}/instances?requestId={uuid.uuid4()}", body)

    def delete(self, name: str) -> None:
        self._change("DELETE", f"{self._zone}/instances/{name}")

    def stop(self, name: str) -> None:
        self._change("POST", f"{self._zone}/instances/{name}/stop")

    def start(self, name: str) -> None:
        self._change("POST", f"{self._zone}/instances/{name}/start")

    def label(self, name: str) -> None:
        self._turn += 1
        fingerprint = self.call("GET", f"{self._zone}/instances/{name}?fields=labelFingerprint")["labelFingerprint"]
        body = {"labels": {"made": "soak", "turn": str(self._turn)}, "labelFingerprint": fingerprint}
        self._change("POST", f"{self._zone}/instances/{name}/setLabels", body)

    def insert_disk(self, disk: str) -> None:
        self._change("POST", f"{self._zone}/disks", {"name": disk, "sizeGb": str(DISK_GIB)})

    def attach_disk(self, name: str, disk: str) -> None:
        body = {"source": f"projects/default/zones/{self._place.zone}/disks/{disk}", "deviceName": DEVICE}
        self._change("POST", f"{self._zone}/instances/{name}/attachDisk", body)

    def detach_disk(self, name: str, disk: str) -> None:
        self._change("POST", f"{self._zone}/instances/{name}/detachDisk?deviceName={DEVICE}")

    def delete_disk(self, disk: str) -> None:
        self._change("DELETE", f"{self._zone}/disks/{disk}")

    def close(self) -> None:
        self._connection.close()

    def _query(self) -> str:
        """One of several filters, no two of some of them alike, as those of people who look for something."""
        found = self._random.choice(
            (
                {"filter": "labels.made = soak AND status = RUNNING"},
                {"filter": f"labels.turn:{self._random.randint(1, 9)} OR name = {self._random.getrandbits(32):x}"},
                {"filter": f"name eq 'soak-{self._random.getrandbits(16):x}.*'", "maxResults": SMALL_PAGE},
                {"orderBy": "creationTimestamp desc", "maxResults": SMALL_PAGE},
                {"fields": "items/name,nextPageToken", "maxResults": PAGE_SIZE},
            )
        )
        return urlencode(found, quote_via=quote)

    def _change(self, verb: str, path: str, body: object = None) -> None:
        operation = self.call(verb, path, body)
        while operation["status"] != "DONE":
            operation = self.call("POST", f"{self._zone}/operations/{operation['name']}/wait")
        if "error" in operation:
            raise Failed(f"{operation['operationType']}: {operation['error']}")

    def _send(
        self, verb: str, path: str, content: str | None, headers: Mapping[str, str], expected: int
    ) -> dict[str, Any]:
        while True:
            try:
                self._connection.request(verb, path, body=content, headers=dict(headers))
                reply = self._connection.getresponse()
                text = reply.read()
            except (OSError, http.client.HTTPException) as exc:
                self._connection.close()  # the next request opens another
                raise Failed(f"{type(exc).__name__}: {exc}") from exc
            if reply.status != 429:
                break
            self._limited()
            time.sleep(float(reply.headers["Retry-After"]))
        if reply.status != expected:
            raise Failed(f"{reply.status}: {text[:500].decode(errors='replace')}")
        answer: dict[str, Any] = json.loads(text)
        return answer


class DirectSide(Side):
    """libcloud's CloudStack driver. It knows its machine and disk by their ids, so that nothing is looked up."""

    def __init__(self, endpoint: str, keys: tuple[str, str], place: Place) -> None:
        self._worker = DirectWorker(endpoint, keys, place)
        self._place = place
        self._ids: dict[str, str] = {}
        self._turn = 0
        self._labelled = ""

    def get(self, name: str) -> None:
        found = self._worker.call("listVirtualMachines", name=name, zoneid=self._place.zone_id)["virtualmachine"]
        volumes = self._worker.call("listVolumes", virtualmachineid=found[0]["id"], page=1, pagesize=PAGE_SIZE)
        if not volumes.get("volume"):
            raise Failed(f"{name}: no volumes")

    def list(self) -> None:
        self._machines(zoneid=self._place.zone_id)

    def aggregated_list(self) -> None:
        self._machines()

    def operations(self) -> None:
        self._worker.call("listAsyncJobs", page=1, pagesize=50)

    def insert(self, name: str) -> None:
        place = self._place
        self._ids[name] = self._finish(
            "deployVirtualMachine",
            name=name,
            zoneid=place.zone_id,
            serviceofferingid=place.offering_id,
            templateid=place.template_id,
            networkids=place.network_id,
        )

    def delete(self, name: str) -> None:
        self._finish("destroyVirtualMachine", id=self._ids.pop(name), expunge="true")

    def stop(self, name: str) -> None:
        self._finish("stopVirtualMachine", id=self._ids[name])

    def start(self, name: str) -> None:
        self._finish("startVirtualMachine", id=self._ids[name])

    def label(self, name: str) -> None:
        self._turn += 1
        where = {"resourceids": self._ids[name], "resourcetype": "UserVm", "tags[0].key": "turn"}
        if self._labelled == name:
            self._finish("deleteTags", **where)
        self._finish("createTags", **where, **{"tags[0].value": str(self._turn)})
        self._labelled = name

    def insert_disk(self, disk: str) -> None:
        offerings = self._worker.call("listDiskOfferings")["diskoffering"]
        offering = next(row["id"] for row in offerings if row["iscustomized"])
        place = {"zoneid": self._place.zone_id, "diskofferingid": offering}
        self._ids[disk] = self._finish("createVolume", name=disk, size=DISK_GIB, **place)

    def attach_disk(self, name: str, disk: str) -> None:
        self._finish("attachVolume", id=self._ids[disk], virtualmachineid=self._ids[name])

    def detach_disk(self, name: str, disk: str) -> None:
        self._finish("detachVolume", id=self._ids[disk])

    def delete_disk(self, disk: str) -> None:
        self._worker.call("deleteVolume", id=self._ids.pop(disk))

    def close(self) -> None:
        self._worker.close()

    def _machines(self, **where: str) -> None:
        self._worker.call("listVirtualMachines", page=1, pagesize=PAGE_SIZE, details="nics,servoff", **where)
        self._worker.call("listVolumes", page=1, pagesize=PAGE_SIZE, **where)

    def _finish(self, command: str, **params: object) -> str:
        """Call it, follow its job, and give the id of what it is about; "" if it tells none."""
        job = self._worker.call(command, **params)["jobid"]
        until = time.monotonic() + JOB_SECONDS
        while time.monotonic() < until:
            time.sleep(JOB_POLL_SECONDS)
            reply = self._worker.call("queryAsyncJobResult", jobid=job)
            if reply["jobstatus"] == 1:
                found = reply.get("jobresult", {})
                return str(next((row["id"] for row in found.values() if isinstance(row, dict)), ""))
            if reply["jobstatus"] == 2:
                break
        raise Failed(f"{command} failed or took too long")
