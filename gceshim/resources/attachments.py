"""compute.instances: the verbs that give a machine disks and take them away."""

from __future__ import annotations

from typing import Final

from gceshim.drivers.base import Steps
from gceshim.model import AttachmentSpec, InstanceRef
from gceshim.protocol.errors import Invalid, Required, invalid_value
from gceshim.resources.base import Body, Collection, method, workflow
from gceshim.resources.call import Call
from gceshim.resources.on_instance import begin_on, named

_NOT_HERE: Final = "Not supported by this server."
_MADE_BEFORE: Final = "attachDisk takes a disk that is there; make it with disks.insert first."


class Attachments(Collection, name="instances", scope="zone", needs=("instances", "attachments", "locations")):
    refused = {
        "boot": "A machine's boot disk is the one that it was made with.",
        "diskEncryptionKey": "Encryption keys of the caller's own are not supported.",
        "diskSizeGb": _MADE_BEFORE,
        "forceAttach": _NOT_HERE,
        "guestOsFeatures": _NOT_HERE,
        "initializeParams": _MADE_BEFORE,
    }
    overridden = {"interface": "The machine decides the disk's interface."}
    fields = {"device_name": "deviceName", "disk": "source"}

    @method
    async def attach_disk(self, call: Call) -> Body:
        instance, spec = await named(self, call), from_gce(call)
        if spec.device_name in [disk.device_name for disk in instance.disks]:
            why = "The machine has a disk of this device name."
            raise Invalid(invalid_value("resource.deviceName", spec.device_name, why))
        await self.driver.disks.get(call.tenant, call.zone, spec.disk)
        return await begin_on(self, call, self.attach, instance, spec)

    @method
    async def detach_disk(self, call: Call) -> Body:
        instance, device_name = await named(self, call), call.params["deviceName"]
        require_device(device_name, [disk.device_name for disk in instance.disks])
        return await begin_on(self, call, self.detach, instance, device_name)

    @method
    async def set_disk_auto_delete(self, call: Call) -> Body:
        instance, device_name = await named(self, call), call.params["deviceName"]
        require_device(device_name, [disk.device_name for disk in instance.disks])
        return await begin_on(self, call, self.mark, instance, device_name, call.params["autoDelete"])

    @workflow
    async def attach(self, steps: Steps, instance: InstanceRef, spec: AttachmentSpec) -> None:
        await self.driver.attachments.attach(steps, instance, spec)

    @workflow
    async def detach(self, steps: Steps, instance: InstanceRef, device_name: str) -> None:
        await self.driver.attachments.detach(steps, instance, device_name)

    @workflow
    async def mark(self, steps: Steps, instance: InstanceRef, device_name: str, auto_delete: bool) -> None:
        await self.driver.attachments.set_auto_delete(steps, instance, device_name, auto_delete)


def from_gce(call: Call) -> AttachmentSpec:
    """What is to be attached. :raises Invalid, Required: the field is named."""
    body = call.body
    if not body.get("source"):
        raise Required("Required field 'resource.source' not specified")
    for name, value in {"mode": "READ_WRITE", "type": "PERSISTENT"}.items():
        if (body.get(name) or value) != value:
            raise Invalid(invalid_value(f"resource.{name}", body[name], f"Only '{value}' is supported."))
    disk = call.zonal_name("disks", body["source"], "source")
    return AttachmentSpec(disk, body.get("deviceName", ""), body.get("autoDelete", False))


def require_device(device_name: str, there: list[str]) -> None:
    """:raises Invalid: the machine has no disk of this device name."""
    if device_name not in there:
        why = f"No disk of this device name is attached; there are: {', '.join(there)}."
        raise Invalid(invalid_value("deviceName", device_name, why))
