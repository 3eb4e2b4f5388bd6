"""compute.machineTypes: how large a machine is; offerings underneath."""

from __future__ import annotations

from gceshim.model import MachineType
from gceshim.resources.base import Body, Collection, keyed_pages, method, pages
from gceshim.resources.call import Call
from gceshim.resources.narrowing import read_zones
from gceshim.resources.values import timestamp


class MachineTypes(Collection, name="machineTypes", scope="zone", needs=("catalog", "locations")):
    """Custom sizes and GCE's predefined names resolve in `get`; lists hold what the operator offers by name."""

    @method
    async def get(self, call: Call) -> Body:
        return self._shown(call, await self.driver.catalog.machine_type(call.tenant, call.zone, call.name))

    @method
    async def list(self, call: Call) -> Body:
        types = await self.driver.catalog.machine_types(call.tenant, call.zone)
        return await self.listing(call, pages(types), lambda item: self._shown(call, item))

    @method
    async def aggregated_list(self, call: Call) -> Body:
        types = self.driver.catalog.machine_types
        parts = await read_zones(self.driver, call, lambda zone: types(call.tenant, zone))
        source = keyed_pages(parts.items, lambda item: f"{item.zone}/{item.name}")
        return await self.aggregated(
            call, source, lambda item: self._shown(call, item), "machineTypes", parts.unreachable
        )

    def _shown(self, call: Call, item: MachineType) -> Body:
        return self.show(call, "MachineType", ("zones", item.zone, "machineTypes", item.name), to_gce(item))


def to_gce(item: MachineType) -> Body:
    """`zone` is a bare name here, as it is in GCE."""
    return {
        "id": str(item.id),
        "name": item.name,
        "description": item.description,
        "guestCpus": item.vcpus,
        "memoryMb": item.memory_mib,
        "creationTimestamp": timestamp(item.created),
        "zone": item.zone,
    }
