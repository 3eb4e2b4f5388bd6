"""Attachments: volumes on virtual machines."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakValueDictionary

from gceshim.drivers import base, errors
from gceshim.drivers.base import Steps
from gceshim.drivers.cloudstack.attached import (
    AUTO_DELETE,
    BOOT_AUTO_DELETE,
    BOOT_DEVICE,
    BOOT_DEVICE_NAME,
    DEVICE_NAME,
    NO_BOOT_DISK,
    Device,
    devices,
    free_name,
)
from gceshim.drivers.cloudstack.disks import no_disk
from gceshim.drivers.cloudstack.locations import Locations
from gceshim.drivers.cloudstack.machine_disks import ALLOWED, NOTHING, MachineDisks, not_ready
from gceshim.drivers.cloudstack.machines import Machines
from gceshim.drivers.cloudstack.rows import Row, tags, text
from gceshim.drivers.cloudstack.tags import decode
from gceshim.drivers.cloudstack.undo import Undo
from gceshim.drivers.cloudstack.vms import made_by
from gceshim.drivers.cloudstack.volumes import Volumes, is_boot
from gceshim.model import AttachmentSpec, InstanceRef, Tenant


class Attachments(base.Attachments):
    """Implements `base.Attachments`."""

    def __init__(
        self, *, locations: Locations, machines: Machines, volumes: Volumes, machine_disks: MachineDisks
    ) -> None:
        self._locations = locations
        self._machines = machines
        self._volumes = volumes
        self._machine_disks = machine_disks
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def attach(self, steps: Steps, instance: InstanceRef, spec: AttachmentSpec) -> None:
        """
        Attach it. Source: `attachVolume`, `createTags`.

        A machine that is stopped and has no boot disk gets one that was made from an image as its boot disk.
        """
        # Two disks that are attached at once are not to be given one device name.
        async with self._locks.setdefault(instance.backend_id, asyncio.Lock()), Undo() as undo:
            found = await steps.run("look", lambda: self._attachable(steps.tenant, instance, spec))
            boot, vm_id, goes = found["boot"], instance.backend_id, spec.auto_delete
            if boot:
                name = found["device"] if found["device"] != BOOT_DEVICE else None
                values = {BOOT_DEVICE_NAME: name, BOOT_AUTO_DELETE: None if goes else False, NO_BOOT_DISK: None}
                await self._machine_disks.note_on_machine(steps, "machine", vm_id, values, undo)
                await self._machine_disks.note(steps, "tags", found["volume"], NOTHING, undo)
            else:
                values = {DEVICE_NAME: found["device"], AUTO_DELETE: vm_id if goes else None}
                await self._machine_disks.note(steps, "tags", found["volume"], values, undo)
            await steps.progress(40)
            await self._machine_disks.attach(steps, "attach", found["volume"], vm_id, boot=boot)

    async def detach(self, steps: Steps, instance: InstanceRef, device_name: str) -> None:
        """Detach it. Source: `detachVolume`, `deleteTags`; for boot disks `updateVolume` too."""
        found = await steps.run("look", lambda: self._detachable(steps.tenant, instance, device_name))
        if found["boot"]:
            await self._machine_disks.detach_boot(steps, "detach", found["volume"], instance.backend_id, found["disk"])
            return
        async with Undo() as undo:
            await self._machine_disks.note(steps, "tags", found["volume"], NOTHING, undo)
            await steps.progress(40)
            await self._machine_disks.detach(steps, "detach", found["volume"], instance.backend_id)

    async def set_auto_delete(self, steps: Steps, instance: InstanceRef, device_name: str, auto_delete: bool) -> None:
        """Keep it as a tag: of the machine for its boot disk, else of the volume. Source: `createTags`."""
        tenant, vm_id = steps.tenant, instance.backend_id

        async def look() -> dict[str, Any]:
            vm = await self._machine(tenant, instance)
            device = await self._device(tenant, instance, vm, device_name)
            return {"boot": device.boot, "volume": text(device.volume, "id") if device.volume else ""}

        found = await steps.run("look", look)
        async with Undo() as undo:
            if found["boot"]:
                values: dict[str, Any] = {BOOT_AUTO_DELETE: None if auto_delete else False}
                await self._machine_disks.note_on_machine(steps, "tags", vm_id, values, undo)
            else:
                values = {AUTO_DELETE: vm_id if auto_delete else None}
                await self._machine_disks.note(steps, "tags", found["volume"], values, undo)

    async def _attachable(self, tenant: Tenant, instance: InstanceRef, spec: AttachmentSpec) -> dict[str, Any]:
        vm = await self._machine(tenant, instance)
        zone = await self._locations.zone(tenant, instance.zone)
        row = await self._volumes.by_name(tenant, zone, spec.disk)
        if row is None:
            raise no_disk(spec.disk, zone.name, "disk")
        if row.get("virtualmachineid"):
            user = (await self._volumes.users(tenant, [row])).get(text(row, "virtualmachineid"), "")
            raise errors.InUse(
                f"Disk {spec.disk!r} is in use by instance {user!r}", kind="disk", name=spec.disk, field="disk"
            )
        if text(vm, "state") not in ALLOWED:
            raise not_ready(text(vm, "state"))
        mine = await self._volumes.of_machine(tenant, instance.backend_id)
        there = _devices(vm, mine)
        boot = not any(is_boot(volume) for volume in mine) and bool(row.get("templateid"))
        if boot and text(vm, "state") != "Stopped":
            raise errors.NotReady(
                f"Instance {instance.name!r} must be stopped to be given a boot disk", kind="instance"
            )
        taken = {device.name for device in there if not (boot and device.boot)}
        if spec.device_name in taken:
            raise errors.Invalid(
                f"Instance {instance.name!r} has a disk of device name {spec.device_name!r}", field="device_name"
            )
        device = spec.device_name or free_name(taken, 0 if boot else len(there) or 1)
        return {"volume": text(row, "id"), "device": device, "boot": boot}

    async def _detachable(self, tenant: Tenant, instance: InstanceRef, device_name: str) -> dict[str, Any]:
        vm = await self._machine(tenant, instance)
        device = await self._device(tenant, instance, vm, device_name)
        if device.volume is None:
            raise errors.NotReady(f"Instance {instance.name!r} has no boot disk yet", kind="instance")
        if device.boot and text(vm, "state") != "Stopped":
            raise errors.NotReady(
                f"Instance {instance.name!r} must be stopped to take its boot disk away", kind="instance"
            )
        if text(vm, "state") not in ALLOWED:
            raise not_ready(text(vm, "state"))
        disk = await self._volumes.name(tenant, device.volume) if device.boot else ""
        return {"volume": text(device.volume, "id"), "boot": device.boot, "disk": disk}

    async def _device(self, tenant: Tenant, instance: InstanceRef, vm: Row, device_name: str) -> Device:
        found = _devices(vm, await self._volumes.of_machine(tenant, instance.backend_id))
        for device in found:
            if device.name == device_name:
                return device
        there = ", ".join(device.name for device in found) or "none"
        raise errors.Invalid(
            f"Instance {instance.name!r} has no disk of device name {device_name!r}; there are: {there}",
            field="device_name",
        )

    async def _machine(self, tenant: Tenant, instance: InstanceRef) -> Row:
        row = await self._machines.by_id(tenant, instance.backend_id)
        if row is None:
            raise errors.NotFound(
                f"There is no instance {instance.name!r} in zone {instance.zone!r}", kind="instance", name=instance.name
            )
        return row


def _devices(vm: Row, volumes: list[Row]) -> list[Device]:
    return devices(text(vm, "id"), made_by(vm), decode(tags(vm))[1], volumes)
