"""Disks: those that outlive a machine, and their places on machines."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence

from gceshim.drivers.steps import Steps
from gceshim.model import AttachmentSpec, Disk, DiskRef, DiskSpec, DiskType, InstanceRef, Page, Tenant


class Disks(abc.ABC):
    """Volumes: data disks, and the boot disks of machines, which carry their machine's name."""

    @abc.abstractmethod
    async def types(self, tenant: Tenant, zone: str) -> Sequence[DiskType]:
        """
        What kinds of disk the zone offers, by name: its offerings, and `pd-standard`, `pd-balanced` and `pd-ssd`.

        :raises NotFound: no such zone. Source: GCE `compute.diskTypes.list`; CloudStack `listDiskOfferings`.
        """

    @abc.abstractmethod
    async def type(self, tenant: Tenant, zone: str, name: str) -> DiskType:
        """One of them by name or numeric id. :raises NotFound: `kind` "disk_type". Source: `compute.diskTypes.get`."""

    @abc.abstractmethod
    async def get(self, tenant: Tenant, zone: str, name: str) -> Disk:
        """
        One disk by name or numeric id.

        :raises NotFound: no such disk (`kind` "disk") or zone.

        Source: GCE `compute.disks.get`; CloudStack `listVolumes`.
        """

    @abc.abstractmethod
    async def list(
        self,
        tenant: Tenant,
        zone: str | None,
        *,
        page: int,
        page_size: int,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Page[Disk]:
        """
        The disks of one zone, or of all, the latest made first.

        :param name: only the disks of exactly this name. :param labels: only those that have all of these, as far as
            the backend can tell them from others; more may be among them.
        :param page: 1-based. :param page_size: 1 to 500. :raises NotFound: no such zone.

        Source: GCE `compute.disks.list`, `aggregatedList`; CloudStack `listVolumes`.
        """

    @abc.abstractmethod
    async def check(self, tenant: Tenant, spec: DiskSpec) -> None:
        """
        Tell what can be told before anything is made. Reads only; quick.

        :raises AlreadyExists: the tenant has a disk of this name in the zone. :raises NotFound: no such zone or disk
            type; `field` says which. :raises Invalid: a size that the type does not allow (`field` "size_bytes").
        """

    @abc.abstractmethod
    async def create(self, steps: Steps, spec: DiskSpec) -> Disk:
        """
        Make an empty disk and return it as allocated; sizes are rounded up, never down.

        Replayable; what was made is removed when a later step fails.
        :raises AlreadyExists, NotFound, Invalid: as `check`. :raises QuotaExceeded: the tenant's limits.
        :raises CapacityExhausted: no storage has room.

        Source: GCE `compute.disks.insert`; CloudStack `createVolume`, `createTags`.
        """

    @abc.abstractmethod
    async def delete(self, steps: Steps, disk: DiskRef) -> None:
        """
        Remove it; an absent one is a success.

        :raises InUse: a machine has it. Source: GCE `compute.disks.delete`; CloudStack `deleteVolume`.
        """

    @abc.abstractmethod
    async def resize(self, steps: Steps, disk: DiskRef, size_bytes: int) -> None:
        """
        Make it larger. :param size_bytes: a multiple of 1 GiB.

        :raises Invalid: smaller than it is, or of a size that its offering does not allow. :raises QuotaExceeded:

        Source: GCE `compute.disks.resize`; CloudStack `resizeVolume`.
        """

    @abc.abstractmethod
    async def set_labels(self, steps: Steps, disk: DiskRef, labels: Mapping[str, str]) -> None:
        """Replace the labels; reserved tags stay. Source: GCE `compute.disks.setLabels`; `deleteTags`, `createTags`."""


class Attachments(abc.ABC):
    """Which disks a machine has."""

    @abc.abstractmethod
    async def attach(self, steps: Steps, instance: InstanceRef, spec: AttachmentSpec) -> None:
        """
        Attach a disk that is there.

        :raises NotFound: no such disk (`kind` "disk"). :raises InUse: another machine has it.
        :raises Invalid: the device name is taken, or the machine can take no more. :raises NotReady: the machine's
            state does not allow it.

        Source: GCE `compute.instances.attachDisk`; CloudStack `attachVolume`, `createTags`.
        """

    @abc.abstractmethod
    async def detach(self, steps: Steps, instance: InstanceRef, device_name: str) -> None:
        """
        Detach the disk of this device name.

        :raises Invalid: the machine has no such device. :raises NotReady: it is the boot disk of a running machine.

        Source: GCE `compute.instances.detachDisk`; CloudStack `detachVolume`.
        """

    @abc.abstractmethod
    async def set_auto_delete(self, steps: Steps, instance: InstanceRef, device_name: str, auto_delete: bool) -> None:
        """
        Say whether the disk goes with its machine.

        :raises Invalid: the machine has no such device.

        Source: GCE `compute.instances.setDiskAutoDelete`; kept as a reserved tag on the volume.
        """
