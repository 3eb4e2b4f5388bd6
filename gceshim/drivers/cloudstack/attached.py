"""The disks that a machine has, and what GCE knows of them: pure conversions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gceshim.drivers.cloudstack.names import slug
from gceshim.drivers.cloudstack.rows import Row, number, tags, text
from gceshim.drivers.cloudstack.tags import decode
from gceshim.model import AttachedDisk

#: Reserved tags of a data volume: its device name, and the id of the machine that it goes with when that is deleted, or
#: the operation that made both.
DEVICE_NAME: Final = "device-name"
AUTO_DELETE: Final = "auto-delete"
#: Reserved tags of a machine: what differs from the usual about its boot disk, which long lists do not read.
BOOT_DEVICE_NAME: Final = "boot-device"
BOOT_AUTO_DELETE: Final = "boot-auto-delete"
NO_BOOT_DISK: Final = "no-boot-disk"

BOOT_DEVICE: Final = "persistent-disk-0"


@dataclass(frozen=True, slots=True)
class Device:
    """One place of a disk on a machine. `volume` is None for a boot disk that was not read."""

    volume: Row | None
    name: str
    index: int
    boot: bool
    auto_delete: bool


def devices(vm_id: str, operation: str, reserved: Mapping[str, Any], volumes: Sequence[Row]) -> list[Device]:
    """
    The disks of a machine, in order.

    :param operation: the one that made it, or "". :param reserved: the machine's reserved tags. :param volumes: rows of
        `listVolumes`, of any machine; the root may be missing.
    """
    mine = [volume for volume in volumes if text(volume, "virtualmachineid") == vm_id] if volumes else volumes
    root = next((volume for volume in mine if text(volume, "type") == "ROOT"), None)
    found = []
    taken = set()
    if root is not None or reserved.get(NO_BOOT_DISK) is not True:
        kept = reserved.get(BOOT_DEVICE_NAME)
        name = kept if isinstance(kept, str) and kept else BOOT_DEVICE
        found.append(Device(root, name, 0, boot=True, auto_delete=reserved.get(BOOT_AUTO_DELETE) is not False))
        taken.add(name)
    if not mine or mine == [root]:
        return found  # as most machines are
    data = sorted((volume for volume in mine if volume is not root), key=lambda item: number(item, "deviceid") or 0)
    marks = [decode(tags(volume))[1] for volume in data]
    asked = [mark.get(DEVICE_NAME) for mark in marks]
    spoken_for = {name for name in asked if isinstance(name, str)} | taken
    for index, (volume, mark, wanted) in enumerate(zip(data, marks, asked, strict=True), start=1):
        is_its_own = isinstance(wanted, str) and wanted and wanted not in taken
        name = str(wanted) if is_its_own else free_name(spoken_for, index)
        taken.add(name)
        spoken_for.add(name)
        goes = mark.get(AUTO_DELETE) in (vm_id, operation or vm_id)
        found.append(Device(volume, name, index, boot=False, auto_delete=goes))
    return found


def free_name(taken: set[str], index: int) -> str:
    """The device name for a disk that was given none: GCE's, with the first free number from `index` on."""
    while f"persistent-disk-{index}" in taken:
        index += 1
    return f"persistent-disk-{index}"


def attached_disks(found: Sequence[Device], boot_name: str, names: Mapping[str, str]) -> tuple[AttachedDisk, ...]:
    """
    The disks of a machine as they are shown.

    :param boot_name: the boot disk's. :param names: those of the others, by CloudStack's id.
    """
    disks = []
    for device in found:
        row = device.volume
        disks.append(
            AttachedDisk(
                name=boot_name if device.boot else _data_name(row or {}, names),
                device_name=device.name,
                index=device.index,
                boot=device.boot,
                auto_delete=device.auto_delete,
                size_bytes=number(row, "size") if row else None,
            )
        )
    return tuple(disks)


def _data_name(row: Row, names: Mapping[str, str]) -> str:
    return names.get(text(row, "id")) or slug(text(row, "name"))
