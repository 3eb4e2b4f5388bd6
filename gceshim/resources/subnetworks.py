"""compute.subnetworks: a network's range in one region; tiers of VPCs and whole flat networks underneath."""

from __future__ import annotations

from gceshim.model import Subnetwork
from gceshim.resources.base import Body, Collection, keyed_pages, method, pages
from gceshim.resources.call import Call
from gceshim.resources.values import fingerprint, timestamp


class Subnetworks(Collection, name="subnetworks", scope="region", needs=("networks", "locations")):
    @method
    async def get(self, call: Call) -> Body:
        return self._shown(call, await self.driver.networks.subnetwork(call.tenant, call.region, call.name))

    @method
    async def list(self, call: Call) -> Body:
        found = await self.driver.networks.subnetworks(call.tenant, call.region)
        return await self.listing(call, pages(found), lambda item: self._shown(call, item))

    @method
    async def aggregated_list(self, call: Call) -> Body:
        found = await self.driver.networks.subnetworks(call.tenant, None)
        source = keyed_pages(found, lambda item: f"{item.region}/{item.name}")
        return await self.aggregated(call, source, lambda item: self._shown(call, item), "subnetworks")

    def _shown(self, call: Call, item: Subnetwork) -> Body:
        return self.show(call, "Subnetwork", ("regions", item.region, "subnetworks", item.name), to_gce(call, item))


def to_gce(call: Call, item: Subnetwork) -> Body:
    body: Body = {
        "id": str(item.id),
        "name": item.name,
        "description": item.description or None,
        "region": call.url("regions", item.region),
        "network": call.url("global", "networks", item.network),
        "ipCidrRange": item.cidr or None,
        "gatewayAddress": item.gateway or None,
        "creationTimestamp": timestamp(item.created),
        "purpose": "PRIVATE",
        "stackType": "IPV4_ONLY",
        "privateIpGoogleAccess": False,
    }
    body["fingerprint"] = fingerprint(body)
    return body
