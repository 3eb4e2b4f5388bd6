"""
Two plain evaluations of whether a packet passes: by GCE's rules as authored, and by what a simulated CloudStack holds.

Neither uses anything of the driver's. Replies are no matter here: both keep state.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gceshim.model import Direction, Firewall
from gceshim.simulator import Simulator
from gceshim.simulator import entities as model

NUMBERS = {"icmp": 1, "ipip": 4, "tcp": 6, "udp": 17, "esp": 50, "ah": 51, "sctp": 132}
WITH_PORTS = (6, 17, 132)


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection of one machine; `far` is the other end, which may be a machine too."""

    ingress: bool
    far: str
    protocol: int
    port: int
    far_vm: model.Vm | None = None
    far_tags: tuple[str, ...] = ()


def number_of(protocol: str) -> int | None:
    """A protocol's number; None for all of them."""
    return None if protocol == "all" else NUMBERS.get(protocol) or int(protocol)


def within(address: str, cidrs: Iterable[str]) -> bool:
    """Whether an address is in any of the ranges."""
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(cidr, strict=False) for cidr in cidrs)


def gce_passes(rules: Sequence[Firewall], network_tags: Sequence[str], packet: Packet) -> bool:
    """By GCE: the lowest priority number decides, denial before permission; else incoming is denied, outgoing not."""
    wanted = Direction.INGRESS if packet.ingress else Direction.EGRESS
    matching = [
        rule
        for rule in rules
        if rule.direction is wanted
        and not rule.disabled
        and (not rule.target_tags or set(rule.target_tags) & set(network_tags))
        and _is_from(rule, packet)
        and any(_is_of(item.name, item.ports, packet) for item in rule.protocols)
    ]
    if not matching:
        return not packet.ingress
    return min(matching, key=lambda rule: (rule.priority, rule.allow)).allow


def _is_from(rule: Firewall, packet: Packet) -> bool:
    ranges = rule.source_ranges if packet.ingress else rule.destination_ranges
    if not ranges and not rule.source_tags:
        return True
    return within(packet.far, ranges) or bool(set(rule.source_tags) & set(packet.far_tags))


def _is_of(name: str, ports: Sequence[str], packet: Packet) -> bool:
    number = number_of(name)
    if number is None:
        return True
    if number != packet.protocol:
        return False
    if not ports:
        return True
    return any(int(low) <= packet.port <= int(high or low) for low, _, high in (item.partition("-") for item in ports))


def cloudstack_passes(sim: Simulator, vm: model.Vm, packet: Packet) -> bool:
    """By what CloudStack has for the machine's network: an access list, security groups, or rules of its address."""
    network = vm.nics[0].network
    if network.vpc is not None:
        return _by_access_list(sim, network, packet)
    if network.security_groups:
        return _by_groups(sim, vm, packet)
    return _by_address(sim, vm, network, packet)


def _by_access_list(sim: Simulator, network: model.Network, packet: Packet) -> bool:
    direction = "Ingress" if packet.ingress else "Egress"
    items = [
        item
        for item in sim.inspect.rows(model.AclItem)
        if item.acl is network.acl and item.traffic_type == direction and item.state == "Active"
    ]
    for item in sorted(items, key=lambda item: item.position):
        if _matches(item, packet) and within(packet.far, item.cidrs):
            return item.action == "Allow"
    # Outgoing traffic is let through until there is a rule about any.
    return not packet.ingress and not items


def _by_groups(sim: Simulator, vm: model.Vm, packet: Packet) -> bool:
    rules = [
        rule
        for rule in sim.inspect.rows(model.SecurityGroupRule)
        if rule.group in vm.groups and rule.ingress is packet.ingress
    ]
    if not packet.ingress and not rules:
        return True
    for rule in rules:
        far_group = rule.source is not None and packet.far_vm is not None and rule.source in packet.far_vm.groups
        if _matches(rule, packet) and (far_group or (rule.cidr is not None and within(packet.far, [rule.cidr]))):
            return True
    return False


def _by_address(sim: Simulator, vm: model.Vm, network: model.Network, packet: Packet) -> bool:
    rules = sim.inspect.rows(model.FirewallRule)
    if packet.ingress:
        (address,) = [ip for ip in sim.inspect.rows(model.PublicIp) if ip.static_nat_vm is vm]
        return any(rule.ip is address and _matches(rule, packet) and within(packet.far, rule.cidrs) for rule in rules)
    named = any(
        rule.ip is None
        and rule.network is network
        and _matches(rule, packet)
        and within(vm.nics[0].address or "", rule.cidrs)
        and within(packet.far, rule.dest_cidrs or ["0.0.0.0/0"])
        for rule in rules
    )
    return named is not network.offering.egress_allow


def _matches(rule: model.AclItem | model.SecurityGroupRule | model.FirewallRule, packet: Packet) -> bool:
    number = number_of(rule.protocol)
    if number is None:
        return True
    if number != packet.protocol:
        return False
    if rule.start_port is None or rule.end_port is None:
        return True
    return rule.start_port <= packet.port <= rule.end_port
