"""Deleting, starting, stopping and resetting machines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from gceshim.drivers import errors
from gceshim.drivers.base import Steps
from gceshim.model import Instance, InstanceRef, InstanceState
from gceshim.testing.conformance.bench import UNKNOWN, Bench, at_each_moment, fresh_name, in_loop, ref, working
from gceshim.testing.conformance.subject import Subject
from gceshim.testing.journal import MemorySteps


async def assert_gone(bench: Bench, made: Instance, where: str = "") -> None:
    """The machine is not there, or is on its way where the driver may take its time."""
    try:
        found = await bench.driver.instances.get(bench.tenant, bench.zone, str(made.id))
    except errors.NotFound:
        return
    assert (found.state, bench.traits.expunges) == (InstanceState.DELETING, False), where


async def state_of(bench: Bench, made: Instance) -> InstanceState:
    """As it is read."""
    return (await bench.driver.instances.get(bench.tenant, bench.zone, made.name)).state


class VerbsConformance:
    """`base.Instances`: `delete`, `start`, `stop`, `reset`."""

    @in_loop
    async def test_a_deleted_machine_is_gone_and_its_name_free(self, subject: Subject) -> None:
        """And deleting it again is no error."""
        async with working(subject, "instances") as bench:
            made = await bench.instance()
            await bench.driver.instances.delete(bench.steps(), ref(made))
            await assert_gone(bench, made)
            await bench.driver.instances.delete(bench.steps(), ref(made))
            again = await bench.instance(made.name)
            assert again.id != made.id

    @in_loop
    async def test_deleting_what_was_never_there_is_no_error(self, subject: Subject) -> None:
        """It is not there, as was asked for."""
        async with working(subject, "instances") as bench:
            await bench.driver.instances.delete(bench.steps(), InstanceRef(fresh_name("vm"), bench.zone, UNKNOWN))

    @in_loop
    async def test_deleting_the_old_one_spares_the_new_one_of_its_name(self, subject: Subject) -> None:
        """An operation that comes late is about the machine that it was accepted for."""
        async with working(subject, "instances") as bench:
            old = await bench.instance()
            await bench.driver.instances.delete(bench.steps(), ref(old))
            new = await bench.instance(old.name)
            await bench.driver.instances.delete(bench.steps(), ref(old))
            assert await bench.driver.instances.get(bench.tenant, bench.zone, old.name) == new

    @in_loop
    async def test_a_crash_while_deleting_is_made_good(self, subject: Subject) -> None:
        """At each moment: it is gone."""
        async with working(subject, "instances") as bench:

            async def delete(steps: MemorySteps, made: Instance) -> None:
                await bench.driver.instances.delete(steps, ref(made))

            async def verify(made: Instance, where: str) -> None:
                await assert_gone(bench, made, where)

            await at_each_moment(bench, bench.instance, delete, verify)

    @in_loop
    async def test_stopping_and_starting(self, subject: Subject) -> None:
        """Each twice: to be told twice is no error."""
        async with working(subject, "instances") as bench:
            made = await bench.instance()
            for _ in range(2):
                await bench.driver.instances.stop(bench.steps(), ref(made))
                assert await state_of(bench, made) is InstanceState.STOPPED
            for _ in range(2):
                await bench.driver.instances.start(bench.steps(), ref(made))
                assert await state_of(bench, made) is InstanceState.RUNNING
            again = await bench.driver.instances.get(bench.tenant, bench.zone, made.name)
            assert (again.id, again.created, again.machine_type) == (made.id, made.created, made.machine_type)

    @pytest.mark.parametrize("verb", ["start", "stop"])
    @in_loop
    async def test_a_crash_while_starting_or_stopping_is_made_good(self, subject: Subject, verb: str) -> None:
        """At each moment."""
        async with working(subject, "instances") as bench:
            made = await bench.instance()
            do: dict[str, Callable[[Steps, InstanceRef], Awaitable[None]]] = {
                "start": bench.driver.instances.start,
                "stop": bench.driver.instances.stop,
            }
            undo = do["stop" if verb == "start" else "start"]
            wanted = InstanceState.RUNNING if verb == "start" else InstanceState.STOPPED

            async def prepare() -> InstanceRef:
                await undo(bench.steps(), ref(made))
                return ref(made)

            async def verify(_: InstanceRef, where: str) -> None:
                assert await state_of(bench, made) is wanted, where

            await at_each_moment(bench, prepare, do[verb], verify)

    @in_loop
    async def test_resetting_keeps_it_running(self, subject: Subject) -> None:
        """The same machine."""
        async with working(subject, "instances") as bench:
            made = await bench.instance()
            await bench.driver.instances.reset(bench.steps(), ref(made))
            again = await bench.driver.instances.get(bench.tenant, bench.zone, made.name)
            assert (again.id, again.state) == (made.id, InstanceState.RUNNING)

    @in_loop
    async def test_a_stopped_machine_is_not_reset(self, subject: Subject) -> None:
        """It would be a start that nobody asked for."""
        async with working(subject, "instances") as bench:
            made = await bench.stopped()
            with pytest.raises(errors.NotReady):
                await bench.driver.instances.reset(bench.steps(), ref(made))
            assert await state_of(bench, made) is InstanceState.STOPPED

    @pytest.mark.parametrize("verb", ["start", "stop", "reset"])
    @in_loop
    async def test_a_machine_that_is_gone_is_not_found(self, subject: Subject, verb: str) -> None:
        """By the operation that was accepted while it was there."""
        async with working(subject, "instances") as bench:
            made = await bench.instance()
            await bench.driver.instances.delete(bench.steps(), ref(made))
            with pytest.raises(errors.NotFound) as caught:
                await getattr(bench.driver.instances, verb)(bench.steps(), ref(made))
            assert (caught.value.kind, caught.value.name) == ("instance", made.name)

    @in_loop
    async def test_a_machine_is_protected_or_it_is_refused(self, subject: Subject) -> None:
        """As the trait says; to be thought protected and not to be is worse than either."""
        async with working(subject, "instances", "instance_settings") as bench:
            spec = bench.spec(deletion_protection=True)
            if not subject.traits.deletion_protection:
                with pytest.raises((errors.Invalid, errors.Unsupported)):
                    await bench.driver.instances.check(bench.tenant, spec)
                return
            made = await bench.driver.instances.create(bench.steps(), spec)
            assert made.deletion_protection is True
            with pytest.raises(errors.InUse):
                await bench.driver.instances.delete(bench.steps(), ref(made))
            assert await state_of(bench, made) is InstanceState.RUNNING
            await bench.driver.instance_settings.set_deletion_protection(bench.steps(), ref(made), False)
            await bench.driver.instances.delete(bench.steps(), ref(made))
            await assert_gone(bench, made)
