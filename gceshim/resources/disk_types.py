"""compute.diskTypes: kinds of disk; disk offerings underneath."""

from __future__ import annotations

from gceshim.model import GIB, DiskType
from gceshim.resources.base import Body, Collection, keyed_pages, method, pages
from gceshim.resources.call import Call
from gceshim.resources.narrowing import read_zones
from gceshim.resources.values import gib, timestamp


class DiskTypes(Collection, name="diskTypes", scope="zone", needs=("disks", "locations")):
    """GCE's own names are there too, each with the offering that stands for it."""

    @method
    async def get(self, call: Call) -> Body:
        return self._shown(call, await self.driver.disks.type(call.tenant, call.zone, call.name))

    @method
    async def list(self, call: Call) -> Body:
        types = await self.driver.disks.types(call.tenant, call.zone)
        return await self.listing(call, pages(types), lambda item: self._shown(call, item))

    @method
    async def aggregated_list(self, call: Call) -> Body:
        types = self.driver.disks.types
        parts = await read_zones(self.driver, call, lambda zone: types(call.tenant, zone))
        source = keyed_pages(parts.items, lambda item: f"{item.zone}/{item.name}")
        return await self.aggregated(call, source, lambda item: self._shown(call, item), "diskTypes", parts.unreachable)

    def _shown(self, call: Call, item: DiskType) -> Body:
        return self.show(call, "DiskType", ("zones", item.zone, "diskTypes", item.name), to_gce(call, item))


def to_gce(call: Call, item: DiskType) -> Body:
    return {
        "id": str(item.id),
        "name": item.name,
        "description": item.description or None,
        "zone": call.url("zones", item.zone),
        "creationTimestamp": timestamp(item.created),
        "defaultDiskSizeGb": gib(item.default_size_bytes),
        "validDiskSize": f"{-(-item.minimum_bytes // GIB)}GB-{item.maximum_bytes // GIB}GB",
    }
