"""A mix of mutations, made from a seed, no two of which are about the same thing; and what is there before them."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gceshim.simulator import Simulator
from gceshim.simulator import entities as model
from gceshim.testing.gce import Body, Gce
from tests.lab import estate
from tests.resources.requests import HERE, IMAGE, ZONE, insert_body

#: How many of each kind there are among 200.
SHARES = {
    "insert": 44,
    "delete": 24,
    "stop": 18,
    "start": 14,
    "labels": 22,
    "metadata": 12,
    "size": 8,
    "attach": 10,
    "detach": 8,
    "disk insert": 14,
    "disk resize": 8,
    "disk delete": 8,
    "rule insert": 4,
    "rule patch": 3,
    "project metadata": 1,
}
#: The same with less of what takes many calls.
LIGHT = {
    **SHARES,
    "insert": 14,
    "delete": 30,
    "stop": 26,
    "start": 20,
    "labels": 30,
    "metadata": 14,
    "attach": 8,
    "disk insert": 20,
    "disk resize": 10,
    "disk delete": 10,
    "rule insert": 1,
    "rule patch": 1,
}
PROJECT = {"project": HERE["project"]}
LARGER = "Medium Instance"
GROUPS_ZONE = "sandbox-sg-a"


@dataclass(frozen=True)
class Mutation:
    """A call, and what comes and goes when it succeeds. `request_id` is the same whenever it is sent."""

    name: str
    method: str
    arguments: dict[str, Any]
    come: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))


class Mix:
    """
    Mutations for a cloud with ready-made machines.

    :param count: of mutations, about. :param shares: how many of each kind there are among 200.
    """

    def __init__(self, seed: int, count: int = 200, shares: Mapping[str, int] = SHARES) -> None:
        self._random = random.Random(seed)
        self._counts = {kind: max(1, round(share * count / 200)) for kind, share in shares.items()}
        self._machines = [f"machine-{number + 1:05d}" for number in range(self.machines)]
        self._random.shuffle(self._machines)
        self._serial = 0
        self._items: dict[str, Body] = {}

    @property
    def machines(self) -> int:
        """How many ready-made machines there must be."""
        kinds = ("delete", "stop", "start", "labels", "metadata", "size", "attach", "detach")
        return sum(self._counts[kind] for kind in kinds)

    async def prepare(self, cloudstack: Simulator, gce: Gce) -> list[Mutation]:
        """Make what has to be there before, and return the mutations in the order in which to send them."""
        names = iter(self._machines)
        by_kind = {kind: [next(names) for _ in range(self._counts[kind])] for kind in SHARES if kind in _ON_MACHINES}
        for name in (*by_kind["start"], *by_kind["size"]):
            vm = cloudstack.vm(name)
            vm.state, vm.host = "Stopped", None
        for name in (*by_kind["detach"], *by_kind["delete"][::4]):
            self._disk(cloudstack, f"data-of-{name}", name)
        for index in range(self._counts["rule patch"]):
            operation = await gce.call(
                "compute.firewalls.insert", **PROJECT, body=rule_body(f"old-{index}", 7000 + 10 * index)
            )
            operation = await gce.done(operation)
            assert "error" not in operation, operation["error"]
        page = await gce.call("compute.instances.list", **HERE, maxResults=500)
        self._items = {item["name"]: item for item in page["items"]}
        made = [maker(self, cloudstack, name) for kind, maker in _ON_MACHINES.items() for name in by_kind[kind]]
        made += [maker(self, cloudstack) for kind, maker in _OTHERS.items() for _ in range(self._counts[kind])]
        made.append(await self._project_metadata(gce))
        self._random.shuffle(made)
        return made

    def _next(self) -> int:
        self._serial += 1
        return self._serial

    def _disk(self, cloudstack: Simulator, name: str, machine: str | None = None) -> model.Volume:
        """A disk of 10 GiB that is there, made past the API."""
        state = cloudstack.cloud.state
        offering = next(row for row in state.rows(model.DiskOffering) if row.custom)
        [account] = [row for row in state.rows(model.Account) if row.name == estate.OWNER]
        vm = cloudstack.vm(machine) if machine else None
        return state.new(
            model.Volume,
            name=name,
            account=account,
            zone=next(iter(state.rows(model.Zone))),
            kind="DATADISK",
            size_bytes=10 * estate.GIB,
            state="Ready",
            offering=offering,
            vm=vm,
            device=1 if vm else None,
            attached=vm.created if vm else None,
        )

    def _verb(self, verb: str, machine: str, *, come: str, gone: str) -> Mutation:
        arguments = {**HERE, "instance": machine}
        return Mutation(f"{verb} {machine}", f"compute.instances.{verb}", arguments, (come,), (gone,))

    def delete(self, cloudstack: Simulator, name: str) -> Mutation:
        """With its boot disk; a data disk stays."""
        gone = [estate.machine(name), estate.boot_disk(name)]
        kept = f"data-of-{name}"
        come = []
        if any(volume.name == kept for volume in cloudstack.volumes()):
            come, gone = [estate.disk(kept, 10)], [*gone, estate.disk(kept, 10, name)]
        return Mutation(
            f"delete {name}", "compute.instances.delete", {**HERE, "instance": name}, tuple(come), tuple(gone)
        )

    def stop(self, cloudstack: Simulator, name: str) -> Mutation:
        return self._verb("stop", name, come=estate.machine(name, "Stopped"), gone=estate.machine(name))

    def start(self, cloudstack: Simulator, name: str) -> Mutation:
        return self._verb("start", name, come=estate.machine(name), gone=estate.machine(name, "Stopped"))

    def labels(self, cloudstack: Simulator, name: str) -> Mutation:
        values = {"env": f"e{self._next()}", "team": "lab"}
        body = {"labels": values, "labelFingerprint": self._items[name]["labelFingerprint"]}
        arguments = {**HERE, "instance": name, "body": body}
        come = tuple(estate.label("machine", name, key, value) for key, value in values.items())
        return Mutation(f"label {name}", "compute.instances.setLabels", arguments, come)

    def metadata(self, cloudstack: Simulator, name: str) -> Mutation:
        mark = f"mark-{self._next()}"
        items = [{"key": "startup-script", "value": f"#!/bin/sh\necho {mark}\n"}]
        body = {"fingerprint": self._items[name]["metadata"]["fingerprint"], "items": items}
        arguments = {**HERE, "instance": name, "body": body}
        come = tuple(estate.metadata(name, mark))
        return Mutation(f"metadata of {name}", "compute.instances.setMetadata", arguments, come)

    def size(self, cloudstack: Simulator, name: str) -> Mutation:
        body = {"machineType": f"zones/{ZONE}/machineTypes/medium-instance"}
        arguments = {**HERE, "instance": name, "body": body}
        come, gone = estate.machine(name, "Stopped", LARGER), estate.machine(name, "Stopped")
        return Mutation(f"resize {name}", "compute.instances.setMachineType", arguments, (come,), (gone,))

    def attach(self, cloudstack: Simulator, name: str) -> Mutation:
        disk = f"spare-{self._next()}"
        self._disk(cloudstack, disk)
        body = {"source": f"projects/{HERE['project']}/zones/{ZONE}/disks/{disk}", "deviceName": "spare"}
        arguments = {**HERE, "instance": name, "body": body}
        come, gone = estate.disk(disk, 10, name), estate.disk(disk, 10)
        return Mutation(f"attach {disk} to {name}", "compute.instances.attachDisk", arguments, (come,), (gone,))

    def detach(self, cloudstack: Simulator, name: str) -> Mutation:
        [device] = [item["deviceName"] for item in self._items[name]["disks"] if not item["boot"]]
        arguments = {**HERE, "instance": name, "deviceName": device}
        come, gone = estate.disk(f"data-of-{name}", 10), estate.disk(f"data-of-{name}", 10, name)
        return Mutation(f"detach from {name}", "compute.instances.detachDisk", arguments, (come,), (gone,))

    def insert(self, cloudstack: Simulator) -> Mutation:
        """One in eight has a public address, one in four two more disks, one in four security groups; all a label."""
        number = self._next()
        name, zone = f"new-{number}", GROUPS_ZONE if number % 4 == 2 else ZONE
        tags = {"items": [f"tag-{number % 3}"]}
        body = insert_body(name, zone=zone, external=number % 8 == 0, labels={"made": "here"}, tags=tags)
        come = [estate.machine(name), estate.boot_disk(name), estate.label("machine", name, "made", "here")]
        come += [estate.address(name)] if number % 8 == 0 else []
        if number % 4 == 1:
            for index in range(2):
                disk = {"diskName": f"{name}-{index}", "diskSizeGb": str(5 + index), "labels": {"of": name}}
                body["disks"].append({"autoDelete": True, "initializeParams": disk})
                come += [estate.disk(f"{name}-{index}", 5 + index, name)]
                come += [estate.label("disk", f"{name}-{index}", "of", name)]
        assert body["disks"][0]["initializeParams"]["sourceImage"] == IMAGE
        return Mutation(f"insert {name}", "compute.instances.insert", {**HERE, "zone": zone, "body": body}, tuple(come))

    def disk_insert(self, cloudstack: Simulator) -> Mutation:
        name, gib = f"disk-{self._next()}", self._random.randint(1, 50)
        body = {"name": name, "sizeGb": str(gib), "labels": {"made": "here"}}
        come = (estate.disk(name, gib), estate.label("disk", name, "made", "here"))
        return Mutation(f"insert {name}", "compute.disks.insert", {**HERE, "body": body}, come)

    def disk_resize(self, cloudstack: Simulator) -> Mutation:
        name, gib = f"small-{self._next()}", self._random.randint(11, 50)
        self._disk(cloudstack, name)
        arguments = {**HERE, "disk": name, "body": {"sizeGb": str(gib)}}
        come, gone = estate.disk(name, gib), estate.disk(name, 10)
        return Mutation(f"resize {name}", "compute.disks.resize", arguments, (come,), (gone,))

    def disk_delete(self, cloudstack: Simulator) -> Mutation:
        name = f"old-disk-{self._next()}"
        self._disk(cloudstack, name)
        return Mutation(f"delete {name}", "compute.disks.delete", {**HERE, "disk": name}, (), (estate.disk(name, 10),))

    def rule_insert(self, cloudstack: Simulator) -> Mutation:
        number = self._next()
        name, port = f"rule-{number}", 8000 + 10 * number
        arguments = {**PROJECT, "body": rule_body(name, port)}
        return Mutation(f"insert {name}", "compute.firewalls.insert", arguments, (estate.rule(name, port),))

    def rule_patch(self, cloudstack: Simulator) -> Mutation:
        number = self._next()
        name, old, port = f"old-{self._patched}", 7000 + 10 * self._patched, 9000 + 10 * number
        self._patched += 1
        body = {"allowed": [{"IPProtocol": "tcp", "ports": [str(port)]}], "description": "patched"}
        come, gone = estate.rule(name, port, "patched"), estate.rule(name, old)
        arguments = {**PROJECT, "firewall": name, "body": body}
        return Mutation(f"patch {name}", "compute.firewalls.patch", arguments, (come,), (gone,))

    _patched = 0

    async def _project_metadata(self, gce: Gce) -> Mutation:
        project = await gce.call("compute.projects.get", **PROJECT)
        metadata = {key: project["commonInstanceMetadata"][key] for key in ("fingerprint",)}
        body = {**metadata, "items": [{"key": "owner", "value": "lab"}]}
        return Mutation("project metadata", "compute.projects.setCommonInstanceMetadata", {**PROJECT, "body": body})


_ON_MACHINES: dict[str, Callable[[Mix, Simulator, str], Mutation]] = {
    "delete": Mix.delete,
    "stop": Mix.stop,
    "start": Mix.start,
    "labels": Mix.labels,
    "metadata": Mix.metadata,
    "size": Mix.size,
    "attach": Mix.attach,
    "detach": Mix.detach,
}
_OTHERS: dict[str, Callable[[Mix, Simulator], Mutation]] = {
    "insert": Mix.insert,
    "disk insert": Mix.disk_insert,
    "disk resize": Mix.disk_resize,
    "disk delete": Mix.disk_delete,
    "rule insert": Mix.rule_insert,
    "rule patch": Mix.rule_patch,
}


def rule_body(name: str, port: int, target: str = "") -> Body:
    """A rule that opens a port to all, at all machines or at those of a network tag."""
    return {
        **({"targetTags": [target]} if target else {}),
        "name": name,
        "network": "global/networks/default",
        "allowed": [{"IPProtocol": "tcp", "ports": [str(port)]}],
        "sourceRanges": ["0.0.0.0/0"],
    }
