"""compute.disks: disks of one zone; volumes underneath."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gceshim.drivers.base import Steps
from gceshim.model import Disk, DiskRef, DiskSpec, DiskState, Page
from gceshim.protocol import errors
from gceshim.protocol.patching import update_mask
from gceshim.protocol.sources import Numbered
from gceshim.resources import checks
from gceshim.resources.base import Body, Collection, Workflow, method, workflow
from gceshim.resources.call import Call
from gceshim.resources.instance_disks import gib_bytes
from gceshim.resources.instance_settings import require_labels_fingerprint
from gceshim.resources.narrowing import narrowed
from gceshim.resources.values import fingerprint, gib, int64, rank, timestamp

STATUS: Final[Mapping[DiskState, str]] = {
    DiskState.CREATING: "CREATING",
    DiskState.READY: "READY",
    DiskState.DELETING: "DELETING",
    DiskState.FAILED: "FAILED",
    DiskState.UNKNOWN: "UNAVAILABLE",
}

_NOT_HERE: Final = "Not supported by this server."
_EMPTY: Final = "CloudStack makes data disks empty; only a machine's boot disk can be made from an image."


class Disks(Collection, name="disks", scope="zone", needs=("disks", "locations")):
    refused = {
        "accessMode": _NOT_HERE,
        "architecture": _NOT_HERE,
        "asyncPrimaryDisk": _NOT_HERE,
        "diskEncryptionKey": "Encryption keys of the caller's own are not supported.",
        "enableConfidentialCompute": _NOT_HERE,
        "guestOsFeatures": _NOT_HERE,
        "licenseCodes": _NOT_HERE,
        "licenses": _NOT_HERE,
        "locationHint": _NOT_HERE,
        "options": _NOT_HERE,
        "params": _NOT_HERE,
        "provisionedIops": _NOT_HERE,
        "provisionedThroughput": _NOT_HERE,
        "replicaZones": "Disks are in one zone.",
        "resourcePolicies": "Resource policies are not supported yet.",
        "sourceDisk": "Disks are not copied by CloudStack; make a snapshot of it.",
        "sourceImage": _EMPTY,
        "sourceImageEncryptionKey": _NOT_HERE,
        "sourceInstantSnapshot": _NOT_HERE,
        "sourceMachineImage": _NOT_HERE,
        "sourceMachineImageDiskDeviceName": _NOT_HERE,
        "sourceMachineImageEncryptionKey": _NOT_HERE,
        "sourceSnapshot": "Snapshots are not supported yet.",
        "sourceSnapshotEncryptionKey": _NOT_HERE,
        "sourceStorageObject": _NOT_HERE,
        "storagePool": _NOT_HERE,
    }
    overridden = {"physicalBlockSizeBytes": "The storage decides its block size."}
    fields = {"labels": "labels", "name": "name", "size_bytes": "sizeGb", "type": "type"}

    @method
    async def get(self, call: Call) -> Body:
        return self._shown(call, await self._named(call))

    @method
    async def list(self, call: Call) -> Body:
        return await self.listing(call, await self._pages(call, call.zone), lambda disk: self._shown(call, disk))

    @method
    async def aggregated_list(self, call: Call) -> Body:
        return await self.aggregated(call, await self._pages(call, None), lambda disk: self._shown(call, disk), "disks")

    @method
    async def insert(self, call: Call) -> Body:
        if call.params.get("sourceImage"):
            raise errors.Invalid(errors.invalid_value("sourceImage", call.params["sourceImage"], _EMPTY))
        spec = from_gce(call)
        await self.driver.disks.check(call.tenant, spec)
        return await self.begin(call, self.create, spec, target=("zones", spec.zone, "disks", spec.name))

    @method
    async def update(self, call: Call) -> Body:
        """The size is what can be changed; labels have a verb of their own."""
        only_size(call)
        disk = await self._named(call)
        if not update_mask(call.params, call.wire.document, "Disk"):
            checks.same_name(call.body, disk.name)
        return await self._resize(call, disk)

    @method
    async def delete(self, call: Call) -> Body:
        disk = await self._named(call)
        if disk.users:
            user = call.path("zones", disk.zone, "instances", disk.users[0])
            what = call.path("zones", disk.zone, "disks", disk.name)
            raise errors.ResourceInUse(f"The disk resource '{what}' is already being used by '{user}'")
        return await self._begin_on(call, self.remove, disk)

    @method
    async def resize(self, call: Call) -> Body:
        return await self._resize(call, await self._named(call))

    @method
    async def set_labels(self, call: Call) -> Body:
        disk = await self._named(call)
        require_labels_fingerprint(call.body, disk.labels)
        return await self._begin_on(call, self.label, disk, checks.labels(call.body.get("labels", {})))

    @workflow
    async def create(self, steps: Steps, spec: DiskSpec) -> Disk:
        return await self.driver.disks.create(steps, spec)

    @workflow
    async def remove(self, steps: Steps, disk: DiskRef) -> None:
        await self.driver.disks.delete(steps, disk)

    @workflow
    async def enlarge(self, steps: Steps, disk: DiskRef, size_bytes: int) -> None:
        await self.driver.disks.resize(steps, disk, size_bytes)

    @workflow
    async def label(self, steps: Steps, disk: DiskRef, labels: Mapping[str, str]) -> None:
        await self.driver.disks.set_labels(steps, disk, labels)

    async def _named(self, call: Call) -> Disk:
        return await self.driver.disks.get(call.tenant, call.zone, call.name)

    async def _resize(self, call: Call, disk: Disk) -> Body:
        if not call.body.get("sizeGb"):
            raise errors.Required("Required field 'resource.sizeGb' not specified")
        wanted = gib_bytes(call.body["sizeGb"], "resource.sizeGb")
        if wanted < disk.size_bytes:
            why = f"The disk has {gib(disk.size_bytes)} GB; it can only be made larger."
            raise errors.Invalid(errors.invalid_value("resource.sizeGb", call.body["sizeGb"], why))
        return await self._begin_on(call, self.enlarge, disk, wanted)

    async def _pages(self, call: Call, zone: str | None) -> Numbered[Disk]:
        """The latest first."""
        wanted = await narrowed(self.driver, call, zone)

        async def fetch(page: int, page_size: int) -> Page[Disk]:
            if wanted.nothing:
                return Page(())
            return await self.driver.disks.list(
                call.tenant, wanted.zone, page=page, page_size=page_size, name=wanted.name, labels=wanted.labels
            )

        return Numbered(
            fetch, identity=lambda item: item.backend_id, rank=lambda item: rank(item.created), descending=True
        )

    async def _begin_on(self, call: Call, run: Workflow, disk: Disk, *arguments: Any) -> Body:
        reference = DiskRef(disk.name, disk.zone, disk.backend_id)
        target = ("zones", disk.zone, "disks", disk.name)
        return await self.begin(call, run, reference, *arguments, target=target, target_id=disk.id)

    def _shown(self, call: Call, disk: Disk) -> Body:
        return self.show(call, "Disk", ("zones", disk.zone, "disks", disk.name), to_gce(call, disk))


def from_gce(call: Call) -> DiskSpec:
    """What is asked for. :raises Invalid, Required: the field is named."""
    body = call.body
    if not body.get("name"):
        raise errors.Required("Required field 'resource.name' not specified")
    type_text = body.get("type", "")
    return DiskSpec(
        name=body["name"],
        zone=call.zone,
        type=call.zonal_name("diskTypes", type_text, "type") if type_text else "",
        size_bytes=gib_bytes(body["sizeGb"], "resource.sizeGb") if body.get("sizeGb") else None,
        description=checks.description(body.get("description", "")),
        labels=checks.labels(body.get("labels", {})),
    )


def only_size(call: Call) -> None:
    """
    An update that asks for anything but a size is refused.

    :raises Invalid: the field is named. Source: `paths` and `updateMask` of GCE `compute.disks.update`.
    """
    named = update_mask(call.params, call.wire.document, "Disk") or call.body.keys() - {"name"}
    for field in sorted({*named, *(path[0] for path in call.cleared)}):
        if field != "sizeGb":
            why = "An update can change sizeGb; labels are changed by setLabels."
            raise errors.Invalid(errors.invalid_value("paths", field, why))


def to_gce(call: Call, disk: Disk) -> Body:
    image = None
    if disk.image is not None:
        image = call.wire.links.for_project(disk.image.project).url("global", "images", disk.image.name)
    return {
        "id": str(disk.id),
        "name": disk.name,
        "description": disk.description or None,
        "zone": call.url("zones", disk.zone),
        "status": STATUS[disk.state],
        "sizeGb": gib(disk.size_bytes),
        "type": call.url("zones", disk.zone, "diskTypes", disk.type) if disk.type else None,
        "creationTimestamp": timestamp(disk.created),
        "lastAttachTimestamp": timestamp(disk.attached),
        "labels": dict(disk.labels) or None,
        "labelFingerprint": fingerprint(dict(disk.labels)),
        "users": [call.url("zones", disk.zone, "instances", user) for user in disk.users] or None,
        "sourceImage": image,
        "sourceImageId": int64(disk.image_id),
    }
