"""Disks on machines: attached, detached, gone with their machine or kept, and what a crash or a failure leaves."""

from __future__ import annotations

import asyncio

import pytest

from gceshim.drivers import errors
from gceshim.model import GIB, AttachmentSpec, DiskSpec, InstanceRef
from gceshim.simulator import SimulatorSettings
from gceshim.testing.journal import Crash
from tests.drivers.worlds import SG_ZONE, ZONE, cloud, disk_ref, on_loop, ref, spec

QUICK = SimulatorSettings(job_seconds=0)


async def make(world, name="data", zone=ZONE, **values):
    """A disk of 10 GB."""
    return await world.driver.disks.create(world.steps(), DiskSpec(name, zone, **values))


async def attach(world, instance, disk="data", device_name="", auto_delete=False):
    """In an operation of its own."""
    wanted = AttachmentSpec(disk, device_name, auto_delete)
    await world.driver.attachments.attach(world.steps(), ref(instance), wanted)


async def detach(world, instance, device_name):
    """In an operation of its own."""
    await world.driver.attachments.detach(world.steps(), ref(instance), device_name)


async def disks_of(world, name="vm1"):
    """What a get tells of a machine's disks, which a list has to tell alike but for the size of the boot disk."""
    one = await world.driver.instances.get(world.tenant, ZONE, name)
    page = await world.driver.instances.list(world.tenant, ZONE, page=1, page_size=100)
    listed = next(item for item in page.items if item.name == name)
    assert [short(disk) for disk in listed.disks] == [short(disk) for disk in one.disks]
    return [short(disk) for disk in one.disks]


def short(disk):
    """Name, device name, place, boot, auto-delete."""
    return (disk.name, disk.device_name, disk.index, disk.boot, disk.auto_delete)


BOOT = ("vm1", "persistent-disk-0", 0, True, True)


def reserved(world, disk):
    """The keys of the reserved tags of a disk."""
    return {key for key in world.sim.tags(disk.backend_id) if key.startswith("gce:")}


@on_loop
async def test_a_disk_is_attached_and_detached():
    """Running or stopped; both sides tell of it, and afterwards neither."""
    async with cloud() as world:
        vm, made = await world.create(spec()), await make(world)
        before = reserved(world, made)
        await attach(world, vm)
        assert await disks_of(world) == [BOOT, ("data", "persistent-disk-1", 1, False, False)]
        disk = await world.driver.disks.get(world.tenant, ZONE, "data")
        assert (disk.users, disk.attached is not None) == (("vm1",), True)
        with pytest.raises(errors.InUse, match="vm1"):
            await world.driver.disks.delete(world.steps(), disk_ref(disk))
        await detach(world, vm, "persistent-disk-1")
        assert await disks_of(world) == [BOOT]
        assert await world.driver.disks.get(world.tenant, ZONE, "data") == made
        assert reserved(world, made) == before
        await world.driver.instances.stop(world.steps(), ref(vm))
        await attach(world, vm, device_name="logs", auto_delete=True)
        assert await disks_of(world) == [BOOT, ("data", "logs", 1, False, True)]
        await detach(world, vm, "logs")
        assert await disks_of(world) == [BOOT]


@on_loop
async def test_device_names_are_of_one_machine_and_free_ones_are_found():
    """Also when several are attached at once, and by CloudStack's own tools."""
    async with cloud() as world:
        vm = await world.create(spec())
        for number in range(5):
            await make(world, f"d{number}")
        await attach(world, vm, "d0", "persistent-disk-2")
        await asyncio.gather(*(attach(world, vm, f"d{number}") for number in (1, 2)))
        found = await disks_of(world)
        assert [item[2] for item in found] == [0, 1, 2, 3]
        assert sorted(item[1] for item in found) == [f"persistent-disk-{number}" for number in (0, 2, 3, 4)]
        with pytest.raises(errors.Invalid) as caught:
            await attach(world, vm, "d3", "persistent-disk-2")
        assert caught.value.field == "device_name"
        native = next(row for row in world.sim.volumes() if row.name == "d3")
        await world.raw("attachVolume", id=native.uuid, virtualmachineid=vm.backend_id)
        assert (await disks_of(world))[-1] == ("d3", "persistent-disk-5", 4, False, False)
        await detach(world, vm, "persistent-disk-5")
        assert native.vm is None


@pytest.mark.parametrize(
    ("disk", "kind"), [("nosuch", errors.NotFound), ("far", errors.NotFound), ("used", errors.InUse)]
)
@on_loop
async def test_a_disk_that_cannot_be_had_is_refused(disk, kind):
    """Not there, in another zone, or of another machine."""
    async with cloud(QUICK) as world:
        vm, other = await world.create(spec()), await world.create(spec("vm2"))
        await make(world, "far", SG_ZONE)
        await make(world, "used")
        await attach(world, other, "used")
        with pytest.raises(kind) as caught:
            await attach(world, vm, disk)
        assert (caught.value.kind, caught.value.name) == ("disk", disk)
        assert await disks_of(world) == [BOOT]
        with pytest.raises(errors.InUse):
            await attach(world, vm, "vm2")
        with pytest.raises(errors.NotFound):
            await attach(world, other.__class__(**{**fields(other), "backend_id": "not-a-uuid"}), "used")


def fields(item):
    """The fields of a frozen object."""
    return {name: getattr(item, name) for name in item.__slots__}


@on_loop
async def test_one_disk_that_is_wanted_twice_goes_to_one():
    """The other is told so, and the first keeps what was asked for."""
    async with cloud(SimulatorSettings(job_seconds=0.02)) as world:
        machines = [await world.create(spec(f"vm{number}")) for number in (1, 2)]
        disk = await make(world)
        found = await asyncio.gather(
            *(attach(world, vm, device_name=f"on-{vm.name}", auto_delete=True) for vm in machines),
            return_exceptions=True,
        )
        assert sum(item is None for item in found) == 1
        user = (await world.driver.disks.get(world.tenant, ZONE, "data")).users[0]
        assert disk.name in [item[0] for item in await disks_of(world, user)]


@on_loop
async def test_a_machine_can_take_so_many():
    """CloudStack's own words say how many."""
    async with cloud(QUICK) as world:
        vm = await world.create(spec())
        for number in range(14):
            await make(world, f"d{number}", size_bytes=GIB)
            await attach(world, vm, f"d{number}")
        await make(world, "last")
        with pytest.raises(errors.Invalid, match="maximum number of data disks"):
            await attach(world, vm, "last")
        assert "gce:device-name" not in world.sim.tags(next(r.uuid for r in world.sim.volumes() if r.name == "last"))


@on_loop
async def test_a_device_that_is_not_there_is_named():
    """With those that are."""
    async with cloud(QUICK) as world:
        vm = await world.create(spec(boot_device_name="boot"))
        for attempt in (
            detach(world, vm, "nosuch"),
            world.driver.attachments.set_auto_delete(world.steps(), ref(vm), "nosuch", True),
        ):
            with pytest.raises(errors.Invalid, match="there are: boot"):
                await attempt
        with pytest.raises(errors.NotFound):
            await world.driver.attachments.detach(world.steps(), InstanceRef("gone", ZONE, "not-a-uuid"), "boot")


@on_loop
async def test_a_boot_disk_is_taken_from_a_stopped_machine_and_given_back():
    """It keeps the machine's name; a machine without one shows none."""
    async with cloud(QUICK) as world:
        vm = await world.create(spec(labels={"a": "b"}))
        boot = await world.driver.disks.get(world.tenant, ZONE, "vm1")
        with pytest.raises(errors.NotReady):
            await detach(world, vm, "persistent-disk-0")
        await world.driver.instances.stop(world.steps(), ref(vm))
        await detach(world, vm, "persistent-disk-0")
        assert await disks_of(world) == []
        disk = await world.driver.disks.get(world.tenant, ZONE, "vm1")
        assert (disk.id, disk.users, disk.boot, disk.type) == (boot.id, (), True, "pd-standard")
        assert [
            item.name for item in (await world.driver.disks.list(world.tenant, ZONE, page=1, page_size=9)).items
        ] == ["vm1"]
        await attach(world, vm, "vm1", "root")
        assert await disks_of(world) == [("vm1", "root", 0, True, False)]
        assert await world.driver.disks.get(world.tenant, ZONE, "vm1") == boot.__class__(
            **{**fields(boot), "attached": (await world.driver.disks.get(world.tenant, ZONE, "vm1")).attached}
        )
        await world.driver.instances.start(world.steps(), ref(vm))
        assert (await world.driver.instances.get(world.tenant, ZONE, "vm1")).labels == {"a": "b"}


@on_loop
async def test_a_boot_disk_may_be_another_machines_data_disk():
    """To repair it."""
    async with cloud(QUICK) as world:
        broken, healthy = await world.create(spec("broken")), await world.create(spec())
        await world.driver.instances.stop(world.steps(), ref(broken))
        await detach(world, broken, "persistent-disk-0")
        await attach(world, healthy, "broken")
        assert await disks_of(world) == [BOOT, ("broken", "persistent-disk-1", 1, False, False)]
        await detach(world, healthy, "persistent-disk-1")
        await attach(world, broken, "broken", auto_delete=True)
        assert await disks_of(world, "broken") == [("broken", "persistent-disk-0", 0, True, True)]


@on_loop
async def test_auto_delete_is_set_and_told():
    """Of data disks and of the boot disk."""
    async with cloud(QUICK) as world:
        vm = await world.create(spec())
        await make(world)
        await attach(world, vm)
        settings = world.driver.attachments
        for value in (True, True, False):
            for device in ("persistent-disk-0", "persistent-disk-1"):
                await settings.set_auto_delete(world.steps(), ref(vm), device, value)
            assert [item[4] for item in await disks_of(world)] == [value, value]
        world.sim.faults.add("failing_job", command="createTags", times=1)
        with pytest.raises(errors.DriverError):
            await settings.set_auto_delete(world.steps(), ref(vm), "persistent-disk-1", True)
        assert [item[4] for item in await disks_of(world)] == [False, False]


@pytest.mark.parametrize("command", ["createTags", "attachVolume"])
@pytest.mark.parametrize("fault", ["failing_job", "http_error", "connection_reset"])
@on_loop
async def test_an_attachment_that_fails_leaves_nothing_behind(fault, command):
    """Neither an attached disk nor its marks."""
    async with cloud(QUICK) as world:
        vm, made = await world.create(spec()), await make(world)
        before = world.sim.tags(made.backend_id)
        world.sim.faults.add(fault, command=command, times=1)
        with pytest.raises(errors.DriverError) as caught:
            await attach(world, vm, auto_delete=True)
        assert "left behind" not in caught.value.message
        assert await disks_of(world) == [BOOT]
        assert world.sim.tags(made.backend_id) == before
        await attach(world, vm)


@pytest.mark.parametrize("command", ["deleteTags", "detachVolume"])
@pytest.mark.parametrize("fault", ["failing_job", "http_error", "connection_reset"])
@on_loop
async def test_a_detachment_that_fails_leaves_all_as_it_was(fault, command):
    """Device name and auto-delete too."""
    async with cloud(QUICK) as world:
        vm = await world.create(spec())
        await make(world)
        await attach(world, vm, device_name="logs", auto_delete=True)
        world.sim.faults.add(fault, command=command, times=1)
        with pytest.raises(errors.DriverError):
            await detach(world, vm, "logs")
        assert await disks_of(world) == [BOOT, ("data", "logs", 1, False, True)]
        await detach(world, vm, "logs")


@pytest.mark.parametrize("command", ["createTags", "updateVolume", "detachVolume"])
@pytest.mark.parametrize("fault", ["failing_job", "http_error"])
@on_loop
async def test_a_boot_disk_that_cannot_be_taken_away_is_as_it_was(fault, command):
    """Its name in CloudStack too."""
    async with cloud(QUICK) as world:
        vm = await world.create(spec())
        await world.driver.instances.stop(world.steps(), ref(vm))
        (root,) = world.sim.volumes()
        before = (root.name, root.kind, world.sim.tags(root.uuid), world.sim.tags(vm.backend_id))
        world.sim.faults.add(fault, command=command, times=1)
        with pytest.raises(errors.DriverError) as caught:
            await detach(world, vm, "persistent-disk-0")
        assert "left behind" not in caught.value.message
        assert (root.name, root.kind, world.sim.tags(root.uuid), world.sim.tags(vm.backend_id)) == before
        assert await disks_of(world) == [BOOT]


@pytest.mark.parametrize("command", ["createTags", "attachVolume", "detachVolume", "deleteTags", "updateVolume"])
@on_loop
async def test_a_lost_answer_is_made_good(command):
    """The call took effect."""
    async with cloud() as world:
        vm = await world.create(spec())
        await make(world)
        world.sim.faults.add("lost_reply", command=command, times=1)
        await attach(world, vm)
        await detach(world, vm, "persistent-disk-1")
        await world.driver.instances.stop(world.steps(), ref(vm))
        await detach(world, vm, "persistent-disk-0")
        assert await disks_of(world) == []
        assert {row.name for row in world.sim.volumes()} == {"data", "vm1"}


@on_loop
async def test_a_crash_at_any_moment_is_made_good():
    """Attaching, detaching, and taking a boot disk away."""
    async with cloud(QUICK) as world:
        vm = await world.create(spec())
        await make(world)
        await world.driver.instances.stop(world.steps(), ref(vm))
        attachments, at = world.driver.attachments, ref(vm)

        async def crashed(moment, run):
            steps = world.steps()
            steps.crash_at = moment
            try:
                await run(steps)
            except Crash:
                await run(steps.replay())
                return True
            return False

        async def put(steps):
            await attachments.attach(steps, at, AttachmentSpec("data", "logs", auto_delete=True))

        async def take(steps):
            await attachments.detach(steps, at, "logs")

        async def put_boot(steps):
            await attachments.attach(steps, at, AttachmentSpec("vm1", auto_delete=True))

        async def take_boot(steps):
            await attachments.detach(steps, at, "persistent-disk-0")

        moment, again = 0, True
        while again:
            moment += 1
            again = await crashed(moment, put)
            assert await disks_of(world) == [BOOT, ("data", "logs", 1, False, True)], moment
            again |= await crashed(moment, take)
            assert await disks_of(world) == [BOOT], moment
            again |= await crashed(moment, take_boot)
            assert await disks_of(world) == [], moment
            again |= await crashed(moment, put_boot)
            assert await disks_of(world) == [BOOT], moment
        assert moment > 15
