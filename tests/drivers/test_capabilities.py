"""The capabilities against a whole simulated CloudStack: identity, places, types, networks and instances."""

from __future__ import annotations

import asyncio

import pytest

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.driver import CloudStackDriver
from gceshim.drivers.cloudstack.transport import Transport
from gceshim.model import InstanceRef, InstanceState, JobState, QuotaKind, stable_id
from gceshim.simulator import SimulatorSettings
from gceshim.testing.journal import Crash, MemorySteps
from tests.drivers.worlds import SG_ZONE, ZONE, cloud, on_loop, ref, spec


@on_loop
async def test_every_account_knows_itself():
    """An administrator's lists hold more than the administrator."""
    async with cloud() as world:
        for name in ("demo", "admin", "branch-admin", "branch-user"):
            account = await world.driver.identity.whoami(world.credentials(name))
            assert (account.name, account.user) == (name, name)


@on_loop
async def test_a_project_is_found_by_each_of_its_names():
    """By name, id and numeric id; `default` and the account's name mean the account."""
    async with cloud() as world:
        team = await world.tenant_of("demo", "team")
        assert team.project_id == team.owner
        for name in (team.owner, str(stable_id(team.owner))):
            assert (await world.tenant_of("demo", name)).owner == team.owner
        own = {(await world.tenant_of("demo", name)).owner for name in ("default", "demo", world.tenant.owner)}
        assert own == {world.tenant.owner}
        assert (await world.driver.projects.get(team)).name == "team"
        assert (await world.driver.projects.get(world.tenant)).name == "demo"


@on_loop
async def test_a_project_of_others_is_not_there():
    """Not to be told from one that does not exist."""
    async with cloud() as world:
        for name in ("team", "nosuch"):
            with pytest.raises(errors.NotFound) as caught:
                await world.tenant_of("other", name)
            assert (caught.value.kind, caught.value.name) == ("project", name)


@on_loop
async def test_quotas_are_cloudstacks_limits():
    """And an administrator's "Unlimited" is no number."""
    async with cloud() as world:
        quotas = {item.kind: item for item in await world.driver.projects.quotas(world.tenant)}
        assert set(quotas) == set(QuotaKind)
        assert (quotas[QuotaKind.INSTANCES].limit, quotas[QuotaKind.INSTANCES].usage) == (100, 0)
        assert quotas[QuotaKind.MEMORY_MIB].limit == 819_200


@on_loop
async def test_a_zone_is_found_by_each_of_its_names():
    """As shown, by CloudStack's name, by ids."""
    async with cloud() as world:
        zone = await world.driver.locations.zone(world.tenant, ZONE)
        assert zone.region == "sandbox-1"
        for name in ("Sandbox 1", "sandbox-1", str(zone.id), zone.backend_id):
            assert await world.driver.locations.zone(world.tenant, name) == zone
        region = await world.driver.locations.region(world.tenant, "sandbox-1")
        assert region.zones == (ZONE,)
        assert await world.driver.locations.region(world.tenant, str(region.id)) == region
        with pytest.raises(errors.NotFound):
            await world.driver.locations.region(world.tenant, ZONE)


@on_loop
async def test_the_operator_names_zones_and_machine_types():
    """So that configurations written for GCE run as they are."""
    settings = {
        "zones": {"Sandbox 1": "us-east1-b", "Sandbox SG": "us-east1-c"},
        "machine_types": {"e2-medium": "Large Instance", "gone": "No Such Offering"},
    }
    async with cloud(**settings) as world:
        assert [zone.name for zone in await world.driver.locations.zones(world.tenant)] == ["us-east1-b", "us-east1-c"]
        (region,) = await world.driver.locations.regions(world.tenant)
        assert (region.name, region.zones) == ("us-east1", ("us-east1-b", "us-east1-c"))
        kinds = {item.name: item for item in await world.driver.catalog.machine_types(world.tenant, "us-east1-b")}
        assert kinds["e2-medium"].memory_mib == 8192
        assert "gone" not in kinds
        made = await world.create(spec(zone="us-east1-b", machine_type="e2-medium"))
        assert (made.zone, made.machine_type, made.memory_mib) == ("us-east1-b", "e2-medium", 8192)


@on_loop
async def test_each_machine_type_that_is_listed_is_found():
    """By name and by number."""
    async with cloud() as world:
        kinds = await world.driver.catalog.machine_types(world.tenant, ZONE)
        assert [item.name for item in kinds] == sorted(item.name for item in kinds)
        for item in kinds:
            assert await world.driver.catalog.machine_type(world.tenant, ZONE, item.name) == item
            assert await world.driver.catalog.machine_type(world.tenant, ZONE, str(item.id)) == item
        with pytest.raises(errors.NotFound):
            await world.driver.catalog.machine_type(world.tenant, ZONE, "12345")


@on_loop
async def test_each_image_that_is_listed_is_found():
    """In its project, by name, number and family; the tenant's own in theirs."""
    async with cloud() as world:
        images = world.driver.images
        for project in ("debian-cloud", "ubuntu-os-cloud", "cloudstack-images", "default"):
            page = await images.list(world.tenant, project, page=1, page_size=500)
            assert page.items
            for image in page.items:
                assert await images.get(world.tenant, project, image.name) == image
                assert await images.get(world.tenant, project, str(image.id)) == image
        assert (await images.newest(world.tenant, "debian-cloud", "debian-12")).name == "debian-12"
        for family in ("ubuntu-2404-lts", "ubuntu-2404-lts-amd64"):
            assert (await images.newest(world.tenant, "ubuntu-os-cloud", family)).name == "ubuntu-24-04-lts"
        assert images.is_public_project("rhel-sap-cloud")
        assert (await images.list(world.tenant, "rhel-sap-cloud", page=1, page_size=10)).items == []
        assert not images.is_public_project("demo")


@on_loop
async def test_pages_of_images_are_stable_and_whole():
    """Each image once, in any page size."""
    async with cloud() as world:
        whole = (await world.driver.images.list(world.tenant, "debian-cloud", page=1, page_size=500)).items
        for size in (1, 2, 3):
            found, page, more = [], 1, True
            while more:
                part = await world.driver.images.list(world.tenant, "debian-cloud", page=page, page_size=size)
                found += part.items
                more = part.more
                page += 1
            assert found == list(whole)


@on_loop
async def test_the_default_network_is_always_there():
    """Clients name it without being asked to; it has no range until it is used."""
    async with cloud(SimulatorSettings(job_seconds=0)) as world:
        network = await world.driver.networks.get(world.tenant, "default")
        assert [item.region for item in network.subnetworks] == ["sandbox-sg"]
        await world.create(spec())
        network = await world.driver.networks.get(world.tenant, "default")
        assert [item.region for item in network.subnetworks] == ["sandbox-1", "sandbox-sg"]
        one = await world.driver.networks.subnetwork(world.tenant, "sandbox-1", "default")
        assert (one.network, one.cidr, one.gateway, one.shared) == ("default", "10.1.1.0/24", "10.1.1.1", False)
        assert await world.driver.networks.subnetwork(world.tenant, "sandbox-1", str(one.id)) == one
        assert list(await world.driver.networks.subnetworks(world.tenant, "sandbox-1")) == [one]
        with pytest.raises(errors.NotFound):
            await world.driver.networks.get(world.tenant, "nosuch")
        with pytest.raises(errors.NotFound):
            await world.driver.networks.subnetwork(world.tenant, "sandbox-1", "nosuch")


@on_loop
async def test_instances_stop_and_start_and_stand_being_told_twice():
    """Clients retry."""
    async with cloud() as world:
        made = ref(await world.create(spec()))
        instances = world.driver.instances

        async def state():
            return (await instances.get(world.tenant, ZONE, "vm1")).state

        for verb, expected in (
            ("start", InstanceState.RUNNING),
            ("reset", InstanceState.RUNNING),
            ("stop", InstanceState.STOPPED),
            ("stop", InstanceState.STOPPED),
            ("start", InstanceState.RUNNING),
        ):
            await getattr(instances, verb)(world.steps(), made)
            assert await state() is expected
        await instances.stop(world.steps(), made)
        with pytest.raises(errors.NotReady):
            await instances.reset(world.steps(), made)
        await asyncio.gather(*(instances.start(world.steps(), made) for _ in range(3)))
        assert await state() is InstanceState.RUNNING


@on_loop
async def test_an_instance_is_reset_once_wherever_the_server_dies():
    """Also where the machine has been restarted by the time that somebody looks: once more would cut off its boot."""
    async with cloud(SimulatorSettings(job_seconds=0)) as world:
        made = ref(await world.create(spec()))
        crashed, moment = True, 0
        while crashed:
            crashed, moment = False, moment + 1
            steps = world.steps()
            steps.crash_at = moment
            try:
                await world.driver.instances.reset(steps, made)
            except Crash:
                crashed = True
                await world.driver.instances.reset(steps.replay(), made)
            assert world.sim.call_counts["rebootVirtualMachine"] == moment
        assert moment > 6
        world.sim.faults.add("lost_reply", command="rebootVirtualMachine", times=1)
        await world.driver.instances.reset(world.steps(), made)
        assert world.sim.call_counts["rebootVirtualMachine"] == moment + 1


@on_loop
async def test_an_instance_is_reset_by_whom_no_jobs_are_listed_for():
    """Roles may lack any command; nothing has to be looked for where no answer is lost."""

    class Narrow(Transport):
        async def call(self, credentials, command, /, **params):
            if command == "listAsyncJobs":
                raise errors.Forbidden("The API [listAsyncJobs] does not exist or is not available for the account.")
            return await super().call(credentials, command, **params)

    class NarrowDriver(CloudStackDriver):
        transport_class = Narrow

    async with cloud() as world:
        made = ref(await world.create(spec()))
        driver = NarrowDriver.create({"url": world.url})
        await driver.instances.reset(MemorySteps(driver, world.tenant, "operation-narrow"), made)
        await driver.close()
        assert world.sim.call_counts["rebootVirtualMachine"] == 1


@on_loop
async def test_deleting_twice_is_a_success():
    """And an instance that is gone is not found by anything else."""
    async with cloud() as world:
        made = ref(await world.create(spec()))
        await asyncio.gather(*(world.driver.instances.delete(world.steps(), made) for _ in range(2)))
        await world.driver.instances.delete(world.steps(), made)
        with pytest.raises(errors.NotFound) as caught:
            await world.driver.instances.get(world.tenant, ZONE, "vm1")
        assert caught.value.kind == "instance"
        for verb in ("start", "stop", "reset"):
            with pytest.raises(errors.NotFound):
                await getattr(world.driver.instances, verb)(world.steps(), made)


@on_loop
async def test_deletion_protection_holds():
    """Until it is taken away."""
    async with cloud() as world:
        made = await world.create(spec(deletion_protection=True))
        assert made.deletion_protection
        with pytest.raises(errors.InUse):
            await world.driver.instances.delete(world.steps(), ref(made))
        assert len(world.sim.vms()) == 1


@on_loop
async def test_where_users_may_not_expunge_they_may_still_delete():
    """The operator's delay is then the operator's business."""
    async with cloud(SimulatorSettings(job_seconds=0, allow_user_expunge_recover_vm=False)) as world:
        made = await world.create(spec(external="nat"))
        await world.driver.instances.delete(world.steps(), ref(made))
        with pytest.raises(errors.NotFound):
            await world.driver.instances.get(world.tenant, ZONE, "vm1")
        assert (await world.driver.instances.list(world.tenant, None, page=1, page_size=500)).items == []
        reply = await world.raw("listPublicIpAddresses")
        assert [row for row in reply.get("publicipaddress", []) if not row["issourcenat"]] == []


@on_loop
async def test_tenants_do_not_see_each_others_instances():
    """Neither by name nor by number nor by CloudStack's id; nor does an account see its projects'."""
    async with cloud() as world:
        made = await world.create(spec())
        team = await world.tenant_of("demo", "team")
        in_team = await world.create(spec("vm2"), team)
        other = await world.tenant_of("other")
        for tenant, stranger in ((other, made), (team, made), (world.tenant, in_team), (other, in_team)):
            for name in (stranger.name, str(stranger.id)):
                with pytest.raises(errors.NotFound):
                    await world.driver.instances.get(tenant, ZONE, name)
            with pytest.raises(errors.DriverError):
                await world.driver.instances.stop(world.steps(tenant), ref(stranger))
            await world.driver.instances.delete(world.steps(tenant), ref(stranger))
        assert {vm.name for vm in world.sim.vms()} == {"vm1", "vm2"}
        assert [item.name for item in (await list_all(world, world.tenant))] == ["vm1"]
        assert [item.name for item in (await list_all(world, team))] == ["vm2"]
        assert await list_all(world, other) == []


async def list_all(world, tenant, zone=None, size=500, name=None):
    """All instances, page by page."""
    found, page, more = [], 1, True
    while more:
        part = await world.driver.instances.list(tenant, zone, page=page, page_size=size, name=name)
        found += part.items
        more = part.more
        page += 1
    return found


@on_loop
async def test_machines_of_any_name_are_listed_and_found():
    """CloudStack's own tools name machines as people like; each name shown, and each number, resolves."""
    async with cloud(SimulatorSettings(job_seconds=0)) as world:
        await world.create(spec("web-1"))
        network = next(row for row in world.sim.networks() if row.account.name == "demo")
        vm = world.sim.vm("web-1")
        base = {
            "zoneid": vm.zone.uuid,
            "templateid": vm.template.uuid,
            "serviceofferingid": vm.offering.uuid,
        }
        own = {"zoneid": vm.zone.uuid, "networkofferingid": network.offering.uuid}
        second = (await world.raw("createNetwork", name="second", displaytext="x", **own))["network"]["id"]
        third = (await world.raw("createNetwork", name="third", displaytext="x", **own))["network"]["id"]
        for name, where in (
            ("Web-1", second),
            ("web-1", third),
            ("WEB-2", network.uuid),
            (None, network.uuid),
            ("web-2-0123abcd", network.uuid),
        ):
            await world.raw("deployVirtualMachine", name=name, networkids=where, **base)
        for size in (500, 2, 1):
            found = await list_all(world, world.tenant, ZONE, size)
            names = [item.name for item in found]
            assert len(names) == 6
            assert {"web-1", "web-2", "web-2-0123abcd"} < set(names)
            assert sum(name.startswith("web-1-") for name in names) == 2
            assert sum(name.startswith("vm-") for name in names) == 1
            for item in found:
                for name in (item.name, str(item.id)):
                    one = await world.driver.instances.get(world.tenant, ZONE, name)
                    assert (one.id, one.name) == (item.id, item.name)
                for zone in (ZONE, None):
                    assert [one.id for one in await list_all(world, world.tenant, zone, name=item.name)] == [item.id]
        assert await list_all(world, world.tenant, ZONE, name="nosuch") == []
        with pytest.raises(errors.NotFound):
            await world.driver.instances.get(world.tenant, ZONE, "12345")


@on_loop
async def test_reads_cost_two_calls():
    """Also with thousands of machines; what changes seldom is remembered."""
    async with cloud(SimulatorSettings(machines=1200), page_size=500) as world:
        instances = world.driver.instances
        await instances.get(world.tenant, ZONE, "machine-00700")
        before = len(list(world.sim.calls))
        found = await instances.get(world.tenant, ZONE, "machine-00700")
        assert world.commands_since(before) == ["listVirtualMachines", "listVolumes"]
        assert found.interfaces[0].network == "default"

        before = len(list(world.sim.calls))
        page = await instances.list(world.tenant, None, page=2, page_size=500)
        assert world.commands_since(before) == ["listVirtualMachines", "listVolumes"]
        assert [page.items[0].name, len(page.items), page.more] == ["machine-00501", 500, True]
        assert len(await list_all(world, world.tenant)) == 1200


@on_loop
async def test_a_page_may_be_larger_than_cloudstacks():
    """Operators lower `default.page.size`; GCE's clients ask for 500 all the same."""
    async with cloud(SimulatorSettings(machines=25), page_size=7) as world:
        names = [f"machine-{number:05d}" for number in range(1, 26)]
        for size in (1, 5, 7, 10, 20, 25, 500):
            assert [item.name for item in await list_all(world, world.tenant, ZONE, size)] == names
        page = await world.driver.instances.list(world.tenant, ZONE, page=2, page_size=25)
        assert (list(page.items), page.more) == ([], False)


@on_loop
async def test_a_found_number_is_remembered():
    """Looking through all machines is done once."""
    async with cloud(SimulatorSettings(machines=1200), page_size=500) as world:
        found = await world.driver.instances.get(world.tenant, ZONE, "machine-01100")
        await world.driver.instances.get(world.tenant, ZONE, str(found.id))
        before = len(list(world.sim.calls))
        assert await world.driver.instances.get(world.tenant, ZONE, str(found.id)) == found
        assert len(world.commands_since(before)) <= 3


@on_loop
async def test_jobs_are_told_as_they_are():
    """Pending, done, failed with the error's class, and unknown."""
    async with cloud(SimulatorSettings(job_seconds=0.2)) as world:
        made = await world.create(spec())
        reply = await world.driver.backend.call(world.tenant, "stopVirtualMachine", id=made.backend_id)
        job = await world.driver.jobs.get(world.tenant, reply["jobid"])
        assert job.state is JobState.PENDING
        assert await world.driver.jobs.pending(world.tenant) == {reply["jobid"]}
        while job.state is JobState.PENDING:
            job = await world.driver.jobs.get(world.tenant, reply["jobid"])
        assert job.state is JobState.DONE
        assert job.result["virtualmachine"]["id"] == made.backend_id
        assert await world.driver.jobs.pending(world.tenant) == frozenset()

        reply = await world.driver.backend.call(world.tenant, "rebootVirtualMachine", id=made.backend_id)
        job = await world.driver.jobs.get(world.tenant, reply["jobid"])
        while job.state is JobState.PENDING:
            job = await world.driver.jobs.get(world.tenant, reply["jobid"])
        assert (job.state, job.error) == (JobState.FAILED, "Invalid")
        assert "not running" in job.message
        assert reply["jobid"] in job.detail
        with pytest.raises(errors.NotFound):
            await world.driver.jobs.get(world.tenant, "00000000-0000-4000-8000-000000000000")


@on_loop
async def test_an_instance_in_another_zone_is_not_found():
    """Names are of a zone."""
    async with cloud() as world:
        made = await world.create(spec())
        for name in ("vm1", str(made.id)):
            with pytest.raises(errors.NotFound):
                await world.driver.instances.get(world.tenant, SG_ZONE, name)
        with pytest.raises(errors.NotFound):
            await world.driver.instances.get(world.tenant, "nozone", "vm1")
        nobody = InstanceRef("vm9", ZONE, "not-a-uuid")
        with pytest.raises(errors.NotFound):
            await world.driver.instances.stop(world.steps(), nobody)


@on_loop
async def test_a_cloudstack_that_is_down_is_unavailable():
    """In every capability, and never an empty list."""
    async with cloud() as world:
        world.sim.faults.add("http_error", status=503)
        driver, tenant = world.driver, world.tenant
        for ask in (
            lambda: driver.locations.zones(tenant),
            lambda: driver.catalog.machine_types(tenant, ZONE),
            lambda: driver.images.list(tenant, "debian-cloud", page=1, page_size=10),
            lambda: driver.networks.list(tenant),
            lambda: driver.instances.list(tenant, None, page=1, page_size=10),
            lambda: driver.jobs.pending(tenant),
            lambda: driver.projects.get(tenant),
        ):
            with pytest.raises(errors.Unavailable):
                await ask()
        world.sim.faults.clear()
        assert len(await driver.locations.zones(tenant)) == 2
