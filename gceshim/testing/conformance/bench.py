"""What one test works with: a driver, names of its own, and the removal of what it made."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, ParamSpec, TypeVar

import pytest

from gceshim.drivers import errors
from gceshim.model import (
    Disk,
    DiskRef,
    DiskSpec,
    Firewall,
    ImageRef,
    Instance,
    InstanceRef,
    InstanceSpec,
    InterfaceSpec,
    Page,
    Tenant,
)
from gceshim.testing.conformance.subject import Ground, Subject, Traits
from gceshim.testing.journal import Crash, MemorySteps

P = ParamSpec("P")
T = TypeVar("T")

UNKNOWN: Final = "no-such-thing"
MOST_PAGES: Final = 1000


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """The test in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def fresh_name(prefix: str) -> str:
    """A name that nothing has yet."""
    return f"{prefix}-{secrets.token_hex(5)}"


def ref(instance: Instance) -> InstanceRef:
    """What a mutation of an instance is given."""
    return InstanceRef(instance.name, instance.zone, instance.backend_id)


def disk_ref(disk: Disk) -> DiskRef:
    """What a mutation of a disk is given."""
    return DiskRef(disk.name, disk.zone, disk.backend_id)


def authored(rule: Firewall) -> Firewall:
    """A rule without what the driver adds to it."""
    return dataclasses.replace(rule, id=0, created=None)


class Bench:
    """A driver and its surroundings for the time of one test. What is made with it is removed at the end."""

    def __init__(self, traits: Traits, ground: Ground) -> None:
        self.traits = traits
        self.ground = ground
        self.driver = ground.driver
        self.tenant = ground.tenant
        self.other = ground.other
        self.zone = ground.zone
        self._ends = AsyncExitStack()

    def steps(self, tenant: Tenant | None = None) -> MemorySteps:
        """The journal of a new operation."""
        operation = f"operation-{secrets.token_hex(8)}"
        return MemorySteps(self.driver, tenant or self.tenant, operation, job_seconds=self.traits.job_seconds)

    def spec(self, name: str = "", **changes: Any) -> InstanceSpec:
        """A small machine; it is removed at the end of the test if it was made."""
        ground = self.ground
        spec = InstanceSpec(
            name=name or fresh_name("vm"),
            zone=self.zone,
            machine_type=ground.machine_type,
            image=ImageRef(ground.image_project, family=ground.image_family),
            interfaces=(InterfaceSpec(ground.network),),
        )
        spec = dataclasses.replace(spec, **changes)
        self._ends.push_async_callback(self.remove_instance, spec.name)
        return spec

    def disk_spec(self, name: str = "", **changes: Any) -> DiskSpec:
        """A small disk; it is removed at the end of the test if it was made."""
        spec = DiskSpec(name=name or fresh_name("disk"), zone=self.zone, type=self.ground.disk_type)
        spec = dataclasses.replace(spec, **changes)
        self._ends.push_async_callback(self.remove_disk, spec.name)
        return spec

    def rule(self, rule: Firewall | None = None) -> Firewall:
        """One of the rules, or the first, under a new name; it is removed at the end of the test if it was made."""
        rule = dataclasses.replace(rule or self.ground.rules[0], name=fresh_name("rule"))
        self._ends.push_async_callback(self.remove_rule, rule.name)
        return rule

    async def instance(self, name: str = "", **changes: Any) -> Instance:
        """A machine that runs."""
        return await self.driver.instances.create(self.steps(), self.spec(name, **changes))

    async def stopped(self, **changes: Any) -> Instance:
        """A machine that was stopped."""
        made = await self.instance(**changes)
        await self.driver.instances.stop(self.steps(), ref(made))
        return made

    async def disk(self, **changes: Any) -> Disk:
        """An empty disk that nobody has."""
        return await self.driver.disks.create(self.steps(), self.disk_spec(**changes))

    async def remove_instance(self, name: str) -> None:
        """Take a machine away, if there is one of this name."""
        try:
            found = await self.driver.instances.get(self.tenant, self.zone, name)
        except errors.NotFound:
            return
        await self.driver.instances.delete(self.steps(), ref(found))

    async def remove_disk(self, name: str) -> None:
        """Take a disk away, if there is one of this name."""
        try:
            found = await self.driver.disks.get(self.tenant, self.zone, name)
        except errors.NotFound:
            return
        await self.driver.disks.delete(self.steps(), disk_ref(found))

    async def remove_rule(self, name: str) -> None:
        """Take a firewall rule out of force, if there is one of this name."""
        await self.driver.firewalls.delete(self.steps(), name)

    async def clean(self) -> None:
        """Remove what was made, the last first."""
        await self._ends.aclose()


@asynccontextmanager
async def working(subject: Subject, *needed: str) -> AsyncIterator[Bench]:
    """A bench; the test is skipped if the driver lacks a capability of those needed."""
    async with asyncio.timeout(subject.traits.test_seconds), subject.open() as ground:
        lacking = set(needed) - ground.driver.capabilities()
        if lacking:
            pytest.skip(f"the driver has no {' or '.join(sorted(lacking))}")
        bench = Bench(subject.traits, ground)
        try:
            yield bench
        finally:
            await bench.clean()


async def every(fetch: Callable[[int, int], Awaitable[Page[T]]], page_size: int) -> list[T]:
    """All items of a list, by its pages, each of which is within its bounds."""
    found: list[T] = []
    for page in range(1, MOST_PAGES + 1):
        part = await fetch(page, page_size)
        assert len(part.items) <= page_size
        found += part.items
        if not part.more:
            return found
    raise AssertionError(f"page {MOST_PAGES} is not the last one")


async def at_each_moment(
    bench: Bench,
    prepare: Callable[[], Awaitable[T]],
    change: Callable[[MemorySteps, T], Awaitable[Any]],
    verify: Callable[[T, str], Awaitable[None]],
) -> None:
    """
    Try a mutation with a crash at each moment of its journal, and a replay after it.

    :param prepare: makes what is changed, anew for each moment. :param change: the mutation.
    :param verify: asserts that it was carried out once and whole; its text says where the crash was.
    """
    moment = 1
    while True:
        thing = await prepare()
        steps = bench.steps()
        steps.crash_at = moment
        try:
            await change(steps, thing)
        except Crash:
            where = f"after a crash at moment {moment}, in step {steps.names[-1:]}"
            await change(steps.replay(), thing)
            await verify(thing, where)
            moment += 1
        else:
            await verify(thing, "without a crash")
            break
    assert moment > 1, "the mutation calls the backend outside of steps"
