"""Firewall rules: as authored on the way back, in force where their network is, whole or not at all."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.undo import Undo
from gceshim.model import Direction, Firewall, InterfaceSpec, Protocol
from gceshim.simulator import SimulatorSettings
from gceshim.simulator import entities as model
from gceshim.simulator.settings import ZoneSettings
from gceshim.testing.journal import Crash
from tests import snapshots
from tests.drivers.worlds import SG_ZONE, ZONE, cloud, on_loop, ref, spec

ISOLATED = (ZoneSettings("Sandbox 1"),)
GROUPED = (ZoneSettings("Sandbox SG", security_groups=True),)
KINDS = ("vpc", "isolated", "groups")


def rule(name="allow-ssh", network="default", **values):
    """SSH from anywhere, unless said otherwise."""
    given = {
        "direction": Direction.INGRESS,
        "priority": 1000,
        "allow": True,
        "protocols": (Protocol("tcp", ("22",)),),
        **values,
    }
    return Firewall(name=name, network=network, **given)


def tcp(*ports):
    """TCP to some ports."""
    return (Protocol("tcp", ports),)


@asynccontextmanager
async def world_of(kind, snapshot=None):
    """A cloud with one network of a kind: `net` for a VPC, else `default`; and its zone and interface."""
    zones = GROUPED if kind == "groups" else ISOLATED
    async with cloud(SimulatorSettings(job_seconds=0, zones=zones), snapshot) as world:
        world.zone = SG_ZONE if kind == "groups" else ZONE
        world.network = "net" if kind == "vpc" else "default"
        world.interfaces = (InterfaceSpec(world.network, external_name="nat"),)
        if kind == "vpc" and snapshot is None:
            await make_vpc(world)
        yield world


async def make_vpc(world, tiers=1):
    """A VPC `net` with tiers, as its owner makes it in CloudStack."""
    zone = await world.driver.locations.zone(world.tenant, ZONE)
    offerings = await world.raw("listVPCOfferings")
    vpc = await world.raw(
        "createVPC",
        name="net",
        zoneid=zone.backend_id,
        vpcofferingid=offerings["vpcoffering"][0]["id"],
        cidr="10.20.0.0/16",
    )
    found = await world.raw("listNetworkOfferings", forvpc=True)
    offering = found["networkoffering"][0]["id"]
    for index in range(tiers):
        await world.raw(
            "createNetwork",
            name=f"tier-{index}",
            zoneid=zone.backend_id,
            networkofferingid=found["networkoffering"][index]["id"] if index else offering,
            vpcid=vpc["vpc"]["id"],
            gateway=f"10.20.{index}.1",
            netmask="255.255.255.0",
        )


def machine(world, name="vm1", **values):
    """A machine on the world's network."""
    return spec(name, world.zone, **{"interfaces": world.interfaces, **values})


def holdings(world):
    """All that rules come to in the cloud, without ids."""
    rows = world.sim.inspect.rows
    lists = {acl: acl.name for acl in rows(model.AclList)}
    return {
        "lists": sorted(acl.name for acl in lists if acl.vpc),
        "items": sorted(
            (item.position, item.action, item.traffic_type, item.protocol, item.start_port, item.end_port, item.cidrs)
            for item in rows(model.AclItem)
            if item.account
        ),
        "tiers": sorted((net.name, lists.get(net.acl, "")) for net in rows(model.Network) if net.vpc),
        "rules": sorted(
            (
                one.ip is None,
                one.protocol,
                one.start_port or 0,
                one.end_port or 0,
                one.cidrs,
                one.dest_cidrs,
                sorted(world.sim.tags(one.uuid)),
            )
            for one in rows(model.FirewallRule)
        ),
        "groups": sorted(group.name for group in rows(model.SecurityGroup) if group.name != "default"),
        "group rules": sorted(
            (
                one.group.name,
                one.ingress,
                one.protocol,
                one.start_port or 0,
                one.end_port or 0,
                one.cidr or "",
                one.source.name if one.source else "",
            )
            for one in rows(model.SecurityGroupRule)
        ),
        "authored": sorted(
            key for row in rows(model.Account) for key in world.sim.tags(row.uuid) if "claim" not in key
        ),
    }


FULL = rule(
    "full",
    priority=7,
    protocols=(Protocol("udp", ("53", "1000-2000")), Protocol("icmp"), Protocol("6", ("22", "21"))),
    source_ranges=("10.9.0.0/16", "10.8.0.0/16", "192.0.2.1"),
    description="Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. " * 20,
)


@pytest.mark.parametrize("kind", KINDS)
@on_loop
async def test_rules_come_back_as_authored(kind):
    """Terraform and `gcloud describe` compare each field, the order of lists too."""
    async with world_of(kind) as world:
        await world.create(machine(world))
        wanted = [
            dataclasses.replace(FULL, network=world.network),
            rule("deny-out", world.network, direction=Direction.EGRESS, allow=False, protocols=(Protocol("all"),),
                 destination_ranges=("192.0.2.0/24", "198.51.100.0/24")),
            rule("off", world.network, disabled=True, source_tags=("a",), target_tags=("z", "b")),
        ]  # fmt: skip
        firewalls = world.driver.firewalls
        for asked in wanted:
            made = await firewalls.create(world.steps(), asked)
            assert made.id > 0
            assert made.created is not None
            assert dataclasses.replace(made, id=0, created=None) == asked
            assert await firewalls.get(world.tenant, asked.name) == made
            assert await firewalls.get(world.tenant, str(made.id)) == made
        listed = await firewalls.list(world.tenant)
        assert [dataclasses.replace(item, id=0, created=None) for item in listed] == sorted(
            wanted, key=lambda item: item.name
        )
        assert len({item.id for item in listed}) == 3


@on_loop
async def test_a_read_is_one_call():
    """As all reads of what CloudStack keeps."""
    async with world_of("isolated") as world:
        await world.driver.firewalls.create(world.steps(), rule())
        before = len(world.sim.calls)
        await world.driver.firewalls.get(world.tenant, "allow-ssh")
        await world.driver.firewalls.list(world.tenant)
        assert world.commands_since(before) == ["listTags", "listTags"]


@on_loop
async def test_tenants_do_not_see_each_others_rules():
    """An account and a project of its own are two tenants."""
    async with world_of("isolated") as world:
        team = await world.tenant_of("demo", "team")
        await world.driver.firewalls.create(world.steps(team), rule("theirs"))
        await world.driver.firewalls.create(world.steps(), rule("ours"))
        assert [item.name for item in await world.driver.firewalls.list(team)] == ["theirs"]
        assert [item.name for item in await world.driver.firewalls.list(world.tenant)] == ["ours"]
        other = await world.tenant_of("other")
        with pytest.raises(errors.NotFound) as caught:
            await world.driver.firewalls.get(other, "ours")
        assert (caught.value.kind, caught.value.name) == ("firewall", "ours")


@on_loop
async def test_rules_that_were_there_before_the_first_machine_are_in_force_for_it():
    """People make rules first, when there is no network in CloudStack yet."""
    async with cloud(SimulatorSettings(job_seconds=0)) as world:
        await world.driver.firewalls.create(world.steps(), rule())
        await world.driver.firewalls.create(world.steps(), rule("web", protocols=tcp("80"), target_tags=("web",)))
        assert holdings(world)["rules"] == []
        for name, zone, tags in (("a", ZONE, ()), ("b", ZONE, ("web",)), ("c", SG_ZONE, ()), ("d", SG_ZONE, ("web",))):
            await world.create(spec(name, zone, external="nat", network_tags=tags))
        ports = {ip.static_nat_vm.name: set() for ip in world.sim.inspect.rows(model.PublicIp) if ip.static_nat_vm}
        for one in world.sim.inspect.rows(model.FirewallRule):
            if one.ip is not None:
                ports[one.ip.static_nat_vm.name].add(one.start_port)
        assert ports == {"a": {22}, "b": {22, 80}}
        groups = {vm.name: sorted(group.name for group in vm.groups) for vm in world.sim.vms()}
        assert groups["c"] == ["gce-default"]
        assert groups["d"] == ["gce-default", "gce-default.web"]
        assert holdings(world)["group rules"] == [
            ("gce-default", True, "tcp", 22, 22, "0.0.0.0/0", ""),
            ("gce-default.web", True, "tcp", 80, 80, "0.0.0.0/0", ""),
        ]


@on_loop
async def test_the_default_network_lets_machines_out():
    """CloudStack's usual offering holds outgoing traffic back; GCE's networks do not."""
    async with world_of("isolated") as world:
        await world.create(machine(world))
        assert holdings(world)["rules"] == [(True, "all", 0, 0, ["10.1.1.0/24"], [], [])]
        await world.create(machine(world, "vm2"))
        assert len(holdings(world)["rules"]) == 1


@on_loop
async def test_a_rule_of_a_vpc_is_an_item_in_the_order_of_priorities():
    """One list for all tiers, numbered so that nothing is ever numbered anew."""
    async with world_of("vpc") as world:
        await make_tier_two(world)
        firewalls = world.driver.firewalls
        await firewalls.create(world.steps(), rule("a", "net", source_ranges=("10.0.0.0/8", "192.0.2.1")))
        await firewalls.create(
            world.steps(), rule("b", "net", allow=False, protocols=(Protocol("50"), Protocol("icmp")))
        )
        await firewalls.create(world.steps(), rule("c", "net", priority=0, protocols=tcp("80", "443")))
        found = holdings(world)
        assert found["lists"] == ["gceshim"]
        assert found["tiers"] == [("tier-0", "gceshim"), ("tier-1", "gceshim")]
        assert found["items"] == [
            (1001, "Allow", "Ingress", "tcp", 80, 80, ["0.0.0.0/0"]),
            (1002, "Allow", "Ingress", "tcp", 443, 443, ["0.0.0.0/0"]),
            (2_000_001, "Deny", "Ingress", "50", None, None, ["0.0.0.0/0"]),
            (2_000_002, "Deny", "Ingress", "icmp", None, None, ["0.0.0.0/0"]),
            (2_001_001, "Allow", "Ingress", "tcp", 22, 22, ["10.0.0.0/8", "192.0.2.1/32"]),
            (131_073_001, "Allow", "Egress", "all", None, None, ["0.0.0.0/0"]),
        ]


async def make_tier_two(world):
    """One more tier of the VPC."""
    (vpc,) = world.sim.inspect.rows(model.Vpc)
    found = await world.raw("listNetworkOfferings", forvpc=True)
    await world.raw(
        "createNetwork",
        name="tier-1",
        zoneid=vpc.zone.uuid,
        networkofferingid=found["networkoffering"][1]["id"],
        vpcid=vpc.uuid,
        gateway="10.20.1.1",
        netmask="255.255.255.0",
    )


@on_loop
async def test_a_tier_that_comes_later_gets_the_rules_with_its_first_machine():
    """It is made in CloudStack itself, behind our back."""
    async with world_of("vpc") as world:
        await world.driver.firewalls.create(world.steps(), rule("a", "net"))
        await make_tier_two(world)
        await world.create(machine(world, interfaces=(InterfaceSpec("net", "tier-1"),)))
        assert holdings(world)["tiers"] == [("tier-0", "gceshim"), ("tier-1", "gceshim")]


@on_loop
async def test_a_list_that_somebody_made_for_a_tier_is_not_taken_away():
    """The rule is refused instead, and says what to do."""
    async with world_of("vpc") as world:
        (tier,) = [net for net in world.sim.networks() if net.vpc]
        acl = await world.raw("createNetworkACLList", name="mine", vpcid=tier.vpc.uuid)
        await world.raw("replaceNetworkACLList", aclid=acl["networkacllist"]["id"], networkid=tier.uuid)
        with pytest.raises(errors.Invalid, match="an access list of its own, 'mine'"):
            await world.driver.firewalls.check(world.tenant, rule("a", "net"))


@on_loop
async def test_rules_of_one_address_never_overlap():
    """CloudStack refuses those; what two rules share is there once, and stays while one of them does."""
    async with world_of("isolated") as world:
        await world.create(machine(world))
        firewalls = world.driver.firewalls
        await firewalls.create(world.steps(), rule("a", protocols=tcp("22")))
        await firewalls.create(world.steps(), rule("b", protocols=tcp("20-25", "80")))
        ports = [row[2:4] for row in holdings(world)["rules"] if not row[0]]
        assert ports == [(20, 21), (22, 22), (23, 25), (80, 80)]
        await firewalls.delete(world.steps(), "a")
        assert [row[2:4] for row in holdings(world)["rules"] if not row[0]] == ports
        await firewalls.create(world.steps(), rule("c", protocols=tcp("22"), allow=False, priority=1))
        ports.remove((22, 22))
        assert [row[2:4] for row in holdings(world)["rules"] if not row[0]] == ports
        await firewalls.delete(world.steps(), "b")
        assert [row[2:4] for row in holdings(world)["rules"] if not row[0]] == []


@on_loop
async def test_what_others_made_at_an_address_stays():
    """A held address may have rules of its owner's; ours are told from them by a tag."""
    async with world_of("isolated") as world:
        held = await held_address(world)
        await world.raw("createFirewallRule", ipaddressid=held["id"], protocol="tcp", startport=25, endport=30)
        wanted = (InterfaceSpec("default", external_name="nat", external_address=held["ipaddress"]),)
        made = await world.create(machine(world, interfaces=wanted))
        await world.driver.firewalls.create(world.steps(), rule("a", protocols=tcp("22-30")))
        ingress = [row[2:] for row in holdings(world)["rules"] if not row[0]]
        everywhere = ["0.0.0.0/0"]
        assert ingress == [(22, 24, everywhere, [], ["gce:firewall"]), (25, 30, everywhere, [], [])]
        await world.driver.instances.delete(world.steps(), ref(made))
        assert [row[2:] for row in holdings(world)["rules"] if not row[0]] == [(25, 30, everywhere, [], [])]


async def held_address(world):
    """A public address in the default network, which is made for it."""
    first = await world.create(machine(world, "first", interfaces=(InterfaceSpec("default"),)))
    (network,) = [net for net in world.sim.networks() if net.account.name == "demo"]
    reply = await world.raw("associateIpAddress", networkid=network.uuid)
    await world.driver.instances.delete(world.steps(), ref(first))
    return reply["ipaddress"]


@pytest.mark.parametrize("kind", KINDS)
@on_loop
async def test_nothing_stays_of_rules_and_machines_that_are_gone(kind):
    """But for the network's own: GCE's implied rules."""
    async with world_of(kind) as world:
        made = await world.create(machine(world, network_tags=("web",)))
        before = holdings(world)
        firewalls = world.driver.firewalls
        targets = () if kind == "vpc" else ("web", "db")
        await firewalls.create(world.steps(), rule("a", world.network, target_tags=targets))
        await firewalls.create(world.steps(), rule("b", world.network, allow=False, protocols=tcp("80")))
        await firewalls.delete(world.steps(), "a")
        await firewalls.delete(world.steps(), "b")
        await firewalls.delete(world.steps(), "b")
        found = holdings(world)
        if kind == "vpc":
            assert (found["lists"], len(found["items"])) == (["gceshim"], 1)
        else:
            assert found == before
        await world.driver.instances.delete(world.steps(), ref(made))
        found = holdings(world)
        assert (found["groups"], found["group rules"], found["authored"]) == ([], [], [])
        assert [row for row in found["rules"] if not row[0]] == []


CHANGES = ("create", "replace", "delete")
OLD = {"protocols": (*tcp("22", "80"), Protocol("icmp")), "source_ranges": ("10.9.0.0/16",)}
NEW = {"protocols": (*tcp("80", "442-444"), Protocol("udp")), "source_ranges": ("10.9.0.0/16", "10.7.0.0/16")}


async def started(kind, change):
    """
    A machine, a rule beside, and for a replacement or a deletion the rule itself.

    Gives a context that is a world of its own where all this is there, and what to run in it.
    """
    async with world_of(kind) as world:
        firewalls = world.driver.firewalls
        await world.create(machine(world, network_tags=("web",)))
        out = rule("out", world.network, direction=Direction.EGRESS, allow=False, protocols=(Protocol("all"),),
                   destination_ranges=("192.0.2.0/24",))  # fmt: skip
        if change != "create":
            await firewalls.create(world.steps(), out)
            old = await firewalls.create(world.steps(), rule("a", world.network, **OLD))
        snapshot = snapshots.taken(world.sim)

    @asynccontextmanager
    async def world_again():
        async with world_of(kind, snapshot) as world:
            firewalls = world.driver.firewalls
            await firewalls.list(world.tenant)
            new = rule("a", world.network, **NEW)
            if change == "create":
                yield world, lambda steps: firewalls.create(steps, new)
            elif change == "replace":
                yield world, lambda steps: firewalls.replace(steps, new, old)
            else:
                yield world, lambda steps: firewalls.delete(steps, "a")

    return world_again


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES)
@on_loop
async def test_a_crash_at_any_moment_is_made_good(kind, change):
    """The same is there in the end, once. A step has four or five moments; each third of all is of every kind."""
    world_again = await started(kind, change)
    async with world_again() as (world, run):
        steps = world.steps()
        await run(steps)
        expected, moments = holdings(world), steps.moments
    assert moments > 20
    for moment in range(1, moments + 1, 3):
        async with world_again() as (world, run):
            steps = world.steps()
            steps.crash_at = moment
            with pytest.raises(Crash):
                await run(steps)
            await run(steps.replay())
            assert holdings(world) == expected, moment


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES)
@on_loop
async def test_a_failure_of_any_call_leaves_all_as_it_was(kind, change):
    """Whichever call it is; or it is a call that nothing hangs on, and all is as it should be."""
    world_again = await started(kind, change)
    async with world_again() as (world, run):
        earlier = Counter(world.sim.call_counts)
        before = holdings(world)
        await run(world.steps())
        made = Counter(world.sim.call_counts) - earlier
        after = holdings(world)
    calls = [
        (command, index)
        for command, count in made.items()
        if not command.startswith(("list", "query"))
        for index in range(count)
    ]
    assert len(calls) >= 3, made
    refused = 0
    for command, index in calls:
        for fault in ("error_rate", "failing_job"):
            async with world_again() as (world, run):
                if fault == "failing_job" and not world.sim.cloud.spec(command).is_async:
                    continue
                world.sim.faults.add(fault, command=command, times=1, skip=index)
                try:
                    await run(world.steps())
                except errors.DriverError as exc:
                    refused += 1
                    assert "left behind" not in exc.message
                    found = holdings(world)
                    if kind == "vpc" and change == "create":
                        # A tier cannot be put back to having no list; the one that denies does the same.
                        before["tiers"] = found["tiers"] = [(name, "") for name, _ in before["tiers"]]
                    assert found == before, (command, index, fault)
                else:
                    found = holdings(world)
                    assert {**found, "authored": 0} == {**after, "authored": 0}, (command, index, fault)
                    names = [item.name for item in await world.driver.firewalls.list(world.tenant)]
                    assert ("a" in names) == (change != "delete")
    assert refused >= len(calls) / 2


@pytest.mark.parametrize("kind", KINDS)
@on_loop
async def test_a_lost_answer_is_made_good(kind):
    """The call took effect; it is not made twice."""
    world_again = await started(kind, "replace")
    async with world_again() as (world, run):
        earlier = Counter(world.sim.call_counts)
        await run(world.steps())
        made = Counter(world.sim.call_counts) - earlier
        expected = holdings(world)
    for command in made:
        if not command.startswith(("list", "query")):
            async with world_again() as (world, run):
                world.sim.faults.add("lost_reply", command=command, times=1)
                await run(world.steps())
                assert holdings(world) == expected, command


@on_loop
async def test_what_cannot_be_put_back_is_said():
    """And the next change of a rule puts it right."""
    world_again = await started("isolated", "replace")
    async with world_again() as (world, run):
        before = holdings(world)
        world.sim.faults.add("failing_job", command="createFirewallRule", skip=1)
        world.sim.faults.add("failing_job", command="deleteFirewallRule")
        with pytest.raises(errors.Failed, match=r"left behind.*firewall rules"):
            await run(world.steps())
        world.sim.faults.clear()
        await world.driver.firewalls.create(world.steps(), rule("off", protocols=tcp("9")))
        await world.driver.firewalls.delete(world.steps(), "off")
        assert holdings(world) == before


@on_loop
async def test_rules_made_at_once_are_all_in_force():
    """Terraform makes ten at a time."""
    async with world_of("isolated") as world:
        machines = [world.create(machine(world, f"vm{n}", network_tags=("web",))) for n in range(2)]
        rules = [
            world.driver.firewalls.create(world.steps(), rule(f"r{n}", protocols=tcp(f"{n}-100"))) for n in range(6)
        ]
        await asyncio.gather(*machines, *rules)
        for ip in world.sim.inspect.rows(model.PublicIp):
            if ip.static_nat_vm is not None:
                covered = sorted(
                    port
                    for one in world.sim.inspect.rows(model.FirewallRule)
                    if one.ip is ip
                    for port in range(one.start_port, one.end_port + 1)
                )
                assert covered == list(range(101))


@on_loop
async def test_of_two_rules_of_one_name_one_is_made():
    """Each in an operation of its own, at once."""
    async with world_of("isolated") as world:
        made = await asyncio.gather(
            *(world.driver.firewalls.create(world.steps(), rule(priority=n)) for n in range(3)), return_exceptions=True
        )
        assert sorted(type(item).__name__ for item in made) == ["AlreadyExists", "AlreadyExists", "Firewall"]
        (listed,) = await world.driver.firewalls.list(world.tenant)
        assert listed in made
        with pytest.raises(errors.AlreadyExists):
            await world.driver.firewalls.check(world.tenant, rule())


@on_loop
async def test_a_group_that_goes_before_its_first_machine_is_made_again():
    """To another server it looks unused."""
    async with world_of("groups") as world:
        await world.driver.firewalls.create(world.steps(), rule())
        held = world.sim.faults.add("held_request", "deployVirtualMachine", 1)
        making = asyncio.ensure_future(world.create(spec("vm1", SG_ZONE)))
        await held.reached.wait()
        groups = (await world.raw("listSecurityGroups"))["securitygroup"]
        for group in groups:
            if group["name"] != "default":
                await world.raw("deleteSecurityGroup", id=group["id"])
        held.release()
        await making
        [machine] = world.sim.vms()
        assert sorted(group.name for group in machine.groups) == sorted(
            group["name"] for group in groups if group["name"] != "default"
        )


@on_loop
async def test_a_rule_that_was_changed_meanwhile_is_not_replaced():
    """Who replaces a rule has read it, and must not undo what others did since."""
    async with world_of("isolated") as world:
        old = await world.driver.firewalls.create(world.steps(), rule())
        await world.driver.firewalls.replace(world.steps(), rule(priority=5), old)
        with pytest.raises(errors.Changed):
            await world.driver.firewalls.replace(world.steps(), rule(priority=6), old)
        now = await world.driver.firewalls.get(world.tenant, "allow-ssh")
        assert now == dataclasses.replace(old, priority=5)
        await world.driver.firewalls.delete(world.steps(), "allow-ssh")
        with pytest.raises(errors.Changed):
            await world.driver.firewalls.replace(world.steps(), rule(priority=6), now)
        again = await world.driver.firewalls.create(world.steps(), rule())
        assert again.id != old.id


EGRESS = {"direction": Direction.EGRESS}


@pytest.mark.parametrize(
    ("kind", "values", "field", "reason"),
    [
        ("vpc", {"target_tags": ("web",)}, "", "has target tags, and the rules of a VPC"),
        ("vpc", {"source_tags": ("web",)}, "", "has source tags, and the rules of a VPC"),
        ("vpc", {"protocols": (Protocol("sctp", ("22",)),)}, "", "ports of SCTP"),
        ("isolated", {"source_tags": ("web",)}, "", "has source tags, and an isolated network"),
        ("isolated", {"protocols": (Protocol("esp"),)}, "", "protocol 50, and an isolated network knows"),
        ("isolated", {**EGRESS, "allow": False}, "", "cannot be cut out of 'default-allow-egress'"),
        ("isolated", {**EGRESS, "allow": False, "target_tags": ("a",)}, "", "rules for outgoing traffic are for all"),
        ("groups", {**EGRESS, "allow": False}, "", "all protocols but for tcp cannot be said"),
        ("groups", {"allow": False, "target_tags": ("a",)}, "", "denies what 'allow-all' allows"),
        ("groups", {"allow": False, "source_tags": ("a",)}, "", "denies what 'allow-all' allows"),
        ("groups", {"protocols": (Protocol("sctp", ("22",)),)}, "", "ports of SCTP"),
        ("isolated", {"source_ranges": ("::/0",)}, "source_ranges[0]", "IPv6"),
        ("isolated", {"source_ranges": ("10.0.0.0/8", "nowhere")}, "source_ranges[1]", "no range of addresses"),
        ("isolated", {"destination_ranges": ("10.0.0.0/8",)}, "destination_ranges", "no destination"),
        ("isolated", {**EGRESS, "source_tags": ("a",)}, "source_tags", "no source"),
        ("isolated", {"protocols": (Protocol("icmp", ("22",)),)}, "protocols[0].ports", "has no ports"),
        ("isolated", {"protocols": (Protocol("warp"),)}, "protocols[0].name", "no protocol 'warp'"),
        ("isolated", {"protocols": (Protocol("0"),)}, "protocols[0].name", "all protocols to CloudStack"),
        ("isolated", {"protocols": tcp("22", "9-8")}, "protocols[0].ports[1]", "ends before it begins"),
        ("isolated", {"protocols": tcp("65536")}, "protocols[0].ports[0]", "no port"),
        ("isolated", {"protocols": ()}, "protocols", "at least one protocol"),
        ("isolated", {"priority": 65_536}, "priority", "from 0 to 65535"),
    ],
)  # fmt: skip
@on_loop
async def test_what_a_zone_cannot_express_is_refused_with_the_reason(kind, values, field, reason):
    """Before anything is changed, and by `create` as by `check`."""
    async with world_of(kind) as world:
        if kind == "groups":
            await world.create(machine(world))
            everything = rule("allow-all", world.network, priority=2000, protocols=(Protocol("tcp"), Protocol("icmp")))
            await world.driver.firewalls.create(world.steps(), everything)
        before = holdings(world)
        asked = rule("asked", world.network, **values)
        for refused in (
            world.driver.firewalls.check(world.tenant, asked),
            world.driver.firewalls.create(world.steps(), asked),
        ):
            with pytest.raises(errors.Invalid) as caught:
                await refused
            assert reason in caught.value.message
            assert caught.value.field == field
            if not field:
                assert f"in zone {world.zone!r}" in caught.value.message
        assert holdings(world) == before


@on_loop
async def test_a_rule_is_refused_for_a_zone_where_the_default_network_is_yet_to_be_made():
    """Else the first machine there could not be made."""
    async with cloud(SimulatorSettings(job_seconds=0)) as world:
        await world.create(spec("a", SG_ZONE))
        with pytest.raises(errors.Invalid, match=rf"in zone '{ZONE}'.*source tags"):
            await world.driver.firewalls.check(world.tenant, rule(source_tags=("web",)))


@on_loop
async def test_a_rule_that_others_depend_on_is_not_removed():
    """What makes a denial void may be all that lets it be expressed."""
    async with world_of("groups") as world:
        firewalls = world.driver.firewalls
        await firewalls.create(world.steps(), rule("first", priority=1))
        await firewalls.create(world.steps(), rule("deny", priority=2, allow=False, target_tags=("web",)))
        await firewalls.create(world.steps(), rule("last", priority=3, source_ranges=("10.0.0.0/8",)))
        with pytest.raises(errors.Invalid, match="rule 'deny' has target tags"):
            await firewalls.delete(world.steps(), "first")
        assert len(await firewalls.list(world.tenant)) == 3


@on_loop
async def test_unknown_networks_are_refused():
    """With the field, for the message."""
    async with world_of("isolated") as world:
        with pytest.raises(errors.NotFound) as caught:
            await world.driver.firewalls.check(world.tenant, rule(network="nope"))
        assert (caught.value.kind, caught.value.field) == ("network", "network")


@on_loop
async def test_disabled_rules_are_kept_and_not_in_force():
    """Switching one on and off is a replacement."""
    async with world_of("groups") as world:
        await world.create(machine(world))
        off = await world.driver.firewalls.create(world.steps(), rule(disabled=True))
        before = {**holdings(world), "authored": 0}
        await world.driver.firewalls.replace(world.steps(), rule(), off)
        assert len(holdings(world)["group rules"]) == 1
        on = await world.driver.firewalls.get(world.tenant, "allow-ssh")
        await world.driver.firewalls.replace(world.steps(), rule(disabled=True), on)
        assert {**holdings(world), "authored": 0} == before


@on_loop
async def test_source_tags_are_groups():
    """From machines with a tag, to machines with another."""
    async with world_of("groups") as world:
        await world.driver.firewalls.create(
            world.steps(), rule(source_tags=("web",), target_tags=("db",), source_ranges=("10.9.0.0/16",))
        )
        found = holdings(world)
        assert found["groups"] == ["gce-default.db", "gce-default.web"]
        assert found["group rules"] == [
            ("gce-default.db", True, "tcp", 22, 22, "", "gce-default.web"),
            ("gce-default.db", True, "tcp", 22, 22, "10.9.0.0/16", ""),
        ]
        await world.driver.firewalls.delete(world.steps(), "allow-ssh")
        assert holdings(world)["groups"] == []


@on_loop
async def test_other_network_tags_move_a_stopped_machine_to_other_groups():
    """CloudStack does not move a running one; groups of its owner's making stay."""
    async with world_of("groups") as world:
        rules = world.driver.machine_rules
        made = await world.create(machine(world, network_tags=("web",)))
        with pytest.raises(errors.NotReady, match="only while it is stopped"):
            await retag(world, made, "db")
        await retag(world, made, "web")
        await world.driver.instances.stop(world.steps(), ref(made))
        await world.raw("createSecurityGroup", name="mine")
        ids = [group.uuid for group in world.sim.inspect.rows(model.SecurityGroup) if group.name != "default"]
        await world.raw("updateVirtualMachine", id=made.backend_id, securitygroupids=",".join(ids))
        await retag(world, made, "db", "x")
        expected = ["gce-default", "gce-default.db", "gce-default.x", "mine"]
        assert sorted(group.name for group in world.sim.vm("vm1").groups) == expected
        assert holdings(world)["groups"] == expected
        with pytest.raises(errors.Failed, match=r"^later$"):
            async with Undo() as undo:
                await rules.retag(world.steps(), made.backend_id, ("new",), undo)
                raise errors.Failed("later")
        assert sorted(group.name for group in world.sim.vm("vm1").groups) == expected
        assert holdings(world)["groups"] == expected


async def retag(world, made, *network_tags):
    """Other network tags, as the operation for it does."""
    steps, rules = world.steps(), world.driver.machine_rules
    async with Undo() as undo:
        left = await rules.retag(steps, made.backend_id, network_tags, undo)
    await rules.leave(steps, left)


@on_loop
async def test_machines_that_rules_do_not_reach_are_named():
    """Made in CloudStack itself, they are in other groups; setting their tags puts them right."""
    async with world_of("groups") as world:
        made = await world.create(machine(world, "ours"))
        vm = world.sim.vm("ours")
        await world.raw(
            "deployVirtualMachine",
            name="theirs",
            zoneid=vm.zone.uuid,
            serviceofferingid=vm.offering.uuid,
            templateid=vm.template.uuid,
            startvm=False,
        )
        steps = world.steps()
        await world.driver.firewalls.create(steps, rule())
        ((code, message),) = steps.warnings
        assert (code, message.rpartition(": ")[2]) == ("PARTIAL_SUCCESS", "theirs")
        theirs = await world.driver.instances.get(world.tenant, world.zone, "theirs")
        await retag(world, theirs)
        steps = world.steps()
        await world.driver.firewalls.delete(steps, "allow-ssh")
        assert steps.warnings == []
        assert sorted(group.name for group in world.sim.vm("theirs").groups) == ["default", "gce-default"]
        assert made.network_tags == ()


@on_loop
async def test_other_network_tags_change_the_rules_of_an_address_at_once():
    """An isolated network does so while the machine runs."""
    async with world_of("isolated") as world:
        made = await world.create(machine(world))
        await world.driver.firewalls.create(world.steps(), rule(target_tags=("web",)))
        assert [row for row in holdings(world)["rules"] if not row[0]] == []
        await retag(world, made, "web")
        assert [row[2] for row in holdings(world)["rules"] if not row[0]] == [22]


@pytest.mark.parametrize("kind", KINDS)
@on_loop
async def test_a_machine_that_cannot_be_made_leaves_no_groups_and_rules(kind):
    """Made on the way, removed again; what rules need stays."""
    async with world_of(kind) as world:
        first = await world.create(machine(world, "first", network_tags=("web",)))
        targets = () if kind == "vpc" else ("web",)
        await world.driver.firewalls.create(world.steps(), rule(network=world.network, target_tags=targets))
        before = holdings(world)
        for command, fault in (("deployVirtualMachine", "failing_job"), ("createTags", "failing_job")):
            world.sim.faults.add(fault, command=command, times=1)
            with pytest.raises(errors.DriverError):
                await world.create(machine(world, "second", network_tags=("db", "web"), description="x"))
            world.sim.faults.clear()
            assert holdings(world) == before
        await world.driver.instances.delete(world.steps(), ref(first))
