"""Where the rules of a network are to be in force, and whether CloudStack can express them there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.default_network import DefaultNetwork
from gceshim.drivers.cloudstack.firewall import acls, addresses, groups
from gceshim.drivers.cloudstack.firewall.statements import Inexpressible, Statement
from gceshim.drivers.cloudstack.layout import Place
from gceshim.drivers.cloudstack.locations import Locations
from gceshim.drivers.cloudstack.networks import Networks, no_network
from gceshim.drivers.cloudstack.rows import flag
from gceshim.model import DEFAULT_NETWORK, Tenant, Zone


@dataclass(frozen=True, slots=True)
class Terrain:
    """
    The CloudStack networks of one network, by what filters their traffic.

    `tiers`: access lists. `isolated`: their addresses' and their own rules. `grouped`: security groups. `bare`:
    nothing does. `unmade`: zones where an isolated network will be made for the first machine, and whether that one
    allows outgoing traffic by itself.
    """

    network: str
    tiers: tuple[Place, ...] = ()
    isolated: tuple[Place, ...] = ()
    grouped: tuple[Place, ...] = ()
    bare: tuple[Place, ...] = ()
    unmade: tuple[tuple[Zone, bool], ...] = ()

    @property
    def vpc_ids(self) -> list[str]:
        """The VPCs of the tiers."""
        return sorted({place.vpc_id for place in self.tiers})

    @property
    def inside(self) -> list[str]:
        """The ranges of the networks with security groups."""
        return [place.subnetwork.cidr for place in self.grouped]


def terrain_of(network: str, places: Sequence[Place]) -> Terrain:
    """The terrain of these CloudStack networks."""
    tiers, isolated, grouped, bare = [], [], [], []
    for place in sorted(places, key=lambda item: item.backend_id):
        if place.vpc_id:
            tiers.append(place)
        elif "SecurityGroup" in place.services:
            grouped.append(place)
        elif "Firewall" in place.services and place.own:
            isolated.append(place)
        else:
            bare.append(place)
    return Terrain(network, tuple(tiers), tuple(isolated), tuple(grouped), tuple(bare))


class Terrains:
    """Looks terrains up, and checks rules against them."""

    def __init__(
        self, backend: Backend, locations: Locations, networks: Networks, default_network: DefaultNetwork
    ) -> None:
        self._backend = backend
        self._locations = locations
        self._networks = networks
        self._default_network = default_network

    async def of(self, tenant: Tenant, network: str) -> Terrain:
        """The terrain of a network, by name or number, as it is now. :raises NotFound: `field` "network"."""
        layout = await self._networks.layout(tenant, fresh=True)
        found = layout.network(network)
        if found is None:
            raise no_network(network, "network")
        return terrain_of(found.name, [place for place in layout.places.values() if place.network == found.name])

    async def check(self, tenant: Tenant, terrain: Terrain, statements: Sequence[Statement]) -> None:
        """
        Whether all the rules of a network that are not disabled can be carried out wherever it is or will be.

        :raises Invalid: the message names the zone, the rule and the reason.
        """
        zones = {zone.backend_id: zone.name for zone in await self._locations.zones(tenant)}
        sourced = next((item for item in statements if item.sources), None)
        for place in terrain.bare:
            raise _refused(zones[place.zone_id], f"network {place.subnetwork.name!r} has no firewall there")
        for place in terrain.tiers:
            with _Refusing(zones[place.zone_id]):
                acls.items_of(statements)
        for vpc_id in terrain.vpc_ids:
            await self._check_lists(tenant, terrain, vpc_id, zones)
        for place in terrain.isolated:
            with _Refusing(zones[place.zone_id]):
                addresses.check(statements, egress_allowed=place.egress_allowed)
        for zone, egress_allowed in await self.unmade(tenant, terrain):
            with _Refusing(zone.name):
                addresses.check(statements, egress_allowed=egress_allowed)
        for place in terrain.grouped:
            with _Refusing(zones[place.zone_id]):
                groups.group_rules(terrain.network, statements, inside=terrain.inside)
            if tenant.project_id and sourced is not None:
                raise _refused(
                    zones[place.zone_id],
                    f"rule {sourced.name!r} has source tags, and CloudStack does not take a project's security group"
                    " as a source",
                )

    async def unmade(self, tenant: Tenant, terrain: Terrain) -> list[tuple[Zone, bool]]:
        """The zones where `default` is not made yet, and whether it will allow outgoing traffic by itself there."""
        if terrain.network != DEFAULT_NETWORK or terrain.tiers:
            return []
        used = {place.zone_id for place in (*terrain.isolated, *terrain.grouped, *terrain.bare)}
        found = []
        for zone in await self._locations.zones(tenant):
            if zone.backend_id in used or zone.security_groups or not zone.up:
                continue
            try:
                offering = await self._default_network.offering(tenant, zone.backend_id)
            except errors.Unsupported:
                continue  # no machine will ever need it there
            found.append((zone, flag(offering, "egressdefaultpolicy")))
        return found

    async def _check_lists(self, tenant: Tenant, terrain: Terrain, vpc_id: str, zones: dict[str, str]) -> None:
        state = await acls.AccessList(self._backend, tenant, vpc_id, None).read()
        for place in terrain.tiers:
            acl = state["tiers"].get(place.backend_id, "")
            if place.vpc_id == vpc_id and acl in state["others"]:
                raise _refused(
                    zones[place.zone_id],
                    f"subnetwork {place.subnetwork.name!r} has an access list of its own, {state['others'][acl]!r};"
                    " give it one of CloudStack's default lists first",
                )


class _Refusing:
    """Turns what cannot be expressed into the error for it."""

    def __init__(self, zone: str) -> None:
        self._zone = zone

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Inexpressible):
            raise _refused(self._zone, str(error)) from error


def _refused(zone: str, reason: str) -> errors.Invalid:
    return errors.Invalid(f"The rules of this network cannot be carried out in zone {zone!r}: {reason}")
