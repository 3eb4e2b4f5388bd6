"""Disks on machines: attaching, detaching and what GCE knows of both, as parts of workflows that can be replayed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from gceshim.drivers import errors
from gceshim.drivers.base import Steps, Submitted
from gceshim.drivers.cloudstack.attached import AUTO_DELETE, DEVICE_NAME, NO_BOOT_DISK
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.jobs import settle, submitted
from gceshim.drivers.cloudstack.machines import Machines
from gceshim.drivers.cloudstack.marks import replace_tags
from gceshim.drivers.cloudstack.rows import tags, text
from gceshim.drivers.cloudstack.tags import with_reserved
from gceshim.drivers.cloudstack.undo import Undo
from gceshim.drivers.cloudstack.volumes import NAME_MARK, Volumes
from gceshim.model import Tenant

#: The states of a machine in which CloudStack attaches and detaches.
ALLOWED: Final = frozenset({"Running", "Stopped"})
#: No more reserved values than these are of an attachment.
NOTHING: Final[Mapping[str, Any]] = {DEVICE_NAME: None, AUTO_DELETE: None}


class MachineDisks:
    """Attaches and detaches volumes. Names of steps begin with what the caller gives as `name`."""

    def __init__(self, backend: Backend, machines: Machines, volumes: Volumes) -> None:
        self._backend = backend
        self._machines = machines
        self._volumes = volumes

    async def note(self, steps: Steps, name: str, volume_id: str, values: Mapping[str, Any], undo: Undo) -> None:
        """Replace reserved values of a volume."""

        async def current() -> Mapping[str, str] | None:
            row = await self._volumes.by_id(steps.tenant, volume_id)
            return tags(row) if row is not None else None

        await self._replace(steps, name, ("Volume", volume_id), values=values, current=current, undo=undo)

    async def note_on_machine(self, steps: Steps, name: str, vm_id: str, values: Mapping[str, Any], undo: Undo) -> None:
        """Replace reserved values of a machine."""

        async def current() -> Mapping[str, str] | None:
            row = await self._machines.by_id(steps.tenant, vm_id)
            return tags(row) if row is not None else None

        await self._replace(steps, name, ("UserVm", vm_id), values=values, current=current, undo=undo)

    async def attach(self, steps: Steps, name: str, volume_id: str, vm_id: str, *, boot: bool = False) -> None:
        """
        Attach a volume; one that is attached to this machine already is a success.

        :raises InUse: another machine has it. :raises NotReady: the machine's state does not allow it.
        """
        tenant = steps.tenant

        async def submit() -> Submitted:
            return submitted(
                await self._backend.call(
                    tenant, "attachVolume", id=volume_id, virtualmachineid=vm_id, deviceid=0 if boot else None
                )
            )

        async def find() -> Submitted | None:
            await settle(self._backend, tenant, "AttachVolume")
            return Submitted("", volume_id) if await self._user(tenant, volume_id) == vm_id else None

        try:
            await steps.job(name, submit, find=find)
        except (errors.Invalid, errors.Failed) as exc:
            # Somebody else may have been faster, with the disk or with the machine.
            found = await steps.run(f"{name}-check", lambda: self._states(tenant, volume_id, vm_id))
            if found["user"] == vm_id:
                return
            if found["user"]:
                raise errors.InUse("The disk is in use by another instance", detail=exc.message, kind="disk") from exc
            if found["state"] not in ALLOWED:
                raise not_ready(found["state"]) from exc
            raise

    async def detach(self, steps: Steps, name: str, volume_id: str, vm_id: str) -> None:
        """
        Detach a volume; one that this machine has not is a success.

        :raises NotReady: the machine's state does not allow it.
        """
        tenant = steps.tenant

        async def submit() -> Submitted:
            return submitted(await self._backend.call(tenant, "detachVolume", id=volume_id))

        async def find() -> Submitted | None:
            await settle(self._backend, tenant, "DetachVolume")
            return Submitted("", volume_id) if await self._user(tenant, volume_id) != vm_id else None

        try:
            await steps.job(name, submit, find=find)
        except (errors.Invalid, errors.Failed) as exc:
            found = await steps.run(f"{name}-check", lambda: self._states(tenant, volume_id, vm_id))
            if found["user"] != vm_id:
                return
            if found["state"] not in ALLOWED:
                raise not_ready(found["state"]) from exc
            raise

    async def detach_boot(self, steps: Steps, name: str, volume_id: str, vm_id: str, shown: str) -> None:
        """
        Detach the boot disk of a stopped machine; it keeps the name that it was shown by.

        As a data disk it would else have CloudStack's own name for it. It is renamed before: nobody sees that name
        while it is attached.
        """
        tenant = steps.tenant
        before = await steps.run(f"{name}-name", lambda: self._name(tenant, volume_id))

        async def back(steps: Steps) -> None:
            await self._rename(steps, f"undo-{name}-rename", volume_id, before)

        async with Undo() as undo:
            undo.add(steps, back, "changed name of a disk")
            await self._rename(steps, f"{name}-rename", volume_id, shown)
            await self.note(steps, f"{name}-tags", volume_id, {NAME_MARK: shown, **NOTHING}, undo)
            await self.note_on_machine(steps, f"{name}-machine", vm_id, {NO_BOOT_DISK: True}, undo)
            await self.detach(steps, name, volume_id, vm_id)

    async def _rename(self, steps: Steps, name: str, volume_id: str, wanted: str) -> None:
        tenant = steps.tenant

        async def submit() -> Submitted:
            if await self._name(tenant, volume_id) == wanted:
                return Submitted("", volume_id)
            return submitted(await self._backend.call(tenant, "updateVolume", id=volume_id, name=wanted))

        async def find() -> Submitted | None:
            await settle(self._backend, tenant, "UpdateVolume")
            return Submitted("", volume_id) if await self._name(tenant, volume_id) == wanted else None

        await steps.job(name, submit, find=find)

    async def _replace(
        self,
        steps: Steps,
        name: str,
        target: tuple[str, str],
        *,
        values: Mapping[str, Any],
        current: Callable[[], Awaitable[Mapping[str, str] | None]],
        undo: Undo,
    ) -> None:
        await replace_tags(
            self._backend,
            steps,
            name,
            target,
            change=lambda found: with_reserved(found, values),
            current=current,
            undo=undo,
        )

    async def _states(self, tenant: Tenant, volume_id: str, vm_id: str) -> dict[str, str]:
        vm = await self._machines.by_id(tenant, vm_id)
        return {"user": await self._user(tenant, volume_id), "state": text(vm, "state") if vm else "gone"}

    async def _user(self, tenant: Tenant, volume_id: str) -> str:
        """The id of the machine that has the volume, or ""."""
        row = await self._volumes.by_id(tenant, volume_id)
        return text(row, "virtualmachineid") if row else ""

    async def _name(self, tenant: Tenant, volume_id: str) -> str:
        row = await self._volumes.by_id(tenant, volume_id)
        return text(row, "name") if row else ""


def not_ready(state: str) -> errors.NotReady:
    """The error for a machine in a state that does not allow changes of its disks."""
    return errors.NotReady(f"The instance must be running or stopped; it is {state.lower()}", kind="instance")
