"""Filters over what a server answers: a table of expressions, in both dialects, and what each lets through."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gceshim.testing.gce import Body, Gce
from gceshim.testing.world import World
from tests.protocol import filter_table as table
from tests.resources.requests import HERE, PROJECT, ZONE, changed, insert_body, made
from tests.resources.vpcs import vpc_made

pytestmark = pytest.mark.gen_test

ELSEWHERE: dict[str, Any] = {"project": PROJECT, "zone": "sandbox-sg-a"}
GLOBAL = {"project": PROJECT}


async def machines_made(gce: Gce) -> None:
    """What the tables of instances, disks and operations are about."""
    web = {"labels": {"env": "prod", "tier": "web"}, "description": "hello world", "tags": {"items": ["web", "http"]}}
    await made(gce, insert_body("web-1", **web, scheduling={"automaticRestart": True}))
    medium = f"zones/{ZONE}/machineTypes/medium-instance"
    odd = {"labels": {"env": "test", "tier": "web"}, "description": r"a (b) [c] \d", "machineType": medium}
    await made(gce, insert_body("web-2", **odd))
    database = {"labels": {"env": "prod"}, "tags": {"items": ["db"]}, "deletionProtection": True}
    await made(gce, insert_body("db-1", **database, scheduling={"automaticRestart": False}))
    await changed(gce, "compute.instances.stop", instance="db-1")
    await changed(gce, "compute.disks.insert", body={"name": "data-1", "sizeGb": "20", "labels": {"use": "scratch"}})
    await changed(gce, "compute.disks.insert", body={"name": "data-2", "sizeGb": "100", "description": "a spare one"})
    disk = {"source": f"zones/{ZONE}/disks/data-1"}
    await changed(gce, "compute.instances.attachDisk", instance="web-2", body=disk)


async def listed(gce: Gce, method_id: str, **parameters: Any) -> list[Body]:
    """All pages of a list, or of an aggregated one."""
    items: list[Body] = []
    token: dict[str, str] = {}
    while True:
        answer = await gce.call(method_id, **parameters, **token)
        if method_id.endswith("aggregatedList"):
            for scope in answer["items"].values():
                items += [item for held in scope.values() if isinstance(held, list) for item in held]
        else:
            items += answer.get("items", [])
        if "nextPageToken" not in answer:
            return items
        token = {"pageToken": answer["nextPageToken"]}


async def check(gce: Gce, rows: table.Rows, method_id: str, **parameters: Any) -> None:
    """Each expression of the rows lets through what it says, whatever the size of pages."""
    wrong = {}
    for number, (template, expected) in enumerate(rows):
        text = linked(gce, template)
        found = await listed(gce, method_id, **parameters, filter=text, maxResults=500 if number % 3 else 1)
        names = " ".join(sorted(item["name"] for item in found))
        if names != expected:
            wrong[text] = names
    assert wrong == {}


def linked(gce: Gce, template: str) -> str:
    base = f"{gce.url}/compute/v1"
    return template.replace("{base}", base).replace("{zone}", f"{base}/projects/{PROJECT}/zones/{ZONE}")


async def test_filters_of_machines_disks_and_operations(gce: Gce, world: World) -> None:
    """Made once for the three, as machines take a while."""
    await machines_made(gce)
    await check(gce, table.INSTANCES, "compute.instances.list", **HERE)
    await check(gce, table.DISKS, "compute.disks.list", **HERE)
    wrong = {}
    for template, expected in table.OPERATIONS:
        found = await listed(gce, "compute.zoneOperations.list", **HERE, filter=linked(gce, template))
        done = sorted(f"{item['operationType']} {item['targetLink'].rpartition('/')[2]}" for item in found)
        if ",".join(done) != expected:
            wrong[template] = done
    assert wrong == {}

    await changed(gce, "compute.instances.insert", at=ELSEWHERE, body=insert_body("edge", zone="sandbox-sg-a"))
    await check(gce, table.EVERYWHERE, "compute.instances.aggregatedList", project=PROJECT)


async def test_filters_of_catalogues(gce: Gce) -> None:
    """Images, machine types and zones, which are whole lists underneath."""
    await check(gce, table.IMAGES, "compute.images.list", project="debian-cloud")
    await check(gce, table.MACHINE_TYPES, "compute.machineTypes.list", **HERE)
    await check(gce, table.ZONES, "compute.zones.list", project=PROJECT)


async def test_filters_of_networks_and_firewall_rules(gce: Gce, world: World) -> None:
    """Links to networks are what clients look for, Terraform for one."""
    await vpc_made(world, "vpc", "front")
    ssh = {"name": "allow-ssh", "network": "global/networks/vpc", "priority": 900, "sourceRanges": ["10.0.0.0/8"]}
    allowed = {"allowed": [{"IPProtocol": "tcp", "ports": ["22"]}]}
    await changed(gce, "compute.firewalls.insert", at=GLOBAL, body={**ssh, **allowed})
    out = {"name": "deny-out", "network": "global/networks/vpc", "direction": "EGRESS", "disabled": True}
    await changed(gce, "compute.firewalls.insert", at=GLOBAL, body={**out, "denied": [{"IPProtocol": "all"}]})
    await check(gce, table.NETWORKS, "compute.networks.list", project=PROJECT)
    await check(gce, table.FIREWALLS, "compute.firewalls.list", project=PROJECT)


async def test_a_malformed_filter_is_a_400_that_tells_where(gce: Gce) -> None:
    """GCE's sentence, then what is wrong; also where nothing is listed that the filter could be tried on."""
    wrong = {}
    for text, position in table.REFUSED:
        answer = await gce.answer("compute.instances.list", **HERE, filter=text)
        message = answer.body.get("error", {}).get("message", "")
        told = re.search(r"at character (\d+)\.", message)
        if (answer.status, position) != (400, int(told[1]) if told else None):
            wrong[text] = (answer.status, message)
        else:
            assert f"'{text}'. Invalid list filter expression. " in message
    assert wrong == {}


def test_the_table_is_as_long_as_it_should_be() -> None:
    """Both dialects, of eight kinds of resource."""
    rows = [
        *table.INSTANCES,
        *table.EVERYWHERE,
        *table.DISKS,
        *table.IMAGES,
        *table.MACHINE_TYPES,
        *table.NETWORKS,
        *table.FIREWALLS,
        *table.ZONES,
        *table.OPERATIONS,
    ]
    legacy = [text for text, _ in rows if re.search(r"\s(eq|ne)[\s\"']", text)]
    assert len(rows) >= 150
    assert min(len(legacy), len(rows) - len(legacy)) >= 60
