"""The disks of a machine that is made, and what becomes of them when it is deleted."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from gceshim.drivers import errors
from gceshim.drivers.base import Steps, Submitted
from gceshim.drivers.cloudstack.attached import AUTO_DELETE, BOOT_DEVICE, DEVICE_NAME, devices, free_name
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.disk_types import TYPE, DiskChoice, DiskTypes
from gceshim.drivers.cloudstack.disks import no_disk
from gceshim.drivers.cloudstack.jobs import submitted
from gceshim.drivers.cloudstack.machine_disks import NOTHING, MachineDisks
from gceshim.drivers.cloudstack.machines import Machines
from gceshim.drivers.cloudstack.new_disks import NewDisks, disk_plan
from gceshim.drivers.cloudstack.rows import Row, tags, text
from gceshim.drivers.cloudstack.tags import decode
from gceshim.drivers.cloudstack.undo import Undo, insist
from gceshim.drivers.cloudstack.vms import made_by
from gceshim.drivers.cloudstack.volumes import Volumes, is_boot
from gceshim.model import DiskOfInstance, DiskSpec, InstanceSpec, Tenant, Zone

log = logging.getLogger(__name__)

#: What is journalled of one disk of a machine: `create` (a `DiskPlan`) or `volume`, `name`, `device`, `auto_delete`.
Wanted = Mapping[str, Any]


class InstanceDisks:
    """Parts of the workflows that make and delete machines."""

    def __init__(
        self,
        backend: Backend,
        *,
        machines: Machines,
        volumes: Volumes,
        disk_types: DiskTypes,
        new_disks: NewDisks,
        machine_disks: MachineDisks,
    ) -> None:
        self._backend = backend
        self._machines = machines
        self._volumes = volumes
        self._disk_types = disk_types
        self._new_disks = new_disks
        self._machine_disks = machine_disks

    async def plan(self, tenant: Tenant, zone: Zone, spec: InstanceSpec) -> tuple[Wanted, ...]:
        """
        What the disks of a new machine need, by reads alone.

        :raises AlreadyExists: a disk has the machine's name, or that of a disk to be made.
        :raises NotFound, InUse, Invalid: the disk or disk type is not there, or cannot be had so; `field` says which.
        """
        # Whether there is such a machine, and so such a boot disk, is somebody else's to tell.
        await self._new_disks.check_name(tenant, zone, spec.name, boot_disks=False)
        names = {spec.name}
        taken = {spec.boot_device_name or BOOT_DEVICE}
        for index, disk in enumerate(spec.disks):
            if disk.device_name in taken:
                raise errors.Invalid(
                    f"Two disks have the device name {disk.device_name!r}", field=f"disks[{index}].device_name"
                )
            taken.update({disk.device_name} - {""})
        wanted = []
        for index, disk in enumerate(spec.disks):
            device = disk.device_name or free_name(taken, index + 1)
            taken.add(device)
            found = await self._one(tenant, zone, disk, f"disks[{index}]", names)
            names.add(found["name"])
            wanted.append({**found, "device": device, "auto_delete": disk.auto_delete})
        return tuple(wanted)

    async def boot_choice(self, tenant: Tenant, zone: Zone, spec: InstanceSpec) -> DiskChoice | None:
        """
        The disk offering for the boot disk; None where the machine type's own storage will do.

        :raises NotFound: no such disk type.
        """
        return await self._disk_types.for_boot(tenant, zone, spec.boot_disk_type)

    async def prepare(self, steps: Steps, wanted: Sequence[Wanted], undo: Undo) -> list[str]:
        """Make the new disks and mark all of them; returns CloudStack's ids, in order."""
        ids = []
        for index, disk in enumerate(wanted):
            # The machine's id is not known yet; the operation that made it is kept with it.
            values = {DEVICE_NAME: disk["device"], AUTO_DELETE: steps.operation if disk["auto_delete"] else None}
            if disk["create"]:
                ids.append(await self._new_disks.make(steps, f"disk-{index}", disk["create"], undo, values))
            else:
                await self._machine_disks.note(steps, f"disk-{index}-tags", disk["volume"], values, undo)
                ids.append(disk["volume"])
        return ids

    async def attach(self, steps: Steps, volume_ids: Sequence[str], vm_id: str) -> None:
        """Attach them in order. Destroying the machine detaches them again."""
        for index, volume_id in enumerate(volume_ids):
            await self._machine_disks.attach(steps, f"disk-{index}-attach", volume_id, vm_id)

    async def describe_boot(self, steps: Steps, vm_id: str, disk_type: str) -> None:
        """Keep the disk type that was asked for with the boot disk."""

        async def look() -> str:
            found = await self._volumes.of_machine(steps.tenant, vm_id)
            return next((text(row, "id") for row in found if is_boot(row)), "")

        volume_id = await steps.run("boot-disk", look)
        if volume_id:
            async with Undo() as undo:
                await self._machine_disks.note(steps, "boot-disk-tags", volume_id, {TYPE: disk_type}, undo)

    async def of_machine(self, tenant: Tenant, vm: Row, name: str) -> list[dict[str, Any]]:
        """
        What is to become of the disks of a machine that is to be deleted, as JSON for the journal.

        :param name: the machine's, as it is shown.
        """
        vm_id = text(vm, "id")
        rows = await self._volumes.of_machine(tenant, vm_id)
        found = []
        for device in devices(vm_id, made_by(vm), decode(tags(vm))[1], rows):
            if device.volume is not None:
                # The name of a boot disk that goes too is of no use to anybody.
                shown = name if device.boot and device.auto_delete else await self._volumes.name(tenant, device.volume)
                found.append(
                    {
                        "volume": text(device.volume, "id"),
                        "name": shown,
                        "boot": device.boot,
                        "auto_delete": device.auto_delete,
                    }
                )
        return found

    async def before_deletion(self, steps: Steps, found: Sequence[Wanted], vm_id: str) -> None:
        """Stop the machine and take its boot disk away, if that is to be kept."""
        for disk in found:
            if disk["boot"] and not disk["auto_delete"]:
                await self._stop(steps, vm_id)
                await self._machine_disks.detach_boot(steps, "keep-boot", disk["volume"], vm_id, disk["name"])

    async def after_deletion(self, steps: Steps, found: Sequence[Wanted]) -> list[str]:
        """Remove the data disks that go with the machine; returns the names of those that could not be."""
        left = []
        for disk in found:
            if disk["boot"]:
                continue
            try:
                if disk["auto_delete"]:
                    await self._new_disks.remove(steps, f"disk-{disk['volume']}", disk["volume"], disk["name"])
                else:
                    await self._release(steps, disk["volume"])
            except errors.DriverError as exc:
                log.warning("a disk of a machine that is gone stays: %s (%s)", exc.message, exc.detail)
                if disk["auto_delete"]:
                    left.append(disk["name"])
        return left

    async def _one(
        self, tenant: Tenant, zone: Zone, disk: DiskOfInstance, field: str, names: set[str]
    ) -> dict[str, Any]:
        if disk.create is not None:
            return await self._new(tenant, zone, disk.create, f"{field}.create", names)
        row = await self._volumes.by_name(tenant, zone, disk.attach)
        if row is None:
            raise no_disk(disk.attach, zone.name, f"{field}.attach")
        name = await self._volumes.name(tenant, row)
        if name in names:
            raise errors.Invalid(f"Disk {name!r} is named twice", kind="disk", name=name, field=f"{field}.attach")
        if row.get("virtualmachineid"):
            user = (await self._volumes.users(tenant, [row])).get(text(row, "virtualmachineid"), "")
            raise errors.InUse(
                f"Disk {name!r} is in use by instance {user!r}", kind="disk", name=name, field=f"{field}.attach"
            )
        return {"create": None, "volume": text(row, "id"), "name": name}

    async def _new(self, tenant: Tenant, zone: Zone, spec: DiskSpec, field: str, names: set[str]) -> dict[str, Any]:
        choice = await self._disk_types.choice(tenant, zone, spec.type, field=f"{field}.type")
        gib = choice.gib_for(spec.size_bytes, f"{field}.size_bytes")
        if spec.name in names:
            raise errors.Invalid(
                f"Two disks have the name {spec.name!r}", kind="disk", name=spec.name, field=f"{field}.name"
            )
        await self._new_disks.check_name(tenant, zone, spec.name, f"{field}.name")
        plan = disk_plan(spec, zone.backend_id, choice, gib, f"{field}.name")
        return {"create": plan, "volume": "", "name": spec.name}

    async def _release(self, steps: Steps, volume_id: str) -> None:
        """Take the marks of its attachment from a disk that is kept."""

        async def note(steps: Steps) -> None:
            async with Undo() as undo:
                await self._machine_disks.note(steps, f"disk-{volume_id}-tags", volume_id, NOTHING, undo)

        await insist(steps, note, f"tags of disk {volume_id}")

    async def _stop(self, steps: Steps, vm_id: str) -> None:
        tenant = steps.tenant

        async def state() -> str:
            row = await self._machines.by_id(tenant, vm_id)
            return text(row, "state") if row else ""

        async def submit() -> Submitted:
            return submitted(await self._backend.call(tenant, "stopVirtualMachine", id=vm_id))

        async def find() -> Submitted | None:
            return Submitted("", vm_id) if await state() in ("Stopped", "") else None

        if await steps.run("keep-boot-state", state) == "Running":
            await steps.job("keep-boot-stop", submit, find=find)
