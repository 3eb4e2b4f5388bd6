"""Disk types: disk offerings, and GCE's own names, each with the offering that stands for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.names import shown, slug
from gceshim.drivers.cloudstack.rows import Row, flag, number, text, time
from gceshim.model import GIB, DiskType, Tenant, Zone, stable_id

DEFAULT_TYPE: Final = "pd-standard"
#: GCE's types that every zone is to have, so that configurations run as they are.
STANDARD_TYPES: Final = (DEFAULT_TYPE, "pd-balanced", "pd-ssd")
#: The reserved tag with the disk type that was asked for.
TYPE: Final = "disk-type"
#: GCE's own defaults, 100 and 500 GB, would use up the quotas of most clouds.
_DEFAULT_GIB: Final = 10


@dataclass(frozen=True, slots=True)
class DiskOffering:
    """A disk offering. `shown` is its GCE name; `gib` is None where the caller chooses, from `limits_gib`."""

    backend_id: str
    name: str
    shown: str
    description: str
    gib: int | None
    limits_gib: tuple[int, int]
    created: datetime | None


@dataclass(frozen=True, slots=True)
class DiskChoice:
    """The offering for a disk type's name."""

    name: str
    offering: DiskOffering

    def gib_for(self, size_bytes: int | None, field: str = "size_bytes") -> int:
        """
        The size in GiB of a disk asked for, rounded up. :raises Invalid: the offering does not allow it.

        :param field: the attribute to name in the error.
        """
        item = self.offering
        if item.gib is not None:
            if size_bytes is not None and -(-size_bytes // GIB) != item.gib:
                raise errors.Invalid(
                    f"Disk type {self.name!r} is of {item.gib} GB, no more and no less", kind="disk_type", field=field
                )
            return item.gib
        low, high = item.limits_gib
        gib = min(max(_DEFAULT_GIB, low), high) if size_bytes is None else -(-size_bytes // GIB)
        if not low <= gib <= high:
            raise errors.Invalid(
                f"A disk of type {self.name!r} must have from {low} to {high} GB", kind="disk_type", field=field
            )
        return gib


class DiskTypes:
    """The disk types of zones. Answered from memory for a short time."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def all(self, tenant: Tenant, zone: Zone) -> list[DiskType]:
        """The zone's offerings and the names that stand for one, by name. Source: `listDiskOfferings`."""
        return listed(await self.offerings(tenant, zone), self._backend.settings.disk_types, zone.name)

    async def choice(self, tenant: Tenant, zone: Zone, name: str, *, field: str = "type") -> DiskChoice:
        """
        The offering behind a disk type's name; "" is the default type.

        :param field: the attribute to name in the error. :raises NotFound: no such disk type.
        """
        found = await self.offerings(tenant, zone)
        return choose(found, self._backend.settings.disk_types, name or DEFAULT_TYPE, zone.name, field)

    async def for_boot(self, tenant: Tenant, zone: Zone, name: str) -> DiskChoice | None:
        """
        The offering for a boot disk; None where the machine type's own storage will do.

        :param name: a disk type, or "". :raises NotFound: no such disk type.
        """
        if not name or is_any(name, self._backend.settings.disk_types):
            return None
        return await self.choice(tenant, zone, name, field="boot_disk_type")

    async def offerings(self, tenant: Tenant, zone: Zone) -> list[DiskOffering]:
        """All that the zone offers, from memory for a short time."""

        async def fetch() -> list[DiskOffering]:
            found = await self._backend.every(
                tenant.credentials, "listDiskOfferings", "diskoffering", zoneid=zone.backend_id
            )
            return disk_offerings_of(found, await self._limits_gib(tenant))

        return await self._backend.remembered(tenant.credentials, f"disk offerings {zone.backend_id}", fetch)

    async def _limits_gib(self, tenant: Tenant) -> tuple[int, int]:
        """What CloudStack allows where the caller chooses. Source: `listCapabilities`."""

        async def fetch() -> tuple[int, int]:
            reply = await self._backend.call(tenant, "listCapabilities")
            row: Any = reply.get("capability")
            row = row if isinstance(row, Mapping) else {}
            low = number(row, "customdiskofferingminsize") or 1
            return low, max(low, number(row, "customdiskofferingmaxsize") or 1024)

        return await self._backend.remembered(tenant.credentials, "custom disk sizes", fetch)


def disk_offerings_of(found: Sequence[Row], limits_gib: tuple[int, int]) -> list[DiskOffering]:
    """Disk offering rows of one zone; those that are withdrawn, or fixed without a size, are left out."""
    names = shown(found)
    offerings = []
    for row in found:
        custom = flag(row, "iscustomized")
        gib = number(row, "disksize") or 0
        if text(row, "state").lower() == "inactive" or (not custom and gib <= 0):
            continue
        offerings.append(
            DiskOffering(
                backend_id=text(row, "id"),
                name=text(row, "name"),
                shown=names[text(row, "id")],
                description=text(row, "displaytext"),
                gib=None if custom else gib,
                limits_gib=limits_gib if custom else (gib, gib),
                created=time(row, "created"),
            )
        )
    return offerings


def choose(
    offerings: Sequence[DiskOffering], aliases: Mapping[str, str], name: str, zone: str, field: str = "type"
) -> DiskChoice:
    """
    The offering for a disk type's name.

    In this order: alias; an offering shown by the name; CloudStack's own name or id; for GCE's types, the first
    offering of a size that the caller chooses. :raises NotFound: no such disk type.
    """
    wanted = aliases.get(name, name)
    for key in ("shown", "name", "backend_id"):
        for item in offerings:
            if getattr(item, key) == wanted:
                return DiskChoice(name, item)
    message = f"There is no disk type {name!r} in zone {zone!r}"
    if is_any(name, aliases):
        for item in offerings:
            if item.gib is None:
                return DiskChoice(name, item)
        others = ", ".join(sorted(item.shown for item in offerings)) or "none"
        message += f": it has no disk offering of a custom size. Its disk types are: {others}"
    raise errors.NotFound(message, kind="disk_type", name=name, field=field)


def listed(offerings: Sequence[DiskOffering], aliases: Mapping[str, str], zone: str) -> list[DiskType]:
    """What a list shows: all offerings, and all names from the settings and of GCE that stand for one."""
    found = {item.shown: disk_type_of(DiskChoice(item.shown, item), zone) for item in offerings}
    for name in (*STANDARD_TYPES, *aliases):
        try:
            found[name] = disk_type_of(choose(offerings, aliases, name, zone), zone)
        except errors.NotFound:
            continue  # a name for what this zone does not have
    return [found[name] for name in sorted(found)]


def disk_type_of(choice: DiskChoice, zone: str) -> DiskType:
    """The disk type that stands for a choice."""
    item = choice.offering
    own = choice.name == item.shown
    low, high = item.limits_gib
    return DiskType(
        id=stable_id(item.backend_id if own else f"{item.backend_id}:{choice.name}"),
        backend_id=item.backend_id,
        name=choice.name,
        zone=zone,
        description=item.description or item.name,
        default_size_bytes=choice.gib_for(None) * GIB,
        minimum_bytes=low * GIB,
        maximum_bytes=high * GIB,
        created=item.created,
    )


def type_of(row: Row, asked: object, offerings: Sequence[DiskOffering], aliases: Mapping[str, str]) -> str:
    """
    The disk type to show for a volume's row; what was a machine's boot disk, and so has its storage, has the default.

    :param asked: what was asked for, if anything.
    """
    offering_id = text(row, "diskofferingid")
    made_with_machine = text(row, "type") == "ROOT" or bool(row.get("templateid"))
    if isinstance(asked, str) and asked:
        try:
            if choose(offerings, aliases, asked, "").offering.backend_id == offering_id:
                return asked
        except errors.NotFound:
            pass  # the operator has changed what there is
    for item in offerings:
        if item.backend_id == offering_id:
            return item.shown
    if made_with_machine:
        return asked if isinstance(asked, str) and is_any(asked, aliases) else DEFAULT_TYPE
    return slug(text(row, "diskofferingname")) or DEFAULT_TYPE


def is_any(name: str, aliases: Mapping[str, str]) -> bool:
    """Whether the name asks for no offering in particular: one of GCE's that the settings do not mention."""
    return name in STANDARD_TYPES and name not in aliases
