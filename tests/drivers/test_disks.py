"""Disks: what is made, what is shown and by which name, and what a crash or a failure leaves."""

from __future__ import annotations

import asyncio
import json

import pytest

from gceshim.drivers import errors
from gceshim.model import GIB, DiskRef, DiskSpec, DiskState, ImageRef
from gceshim.simulator import SimulatorSettings
from gceshim.simulator.entities import DiskOffering
from gceshim.testing.journal import Crash, MemorySteps
from tests.drivers.worlds import SG_ZONE, ZONE, cloud, disk_ref, on_loop, spec

FULL = {"size_bytes": 20 * GIB, "description": "[data]", "labels": {"env": "prod", "empty": ""}, "type": "pd-ssd"}


def disk_spec(name="data", zone=ZONE, **values):
    """An empty disk of the default type."""
    return DiskSpec(name, zone, **values)


async def make(world, wanted=None, tenant=None):
    """A disk in an operation of its own."""
    return await world.driver.disks.create(world.steps(tenant), wanted or disk_spec())


def data_volumes(world):
    """The volumes that are no boot disks."""
    return [row for row in world.sim.volumes() if row.kind == "DATADISK"]


async def offering(world, name="Custom"):
    """CloudStack's id of a disk offering."""
    return (await world.raw("listDiskOfferings", name=name))["diskoffering"][0]["id"]


async def native(world, name, **params):
    """A volume made in CloudStack itself, 5 GB."""
    zone = await world.driver.locations.zone(world.tenant, params.pop("zone", ZONE))
    custom = await offering(world)
    made = await world.raw("createVolume", name=name, zoneid=zone.backend_id, diskofferingid=custom, size=5, **params)
    return made["volume"]["id"]


@on_loop
async def test_a_disk_is_made_with_all_that_was_asked_for():
    """What is returned is what a get tells afterwards, by name and by number, and a list."""
    async with cloud() as world:
        steps = world.steps()
        made = await world.driver.disks.create(steps, disk_spec(**FULL))
        assert (made.name, made.zone, made.state, made.size_bytes) == ("data", ZONE, DiskState.READY, 20 * GIB)
        assert (made.type, made.description, made.labels) == ("pd-ssd", "[data]", {"empty": "", "env": "prod"})
        assert (made.users, made.boot, made.image, made.attached) == ((), False, None, None)
        for name in ("data", str(made.id)):
            assert await world.driver.disks.get(world.tenant, ZONE, name) == made
        for zone in (ZONE, None):
            assert (await world.driver.disks.list(world.tenant, zone, page=1, page_size=10)).items == [made]
        assert steps.percent == sorted(steps.percent)


@on_loop
async def test_sizes_are_rounded_up_and_small_by_default():
    """GCE's own defaults would use up a quota."""
    async with cloud() as world:
        assert (await make(world)).size_bytes == 10 * GIB
        assert (await make(world, disk_spec("odd", size_bytes=5 * GIB + 1))).size_bytes == 6 * GIB
        fixed = await make(world, disk_spec("fixed", type="medium"))
        assert (fixed.size_bytes, fixed.type) == (20 * GIB, "medium")


@on_loop
async def test_each_disk_type_that_is_listed_is_found():
    """By name and by number; GCE's own names are there, on the offering whose size is chosen."""
    async with cloud(disk_types={"pd-balanced": "Medium", "fast": "Large", "gone": "No Such"}) as world:
        found = {item.name: item for item in await world.driver.disks.types(world.tenant, ZONE)}
        assert list(found) == ["custom", "fast", "large", "medium", "pd-balanced", "pd-ssd", "pd-standard", "small"]
        for item in found.values():
            for name in (item.name, str(item.id)):
                assert await world.driver.disks.type(world.tenant, ZONE, name) == item
        assert (await world.driver.disks.type(world.tenant, ZONE, "Large")).name == "large"
        assert len({item.id for item in found.values()}) == len(found)
        sizes = {
            name: (item.minimum_bytes, item.default_size_bytes, item.maximum_bytes) for name, item in found.items()
        }
        assert sizes["pd-standard"] == (GIB, 10 * GIB, 1024 * GIB)
        assert sizes["pd-balanced"] == (20 * GIB,) * 3
        for name in ("gone", "nosuch", "12345"):
            with pytest.raises(errors.NotFound) as caught:
                await world.driver.disks.type(world.tenant, ZONE, name)
            assert caught.value.kind == "disk_type"
        with pytest.raises(errors.NotFound) as caught:
            await world.driver.disks.types(world.tenant, "mars-1-a")
        assert caught.value.kind == "zone"


@on_loop
async def test_a_disk_shows_the_type_that_was_asked_for_while_it_means_the_same():
    """And the offering's own name once the operator has changed what there is."""
    async with cloud(disk_types={"pd-ssd": "Large"}) as world:
        made = await make(world, disk_spec(type="pd-ssd"))
        assert (made.type, made.size_bytes) == ("pd-ssd", 100 * GIB)
        other = type(world.driver).create({"url": world.url})
        try:
            assert (await other.disks.get(world.tenant, ZONE, "data")).type == "large"
        finally:
            await other.close()
        await native(world, "plain")
        assert (await world.driver.disks.get(world.tenant, ZONE, "plain")).type == "custom"


@pytest.mark.parametrize(
    ("changes", "kind", "field"),
    [
        ({"zone": "mars-1-a"}, errors.NotFound, "zone"),
        ({"type": "pd-extreme"}, errors.NotFound, "type"),
        ({"size_bytes": 1025 * GIB}, errors.Invalid, "size_bytes"),
        ({"type": "medium", "size_bytes": 10 * GIB}, errors.Invalid, "size_bytes"),
        ({"name": "taken"}, errors.AlreadyExists, "name"),
        ({"name": "vm1"}, errors.AlreadyExists, "name"),
    ],
)
@on_loop
async def test_what_cannot_be_is_told_before_anything_is_made(changes, kind, field):
    """With the attribute at fault; a machine's name is its boot disk's."""
    async with cloud(SimulatorSettings(job_seconds=0)) as world:
        await world.create(spec())
        await make(world, disk_spec("taken"))
        wanted = disk_spec(**{"name": "data", **changes})
        for attempt in (world.driver.disks.check(world.tenant, wanted), make(world, wanted)):
            with pytest.raises(kind) as caught:
                await attempt
            assert caught.value.field == field
        assert [row.name for row in data_volumes(world)] == ["taken"]


@on_loop
async def test_names_are_of_a_zone_and_a_project():
    """As GCE's."""
    async with cloud() as world:
        await make(world)
        await make(world, disk_spec(zone=SG_ZONE))
        team = await world.tenant_of("demo", "team")
        in_team = await make(world, tenant=team)
        with pytest.raises(errors.NotFound):
            await world.driver.disks.get(await world.tenant_of("other"), ZONE, "data")
        for tenant, zone in ((world.tenant, None), (team, ZONE)):
            found = (await world.driver.disks.list(tenant, zone, page=1, page_size=10)).items
            assert len(found) == (2 if zone is None else 1)
        await world.driver.disks.delete(world.steps(), disk_ref(in_team))
        assert len(data_volumes(world)) == 3


@on_loop
async def test_a_zone_without_custom_sizes_says_so():
    """`pd-standard` then needs a setting."""
    async with cloud() as world:
        world.sim.cloud.state.remove(world.sim.inspect.named(DiskOffering, "Custom"))
        with pytest.raises(errors.NotFound, match=r"no disk offering of a custom size.*large, medium, small"):
            await world.driver.disks.check(world.tenant, disk_spec())
        names = [item.name for item in await world.driver.disks.types(world.tenant, ZONE)]
        assert names == ["large", "medium", "small"]


@on_loop
async def test_two_disks_of_one_name_at_once_are_one():
    """The other one is told so."""
    async with cloud(SimulatorSettings(job_seconds=0.05)) as world:
        found = await asyncio.gather(*(make(world) for _ in range(4)), return_exceptions=True)
        assert sorted(type(item).__name__ for item in found) == ["AlreadyExists"] * 3 + ["Disk"]
        assert [row.name for row in data_volumes(world)] == ["data"]


@on_loop
async def test_a_crash_at_any_moment_leaves_one_disk():
    """The promise of the journal, for each moment that there is."""
    async with cloud(SimulatorSettings(job_seconds=0)) as world:
        steps = world.steps()
        await world.driver.disks.create(steps, disk_spec(**FULL))
        moments = steps.moments
    assert moments > 8
    for moment in range(1, moments + 1):
        async with cloud(SimulatorSettings(job_seconds=0)) as world:
            steps = world.steps()
            steps.crash_at = moment
            with pytest.raises(Crash):
                await world.driver.disks.create(steps, disk_spec(**FULL))
            made = await world.driver.disks.create(steps.replay(), disk_spec(**FULL))
            assert [row.uuid for row in data_volumes(world)] == [made.backend_id], moment
            assert made.labels == {"empty": "", "env": "prod"}, moment


@pytest.mark.parametrize("command", ["createVolume", "createTags"])
@pytest.mark.parametrize("fault", ["failing_job", "http_error", "quota_full", "capacity", "connection_reset"])
@on_loop
async def test_a_failure_on_the_way_leaves_nothing_behind(fault, command):
    """Storage is paid for."""
    async with cloud() as world:
        world.sim.faults.add(fault, command=command, times=1)
        with pytest.raises(errors.DriverError) as caught:
            await make(world, disk_spec(**FULL))
        assert "left behind" not in caught.value.message
        assert data_volumes(world) == []
        await make(world, disk_spec(**FULL))


@pytest.mark.parametrize("command", ["createVolume", "createTags"])
@on_loop
async def test_a_lost_answer_is_made_good(command):
    """The call took effect, so what it made is found and used."""
    async with cloud() as world:
        world.sim.faults.add("lost_reply", command=command, times=1)
        made = await make(world, disk_spec(**FULL))
        assert [row.uuid for row in data_volumes(world)] == [made.backend_id]
        assert made.type == "pd-ssd"


@on_loop
async def test_what_took_effect_after_it_was_looked_for_is_removed():
    """The operation fails for want of an answer, and nobody would know whose disk that is."""

    class Late(MemorySteps):
        async def job(self, name, submit, *, find=None):
            if name != "create":
                return await super().job(name, submit, find=find)
            await native(world, "data")
            raise errors.Timeout("CloudStack gave no answer")

    async with cloud() as world:
        steps = Late(world.driver, world.tenant, "operation-late")
        with pytest.raises(errors.Timeout, match=r"gave no answer$"):
            await world.driver.disks.create(steps, disk_spec(size_bytes=5 * GIB))
        assert data_volumes(world) == []


@on_loop
async def test_what_cannot_be_removed_is_named():
    """Somebody has to do it by hand, and to know."""
    async with cloud() as world:
        world.sim.faults.add("failing_job", command="createTags", times=0)
        world.sim.faults.add("error_rate", command="deleteVolume", times=0)
        with pytest.raises(errors.Failed, match=r"left behind.*disk data"):
            await make(world)


@on_loop
async def test_anothers_disk_is_not_taken_back():
    """Only what the operation may have made itself is removed."""
    async with cloud() as world:
        steps = world.steps()
        before = await native(world, "data")
        plan = await plan_of(world, disk_spec("other", size_bytes=5 * GIB))
        steps.journal["resolve"] = json.dumps({"state": "done", "result": {**plan, "name": "data"}})
        with pytest.raises(errors.AlreadyExists):
            await world.driver.disks.create(steps, disk_spec(size_bytes=5 * GIB))
        assert [row.uuid for row in data_volumes(world)] == [before]


async def plan_of(world, wanted):
    """What the first step of a creation journals."""
    steps = world.steps()
    steps.crash_at = 4
    with pytest.raises(Crash):
        await world.driver.disks.create(steps, wanted)
    return json.loads(steps.journal["resolve"])["result"]


@on_loop
async def test_a_boot_disk_has_its_machines_name():
    """And its image; nothing else in CloudStack tells that they belong together."""
    async with cloud() as world:
        vm = await world.create(spec("web", boot_disk_size_bytes=12 * GIB))
        disk = await world.driver.disks.get(world.tenant, ZONE, "web")
        assert (disk.boot, disk.users, disk.size_bytes, disk.type) == (True, ("web",), 12 * GIB, "pd-standard")
        assert disk.image == ImageRef("debian-cloud", name="debian-12")
        image = await world.driver.images.get(world.tenant, "debian-cloud", "debian-12")
        assert disk.image_id == image.id
        assert disk.attached is not None
        assert disk.id != vm.id
        assert await world.driver.disks.get(world.tenant, ZONE, str(disk.id)) == disk
        assert (await world.driver.disks.list(world.tenant, ZONE, page=1, page_size=10)).items == [disk]
        with pytest.raises(errors.InUse, match="web"):
            await world.driver.disks.delete(world.steps(), disk_ref(disk))


@on_loop
async def test_disks_of_any_name_are_listed_and_found():
    """Names that CloudStack takes and GCE does not, names that repeat, and a machine's: each resolves to its own."""
    async with cloud(SimulatorSettings(job_seconds=0), cache_seconds=0) as world:
        await world.create(spec("web"))
        vm = world.sim.vm("web")
        for name in ("Data 1", "data-1", "data-1", "web", "WEB", "1st", "data-1-0123abcd"):
            await native(world, name)
        await make(world, disk_spec("mine"))
        await native(world, "mine")
        base = {"zoneid": vm.zone.uuid, "templateid": vm.template.uuid, "serviceofferingid": vm.offering.uuid}
        own = {"zoneid": vm.zone.uuid, "networkofferingid": vm.nics[0].network.offering.uuid}
        second = (await world.raw("createNetwork", name="second", displaytext="x", **own))["network"]["id"]
        for name in ("web", "Mine", "Other"):
            await world.raw("deployVirtualMachine", name=name, networkids=second, **base)
        await native(world, "other")
        for size in (500, 3, 1):
            found = await list_all(world, size)
            names = [item.name for item in found]
            assert len(set(names)) == len(names) == 14
            assert {"web", "mine", "data-1", "data-1-0123abcd", "x-1st"} < set(names)
            by_name = {item.name: item for item in found}
            assert by_name["web"].users == ("web",)
            assert by_name["mine"].type == "pd-standard"
            assert not by_name["mine"].boot
            assert not by_name["other"].boot
            for item in found:
                for name in (item.name, str(item.id)):
                    assert await world.driver.disks.get(world.tenant, ZONE, name) == item
        for name in ("nosuch", "12345", "data-1-ffffffff"):
            with pytest.raises(errors.NotFound) as caught:
                await world.driver.disks.get(world.tenant, ZONE, name)
            assert caught.value.kind == "disk"


async def list_all(world, page_size):
    """All disks, page by page."""
    found, page, more = [], 1, True
    while more:
        part = await world.driver.disks.list(world.tenant, ZONE, page=page, page_size=page_size)
        found += part.items
        more = part.more
        page += 1
    return found


@on_loop
async def test_reads_cost_few_calls():
    """One for a disk that was made here and for a page of them; what changes seldom is remembered."""
    async with cloud() as world:
        await world.create(spec("web"))
        await make(world)
        await list_all(world, 10)
        for expected, ask in (
            (["listVolumes"], world.driver.disks.get(world.tenant, ZONE, "data")),
            (["listVirtualMachines", "listVolumes", "listVolumes"], world.driver.disks.get(world.tenant, ZONE, "web")),
            (["listVolumes"], world.driver.disks.list(world.tenant, ZONE, page=1, page_size=10)),
        ):
            before = len(list(world.sim.calls))
            await ask
            assert world.commands_since(before) == expected


@on_loop
async def test_a_disk_is_deleted_once():
    """An absent one is a success; so is one that somebody else deletes at the same time."""
    async with cloud() as world:
        made = disk_ref(await make(world))
        await asyncio.gather(*(world.driver.disks.delete(world.steps(), made) for _ in range(3)))
        await world.driver.disks.delete(world.steps(), made)
        assert data_volumes(world) == []
        with pytest.raises(errors.NotFound):
            await world.driver.disks.get(world.tenant, ZONE, "data")
        again = disk_ref(await make(world))
        world.sim.faults.add("lost_reply", command="deleteVolume", times=1)
        await world.driver.disks.delete(world.steps(), again)
        assert data_volumes(world) == []


@on_loop
async def test_a_disk_grows_and_never_shrinks():
    """To the size it has already: nothing to do."""
    async with cloud() as world:
        made = disk_ref(await make(world))
        await world.driver.disks.resize(world.steps(), made, 30 * GIB)
        await world.driver.disks.resize(world.steps(), made, 30 * GIB)
        assert (await world.driver.disks.get(world.tenant, ZONE, "data")).size_bytes == 30 * GIB
        world.sim.faults.add("lost_reply", command="resizeVolume", times=1)
        await world.driver.disks.resize(world.steps(), made, 31 * GIB)
        for wanted, reason in ((10, "only be made larger"), (2000, "1024 GB at most")):
            with pytest.raises(errors.Invalid, match=reason) as caught:
                await world.driver.disks.resize(world.steps(), made, wanted * GIB)
            assert caught.value.field == "size_bytes"
        fixed = disk_ref(await make(world, disk_spec("fixed", type="medium")))
        with pytest.raises(errors.Invalid, match="medium"):
            await world.driver.disks.resize(world.steps(), fixed, 30 * GIB)
        await world.create(spec("web"))
        boot = disk_ref(await world.driver.disks.get(world.tenant, ZONE, "web"))
        await world.driver.disks.resize(world.steps(), boot, 40 * GIB)
        assert (await world.driver.instances.get(world.tenant, ZONE, "web")).disks[0].size_bytes == 40 * GIB
        world.sim.faults.add("quota_full", command="resizeVolume", times=1)
        with pytest.raises(errors.QuotaExceeded):
            await world.driver.disks.resize(world.steps(), made, 50 * GIB)
        with pytest.raises(errors.NotFound):
            await world.driver.disks.resize(world.steps(), DiskRef("gone", ZONE, "not-a-uuid"), GIB)


@on_loop
async def test_labels_are_replaced_and_the_rest_stays():
    """CloudStack cannot overwrite a tag."""
    async with cloud() as world:
        made = await make(world, disk_spec(**FULL))
        for labels in ({"env": "test", "empty": ""}, {"new": ""}, {}, {"env": "x"}, {"env": "x"}):
            await world.driver.disks.set_labels(world.steps(), disk_ref(made), labels)
            found = await world.driver.disks.get(world.tenant, ZONE, "data")
            assert (found.labels, found.description, found.type) == (labels, "[data]", "pd-ssd")


@pytest.mark.parametrize("command", ["createTags", "deleteTags"])
@pytest.mark.parametrize("fault", ["failing_job", "http_error", "connection_reset"])
@on_loop
async def test_labels_that_cannot_be_replaced_are_as_they_were(fault, command):
    """The old ones are gone by then, and come back."""
    async with cloud() as world:
        made = await make(world, disk_spec(**FULL))
        world.sim.faults.add(fault, command=command, times=1)
        with pytest.raises(errors.DriverError) as caught:
            await world.driver.disks.set_labels(world.steps(), disk_ref(made), {"env": "other", "b": "c"})
        assert "left behind" not in caught.value.message
        assert await world.driver.disks.get(world.tenant, ZONE, "data") == made


@on_loop
async def test_labels_survive_a_crash_and_a_lost_answer():
    """At each moment."""
    async with cloud(SimulatorSettings(job_seconds=0)) as world:
        made = disk_ref(await make(world, disk_spec(**FULL)))
        crashed, moment = True, 0
        while crashed:
            crashed, moment = False, moment + 1
            steps = world.steps()
            steps.crash_at = moment
            wanted = {"n": str(moment), "env": f"e{moment}"}
            try:
                await world.driver.disks.set_labels(steps, made, wanted)
            except Crash:
                crashed = True
                await world.driver.disks.set_labels(steps.replay(), made, wanted)
            assert (await world.driver.disks.get(world.tenant, ZONE, "data")).labels == wanted
        assert moment > 6
        for command in ("deleteTags", "createTags"):
            world.sim.faults.add("lost_reply", command=command, times=1)
            await world.driver.disks.set_labels(world.steps(), made, {"last": command})
            assert (await world.driver.disks.get(world.tenant, ZONE, "data")).labels == {"last": command}


@on_loop
async def test_pages_are_stable_and_whole():
    """Each disk once, in any page size."""
    async with cloud(SimulatorSettings(job_seconds=0)) as world:
        for number in range(7):
            await make(world, disk_spec(f"d{number}"))
        whole = await list_all(world, 500)
        assert len(whole) == 7
        for size in (1, 2, 3, 7):
            assert await list_all(world, size) == whole


@on_loop
async def test_a_destroyed_disk_is_gone():
    """CloudStack keeps it for a while; GCE has no such thing."""
    async with cloud(SimulatorSettings(job_seconds=0, allow_user_expunge_recover_vm=False)) as world:
        disk = await make(world)
        await world.raw("destroyVolume", id=disk.backend_id)
        vm = await world.create(spec("web"))
        await world.raw("destroyVirtualMachine", id=vm.backend_id)
        assert await list_all(world, 10) == []
        for name in ("data", "web", str(disk.id)):
            with pytest.raises(errors.NotFound):
                await world.driver.disks.get(world.tenant, ZONE, name)
        await make(world)
