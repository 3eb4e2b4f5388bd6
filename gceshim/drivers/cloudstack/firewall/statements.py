"""Firewall rules as statements about boxes of traffic: what is read out of a rule before anything is made of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

from gceshim.drivers import errors
from gceshim.model import Direction, Firewall, Protocol

ALL: Final = "all"
EVERYWHERE: Final = IPv4Network("0.0.0.0/0")
LAST_PORT: Final = 65_535
LAST_PRIORITY: Final = 65_535
#: GCE's names, and the numbers of those that CloudStack has a name for. Source: IANA's protocol numbers.
_PROTOCOLS: Final[Mapping[str, str]] = {
    "esp": "50",
    "ah": "51",
    "sctp": "132",
    "ipip": "4",
    "6": "tcp",
    "17": "udp",
    "1": "icmp",
}
SCTP: Final = "132"
WITH_PORTS: Final = frozenset({"tcp", "udp", SCTP})


class Inexpressible(Exception):
    """CloudStack has no form for this; the text says for what, and of which rule."""


@dataclass(frozen=True, slots=True)
class Box:
    """
    Traffic of one protocol (`tcp`, `udp`, `icmp`, `all`, or a number), a range of ports and a range of far addresses.

    The ports are of `tcp`, `udp` and SCTP; of other protocols they are always all.
    """

    protocol: str
    low: int
    high: int
    cidr: IPv4Network

    def covers(self, other: Box) -> bool:
        """Whether all of the other is in this one."""
        return (
            self.protocol in (ALL, other.protocol)
            and self.low <= other.low
            and other.high <= self.high
            and other.cidr.subnet_of(self.cidr)
        )

    def meets(self, other: Box) -> bool:
        """Whether the two have traffic in common."""
        return (
            (self.protocol == other.protocol or ALL in (self.protocol, other.protocol))
            and self.low <= other.high
            and other.low <= self.high
            and self.cidr.overlaps(other.cidr)
        )


@dataclass(frozen=True, slots=True)
class Service:
    """A protocol and one range of its ports."""

    protocol: str
    low: int = 0
    high: int = LAST_PORT


EVERYTHING: Final = Box(ALL, 0, LAST_PORT, EVERYWHERE)


@dataclass(frozen=True, slots=True)
class Statement:
    """A rule that is not disabled. `cidrs`: of the far end; none of them where only tags name it."""

    name: str
    priority: int
    allow: bool
    ingress: bool
    services: tuple[Service, ...]
    cidrs: tuple[IPv4Network, ...]
    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    def boxes(self) -> Iterator[Box]:
        """What it says of ranges."""
        for service in self.services:
            for cidr in self.cidrs:
                yield Box(service.protocol, service.low, service.high, cidr)

    def applies(self, tags: Iterable[str]) -> bool:
        """Whether it is about a machine with these network tags."""
        return not self.targets or not set(self.targets).isdisjoint(tags)


#: What GCE says of outgoing traffic that no rule is about.
IMPLIED_EGRESS: Final = Statement(
    "default-allow-egress", LAST_PRIORITY + 1, True, False, (Service(ALL),), (EVERYWHERE,)
)


def in_order(statements: Iterable[Statement], *, ingress: bool) -> list[Statement]:
    """Those of one direction, the deciding one first: by priority, and of one priority denials first."""
    found = [item for item in statements if item.ingress is ingress]
    return sorted(found, key=lambda item: (item.priority, item.allow, item.name))


def statement_of(rule: Firewall) -> Statement:
    """
    What a rule says, disabled or not.

    :raises Invalid: it says nothing that CloudStack could carry out anywhere; `field` says what.
    """
    ingress = rule.direction is Direction.INGRESS
    if not 0 <= rule.priority <= LAST_PRIORITY:
        raise errors.Invalid(f"A priority is from 0 to {LAST_PRIORITY}", field="priority")
    if not rule.protocols:
        raise errors.Invalid("A rule names at least one protocol", field="protocols")
    if ingress and rule.destination_ranges:
        raise errors.Invalid("CloudStack's rules for incoming traffic have no destination", field="destination_ranges")
    if not ingress and (rule.source_ranges or rule.source_tags):
        raise errors.Invalid(
            "CloudStack's rules for outgoing traffic have no source",
            field="source_ranges" if rule.source_ranges else "source_tags",
        )
    services: dict[Service, None] = {}
    for index, protocol in enumerate(rule.protocols):
        services.update(dict.fromkeys(_services(protocol, f"protocols[{index}]")))
    name, ranges = ("source_ranges", rule.source_ranges) if ingress else ("destination_ranges", rule.destination_ranges)
    cidrs = [_cidr(item, f"{name}[{index}]") for index, item in enumerate(ranges)]
    if not cidrs and not rule.source_tags:
        cidrs = [EVERYWHERE]
    return Statement(
        name=rule.name,
        priority=rule.priority,
        allow=rule.allow,
        ingress=ingress,
        services=tuple(services),
        cidrs=tuple(dict.fromkeys(cidrs)),
        sources=tuple(dict.fromkeys(rule.source_tags)),
        targets=tuple(dict.fromkeys(rule.target_tags)),
    )


def statements_of(rules: Iterable[Firewall]) -> list[Statement]:
    """What the rules that are not disabled say."""
    return [statement_of(rule) for rule in rules if not rule.disabled]


def _services(protocol: Protocol, field: str) -> Sequence[Service]:
    word = protocol.name.lower()
    if word.isascii() and word.isdigit():
        word = str(int(word))
    name = _PROTOCOLS.get(word, word)
    if name == "0":
        raise errors.Invalid("Protocol 0 means all protocols to CloudStack; say `all` for that", field=f"{field}.name")
    known = name in ("tcp", "udp", "icmp", ALL) or (name.isascii() and name.isdigit() and int(name) <= 255)
    if not known:
        raise errors.Invalid(f"There is no protocol {protocol.name!r}", field=f"{field}.name")
    if protocol.ports and name not in WITH_PORTS:
        raise errors.Invalid(f"Protocol {protocol.name!r} has no ports", field=f"{field}.ports")
    return [_service(name, ports, f"{field}.ports[{index}]") for index, ports in enumerate(protocol.ports)] or [
        Service(name)
    ]


def _service(name: str, ports: str, field: str) -> Service:
    first, dash, last = ports.partition("-")
    last = last if dash else first
    if not all(part.isascii() and part.isdigit() and int(part) <= LAST_PORT for part in (first, last)):
        raise errors.Invalid(f"{ports!r} is no port and no range of ports", field=field)
    if int(first) > int(last):
        raise errors.Invalid(f"The range of ports {ports!r} ends before it begins", field=field)
    return Service(name, int(first), int(last))


def _cidr(text: str, field: str) -> IPv4Network:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as exc:
        raise errors.Invalid(f"{text!r} is no range of addresses", field=field) from exc
    if not isinstance(network, IPv4Network):
        raise errors.Invalid(f"{text!r} is of IPv6, which this server's networks do not have", field=field)
    return network
