"""What passes in the simulated cloud is what GCE's rules let pass, whatever the rules; or they were refused."""

from __future__ import annotations

import dataclasses
import ipaddress
import random
import zlib
from collections import Counter
from collections.abc import Sequence

import pytest

from gceshim.drivers import errors
from gceshim.model import (
    Credentials,
    Direction,
    Firewall,
    ImageRef,
    InstanceRef,
    InstanceSpec,
    InterfaceSpec,
    Protocol,
)
from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.simulator import entities as model
from gceshim.simulator.settings import ZoneSettings
from tests.drivers.firewall_oracle import Packet, cloudstack_passes, gce_passes, number_of
from tests.drivers.inprocess import PlainSteps, driver_for
from tests.drivers.worlds import on_loop

TAGS = {"bare": (), "front": ("web",), "back": ("db", "web"), "last": ("db",)}
CIDRS = (
    "0.0.0.0/0",
    "0.0.0.0/0",
    "203.0.113.0/24",
    "203.0.113.128/25",
    "203.0.113.7/32",
    "203.0.113.7",
    "198.51.100.0/24",
    "128.0.0.0/1",
    "10.20.0.0/16",
    "10.20.0.11/32",
)
PROTOCOLS = ("tcp", "tcp", "udp", "6", "17", "icmp", "1", "all", "all", "esp", "sctp", "112")
PORTS = ("22", "80", "20-30", "25", "1024-65535", "0-79", "8080")
FAR = ("203.0.113.7", "203.0.113.200", "203.0.113.5", "198.51.100.9", "8.8.8.8", "130.1.2.3")
PRIORITIES = (0, 1, 1000, 1000, 1000, 65_534, 65_535)


class Field:
    """One network with four machines, and the rules that are there."""

    def __init__(self, kind: str, seed: int) -> None:
        groups = kind == "groups"
        self.kind = kind
        self.random = random.Random(seed)
        self.sim = Simulator(
            SimulatorSettings(job_seconds=0, zones=(ZoneSettings("Zone", security_groups=groups),), remembered_jobs=50)
        )
        self.driver = driver_for(self.sim)
        self.rules: dict[str, Firewall] = {}
        self.tags = dict(TAGS)
        self.outcomes: Counter[str] = Counter()

    async def open(self) -> None:
        """Make the network and the machines."""
        self.tenant = await self.driver.identity.tenant("demo", Credentials(*self.sim.keys("demo")), "default")
        if self.kind == "isolated-open":
            for offering in self.sim.inspect.rows(model.NetworkOffering):
                offering.egress_allow = True
        network, subnetwork = ("default", "")
        if self.kind == "vpc":
            network, subnetwork = "net", "tier"
            await self._make_tier()
        for name, tags in TAGS.items():
            spec = InstanceSpec(
                name=name,
                zone="zone-a",
                machine_type="n1-standard-1",
                image=ImageRef("debian-cloud", family="debian-12"),
                interfaces=(InterfaceSpec(network, subnetwork, external_name="nat"),),
                network_tags=tags,
            )
            await self.driver.instances.create(self.steps(), spec)
        self.network = network

    async def _make_tier(self) -> None:
        zone = self.sim.inspect.rows(model.Zone)[0]
        demo = self.sim.inspect.named(model.Account, "demo")
        state = self.sim.cloud.state
        offering = self.sim.inspect.rows(model.VpcOffering)[0]
        vpc = state.new(
            model.Vpc, name="net", display_text="net", account=demo, zone=zone, offering=offering,
            cidr="10.20.0.0/16", network_domain="x.internal",
        )  # fmt: skip
        tiers = self.sim.inspect.named(model.NetworkOffering, "DefaultIsolatedNetworkOfferingForVpcNetworks")
        tier = state.new(
            model.Network, name="tier", display_text="tier", account=demo, zone=zone, offering=tiers,
            network_domain="x.internal", cidr="10.20.0.0/24", gateway="10.20.0.1",
        )  # fmt: skip
        tier.vpc = vpc

    def steps(self) -> PlainSteps:
        """A new operation."""
        return PlainSteps(self.driver, self.tenant)

    def rule(self, name: str) -> Firewall:
        """Any rule; of the kinds that a network of this kind can often express."""
        pick = self.random
        ingress = pick.random() < 0.7
        allow = pick.random() < (0.65 if ingress else 0.4)
        tagged = self.kind != "vpc" and pick.random() < 0.3
        sourced = self.kind == "groups" and ingress and pick.random() < 0.25
        few = pick.sample(CIDRS, pick.randint(0, 3))
        protocols = []
        words = pick.sample(PROTOCOLS, pick.choice((1, 1, 2, 3)))
        if self.kind.startswith("isolated") and pick.random() < 0.8:
            words = [word for word in words if word not in ("esp", "sctp", "112")] or ["tcp"]
        if not ingress and not allow and pick.random() < 0.4:
            words = ["all"]  # the denial that can be said where rules only let through
        for word in words:
            ports = pick.sample(PORTS, pick.randint(0, 3)) if word in ("tcp", "udp", "6", "17") else ()
            protocols.append(Protocol(word, tuple(ports)))
        return Firewall(
            name=name,
            network=self.network,
            direction=Direction.INGRESS if ingress else Direction.EGRESS,
            priority=pick.choice(PRIORITIES),
            allow=allow,
            protocols=tuple(protocols),
            source_ranges=tuple(few) if ingress else (),
            destination_ranges=() if ingress else tuple(few),
            source_tags=tuple(pick.sample(("web", "db"), pick.randint(1, 2))) if sourced else (),
            target_tags=tuple(pick.sample(("web", "db"), pick.randint(1, 2))) if tagged else (),
            description=pick.choice(("", "x" * 300)),
            disabled=pick.random() < 0.1,
        )

    async def change(self) -> None:
        """Create, replace or delete a rule; whatever is refused leaves all as it was."""
        name = self.random.choice("abcdef")
        word = "create"
        try:
            if name not in self.rules:
                made = await self.driver.firewalls.create(self.steps(), self.rule(name))
                self.rules[name] = made
            elif self.random.random() < 0.5:
                word = "replace"
                await self.driver.firewalls.replace(self.steps(), self.rule(name), self.rules[name])
                self.rules[name] = await self.driver.firewalls.get(self.tenant, name)
            else:
                word = "delete"
                await self.driver.firewalls.delete(self.steps(), name)
                del self.rules[name]
        except errors.Invalid as exc:
            assert "cannot be carried out in zone 'zone-a': " in exc.message
            word = f"{word} refused"
        self.outcomes[word] += 1

    async def retag(self) -> None:
        """Give a machine other network tags."""
        name = self.random.choice(list(self.tags))
        tags = tuple(self.random.sample(("web", "db", "else"), self.random.randint(0, 2)))
        made = InstanceRef(name, "zone-a", self.sim.vm(name).uuid)
        if self.kind == "groups":
            await self.driver.instances.stop(self.steps(), made)
        await self.driver.instance_settings.set_network_tags(self.steps(), made, tags)
        await self.driver.instances.start(self.steps(), made)
        self.tags[name] = tags
        self.outcomes["retag"] += 1

    def packet(self, vm: model.Vm) -> Packet:
        """Any packet of a machine's; half of them are of those that one of the rules is about, or just not."""
        pick = self.random
        others = [other for other in self.sim.vms("demo") if other is not vm]
        if self.rules and pick.random() < 0.5:
            return self._aimed(pick.choice(list(self.rules.values())), others)
        far_vm = pick.choice(others) if self.kind == "groups" and pick.random() < 0.3 else None
        protocol = pick.choice((6, 6, 6, 17, 1, 50, 132, 112, 2))
        port = pick.choice((22, 80, 25, 21, 31, 8080, 1, 65_535, 443))
        return self._packet(pick.random() < 0.7, pick.choice(FAR), protocol, port, far_vm)

    def _aimed(self, rule: Firewall, others: Sequence[model.Vm]) -> Packet:
        pick = self.random
        item = pick.choice(rule.protocols)
        number = number_of(item.name)
        low, _, high = pick.choice(item.ports or ("22-80",)).partition("-")
        port = pick.choice((int(low) - 1, int(low), int(high or low), int(high or low) + 1))
        near = [other for other in others if set(self.tags[other.name]) & set(rule.source_tags)]
        cidr = ipaddress.ip_network(pick.choice(rule.source_ranges or rule.destination_ranges or CIDRS), strict=False)
        return self._packet(
            rule.direction is Direction.INGRESS,
            str(pick.choice([*(far for far in map(ipaddress.ip_address, FAR) if far in cidr), cidr[0], cidr[-1]])),
            pick.choice((6, 17)) if number is None else number,
            max(0, min(port, 65_535)),
            pick.choice(near) if near and pick.random() < 0.7 else None,
        )

    def _packet(self, ingress: bool, far: str, protocol: int, port: int, far_vm: model.Vm | None) -> Packet:
        if far_vm is None:
            return Packet(ingress, far, protocol, port)
        return Packet(ingress, far_vm.nics[0].address or "", protocol, port, far_vm, self.tags[far_vm.name])


@pytest.mark.parametrize(("kind", "seed"), [(kind, seed) for kind in ("vpc", "isolated", "isolated-open", "groups") for seed in (1, 2)])  # fmt: skip  # noqa: E501
@on_loop
async def test_what_passes_is_what_gce_lets_pass(kind, seed):
    """Over hundreds of sets of rules for each kind of network, thousands of packets, and every way to change a set."""
    field = Field(kind, zlib.crc32(f"{kind} {seed}".encode()))
    await field.open()
    for turn in range(250):
        await (field.retag() if turn % 10 == 9 else field.change())
        rules = list(field.rules.values())
        assert await field.driver.firewalls.list(field.tenant) == sorted(rules, key=lambda rule: rule.name)
        for vm in field.sim.vms("demo"):
            for _ in range(12):
                packet = field.packet(vm)
                expected = gce_passes(rules, field.tags[vm.name], packet)
                told = cloudstack_passes(field.sim, vm, packet)
                assert told == expected, (turn, vm.name, packet, [dataclasses.astuple(rule) for rule in rules])
    assert list(field.sim.bugs) == []
    assert field.outcomes["create"] >= 20, field.outcomes
    assert field.outcomes["replace"] >= 8, field.outcomes
    await field.driver.close()
