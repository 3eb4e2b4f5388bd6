"""Two servers over one store and one cloud: what is asked of both at once is done as if there were one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gceshim.protocol.discovery import Document
from gceshim.simulator import SimulatorSettings
from gceshim.simulator import entities as model
from gceshim.testing.gce import Body, Gce
from gceshim.testing.world import World
from tests.resources.requests import HERE, insert_body

pytestmark = pytest.mark.gen_test(timeout=60)

ID = "11111111-2222-4333-8444-555555555555"
TAKEN = "RESOURCE_ALREADY_EXISTS"


@contextlib.asynccontextmanager
async def two(folder: Path, document: Document, cloud: SimulatorSettings) -> AsyncIterator[tuple[World, Gce, Gce]]:
    """A world, and clients of its server and of another one."""
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(World(folder, document, cloud))
        shared = {"driver.cloudstack.url": one.cloudstack.endpoint}
        other = await stack.enter_async_context(World(folder, document, overrides=shared))
        token = await one.token("demo")
        yield one, one.anonymous(token), other.anonymous(token)


def insert(gce: Gce, name: str, **arguments: Any) -> Any:
    return gce.call("compute.instances.insert", **HERE, body=insert_body(name), **arguments)


def codes(operations: list[Body]) -> list[str]:
    """How they ended: codes of errors, "" for none."""
    return sorted(item["error"]["errors"][0]["code"] if "error" in item else "" for item in operations)


@pytest.mark.parametrize("seed", range(2))
async def test_a_default_network_is_made_once(seed: int, tmp_path: Path, discovery: Document) -> None:
    """CloudStack would make two of one name, and the machines of one could not reach those of the other."""
    async with two(tmp_path, discovery, SimulatorSettings(seed=seed, latency_seconds=0.01)) as (world, here, there):
        begun = await asyncio.gather(*(insert(gce, f"vm-{n}") for n, gce in enumerate((here, there, here, there))))
        ended = [await here.done(operation) for operation in begun]
        assert codes(ended) == ["", "", "", ""]
        networks = [row.name for row in world.cloudstack.networks() if row.account.name == "demo"]
        assert networks == ["default"]
        assert {vm.nics[0].network.name for vm in world.cloudstack.vms("demo")} == {"default"}
        [account] = [row for row in world.cloudstack.inspect.rows(model.Account) if row.name == "demo"]
        assert world.cloudstack.tags(account.uuid) == {}


async def test_who_was_to_make_the_network_and_could_not_lets_the_next(tmp_path: Path, discovery: Document) -> None:
    """A claim ends with the operation that made it."""
    async with two(tmp_path, discovery, SimulatorSettings()) as (world, here, there):
        fault = world.cloudstack.faults.add("held_request", "createNetwork", 1)
        refused = world.cloudstack.faults.add("quota_full", "createNetwork", 1)
        first = await insert(here, "vm-1")
        await fault.reached.wait()
        second = await insert(there, "vm-2")
        fault.release()
        ended = [await here.done(operation) for operation in (first, second)]
        assert (codes(ended), refused.hits) == (["", "QUOTA_EXCEEDED"], 1)
        assert [row.name for row in world.cloudstack.networks() if row.account.name == "demo"] == ["default"]


async def test_of_disks_of_one_name_made_at_once_one_is_made(tmp_path: Path, discovery: Document) -> None:
    """CloudStack takes the same name as often as it comes: here when the other has looked, and not yet asked."""
    async with two(tmp_path, discovery, SimulatorSettings()) as (world, here, there):
        body = {"name": "data", "sizeGb": "10"}
        held = world.cloudstack.faults.add("held_request", "createVolume", 1)
        first = await here.call("compute.disks.insert", **HERE, body=body)
        await held.reached.wait()
        second = await there.done(await there.call("compute.disks.insert", **HERE, body=body))
        held.release()
        assert [codes([second]), codes([await here.done(first)])] == [[""], [TAKEN]]
        assert [volume.name for volume in world.cloudstack.volumes()] == ["data"]


async def test_requests_with_one_id_at_both_servers_are_one_operation(tmp_path: Path, discovery: Document) -> None:
    """A client behind a balancer sends the second to another server while the first is on its way."""
    async with two(tmp_path, discovery, SimulatorSettings(latency_seconds=0.01)) as (world, here, there):
        answers = await asyncio.gather(*(insert(gce, "vm-1", requestId=ID) for gce in (here, there) * 4))
        await there.done(answers[0])
        later = [await insert(gce, "vm-1", requestId=ID) for gce in (here, there)]
        other = await there.error("compute.instances.insert", **HERE, body=insert_body("vm-2"), requestId=ID)

        assert len({answer["name"] for answer in [*answers, *later]}) == 1
        assert {answer["status"] for answer in later} == {"DONE"}
        assert (other["code"], "requestId" in other["message"]) == (400, True)
        assert [vm.name for vm in world.cloudstack.vms("demo")] == ["vm-1"]
