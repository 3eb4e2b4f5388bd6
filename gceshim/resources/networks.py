"""compute.networks: networks of all regions; isolated and shared networks and VPCs underneath."""

from __future__ import annotations

from gceshim.model import Network, NetworkKind
from gceshim.resources.base import Body, Collection, method, pages
from gceshim.resources.call import Call
from gceshim.resources.values import timestamp


class Networks(Collection, name="networks", scope="global", needs=("networks", "locations")):
    """`default` is always there; it has a subnetwork in a region once a machine has been made in it."""

    @method
    async def get(self, call: Call) -> Body:
        return self._shown(call, await self.driver.networks.get(call.tenant, call.name))

    @method
    async def list(self, call: Call) -> Body:
        networks = await self.driver.networks.list(call.tenant)
        return await self.listing(call, pages(networks), lambda network: self._shown(call, network))

    def _shown(self, call: Call, network: Network) -> Body:
        return self.show(call, "Network", ("global", "networks", network.name), to_gce(call, network))


def to_gce(call: Call, network: Network) -> Body:
    """A flat network's ranges are chosen by the backend, which is what `autoCreateSubnetworks` says."""
    ranges = [call.url("regions", item.region, "subnetworks", item.name) for item in network.subnetworks]
    return {
        "id": str(network.id),
        "name": network.name,
        "description": network.description or None,
        "autoCreateSubnetworks": network.kind is NetworkKind.FLAT,
        "creationTimestamp": timestamp(network.created),
        "mtu": network.mtu,
        "routingConfig": {"routingMode": "REGIONAL"},
        "subnetworks": ranges or None,
    }
