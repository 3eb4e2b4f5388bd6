"""Disks: volumes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gceshim.drivers import base, errors
from gceshim.drivers.base import Steps, Submitted
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.disk_types import DEFAULT_TYPE, TYPE, DiskOffering, DiskTypes, type_of
from gceshim.drivers.cloudstack.images import Images
from gceshim.drivers.cloudstack.jobs import settle, submitted
from gceshim.drivers.cloudstack.locations import Locations
from gceshim.drivers.cloudstack.marks import replace_tags
from gceshim.drivers.cloudstack.names import slug, split
from gceshim.drivers.cloudstack.new_disks import NewDisks, disk_plan
from gceshim.drivers.cloudstack.rows import Row, age_key, number, tags, text, time
from gceshim.drivers.cloudstack.tags import decode, with_labels
from gceshim.drivers.cloudstack.undo import Undo
from gceshim.drivers.cloudstack.volumes import Volumes, is_boot
from gceshim.model import (
    GIB,
    Disk,
    DiskRef,
    DiskSpec,
    DiskState,
    DiskType,
    ImageRef,
    Page,
    Tenant,
    Zone,
    stable_id,
)

log = logging.getLogger(__name__)

STATES: Final[Mapping[str, DiskState]] = {
    "Allocated": DiskState.READY,
    "Ready": DiskState.READY,
    "Attaching": DiskState.READY,
    "Migrating": DiskState.READY,
    "Snapshotting": DiskState.READY,
    "RevertSnapshotting": DiskState.READY,
    "Resizing": DiskState.READY,
    "Copying": DiskState.READY,
    "Uploaded": DiskState.READY,
    "Creating": DiskState.CREATING,
    "UploadOp": DiskState.CREATING,
    "NotUploaded": DiskState.CREATING,
    "UploadInProgress": DiskState.CREATING,
    "UploadError": DiskState.FAILED,
    "UploadAbandoned": DiskState.FAILED,
    "Destroy": DiskState.DELETING,
    "Destroying": DiskState.DELETING,
    "Expunging": DiskState.DELETING,
    "Expunged": DiskState.DELETING,
}


class Disks(base.Disks):
    """Implements `base.Disks`."""

    def __init__(
        self,
        backend: Backend,
        *,
        locations: Locations,
        disk_types: DiskTypes,
        images: Images,
        volumes: Volumes,
        new_disks: NewDisks,
    ) -> None:
        self._backend = backend
        self._locations = locations
        self._disk_types = disk_types
        self._images = images
        self._volumes = volumes
        self._new_disks = new_disks

    async def types(self, tenant: Tenant, zone: str) -> Sequence[DiskType]:
        """The zone's offerings, aliases and GCE's own names, by name. Source: `listDiskOfferings`."""
        return await self._disk_types.all(tenant, await self._locations.zone(tenant, zone))

    async def type(self, tenant: Tenant, zone: str, name: str) -> DiskType:
        """By name or numeric id. Source: `listDiskOfferings`."""
        where = await self._locations.zone(tenant, zone)
        found = await self._disk_types.all(tenant, where)
        for item in found:
            if name in (item.name, str(item.id)):
                return item
        choice = await self._disk_types.choice(tenant, where, name)
        return next(item for item in found if item.name == choice.offering.shown)

    async def get(self, tenant: Tenant, zone: str, name: str) -> Disk:
        """By name or numeric id. Source: `listVolumes`; for boot disks `listVirtualMachines` too."""
        where = await self._locations.zone(tenant, zone)
        row = await self._volumes.by_name(tenant, where, name)
        if row is None:
            raise no_disk(name, where.name)
        if name.isdigit():
            name = await self._volumes.name(tenant, row)
        return (await self._disks(tenant, [row], {text(row, "id"): name}))[0]

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
        """The latest first: one call for a page, mostly. Source: `listVolumes`."""
        where = await self._locations.zone(tenant, zone) if zone is not None else None
        if name is not None:
            return await self._named(tenant, where, name, page, page_size)
        found, more = await self._volumes.page(tenant, where, page=page, page_size=page_size, labels=labels)
        await self._backend.pace.turn(found)
        names = await self._volumes.names(tenant, found, whole=page == 1 and not more and not labels)
        return Page(await self._disks(tenant, found, names), more=more)

    async def check(self, tenant: Tenant, spec: DiskSpec) -> None:
        """Source: `listDiskOfferings`, `listVolumes`, `listVirtualMachines`."""
        await self._plan(tenant, spec)

    async def create(self, steps: Steps, spec: DiskSpec) -> Disk:
        """Make it. Source: `createVolume`, `createTags`."""
        tenant = steps.tenant

        async def resolve() -> dict[str, Any]:
            return await self._plan(tenant, spec)

        plan = await steps.run("resolve", resolve)
        await steps.progress(10)
        async with Undo() as undo:
            backend_id = await self._new_disks.make(steps, "create", plan, undo)
        await steps.progress(95)
        made: list[Disk] = []

        async def look() -> bool:
            row = await self._volumes.by_id(tenant, backend_id)
            if row is not None:
                made.extend(await self._disks(tenant, [row], {backend_id: spec.name}))
            return row is not None

        # A step, so that a disk that is there is not called a failure for an answer that was lost.
        if not await steps.run("look", look):
            raise errors.Failed(f"Disk {spec.name!r} was removed while it was made", kind="disk", name=spec.name)
        return made[0] if made else await self.get(tenant, spec.zone, spec.name)

    async def delete(self, steps: Steps, disk: DiskRef) -> None:
        """Remove it. Source: `deleteVolume`."""
        await self._new_disks.remove(steps, "delete", disk.backend_id, disk.name)

    async def resize(self, steps: Steps, disk: DiskRef, size_bytes: int) -> None:
        """Make it larger. Source: `resizeVolume`."""
        tenant = steps.tenant
        gib = -(-size_bytes // GIB)

        async def look() -> bool:
            row = await self._row(tenant, disk)
            current_bytes = number(row, "size") or 0
            if gib * GIB > current_bytes:
                await self._check_growth(tenant, disk, row, gib)
            elif gib * GIB < current_bytes:
                raise errors.Invalid(
                    f"Disk {disk.name!r} has {-(-current_bytes // GIB)} GB; it can only be made larger",
                    kind="disk",
                    name=disk.name,
                    field="size_bytes",
                )
            return gib * GIB == current_bytes

        if await steps.run("look", look):
            return

        async def submit() -> Submitted:
            return submitted(await self._backend.call(tenant, "resizeVolume", id=disk.backend_id, size=gib))

        async def find() -> Submitted | None:
            await settle(self._backend, tenant, "ResizeVolume")
            row = await self._volumes.by_id(tenant, disk.backend_id)
            return Submitted("", disk.backend_id) if row and number(row, "size") == gib * GIB else None

        await steps.job("resize", submit, find=find)

    async def set_labels(self, steps: Steps, disk: DiskRef, labels: Mapping[str, str]) -> None:
        """Replace the labels. Source: `deleteTags`, `createTags`."""
        tenant = steps.tenant

        async def current() -> Mapping[str, str] | None:
            return tags(await self._row(tenant, disk))

        async with Undo() as undo:
            await replace_tags(
                self._backend,
                steps,
                "labels",
                ("Volume", disk.backend_id),
                change=lambda found: with_labels(found, labels),
                current=current,
                undo=undo,
            )

    async def _named(self, tenant: Tenant, where: Zone | None, name: str, page: int, page_size: int) -> Page[Disk]:
        """The disks that a list shows by one name, at most one in each zone. A get takes former ones too."""
        zones = [where] if where is not None else await self._locations.zones(tenant)
        found = await asyncio.gather(*(self._volumes.by_name(tenant, zone, name) for zone in zones))
        there = sorted((row for row in found if row is not None), key=age_key, reverse=True)
        if split(name) is not None:
            names = await self._volumes.names(tenant, [row for row in there if text(row, "name") != name])
            there = [row for row in there if names.get(text(row, "id"), name) == name]
        start = (page - 1) * page_size
        chosen = there[start : start + page_size]
        disks = await self._disks(tenant, chosen, {text(row, "id"): name for row in chosen})
        return Page(disks, more=len(there) > start + page_size)

    async def _plan(self, tenant: Tenant, spec: DiskSpec) -> dict[str, Any]:
        zone = await self._locations.zone(tenant, spec.zone)
        if not zone.up:
            raise errors.Unsupported(f"Zone {zone.name!r} is closed by its operator", kind="zone", name=zone.name)
        choice = await self._disk_types.choice(tenant, zone, spec.type)
        gib = choice.gib_for(spec.size_bytes)
        await self._new_disks.check_name(tenant, zone, spec.name)
        return disk_plan(spec, zone.backend_id, choice, gib)

    async def _check_growth(self, tenant: Tenant, disk: DiskRef, row: Row, gib: int) -> None:
        offering = next(
            (
                item
                for item in await self._disk_types.offerings(tenant, await self._locations.zone(tenant, disk.zone))
                if item.backend_id == text(row, "diskofferingid")
            ),
            None,
        )
        if offering is None:
            return  # CloudStack knows
        why = ""
        if offering.gib is not None:
            why = f"it is of type {offering.shown!r}, whose disks are of {offering.gib} GB"
        elif gib > offering.limits_gib[1]:
            why = f"disks of type {offering.shown!r} have {offering.limits_gib[1]} GB at most"
        if why:
            raise errors.Invalid(
                f"Disk {disk.name!r} cannot be made larger: {why}", kind="disk", name=disk.name, field="size_bytes"
            )

    async def _row(self, tenant: Tenant, disk: DiskRef) -> Row:
        row = await self._volumes.by_id(tenant, disk.backend_id)
        if row is None:
            raise no_disk(disk.name, disk.zone)
        return row

    async def _disks(self, tenant: Tenant, found: Sequence[Row], names: Mapping[str, str]) -> Sequence[Disk]:
        zones = {zone.backend_id: zone for zone in await self._locations.zones(tenant)}
        users = await self._volumes.users(tenant, found)
        offerings = {
            zone_id: await self._disk_types.offerings(tenant, zones[zone_id])
            for zone_id in {text(row, "zoneid") for row in found}
            if zone_id in zones
        }
        sources = {
            template_id: await self._images.ref_of(tenant, template_id)
            for template_id in {text(row, "templateid") for row in found if row.get("templateid")}
        }
        aliases = self._backend.settings.disk_types

        def convert(row: Row) -> Disk:
            return disk_of(
                row,
                names[text(row, "id")],
                zone=zones.get(text(row, "zoneid")),
                user=users.get(text(row, "virtualmachineid")),
                offerings=offerings.get(text(row, "zoneid"), ()),
                aliases=aliases,
                image=sources.get(text(row, "templateid")),
            )

        return await self._backend.pace.map(convert, found)


def disk_of(
    row: Row,
    name: str,
    *,
    zone: Zone | None,
    user: str | None,
    offerings: Sequence[DiskOffering],
    aliases: Mapping[str, str],
    image: ImageRef | None,
) -> Disk:
    """
    A row of `listVolumes` as a disk.

    :param name: as it is shown. :param user: the name of the machine that has it. :param offerings: those of its zone.
    """
    backend_id = text(row, "id")
    labels, reserved = decode(tags(row))
    template_id = text(row, "templateid")
    description = reserved.get("description")
    return Disk(
        id=stable_id(backend_id),
        backend_id=backend_id,
        name=name,
        zone=zone.name if zone else slug(text(row, "zonename")),
        state=state_of(row),
        size_bytes=number(row, "size") or 0,
        type=type_of(row, reserved.get(TYPE), offerings, aliases) or DEFAULT_TYPE,
        created=time(row, "created"),
        description=description if isinstance(description, str) else "",
        labels=labels,
        users=(user,) if user else (),
        image=image,
        image_id=stable_id(template_id) if template_id else None,
        boot=is_boot(row) or bool(template_id),
        attached=time(row, "attached"),
    )


def state_of(row: Row) -> DiskState:
    """The state; total. One that is not known is logged."""
    word = text(row, "state")
    if word not in STATES:
        log.warning("unknown state %r of volume %s", word[:40], text(row, "id"))
    return STATES.get(word, DiskState.UNKNOWN)


def no_disk(name: str, zone: str, field: str = "") -> errors.NotFound:
    """The error for a disk that is not there."""
    return errors.NotFound(f"There is no disk {name!r} in zone {zone!r}", kind="disk", name=name, field=field)
