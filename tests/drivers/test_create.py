"""Making instances: what is made, what a crash or a failure leaves, and who may share what."""

from __future__ import annotations

import asyncio
import base64

import pytest

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.driver import CloudStackDriver
from gceshim.drivers.cloudstack.marks import owner_of
from gceshim.model import GIB, ImageRef, InstanceState, InterfaceSpec
from gceshim.simulator import SimulatorSettings
from gceshim.testing.journal import Crash, MemorySteps
from tests.drivers.worlds import SG_ZONE, ZONE, cloud, on_loop, ref, spec
from tests.stores.running import until

WITH_ADDRESS = {
    "external": "external-nat",
    "labels": {"env": "prod", "empty": ""},
    "metadata": {"startup-script": "echo hi", "ssh-keys": "bob:ssh-ed25519 AAAA bob@x"},
    "network_tags": ("web",),
    "description": "A [machine]",
    "kept": {"scheduling": {"preemptible": False}},
}


async def addresses(world, account="demo"):
    """The public addresses that an account holds, but for those of networks themselves."""
    reply = await world.raw("listPublicIpAddresses", account)
    return [row for row in reply.get("publicipaddress", []) if not row["issourcenat"]]


@on_loop
async def test_an_instance_is_made_with_all_that_was_asked_for():
    """What is returned is what a get tells afterwards."""
    async with cloud() as world:
        steps = world.steps()
        made = await world.driver.instances.create(steps, spec(boot_disk_size_bytes=20 * GIB, **WITH_ADDRESS))
        assert made == await world.driver.instances.get(world.tenant, ZONE, "vm1")
        assert made.state is InstanceState.RUNNING
        assert made.machine_type == "n1-standard-1"
        assert (made.vcpus, made.memory_mib) == (1, 3840)
        assert made.labels == {"empty": "", "env": "prod"}
        assert made.metadata == WITH_ADDRESS["metadata"]
        assert made.network_tags == ("web",)
        assert made.description == "A [machine]"
        assert made.kept == WITH_ADDRESS["kept"]
        (disk,) = made.disks
        assert (disk.name, disk.boot, disk.auto_delete, disk.size_bytes) == ("vm1", True, True, 20 * GIB)
        (nic,) = made.interfaces
        assert (nic.network, nic.subnetwork, nic.region) == ("default", "default", "sandbox-1")
        (address,) = await addresses(world)
        assert (nic.external.name, nic.external.address, nic.external.ephemeral) == (
            "external-nat",
            address["ipaddress"],
            True,
        )
        assert world.sim.tags(made.backend_id)["env"] == "prod"
        assert steps.percent == sorted(steps.percent)
        document = base64.b64decode(world.sim.vm("vm1").user_data).decode()
        assert "echo hi" in document
        assert "text/x-shellscript-per-boot" in document


@on_loop
async def test_a_crash_at_any_moment_leaves_one_machine_and_one_address():
    """The promise of the journal, for each moment that there is."""
    wanted = spec(deletion_protection=True, **WITH_ADDRESS)
    async with cloud() as world:
        steps = world.steps()
        await world.driver.instances.create(steps, wanted)
        moments = steps.moments
    assert moments > 20
    for moment in range(1, moments + 1):
        async with cloud(SimulatorSettings(job_seconds=0)) as world:
            steps = world.steps()
            steps.crash_at = moment
            with pytest.raises(Crash):
                await world.driver.instances.create(steps, wanted)
            made = await world.driver.instances.create(steps.replay(), wanted)
            assert [vm.uuid for vm in world.sim.vms()] == [made.backend_id], moment
            assert len(await addresses(world)) == 1, moment
            assert [row.name for row in world.sim.networks() if row.account.name == "demo"] == ["default"], moment
            assert made.interfaces[0].external.address, moment
            assert made.labels == {"empty": "", "env": "prod"}, moment
            assert made.deletion_protection, moment


@on_loop
async def test_a_crash_while_deleting_is_made_good():
    """Again for each moment; the address goes too."""
    async with cloud(SimulatorSettings(job_seconds=0)) as world:
        moments = 1
        moment = 1
        while moment <= moments:
            made = await world.create(spec(**WITH_ADDRESS))
            steps = world.steps()
            steps.crash_at = moment
            try:
                await world.driver.instances.delete(steps, ref(made))
                moments = 0
            except Crash:
                await world.driver.instances.delete(steps.replay(), ref(made))
                moments = moment + 1
            assert world.sim.vms() == [], moment
            assert await addresses(world) == [], moment
            moment += 1
        assert moment > 8


@pytest.mark.parametrize(
    ("fault", "command", "kind"),
    [
        ("capacity", "deployVirtualMachine", errors.CapacityExhausted),
        ("failing_job", "deployVirtualMachine", errors.Failed),
        ("quota_full", "deployVirtualMachine", errors.QuotaExceeded),
        ("capacity", "associateIpAddress", errors.CapacityExhausted),
        ("failing_job", "associateIpAddress", errors.Failed),
        ("error_rate", "enableStaticNat", errors.Failed),
        ("connection_reset", "enableStaticNat", errors.Unavailable),
        ("http_error", "createTags", errors.Unavailable),
    ],
)
@on_loop
async def test_a_failure_on_the_way_leaves_nothing_behind(fault, command, kind):
    """Neither a machine in error nor an address that is paid for."""
    async with cloud() as world:
        # The first tag says who makes the network.
        world.sim.faults.add(fault, command=command, times=1, skip=int(command == "createTags"))
        with pytest.raises(kind) as caught:
            await world.create(spec(**WITH_ADDRESS))
        assert "left behind" not in caught.value.message
        assert world.sim.vms() == []
        assert await addresses(world) == []


@on_loop
async def test_a_failing_last_step_leaves_nothing_behind():
    """By then there are a machine, an address and static NAT."""
    async with cloud() as world:
        world.sim.faults.add("failing_job", command="createTags", times=0)
        with pytest.raises(errors.DriverError):
            await world.create(spec(labels={"a": "b"}))
        assert world.sim.vms() == []


@on_loop
async def test_what_cannot_be_removed_is_named():
    """Somebody has to do it by hand, and to know."""
    async with cloud() as world:
        await world.create(spec("vm0"))  # the network is there
        world.sim.faults.add("failing_job", command="createTags", times=0)
        world.sim.faults.add("failing_job", command="destroyVirtualMachine", times=0)
        with pytest.raises(errors.Failed, match=r"left behind.*virtual machine vm1"):
            await world.create(spec(labels={"a": "b"}))


@pytest.mark.parametrize(
    "command", ["createNetwork", "deployVirtualMachine", "associateIpAddress", "enableStaticNat", "createTags"]
)
@on_loop
async def test_a_lost_answer_is_made_good(command):
    """The call took effect, so what it made is found and used."""
    async with cloud() as world:
        world.sim.faults.add("lost_reply", command=command, times=1)
        made = await world.create(spec(**WITH_ADDRESS))
        assert [vm.uuid for vm in world.sim.vms()] == [made.backend_id]
        assert len(await addresses(world)) == 1
        assert made.labels == {"empty": "", "env": "prod"}


@on_loop
async def test_machines_made_at_once_share_the_default_network():
    """As with `gcloud compute instances create a b` on a new account."""
    async with cloud() as world:
        made = await asyncio.gather(*(world.create(spec(f"vm{n}", external="nat")) for n in range(5)))
        assert [row.name for row in world.sim.networks() if row.account.name == "demo"] == ["default"]
        assert len({item.interfaces[0].address for item in made}) == 5
        assert len({item.interfaces[0].external.address for item in made}) == 5
        assert len(await addresses(world)) == 5


@on_loop
async def test_servers_that_need_the_default_network_at_once_make_one():
    """Each looks before it makes one, and sees none; whose machine is on which must not depend on the server."""
    async with cloud(SimulatorSettings(job_seconds=0.01, latency_seconds=0.02)) as world:
        drivers = [CloudStackDriver.create({"url": world.url}) for _ in range(4)]
        try:
            made = await asyncio.gather(
                *(
                    driver.instances.create(MemorySteps(driver, world.tenant, f"at-once-{n}"), spec(f"vm{n}"))
                    for n, driver in enumerate(drivers)
                )
            )
        finally:
            for driver in drivers:
                await driver.close()
        (network,) = [row for row in world.sim.networks() if row.account.name == "demo"]
        assert {vm.nics[0].network.uuid for vm in world.sim.vms()} == {network.uuid}
        assert {item.interfaces[0].network for item in made} == {"default"}


@on_loop
async def test_who_waits_for_the_default_network_keeps_nobody_from_making_it():
    """A server that takes over from one that died has operations that wait, and the one that they wait for."""
    async with cloud() as world:
        kind, owner = owner_of(world.tenant)
        zone = await world.driver.locations.zone(world.tenant, ZONE)
        claim = {"tags[0].key": f"gce:default-network/{zone.backend_id}", "tags[0].value": '"taken-over"'}
        await world.raw("createTags", resourcetype=kind, resourceids=owner, **claim)
        waits = asyncio.ensure_future(
            world.driver.instances.create(MemorySteps(world.driver, world.tenant, "waits"), spec("waits"))
        )
        await until(lambda: world.commands_since(0).count("listTags") > 3)
        again = world.driver.instances.create(MemorySteps(world.driver, world.tenant, "taken-over"), spec("taken-over"))
        made = await asyncio.wait_for(asyncio.gather(waits, again), 120)
        assert [item.interfaces[0].network for item in made] == ["default", "default"]
        assert [row.name for row in world.sim.networks() if row.account.name == "demo"] == ["default"]


@on_loop
async def test_a_sole_network_is_the_default_and_stays_so():
    """Else a second network would move the machines of the first one."""
    async with cloud() as world:
        zone = await world.driver.locations.zone(world.tenant, ZONE)
        offerings = await world.raw("listNetworkOfferings", guestiptype="Isolated", forvpc=False)
        offering = next(row["id"] for row in offerings["networkoffering"] if row["availability"] == "Required")
        own = {"zoneid": zone.backend_id, "networkofferingid": offering}
        await world.raw("createNetwork", name="Own Net", displaytext="x", **own)
        made = await world.create(spec())
        assert made.interfaces[0].network == "default"
        await world.raw("createNetwork", name="second", displaytext="x", **own)
        again = await world.driver.instances.get(world.tenant, ZONE, "vm1")
        assert again.interfaces[0].network == "default"
        names = [item.name for item in await world.driver.networks.list(world.tenant)]
        assert names == ["default", "second"]
        assert (await world.driver.networks.get(world.tenant, "own-net")).name == "default"


@on_loop
async def test_in_a_zone_with_security_groups_the_shared_network_is_the_default():
    """There each machine's own address is the one reached from outside."""
    async with cloud() as world:
        made = await world.create(spec(zone=SG_ZONE, external="External NAT"))
        (nic,) = made.interfaces
        assert nic.network == "default"
        assert nic.external.address == nic.address
        assert await addresses(world) == []
        await world.driver.instances.delete(world.steps(), ref(made))
        assert world.sim.vms() == []


@on_loop
async def test_a_custom_size_is_made_and_told():
    """And a predefined one that no offering has, on a custom offering."""
    async with cloud() as world:
        made = await world.create(spec(machine_type="custom-2-4096"))
        assert (made.machine_type, made.vcpus, made.memory_mib) == ("custom-2-4096", 2, 4096)
        made = await world.create(spec("vm2", machine_type="n2-highmem-2"))
        assert (made.machine_type, made.vcpus, made.memory_mib) == ("n2-highmem-2", 2, 16384)


@on_loop
async def test_a_chosen_address_is_given():
    """In a network that is there."""
    async with cloud() as world:
        await world.create(spec("first"))
        made = await world.create(spec(interfaces=(InterfaceSpec("default", address="10.1.1.77"),)))
        assert made.interfaces[0].address == "10.1.1.77"


@on_loop
async def test_a_held_address_is_used_and_kept():
    """It is not ephemeral: it outlives the machine."""
    async with cloud() as world:
        await world.create(spec("first"))
        network = next(row for row in world.sim.networks() if row.account.name == "demo")
        taken = (await world.raw("associateIpAddress", networkid=network.uuid))["ipaddress"]
        wanted = InterfaceSpec("default", external_name="nat", external_address=taken["ipaddress"])
        made = await world.create(spec(interfaces=(wanted,)))
        assert made.interfaces[0].external.address == taken["ipaddress"]
        assert made.interfaces[0].external.ephemeral is False
        with pytest.raises(errors.InUse):
            await world.driver.instances.check(world.tenant, spec("third", interfaces=(wanted,)))
        await world.driver.instances.delete(world.steps(), ref(made))
        assert [row["id"] for row in await addresses(world)] == [taken["id"]]


@pytest.mark.parametrize(
    ("changes", "kind", "field"),
    [
        ({"zone": "mars-1-a"}, errors.NotFound, "zone"),
        ({"machine_type": "huge"}, errors.NotFound, "machine_type"),
        ({"machine_type": "custom-9-4096"}, errors.Invalid, "machine_type"),
        ({"machine_type": "custom-16-1000"}, errors.Invalid, "machine_type"),
        ({"image": ImageRef("debian-cloud", family="debian-99")}, errors.NotFound, "image"),
        ({"image": ImageRef("debian-cloud", name="nothing")}, errors.NotFound, "image"),
        ({"interfaces": (InterfaceSpec("nonet"),)}, errors.NotFound, "interfaces[0].network"),
        ({"interfaces": (InterfaceSpec("", "nosub"),)}, errors.NotFound, "interfaces[0].subnetwork"),
        ({"interfaces": (InterfaceSpec("default"), InterfaceSpec("default"))}, errors.Invalid, "interfaces"),
        ({"interfaces": (InterfaceSpec("default", address="10.1.1.9"),)}, errors.Invalid, "interfaces[0].address"),
        (
            {"interfaces": (InterfaceSpec("default", external_name="x", external_address="8.8.8.8"),)},
            errors.NotFound,
            "interfaces[0].external_address",
        ),
        ({"boot_disk_size_bytes": 5 * GIB}, errors.Invalid, "boot_disk_size_bytes"),
        ({"metadata": {"startup-script": base64.b64encode(bytes(range(256)) * 400).hex()[::3]}}, None, ""),
    ],
)
@on_loop
async def test_what_cannot_be_is_told_before_anything_is_made(changes, kind, field):
    """With the attribute at fault."""
    async with cloud() as world:
        if kind is None:
            await world.driver.instances.check(world.tenant, spec(**changes))
            return
        with pytest.raises(kind) as caught:
            await world.driver.instances.check(world.tenant, spec(**changes))
        assert caught.value.field == field
        with pytest.raises(kind):
            await world.create(spec(**changes))
        assert world.sim.vms() == []


@on_loop
async def test_a_name_that_is_taken_is_refused():
    """In the zone; in another one it is free, and in another project."""
    async with cloud() as world:
        await world.create(spec())
        with pytest.raises(errors.AlreadyExists):
            await world.driver.instances.check(world.tenant, spec())
        with pytest.raises(errors.AlreadyExists):
            await world.create(spec())
        await world.driver.instances.check(world.tenant, spec(zone=SG_ZONE))
        await world.driver.instances.check(await world.tenant_of("demo", "team"), spec())
        assert len(world.sim.vms()) == 1


@on_loop
async def test_a_machine_in_a_vpc():
    """Its tier is a subnetwork; its public address is the VPC's."""
    async with cloud() as world:
        zone = await world.driver.locations.zone(world.tenant, ZONE)
        (offering, *_) = (await world.raw("listVPCOfferings"))["vpcoffering"]
        made = await world.raw(
            "createVPC",
            name="prod",
            displaytext="x",
            cidr="10.8.0.0/16",
            zoneid=zone.backend_id,
            vpcofferingid=offering["id"],
        )
        tiers = (await world.raw("listNetworkOfferings", forvpc=True))["networkoffering"]
        for number, name in enumerate(("web", "db"), start=1):
            await world.raw(
                "createNetwork",
                name=name,
                displaytext=name,
                zoneid=zone.backend_id,
                vpcid=made["vpc"]["id"],
                networkofferingid=tiers[-1]["id"],
                gateway=f"10.8.{number}.1",
                netmask="255.255.255.0",
            )
        network = await world.driver.networks.get(world.tenant, "prod")
        assert [(item.name, item.cidr) for item in network.subnetworks] == [
            ("db", "10.8.2.0/24"),
            ("web", "10.8.1.0/24"),
        ]
        with pytest.raises(errors.Invalid, match="name one"):
            await world.driver.instances.check(world.tenant, spec(interfaces=(InterfaceSpec("prod"),)))
        instance = await world.create(
            spec(interfaces=(InterfaceSpec("prod", "web", region="sandbox-1", external_name="nat"),))
        )
        (nic,) = instance.interfaces
        assert (nic.network, nic.subnetwork, nic.region) == ("prod", "web", "sandbox-1")
        (address,) = await addresses(world)
        assert nic.external.address == address["ipaddress"]
        assert address["vpcid"] == made["vpc"]["id"]
        await world.driver.instances.delete(world.steps(), ref(instance))
        assert await addresses(world) == []


@on_loop
async def test_a_machine_with_two_interfaces():
    """Each in its network, in the order asked for."""
    async with cloud() as world:
        await world.create(spec("first"))
        network = next(row for row in world.sim.networks() if row.account.name == "demo")
        own = {"zoneid": network.zone.uuid, "networkofferingid": network.offering.uuid}
        await world.raw("createNetwork", name="back", displaytext="x", **own)
        wanted = (InterfaceSpec("default", external_name="nat"), InterfaceSpec("back"))
        made = await world.create(spec(interfaces=wanted))
        assert [(nic.name, nic.network) for nic in made.interfaces] == [("nic0", "default"), ("nic1", "back")]
        assert made.interfaces[0].external.address == (await addresses(world))[0]["ipaddress"]
        assert made.interfaces[1].external is None
