"""compute.instances.listReferrers: what refers to a machine, an instance group for instance."""

from __future__ import annotations

from typing import Any

from gceshim.resources.base import Body, Collection, method, pages
from gceshim.resources.call import Call
from gceshim.resources.on_instance import named


class InstanceReferrers(Collection, name="instances", scope="zone", needs=("instances", "locations")):
    """There are no instance groups and no other resources here that could refer to a machine: the list is empty."""

    @method
    async def list_referrers(self, call: Call) -> Body:
        await named(self, call)
        nothing: list[Any] = []
        return await self.listing(call, pages(nothing), lambda item: item)
