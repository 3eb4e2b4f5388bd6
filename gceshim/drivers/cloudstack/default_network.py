"""The network `default`, made when a machine first needs it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final
from weakref import WeakValueDictionary

from gceshim.drivers import errors
from gceshim.drivers.base import Steps
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.layout import DEFAULT_MARK
from gceshim.drivers.cloudstack.locations import Locations
from gceshim.drivers.cloudstack.marks import drop_tags, owner_of, set_tags
from gceshim.drivers.cloudstack.networks import Networks
from gceshim.drivers.cloudstack.rows import Row, rows, tags, text
from gceshim.drivers.cloudstack.tags import encode
from gceshim.model import DEFAULT_NETWORK, Tenant

log = logging.getLogger(__name__)

DESCRIPTION: Final = "Default network, made by gceshim"

_MAKING: Final = "default-network"
#: Longer than it takes another server to take over from one that died while it made the network.
_CLAIM_SECONDS: Final = 120.0
_PAUSE_SECONDS: Final = 0.3
_MOST_TRIES: Final = 5


class DefaultNetwork:
    """Makes and marks the network that stands for `default` in a zone."""

    def __init__(self, backend: Backend, locations: Locations, networks: Networks) -> None:
        self._backend = backend
        self._locations = locations
        self._networks = networks
        self._making: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._waiting: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def make(self, steps: Steps, zone_id: str) -> str:
        """
        The CloudStack id of the zone's `default` network, which is made unless it is there by now.

        CloudStack lets networks have one name, and several servers may come to this at once. So who makes it claims
        that first, by a tag of the account, which can be set but once; the others wait for the network.
        """
        # Of those of this server one makes it or looks for it, and the rest wait with no calls. Who waits for a claim
        # keeps nobody from making it: the claim may be of an operation that this server has taken over.
        key = (steps.tenant.owner, zone_id)
        making = self._making.setdefault(key, asyncio.Lock())
        waiting = self._waiting.setdefault(key, asyncio.Lock())
        failure = errors.Failed("The network 'default' could not be had: others were making it", kind="network")
        for attempt in range(1, _MOST_TRIES + 1):
            part = steps.within(f"default-network-{attempt}")
            async with making:
                made = await part.run("look", lambda: self._find(steps.tenant, zone_id))
                if made:
                    return str(made)
                try:
                    claimed = await self._claim(part, zone_id)
                except errors.Failed as exc:  # as a rule somebody had claimed it, who is done by now
                    failure = exc
                    continue
                if claimed:
                    return await self._claimed(part, zone_id)
            async with waiting:
                other = await part.run("wait", lambda: self._wait(steps.tenant, zone_id))
            if other:
                await self._give_up(part, zone_id, other)
        raise failure

    async def _claim(self, steps: Steps, zone_id: str) -> bool:
        """Whether it is ours to make: nobody else has claimed that, or it cannot be claimed at all in this cloud."""
        target, claim = owner_of(steps.tenant), _claim(zone_id, steps.operation)

        async def current() -> Mapping[str, str]:
            return await self._claims(steps.tenant, zone_id)

        try:
            return await set_tags(self._backend, steps, "claim", target, wanted=claim, current=current)
        except (errors.Forbidden, errors.Invalid, errors.Unsupported) as exc:
            log.info("that a default network is being made cannot be noted: %s (%s)", exc.message, exc.detail)
            return True

    async def _claimed(self, steps: Steps, zone_id: str) -> str:
        """Make it, and give up the claim, which is ours."""
        tenant, claim = steps.tenant, _claim(zone_id, steps.operation)

        async def find() -> str | None:
            return await self._find(tenant, zone_id) or None

        async def make() -> str:
            return await find() or await self._create(tenant, zone_id)

        try:
            made: str = await steps.run("create", make, find=find)
        except errors.DriverError:
            await self._give_up(steps, zone_id, claim)
            raise
        await self._give_up(steps, zone_id, claim)
        return made

    async def _find(self, tenant: Tenant, zone_id: str) -> str:
        """The id of the network, "" where there is none."""
        zone = await self._locations.zone_by_id(tenant, zone_id)
        if zone is None:
            return ""
        places = (await self._networks.layout(tenant, fresh=True)).in_zone(DEFAULT_NETWORK, zone.backend_id)
        return places[0].backend_id if places else ""

    async def _claims(self, tenant: Tenant, zone_id: str) -> dict[str, str]:
        """Who claims to make it, as tags; at most one."""
        kind, owner_id = owner_of(tenant)
        [key] = _claim(zone_id, "-")
        found = await self._backend.every_owned(
            tenant, "listTags", "tag", resourcetype=kind, resourceid=owner_id, key=key
        )
        values = [text(row, "value") for row in found if text(row, "key") == key]
        return {key: values[0]} if values else {}

    async def _wait(self, tenant: Tenant, zone_id: str) -> dict[str, str]:
        """
        Wait for the network, or for the end of somebody's claim to make it.

        :returns: a claim that nothing has come of for too long, as tags; {} for none.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _CLAIM_SECONDS
        while True:
            claims = await self._claims(tenant, zone_id)
            if not claims or await self._find(tenant, zone_id):
                return {}
            if loop.time() > deadline:
                return claims
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _give_up(self, steps: Steps, zone_id: str, claim: Mapping[str, str]) -> None:
        """Take a claim away. One that stays keeps nobody from anything while the network is there."""

        async def current() -> Mapping[str, str]:
            return await self._claims(steps.tenant, zone_id)

        try:
            await drop_tags(self._backend, steps, "give-up", owner_of(steps.tenant), tags=claim, current=current)
        except errors.DriverError as exc:
            log.info("the claim to make a default network stays: %s (%s)", exc.message, exc.detail)

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


def _claim(zone_id: str, operation: str) -> dict[str, str]:
    return encode({}, {f"{_MAKING}/{zone_id}": operation})
