"""A backend that is away, and callers that go away: for each method of each capability."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import pytest

from gceshim.drivers import errors
from gceshim.drivers.base import Driver, Steps
from gceshim.model import (
    DEFAULT_NETWORK,
    GIB,
    AttachmentSpec,
    DiskRef,
    DiskSpec,
    ImageRef,
    InstanceRef,
    InstanceSpec,
    InterfaceSpec,
)
from gceshim.testing.conformance.bench import UNKNOWN, Bench, in_loop, working
from gceshim.testing.conformance.settings import CHANGES, Change
from gceshim.testing.conformance.subject import SSH, Ground, Subject
from gceshim.testing.journal import MemorySteps

Read = Callable[[Driver, Ground], Awaitable[Any]]
Mutation = Callable[[Driver, Steps, Ground], Awaitable[Any]]

CANCEL_AFTER_TURNS: Final = (0, 1, 3, 20)
"""How often the event loop goes round before a call is cancelled: before it began, and somewhere within."""


def instance_spec(ground: Ground) -> InstanceSpec:
    """A machine that could be."""
    image = ImageRef(ground.image_project, family=ground.image_family)
    return InstanceSpec("vm", ground.zone, ground.machine_type, image, (InterfaceSpec(ground.network),))


def instance_ref(ground: Ground) -> InstanceRef:
    """A machine that might have been."""
    return InstanceRef("vm", ground.zone, UNKNOWN)


def disk_ref(ground: Ground) -> DiskRef:
    """A disk that might have been."""
    return DiskRef("disk", ground.zone, UNKNOWN)


def on_instance(change: Change) -> Mutation:
    """A change of a machine that might have been."""

    async def mutate(driver: Driver, steps: Steps, ground: Ground) -> None:
        await change(driver, steps, instance_ref(ground))

    return mutate


READS: Final[dict[str, Read]] = {
    "jobs.get": lambda driver, at: driver.jobs.get(at.tenant, UNKNOWN),
    "jobs.pending": lambda driver, at: driver.jobs.pending(at.tenant),
    "identity.whoami": lambda driver, at: driver.identity.whoami(at.tenant.credentials),
    "identity.sign_in": lambda driver, at: driver.identity.sign_in(
        at.username or UNKNOWN, at.password or UNKNOWN, at.domain
    ),
    "identity.tenant": lambda driver, at: driver.identity.tenant("me", at.tenant.credentials, UNKNOWN),
    "projects.get": lambda driver, at: driver.projects.get(at.tenant),
    "projects.list": lambda driver, at: driver.projects.list(at.tenant),
    "projects.quotas": lambda driver, at: driver.projects.quotas(at.tenant),
    "locations.zones": lambda driver, at: driver.locations.zones(at.tenant),
    "locations.zone": lambda driver, at: driver.locations.zone(at.tenant, at.zone),
    "locations.regions": lambda driver, at: driver.locations.regions(at.tenant),
    "locations.region": lambda driver, at: driver.locations.region(at.tenant, UNKNOWN),
    "catalog.machine_types": lambda driver, at: driver.catalog.machine_types(at.tenant, at.zone),
    "catalog.machine_type": lambda driver, at: driver.catalog.machine_type(at.tenant, at.zone, at.machine_type),
    "images.get": lambda driver, at: driver.images.get(at.tenant, at.image_project, UNKNOWN),
    "images.newest": lambda driver, at: driver.images.newest(at.tenant, at.image_project, at.image_family),
    "images.list": lambda driver, at: driver.images.list(at.tenant, at.image_project, page=1, page_size=10),
    "networks.get": lambda driver, at: driver.networks.get(at.tenant, DEFAULT_NETWORK),
    "networks.list": lambda driver, at: driver.networks.list(at.tenant),
    "networks.subnetwork": lambda driver, at: driver.networks.subnetwork(at.tenant, UNKNOWN, DEFAULT_NETWORK),
    "networks.subnetworks": lambda driver, at: driver.networks.subnetworks(at.tenant, None),
    "instances.get": lambda driver, at: driver.instances.get(at.tenant, at.zone, UNKNOWN),
    "instances.list": lambda driver, at: driver.instances.list(at.tenant, at.zone, page=1, page_size=10),
    "instances.check": lambda driver, at: driver.instances.check(at.tenant, instance_spec(at)),
    "disks.types": lambda driver, at: driver.disks.types(at.tenant, at.zone),
    "disks.type": lambda driver, at: driver.disks.type(at.tenant, at.zone, at.disk_type),
    "disks.get": lambda driver, at: driver.disks.get(at.tenant, at.zone, UNKNOWN),
    "disks.list": lambda driver, at: driver.disks.list(at.tenant, at.zone, page=1, page_size=10),
    "disks.check": lambda driver, at: driver.disks.check(at.tenant, DiskSpec("disk", at.zone, at.disk_type)),
    "firewalls.get": lambda driver, at: driver.firewalls.get(at.tenant, UNKNOWN),
    "firewalls.list": lambda driver, at: driver.firewalls.list(at.tenant),
    "firewalls.check": lambda driver, at: driver.firewalls.check(at.tenant, SSH),
}
"""A call of each method that reads."""

MUTATIONS: Final[dict[str, Mutation]] = {
    "instances.create": lambda driver, steps, at: driver.instances.create(steps, instance_spec(at)),
    "instances.delete": lambda driver, steps, at: driver.instances.delete(steps, instance_ref(at)),
    "instances.start": lambda driver, steps, at: driver.instances.start(steps, instance_ref(at)),
    "instances.stop": lambda driver, steps, at: driver.instances.stop(steps, instance_ref(at)),
    "instances.reset": lambda driver, steps, at: driver.instances.reset(steps, instance_ref(at)),
    **{f"instance_settings.{name}": on_instance(change) for name, change in CHANGES.items()},
    "instance_settings.set_machine_type": lambda driver, steps, at: driver.instance_settings.set_machine_type(
        steps, instance_ref(at), at.machine_type
    ),
    "instance_settings.rename": lambda driver, steps, at: driver.instance_settings.rename(
        steps, instance_ref(at), "new"
    ),
    "disks.create": lambda driver, steps, at: driver.disks.create(steps, DiskSpec("disk", at.zone, at.disk_type)),
    "disks.delete": lambda driver, steps, at: driver.disks.delete(steps, disk_ref(at)),
    "disks.resize": lambda driver, steps, at: driver.disks.resize(steps, disk_ref(at), 100 * GIB),
    "disks.set_labels": lambda driver, steps, at: driver.disks.set_labels(steps, disk_ref(at), {}),
    "attachments.attach": lambda driver, steps, at: driver.attachments.attach(
        steps, instance_ref(at), AttachmentSpec("disk")
    ),
    "attachments.detach": lambda driver, steps, at: driver.attachments.detach(steps, instance_ref(at), "disk"),
    "attachments.set_auto_delete": lambda driver, steps, at: driver.attachments.set_auto_delete(
        steps, instance_ref(at), "disk", True
    ),
    "firewalls.create": lambda driver, steps, at: driver.firewalls.create(steps, SSH),
    "firewalls.replace": lambda driver, steps, at: driver.firewalls.replace(steps, SSH, SSH),
    "firewalls.delete": lambda driver, steps, at: driver.firewalls.delete(steps, SSH.name),
}
"""A call of each method that changes something, about things that are not there."""


@contextlib.asynccontextmanager
async def cut_off(subject: Subject, method: str) -> AsyncIterator[tuple[Bench, Driver]]:
    """A bench for a method's capability, and a driver whose backend is away."""
    async with working(subject, method.partition(".")[0]) as bench:
        driver = subject.unreachable()
        try:
            yield bench, driver
        finally:
            await driver.close()


async def assert_unavailable(bench: Bench, call: Awaitable[Any]) -> None:
    """The call says that the backend is away, soon, and tells no secret."""
    before = time.monotonic()
    with pytest.raises(errors.Unavailable) as caught:
        await asyncio.wait_for(call, bench.traits.test_seconds)
    assert time.monotonic() - before < bench.traits.unavailable_seconds
    assert caught.value.message
    for secret in (bench.tenant.credentials.secret_key, bench.tenant.credentials.api_key):
        assert secret not in caught.value.message + caught.value.detail


class OutagesConformance:
    """All capabilities, without their backend."""

    @pytest.mark.parametrize("method", sorted(READS))
    @in_loop
    async def test_a_read_without_a_backend_is_answered_soon(self, subject: Subject, method: str) -> None:
        """That it is away; or, where the driver's settings are enough, with what they say."""
        async with cut_off(subject, method) as (bench, driver):
            call = READS[method](driver, bench.ground)
            if method.partition(".")[0] in subject.traits.answers_offline:
                with contextlib.suppress(errors.NotFound):
                    await asyncio.wait_for(call, subject.traits.unavailable_seconds)
            else:
                await assert_unavailable(bench, call)

    @pytest.mark.parametrize("method", sorted(MUTATIONS))
    @in_loop
    async def test_a_mutation_without_a_backend_fails_soon(self, subject: Subject, method: str) -> None:
        """Nothing may be taken for done, nor for absent, because nobody answers."""
        async with cut_off(subject, method) as (bench, driver):
            steps = MemorySteps(driver, bench.tenant, bench.steps().operation)
            await assert_unavailable(bench, MUTATIONS[method](driver, steps, bench.ground))

    @pytest.mark.parametrize("method", sorted(READS))
    @in_loop
    async def test_a_cancelled_read_leaves_the_driver_usable(self, subject: Subject, method: str) -> None:
        """Callers hang up: before the call began, while it runs, and while others wait for the same."""
        async with working(subject, method.partition(".")[0]) as bench:
            call = READS[method]
            before = await outcome(call(bench.driver, bench.ground))
            for turns in CANCEL_AFTER_TURNS:
                cancelled = asyncio.ensure_future(call(bench.driver, bench.ground))
                beside = asyncio.ensure_future(outcome(call(bench.driver, bench.ground)))
                for _ in range(turns):
                    await asyncio.sleep(0)
                cancelled.cancel()
                await asyncio.wait([cancelled])
                assert await beside == before
                assert await outcome(call(bench.driver, bench.ground)) == before

    @pytest.mark.parametrize("method", sorted(READS))
    @in_loop
    async def test_a_read_right_after_a_cancelled_first_one_works(self, subject: Subject, method: str) -> None:
        """What is remembered must not remember that somebody hung up."""
        async with working(subject, method.partition(".")[0]) as bench:
            cancelled = asyncio.ensure_future(READS[method](bench.driver, bench.ground))
            for _ in range(3):
                await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.wait([cancelled])
            with contextlib.suppress(errors.NotFound, errors.Unsupported):
                await READS[method](bench.driver, bench.ground)

    @in_loop
    async def test_closing_twice_and_calling_after_does_not_hang(self, subject: Subject) -> None:
        """A server that stops has calls under way."""
        async with working(subject, "identity") as bench:
            driver = subject.unreachable()
            await driver.close()
            await driver.close()
            with pytest.raises(errors.DriverError):
                await asyncio.wait_for(
                    driver.identity.whoami(bench.tenant.credentials), subject.traits.unavailable_seconds
                )


async def outcome(call: Awaitable[Any]) -> Any:
    """What a read gives, as something to compare: its result, or the error's class and message."""
    try:
        return await call
    except errors.DriverError as exc:
        return type(exc), exc.message
