"""Reading machines."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from gceshim.drivers import errors
from gceshim.model import Instance, InstanceState, Page
from gceshim.testing.conformance.bench import UNKNOWN, every, fresh_name, in_loop, ref, working
from gceshim.testing.conformance.shapes import assert_listed, assert_shape, unused_id
from gceshim.testing.conformance.subject import Subject


class InstancesConformance:
    """`base.Instances`: `get` and `list`."""

    @in_loop
    async def test_a_machine_is_as_it_was_asked_for(self, subject: Subject) -> None:
        """What was returned when it was made is what is read, by name and number and from the lists."""
        async with working(subject, "instances") as bench:
            spec = bench.spec(
                description='A [machine]: it\'s "so"',
                labels={"env": "prod", "empty": ""},
                network_tags=("web", "db"),
                metadata={"greeting": "line\nline", "empty": ""},
                kept={"scheduling": {"preemptible": False, "list": [1, None, "x"]}},
                boot_device_name="root-disk",
            )
            made = await bench.driver.instances.create(bench.steps(), spec)
            assert_shape(made)
            assert (made.name, made.zone, made.state) == (spec.name, bench.zone, InstanceState.RUNNING)
            assert (made.description, made.kept) == (spec.description, spec.kept)
            assert (made.labels, list(made.labels)) == (spec.labels, sorted(spec.labels))
            assert (made.network_tags, made.metadata) == (spec.network_tags, spec.metadata)
            assert [(disk.index, disk.boot, disk.auto_delete) for disk in made.disks] == [(0, True, True)]
            assert (made.disks[0].name, made.disks[0].device_name) == (spec.name, "root-disk")
            assert await bench.driver.instances.get(bench.tenant, bench.zone, spec.name) == made
            assert await bench.driver.instances.get(bench.tenant, bench.zone, str(made.id)) == made

    @in_loop
    async def test_what_a_machine_refers_to_is_there(self, subject: Subject) -> None:
        """Clients follow each of these links."""
        async with working(subject, "instances", "catalog", "networks", "locations") as bench:
            made = await bench.instance()
            driver, tenant = bench.driver, bench.tenant
            assert (await driver.locations.zone(tenant, made.zone)).name == made.zone
            kind = await driver.catalog.machine_type(tenant, made.zone, made.machine_type)
            assert (kind.name, kind.vcpus, kind.memory_mib) == (bench.ground.machine_type, made.vcpus, made.memory_mib)
            assert made.interfaces
            for nic in made.interfaces:
                assert nic.network == bench.ground.network
                assert nic.address
                subnetwork = await driver.networks.subnetwork(tenant, nic.region, nic.subnetwork)
                assert subnetwork.network == nic.network
                assert subnetwork in (await driver.networks.get(tenant, nic.network)).subnetworks

    @in_loop
    async def test_a_machine_is_listed_as_it_is_read(self, subject: Subject) -> None:
        """In its zone, among all, and alone by its name; only sizes of disks may be left out."""
        async with working(subject, "instances") as bench:
            made = await bench.instance(labels={"a": "b"})
            await bench.instance(fresh_name(made.name))
            for zone, name in ((bench.zone, None), (None, None), (bench.zone, made.name), (None, made.name)):

                async def fetch(
                    page: int, page_size: int, zone: str | None = zone, name: str | None = name
                ) -> Page[Instance]:
                    return await bench.driver.instances.list(
                        bench.tenant, zone, page=page, page_size=page_size, name=name
                    )

                listed = await every(fetch, 500)
                (found,) = [item for item in listed if item.backend_id == made.backend_id]
                assert (found.id, found.name, found.zone, found.state) == (made.id, made.name, made.zone, made.state)
                assert (found.labels, found.interfaces, found.metadata) == (
                    made.labels,
                    made.interfaces,
                    made.metadata,
                )
                assert name is None or listed == [found]

    @in_loop
    async def test_a_machine_is_listed_by_its_labels(self, subject: Subject) -> None:
        """What lacks one may be left out, what has them may not; and nothing has another name for that."""
        async with working(subject, "instances") as bench:
            made = await bench.instance(labels={"a": "b", "c": ""})
            other = await bench.instance()
            for zone in (bench.zone, None):
                for labels in ({"a": "b"}, {"c": "", "a": "b"}, {"c": ""}):
                    page = await bench.driver.instances.list(bench.tenant, zone, page=1, page_size=500, labels=labels)
                    assert [(item.id, item.name) for item in page.items if item.id != other.id] == [
                        (made.id, made.name)
                    ]

    @in_loop
    async def test_pages_are_whole_and_in_one_order(self, subject: Subject) -> None:
        """Each machine once, also where the last page is full."""
        async with working(subject, "instances") as bench:
            await asyncio.gather(*(bench.instance() for _ in range(3)))

            async def fetch(page: int, page_size: int) -> Page[Instance]:
                return await bench.driver.instances.list(bench.tenant, bench.zone, page=page, page_size=page_size)

            whole = await every(fetch, 500)
            assert len(whole) >= 3
            assert_listed(whole, by_name=False)
            for page_size in (1, 2, len(whole), len(whole) + 1):
                assert [item.id for item in await every(fetch, page_size)] == [item.id for item in whole]
            after = await fetch(len(whole) + 1, 1)
            assert (list(after.items), after.more) == ([], False)

    @in_loop
    async def test_machines_that_are_not_there_are_not_found(self, subject: Subject) -> None:
        """By name or number, with what was asked for."""
        async with working(subject, "instances") as bench:
            for name in (UNKNOWN, unused_id()):
                with pytest.raises(errors.NotFound) as caught:
                    await bench.driver.instances.get(bench.tenant, bench.zone, name)
                assert (caught.value.kind, caught.value.name) == ("instance", name)
            named = await bench.driver.instances.list(bench.tenant, bench.zone, page=1, page_size=10, name=UNKNOWN)
            assert (list(named.items), named.more) == ([], False)

    @in_loop
    async def test_in_a_zone_that_is_not_there_nothing_is_found(self, subject: Subject) -> None:
        """The zone is what the caller is told about."""
        async with working(subject, "instances") as bench:
            with pytest.raises(errors.NotFound) as caught:
                await bench.driver.instances.get(bench.tenant, UNKNOWN, "vm")
            assert (caught.value.kind, caught.value.name) == ("zone", UNKNOWN)
            with pytest.raises(errors.NotFound) as caught:
                await bench.driver.instances.list(bench.tenant, UNKNOWN, page=1, page_size=1)
            assert (caught.value.kind, caught.value.name) == ("zone", UNKNOWN)

    @in_loop
    async def test_machines_of_others_are_not_there(self, subject: Subject) -> None:
        """Not by name, by number or in a list; and their names are free."""
        async with working(subject, "instances") as bench:
            made = await bench.instance()
            for name in (made.name, str(made.id)):
                with pytest.raises(errors.NotFound):
                    await bench.driver.instances.get(bench.other, bench.zone, name)
            for zone in (bench.zone, None):
                page = await bench.driver.instances.list(bench.other, zone, page=1, page_size=500)
                assert made.id not in [item.id for item in page.items]
            await bench.driver.instances.check(bench.other, bench.spec(made.name))

    @in_loop
    async def test_machines_of_others_cannot_be_changed(self, subject: Subject) -> None:
        """Even by who knows the backend's id; deleting them is deleting what is not there."""
        async with working(subject, "instances") as bench:
            made = await bench.instance()
            instances = bench.driver.instances
            for change in (instances.stop, instances.reset, instances.start):
                with pytest.raises((errors.NotFound, errors.Forbidden)):
                    await change(bench.steps(bench.other), ref(made))
            with contextlib.suppress(errors.Forbidden):
                await instances.delete(bench.steps(bench.other), ref(made))
            assert await instances.get(bench.tenant, bench.zone, made.name) == made
