"""Machines made with disks, and what becomes of these when the machine is deleted."""

from __future__ import annotations

import json

import pytest

from gceshim.drivers import errors
from gceshim.model import GIB, AttachmentSpec, DiskOfInstance, DiskSpec
from gceshim.simulator import SimulatorSettings
from gceshim.testing.journal import Crash
from tests import snapshots
from tests.drivers.test_attachments import disks_of
from tests.drivers.worlds import SG_ZONE, ZONE, cloud, on_loop, ref, spec

QUICK = SimulatorSettings(job_seconds=0)
NEW = DiskOfInstance(True, "scratch", create=DiskSpec("new", ZONE, "pd-ssd", 7 * GIB, "[new]", {"a": "b"}))
OLD = DiskOfInstance(False, attach="old")


async def make(world, name="old", **values):
    """A disk that is there before."""
    return await world.driver.disks.create(world.steps(), DiskSpec(name, ZONE, **values))


def volumes(world):
    """The names of all volumes that are no boot disks."""
    return sorted(row.name for row in world.sim.volumes() if row.kind == "DATADISK")


@on_loop
async def test_a_machine_is_made_with_disks():
    """A new one and one that was there; what is returned is what a get tells afterwards."""
    async with cloud() as world:
        await make(world)
        made = await world.create(spec(disks=(NEW, OLD), boot_device_name="boot"))
        assert made == await world.driver.instances.get(world.tenant, ZONE, "vm1")
        assert await disks_of(world) == [
            ("vm1", "boot", 0, True, True),
            ("new", "scratch", 1, False, True),
            ("old", "persistent-disk-2", 2, False, False),
        ]
        disk = await world.driver.disks.get(world.tenant, ZONE, "new")
        assert (disk.type, disk.size_bytes, disk.description, disk.labels, disk.users) == (
            "pd-ssd",
            7 * GIB,
            "[new]",
            {"a": "b"},
            ("vm1",),
        )


@on_loop
async def test_a_deleted_machine_takes_what_goes_with_it():
    """And nothing else; what is kept has no marks of it."""
    async with cloud() as world:
        old = await make(world)
        tags = world.sim.tags(old.backend_id)
        made = await world.create(spec(disks=(NEW, OLD)))
        await make(world, "later")
        await world.driver.attachments.attach(world.steps(), ref(made), AttachmentSpec("later", auto_delete=True))
        await make(world, "bystander")
        await world.driver.instances.delete(world.steps(), ref(made))
        assert [row.name for row in world.sim.volumes()] == ["old", "bystander"]
        assert await world.driver.disks.get(world.tenant, ZONE, "old") == old
        assert world.sim.tags(old.backend_id) == tags
        again = await world.create(spec(disks=(OLD,)))
        await world.driver.instances.delete(world.steps(), ref(again))
        assert volumes(world) == ["bystander", "old"]


@on_loop
async def test_a_mark_means_its_machine_only():
    """A disk that was moved in CloudStack itself is not deleted with its new machine."""
    async with cloud(QUICK) as world:
        made, other = await world.create(spec(disks=(NEW,))), await world.create(spec("vm2"))
        volume = next(row for row in world.sim.volumes() if row.name == "new")
        await world.raw("detachVolume", id=volume.uuid)
        await world.raw("attachVolume", id=volume.uuid, virtualmachineid=other.backend_id)
        assert (await disks_of(world, "vm2"))[1][4] is False
        await world.driver.instances.delete(world.steps(), ref(other))
        await world.driver.instances.delete(world.steps(), ref(made))
        assert volumes(world) == ["new"]


@on_loop
async def test_a_boot_disk_may_be_kept():
    """Under the machine's name; a machine of that name then cannot be made, as on GCE."""
    async with cloud() as world:
        made = await world.create(spec(boot_disk_auto_delete=False))
        assert (await disks_of(world))[0][4] is False
        boot = await world.driver.disks.get(world.tenant, ZONE, "vm1")
        await world.driver.instances.delete(world.steps(), ref(made))
        assert world.sim.vms() == []
        kept = await world.driver.disks.get(world.tenant, ZONE, "vm1")
        assert (kept.id, kept.users, kept.image) == (boot.id, (), boot.image)
        with pytest.raises(errors.AlreadyExists) as caught:
            await world.driver.instances.check(world.tenant, spec())
        assert (caught.value.kind, caught.value.field) == ("disk", "name")
        stopped = await world.create(spec("vm2", boot_disk_auto_delete=False))
        await world.driver.instances.stop(world.steps(), ref(stopped))
        await world.driver.instances.delete(world.steps(), ref(stopped))
        assert volumes(world) == ["vm1", "vm2"]


@on_loop
async def test_a_name_that_is_taken_by_a_machine_is_told_of_the_machine():
    """Not of its boot disk."""
    async with cloud(QUICK) as world:
        await world.create(spec())
        with pytest.raises(errors.AlreadyExists) as caught:
            await world.driver.instances.check(world.tenant, spec())
        assert caught.value.kind == "instance"


@pytest.mark.parametrize(
    ("disks", "kind", "field"),
    [
        ((DiskOfInstance(False, attach="nosuch"),), errors.NotFound, "disks[0].attach"),
        ((NEW, DiskOfInstance(False, attach="far")), errors.NotFound, "disks[1].attach"),
        ((DiskOfInstance(False, attach="used"),), errors.InUse, "disks[0].attach"),
        ((OLD, OLD), errors.Invalid, "disks[1].attach"),
        ((DiskOfInstance(False, create=DiskSpec("old", ZONE)),), errors.AlreadyExists, "disks[0].create.name"),
        ((DiskOfInstance(False, create=DiskSpec("vm1", ZONE)),), errors.Invalid, "disks[0].create.name"),
        ((NEW, DiskOfInstance(False, create=NEW.create)), errors.Invalid, "disks[1].create.name"),
        ((DiskOfInstance(False, create=DiskSpec("x", ZONE, "no")),), errors.NotFound, "disks[0].create.type"),
        (
            (DiskOfInstance(False, create=DiskSpec("x", ZONE, "small", 9 * GIB)),),
            errors.Invalid,
            "disks[0].create.size_bytes",
        ),
        ((OLD, DiskOfInstance(False, "persistent-disk-0", attach="other")), errors.Invalid, "disks[1].device_name"),
        ((NEW, DiskOfInstance(False, "scratch", attach="old")), errors.Invalid, "disks[1].device_name"),
    ],
)
@on_loop
async def test_what_cannot_be_is_told_before_anything_is_made(disks, kind, field):
    """With the attribute at fault."""
    async with cloud(QUICK) as world:
        await make(world)
        await make(world, "used")
        await world.driver.disks.create(world.steps(), DiskSpec("far", SG_ZONE))
        user = await world.create(spec("user"))
        await world.driver.attachments.attach(world.steps(), ref(user), AttachmentSpec("used"))
        before = volumes(world)
        for attempt in (world.driver.instances.check(world.tenant, spec(disks=disks)), world.create(spec(disks=disks))):
            with pytest.raises(kind) as caught:
                await attempt
            assert caught.value.field == field
        assert volumes(world) == before
        assert len(world.sim.vms()) == 1


@pytest.mark.parametrize(
    ("fault", "command", "times"),
    [
        ("failing_job", "createVolume", 1),
        ("quota_full", "createVolume", 1),
        ("http_error", "createVolume", 1),
        ("failing_job", "attachVolume", 1),
        ("http_error", "attachVolume", 1),
        ("capacity", "deployVirtualMachine", 1),
        ("quota_full", "deployVirtualMachine", 1),
        ("failing_job", "createTags", 1),
        ("failing_job", "createTags", 2),
        ("http_error", "createTags", 1),
        ("capacity", "associateIpAddress", 1),
        ("error_rate", "enableStaticNat", 1),
    ],
)
@on_loop
async def test_a_failure_on_the_way_leaves_disks_as_they_were(fault, command, times):
    """New ones are gone, the others free and unmarked."""
    async with cloud(QUICK) as world:
        old = await make(world)
        tags = world.sim.tags(old.backend_id)
        await world.create(spec("first"))
        world.sim.faults.add(fault, command=command, times=times)
        with pytest.raises(errors.DriverError) as caught:
            await world.create(spec(disks=(OLD, NEW), external="nat"))
        assert "left behind" not in caught.value.message
        assert [vm.name for vm in world.sim.vms()] == ["first"]
        assert volumes(world) == ["old"]
        assert await world.driver.disks.get(world.tenant, ZONE, "old") == old
        assert world.sim.tags(old.backend_id) == tags
        world.sim.faults.clear()
        await world.create(spec(disks=(OLD, NEW), external="nat"))


@on_loop
async def test_a_failing_last_step_leaves_disks_as_they_were():
    """By then all is attached."""
    async with cloud(QUICK) as world:
        old = await make(world)
        await world.create(spec("first"))
        world.sim.faults.add("error_rate", command="updateVirtualMachine", times=1)
        with pytest.raises(errors.Failed):
            await world.create(spec(disks=(OLD, NEW), deletion_protection=True))
        assert volumes(world) == ["old"]
        assert await world.driver.disks.get(world.tenant, ZONE, "old") == old


@on_loop
async def test_a_disk_that_cannot_be_removed_is_named():
    """In the error of the machine that is not made, and of one that is deleted."""
    async with cloud(QUICK) as world:
        made = await world.create(spec(disks=(NEW,)))
        world.sim.faults.add("error_rate", command="deleteVolume", times=0)
        with pytest.raises(errors.Failed, match="is gone, but these disks could not be removed: new"):
            await world.driver.instances.delete(world.steps(), ref(made))
        world.sim.faults.clear()
        await world.raw("deleteVolume", id=world.sim.volume("new").uuid)
        world.sim.faults.add("error_rate", command="deleteVolume", times=0)
        world.sim.faults.add("capacity", command="deployVirtualMachine", times=1)
        with pytest.raises(errors.CapacityExhausted, match=r"left behind.*disk new"):
            await world.create(spec(disks=(NEW,)))


@pytest.mark.parametrize("command", ["createVolume", "createTags", "attachVolume", "deployVirtualMachine"])
@on_loop
async def test_a_lost_answer_is_made_good(command):
    """The call took effect."""
    async with cloud() as world:
        await make(world)
        world.sim.faults.add("lost_reply", command=command, times=1)
        await world.create(spec(disks=(OLD, NEW)))
        assert [item[0] for item in await disks_of(world)] == ["vm1", "old", "new"]
        assert volumes(world) == ["new", "old"]


@on_loop
async def test_a_crash_while_making_leaves_one_of_each():
    """At each moment."""
    async with cloud(QUICK) as world:
        await make(world)
        moment, again = 0, True
        while again:
            moment, again = moment + 1, False
            steps = world.steps()
            steps.crash_at = moment
            try:
                made = await world.driver.instances.create(steps, spec(disks=(OLD, NEW)))
            except Crash:
                again = True
                made = await world.driver.instances.create(steps.replay(), spec(disks=(OLD, NEW)))
            assert [disk.name for disk in made.disks] == ["vm1", "old", "new"], moment
            assert [disk.auto_delete for disk in made.disks] == [True, False, True], moment
            await world.driver.instances.delete(world.steps(), ref(made))
            assert volumes(world) == ["old"], moment
        assert moment > 30


@on_loop
async def test_a_crash_while_deleting_is_made_good():
    """At each moment, with a boot disk that is kept."""
    async with cloud(QUICK) as world:
        disks = (NEW, DiskOfInstance(False, create=DiskSpec("kept", ZONE)))
        made = await world.create(spec(disks=disks, boot_disk_auto_delete=False))
        snapshot = snapshots.taken(world.sim)
    moment, again = 0, True
    while again:
        moment, again = moment + 1, False
        async with cloud(QUICK, snapshot) as world:
            steps = world.steps()
            steps.crash_at = moment
            try:
                await world.driver.instances.delete(steps, ref(made))
            except Crash:
                again = True
                await world.driver.instances.delete(steps.replay(), ref(made))
            assert volumes(world) == ["kept", "vm1"], moment
            assert world.sim.vms() == []
    assert moment > 25


@pytest.mark.parametrize("command", ["stopVirtualMachine", "updateVolume", "createTags", "detachVolume"])
@pytest.mark.parametrize("fault", ["failing_job", "http_error"])
@on_loop
async def test_a_deletion_that_fails_loses_nothing(fault, command):
    """The machine is there with its disks, and can be deleted again."""
    async with cloud(QUICK) as world:
        made = await world.create(spec(disks=(NEW,), boot_disk_auto_delete=False))
        before = await disks_of(world)
        world.sim.faults.add(fault, command=command, times=1)
        with pytest.raises(errors.DriverError):
            await world.driver.instances.delete(world.steps(), ref(made))
        assert await disks_of(world) == before
        await world.driver.instances.delete(world.steps(), ref(made))
        assert volumes(world) == ["vm1"]


@on_loop
async def test_where_users_may_not_expunge_disks_go_all_the_same():
    """Data disks are detached when the machine is destroyed."""
    async with cloud(SimulatorSettings(job_seconds=0, allow_user_expunge_recover_vm=False)) as world:
        await make(world)
        made = await world.create(spec(disks=(NEW, OLD)))
        await world.driver.instances.delete(world.steps(), ref(made))
        assert volumes(world) == ["old"]
        found = (await world.driver.disks.list(world.tenant, ZONE, page=1, page_size=10)).items
        assert [item.name for item in found] == ["old"]


@on_loop
async def test_reads_of_machines_with_disks_cost_two_calls():
    """As without."""
    async with cloud(QUICK) as world:
        await make(world)
        await world.create(spec(disks=(NEW, OLD)))
        await disks_of(world)
        for ask in (
            world.driver.instances.get(world.tenant, ZONE, "vm1"),
            world.driver.instances.list(world.tenant, ZONE, page=1, page_size=10),
        ):
            before = len(list(world.sim.calls))
            await ask
            assert world.commands_since(before) == ["listVirtualMachines", "listVolumes"]


async def listed(world, **values):
    """A page of instances, and the calls that it took."""
    before = len(world.sim.calls)
    asked = {"page": 1, "page_size": 10, **values}
    found = await world.driver.instances.list(world.tenant, asked.pop("zone", ZONE), **asked)
    return found.items, world.commands_since(before)


@on_loop
async def test_a_list_shows_what_a_get_shows():
    """Sizes of boot disks too: whoever filters by them must not miss a machine."""
    async with cloud(QUICK) as world:
        await make(world)
        await world.create(spec(disks=(NEW, OLD), boot_disk_size_bytes=33 * GIB))
        await world.create(spec("vm2"))
        one = [await world.driver.instances.get(world.tenant, ZONE, name) for name in ("vm1", "vm2")]
        assert one[0].disks[0].size_bytes == 33 * GIB
        for values in ({}, {"zone": None}, {"name": "vm1"}, {"page_size": 1}, {"page": 2, "page_size": 1}):
            found, calls = await listed(world, **values)
            assert list(found) == [item for item in one if item.name in {shown.name for shown in found}]
            assert (bool(found), calls) == (True, ["listVirtualMachines", "listVolumes"])


@on_loop
async def test_sizes_of_boot_disks_are_left_out_where_disks_fill_more_than_a_page():
    """All of them would be as many calls as there are pages; what is asked for by name has them."""
    async with cloud(SimulatorSettings(machines=8), page_size=7) as world:
        for number in range(4):
            await make(world, f"extra-{number}")
            await world.raw(
                "attachVolume",
                id=world.sim.volume(f"extra-{number}").uuid,
                virtualmachineid=world.sim.vm(f"machine-0000{number + 1}").uuid,
            )
        await listed(world)
        found, calls = await listed(world, page_size=7)
        assert {disk.size_bytes for item in found for disk in item.disks if disk.boot} == {None}
        assert [disk.size_bytes for item in found for disk in item.disks if not disk.boot] == [10 * GIB] * 4
        assert calls == ["listVirtualMachines", "listVolumes"]
        await world.driver.instances.get(world.tenant, ZONE, "machine-00008")
        found, calls = await listed(world, name="machine-00008")
        assert [disk.size_bytes for item in found for disk in item.disks] == [10 * GIB]
        assert calls == ["listVirtualMachines", "listVolumes"]
        found, calls = await listed(world, page=2, page_size=7)
        assert [disk.size_bytes for item in found for disk in item.disks] == [None]
        assert calls == ["listVirtualMachines", "listVolumes"]


@on_loop
async def test_names_of_attached_disks_are_those_of_the_disks():
    """Also where CloudStack has two of a name, or a machine of a disk's name."""
    async with cloud(QUICK, cache_seconds=0) as world:
        vm = await world.create(spec())
        zone = world.sim.vm("vm1").zone.uuid
        custom = (await world.raw("listDiskOfferings", name="Custom"))["diskoffering"][0]["id"]
        for name in ("Data", "data", "data", "vm1"):
            made = await world.raw("createVolume", name=name, zoneid=zone, diskofferingid=custom, size=1)
            await world.raw("attachVolume", id=made["volume"]["id"], virtualmachineid=vm.backend_id)
        await make(world, "native")
        base = {"zoneid": zone, "templateid": world.sim.vm("vm1").template.uuid}
        base["serviceofferingid"] = world.sim.vm("vm1").offering.uuid
        await world.raw("deployVirtualMachine", name="native", **base)
        shown = {
            item.name: item for item in (await world.driver.disks.list(world.tenant, ZONE, page=1, page_size=50)).items
        }
        assert len(shown) == 7
        for name in ("vm1", "native"):
            for found in await disks_of(world, name):
                assert shown[found[0]].users == (name,)
                assert shown[found[0]].boot is found[3]
        assert (await disks_of(world))[0][0] == "vm1"
        assert (await disks_of(world, "native"))[0][0].startswith("native-")
        assert shown["native"].users == ()


@on_loop
async def test_a_boot_disk_is_of_the_type_that_was_asked_for():
    """GCE's own names mean the machine type's storage, unless the settings say what they mean."""
    async with cloud(QUICK, disk_types={"pd-ssd": "Medium"}) as world:
        for name, kind, size_bytes in (
            ("a", "pd-balanced", 10 * GIB),
            ("b", "pd-ssd", 20 * GIB),
            ("c", "custom", 10 * GIB),
            ("d", "", 10 * GIB),
        ):
            await world.create(spec(name, boot_disk_type=kind))
            disk = await world.driver.disks.get(world.tenant, ZONE, name)
            assert (disk.type, disk.size_bytes) == (kind or "pd-standard", size_bytes)
        made = await world.create(spec("e", boot_disk_type="custom", boot_disk_size_bytes=33 * GIB))
        assert made.disks[0].size_bytes == 33 * GIB
        for changes, field in (
            ({"boot_disk_type": "nosuch"}, "boot_disk_type"),
            ({"boot_disk_type": "small"}, "boot_disk_type"),
            ({"boot_disk_type": "pd-ssd", "boot_disk_size_bytes": 30 * GIB}, "boot_disk_size_bytes"),
            ({"boot_disk_type": "custom", "boot_disk_size_bytes": 5 * GIB}, "boot_disk_size_bytes"),
        ):
            with pytest.raises(errors.DriverError) as caught:
                await world.driver.instances.check(world.tenant, spec(**changes))
            assert caught.value.field == field


@on_loop
async def test_the_plan_of_an_older_server_is_understood():
    """An operation may be taken up by a server that knows more."""
    async with cloud(QUICK) as world:
        steps = world.steps()
        steps.crash_at = 4
        with pytest.raises(Crash):
            await world.driver.instances.create(steps, spec())
        entry = json.loads(steps.journal["resolve"])
        for key in ("disks", "root_offering_id"):
            del entry["result"][key]
        steps.journal["resolve"] = json.dumps(entry)
        assert (await world.driver.instances.create(steps.replay(), spec())).name == "vm1"
