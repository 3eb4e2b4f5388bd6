"""Disks that outlive a machine."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from gceshim.drivers import errors
from gceshim.model import GIB, Disk, DiskRef, DiskSpec, DiskState, Page
from gceshim.testing.conformance.bench import (
    UNKNOWN,
    Bench,
    at_each_moment,
    disk_ref,
    every,
    fresh_name,
    in_loop,
    working,
)
from gceshim.testing.conformance.shapes import assert_listed, assert_shape, unused_id
from gceshim.testing.conformance.subject import Subject
from gceshim.testing.journal import MemorySteps


async def named(bench: Bench, name: str) -> list[Disk]:
    """All disks of a name, wherever they are."""

    async def fetch(page: int, page_size: int) -> Page[Disk]:
        return await bench.driver.disks.list(bench.tenant, None, page=page, page_size=page_size)

    return [item for item in await every(fetch, 500) if item.name == name]


async def smallest(bench: Bench) -> int:
    """The smallest disk of the type that is good, in bytes and whole GiB."""
    kind = await bench.driver.disks.type(bench.tenant, bench.zone, bench.ground.disk_type)
    return -(-kind.minimum_bytes // GIB) * GIB


class DiskTypesConformance:
    """`base.Disks`: `types` and `type`."""

    @in_loop
    async def test_each_disk_type_that_is_listed_is_found(self, subject: Subject) -> None:
        """By name and number; its sizes make sense."""
        async with working(subject, "disks") as bench:
            listed = await bench.driver.disks.types(bench.tenant, bench.zone)
            assert_listed(listed)
            assert {"pd-standard", "pd-balanced", "pd-ssd"} <= {item.name for item in listed}
            for item in listed:
                assert item.zone == bench.zone
                assert 0 < item.minimum_bytes <= item.default_size_bytes <= item.maximum_bytes
                assert await bench.driver.disks.type(bench.tenant, bench.zone, item.name) == item
                assert await bench.driver.disks.type(bench.tenant, bench.zone, str(item.id)) == item

    @in_loop
    async def test_disk_types_that_are_not_there_are_not_found(self, subject: Subject) -> None:
        """By name or number, with what was asked for."""
        async with working(subject, "disks") as bench:
            for name in (UNKNOWN, unused_id()):
                with pytest.raises(errors.NotFound) as caught:
                    await bench.driver.disks.type(bench.tenant, bench.zone, name)
                assert (caught.value.kind, caught.value.name) == ("disk_type", name)
            with pytest.raises(errors.NotFound) as caught:
                await bench.driver.disks.types(bench.tenant, UNKNOWN)
            assert (caught.value.kind, caught.value.name) == ("zone", UNKNOWN)


class DisksConformance:
    """`base.Disks`: disks themselves."""

    @in_loop
    async def test_a_disk_is_as_it_was_asked_for(self, subject: Subject) -> None:
        """What was returned when it was made is what is read, by name and number and from the lists."""
        async with working(subject, "disks") as bench:
            size_bytes = await smallest(bench)
            spec = bench.disk_spec(size_bytes=size_bytes, description="A [disk]", labels={"env": "prod", "empty": ""})
            made = await bench.driver.disks.create(bench.steps(), spec)
            assert_shape(made)
            assert (made.name, made.zone, made.type) == (spec.name, bench.zone, bench.ground.disk_type)
            assert (made.description, made.labels, made.users) == (spec.description, spec.labels, ())
            assert (made.state, made.boot, made.image) == (DiskState.READY, False, None)
            assert size_bytes <= made.size_bytes < size_bytes + subject.traits.disk_step_bytes
            for name in (spec.name, str(made.id)):
                assert await bench.driver.disks.get(bench.tenant, bench.zone, name) == made
            assert await named(bench, spec.name) == [made]

    @in_loop
    async def test_a_disk_asked_for_by_its_name_alone_is_made(self, subject: Subject) -> None:
        """As by `gcloud compute disks create d`: of a default type and size."""
        async with working(subject, "disks") as bench:
            made = await bench.disk(type="")
            assert_shape(made)
            kind = await bench.driver.disks.type(bench.tenant, bench.zone, made.type)
            assert kind.minimum_bytes <= made.size_bytes

    @in_loop
    async def test_pages_are_whole_and_in_one_order(self, subject: Subject) -> None:
        """Each disk once, also where the last page is full."""
        async with working(subject, "disks") as bench:
            await asyncio.gather(*(bench.disk() for _ in range(3)))

            async def fetch(page: int, page_size: int) -> Page[Disk]:
                return await bench.driver.disks.list(bench.tenant, bench.zone, page=page, page_size=page_size)

            whole = await every(fetch, 500)
            assert len(whole) >= 3
            assert_listed(whole, by_name=False)
            for page_size in (1, 2, len(whole), len(whole) + 1):
                assert [item.id for item in await every(fetch, page_size)] == [item.id for item in whole]
            after = await fetch(len(whole) + 1, 1)
            assert (list(after.items), after.more) == ([], False)

    @in_loop
    async def test_a_disk_is_listed_by_its_name_and_by_its_labels(self, subject: Subject) -> None:
        """By the name alone, in its zone and among all; what lacks a label may be left out, what has it may not."""
        async with working(subject, "disks") as bench:
            made = await bench.disk(labels={"a": "b", "c": ""})
            other = await bench.disk()
            for zone in (bench.zone, None):
                for name, found in ((made.name, [made.id]), (UNKNOWN, [])):
                    page = await bench.driver.disks.list(bench.tenant, zone, page=1, page_size=500, name=name)
                    assert ([item.id for item in page.items], page.more) == (found, False)
                past = await bench.driver.disks.list(bench.tenant, zone, page=2, page_size=1, name=made.name)
                assert (list(past.items), past.more) == ([], False)
                for labels in ({"a": "b"}, {"c": "", "a": "b"}, {"c": ""}):
                    page = await bench.driver.disks.list(bench.tenant, zone, page=1, page_size=500, labels=labels)
                    assert [(item.id, item.name) for item in page.items if item.id != other.id] == [
                        (made.id, made.name)
                    ]

    @in_loop
    async def test_disks_that_are_not_there_are_not_found(self, subject: Subject) -> None:
        """By name or number, with what was asked for; so with zones."""
        async with working(subject, "disks") as bench:
            for name in (UNKNOWN, unused_id()):
                with pytest.raises(errors.NotFound) as caught:
                    await bench.driver.disks.get(bench.tenant, bench.zone, name)
                assert (caught.value.kind, caught.value.name) == ("disk", name)
            with pytest.raises(errors.NotFound) as caught:
                await bench.driver.disks.get(bench.tenant, UNKNOWN, "disk")
            assert (caught.value.kind, caught.value.name) == ("zone", UNKNOWN)
            with pytest.raises(errors.NotFound) as caught:
                await bench.driver.disks.list(bench.tenant, UNKNOWN, page=1, page_size=1)
            assert (caught.value.kind, caught.value.name) == ("zone", UNKNOWN)

    @in_loop
    async def test_disks_of_others_are_not_there(self, subject: Subject) -> None:
        """Neither to be read nor to be deleted, resized or labelled; and their names are free."""
        async with working(subject, "disks") as bench:
            made = await bench.disk(labels={"old": "x"})
            disks = bench.driver.disks
            for name in (made.name, str(made.id)):
                with pytest.raises(errors.NotFound):
                    await disks.get(bench.other, bench.zone, name)
            page = await disks.list(bench.other, None, page=1, page_size=500)
            assert made.id not in [item.id for item in page.items]
            await disks.check(bench.other, bench.disk_spec(made.name))
            refused = (errors.NotFound, errors.Forbidden)
            with pytest.raises(refused):
                await disks.resize(bench.steps(bench.other), disk_ref(made), made.size_bytes + GIB)
            with pytest.raises(refused):
                await disks.set_labels(bench.steps(bench.other), disk_ref(made), {})
            with contextlib.suppress(errors.Forbidden):
                await disks.delete(bench.steps(bench.other), disk_ref(made))
            assert await disks.get(bench.tenant, bench.zone, made.name) == made

    @in_loop
    async def test_what_cannot_be_is_told_before_anything_is_made(self, subject: Subject) -> None:
        """A name that is taken, a zone or a type that is not there, a size that the type does not allow."""
        async with working(subject, "disks") as bench:
            made = await bench.disk()
            kind = await bench.driver.disks.type(bench.tenant, bench.zone, bench.ground.disk_type)
            wanted: list[tuple[DiskSpec, type[errors.DriverError], str | None]] = [
                (bench.disk_spec(made.name), errors.AlreadyExists, None),
                (bench.disk_spec(zone=UNKNOWN), errors.NotFound, "zone"),
                (bench.disk_spec(type=UNKNOWN), errors.NotFound, "type"),
                (bench.disk_spec(size_bytes=kind.maximum_bytes + GIB), errors.Invalid, "size_bytes"),
            ]
            for spec, error, field in wanted:
                with pytest.raises(error) as caught:
                    await bench.driver.disks.check(bench.tenant, spec)
                assert field is None or caught.value.field == field
                with pytest.raises(error):
                    await bench.driver.disks.create(bench.steps(), spec)
                assert [item.id for item in await named(bench, spec.name)] == [made.id] * (spec.name == made.name)

    @in_loop
    async def test_a_deleted_disk_is_gone_and_its_name_free(self, subject: Subject) -> None:
        """Deleting it again is no error, and spares the next one of its name."""
        async with working(subject, "disks") as bench:
            old = await bench.disk()
            await bench.driver.disks.delete(bench.steps(), disk_ref(old))
            with pytest.raises(errors.NotFound):
                await bench.driver.disks.get(bench.tenant, bench.zone, old.name)
            new = await bench.disk(name=old.name)
            await bench.driver.disks.delete(bench.steps(), disk_ref(old))
            await bench.driver.disks.delete(bench.steps(), DiskRef(fresh_name("disk"), bench.zone, UNKNOWN))
            assert await named(bench, old.name) == [new]

    @in_loop
    async def test_a_disk_grows_and_does_not_shrink(self, subject: Subject) -> None:
        """What is on it would be lost."""
        async with working(subject, "disks") as bench:
            small = await smallest(bench)
            large = small + 2 * subject.traits.disk_step_bytes
            made = await bench.disk(size_bytes=small)
            await bench.driver.disks.resize(bench.steps(), disk_ref(made), large)
            found = await bench.driver.disks.get(bench.tenant, bench.zone, made.name)
            assert (found.id, found.size_bytes) == (made.id, large)
            with pytest.raises(errors.Invalid):
                await bench.driver.disks.resize(bench.steps(), disk_ref(made), small)
            found = await bench.driver.disks.get(bench.tenant, bench.zone, made.name)
            assert found.size_bytes == large

    @in_loop
    async def test_labels_are_replaced_as_a_whole(self, subject: Subject) -> None:
        """Also by none; what else is known of the disk stays."""
        async with working(subject, "disks") as bench:
            made = await bench.disk(labels={"old": "x", "kept": "y"}, description="about it")
            for labels in ({"kept": "z", "new": ""}, {"kept": "z", "new": ""}, {}):
                await bench.driver.disks.set_labels(bench.steps(), disk_ref(made), labels)
                found = await bench.driver.disks.get(bench.tenant, bench.zone, made.name)
                assert (found.labels, found.description, found.type) == (labels, "about it", made.type)

    @in_loop
    async def test_disks_that_are_gone_cannot_be_changed(self, subject: Subject) -> None:
        """By the operation that was accepted while they were there."""
        async with working(subject, "disks") as bench:
            made = await bench.disk()
            await bench.driver.disks.delete(bench.steps(), disk_ref(made))
            with pytest.raises(errors.NotFound):
                await bench.driver.disks.resize(bench.steps(), disk_ref(made), made.size_bytes + GIB)
            with pytest.raises(errors.NotFound):
                await bench.driver.disks.set_labels(bench.steps(), disk_ref(made), {"a": "b"})


class DiskReplaysConformance:
    """`base.Disks`: mutations that were cut short."""

    @in_loop
    async def test_a_crash_at_any_moment_leaves_one_disk(self, subject: Subject) -> None:
        """Made once, and whole."""
        async with working(subject, "disks") as bench:

            async def prepare() -> DiskSpec:
                return bench.disk_spec(labels={"a": "b"}, description="c")

            async def create(steps: MemorySteps, spec: DiskSpec) -> None:
                await bench.driver.disks.create(steps, spec)

            async def verify(spec: DiskSpec, where: str) -> None:
                found = await named(bench, spec.name)
                assert [(item.labels, item.description) for item in found] == [(spec.labels, "c")], where
                await bench.remove_disk(spec.name)

            await at_each_moment(bench, prepare, create, verify)

    @in_loop
    async def test_a_crash_while_deleting_is_made_good(self, subject: Subject) -> None:
        """At each moment: it is gone."""
        async with working(subject, "disks") as bench:

            async def delete(steps: MemorySteps, made: Disk) -> None:
                await bench.driver.disks.delete(steps, disk_ref(made))

            async def verify(made: Disk, where: str) -> None:
                assert await named(bench, made.name) == [], where

            await at_each_moment(bench, bench.disk, delete, verify)

    @in_loop
    async def test_a_crash_while_growing_is_made_good(self, subject: Subject) -> None:
        """At each moment: it has the size that was asked for."""
        async with working(subject, "disks") as bench:
            sizes = [await smallest(bench)]
            made = await bench.disk(size_bytes=sizes[0])

            async def prepare() -> int:
                sizes.append(sizes[-1] + subject.traits.disk_step_bytes)
                return sizes[-1]

            async def resize(steps: MemorySteps, size_bytes: int) -> None:
                await bench.driver.disks.resize(steps, disk_ref(made), size_bytes)

            async def verify(size_bytes: int, where: str) -> None:
                found = await bench.driver.disks.get(bench.tenant, bench.zone, made.name)
                assert found.size_bytes == size_bytes, where

            await at_each_moment(bench, prepare, resize, verify)

    @in_loop
    async def test_a_crash_while_labelling_is_made_good(self, subject: Subject) -> None:
        """At each moment: the labels are those that were asked for."""
        async with working(subject, "disks") as bench:
            made = await bench.disk()

            async def prepare() -> dict[str, str]:
                await bench.driver.disks.set_labels(bench.steps(), disk_ref(made), {"old": "x", "kept": "y"})
                return {"kept": "z", "new": ""}

            async def label(steps: MemorySteps, labels: dict[str, str]) -> None:
                await bench.driver.disks.set_labels(steps, disk_ref(made), labels)

            async def verify(labels: dict[str, str], where: str) -> None:
                found = await bench.driver.disks.get(bench.tenant, bench.zone, made.name)
                assert found.labels == labels, where

            await at_each_moment(bench, prepare, label, verify)
