"""Volumes.

Source: VolumeApiServiceImpl, VolumeJoinDaoImpl.
"""

from gceshim.simulator import entities as model
from gceshim.simulator import errors, limits, scopes
from gceshim.simulator.call import Call, now, prune, wire_date
from gceshim.simulator.commands.tag_rows import tag_rows
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Created, Listing, Provenance, Row, command

GIB = 1024**3
MAX_CUSTOM_GIB = 1024
CD_ROM_DEVICE = 3
MAX_DEVICES = 16


def data_disk_bytes(offering: model.DiskOffering, size_gib: int | None) -> int:
    """The size of a new volume of this offering.

    :raises ApiError: 431 where a size is missing, not wanted or out of range.
    """
    if not offering.custom:
        if size_gib is not None:
            raise errors.invalid("This disk offering does not allow custom size")
        return offering.size_gib * GIB
    if size_gib is None:
        raise errors.invalid("This disk offering requires a custom size specified")
    check_custom_size(size_gib)
    return size_gib * GIB


def check_custom_size(size_gib: int) -> None:
    """:raises ApiError: 431 for a size outside what custom disks may have."""
    if not 1 <= size_gib <= MAX_CUSTOM_GIB:
        raise errors.invalid(f"Volume size: {size_gib} GB is out of allowed range. Min: 1. Max: {MAX_CUSTOM_GIB}")


@command("listVolumes", Provenance.RECORDED, subject=model.Volume)
def list_volumes(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.Volume)).ids(model.Volume).same("name", lambda row: row.name)
    rows.same("virtualmachineid", lambda row: row.vm).same("zoneid", lambda row: row.zone)
    rows.same("diskofferingid", lambda row: row.offering).like("type", lambda row: row.kind)
    rows.same("serviceofferingid", lambda row: row.vm.offering if row.vm and row.kind == "ROOT" else None)
    rows.same("hostid", lambda row: row.vm.host if row.vm else None).same("state", lambda row: row.state)
    rows.like("keyword", lambda row: row.name, lambda row: row.kind, lambda row: row.state)
    rows.flag("isencrypted", lambda row: False).tags().owned()
    rows.found.reverse()
    return Listing(rows.found, lambda row: volume_row(call, row))


def volume_row(call: Call, volume: model.Volume) -> Row:
    row: Row = {
        "id": volume.uuid,
        "name": volume.name,
        **scopes.owner_fields(volume.account),
        "zoneid": volume.zone.uuid,
        "zonename": volume.zone.name,
        "type": volume.kind,
        "size": volume.size_bytes,
        "virtualsize": volume.size_bytes if volume.state == "Ready" else None,
        "created": wire_date(volume.created),
        "state": volume.state,
        "storagetype": "shared",
        "provisioningtype": "thin",
        "hypervisor": "KVM",
        "destroyed": volume.state == "Destroy",
        "isextractable": True,
        "quiescevm": False,
        "supportsstoragesnapshot": False,
        "displayvolume": True,
        "deleteprotection": volume.delete_protection,
        "hasannotations": False,
        "tags": tag_rows(call, volume),
    }
    vm = volume.vm
    if vm is not None:
        row.update(
            virtualmachineid=vm.uuid,
            vmname=vm.name,
            vmdisplayname=vm.display_name,
            vmstate=vm.state,
            vmtype="User",
            deviceid=volume.device,
            attached=None if volume.attached is None else wire_date(volume.attached),
        )
    if volume.kind == "ROOT" and vm is not None:
        row.update(
            serviceofferingid=vm.offering.uuid,
            serviceofferingname=vm.offering.name,
            serviceofferingdisplaytext=vm.offering.display_text,
        )
    if volume.template is not None:
        shown = ("isoid", "isoname", "isodisplaytext") if volume.template.iso else TEMPLATE_FIELDS
        texts = (volume.template.uuid, volume.template.name, volume.template.display_text)
        row.update(zip(shown, texts, strict=True))
    if volume.offering is not None:
        row.update(
            diskofferingid=volume.offering.uuid,
            diskofferingname=volume.offering.name,
            diskofferingdisplaytext=volume.offering.display_text,
        )
    if call.is_root and volume.state == "Ready":
        row.update(storage="primary-1", path=volume.uuid)
    return prune(row)


TEMPLATE_FIELDS = ("templateid", "templatename", "templatedisplaytext")


@command("createVolume", Provenance.RECORDED, java="volume.CreateVolumeCmd", instance="Volume", event="VOLUME.CREATE")
def create_volume(call: Call) -> Created:
    args = call.args
    owner = scopes.owner_for_new(call)
    offering = args.one("diskofferingid", model.DiskOffering)
    if offering is None:
        raise errors.invalid("At least one of disk Offering ID or snapshot ID must be passed whilst creating volume")
    size_bytes = data_disk_bytes(offering, args.number("size"))
    zone = args.one("zoneid", model.Zone)
    vm = args.one("virtualmachineid", model.Vm)
    if zone is None:
        raise errors.invalid("Missing parameter, zone ID is needed")
    if not zone.enabled and not call.is_root:
        raise errors.denied(f"Cannot perform this operation, Zone is currently disabled: {zone.name}")
    limits.check(call.state, call.settings, owner, {"volume": 1, "primary_storage": size_bytes // GIB})
    volume = call.state.new(
        model.Volume,
        name=args.text("name") or "",
        account=owner,
        zone=zone,
        kind="DATADISK",
        size_bytes=size_bytes,
        offering=offering,
    )
    volume.name = volume.name or volume.uuid
    return Created(volume, lambda running: _finish_create(running, volume, vm))


async def _finish_create(call: Call, volume: model.Volume, vm: model.Vm | None) -> Row:
    try:
        await call.work()
    except errors.ApiError:
        call.state.remove(volume)
        raise
    if vm is not None:
        _attach(call, volume, vm, None)
    return volume_row(call, volume)


@command("attachVolume", Provenance.RECORDED, subject=model.Volume, java="volume.AttachVolumeCmd", instance="Volume", event="VOLUME.ATTACH")  # fmt: skip  # noqa: E501
async def attach_volume(call: Call) -> Row:
    volume, vm = call.args.need("id", model.Volume), call.args.need("virtualmachineid", model.Vm)
    _check_attachable(call, volume, vm, call.args.number("deviceid"))
    before = volume.state
    volume.state = "Attaching"
    try:
        await call.work()
    finally:
        volume.state = before
    _attach(call, volume, vm, call.args.number("deviceid"))
    return volume_row(call, volume)


def _check_attachable(call: Call, volume: model.Volume, vm: model.Vm, device: int | None) -> None:
    if volume.vm is not None:
        raise errors.invalid("Please specify a volume that is not attached to any VM.")
    if volume.state not in ("Allocated", "Ready", "Uploaded"):
        raise errors.invalid(f"Volume state must be in Allocated, Ready or in Uploaded state: {volume.state}")
    if vm.state not in ("Running", "Stopped"):
        raise errors.invalid("Please specify a VM that is either running or stopped.")
    if volume.zone is not vm.zone:
        raise errors.invalid("Please specify a VM that is in the same zone as the volume.")
    if volume.account is not vm.account:
        raise errors.invalid("Unable to attach a volume to an instance of another owner")
    _device(call, vm, device)


def _device(call: Call, vm: model.Vm, wanted: int | None) -> int:
    taken = {row.device for row in call.state.rows(model.Volume) if row.vm is vm} | {CD_ROM_DEVICE}
    if wanted is None:
        free = next((number for number in range(1, MAX_DEVICES) if number not in taken), None)
        if free is None:
            raise errors.invalid(f"The specified VM already has the maximum number of data disks: {vm.uuid}")
        return free
    if wanted in taken or not 0 <= wanted < MAX_DEVICES:
        raise errors.invalid(f"deviceId {wanted} is used by vm {vm.uuid}")
    if wanted == 0 and vm.state != "Stopped":
        raise errors.invalid(f"Please specify a VM that is stopped to attach its root volume: {vm.uuid} is {vm.state}")
    return wanted


def _attach(call: Call, volume: model.Volume, vm: model.Vm, device: int | None) -> None:
    _check_attachable(call, volume, vm, device)
    volume.device = _device(call, vm, device)
    volume.vm, volume.attached, volume.state = vm, now(), "Ready"
    if volume.device == 0:
        volume.kind = "ROOT"


@command("detachVolume", Provenance.RECORDED, subject=model.Volume, java="volume.DetachVolumeCmd", instance="Volume", event="VOLUME.DETACH")  # fmt: skip  # noqa: E501
async def detach_volume(call: Call) -> Row:
    volume = _volume_to_detach(call)
    vm = volume.vm
    if vm is None:
        raise errors.invalid("The specified volume is not attached to a VM.")
    if vm.state not in ("Running", "Stopped", "Destroyed"):
        raise errors.invalid("Please specify a VM that is either running or stopped.")
    if volume.kind == "ROOT" and vm.state != "Stopped":
        raise errors.invalid(
            f"Please specify a VM that is stopped to detach its root volume: {vm.uuid} is in state {vm.state}"
        )
    await call.work()
    # What was a root disk is a data disk from now on (VolumeDaoImpl.detachVolume).
    volume.vm, volume.device, volume.attached, volume.kind = None, None, None, "DATADISK"
    return volume_row(call, volume)


def _volume_to_detach(call: Call) -> model.Volume:
    volume, vm = call.args.one("id", model.Volume), call.args.one("virtualmachineid", model.Vm)
    device = call.args.number("deviceid")
    by_device = vm is not None and device is not None
    if (volume is None) is not by_device or (volume is not None and (vm is not None or device is not None)):
        raise errors.invalid("Please provide either a volume id, or a tuple(device id, instance id)")
    if volume is not None:
        return volume
    for row in call.state.rows(model.Volume):
        if row.vm is vm and row.device == device:
            return row
    raise errors.invalid("The specified volume is not attached to a VM.")


@command("deleteVolume", Provenance.DOCUMENTED, subject=model.Volume, event="VOLUME.DELETE")
def delete_volume(call: Call) -> None:
    volume = call.args.need("id", model.Volume)
    _check_deletable(volume)
    call.state.remove(volume)


def _check_deletable(volume: model.Volume) -> None:
    if volume.vm is not None:
        raise errors.invalid("Please specify a volume that is not attached to any VM.")
    if volume.delete_protection:
        raise errors.invalid(
            f"Volume [id = {volume.uuid}, name = {volume.name}] has delete protection enabled and cannot be deleted"
        )


@command("destroyVolume", Provenance.ASSUMED, subject=model.Volume, java="volume.DestroyVolumeCmd", instance="Volume", event="VOLUME.DESTROY")  # fmt: skip  # noqa: E501
async def destroy_volume(call: Call) -> Row:
    volume = call.args.need("id", model.Volume)
    _check_deletable(volume)
    if volume.state == "Destroy" and not call.args.flag("expunge"):
        raise errors.invalid(f"Volume {volume.uuid} is destroyed already")
    await call.work()
    volume.state = "Destroy"
    row = volume_row(call, volume)
    if call.args.flag("expunge"):
        call.state.remove(volume)
        row["state"] = "Expunged"
    return row


@command("resizeVolume", Provenance.DOCUMENTED, subject=model.Volume, java="volume.ResizeVolumeCmd", instance="Volume", event="VOLUME.RESIZE")  # fmt: skip  # noqa: E501
async def resize_volume(call: Call) -> Row:
    volume = call.args.need("id", model.Volume)
    if volume.state not in ("Ready", "Allocated"):
        raise errors.invalid(f"Volume should be in ready or allocated state before attempting a resize: {volume.uuid}")
    offering, size_gib = call.args.one("diskofferingid", model.DiskOffering), call.args.number("size")
    if offering is None and size_gib is None:
        raise errors.invalid("Need to specify a size or a disk offering to resize a volume")
    new_bytes = _new_size(volume, offering, size_gib)
    if new_bytes < volume.size_bytes:
        if not call.args.flag("shrinkok"):
            raise errors.invalid(f"Going from existing size of {volume.size_bytes} to size of {new_bytes} would shrink the volume. Need to sign off by supplying the shrinkok parameter with value of true.")  # fmt: skip  # noqa: E501
        if volume.state == "Ready":
            raise errors.invalid("Unable to shrink volumes of type QCOW2")
    grown_gib = (new_bytes - volume.size_bytes) // GIB
    limits.check(call.state, call.settings, volume.account, {"primary_storage": grown_gib})
    before = volume.state
    volume.state = "Resizing"
    try:
        await call.work()
    finally:
        volume.state = before
    volume.size_bytes = new_bytes
    volume.offering = offering or volume.offering
    return volume_row(call, volume)


def _new_size(volume: model.Volume, offering: model.DiskOffering | None, size_gib: int | None) -> int:
    if offering is not None:
        if volume.kind == "ROOT" and size_gib is None and offering.custom:
            raise errors.invalid("This disk offering requires a custom size specified")
        return data_disk_bytes(offering, size_gib)
    if volume.offering is not None and not volume.offering.custom:
        raise errors.invalid(f"To change a volume's size without providing a new disk offering, its current disk offering must be customizable: {volume.offering.name}")  # fmt: skip  # noqa: E501
    check_custom_size(size_gib or 0)
    return (size_gib or 0) * GIB


@command("updateVolume", Provenance.DOCUMENTED, subject=model.Volume, java="volume.UpdateVolumeCmd", instance="Volume", event="VOLUME.UPDATE")  # fmt: skip  # noqa: E501
async def update_volume(call: Call) -> Row:
    volume = call.args.one("id", model.Volume)
    if volume is None:
        raise errors.invalid("The volume id needs to be specified")
    await call.work()
    volume.name = call.args.text("name") or volume.name
    if call.args.has("deleteprotection"):
        volume.delete_protection = bool(call.args.flag("deleteprotection"))
    return volume_row(call, volume)
