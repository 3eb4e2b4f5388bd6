"""One tenant's token on another's operations, projects and machines: nothing is seen, nothing happens."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from gceshim.protocol.discovery import RESOURCE_MANAGER
from gceshim.resources.base import document
from gceshim.resources.table import COLLECTIONS
from gceshim.simulator import Simulator
from gceshim.simulator.entities import Project
from gceshim.testing.gce import Answer, Body, Gce
from gceshim.testing.world import World
from tests.resources.holdings import Holdings
from tests.resources.requests import HERE, PROJECT, ZONE, insert_body, made
from tests.stores.running import until

pytestmark = pytest.mark.gen_test

MARK = "only-demo-knows-this"
REGION = "sandbox-1"
SCOPES: dict[str, dict[str, str]] = {"zone": {"zone": ZONE}, "region": {"region": REGION}, "global": {}}


@dataclass
class Victim:
    """What `demo` has: a machine, an operation that has ended, one that runs, and one of the project `team`."""

    gce: Gce
    machine: Body
    ended: Body
    running: Body
    of_team: Body
    numbers: dict[str, str]
    """The numeric ids of its projects."""

    @property
    def operations(self) -> list[Body]:
        return [self.ended, self.running, self.of_team]

    @property
    def marks(self) -> set[str]:
        """What would give something of it away, wherever it stood."""
        machine = self.machine["networkInterfaces"][0]["networkIP"]
        return {MARK, machine, self.machine["id"], *(str(operation["id"]) for operation in self.operations)}


@asynccontextmanager
async def victim_in(world: World) -> AsyncIterator[Victim]:
    gce = await world.gce("demo")
    ended = await made(gce, insert_body("vm-1", labels={"secret": MARK}, description=MARK))
    world.cloudstack.faults.add("slow_job", command="deployVirtualMachine", times=1, seconds=600)
    running = await gce.call("compute.instances.insert", **HERE, body=insert_body("vm-2"))
    body = {"items": [{"key": "secret", "value": MARK}]}
    of_team = await gce.done(await gce.call("compute.projects.setCommonInstanceMetadata", project="team", body=body))
    numbers = {name: (await gce.call("compute.projects.get", project=name))["id"] for name in (PROJECT, "team")}
    machine = await gce.call("compute.instances.get", **HERE, instance="vm-1")
    yield Victim(gce, machine, ended, running, of_team, numbers)


@pytest.fixture
def shim_settings() -> dict[str, Any]:
    """An operation that runs for ten minutes is not waited for at the end; what CloudStack said is soon asked again."""
    return {"server.shutdown_seconds": 0.0, "driver.cloudstack.cache_seconds": 1.0}


def projects(victim: Victim) -> list[str]:
    """By what an attacker may call them, and the attacker's own."""
    return [PROJECT, "team", *victim.numbers.values(), "other", "default"]


def gives_nothing_away(answer: Answer, victim: Victim, asked: Any) -> None:
    """The answer holds nothing of the victim's but what the attacker has said."""
    text = json.dumps(answer.body) + json.dumps(dict(answer.headers))
    said = json.dumps(asked)
    assert not [mark for mark in victim.marks if mark in text and mark not in said], (asked, answer)


@pytest.mark.parametrize("scope", SCOPES)
async def test_operations_of_another_are_not_there(world: World, cloudstack: Simulator, scope: str) -> None:
    """By name and by number, in any project, to get, wait for and delete: 404 at once, as for one never begun."""
    async with victim_in(world) as victim:
        attacker = await world.gce("other")
        kept = Holdings(cloudstack)
        for project in projects(victim):
            for name in [key for operation in victim.operations for key in (operation["name"], operation["id"])]:
                asked = {"project": project, "operation": name, **SCOPES[scope]}
                for verb in ("get", "wait", "delete"):
                    began = time.monotonic()
                    answer = await attacker.answer(f"compute.{scope}Operations.{verb}", **asked)
                    never = await attacker.answer(
                        f"compute.{scope}Operations.{verb}", **asked | {"operation": "operation-1-2-3-4"}
                    )
                    assert answer.status == never.status == 404, (verb, asked)
                    assert time.monotonic() - began < 10
                    gives_nothing_away(answer, victim, asked)
        for operation in victim.operations:
            scoped = HERE if "zone" in operation else {"project": "team"}
            method = "compute.zoneOperations.get" if "zone" in operation else "compute.globalOperations.get"
            assert (await victim.gce.call(method, **scoped, operation=operation["name"]))["id"] == operation["id"]
        assert kept.changes() == []


async def test_lists_hold_nothing_of_another(world: World) -> None:
    """Neither of operations nor of anything else, whatever the filter asks for."""
    async with victim_in(world) as victim:
        attacker = await world.gce("other")
        for method_id, parameters in lists():
            for project in projects(victim):
                asked = {**parameters, "project": project}
                answers = [await attacker.answer(method_id, **asked)]
                if "Operations" in method_id:
                    name = victim.ended["name"]
                    answers.append(await attacker.answer(method_id, **asked, filter=f'name = "{name}"'))
                for answer in answers:
                    assert (answer.status == 200) == (project in {"other", "default"}), (method_id, asked, answer)
                    gives_nothing_away(answer, victim, asked)


def lists() -> Iterator[tuple[str, dict[str, str]]]:
    """Every list that there is, of a place where there is something."""
    for collection in COLLECTIONS:
        for method_id in collection.methods:
            method = document().method(method_id)
            if method.name in ("list", "aggregatedList") and method.supports("project"):
                places = {"zone": ZONE, "region": REGION}
                yield method_id, {kind: place for kind, place in places.items() if method.supports(kind)}


NAMES = {
    "instance": "vm-1",
    "disk": "vm-1",
    "resource": "vm-1",
    "network": "default",
    "subnetwork": "default",
    "image": "demo-golden",
    "family": "debian-12",
    "firewall": "default",
    "zone": ZONE,
    "region": REGION,
    "operation": "operation-1-2-3-4",
    "machineType": "small-instance",
    "diskType": "pd-standard",
}
BODIES: dict[str, Any] = {
    "compute.instances.insert": insert_body("vm-3"),
    "compute.disks.insert": {"name": "d", "sizeGb": "1"},
    "compute.instances.attachDisk": {"source": f"projects/{PROJECT}/zones/{ZONE}/disks/vm-1"},
    "compute.instances.setLabels": {"labels": {"a": "b"}},
    "compute.disks.resize": {"sizeGb": "100"},
    "compute.instances.setMachineType": {"machineType": f"zones/{ZONE}/machineTypes/medium-instance"},
    "compute.projects.setCommonInstanceMetadata": {"items": []},
}
QUERIES = {
    "compute.instances.detachDisk": {"deviceName": "vm-1"},
    "compute.instances.setDiskAutoDelete": {"deviceName": "vm-1", "autoDelete": "false"},
}


async def test_no_method_reaches_into_anothers_project(world: World, cloudstack: Simulator) -> None:
    """All that this server implements, reads and changes, by the project's name, number and CloudStack id."""
    async with victim_in(world) as victim:
        attacker = await world.gce("other")
        kept = Holdings(cloudstack)
        tried = 0
        for collection in COLLECTIONS:
            for method_id in collection.methods:
                method = document(RESOURCE_MANAGER if method_id.startswith("cloudres") else "compute").method(method_id)
                if not method.supports("project"):
                    continue
                for project in (PROJECT, "team", *victim.numbers.values()):
                    names = {capture.name: NAMES.get(capture.name, project) for capture in method.captures}
                    asked = {**names, **QUERIES.get(method_id, {}), "project": project}
                    body = BODIES.get(method_id, {}) if method.request else None
                    answer = await attacker.answer(method_id, **asked, body=body)
                    assert answer.status in (400, 403, 404), (method_id, asked, answer)
                    gives_nothing_away(answer, victim, asked)
                    tried += 1
        assert tried > 150
        assert kept.changes() == []


async def test_a_machine_of_another_is_not_in_ones_own_project(world: World, cloudstack: Simulator) -> None:
    """By its name, by its numeric id and by its CloudStack id, which leak easily, to read and to change."""
    async with victim_in(world) as victim:
        attacker = await world.gce("other")
        kept = Holdings(cloudstack)
        for instance in ("vm-1", victim.machine["id"]):
            asked = {"project": "other", "zone": ZONE, "instance": instance}
            for verb in ("get", "reset", "stop", "start", "delete"):
                answer = await attacker.answer(f"compute.instances.{verb}", **asked)
                if answer.status == 200:
                    ended = await attacker.done(answer.body)
                    assert ended["error"]["errors"], (verb, asked)
                    answer = Answer(200, answer.headers, ended)
                else:
                    assert answer.status == 404, (verb, asked, answer)
                gives_nothing_away(answer, victim, asked)
        asked = {"project": "other", "zone": ZONE}
        source = f"projects/{PROJECT}/zones/{ZONE}/disks/vm-1"
        body = insert_body("mine", disks=[{"boot": True, "source": source}])
        begun = await attacker.answer("compute.instances.insert", **asked, body=body)
        if begun.status == 200:
            assert (await attacker.done(begun.body))["error"]["errors"]
        assert kept.changes() == []


async def test_private_images_are_their_owners_alone(world: World) -> None:
    """Under the owner's project, and under the one where public images of the same system are."""
    attacker = await world.gce("other")
    owner = await world.gce("demo")
    own = await owner.call("compute.images.list", project=PROJECT)
    assert "demo-golden" in [item["name"] for item in own["items"]]
    for project in (PROJECT, "team"):
        assert await refused(attacker, "compute.images.list", project=project)
        assert await refused(attacker, "compute.images.get", project=project, image="demo-golden")
    for project in ("debian-cloud", "other"):
        listed = await attacker.call("compute.images.list", project=project)
        assert "demo-golden" not in [item["name"] for item in listed.get("items", [])]
        assert await refused(attacker, "compute.images.get", project=project, image="demo-golden")


async def refused(gce: Gce, method_id: str, **asked: Any) -> bool:
    return (await gce.answer(method_id, **asked)).status in (403, 404)


async def test_projects_of_another_are_not_listed_nor_shown(world: World) -> None:
    """In either API, by name, by number, and as what may be done with them."""
    async with victim_in(world) as victim:
        attacker = await world.gce("other")
        listed = await attacker.call("cloudresourcemanager.projects.list")
        assert [item["projectId"] for item in listed["projects"]] == ["other"]
        for project in (PROJECT, "team", *victim.numbers.values()):
            assert await refused(attacker, "cloudresourcemanager.projects.get", projectId=project)
            assert await refused(attacker, "compute.projects.get", project=project)
            asked = {"resource": project, "body": {"permissions": ["compute.instances.get"]}}
            answer = await attacker.answer("cloudresourcemanager.projects.testIamPermissions", **asked)
            assert answer.status in (403, 404) or answer.body == {}, answer


async def test_a_request_id_of_another_leads_nowhere(world: World) -> None:
    """Request ids may be guessed or seen in a log; each tenant has its own."""
    async with victim_in(world) as victim:
        attacker = await world.gce("other")
        for name, together in (("disk-1", True), ("disk-2", False)):
            asked: dict[str, Any] = {"requestId": str(uuid.uuid4()), "body": {"name": name, "sizeGb": "1"}}
            own = victim.gce.call("compute.disks.insert", **HERE, **asked)
            other = attacker.call("compute.disks.insert", project="other", zone=ZONE, **asked)
            first, second = await asyncio.gather(own, other) if together else (await own, await other)
            assert first["name"] != second["name"]
            assert "projects/other/" in second["targetLink"]
            assert "error" not in await attacker.done(second)


async def test_who_leaves_a_project_has_no_more_of_its_operations(world: World, cloudstack: Simulator) -> None:
    """Membership is CloudStack's to tell: it is asked again after `cache_seconds`, whatever the token's age."""
    async with victim_in(world) as victim:
        name = victim.of_team["name"]
        assert await victim.gce.call("compute.globalOperations.get", project="team", operation=name)
        leave(cloudstack, "team", "demo")

        async def gone() -> bool:
            return await refused(victim.gce, "compute.globalOperations.get", project="team", operation=name)

        await until(gone, seconds=30)
        assert await refused(victim.gce, "compute.globalOperations.get", project=PROJECT, operation=name)


def leave(cloudstack: Simulator, name: str, account: str) -> None:
    """As an administrator of CloudStack takes an account out of a project."""
    [project] = [each for each in cloudstack.cloud.state.rows(Project) if each.name == name]
    project.members = {member: role for member, role in project.members.items() if member.name != account}
