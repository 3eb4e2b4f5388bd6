"""Changes of one machine: what is changed, what stays, and what a crash or a failure leaves."""

from __future__ import annotations

import asyncio
import base64
import gzip
import random

import pytest

from gceshim.drivers import errors
from gceshim.model import DiskSpec, InstanceRef
from gceshim.simulator import SimulatorSettings
from gceshim.testing.journal import Crash
from tests import snapshots
from tests.drivers.worlds import SG_ZONE, ZONE, cloud, on_loop, ref, spec

QUICK = SimulatorSettings(job_seconds=0)
FULL = {
    "labels": {"env": "prod", "empty": ""},
    "metadata": {"startup-script": "echo one", "note": "x" * 600},
    "network_tags": ("web",),
    "description": "A [machine]",
    "kept": {"scheduling": {"preemptible": False}},
}


async def start(world, **values):
    """A machine with something of everything."""
    return await world.create(spec(**{**FULL, **values}))


async def read(world, name="vm1"):
    """The machine as it is."""
    return await world.driver.instances.get(world.tenant, ZONE, name)


def different(made, changed):
    """The fields that differ, with their new values."""
    return {name: getattr(changed, name) for name in made.__slots__ if getattr(made, name) != getattr(changed, name)}


def user_data(world, name="vm1"):
    """The user data that CloudStack holds, as text."""
    content = base64.b64decode(world.sim.vm(name).user_data or "")
    return (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode()


CHANGES = {
    "set_labels": (({"env": "test", "new": ""},), {"labels": {"env": "test", "new": ""}}),
    "set_network_tags": ((("db", "ssh"),), {"network_tags": ("db", "ssh")}),
    "set_metadata": (
        ({"startup-script": "echo two", "long": "y" * 9000}, {}),
        {"metadata": {"startup-script": "echo two", "long": "y" * 9000}},
    ),
    "set_deletion_protection": ((True,), {"deletion_protection": True}),
    "set_kept": (
        ({"scheduling": {"preemptible": True}, "b": [1]},),
        {"kept": {"scheduling": {"preemptible": True}, "b": [1]}},
    ),
    "set_description": (("Another",), {"description": "Another"}),
    "set_machine_type": (
        ("custom-2-4096",),
        {"machine_type": "custom-2-4096", "vcpus": 2, "memory_mib": 4096},
    ),
    "rename": (("vm9",), {"name": "vm9"}),
}
STOPPED = ("set_machine_type", "rename")
COMMANDS = [
    *((name, command) for name in CHANGES if name != "rename" for command in ("createTags",)),
    *(
        (name, "deleteTags")
        for name in ("set_labels", "set_network_tags", "set_metadata", "set_kept", "set_machine_type")
    ),
    *((name, "updateVirtualMachine") for name in ("set_metadata", "set_deletion_protection", "rename")),
    ("set_machine_type", "scaleVirtualMachine"),
]


async def change(world, made, name, steps=None):
    """Carry one of the changes out."""
    await getattr(world.driver.instance_settings, name)(steps or world.steps(), ref(made), *CHANGES[name][0])


async def prepared(world, name):
    """A machine that is ready for the change."""
    made = await start(world)
    if name in STOPPED:
        await world.driver.instances.stop(world.steps(), ref(made))
    return await read(world)


def expected(name):
    """What differs after a change; a boot disk is called as its machine is."""
    return CHANGES[name][1]


async def check(world, made, name):
    """Only what was asked for differs."""
    found = different(made, await read(world, "vm9" if name == "rename" else "vm1"))
    if name == "rename":
        assert [disk.name for disk in found.pop("disks")] == ["vm9"]
    assert found == expected(name)


@pytest.mark.parametrize("name", CHANGES)
@on_loop
async def test_what_is_asked_for_is_changed_and_nothing_else(name):
    """And again, which changes nothing."""
    async with cloud() as world:
        made = await prepared(world, name)
        for _ in range(2):
            await change(world, made, name)
            await check(world, made, name)


@pytest.mark.parametrize("name", CHANGES)
@on_loop
async def test_a_crash_at_any_moment_is_made_good(name):
    """For each moment that there is."""
    async with cloud(QUICK) as world:
        made = await prepared(world, name)
        snapshot = snapshots.taken(world.sim)
    moment, again = 0, True
    while again:
        moment, again = moment + 1, False
        async with cloud(QUICK, snapshot) as world:
            steps = world.steps()
            steps.crash_at = moment
            try:
                await change(world, made, name, steps)
            except Crash:
                again = True
                await change(world, made, name, steps.replay())
            await check(world, made, name)
            if name == "set_deletion_protection":
                await world.driver.instance_settings.set_deletion_protection(world.steps(), ref(made), False)
            await world.driver.instances.delete(world.steps(), ref(made))
    assert moment > 4


@pytest.mark.parametrize(("name", "command"), COMMANDS)
@pytest.mark.parametrize("fault", ["failing_job", "http_error", "error_rate"])
@on_loop
async def test_a_change_that_fails_is_taken_back(name, command, fault):
    """The machine is as it was, in CloudStack too; a later try succeeds."""
    async with cloud(QUICK) as world:
        made = await prepared(world, name)
        vm = world.sim.vm("vm1")
        before = (world.sim.tags(vm.uuid), vm.user_data, vm.offering.name, vm.delete_protection)
        synchronous = command == "updateVirtualMachine"
        world.sim.faults.add(
            "error_rate" if synchronous and fault == "failing_job" else fault, command=command, times=1
        )
        try:
            await change(world, made, name)
            assert synchronous  # a lost answer is made good by asking again
            assert fault == "http_error"
        except errors.DriverError as exc:
            assert "left behind" not in exc.message
            assert different(made, await read(world)) == {}
            assert (world.sim.tags(vm.uuid), vm.user_data, vm.offering.name, vm.delete_protection) == before
        await change(world, made, name)
        await check(world, made, name)


@pytest.mark.parametrize(("name", "command"), COMMANDS)
@on_loop
async def test_a_lost_answer_is_made_good(name, command):
    """The call took effect."""
    async with cloud() as world:
        made = await prepared(world, name)
        world.sim.faults.add("lost_reply", command=command, times=1)
        await change(world, made, name)
        await check(world, made, name)


@on_loop
async def test_user_data_that_may_be_new_is_made_old_again():
    """The call took effect each time it was asked for, and no answer ever came."""
    async with cloud(QUICK) as world:
        made = await prepared(world, "set_metadata")
        vm = world.sim.vm("vm1")
        before = (world.sim.tags(vm.uuid), vm.user_data)
        world.sim.faults.add("lost_reply", command="updateVirtualMachine", times=2)
        with pytest.raises(errors.Unavailable):
            await change(world, made, "set_metadata")
        assert different(made, await read(world)) == {}
        assert (world.sim.tags(vm.uuid), vm.user_data) == before


@pytest.mark.parametrize("name", CHANGES)
@on_loop
async def test_a_machine_that_is_gone_is_not_found(name):
    """Or is somebody else's."""
    async with cloud(QUICK) as world:
        made = await prepared(world, name)
        other = await world.tenant_of("other")
        for steps, instance in (
            (world.steps(), InstanceRef("gone", ZONE, "not-a-uuid")),
            (world.steps(other), ref(made)),
        ):
            with pytest.raises(errors.NotFound) as caught:
                await getattr(world.driver.instance_settings, name)(steps, instance, *CHANGES[name][0])
            assert caught.value.kind == "instance"
        assert different(made, await read(world)) == {}


@on_loop
async def test_user_data_is_made_anew_from_metadata():
    """As when the machine was made: its own, the project's, and its host name."""
    async with cloud(QUICK) as world:
        made = await start(world, hostname="h.example.org")
        settings = world.driver.instance_settings
        keys = {"ssh-keys": "bob:ssh-ed25519 AAAA bob@x"}
        await settings.set_metadata(world.steps(), ref(made), {"startup-script": "echo two"}, keys)
        text = user_data(world)
        assert all(word in text for word in ("echo two", "AAAA", "h.example.org"))
        await settings.set_metadata(world.steps(), ref(made), {}, {})
        assert "echo" not in user_data(world)
        plain = await world.create(spec("plain"))
        await settings.set_metadata(world.steps(), ref(plain), {"colour": "blue"}, {})
        assert world.sim.vm("plain").user_data is None
        await settings.set_metadata(world.steps(), ref(plain), {"startup-script": "echo three"}, {})
        assert "echo three" in user_data(world, "plain")
        await settings.set_metadata(world.steps(), ref(plain), {}, {})
        assert "echo" not in user_data(world, "plain")
        assert (await read(world, "plain")).metadata == {}


@on_loop
async def test_metadata_that_is_too_long_is_refused_before_anything_is_changed():
    """Long metadata that compresses well is taken."""
    async with cloud(QUICK) as world:
        made = await start(world)
        noise = random.Random(1).randbytes(60_000).hex()
        settings = world.driver.instance_settings
        with pytest.raises(errors.Invalid) as caught:
            await settings.set_metadata(world.steps(), ref(made), {"startup-script": noise}, {})
        assert caught.value.field == "metadata"
        assert different(made, await read(world)) == {}
        await settings.set_metadata(world.steps(), ref(made), {"startup-script": "echo a\n" * 20_000}, {})
        assert user_data(world).count("echo a") == 20_000


@on_loop
async def test_a_machine_type_is_changed_on_a_stopped_machine_only():
    """To a fixed offering, a custom size, one with a clock of its own, and back."""
    async with cloud(QUICK) as world:
        made = await start(world)
        settings = world.driver.instance_settings
        with pytest.raises(errors.NotReady):
            await settings.set_machine_type(world.steps(), ref(made), "n1-standard-2")
        await world.driver.instances.stop(world.steps(), ref(made))
        for name, sizes in (
            ("n1-standard-2", (2, 7680)),
            ("small-instance", (1, 1024)),
            ("custom-4-2048", (4, 2048)),
            ("custom-4-4096", (4, 4096)),
            ("custom-16-20480", (16, 20480)),
            ("n1-standard-1", (1, 3840)),
            ("standard-1", (1, 3840)),
        ):
            await settings.set_machine_type(world.steps(), ref(made), name)
            found = await read(world)
            assert (found.machine_type, (found.vcpus, found.memory_mib)) == (name, sizes)
        for name, kind in (("nosuch", errors.NotFound), ("custom-99-1000", errors.Invalid)):
            with pytest.raises(kind) as caught:
                await settings.set_machine_type(world.steps(), ref(made), name)
            assert caught.value.field == "machine_type"
        world.sim.faults.add("quota_full", command="scaleVirtualMachine", times=1)
        with pytest.raises(errors.QuotaExceeded):
            await settings.set_machine_type(world.steps(), ref(made), "n1-standard-4")
        assert (await read(world)).machine_type == "standard-1"


@on_loop
async def test_a_machine_that_is_renamed_is_found_by_its_new_name_only():
    """A name of a machine or of a disk is refused."""
    async with cloud(QUICK) as world:
        made = await start(world)
        await world.create(spec("vm2"))
        await world.driver.disks.create(world.steps(), DiskSpec("data", ZONE))
        settings = world.driver.instance_settings
        with pytest.raises(errors.NotReady):
            await settings.rename(world.steps(), ref(made), "vm9")
        await world.driver.instances.stop(world.steps(), ref(made))
        for name, kind in (("vm2", "instance"), ("data", "disk")):
            with pytest.raises(errors.AlreadyExists) as caught:
                await settings.rename(world.steps(), ref(made), name)
            assert caught.value.kind == kind
        await settings.rename(world.steps(), ref(made), "vm9")
        assert (await read(world, "vm9")).id == made.id
        assert (await world.driver.disks.get(world.tenant, ZONE, "vm9")).users == ("vm9",)
        for get in (world.driver.instances.get, world.driver.disks.get):
            with pytest.raises(errors.NotFound):
                await get(world.tenant, ZONE, "vm1")


@on_loop
async def test_two_machines_cannot_be_given_one_name_at_once():
    """One of them is told so."""
    async with cloud(QUICK) as world:
        machines = [await world.create(spec(name)) for name in ("a", "b")]
        for made in machines:
            await world.driver.instances.stop(world.steps(), ref(made))
        found = await asyncio.gather(
            *(world.driver.instance_settings.rename(world.steps(), ref(made), "c") for made in machines),
            return_exceptions=True,
        )
        assert sorted(type(item).__name__ for item in found) == ["AlreadyExists", "NoneType"]


@on_loop
async def test_deletion_protection_is_switched():
    """It holds while it is on."""
    async with cloud(QUICK) as world:
        made = await start(world)
        settings = world.driver.instance_settings
        await settings.set_deletion_protection(world.steps(), ref(made), True)
        with pytest.raises(errors.InUse):
            await world.driver.instances.delete(world.steps(), ref(made))
        await settings.set_deletion_protection(world.steps(), ref(made), False)
        assert world.sim.vm("vm1").delete_protection is False
        await world.driver.instances.delete(world.steps(), ref(made))


@on_loop
async def test_labels_that_others_set_meanwhile_are_a_conflict():
    """CloudStack sets a key but once."""
    async with cloud(QUICK) as world:
        made = await start(world, labels={})
        steps = world.steps()
        moment = 0
        while "tags-look" not in steps.journal or "done" not in steps.journal["tags-look"]:
            moment += 1
            steps = world.steps()
            steps.crash_at = moment
            with pytest.raises(Crash):
                await world.driver.instance_settings.set_labels(steps, ref(made), {"team": "a"})
        if "team" not in world.sim.tags(made.backend_id):
            await world.driver.instance_settings.set_labels(world.steps(), ref(made), {"team": "b"})
            with pytest.raises(errors.Changed):
                await world.driver.instance_settings.set_labels(steps.replay(), ref(made), {"team": "a"})
        assert (await read(world)).labels == {"team": "b"}


@on_loop
async def test_tags_of_a_machine_with_security_groups_are_changed_while_it_is_stopped():
    """What applies to it is what its groups say, and CloudStack changes these only then."""
    async with cloud(QUICK) as world:
        made = await world.create(spec(zone=SG_ZONE, network_tags=("web",)))
        settings = world.driver.instance_settings
        await world.driver.instances.stop(world.steps(), ref(made))
        await settings.set_network_tags(world.steps(), ref(made), ("db",))
        found = await world.driver.instances.get(world.tenant, SG_ZONE, "vm1")
        assert found.network_tags == ("db",)
