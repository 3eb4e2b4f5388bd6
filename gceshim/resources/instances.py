"""compute.instances: machines; virtual machines underneath."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gceshim.drivers.base import Steps
from gceshim.model import (
    AttachedDisk,
    ExternalAccess,
    Instance,
    InstanceRef,
    InstanceSpec,
    InstanceState,
    NetworkInterface,
    Page,
)
from gceshim.protocol import errors
from gceshim.protocol.sources import Numbered
from gceshim.resources.base import Body, Collection, method, workflow
from gceshim.resources.call import Call
from gceshim.resources.instance_spec import FIELDS, OVERRIDDEN, REFUSED, from_gce
from gceshim.resources.narrowing import narrowed
from gceshim.resources.on_instance import begin_on, named
from gceshim.resources.project_metadata import read_metadata
from gceshim.resources.values import fingerprint, gib, metadata_body, present, rank, timestamp

STATUS: Final[Mapping[InstanceState, str]] = {
    InstanceState.PROVISIONING: "PROVISIONING",
    InstanceState.STARTING: "STAGING",
    InstanceState.RUNNING: "RUNNING",
    InstanceState.STOPPING: "STOPPING",
    InstanceState.STOPPED: "TERMINATED",
    InstanceState.DELETING: "DEPROVISIONING",
    InstanceState.FAILED: "TERMINATED",
    InstanceState.UNKNOWN: "REPAIRING",
}


class Instances(Collection, name="instances", scope="zone", needs=("instances", "locations")):
    refused = REFUSED
    overridden = OVERRIDDEN
    fields = FIELDS

    @method
    async def get(self, call: Call) -> Body:
        return self._shown(call, await named(self, call))

    @method
    async def list(self, call: Call) -> Body:
        return await self.listing(
            call, await self._pages(call, call.zone), lambda instance: self._shown(call, instance)
        )

    @method
    async def aggregated_list(self, call: Call) -> Body:
        fetch = await self._pages(call, None)
        return await self.aggregated(call, fetch, lambda instance: self._shown(call, instance), "instances")

    @method
    async def insert(self, call: Call) -> Body:
        for name in ("sourceInstanceTemplate", "sourceMachineImage"):
            if call.params.get(name):
                raise errors.Invalid(errors.invalid_value(name, call.params[name], "Not supported yet."))
        spec = from_gce(call, await read_metadata(self.store, call.tenant))
        await self.driver.instances.check(call.tenant, spec)
        return await self.begin(call, self.create, spec, target=("zones", spec.zone, "instances", spec.name))

    @method
    async def delete(self, call: Call) -> Body:
        instance = await named(self, call)
        if instance.deletion_protection:
            what = call.path("zones", instance.zone, "instances", instance.name)
            why = "is protected against deletion. Disable deletion protection, then try again."
            raise errors.Invalid(f"Invalid resource usage: the resource '{what}' {why}")
        return await begin_on(self, call, self.remove, instance)

    @method
    async def start(self, call: Call) -> Body:
        return await begin_on(self, call, self.switch_on, await named(self, call))

    @method
    async def stop(self, call: Call) -> Body:
        return await begin_on(self, call, self.switch_off, await named(self, call))

    @method
    async def reset(self, call: Call) -> Body:
        return await begin_on(self, call, self.restart, await named(self, call))

    @workflow
    async def create(self, steps: Steps, spec: InstanceSpec) -> Instance:
        return await self.driver.instances.create(steps, spec)

    @workflow
    async def remove(self, steps: Steps, instance: InstanceRef) -> None:
        await self.driver.instances.delete(steps, instance)

    @workflow
    async def switch_on(self, steps: Steps, instance: InstanceRef) -> None:
        await self.driver.instances.start(steps, instance)

    @workflow
    async def switch_off(self, steps: Steps, instance: InstanceRef) -> None:
        await self.driver.instances.stop(steps, instance)

    @workflow
    async def restart(self, steps: Steps, instance: InstanceRef) -> None:
        await self.driver.instances.reset(steps, instance)

    async def _pages(self, call: Call, zone: str | None) -> Numbered[Instance]:
        """In the order of making."""
        wanted = await narrowed(self.driver, call, zone)

        async def fetch(page: int, page_size: int) -> Page[Instance]:
            if wanted.nothing:
                return Page(())
            return await self.driver.instances.list(
                call.tenant, wanted.zone, page=page, page_size=page_size, name=wanted.name, labels=wanted.labels
            )

        return Numbered(fetch, identity=lambda item: item.backend_id, rank=lambda item: rank(item.created))

    def _shown(self, call: Call, instance: Instance) -> Body:
        place = ("zones", instance.zone, "instances", instance.name)
        return self.show(call, "Instance", place, to_gce(call, instance))


def to_gce(call: Call, instance: Instance) -> Body:
    labels, tags = dict(instance.labels), list(instance.network_tags)
    body = present(
        {
            **instance.kept,
            "id": str(instance.id),
            "name": instance.name,
            "description": instance.description or None,
            "zone": call.url("zones", instance.zone),
            "machineType": call.url("zones", instance.zone, "machineTypes", instance.machine_type),
            "status": STATUS[instance.state],
            "creationTimestamp": timestamp(instance.created),
            "hostname": instance.hostname or None,
            "labels": labels or None,
            "labelFingerprint": fingerprint(labels),
            "tags": present({"fingerprint": fingerprint(tags), "items": tags or None}),
            "metadata": metadata_body(instance.metadata),
            "networkInterfaces": [_interface(call, item) for item in instance.interfaces],
            "disks": [_disk(call, instance, disk) for disk in instance.disks],
            "deletionProtection": instance.deletion_protection,
        }
    )
    # Long lists may leave out the size of boot disks (drivers would have to read all disks); the machine is the same.
    sizes = [disk.pop("diskSizeGb", None) for disk in body["disks"]]
    body["fingerprint"] = fingerprint(body)
    for disk, size_gb in zip(body["disks"], sizes, strict=True):
        if size_gb is not None:
            disk["diskSizeGb"] = size_gb
    return body


def _interface(call: Call, item: NetworkInterface) -> Body:
    body = present(
        {
            "name": item.name,
            "network": call.url("global", "networks", item.network),
            "subnetwork": call.url("regions", item.region, "subnetworks", item.subnetwork),
            "networkIP": item.address,
            "stackType": "IPV4_ONLY",
            "accessConfigs": [_access_config(item.external)] if item.external else None,
        }
    )
    body["fingerprint"] = fingerprint(body)
    return body


def _access_config(external: ExternalAccess) -> Body:
    return present({"name": external.name, "type": "ONE_TO_ONE_NAT", "natIP": external.address})


def _disk(call: Call, instance: Instance, disk: AttachedDisk) -> Body:
    return present(
        {
            "type": "PERSISTENT",
            "mode": "READ_WRITE",
            "source": call.url("zones", instance.zone, "disks", disk.name),
            "deviceName": disk.device_name,
            "index": disk.index,
            "boot": disk.boot,
            "autoDelete": disk.auto_delete,
            "diskSizeGb": gib(disk.size_bytes),
        }
    )
