"""Disks of one name, made at once by servers that know nothing of each other, where answers are lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.driver import CloudStackDriver
from gceshim.model import GIB, DiskSpec
from tests.drivers.worlds import ZONE, Cloud, cloud, on_loop


@asynccontextmanager
async def two_servers() -> AsyncIterator[tuple[Cloud, Cloud]]:
    """Two drivers before one cloud."""
    async with cloud() as here:
        other = CloudStackDriver.create({"url": here.url})
        try:
            yield here, Cloud(here.sim, here.url, other, here.tenant)
        finally:
            await other.close()


async def make(world: Cloud, owner: str) -> object:
    """A disk `data` with a label, in an operation of its own; what is raised is returned."""
    wanted = DiskSpec("data", ZONE, size_bytes=10 * GIB, labels={"owner": owner})
    try:
        return await world.driver.disks.create(world.steps(), wanted)
    except errors.DriverError as exc:
        return exc


@pytest.mark.parametrize("made", [True, False])
@pytest.mark.parametrize("alike", [True, False])
@on_loop
async def test_a_disk_taken_for_another_of_its_name_is_one_disk(made: bool, alike: bool) -> None:
    """Whose answer is lost may take the other's for its own: one of them has it in the end, and nothing is left."""
    async with two_servers() as (here, there):
        faults = here.sim.faults
        asked = faults.add("held_request", "createVolume", 1)
        first = asyncio.ensure_future(make(here, "here"))
        await asked.reached.wait()
        answer = faults.add("held_reply", "createVolume", 1)
        second = asyncio.ensure_future(make(there, "here" if alike else "there"))
        await answer.reached.wait()
        if made:
            faults.add("lost_reply", "createVolume", 1)
        found = faults.add("held_request", "createTags", 1)
        asked.release(lost=not made)
        await found.reached.wait()
        answer.release()
        found.release()
        ended = await asyncio.gather(first, second)

        [refusal] = [outcome for outcome in ended if isinstance(outcome, errors.DriverError)]
        assert isinstance(refusal, errors.AlreadyExists)
        [disk] = [outcome for outcome in ended if outcome is not refusal]
        assert [volume.name for volume in here.sim.volumes()] == ["data"]
        assert await here.driver.disks.get(here.tenant, ZONE, "data") == disk


@on_loop
async def test_who_fails_removes_no_disk_that_is_anothers_by_then() -> None:
    """It was taken for one's own; but the other was faster with its tags, and has told its caller of it."""
    async with two_servers() as (here, there):
        faults = here.sim.faults
        asked = faults.add("held_request", "createVolume", 1)
        first = asyncio.ensure_future(make(here, "here"))
        await asked.reached.wait()
        answer = faults.add("held_reply", "createVolume", 1)
        second = asyncio.ensure_future(make(there, "there"))
        await answer.reached.wait()
        found = faults.add("held_request", "createTags", 1)
        asked.release(lost=True)
        await found.reached.wait()
        answer.release()
        disk = await second
        found.release(lost=True)

        assert isinstance(await first, errors.Unavailable)
        assert await here.driver.disks.get(here.tenant, ZONE, "data") == disk
