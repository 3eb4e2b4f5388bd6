"""The making and removal of volumes, as workflows that can be replayed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

from gceshim.drivers import errors
from gceshim.drivers.base import Steps, Submitted
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.disk_types import TYPE, DiskChoice
from gceshim.drivers.cloudstack.jobs import job_about, submitted
from gceshim.drivers.cloudstack.marks import set_tags
from gceshim.drivers.cloudstack.rows import Row, age_key, number, tags, text
from gceshim.drivers.cloudstack.tags import decode, encode
from gceshim.drivers.cloudstack.undo import Undo
from gceshim.drivers.cloudstack.volumes import NAME_MARK, Volumes
from gceshim.model import GIB, DiskSpec, Tenant, Zone

#: The reserved tag with the operation that made the disk.
OPERATION_MARK: Final = "operation"
#: What is journalled of a disk to be made.
DiskPlan = Mapping[str, Any]


class NewDisks:
    """
    Makes volumes and removes them.

    CloudStack cannot be told at the time of asking what a volume is for, so one that was asked for by a call whose
    answer was lost is known by its name, which was free before, its offering and size, and by having no tags. Of those
    who ask for the same at once each may take another's for its own. The tags decide whose it is: they can be set but
    once, and name the operation. Who comes too late removes what is left over, which nobody will want.
    """

    def __init__(self, backend: Backend, volumes: Volumes) -> None:
        self._backend = backend
        self._volumes = volumes
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def check_name(
        self, tenant: Tenant, zone: Zone, name: str, field: str = "name", *, boot_disks: bool = True
    ) -> None:
        """
        Whether a disk may be made by this name.

        :param field: the attribute to name in the error. :param boot_disks: look at these too.
        :raises AlreadyExists: the zone has a disk of that name.
        """
        if await self._volumes.is_taken(tenant, zone.backend_id, name, boot_disks=boot_disks):
            raise _taken(name, zone.name, field)

    async def make(
        self, steps: Steps, name: str, plan: DiskPlan, undo: Undo, extra: Mapping[str, Any] | None = None
    ) -> str:
        """
        Make a volume and return CloudStack's id for it.

        :param name: begins the names of the steps. :param plan: by `disk_plan`. :param undo: is told how to remove it.
        :param extra: reserved values beside the disk's own.
        """
        tenant = steps.tenant
        made: set[str] = set()
        unknown = False

        async def remove(steps: Steps) -> None:
            if unknown:
                made.update(await steps.run(f"undo-{name}-search", lambda: self._made(tenant, plan)))
            for backend_id in sorted(made):
                await self._take_back(steps, f"undo-{name}-{backend_id}", backend_id, plan["name"])

        undo.add(steps, remove, f"disk {plan['name']}")
        try:
            backend_id = await self._create(steps, name, plan, made)
        except (errors.Unavailable, errors.Failed, errors.CapacityExhausted):
            unknown = True  # it may be there all the same
            raise
        made.add(backend_id)
        if await steps.run(f"{name}-name", lambda: self._is_taken(tenant, plan, backend_id)):
            raise _taken(plan["name"], plan["zone"], plan["field"])

        async def current() -> Mapping[str, str] | None:
            row = await self._volumes.by_id(tenant, backend_id)
            return tags(row) if row is not None else None

        wanted = encode(plan["labels"], {**plan["reserved"], OPERATION_MARK: steps.operation, **(extra or {})})
        target = ("Volume", backend_id)
        if await set_tags(self._backend, steps, f"{name}-tags", target, wanted=wanted, current=current):
            return backend_id
        if await steps.run(f"{name}-whose", lambda: self._is_anothers(steps, backend_id)):
            unknown = True  # our own may be there beside it
            raise _taken(plan["name"], plan["zone"], plan["field"])
        raise errors.Failed(f"Disk {plan['name']!r} was given other labels while it was made", kind="disk")

    async def remove(self, steps: Steps, name: str, backend_id: str, shown: str) -> None:
        """
        Delete a volume; one that is gone is a success.

        :param name: begins the names of the steps. :param shown: the disk's name, for the error.
        :raises InUse: a machine has it.
        """
        tenant = steps.tenant

        async def look() -> dict[str, Any]:
            row = await self._volumes.by_id(tenant, backend_id)
            if row is None:
                return {"there": False, "user": ""}
            users = await self._volumes.users(tenant, [row])
            return {"there": True, "user": users.get(text(row, "virtualmachineid"), "")}

        def check(found: Mapping[str, Any]) -> None:
            if found["user"]:
                raise errors.InUse(f"Disk {shown!r} is in use by instance {found['user']!r}", kind="disk", name=shown)

        async def delete() -> dict[str, Any]:
            return await self._backend.call(tenant, "deleteVolume", id=backend_id)

        async def find() -> dict[str, Any] | None:
            return None if await self._volumes.by_id(tenant, backend_id) else {"success": True}

        found = await steps.run(f"{name}-look", look)
        check(found)
        if not found["there"]:
            return
        try:
            await steps.run(name, delete, find=find)
        except (errors.Invalid, errors.Failed):
            # Somebody else may have been faster, or has attached it.
            found = await steps.run(f"{name}-check", look)
            check(found)
            if found["there"]:
                raise

    async def _take_back(self, steps: Steps, name: str, backend_id: str, shown: str) -> None:
        """As `remove`, unless another operation has taken it for its own by now."""
        if not await steps.run(f"{name}-whose", lambda: self._is_anothers(steps, backend_id)):
            await self.remove(steps, name, backend_id, shown)

    async def _create(self, steps: Steps, name: str, plan: DiskPlan, made: set[str]) -> str:
        """The volume without its tags. `made`: its id is added as soon as it is known."""
        tenant = steps.tenant

        async def submit() -> Submitted:
            # Two disks of one name that are asked for at once are not to be both made.
            lock = self._locks.setdefault((tenant.owner, plan["zone_id"]), asyncio.Lock())
            async with lock:
                if await self._volumes.named(tenant, plan["zone_id"], plan["name"]):
                    raise _taken(plan["name"], plan["zone"], plan["field"])
                job = submitted(
                    await self._backend.owned(
                        tenant,
                        "createVolume",
                        name=plan["name"],
                        zoneid=plan["zone_id"],
                        diskofferingid=plan["offering_id"],
                        size=plan["gib"] if plan["custom"] else None,
                    )
                )
            made.add(job.object_id)
            return job

        async def find() -> Submitted | None:
            for backend_id in await self._made(tenant, plan):
                return Submitted(await job_about(self._backend, tenant, backend_id, "Volume") or "", backend_id)
            return None

        result = await steps.job(name, submit, find=find)
        row = result.get("volume", result)
        backend_id = text(row, "id") if isinstance(row, Mapping) else ""
        if not backend_id:
            raise errors.Unavailable("CloudStack gave an answer that is not understood", detail="createVolume")
        return backend_id

    async def _is_taken(self, tenant: Tenant, plan: DiskPlan, backend_id: str) -> bool:
        """
        Whether the name is another disk's than ours, though it was free.

        Of those that several servers make at once only one may stay: the oldest, or one that has its tags already and
        so found itself to be the oldest.
        """
        found = await self._volumes.named(tenant, plan["zone_id"], plan["name"])
        ours = next((age_key(row) for row in found if text(row, "id") == backend_id), None)
        others = [row for row in found if text(row, "id") != backend_id]
        return ours is not None and any(tags(row) or age_key(row) < ours for row in others)

    async def _is_anothers(self, steps: Steps, backend_id: str) -> bool:
        """Whether another operation has put its tags on the volume."""
        row = await self._volumes.by_id(steps.tenant, backend_id)
        return row is not None and decode(tags(row))[1].get(OPERATION_MARK, steps.operation) != steps.operation

    async def _made(self, tenant: Tenant, plan: DiskPlan) -> list[str]:
        """The ids of what the plan may have made: of its name, offering and size, never used and not marked yet."""
        found = await self._volumes.named(tenant, plan["zone_id"], plan["name"])
        return [text(row, "id") for row in found if _is_of(row, plan)]


def disk_plan(spec: DiskSpec, zone_id: str, choice: DiskChoice, gib: int, field: str = "name") -> dict[str, Any]:
    """
    All that is needed to make a disk, as JSON for the journal.

    :param field: the attribute of its name.
    """
    return {
        "name": spec.name,
        "zone": spec.zone,
        "zone_id": zone_id,
        "field": field,
        "offering_id": choice.offering.backend_id,
        "custom": choice.offering.gib is None,
        "gib": gib,
        "labels": dict(spec.labels),
        "reserved": {NAME_MARK: spec.name, TYPE: choice.name, "description": spec.description},
    }


def _is_of(row: Row, plan: DiskPlan) -> bool:
    return (
        text(row, "state") in ("Allocated", "Creating")
        and not tags(row)
        and text(row, "diskofferingid") == plan["offering_id"]
        and number(row, "size") == plan["gib"] * GIB
    )


def _taken(name: str, zone: str, field: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(f"There is a disk {name!r} in zone {zone!r}", kind="disk", name=name, field=field)
