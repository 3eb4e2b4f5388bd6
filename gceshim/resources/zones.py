"""compute.zones: where machines run."""

from __future__ import annotations

from gceshim.model import Zone
from gceshim.resources.base import Body, Collection, method, pages
from gceshim.resources.call import Call


class Zones(Collection, name="zones", scope="", needs=("locations",)):
    """A zone of the backend is a zone here, in a region of its own."""

    @method
    async def get(self, call: Call) -> Body:
        return self._shown(call, await self.driver.locations.zone(call.tenant, call.name))

    @method
    async def list(self, call: Call) -> Body:
        zones = await self.driver.locations.zones(call.tenant)
        return await self.listing(call, pages(zones), lambda zone: self._shown(call, zone))

    def _shown(self, call: Call, zone: Zone) -> Body:
        return self.show(call, "Zone", ("zones", zone.name), to_gce(call, zone))


def to_gce(call: Call, zone: Zone) -> Body:
    """`description` is the backend's own name for the zone."""
    return {
        "id": str(zone.id),
        "name": zone.name,
        "description": zone.description,
        "region": call.url("regions", zone.region),
        "status": "UP" if zone.up else "DOWN",
    }
