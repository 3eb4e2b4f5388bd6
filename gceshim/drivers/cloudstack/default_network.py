"""The network `default`, made when a machine first needs it."""

from __future__ import annotations

import asyncio
import logging
from typing import Final
from weakref import WeakValueDictionary

from gceshim.drivers import errors
from gceshim.drivers.base import Steps
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.layout import DEFAULT_MARK
from gceshim.drivers.cloudstack.locations import Locations
from gceshim.drivers.cloudstack.marks import set_tags
from gceshim.drivers.cloudstack.networks import Networks
from gceshim.drivers.cloudstack.rows import Row, rows, tags, text
from gceshim.drivers.cloudstack.tags import encode
from gceshim.model import DEFAULT_NETWORK, Tenant

log = logging.getLogger(__name__)

DESCRIPTION: Final = "Default network, made by gceshim"


class DefaultNetwork:
    """Makes and marks the network that stands for `default` in a zone."""

    def __init__(self, backend: Backend, locations: Locations, networks: Networks) -> None:
        self._backend = backend
        self._locations = locations
        self._networks = networks
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def make(self, steps: Steps, zone_id: str) -> str:
        """The CloudStack id of the zone's `default` network, which is made unless it is there by now."""
        tenant = steps.tenant

        async def find() -> str | None:
            zone = await self._locations.zone_by_id(tenant, zone_id)
            if zone is None:
                return None
            places = (await self._networks.layout(tenant, fresh=True)).in_zone(DEFAULT_NETWORK, zone.backend_id)
            return places[0].backend_id if places else None

        async def make() -> str:
            # Two machines that are made at once are to share one network.
            lock = self._locks.setdefault((tenant.owner, zone_id), asyncio.Lock())
            async with lock:
                return await find() or await self._create(tenant, zone_id)

        made: str = await steps.run("default-network", make, find=find)
        return made

    async def mark(self, steps: Steps, network_id: str) -> None:
        """
        Note that this network is `default`, so that it stays so when the account gets others.

        A network that cannot be marked is used all the same.
        """
        tenant = steps.tenant

        async def current() -> dict[str, str] | None:
            reply = await self._backend.owned(tenant, "listNetworks", id=network_id)
            found = rows(reply, "network")
            return tags(found[0]) if found else None

        mark = encode({}, {DEFAULT_MARK: True})
        try:
            await set_tags(
                self._backend, steps, "default-network-mark", ("Network", network_id), wanted=mark, current=current
            )
        except errors.DriverError as exc:
            log.info("network %s cannot be marked as the default: %s", network_id, exc.message)
        self._networks.forget(tenant)

    async def _create(self, tenant: Tenant, zone_id: str) -> str:
        offering = await self.offering(tenant, zone_id)
        reply = await self._backend.owned(
            tenant,
            "createNetwork",
            name=DEFAULT_NETWORK,
            displaytext=DESCRIPTION,
            zoneid=zone_id,
            networkofferingid=text(offering, "id"),
        )
        self._networks.forget(tenant)
        network = reply.get("network")
        if not isinstance(network, dict) or not text(network, "id"):
            raise errors.Unavailable("CloudStack gave an answer that is not understood", detail="createNetwork")
        return text(network, "id")

    async def offering(self, tenant: Tenant, zone_id: str) -> Row:
        """The network offering that it is made from in a zone. :raises Unsupported: there is none."""
        found = await self._backend.every(
            tenant.credentials,
            "listNetworkOfferings",
            "networkoffering",
            state="Enabled",
            guestiptype="Isolated",
            forvpc=False,
            zoneid=zone_id,
        )
        wanted = self._backend.settings.default_network_offering
        if wanted:
            for row in found:
                if wanted in (text(row, "name"), text(row, "id")):
                    return row
            raise errors.Unsupported(
                "The network 'default' cannot be made: the offering that this server is set to use is not there",
                detail=f"driver.cloudstack.default_network_offering = {wanted!r}",
            )
        usable = [row for row in found if any(text(item, "name") == "SourceNat" for item in rows(row, "service"))]
        required = [row for row in usable if text(row, "availability") == "Required"]
        if not usable:
            raise errors.Unsupported(
                "There is no network 'default' in this zone, and no offering to make one with",
                kind="network",
                name=DEFAULT_NETWORK,
                field="interfaces[0].network",
            )
        return (required or usable)[0]
