"""Disks on machines."""

from __future__ import annotations

import pytest

from gceshim.drivers import errors
from gceshim.model import AttachedDisk, AttachmentSpec, Disk, Instance
from gceshim.testing.conformance.bench import UNKNOWN, Bench, at_each_moment, disk_ref, in_loop, ref, working
from gceshim.testing.conformance.subject import Subject
from gceshim.testing.journal import MemorySteps

NEEDED = ("instances", "disks", "attachments")
DEVICE = "data-1"


async def data_disks(bench: Bench, made: Instance) -> tuple[AttachedDisk, ...]:
    """The disks of a machine, but for its boot disk."""
    found = await bench.driver.instances.get(bench.tenant, bench.zone, made.name)
    return tuple(disk for disk in found.disks if not disk.boot)


async def users(bench: Bench, disk: Disk) -> tuple[str, ...]:
    """Who has a disk."""
    return (await bench.driver.disks.get(bench.tenant, bench.zone, disk.name)).users


async def both(bench: Bench, *, auto_delete: bool = False) -> tuple[Instance, Disk]:
    """A machine, and a disk that is attached to it as `DEVICE`."""
    disk = await bench.disk()
    made = await bench.instance()
    wanted = AttachmentSpec(disk.name, DEVICE, auto_delete)
    await bench.driver.attachments.attach(bench.steps(), ref(made), wanted)
    return made, disk


class AttachmentsConformance:
    """`base.Attachments`: what it does."""

    @in_loop
    async def test_a_disk_is_attached_and_detached(self, subject: Subject) -> None:
        """Both sides tell it."""
        async with working(subject, *NEEDED) as bench:
            made, disk = await both(bench)
            (found,) = await data_disks(bench, made)
            assert (found.name, found.device_name, found.auto_delete) == (disk.name, DEVICE, False)
            assert found.index > 0
            assert await users(bench, disk) == (made.name,)
            await bench.driver.attachments.detach(bench.steps(), ref(made), DEVICE)
            assert await data_disks(bench, made) == ()
            assert await users(bench, disk) == ()

    @in_loop
    async def test_a_device_name_is_made_up(self, subject: Subject) -> None:
        """As GCE makes them; a second one differs."""
        async with working(subject, *NEEDED) as bench:
            disks = [await bench.disk() for _ in range(2)]
            made = await bench.instance()
            for disk in disks:
                await bench.driver.attachments.attach(bench.steps(), ref(made), AttachmentSpec(disk.name))
            names = [item.device_name for item in await data_disks(bench, made)]
            assert len(set(names)) == 2
            assert [name for name in names if not name.removeprefix("persistent-disk-").isdigit()] == []

    @in_loop
    async def test_a_boot_disk_is_a_disk_of_its_machine(self, subject: Subject) -> None:
        """It has the machine's name and cannot be deleted under it."""
        async with working(subject, *NEEDED) as bench:
            made = await bench.instance()
            disk = await bench.driver.disks.get(bench.tenant, bench.zone, made.name)
            assert (disk.boot, disk.users) == (True, (made.name,))
            with pytest.raises(errors.InUse):
                await bench.driver.disks.delete(bench.steps(), disk_ref(disk))
            await bench.driver.instances.delete(bench.steps(), ref(made))
            with pytest.raises(errors.NotFound):
                await bench.driver.disks.get(bench.tenant, bench.zone, made.name)

    @pytest.mark.parametrize("auto_delete", [False, True])
    @pytest.mark.parametrize("later", [False, True])
    @in_loop
    async def test_a_disk_goes_with_its_machine_only_if_it_is_to(
        self, subject: Subject, auto_delete: bool, later: bool
    ) -> None:
        """Said when it was attached, or later."""
        async with working(subject, *NEEDED) as bench:
            made, disk = await both(bench, auto_delete=auto_delete != later)
            if later:
                for _ in range(2):
                    await bench.driver.attachments.set_auto_delete(bench.steps(), ref(made), DEVICE, auto_delete)
            assert [item.auto_delete for item in await data_disks(bench, made)] == [auto_delete]
            await bench.driver.instances.delete(bench.steps(), ref(made))
            if auto_delete:
                with pytest.raises(errors.NotFound):
                    await users(bench, disk)
            else:
                assert await users(bench, disk) == ()

    @pytest.mark.parametrize("later", [False, True])
    @in_loop
    async def test_a_boot_disk_outlives_its_machine_if_it_is_to(self, subject: Subject, later: bool) -> None:
        """Said when the machine was made, or later."""
        async with working(subject, *NEEDED) as bench:
            made = await bench.instance(boot_disk_auto_delete=later)
            bench.disk_spec(made.name)
            if later:
                device = made.disks[0].device_name
                await bench.driver.attachments.set_auto_delete(bench.steps(), ref(made), device, False)
            await bench.driver.instances.delete(bench.steps(), ref(made))
            disk = await bench.driver.disks.get(bench.tenant, bench.zone, made.name)
            assert disk.users == ()

    @in_loop
    async def test_what_cannot_be_attached_is_refused(self, subject: Subject) -> None:
        """A disk that is not there or in use, a device name that is taken."""
        async with working(subject, *NEEDED) as bench:
            made, disk = await both(bench)
            other, free = await bench.instance(), await bench.disk()
            attach = bench.driver.attachments.attach
            with pytest.raises(errors.NotFound) as caught:
                await attach(bench.steps(), ref(made), AttachmentSpec(UNKNOWN))
            assert (caught.value.kind, caught.value.name) == ("disk", UNKNOWN)
            with pytest.raises(errors.InUse):
                await attach(bench.steps(), ref(other), AttachmentSpec(disk.name))
            with pytest.raises(errors.InUse):
                await bench.driver.disks.delete(bench.steps(), disk_ref(disk))
            with pytest.raises(errors.Invalid):
                await attach(bench.steps(), ref(made), AttachmentSpec(free.name, DEVICE))
            assert [item.name for item in await data_disks(bench, made)] == [disk.name]
            assert await data_disks(bench, other) == ()

    @in_loop
    async def test_what_cannot_be_detached_is_refused(self, subject: Subject) -> None:
        """A device that there is not, and the boot disk of a machine that runs."""
        async with working(subject, *NEEDED) as bench:
            made = await bench.instance()
            attachments = bench.driver.attachments
            with pytest.raises(errors.Invalid):
                await attachments.detach(bench.steps(), ref(made), UNKNOWN)
            with pytest.raises(errors.Invalid):
                await attachments.set_auto_delete(bench.steps(), ref(made), UNKNOWN, True)
            with pytest.raises(errors.NotReady):
                await attachments.detach(bench.steps(), ref(made), made.disks[0].device_name)

    @in_loop
    async def test_disks_and_machines_of_others_are_not_there(self, subject: Subject) -> None:
        """On neither side of an attachment."""
        async with working(subject, *NEEDED) as bench:
            made, disk = await both(bench)
            attachments = bench.driver.attachments
            refused = (errors.NotFound, errors.Forbidden)
            with pytest.raises(refused):
                await attachments.attach(bench.steps(bench.other), ref(made), AttachmentSpec(disk.name))
            with pytest.raises(refused):
                await attachments.detach(bench.steps(bench.other), ref(made), DEVICE)
            with pytest.raises(refused):
                await attachments.set_auto_delete(bench.steps(bench.other), ref(made), DEVICE, True)
            assert await users(bench, disk) == (made.name,)

    @in_loop
    async def test_a_crash_while_attaching_is_made_good(self, subject: Subject) -> None:
        """At each moment: attached once, as it was asked for."""
        async with working(subject, *NEEDED) as bench:
            disk, made = await bench.disk(), await bench.instance()

            async def prepare() -> AttachmentSpec:
                if await data_disks(bench, made):
                    await bench.driver.attachments.detach(bench.steps(), ref(made), DEVICE)
                return AttachmentSpec(disk.name, DEVICE, auto_delete=True)

            async def attach(steps: MemorySteps, wanted: AttachmentSpec) -> None:
                await bench.driver.attachments.attach(steps, ref(made), wanted)

            async def verify(wanted: AttachmentSpec, where: str) -> None:
                found = [(item.name, item.device_name, item.auto_delete) for item in await data_disks(bench, made)]
                assert found == [(disk.name, DEVICE, True)], where

            await at_each_moment(bench, prepare, attach, verify)

    @in_loop
    async def test_a_crash_while_detaching_is_made_good(self, subject: Subject) -> None:
        """At each moment: the disk is there, and nobody has it."""
        async with working(subject, *NEEDED) as bench:
            disk, made = await bench.disk(), await bench.instance()

            async def prepare() -> None:
                await bench.driver.attachments.attach(bench.steps(), ref(made), AttachmentSpec(disk.name, DEVICE))

            async def detach(steps: MemorySteps, _: None) -> None:
                await bench.driver.attachments.detach(steps, ref(made), DEVICE)

            async def verify(_: None, where: str) -> None:
                assert await users(bench, disk) == (), where
                assert await data_disks(bench, made) == (), where

            await at_each_moment(bench, prepare, detach, verify)
