"""compute.globalOperations, regionOperations, zoneOperations: what mutations answer with."""

from __future__ import annotations

import functools
from typing import Final

from gceshim.model import Page
from gceshim.operations.record import Operation
from gceshim.protocol.sources import Keyed
from gceshim.resources.base import Body, Collection, method
from gceshim.resources.call import Call

WAIT_SECONDS: Final = 120.0
"""GCE's `wait` returns after two minutes at most, whether the operation is done or not."""


class GlobalOperations(Collection, name="globalOperations", scope="global"):
    @method
    async def get(self, call: Call) -> Body:
        return await get(self, call, "global")

    @method
    async def list(self, call: Call) -> Body:
        return await self.listing(call, recent(self, call, "global"), lambda item: self.show_operation(call, item))

    @method
    async def aggregated_list(self, call: Call) -> Body:
        fetch = recent(self, call, None)
        return await self.aggregated(call, fetch, lambda item: self.show_operation(call, item), "operations")

    @method
    async def wait(self, call: Call) -> Body:
        return await wait(self, call, "global")

    @method
    async def delete(self, call: Call) -> None:
        await self.engine.delete(call.tenant.owner, "global", "", call.name)


class RegionOperations(Collection, name="regionOperations", scope="region", needs=("locations",)):
    @method
    async def get(self, call: Call) -> Body:
        return await get(self, call, "region")

    @method
    async def list(self, call: Call) -> Body:
        return await self.listing(call, recent(self, call, "region"), lambda item: self.show_operation(call, item))

    @method
    async def wait(self, call: Call) -> Body:
        return await wait(self, call, "region")

    @method
    async def delete(self, call: Call) -> None:
        await self.engine.delete(call.tenant.owner, "region", call.region, call.name)


class ZoneOperations(Collection, name="zoneOperations", scope="zone", needs=("locations",)):
    @method
    async def get(self, call: Call) -> Body:
        return await get(self, call, "zone")

    @method
    async def list(self, call: Call) -> Body:
        return await self.listing(call, recent(self, call, "zone"), lambda item: self.show_operation(call, item))

    @method
    async def wait(self, call: Call) -> Body:
        return await wait(self, call, "zone")

    @method
    async def delete(self, call: Call) -> None:
        await self.engine.delete(call.tenant.owner, "zone", call.zone, call.name)


async def get(collection: Collection, call: Call, kind: str) -> Body:
    """One operation of the call's scope, as it is now."""
    operation = await collection.engine.get(call.tenant.owner, kind, call.zone or call.region, call.name)
    return collection.show_operation(call, operation)


async def wait(collection: Collection, call: Call, kind: str) -> Body:
    """The same once it is done, or after two minutes."""
    scope = call.zone or call.region
    operation = await collection.engine.wait(call.tenant.owner, kind, scope, call.name, WAIT_SECONDS)
    return collection.show_operation(call, operation)


def recent(collection: Collection, call: Call, kind: str | None) -> Keyed[Operation]:
    """The tenant's operations of one scope, or (None) of all, by name, which is by time."""
    owner, scope = call.tenant.owner, None if kind is None else call.zone or call.region

    async def fetch(after: str, length: int, *, newest_first: bool = False) -> Page[Operation]:
        items = await collection.engine.list(owner, kind, scope, after=after, newest_first=newest_first, limit=length)
        return Page(items, more=len(items) == length)

    newest = functools.partial(fetch, newest_first=True)
    return Keyed(fetch, lambda operation: operation.name, by_name=True, newest=newest)
