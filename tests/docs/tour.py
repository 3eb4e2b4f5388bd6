"""
A tour of the whole API over HTTP: every method that works is called, and everything that is answered is kept.

What it makes has every field that can be given, so that an answer without a field is one that never has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gceshim.model import JobState
from gceshim.protocol.discovery import COMPUTE, RESOURCE_MANAGER, Document, Method
from gceshim.resources.base import document
from gceshim.resources.instance_spec import KEPT
from gceshim.simulator import SimulatorSettings
from gceshim.simulator.entities import Template
from gceshim.testing.gce import Answer, Body, Gce
from gceshim.testing.world import World
from tests.docs.samples import sample
from tests.resources.requests import HERE, PROJECT, ZONE, insert_body

REGION = "sandbox-1"
JOB_SECONDS = 10
GLOBAL: Body = {"project": PROJECT}


class Tour(Gce):
    """
    A client that remembers.

    `worked`: ids of methods that answered well. `errors`: by id of method, the last error it answered with. `seen`: by
    schema of Compute Engine, what was shown. `commands`: the CloudStack commands that were called.
    """

    def __init__(self, url: str, token: str) -> None:
        super().__init__(url, token, document(), document(RESOURCE_MANAGER))
        self.worked: set[str] = set()
        self.errors: dict[str, Body] = {}
        self.seen: dict[str, list[Body]] = {}
        self.commands: set[str] = set()

    async def answer(self, method_id: str, **arguments: Any) -> Answer:
        """As the client's, and remembered."""
        answer = await super().answer(method_id, **arguments)
        if answer.status >= 300:
            self.errors[method_id] = answer.body["error"]
        else:
            self.worked.add(method_id)
            if not method_id.startswith(f"{COMPUTE}."):
                return answer
            for schema, body in shown(document(), document().method(method_id), answer.body):
                self.seen.setdefault(schema, []).append(body)
        return answer

    async def change(self, method_id: str, **arguments: Any) -> Body:
        """A mutation, whose operation has to end well."""
        operation = await self.done(await self.call(method_id, **arguments))
        if "error" in operation:
            raise AssertionError(f"{method_id}: {operation['error']}")
        return operation


def shown(document: Document, method: Method, body: Body) -> Iterator[tuple[str, Body]]:
    """The resources in an answer, each with its schema."""
    item = document.item_schema(method)
    if item is None:
        if method.response == "ImageFamilyView":
            yield "Image", body["image"]
        elif method.response is not None:
            yield method.response, body
        return
    items = body.get("items", [])
    if isinstance(items, dict):
        items = [one for scope in items.values() for key, part in scope.items() if key != "warning" for one in part]
    for one in items:
        yield item, one


async def take(folder: Path) -> Tour:
    """The tour, in a world of its own."""
    async with World(folder, document(), SimulatorSettings(remembered_calls=100_000)) as world:
        gce = Tour(world.url, await world.token(PROJECT))
        try:
            await catalogue(gce, world)
            await firewalls(gce)
            await machines(gce)
            await disks(gce)
            await settings(gce)
            await attachments(gce)
            await networks(gce)
            await verbs(gce)
            await operations(gce, world)
            gce.commands.update(world.cloudstack.calls)
        finally:
            gce.close()
        return gce


async def catalogue(gce: Tour, world: World) -> None:
    """What is there before anything is made."""
    for collection, name in {"zones": ZONE, "regions": REGION}.items():
        await gce.call(f"compute.{collection}.list", **GLOBAL)
        await gce.call(f"compute.{collection}.get", **GLOBAL, **{collection[:-1]: name})
    for project in (PROJECT, "team"):
        await gce.call("compute.projects.get", project=project)
        await gce.call("cloudresourcemanager.projects.get", projectId=project)
    await gce.call("cloudresourcemanager.projects.list")
    asked = {"permissions": ["resourcemanager.projects.get"]}
    await gce.call("cloudresourcemanager.projects.testIamPermissions", resource=PROJECT, body=asked)
    items = {"items": [{"key": "colour", "value": "blue"}]}
    await gce.change("compute.projects.setCommonInstanceMetadata", **GLOBAL, body=items)
    await gce.call("compute.projects.get", **GLOBAL)
    for collection, names in {
        "machineTypes": ("small-instance", "n1-standard-1", "custom-2-1024"),
        "diskTypes": ("pd-ssd",),
    }.items():
        await gce.call(f"compute.{collection}.list", **HERE)
        await gce.call(f"compute.{collection}.aggregatedList", **GLOBAL)
        for name in names:
            await gce.call(f"compute.{collection}.get", **HERE, **{collection[:-1]: name})
    await images(gce, world)


async def images(gce: Tour, world: World) -> None:
    """Public ones, and one of the caller's own with labels and a family."""
    tenant = await world.shim.driver.identity.tenant(PROJECT, await world.shim.vault.get(PROJECT), PROJECT)
    template = world.cloudstack.inspect.named(Template, "demo-golden").uuid
    job = await world.shim.driver.backend.call(  # type: ignore[attr-defined]  # as its owner would in CloudStack
        tenant,
        "createTags",
        resourceids=template,
        resourcetype="Template",
        **{"tags[0].key": "tier", "tags[0].value": "gold", "tags[1].key": "gce:family", "tags[1].value": '"golden"'},
    )
    async with asyncio.timeout(JOB_SECONDS):
        while (await world.shim.driver.jobs.get(tenant, job["jobid"])).state is JobState.PENDING:
            continue
    await gce.call("compute.images.list", **GLOBAL)
    await gce.call("compute.images.list", project="debian-cloud")
    await gce.call("compute.images.get", **GLOBAL, image="demo-golden")
    await gce.call("compute.images.getFromFamily", project="debian-cloud", family="debian-12")
    await gce.call("compute.imageFamilyViews.get", project="debian-cloud", zone=ZONE, family="debian-12")


async def firewalls(gce: Tour) -> None:
    """Rules of both directions and kinds. Not every zone could carry out those that are disabled."""
    tcp = [{"IPProtocol": "tcp", "ports": ["22", "8000-8080"]}, {"IPProtocol": "icmp"}]
    bodies: dict[str, Body] = {
        "by-range": {"allowed": tcp, "sourceRanges": ["10.0.0.0/8"], "description": "from inside", "priority": 900},
        "by-tag": {"allowed": tcp, "sourceTags": ["web"], "targetTags": ["db"], "disabled": True},
        "out": {"denied": tcp, "direction": "EGRESS", "destinationRanges": ["10.9.0.0/16"], "disabled": True},
    }
    for name, body in bodies.items():
        await gce.change("compute.firewalls.insert", **GLOBAL, body={"name": name, **body})
        await gce.call("compute.firewalls.get", **GLOBAL, firewall=name)
    await gce.call("compute.firewalls.list", **GLOBAL)
    asked = {"permissions": ["compute.firewalls.get"]}
    await gce.call("compute.firewalls.testIamPermissions", **GLOBAL, resource="by-range", body=asked)
    await gce.change("compute.firewalls.patch", **GLOBAL, firewall="by-range", body={"description": "other"})
    await gce.change("compute.firewalls.update", **GLOBAL, firewall="by-range", body={"allowed": tcp})
    for name in bodies:
        await gce.change("compute.firewalls.delete", **GLOBAL, firewall=name)


async def machines(gce: Tour) -> None:
    """One with all that can be said of a machine, and a group of others."""
    kept = {name: sample(document(), document().schema("Instance")["properties"][name]) for name in KEPT}
    body = insert_body(
        "whole",
        external=True,
        description="first",
        hostname="whole.example.org",
        labels={"env": "test"},
        tags={"items": ["web"]},
        metadata={"items": [{"key": "colour", "value": "blue"}]},
        **kept,
    )
    body["disks"][0]["deviceName"] = "root"
    body["disks"].append({"autoDelete": True, "deviceName": "scratch", "initializeParams": {"diskSizeGb": "5"}})
    await gce.change("compute.instances.insert", **HERE, body=body, requestId="3a0b3d9c-8d0e-4d63-9b9e-6d3bd4e0a001")
    await gce.call("compute.instances.get", **HERE, instance="whole")
    asked = {"permissions": ["compute.instances.get"]}
    await gce.call("compute.instances.testIamPermissions", **HERE, resource="whole", body=asked)
    await gce.call("compute.instances.listReferrers", **HERE, instance="whole")
    properties = {name: value for name, value in insert_body("x").items() if name != "name"}
    bulk = {"count": "2", "namePattern": "many-#", "instanceProperties": properties}
    await gce.change("compute.instances.bulkInsert", **HERE, body=bulk)
    await gce.call("compute.instances.list", **HERE)
    await gce.call("compute.instances.aggregatedList", **GLOBAL)


async def disks(gce: Tour) -> None:
    """A data disk with all that can be said of it, and the boot disks of the machines."""
    body = {"name": "data", "type": f"zones/{ZONE}/diskTypes/pd-ssd", "sizeGb": "5"}
    body |= {"description": "more", "labels": {"env": "test"}}
    await gce.change("compute.disks.insert", **HERE, body=body)
    disk = await gce.call("compute.disks.get", **HERE, disk="data")
    labels = {"labels": {"env": "live"}, "labelFingerprint": disk["labelFingerprint"]}
    await gce.change("compute.disks.setLabels", **HERE, resource="data", body=labels)
    await gce.change("compute.disks.resize", **HERE, disk="data", body={"sizeGb": "6"})
    await gce.change("compute.disks.update", **HERE, disk="data", paths="sizeGb", body={"name": "data", "sizeGb": "7"})
    asked = {"permissions": ["compute.disks.get"]}
    await gce.call("compute.disks.testIamPermissions", **HERE, resource="data", body=asked)
    await gce.change("compute.disks.insert", **HERE, body={"name": "other"})
    await gce.change("compute.disks.delete", **HERE, disk="other")
    await gce.call("compute.disks.list", **HERE)
    await gce.call("compute.disks.aggregatedList", **GLOBAL)


async def settings(gce: Tour) -> None:
    """Every change of a machine that is there."""
    on: Body = {**HERE, "instance": "many-2"}
    vm = await gce.call("compute.instances.get", **on)
    labels = {"labels": {"env": "live"}, "labelFingerprint": vm["labelFingerprint"]}
    await gce.change("compute.instances.setLabels", **on, body=labels)
    metadata = {"items": [{"key": "a", "value": "b"}], "fingerprint": vm["metadata"]["fingerprint"]}
    await gce.change("compute.instances.setMetadata", **on, body=metadata)
    tags = {"items": ["web"], "fingerprint": vm["tags"]["fingerprint"]}
    await gce.change("compute.instances.setTags", **on, body=tags)
    await gce.change("compute.instances.setScheduling", **on, body={"automaticRestart": True})
    await gce.change("compute.instances.setServiceAccount", **on, body={"email": "me@example.org", "scopes": []})
    for protected in (True, False):
        protection = {**HERE, "resource": "many-2", "deletionProtection": protected}
        await gce.change("compute.instances.setDeletionProtection", **protection)
    await gce.change("compute.instances.stop", **on)
    to = {"machineType": f"zones/{ZONE}/machineTypes/medium-instance"}
    await gce.change("compute.instances.setMachineType", **on, body=to)
    await gce.change("compute.instances.setName", **on, body={"currentName": "many-2", "name": "renamed"})
    vm = await gce.call("compute.instances.get", **HERE, instance="renamed")
    await gce.change("compute.instances.update", **HERE, instance="renamed", body={**vm, "description": "another"})


async def attachments(gce: Tour) -> None:
    """A disk that comes and goes."""
    on: Body = {**HERE, "instance": "whole"}
    body = {"source": f"zones/{ZONE}/disks/data", "deviceName": "store"}
    await gce.change("compute.instances.attachDisk", **on, body=body)
    await gce.change("compute.instances.setDiskAutoDelete", **on, deviceName="store", autoDelete=True)
    await gce.call("compute.disks.list", **HERE)
    await gce.call("compute.instances.list", **HERE)
    await gce.change("compute.instances.detachDisk", **on, deviceName="store")


async def networks(gce: Tour) -> None:
    """Those that there are once machines have been made."""
    await gce.call("compute.networks.list", **GLOBAL)
    await gce.call("compute.networks.get", **GLOBAL, network="default")
    await gce.call("compute.subnetworks.list", **GLOBAL, region=REGION)
    await gce.call("compute.subnetworks.aggregatedList", **GLOBAL)
    await gce.call("compute.subnetworks.get", **GLOBAL, region=REGION, subnetwork="default")


async def verbs(gce: Tour) -> None:
    """What is done with machines, and what is refused."""
    on: Body = {**HERE, "instance": "many-1"}
    for verb in ("suspend", "resume", "simulateMaintenanceEvent", "getSerialPortOutput"):
        await gce.error(f"compute.instances.{verb}", **on)
    for verb in ("reset", "stop"):
        await gce.change(f"compute.instances.{verb}", **on)
    failed = await gce.done(await gce.call("compute.instances.reset", **on))
    if "error" not in failed:
        raise AssertionError("a machine that was stopped was reset")
    await gce.change("compute.instances.start", **on)
    await gce.change("compute.instances.delete", **on)


async def operations(gce: Tour, world: World) -> None:
    """Those of each scope; no mutation is of a region yet, so one is begun by hand."""
    overridden = {"minCpuPlatform": "any"}
    of_zone = await gce.change("compute.instances.insert", **HERE, body=insert_body("last", **overridden))
    body: Mapping[str, Any] = {"items": []}
    everywhere = await gce.change("compute.projects.setCommonInstanceMetadata", **GLOBAL, body=body)
    tenant = await world.shim.driver.identity.tenant(PROJECT, await world.shim.vault.get(PROJECT), PROJECT)
    of_region = await world.shim.engine.begin(
        tenant,
        "projects.set_metadata",
        ({}, {}),
        type="insert",
        scope_kind="region",
        scope=REGION,
        target=f"projects/{PROJECT}/regions/{REGION}",
        wait_seconds=10,
    )
    await gce.call("compute.globalOperations.aggregatedList", **GLOBAL)
    for scope, place, name in (
        ("zone", {"zone": ZONE}, of_zone["name"]),
        ("global", {}, everywhere["name"]),
        ("region", {"region": REGION}, of_region.name),
    ):
        await gce.call(f"compute.{scope}Operations.list", **GLOBAL, **place)
        for verb in ("get", "wait", "delete"):
            await gce.call(f"compute.{scope}Operations.{verb}", **GLOBAL, **place, operation=name)
