"""Zones and regions: each CloudStack zone is a zone `<name>-a` in a region of its own, unless settings name it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gceshim.drivers import base, errors
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.names import shown, slug
from gceshim.drivers.cloudstack.rows import Row, flag, text
from gceshim.model import Region, Tenant, Zone, stable_id


class Locations(base.Locations):
    """Implements `base.Locations`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def zones(self, tenant: Tenant) -> Sequence[Zone]:
        """All zones, from memory for a short time. Source: `listZones`."""

        return (await self._known(tenant))[0]

    async def zone(self, tenant: Tenant, name: str) -> Zone:
        """By shown name, numeric id, CloudStack's name (as it is or slugged) or id."""
        zones = await self.zones(tenant)
        for zone in zones:
            if name in (zone.name, str(zone.id), zone.backend_id):
                return zone
        bare = [zone for zone in zones if name in (zone.description, slug(zone.description))]
        if len(bare) == 1:
            return bare[0]
        raise errors.NotFound(f"There is no zone {name!r}", kind="zone", name=name, field="zone")

    async def zone_by_id(self, tenant: Tenant, backend_id: str) -> Zone | None:
        """By CloudStack's id; None where there is none."""
        return next((zone for zone in await self.zones(tenant) if zone.backend_id == backend_id), None)

    async def is_basic(self, tenant: Tenant, zone: Zone) -> bool:
        """Whether it is a zone of CloudStack's old basic kind, with one network for all."""
        return zone.backend_id in (await self._known(tenant))[1]

    async def _known(self, tenant: Tenant) -> tuple[list[Zone], frozenset[str]]:
        async def fetch() -> tuple[list[Zone], frozenset[str]]:
            found = await self._backend.every(tenant.credentials, "listZones", "zone")
            basic = frozenset(text(row, "id") for row in found if text(row, "networktype") == "Basic")
            return zones_of(found, self._backend.settings.zones), basic

        return await self._backend.remembered(tenant.credentials, "zones", fetch)

    async def regions(self, tenant: Tenant) -> Sequence[Region]:
        """All regions: the zones' names less their last part."""
        return regions_of(await self.zones(tenant))

    async def region(self, tenant: Tenant, name: str) -> Region:
        """By name or numeric id."""
        for region in await self.regions(tenant):
            if name in (region.name, str(region.id)):
                return region
        raise errors.NotFound(f"There is no region {name!r}", kind="region", name=name)


def zones_of(found: Sequence[Row], named: Mapping[str, str]) -> list[Zone]:
    """
    Zone rows as zones, by name. A zone's description is CloudStack's name for it.

    :param named: names from the settings, by CloudStack name or id.
    """
    names = shown(found)
    zones = []
    for row in found:
        backend_id = text(row, "id")
        own = text(row, "name")
        # A region's name may be 61 characters long, so that "-a" still fits.
        made = f"{names[backend_id][:61].rstrip('-')}-a"
        name = named.get(own) or named.get(backend_id) or made
        zones.append(
            Zone(
                id=stable_id(backend_id),
                backend_id=backend_id,
                name=name,
                region=region_of(name),
                description=own,
                up=text(row, "allocationstate").lower() in ("enabled", ""),
                security_groups=flag(row, "securitygroupsenabled") or text(row, "networktype") == "Basic",
            )
        )
    return sorted(zones, key=lambda zone: zone.name)


def region_of(zone: str) -> str:
    """The region of a zone, by their names."""
    return zone.rpartition("-")[0]


def regions_of(zones: Sequence[Zone]) -> list[Region]:
    """The regions of zones, by name."""
    members: dict[str, list[Zone]] = {}
    for zone in zones:
        members.setdefault(zone.region, []).append(zone)
    return [
        Region(
            id=stable_id(f"region:{name}"),
            name=name,
            description=", ".join(zone.description for zone in inside),
            up=any(zone.up for zone in inside),
            zones=tuple(sorted(zone.name for zone in inside)),
        )
        for name, inside in sorted(members.items())
    ]
