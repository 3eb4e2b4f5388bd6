"""Networks and subnetworks, read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from gceshim.drivers import base, errors
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.layout import Layout, layout_of
from gceshim.drivers.cloudstack.locations import Locations
from gceshim.model import Network, Subnetwork, Tenant

_KIND = "networks"


class Networks(base.Networks):
    """Implements `base.Networks`. Its own reads ask CloudStack each time; other capabilities use the memory."""

    def __init__(self, backend: Backend, locations: Locations) -> None:
        self._backend = backend
        self._locations = locations

    async def get(self, tenant: Tenant, name: str) -> Network:
        """By name or numeric id. Source: `listNetworks`, `listVPCs`."""
        found = (await self.layout(tenant, fresh=True)).network(name)
        if found is None:
            raise no_network(name)
        return found

    async def list(self, tenant: Tenant) -> Sequence[Network]:
        """By name; `default` is always there. Source: `listNetworks`, `listVPCs`."""
        return list((await self.layout(tenant, fresh=True)).networks.values())

    async def subnetwork(self, tenant: Tenant, region: str, name: str) -> Subnetwork:
        """By name or numeric id. Source: `listNetworks`."""
        where = await self._locations.region(tenant, region)
        for found in await self.subnetworks(tenant, where.name):
            if name in (found.name, str(found.id)):
                return found
        raise no_subnetwork(name, where.name)

    async def subnetworks(self, tenant: Tenant, region: str | None) -> Sequence[Subnetwork]:
        """By region and name. Source: `listNetworks`."""
        name = (await self._locations.region(tenant, region)).name if region is not None else None
        found = (await self.layout(tenant, fresh=True)).places.values()
        ranges = [place.subnetwork for place in found if name in (None, place.subnetwork.region)]
        return sorted(ranges, key=lambda item: (item.region, item.name))

    async def layout(self, tenant: Tenant, *, fresh: bool = False) -> Layout:
        """All networks as they are shown, from memory for a short time."""

        async def fetch() -> Layout:
            zones, networks, vpcs = await asyncio.gather(
                self._locations.zones(tenant),
                self._backend.every_owned(tenant, "listNetworks", "network"),
                self._backend.every_owned(tenant, "listVPCs", "vpc"),
            )
            return layout_of(networks, vpcs, zones, tenant.owner)

        return await self._backend.remembered(tenant, _KIND, fetch, fresh=fresh)

    async def layout_with(self, tenant: Tenant, network_ids: set[str]) -> Layout:
        """As `layout`, read anew if it lacks one of these CloudStack networks."""
        found = await self.layout(tenant)
        if network_ids <= found.places.keys():
            return found
        return await self.layout(tenant, fresh=True)

    async def simple_zones(self, tenant: Tenant, zone_ids: Iterable[str]) -> frozenset[str]:
        """Those of the zones where no two machines can have one valid name: that takes two networks."""
        used = [place.zone_id for place in (await self.layout(tenant)).places.values()]
        return frozenset(zone_id for zone_id in zone_ids if used.count(zone_id) < 2)

    def forget(self, tenant: Tenant) -> None:
        """Something changed; the next read asks CloudStack."""
        self._backend.forget(tenant, _KIND)


def no_network(name: str, field: str = "") -> errors.NotFound:
    """The error for a network that is not there."""
    return errors.NotFound(f"There is no network {name!r}", kind="network", name=name, field=field)


def no_subnetwork(name: str, region: str, field: str = "") -> errors.NotFound:
    """The error for a subnetwork that is not there."""
    return errors.NotFound(
        f"There is no subnetwork {name!r} in region {region!r}", kind="subnetwork", name=name, field=field
    )
