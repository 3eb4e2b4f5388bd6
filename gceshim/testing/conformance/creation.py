"""Making machines."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from gceshim.drivers import errors
from gceshim.model import ImageRef, Instance, InstanceSpec, InstanceState, InterfaceSpec, Page
from gceshim.testing.conformance.bench import UNKNOWN, Bench, at_each_moment, every, in_loop, working
from gceshim.testing.conformance.subject import Subject
from gceshim.testing.journal import MemorySteps


async def named(bench: Bench, name: str) -> list[Instance]:
    """All machines of a name, wherever they are."""

    async def fetch(page: int, page_size: int) -> Page[Instance]:
        return await bench.driver.instances.list(bench.tenant, None, page=page, page_size=page_size)

    return [item for item in await every(fetch, 500) if item.name == name]


def wrong(bench: Bench, what: str) -> tuple[InstanceSpec, str, str]:
    """A machine that cannot be, the attribute at fault, and the kind of what is not there."""
    project = bench.ground.image_project
    changes: dict[str, tuple[dict[str, Any], str, str]] = {
        "zone": ({"zone": UNKNOWN}, "zone", "zone"),
        "machine_type": ({"machine_type": UNKNOWN}, "machine_type", "machine_type"),
        "image": ({"image": ImageRef(project, name=UNKNOWN)}, "image", "image"),
        "image_family": ({"image": ImageRef(project, family=UNKNOWN)}, "image", "image_family"),
        "network": ({"interfaces": (InterfaceSpec(UNKNOWN),)}, "interfaces[0].network", "network"),
    }
    change, field, kind = changes[what]
    return bench.spec(**change), field, kind


class CreationConformance:
    """`base.Instances`: `check` and `create`."""

    @in_loop
    async def test_a_name_that_is_taken_is_refused(self, subject: Subject) -> None:
        """Before anything is made; the one that is there stays as it is."""
        async with working(subject, "instances") as bench:
            made = await bench.instance()
            spec = bench.spec(made.name, labels={"second": "one"})
            with pytest.raises(errors.AlreadyExists):
                await bench.driver.instances.check(bench.tenant, spec)
            with pytest.raises(errors.AlreadyExists):
                await bench.driver.instances.create(bench.steps(), spec)
            assert await bench.driver.instances.get(bench.tenant, bench.zone, made.name) == made
            assert [item.id for item in await named(bench, made.name)] == [made.id]

    @pytest.mark.parametrize("what", ["zone", "machine_type", "image", "image_family", "network"])
    @in_loop
    async def test_what_it_needs_and_is_not_there_is_named(self, subject: Subject, what: str) -> None:
        """With the attribute at fault, so that the API above can name the field; and nothing is made."""
        async with working(subject, "instances") as bench:
            spec, field, kind = wrong(bench, what)
            with pytest.raises(errors.NotFound) as caught:
                await bench.driver.instances.check(bench.tenant, spec)
            assert (caught.value.field, caught.value.kind, caught.value.name) == (field, kind, UNKNOWN)
            with pytest.raises(errors.NotFound):
                await bench.driver.instances.create(bench.steps(), spec)
            assert await named(bench, spec.name) == []

    @in_loop
    async def test_checking_makes_nothing(self, subject: Subject) -> None:
        """It runs before the caller is answered, maybe several times."""
        async with working(subject, "instances") as bench:
            spec = bench.spec()
            await bench.driver.instances.check(bench.tenant, spec)
            await bench.driver.instances.check(bench.tenant, spec)
            assert await named(bench, spec.name) == []

    @in_loop
    async def test_a_way_in_from_outside_is_given_or_refused(self, subject: Subject) -> None:
        """As the trait says; a machine without the address that was asked for is of no use."""
        async with working(subject, "instances") as bench:
            spec = bench.spec(interfaces=(InterfaceSpec(bench.ground.network, external_name="outside"),))
            if subject.traits.external_addresses:
                made = await bench.driver.instances.create(bench.steps(), spec)
                external = made.interfaces[0].external
                assert external is not None
                assert (external.name, external.ephemeral) == ("outside", True)
                assert external.address
                assert await bench.driver.instances.get(bench.tenant, bench.zone, spec.name) == made
            else:
                with pytest.raises((errors.Invalid, errors.Unsupported)):
                    await bench.driver.instances.check(bench.tenant, spec)
                with pytest.raises((errors.Invalid, errors.Unsupported)):
                    await bench.driver.instances.create(bench.steps(), spec)

    @in_loop
    async def test_no_way_in_is_given_that_was_not_asked_for(self, subject: Subject) -> None:
        """It would be a machine that is open; but for networks of the operator's, where all addresses are public."""
        async with working(subject, "instances", "networks") as bench:
            made = await bench.instance()
            nic = made.interfaces[0]
            subnetwork = await bench.driver.networks.subnetwork(bench.tenant, nic.region, nic.subnetwork)
            assert nic.external is None or subnetwork.shared

    @in_loop
    async def test_progress_goes_one_way(self, subject: Subject) -> None:
        """Clients draw it as a bar."""
        async with working(subject, "instances") as bench:
            steps = bench.steps()
            await bench.driver.instances.create(steps, bench.spec())
            assert steps.percent == sorted(steps.percent)
            assert {0 <= percent <= 100 for percent in steps.percent} <= {True}

    @in_loop
    async def test_machines_are_made_side_by_side(self, subject: Subject) -> None:
        """`bulkInsert` and Terraform do so; what they share is made once."""
        async with working(subject, "instances") as bench:
            made = await asyncio.gather(*(bench.instance() for _ in range(4)))
            assert len({item.backend_id for item in made}) == 4
            assert len({item.interfaces[0].address for item in made}) == 4
            assert len({item.interfaces[0].subnetwork for item in made}) == 1

    @in_loop
    async def test_a_crash_at_any_moment_leaves_one_machine(self, subject: Subject) -> None:
        """The promise of the journal: made once, whole, and running."""
        async with working(subject, "instances") as bench:

            async def prepare() -> InstanceSpec:
                return bench.spec(labels={"a": "b"}, metadata={"c": "d"}, network_tags=("e",), description="f")

            async def create(steps: MemorySteps, spec: InstanceSpec) -> None:
                await bench.driver.instances.create(steps, spec)

            async def verify(spec: InstanceSpec, where: str) -> None:
                found = await named(bench, spec.name)
                assert [(item.name, item.state) for item in found] == [(spec.name, InstanceState.RUNNING)], where
                assert (found[0].labels, found[0].metadata) == (spec.labels, spec.metadata), where
                assert (found[0].network_tags, found[0].description) == (spec.network_tags, spec.description), where
                await bench.remove_instance(spec.name)

            await at_each_moment(bench, prepare, create, verify)

    @in_loop
    async def test_a_cancelled_mutation_is_taken_up_again(self, subject: Subject) -> None:
        """A server that stops cancels what it waits for; that is no failure, and nothing may be removed for it."""
        async with working(subject, "instances") as bench:
            await bench.instance()
            rehearsal = bench.steps()
            await bench.driver.instances.create(rehearsal, bench.spec())
            for moment in (rehearsal.moments // 2, rehearsal.moments - 1):
                spec = bench.spec()
                steps = bench.steps()
                steps.crash, steps.crash_at = asyncio.CancelledError, moment
                with pytest.raises(asyncio.CancelledError):
                    await bench.driver.instances.create(steps, spec)
                made = await bench.driver.instances.create(steps.replay(), spec)
                assert [item.id for item in await named(bench, spec.name)] == [made.id]

    @in_loop
    async def test_an_ended_mutation_replayed_does_nothing(self, subject: Subject) -> None:
        """The journal ended, but the end of the operation was not written down."""
        async with working(subject, "instances") as bench:
            spec, steps = bench.spec(), bench.steps()
            made = await bench.driver.instances.create(steps, spec)
            assert await bench.driver.instances.create(steps.replay(), spec) == made
            assert [item.id for item in await named(bench, spec.name)] == [made.id]

    @in_loop
    async def test_a_failure_is_the_same_when_replayed(self, subject: Subject) -> None:
        """Also if things have changed since: the operation has one outcome."""
        async with working(subject, "instances") as bench:
            made = await bench.instance()
            spec, steps = bench.spec(made.name), bench.steps()
            with pytest.raises(errors.AlreadyExists) as first:
                await bench.driver.instances.create(steps, spec)
            with pytest.raises(errors.AlreadyExists) as second:
                await bench.driver.instances.create(steps.replay(), dataclasses.replace(spec))
            assert second.value.message == first.value.message
