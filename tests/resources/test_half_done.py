"""Whatever step of a mutation fails, nothing is left behind that nobody asked for, and the cause is named."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gceshim.protocol.discovery import Document
from gceshim.testing.gce import Body, Gce
from gceshim.testing.world import World
from tests.resources.faulty import Scenario
from tests.resources.requests import HERE, PROJECT, ZONE, changed, disk_made, insert_body, machine, made
from tests.resources.vpcs import vpc_made

DESCRIPTION = "a description that is longer than one tag can hold, " * 8
AT = {**HERE, "instance": "vm-1"}
SG_HERE = {"project": PROJECT, "zone": "sandbox-sg-a"}
GLOBAL = {"project": PROJECT}
KEY = "ann:ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ ann@example.org"


async def nothing(world: World, gce: Gce) -> None:
    """The default network alone: it is made with the first machine, and stays as GCE's does."""
    await made(gce, insert_body("first"))
    await changed(gce, "compute.instances.delete", instance="first")


async def a_disk(world: World, gce: Gce) -> None:
    """One disk with labels."""
    await disk_made(gce, "data-1", description="mine", labels={"env": "test", "team": "blue"})


async def a_machine(world: World, gce: Gce) -> None:
    """One that runs, with all that can be changed about it."""
    body = insert_body("vm-1", external=True, labels={"env": "test"}, tags={"items": ["web"]}, description="first")
    body["metadata"] = {"items": [{"key": "ssh-keys", "value": KEY}]}
    body["scheduling"] = {"automaticRestart": True}
    await made(gce, body)


async def a_stopped_machine(world: World, gce: Gce) -> None:
    """The same, stopped."""
    await a_machine(world, gce)
    await changed(gce, "compute.instances.stop", instance="vm-1")


async def a_machine_without_its_boot_disk(world: World, gce: Gce) -> None:
    """Which is there, by the machine's name."""
    await a_stopped_machine(world, gce)
    await changed(gce, "compute.instances.detachDisk", at=AT, deviceName="persistent-disk-0")


async def a_machine_and_a_disk(world: World, gce: Gce) -> None:
    """Each by itself."""
    await a_machine(world, gce)
    await a_disk(world, gce)


async def a_machine_with_disks(world: World, gce: Gce) -> None:
    """A boot disk that stays, a disk that goes, and a disk that stays."""
    body = insert_body("vm-1", external=True)
    body["disks"][0]["autoDelete"] = False
    body["disks"].append({"initializeParams": {"diskName": "goes"}, "autoDelete": True, "deviceName": "goes"})
    body["disks"].append({"initializeParams": {"diskName": "stays"}, "autoDelete": False, "deviceName": "stays"})
    await made(gce, body)


async def a_machine_with_rules(world: World, gce: Gce) -> None:
    """One with an address, and one where there are groups, within rules of `default`."""
    await a_machine(world, gce)
    body = insert_body("vm-2", zone="sandbox-sg-a", tags={"items": ["web"]})
    await changed(gce, "compute.instances.insert", at=SG_HERE, body=body)
    await rule_made(gce, "ssh", allowed=[{"IPProtocol": "tcp", "ports": ["22"]}])


async def a_machine_with_rules_by_tag(world: World, gce: Gce) -> None:
    """One rule for the tag that the machine has, one for another, and one for all."""
    await a_machine_with_rules(world, gce)
    for tag, port in (("web", "80"), ("db", "5432")):
        allowed = [{"IPProtocol": "tcp", "ports": [port]}]
        await rule_made(gce, tag, allowed=allowed, targetTags=[tag])


async def a_vpc(world: World, gce: Gce) -> None:
    """Two tiers, and a rule."""
    await vpc_made(world, "prod", "web", "db")
    allowed = [{"IPProtocol": "tcp", "ports": ["22"]}]
    await rule_made(gce, "ssh", network="global/networks/prod", allowed=allowed)


async def rule_made(gce: Gce, name: str, **members: Any) -> None:
    await changed(gce, "compute.firewalls.insert", at=GLOBAL, body={"name": name, **members})


def call(method: str, /, at: dict[str, Any] = HERE, **arguments: Any) -> Callable[[Gce], Awaitable[Body]]:
    """A mutation that needs nothing read before."""
    return lambda gce: gce.call(f"compute.{method}", **at, **arguments)


def with_fingerprint(method: str, member: str, **body: Any) -> Callable[[Gce], Awaitable[Body]]:
    """A verb of `vm-1` with the fingerprint of what it replaces."""

    async def mutate(gce: Gce) -> Body:
        vm = await machine(gce, "vm-1")
        if member == "labels":
            return await gce.call(method, **AT, body={"labelFingerprint": vm["labelFingerprint"], **body})
        return await gce.call(method, **AT, body={"fingerprint": vm[member]["fingerprint"], **body})

    return mutate


async def disk_labels(gce: Gce) -> Body:
    disk = await gce.call("compute.disks.get", **HERE, disk="data-1")
    body = {"labelFingerprint": disk["labelFingerprint"], "labels": {"env": "prod", "size": "small"}}
    return await gce.call("compute.disks.setLabels", **HERE, resource="data-1", body=body)


def new_machine() -> Body:
    """With an address, disks of both kinds, and everything that is kept as tags."""
    body = insert_body("vm-1", external=True, labels={"env": "test"}, tags={"items": ["web"]}, description=DESCRIPTION)
    body["disks"].append({"initializeParams": {"diskName": "new-1"}, "autoDelete": True})
    body["disks"].append({"source": f"zones/{ZONE}/disks/data-1", "deviceName": "old"})
    body["deletionProtection"] = True
    return body


async def whole_machine(gce: Gce) -> Body:
    """Several things at once."""
    body = await machine(gce, "vm-1")
    body |= {"labels": {"env": "prod"}, "description": "second", "deletionProtection": True}
    body["tags"] = {"items": ["db"]}
    body["metadata"] = {"items": [{"key": "startup-script", "value": "#!x"}]}
    return await gce.call("compute.instances.update", **AT, body=body)


def many_machines() -> Body:
    """Two of them."""
    properties = insert_body("x", labels={"env": "test"})
    del properties["name"]
    return {"count": "2", "namePattern": "many-#", "instanceProperties": properties}


DISKS = {
    "disks.insert": Scenario(
        nothing,
        call("disks.insert", body={"name": "data-1", "sizeGb": "20", "description": DESCRIPTION, "labels": {"a": "b"}}),
    ),
    "disks.setLabels": Scenario(a_disk, disk_labels),
    "disks.resize": Scenario(a_disk, call("disks.resize", disk="data-1", body={"sizeGb": "30"})),
    "disks.delete": Scenario(a_disk, call("disks.delete", disk="data-1")),
}

MACHINES = {
    "instances.insert": Scenario(a_disk, call("instances.insert", body=new_machine()), first=nothing),
    "instances.insert where there are groups": Scenario(
        a_machine_with_rules,
        call(
            "instances.insert",
            SG_HERE,
            body=insert_body("vm-3", zone="sandbox-sg-a", tags={"items": ["db"]}, labels={"env": "test"}),
        ),
    ),
    "instances.insert within rules": Scenario(
        a_machine_with_rules,
        call("instances.insert", body=insert_body("vm-3", external=True, deletionProtection=True)),
    ),
    "instances.bulkInsert": Scenario(nothing, call("instances.bulkInsert", body=many_machines())),
    "instances.delete": Scenario(a_machine, call("instances.delete", AT)),
    "instances.delete with disks": Scenario(a_machine_with_disks, call("instances.delete", AT), forward=True),
    "instances.attachDisk": Scenario(
        a_machine_and_a_disk,
        call("instances.attachDisk", AT, body={"source": f"zones/{ZONE}/disks/data-1", "autoDelete": True}),
    ),
    "instances.attachDisk of a boot disk": Scenario(
        a_machine_without_its_boot_disk,
        call(
            "instances.attachDisk",
            AT,
            body={"source": f"zones/{ZONE}/disks/vm-1", "deviceName": "root", "autoDelete": True},
        ),
    ),
    "instances.detachDisk": Scenario(a_machine_with_disks, call("instances.detachDisk", AT, deviceName="goes")),
    "instances.setDiskAutoDelete": Scenario(
        a_machine_with_disks, call("instances.setDiskAutoDelete", AT, deviceName="stays", autoDelete=True)
    ),
    "instances.setDiskAutoDelete of the boot disk": Scenario(
        a_machine_with_disks, call("instances.setDiskAutoDelete", AT, deviceName="persistent-disk-0", autoDelete=True)
    ),
}

CHANGES = {
    "instances.setLabels": Scenario(
        a_machine, with_fingerprint("compute.instances.setLabels", "labels", labels={"env": "prod", "size": "small"})
    ),
    "instances.setMetadata": Scenario(
        a_machine,
        with_fingerprint(
            "compute.instances.setMetadata", "metadata", items=[{"key": "startup-script", "value": "#!x"}]
        ),
    ),
    "instances.setTags": Scenario(
        a_machine, with_fingerprint("compute.instances.setTags", "tags", items=["db", "mail"])
    ),
    "instances.setMachineType": Scenario(
        a_stopped_machine,
        call("instances.setMachineType", AT, body={"machineType": f"zones/{ZONE}/machineTypes/custom-2-4096"}),
    ),
    "instances.setDeletionProtection": Scenario(
        a_machine, call("instances.setDeletionProtection", {**HERE, "resource": "vm-1"})
    ),
    "instances.setScheduling": Scenario(
        a_machine, call("instances.setScheduling", AT, body={"automaticRestart": False})
    ),
    "instances.setTags within rules": Scenario(
        a_machine_with_rules_by_tag, with_fingerprint("compute.instances.setTags", "tags", items=["db"])
    ),
    # What is done of it was asked for; asked for again, the rest is done.
    "instances.update": Scenario(a_machine, whole_machine, forward=True),
    "instances.setName": Scenario(a_stopped_machine, call("instances.setName", AT, body={"name": "vm-2"})),
}

RULES = {
    "firewalls.insert on a VPC": Scenario(
        a_vpc,
        call(
            "firewalls.insert",
            GLOBAL,
            body={
                "name": "web",
                "network": "global/networks/prod",
                "description": DESCRIPTION,
                "allowed": [{"IPProtocol": "tcp", "ports": ["80", "443"]}],
            },
        ),
    ),
    "firewalls.patch on a VPC": Scenario(
        a_vpc, call("firewalls.patch", GLOBAL, firewall="ssh", body={"denied": [{"IPProtocol": "icmp"}]})
    ),
    "firewalls.delete on a VPC": Scenario(a_vpc, call("firewalls.delete", GLOBAL, firewall="ssh")),
    "firewalls.insert on default": Scenario(
        a_machine_with_rules,
        call(
            "firewalls.insert",
            GLOBAL,
            body={"name": "web", "targetTags": ["web"], "allowed": [{"IPProtocol": "tcp", "ports": ["80"]}]},
        ),
    ),
    "firewalls.patch on default": Scenario(
        a_machine_with_rules,
        call(
            "firewalls.patch",
            GLOBAL,
            firewall="ssh",
            body={"allowed": [{"IPProtocol": "tcp", "ports": ["20-30"]}, {"IPProtocol": "udp"}]},
        ),
    ),
    "firewalls.delete on default": Scenario(a_machine_with_rules, call("firewalls.delete", GLOBAL, firewall="ssh")),
}

SCENARIOS = {**DISKS, **MACHINES, **CHANGES, **RULES}


@pytest.mark.gen_test
@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_failure_at_each_step_leaves_nothing_behind(name: str, discovery: Document, tmp_path: Path) -> None:
    """All or nothing: a failing job, a reply that is none, and a reply that is lost."""
    report = await SCENARIOS[name].run(discovery, tmp_path)

    assert report.problems == [], "\n".join(["", *report.problems])
    assert report.failed.keys() | set(report.survived)
