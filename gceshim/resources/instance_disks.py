"""The disks in the body of instances.insert: the boot disk, made from an image, and others, made or there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gceshim.model import GIB, DiskOfInstance, DiskSpec, ImageRef
from gceshim.protocol.errors import Invalid, invalid_value
from gceshim.resources import checks
from gceshim.resources.call import Call

GIB_MAX: Final = 65_536
NAME_MAX: Final = 63


def boot_disk(call: Call, disks: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """
    The first disk, from which the machine boots.

    :raises Required, Invalid: there is none, or it is not what a boot disk is here.
    """
    if not disks:
        raise call.missing("disks")
    if not disks[0].get("boot", True):
        raise Invalid(invalid_value(call.field("disks[0].boot"), False, "The first disk must be the boot disk."))
    if disks[0].get("source"):
        why = "CloudStack boots machines from images; to boot from an existing disk is not possible."
        raise Invalid(invalid_value(call.field("disks[0].source"), disks[0]["source"], why))
    initialize, machine = disks[0].get("initializeParams", {}), call.body["name"]
    if (initialize.get("diskName") or machine) != machine:
        why = "A boot disk carries the name of its machine."
        raise Invalid(invalid_value(call.field("disks[0].initializeParams.diskName"), initialize["diskName"], why))
    for name in ("description", "labels"):
        if initialize.get(name):
            why = "Not supported for a boot disk; set it on the disk afterwards."
            raise Invalid(invalid_value(call.field(f"disks[0].initializeParams.{name}"), "", why))
    _usual(call, disks[0], "disks[0]")
    return disks[0]


def source_image(call: Call, disk: Mapping[str, Any]) -> ImageRef:
    """The image that a boot disk is made from. :raises Required: none is named."""
    field = "disks[0].initializeParams.sourceImage"
    text = disk.get("initializeParams", {}).get("sourceImage", "")
    if not text:
        raise call.missing(field)
    found = call.reference("images", text, field)
    project = call.wire.project if not found.project or call.is_own(found.project) else found.project
    return ImageRef(project, family=found.name) if found.family else ImageRef(project, name=found.name)


def size_bytes(call: Call, disk: Mapping[str, Any], field: str) -> int | None:
    """The size asked for; None: none. :raises Invalid: out of GCE's bounds."""
    sizes = [size for size in (disk.get("diskSizeGb"), disk.get("initializeParams", {}).get("diskSizeGb")) if size]
    return gib_bytes(sizes[-1], call.field(f"{field}.initializeParams.diskSizeGb")) if sizes else None


def gib_bytes(text: str, field: str) -> int:
    """A size in GB, as GCE calls them, in bytes. :raises Invalid: not from 1 to 65536."""
    if not 1 <= int(text) <= GIB_MAX:
        raise Invalid(invalid_value(field, text, f"Must be between 1 and {GIB_MAX} GB."))
    return int(text) * GIB


def disk_type(call: Call, disk: Mapping[str, Any], field: str) -> str:
    """The name of the disk type asked for; "" when none is. :raises Invalid: no reference to a disk type."""
    text = disk.get("initializeParams", {}).get("diskType", "")
    return call.zonal_name("diskTypes", text, f"{field}.initializeParams.diskType") if text else ""


def data_disk(call: Call, disk: Mapping[str, Any], index: int, machine: str) -> DiskOfInstance:
    """One disk beside the boot disk. :raises Invalid: both or neither of `source` and `initializeParams`."""
    field = f"disks[{index}]"
    _usual(call, disk, field)
    if disk.get("boot"):
        raise Invalid(invalid_value(call.field(f"{field}.boot"), True, "Only the first disk can be the boot disk."))
    initialize = disk.get("initializeParams")
    if bool(disk.get("source")) == bool(initialize is not None):
        raise Invalid(invalid_value(call.field(field), "", "Exactly one of source and initializeParams is needed."))
    device_name, auto_delete = disk.get("deviceName", ""), disk.get("autoDelete", False)
    if initialize is None:
        name = call.zonal_name("disks", disk["source"], f"{field}.source")
        return DiskOfInstance(auto_delete, device_name, attach=name)
    return DiskOfInstance(auto_delete, device_name, create=_new_disk(call, disk, initialize, index, machine))


def _new_disk(call: Call, disk: Mapping[str, Any], initialize: Mapping[str, Any], index: int, machine: str) -> DiskSpec:
    field = f"disks[{index}]"
    if initialize.get("sourceImage"):
        why = "CloudStack makes data disks empty; only a boot disk can be made from an image."
        raise Invalid(
            invalid_value(call.field(f"{field}.initializeParams.sourceImage"), initialize["sourceImage"], why)
        )
    return DiskSpec(
        name=_disk_name(call, disk, initialize, index, machine),
        zone=call.zone,
        type=disk_type(call, disk, field),
        size_bytes=size_bytes(call, disk, field),
        description=checks.description(
            initialize.get("description", ""), call.field(f"{field}.initializeParams.description")
        ),
        labels=checks.labels(initialize.get("labels", {}), call.field(f"{field}.initializeParams.labels")),
    )


def _disk_name(call: Call, disk: Mapping[str, Any], initialize: Mapping[str, Any], index: int, machine: str) -> str:
    """The one asked for, else the device name if it can be a disk's, else one made of the machine's."""
    if initialize.get("diskName"):
        return checks.resource_name(initialize["diskName"], call.field(f"disks[{index}].initializeParams.diskName"))
    device_name: str = disk.get("deviceName", "")
    if checks.is_resource_name(device_name):
        return device_name
    suffix = f"-{index}"
    return machine[: NAME_MAX - len(suffix)] + suffix


def _usual(call: Call, disk: Mapping[str, Any], field: str) -> None:
    """Read-only disks and scratch disks CloudStack has none of."""
    for name, value in {"mode": "READ_WRITE", "type": "PERSISTENT"}.items():
        if (disk.get(name) or value) != value:
            raise Invalid(invalid_value(call.field(f"{field}.{name}"), disk[name], f"Only '{value}' is supported."))
