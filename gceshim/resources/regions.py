"""compute.regions: a zone's name less its last letter."""

from __future__ import annotations

from collections.abc import Sequence

from gceshim.model import Quota, Region
from gceshim.resources.base import Body, Collection, method, pages
from gceshim.resources.call import Call
from gceshim.resources.quotas import quotas_body


class Regions(Collection, name="regions", scope="", needs=("locations", "projects")):
    """The backend limits a tenant over all its zones together: each region shows that one limit and its usage."""

    @method
    async def get(self, call: Call) -> Body:
        region = await self.driver.locations.region(call.tenant, call.name)
        return self._shown(call, region, await self.driver.projects.quotas(call.tenant))

    @method
    async def list(self, call: Call) -> Body:
        regions = await self.driver.locations.regions(call.tenant)
        quotas = await self.driver.projects.quotas(call.tenant)
        return await self.listing(call, pages(regions), lambda region: self._shown(call, region, quotas))

    def _shown(self, call: Call, region: Region, quotas: Sequence[Quota]) -> Body:
        return self.show(call, "Region", ("regions", region.name), to_gce(call, region, quotas))


def to_gce(call: Call, region: Region, quotas: Sequence[Quota]) -> Body:
    return {
        "id": str(region.id),
        "name": region.name,
        "description": region.description,
        "status": "UP" if region.up else "DOWN",
        "zones": [call.url("zones", zone) for zone in region.zones],
        "quotas": quotas_body(quotas),
    }
