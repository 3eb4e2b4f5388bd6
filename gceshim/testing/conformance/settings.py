"""What can be changed about a machine that is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from gceshim.drivers import errors
from gceshim.drivers.base import Driver, Steps
from gceshim.model import Instance, InstanceRef
from gceshim.testing.conformance.bench import UNKNOWN, Bench, at_each_moment, fresh_name, in_loop, ref, working
from gceshim.testing.conformance.subject import Subject
from gceshim.testing.journal import MemorySteps

Change = Callable[[Driver, Steps, InstanceRef], Awaitable[None]]

CHANGES: Final[dict[str, Change]] = {
    "set_labels": lambda driver, steps, to: driver.instance_settings.set_labels(steps, to, {"new": "one", "two": ""}),
    "set_network_tags": lambda driver, steps, to: driver.instance_settings.set_network_tags(steps, to, ("new",)),
    "set_metadata": lambda driver, steps, to: driver.instance_settings.set_metadata(steps, to, {"k": "v"}, {"p": "q"}),
    "set_deletion_protection": lambda driver, steps, to: driver.instance_settings.set_deletion_protection(
        steps, to, False
    ),
    "set_kept": lambda driver, steps, to: driver.instance_settings.set_kept(steps, to, {"a": [1, {"b": None}]}),
    "set_description": lambda driver, steps, to: driver.instance_settings.set_description(steps, to, "it's new"),
}
"""One change by each method that may be called on any machine, and the same each time."""

ATTRIBUTES: Final = {
    "set_labels": ("labels", {"new": "one", "two": ""}),
    "set_network_tags": ("network_tags", ("new",)),
    "set_metadata": ("metadata", {"k": "v"}),
    "set_deletion_protection": ("deletion_protection", False),
    "set_kept": ("kept", {"a": [1, {"b": None}]}),
    "set_description": ("description", "it's new"),
}
"""What reads otherwise after it."""

NEEDED: Final = ("instances", "instance_settings")


async def read(bench: Bench, name: str) -> Instance:
    """The machine as it is now."""
    return await bench.driver.instances.get(bench.tenant, bench.zone, name)


class InstanceSettingsConformance:
    """`base.InstanceSettings`."""

    @pytest.mark.parametrize("method", sorted(CHANGES))
    @in_loop
    async def test_a_change_replaces_the_whole_and_nothing_else(self, subject: Subject, method: str) -> None:
        """And may be repeated, by another operation."""
        async with working(subject, *NEEDED) as bench:
            made = await bench.instance(
                labels={"old": "x"}, network_tags=("old",), metadata={"old": "x"}, description="old", kept={"old": 1}
            )
            if method == "set_network_tags" and not subject.traits.tags_running_machines:
                await bench.driver.instances.stop(bench.steps(), ref(made))
            for _ in range(2):
                await CHANGES[method](bench.driver, bench.steps(), ref(made))
                found = await read(bench, made.name)
                changed, wanted = ATTRIBUTES[method]
                assert getattr(found, changed) == wanted
                for attribute in {"labels", "network_tags", "metadata", "description", "kept", "disks"} - {changed}:
                    assert getattr(found, attribute) == getattr(made, attribute), attribute

    @pytest.mark.parametrize("method", sorted(CHANGES))
    @in_loop
    async def test_a_crash_at_any_moment_is_made_good(self, subject: Subject, method: str) -> None:
        """The change is there, whole."""
        async with working(subject, *NEEDED) as bench:
            made = await bench.instance(labels={"old": "x"}, network_tags=("old",), description="old", kept={"old": 1})
            if method == "set_network_tags" and not subject.traits.tags_running_machines:
                await bench.driver.instances.stop(bench.steps(), ref(made))

            async def prepare() -> InstanceRef:
                await bench.driver.instance_settings.set_labels(bench.steps(), ref(made), {"old": "x"})
                return ref(made)

            async def change(steps: MemorySteps, to: InstanceRef) -> None:
                await CHANGES[method](bench.driver, steps, to)

            async def verify(_: InstanceRef, where: str) -> None:
                changed, wanted = ATTRIBUTES[method]
                assert getattr(await read(bench, made.name), changed) == wanted, where

            await at_each_moment(bench, prepare, change, verify)

    @pytest.mark.parametrize("method", sorted(CHANGES))
    @in_loop
    async def test_a_machine_that_is_gone_is_not_found(self, subject: Subject, method: str) -> None:
        """By the operation that was accepted while it was there."""
        async with working(subject, *NEEDED) as bench:
            made = await bench.instance()
            await bench.driver.instances.delete(bench.steps(), ref(made))
            with pytest.raises(errors.NotFound):
                await CHANGES[method](bench.driver, bench.steps(), ref(made))

    @pytest.mark.parametrize("method", sorted(CHANGES))
    @in_loop
    async def test_machines_of_others_are_not_changed(self, subject: Subject, method: str) -> None:
        """Even by who knows the backend's id."""
        async with working(subject, *NEEDED) as bench:
            made = await bench.instance(labels={"old": "x"}, description="old")
            with pytest.raises((errors.NotFound, errors.Forbidden)):
                await CHANGES[method](bench.driver, bench.steps(bench.other), ref(made))
            assert await read(bench, made.name) == made

    @in_loop
    async def test_all_can_be_taken_away(self, subject: Subject) -> None:
        """Empty is a value too."""
        async with working(subject, *NEEDED) as bench:
            made = await bench.stopped(
                labels={"old": "x"}, network_tags=("old",), metadata={"old": "x"}, description="old", kept={"old": 1}
            )
            settings = bench.driver.instance_settings
            await settings.set_labels(bench.steps(), ref(made), {})
            await settings.set_network_tags(bench.steps(), ref(made), ())
            await settings.set_metadata(bench.steps(), ref(made), {}, {})
            await settings.set_description(bench.steps(), ref(made), "")
            await settings.set_kept(bench.steps(), ref(made), {})
            found = await read(bench, made.name)
            assert (found.labels, found.network_tags, found.metadata) == ({}, (), {})
            assert (found.description, found.kept) == ("", {})

    @in_loop
    async def test_network_tags_of_a_running_machine_change_or_are_refused(self, subject: Subject) -> None:
        """As the trait says; refused, they are as before."""
        async with working(subject, *NEEDED) as bench:
            made = await bench.instance(network_tags=("old",))
            if subject.traits.tags_running_machines:
                await bench.driver.instance_settings.set_network_tags(bench.steps(), ref(made), ("new", "two"))
                assert (await read(bench, made.name)).network_tags == ("new", "two")
            else:
                with pytest.raises(errors.NotReady):
                    await bench.driver.instance_settings.set_network_tags(bench.steps(), ref(made), ("new",))
                assert (await read(bench, made.name)).network_tags == ("old",)

    @in_loop
    async def test_only_a_stopped_machine_changes_its_size(self, subject: Subject) -> None:
        """To one that there is; it starts with it."""
        async with working(subject, *NEEDED) as bench:
            other = bench.ground.other_machine_type
            settings = bench.driver.instance_settings
            made = await bench.instance()
            with pytest.raises(errors.NotReady):
                await settings.set_machine_type(bench.steps(), ref(made), other)
            await bench.driver.instances.stop(bench.steps(), ref(made))
            with pytest.raises(errors.NotFound) as caught:
                await settings.set_machine_type(bench.steps(), ref(made), UNKNOWN)
            assert caught.value.field == "machine_type"
            for _ in range(2):
                await settings.set_machine_type(bench.steps(), ref(made), other)
            await bench.driver.instances.start(bench.steps(), ref(made))
            found = await read(bench, made.name)
            kind = await bench.driver.catalog.machine_type(bench.tenant, bench.zone, other)
            assert (found.machine_type, found.vcpus, found.memory_mib) == (other, kind.vcpus, kind.memory_mib)

    @in_loop
    async def test_a_stopped_machine_is_renamed(self, subject: Subject) -> None:
        """Its boot disk has its name, its old name is free, and its id stays."""
        async with working(subject, *NEEDED) as bench:
            settings = bench.driver.instance_settings
            made, name = await bench.instance(), bench.spec().name
            with pytest.raises(errors.NotReady):
                await settings.rename(bench.steps(), ref(made), name)
            await bench.driver.instances.stop(bench.steps(), ref(made))
            await settings.rename(bench.steps(), ref(made), name)
            found = await read(bench, name)
            assert (found.id, found.backend_id, found.disks[0].name) == (made.id, made.backend_id, name)
            with pytest.raises(errors.NotFound):
                await read(bench, made.name)
            await bench.driver.instances.check(bench.tenant, bench.spec(made.name))

    @in_loop
    async def test_a_name_that_is_taken_is_not_given(self, subject: Subject) -> None:
        """Both machines stay what they are."""
        async with working(subject, *NEEDED) as bench:
            first, second = await asyncio.gather(bench.stopped(), bench.stopped())
            with pytest.raises(errors.AlreadyExists):
                await bench.driver.instance_settings.rename(bench.steps(), ref(first), second.name)
            assert (await read(bench, first.name)).id == first.id
            assert (await read(bench, second.name)).id == second.id

    @in_loop
    async def test_a_crash_while_renaming_is_made_good(self, subject: Subject) -> None:
        """At each moment: one machine, under its new name alone."""
        async with working(subject, *NEEDED) as bench:
            made = await bench.stopped()
            names = [made.name]

            async def prepare() -> str:
                names.append(bench.spec(fresh_name("vm")).name)
                return names[-1]

            async def rename(steps: MemorySteps, name: str) -> None:
                await bench.driver.instance_settings.rename(
                    steps, InstanceRef(names[-2], bench.zone, made.backend_id), name
                )

            async def verify(name: str, where: str) -> None:
                found = await read(bench, name)
                assert (found.id, found.disks[0].name) == (made.id, name), where
                with pytest.raises(errors.NotFound):
                    await read(bench, names[-2])

            await at_each_moment(bench, prepare, rename, verify)
