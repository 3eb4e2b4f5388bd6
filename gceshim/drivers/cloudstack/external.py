"""Ephemeral public addresses: taken for a machine, marked with its id, and given back with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

from gceshim.drivers import errors
from gceshim.drivers.base import Steps, Submitted
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.doorway import Doorway
from gceshim.drivers.cloudstack.jobs import first, settle, submitted
from gceshim.drivers.cloudstack.marks import set_tags
from gceshim.drivers.cloudstack.plan import Nic
from gceshim.drivers.cloudstack.rows import Row, flag, text
from gceshim.drivers.cloudstack.rows import tags as tags_of
from gceshim.drivers.cloudstack.tags import decode, encode, params
from gceshim.drivers.cloudstack.undo import insist
from gceshim.model import Tenant

_LIST: Final = "listPublicIpAddresses"
_KEY: Final = "publicipaddress"
_MOST_TRIES: Final = 6


@dataclass(frozen=True, slots=True)
class Address:
    """A public address of CloudStack's."""

    backend_id: str
    address: str


class Addresses:
    """
    The public addresses of machines.

    CloudStack cannot be told at the time of asking what an address is for, so one that was asked for by a call whose
    answer was lost is known only by being new and unmarked. The mark is what decides: a tag can be set but once, and
    who cannot set it takes one that is left over, where the one who was faster asked for one too, or else another.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._doorways: WeakValueDictionary[tuple[str, str], Doorway] = WeakValueDictionary()

    async def acquire(self, steps: Steps, name: str, nic: Nic, vm_id: str, held: list[str]) -> Address:
        """
        Take an address for a machine and mark it as the machine's own.

        :param name: begins the names of the steps. :param nic: with the network's ids. :param held: the ids of
            addresses that are to be given back when the machine fails; this one is added.
        """
        tenant = steps.tenant
        known = frozenset(await steps.run(f"{name}-before", lambda: self._unmarked(tenant, nic)))

        async def submit() -> Submitted:
            where = {"vpcid": nic.vpc_id} if nic.vpc_id else {"networkid": nic.network_id}
            return submitted(await self._backend.owned(tenant, "associateIpAddress", **where))

        async def new() -> str:
            found = [item for item in await self._unmarked(tenant, nic) if item not in known]
            return found[0] if found else ""

        async def find() -> Submitted | None:
            # Else what others here have asked for, and not marked yet, would be taken for ours, which is yet to come.
            await turn.alone()
            await settle(self._backend, tenant, "AssociateIPAddr")
            found = await new()
            return Submitted("", found) if found else None

        place = (tenant.owner, nic.vpc_id or nic.network_id)
        async with self._doorways.setdefault(place, Doorway()).enter() as turn:
            for attempt in range(1, _MOST_TRIES + 1):
                step = name if attempt == 1 else f"{name}-again-{attempt}"
                left_over = await steps.run(f"{step}-left-over", new) if attempt > 1 else ""
                row: Row = {"id": left_over}
                if not left_over:
                    result = await steps.job(step, submit, find=find)
                    row = result.get("ipaddress", result)
                backend_id = text(row, "id")
                held.append(backend_id)
                if await self._claim(steps, f"{step}-claim", backend_id, vm_id):
                    address = text(row, "ipaddress") or await self._read_address(steps, f"{step}-address", backend_id)
                    return Address(backend_id, address)
                held.remove(backend_id)
        raise errors.Failed("No public address could be had: others took each one first", kind="address")

    async def point(self, steps: Steps, name: str, address_id: str, nic: Nic, vm_id: str) -> None:
        """Make the address lead to the machine's interface."""
        tenant = steps.tenant

        async def enable() -> dict[str, Any]:
            return await self._backend.call(
                tenant,
                "enableStaticNat",
                ipaddressid=address_id,
                virtualmachineid=vm_id,
                networkid=nic.network_id or None,
            )

        async def find() -> dict[str, Any] | None:
            row = await self._row(tenant, address_id)
            if row is not None and flag(row, "isstaticnat") and text(row, "virtualmachineid") == vm_id:
                return {"success": True}
            return None

        await steps.run(name, enable, find=find)

    async def of_machine(self, tenant: Tenant, vm_id: str) -> list[str]:
        """The ids of the ephemeral addresses that are marked as the machine's."""
        mark = encode({}, {"ephemeral": vm_id})
        found = []
        for row in await self._backend.every_owned(tenant, _LIST, _KEY, **params(mark)):
            if mark.items() <= tags_of(row).items():
                found.append(text(row, "id"))
        return sorted(found)

    async def release(self, steps: Steps, name: str, address_id: str, vm_id: str) -> None:
        """Give a machine's address back; one that is back already, or another machine's by now, is a success."""
        await insist(steps, lambda steps: self._release(steps, name, address_id, vm_id), f"address {address_id}")

    async def _release(self, steps: Steps, name: str, address_id: str, vm_id: str) -> None:
        tenant = steps.tenant
        if not await steps.run(f"{name}-look", lambda: self._is_ours(tenant, address_id, vm_id)):
            return

        async def submit() -> Submitted:
            return submitted(await self._backend.call(tenant, "disassociateIpAddress", id=address_id))

        async def find() -> Submitted | None:
            await settle(self._backend, tenant, "DisassociateIPAddr")
            return None if await self._row(tenant, address_id) else Submitted("", address_id)

        try:
            await steps.job(name, submit, find=find)
        except errors.DriverError:
            if await steps.run(f"{name}-check", lambda: self._is_held(tenant, address_id)):
                raise

    async def _claim(self, steps: Steps, name: str, address_id: str, vm_id: str) -> bool:
        async def current() -> Mapping[str, str] | None:
            row = await self._row(steps.tenant, address_id)
            return tags_of(row) if row is not None else None

        mark = encode({}, {"ephemeral": vm_id})
        return await set_tags(self._backend, steps, name, ("PublicIpAddress", address_id), wanted=mark, current=current)

    async def _is_ours(self, tenant: Tenant, address_id: str, vm_id: str) -> bool:
        """Whether it is held, and not marked as another machine's."""
        row = await self._row(tenant, address_id)
        return row is not None and decode(tags_of(row))[1].get("ephemeral") in (None, vm_id)

    async def _is_held(self, tenant: Tenant, address_id: str) -> bool:
        return await self._row(tenant, address_id) is not None

    async def _read_address(self, steps: Steps, name: str, address_id: str) -> str:
        async def read() -> str:
            row = await self._row(steps.tenant, address_id)
            return text(row, "ipaddress") if row else ""

        found: str = await steps.run(name, read)
        return found

    async def _unmarked(self, tenant: Tenant, nic: Nic) -> list[str]:
        """The ids of the network's addresses that nobody uses and nothing marks."""
        where = {"vpcid": nic.vpc_id} if nic.vpc_id else {"associatednetworkid": nic.network_id}
        found = await self._backend.every_owned(tenant, _LIST, _KEY, **where)
        return sorted(
            text(row, "id")
            for row in found
            if not (flag(row, "issourcenat") or flag(row, "isstaticnat") or flag(row, "hasrules") or tags_of(row))
        )

    async def _row(self, tenant: Tenant, address_id: str) -> Row | None:
        try:
            return first(await self._backend.owned(tenant, _LIST, id=address_id, allocatedonly=True), _KEY)
        except errors.Invalid:
            return None
