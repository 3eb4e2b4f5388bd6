"""
How CloudStack's networks and VPCs look as GCE networks: pure conversions.

Isolated, shared and L2 networks of one name, each in its zone, are one network with one subnetwork in each. VPCs of
one name are one network, and their tiers are its subnetworks. The network `default` is, zone by zone: the caller's
own network or VPC of that name, or marked so; else, where the zone has security groups, its shared network; else the
caller's only isolated network; else one that will be made. What stands for `default` is shown under that name only,
but is found under its own as well.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gceshim.drivers.cloudstack.names import is_label, shown, slug, suffixed
from gceshim.drivers.cloudstack.rows import Row, age_key, flag, number, rows, tags, text, time
from gceshim.drivers.cloudstack.tags import decode
from gceshim.model import DEFAULT_NETWORK, Network, NetworkKind, Subnetwork, Zone, stable_id

DEFAULT_MARK: Final = "default-network"


@dataclass(frozen=True, slots=True)
class Place:
    """
    One CloudStack network: where it is and what it is shown as. `zone_id` is CloudStack's.

    `egress_allowed`: an isolated network lets out what no rule of its own is about.
    """

    backend_id: str
    zone_id: str
    vpc_id: str
    network: str
    subnetwork: Subnetwork
    services: frozenset[str]
    own: bool
    marked: bool
    egress_allowed: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """All networks of a tenant. `places`: by CloudStack network id. `aliases`: own names of what is `default`."""

    networks: Mapping[str, Network]
    places: Mapping[str, Place]
    aliases: Mapping[str, str]

    def network(self, name: str) -> Network | None:
        """By name, numeric id or, for what is shown as `default`, own name."""
        found = self.networks.get(name) or self.networks.get(self.aliases.get(name, ""))
        return found or next((item for item in self.networks.values() if str(item.id) == name), None)

    def in_zone(self, network: str, zone_id: str) -> list[Place]:
        """The CloudStack networks of one network in one zone, by subnetwork name."""
        found = [item for item in self.places.values() if (item.network, item.zone_id) == (network, zone_id)]
        return sorted(found, key=lambda item: item.subnetwork.name)


def layout_of(networks: Sequence[Row], vpcs: Sequence[Row], zones: Sequence[Zone], owner: str) -> Layout:
    """
    The layout for rows of `listNetworks` and `listVPCs`; what is in a zone that is not there is left out.

    :param owner: `Tenant.owner`: a network's numeric id is of owner and name, as it may lie in several zones, and
        `default` is there before any of CloudStack's is.
    """
    by_zone = {zone.backend_id: zone for zone in zones}
    networks = [row for row in networks if text(row, "zoneid") in by_zone and text(row, "traffictype") != "Public"]
    vpcs = [row for row in vpcs if text(row, "zoneid") in by_zone]
    vpc_ids = {text(row, "id") for row in vpcs}
    flat = [row for row in networks if not text(row, "vpcid")]
    tiers = [row for row in networks if text(row, "vpcid") in vpc_ids]
    defaults = _defaults(flat, vpcs, by_zone)
    names = _network_names(flat, vpcs, defaults)
    subnetwork_names = _subnetwork_names(flat, tiers, names, by_zone)
    places = {}
    for row in [*flat, *tiers]:
        backend_id, vpc_id = text(row, "id"), text(row, "vpcid")
        network = names[vpc_id or backend_id]
        zone = by_zone[text(row, "zoneid")]
        places[backend_id] = Place(
            backend_id=backend_id,
            zone_id=zone.backend_id,
            vpc_id=vpc_id,
            network=network,
            subnetwork=_subnetwork(row, subnetwork_names[backend_id], network, zone.region),
            services=frozenset(text(item, "name") for item in rows(row, "service")),
            own=_is_own(row),
            marked=_is_marked(row) or text(row, "name") == DEFAULT_NETWORK,
            egress_allowed=flag(row, "egressdefaultpolicy"),
        )
    found = _networks(flat, vpcs, names, places, owner)
    if DEFAULT_NETWORK not in found:
        found[DEFAULT_NETWORK] = Network(
            id=_network_id(owner, DEFAULT_NETWORK), name=DEFAULT_NETWORK, kind=NetworkKind.FLAT, subnetworks=()
        )
    aliases = {
        slug(text(row, "name")): DEFAULT_NETWORK
        for row in [*flat, *vpcs]
        if text(row, "id") in defaults and slug(text(row, "name")) not in found
    }
    return Layout(dict(sorted(found.items())), places, aliases)


def _is_own(row: Row) -> bool:
    return text(row, "type").lower() != "shared"


def _is_marked(row: Row) -> bool:
    return bool(decode(tags(row))[1].get(DEFAULT_MARK))


def _defaults(flat: Sequence[Row], vpcs: Sequence[Row], by_zone: Mapping[str, Zone]) -> set[str]:
    """The ids of what is shown as `default`: at most one network or VPC in each zone."""
    found = set()
    for zone_id, zone in by_zone.items():
        here = sorted((row for row in flat if text(row, "zoneid") == zone_id), key=age_key)
        own = [row for row in here if _is_own(row)]
        named = [row for row in own if text(row, "name") == DEFAULT_NETWORK]
        named += [row for row in vpcs if (text(row, "zoneid"), text(row, "name")) == (zone_id, DEFAULT_NETWORK)]
        marked = [row for row in own if _is_marked(row)]
        shared = [row for row in here if not _is_own(row)]
        isolated = [row for row in own if text(row, "type").lower() == "isolated"]
        if named or marked:
            found.add(text((sorted(named, key=age_key) or marked)[0], "id"))
        elif zone.security_groups:
            found.update(text(row, "id") for row in _with_groups(shared)[:1])
        elif len(isolated) == 1:
            found.add(text(isolated[0], "id"))
    return found


def _with_groups(shared: Sequence[Row]) -> Sequence[Row]:
    """Those with security groups, or all where none says so."""
    return [
        row for row in shared if any(text(item, "name") == "SecurityGroup" for item in rows(row, "service"))
    ] or shared


def _network_names(flat: Sequence[Row], vpcs: Sequence[Row], defaults: set[str]) -> dict[str, str]:
    """
    The GCE network of each network and VPC, by id.

    Of one name, the first to come decides whether it is a flat network or a VPC; what is of the other kind, or a
    second one in a zone, has a name of its own.
    """
    names: dict[str, str] = {}
    kinds: dict[str, bool] = {}
    seen: set[tuple[str, str]] = set()
    vpc_ids = {text(row, "id") for row in vpcs}

    def order(row: Row) -> tuple[bool, bool, tuple[str, str]]:
        return (text(row, "id") not in defaults, not is_label(text(row, "name")), age_key(row))

    for row in sorted([*flat, *vpcs], key=order):
        backend_id = text(row, "id")
        name = DEFAULT_NETWORK if backend_id in defaults else slug(text(row, "name"))
        is_vpc = backend_id in vpc_ids
        place = (name, text(row, "zoneid"))
        if place in seen or kinds.get(name, is_vpc) is not is_vpc:
            name = suffixed(name, backend_id)
        kinds.setdefault(name, is_vpc)
        seen.add((name, text(row, "zoneid")))
        names[backend_id] = name
    return names


def _subnetwork_names(
    flat: Sequence[Row], tiers: Sequence[Row], names: Mapping[str, str], by_zone: Mapping[str, Zone]
) -> dict[str, str]:
    """The names of ranges, unique in each region: of a flat network its own, of a tier the tier's."""
    regions: dict[str, list[Row]] = {}
    for row in flat:
        renamed = {**row, "name": names[text(row, "id")]}
        regions.setdefault(by_zone[text(row, "zoneid")].region, []).append(renamed)
    for row in tiers:
        regions.setdefault(by_zone[text(row, "zoneid")].region, []).append(row)
    found: dict[str, str] = {}
    for inside in regions.values():
        found.update(shown(inside))
    return found


def _subnetwork(row: Row, name: str, network: str, region: str) -> Subnetwork:
    backend_id = text(row, "id")
    return Subnetwork(
        id=stable_id(backend_id),
        backend_id=backend_id,
        name=name,
        region=region,
        network=network,
        cidr=_cidr(row),
        gateway=text(row, "gateway"),
        description=text(row, "displaytext"),
        created=time(row, "created"),
        shared=not _is_own(row),
    )


def _cidr(row: Row) -> str:
    """The range; shared networks tell it by gateway and netmask alone."""
    if text(row, "cidr"):
        return text(row, "cidr")
    try:
        return str(ipaddress.ip_network(f"{text(row, 'gateway')}/{text(row, 'netmask')}", strict=False))
    except ValueError:
        return ""


def _network_id(owner: str, name: str) -> int:
    return stable_id(f"{owner}:networks:{name}")


def _networks(
    flat: Sequence[Row], vpcs: Sequence[Row], names: Mapping[str, str], places: Mapping[str, Place], owner: str
) -> dict[str, Network]:
    ranges: dict[str, list[Subnetwork]] = {}
    for place in places.values():
        ranges.setdefault(place.network, []).append(place.subnetwork)
    found: dict[str, Network] = {}
    vpc_ids = {text(row, "id") for row in vpcs}
    for row in sorted([*flat, *vpcs], key=age_key):
        backend_id = text(row, "id")
        name = names[backend_id]
        if name in found:
            continue
        is_vpc = backend_id in vpc_ids
        found[name] = Network(
            id=_network_id(owner, name),
            name=name,
            kind=NetworkKind.VPC if is_vpc else NetworkKind.FLAT,
            subnetworks=tuple(sorted(ranges.get(name, ()), key=lambda item: (item.region, item.name))),
            description=text(row, "displaytext"),
            created=time(row, "created"),
            mtu=number(row, "publicmtu") or None,
        )
    return found
