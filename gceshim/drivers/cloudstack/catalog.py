"""Machine types: service offerings under their names, aliases from settings, and sizes on custom offerings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gceshim.drivers import base, errors
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.locations import Locations
from gceshim.drivers.cloudstack.names import shown
from gceshim.drivers.cloudstack.predefined import Size, custom_name, size_of
from gceshim.drivers.cloudstack.rows import Row, flag, number, text, time
from gceshim.model import MachineType, Tenant, Zone, stable_id


@dataclass(frozen=True, slots=True)
class Offering:
    """
    A service offering. `shown` is its GCE name.

    Custom ones have no sizes of their own; where they are constrained, `vcpus_range` and `memory_mib_range` say so.
    """

    backend_id: str
    name: str
    shown: str
    description: str
    vcpus: int | None
    memory_mib: int | None
    created: datetime | None
    custom: bool
    clock_mhz: int | None = None
    vcpus_range: tuple[int, int] | None = None
    memory_mib_range: tuple[int, int] | None = None
    root_disk_gib: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The offering for a machine type, with the sizes it is to be given where it is custom."""

    name: str
    offering: Offering
    vcpus: int
    memory_mib: int


class Catalog(base.Catalog):
    """Implements `base.Catalog`."""

    def __init__(self, backend: Backend, locations: Locations) -> None:
        self._backend = backend
        self._locations = locations

    async def machine_types(self, tenant: Tenant, zone: str) -> Sequence[MachineType]:
        """The zone's fixed offerings and the aliases, by name. Source: `listServiceOfferings`."""
        where = await self._locations.zone(tenant, zone)
        return listed(await self.offerings(tenant, where), self._backend.settings.machine_types, where.name)

    async def machine_type(self, tenant: Tenant, zone: str, name: str) -> MachineType:
        """By name, alias, GCE's predefined name, custom size or numeric id."""
        where = await self._locations.zone(tenant, zone)
        if name.isdigit():
            for found in await self.machine_types(tenant, zone):
                if str(found.id) == name:
                    return found
            raise _no_such(name, where.name)
        return machine_type_of(await self.choice(tenant, where, name), where.name)

    async def choice(self, tenant: Tenant, zone: Zone, name: str) -> Choice:
        """
        The offering behind a machine type's name.

        :raises NotFound: no such machine type. :raises Invalid: a custom size outside what can be had.
        """
        found = await self.offerings(tenant, zone)
        return choose(found, self._backend.settings.machine_types, name, zone.name)

    async def offerings(self, tenant: Tenant, zone: Zone) -> list[Offering]:
        """All that the zone offers, from memory for a short time."""

        async def fetch() -> list[Offering]:
            found = await self._backend.every(
                tenant.credentials, "listServiceOfferings", "serviceoffering", zoneid=zone.backend_id
            )
            return offerings_of(found)

        return await self._backend.remembered(tenant.credentials, f"offerings {zone.backend_id}", fetch)


def offerings_of(found: Sequence[Row]) -> list[Offering]:
    """Service offering rows of one zone; one that is fixed but tells no size is left out."""
    names = shown(found)
    offerings = []
    for row in found:
        details = row.get("serviceofferingdetails")
        details = details if isinstance(details, Mapping) else {}
        custom = flag(row, "iscustomized")
        vcpus, memory_mib = number(row, "cpunumber"), number(row, "memory")
        if text(row, "state").lower() == "inactive" or (not custom and (vcpus is None or memory_mib is None)):
            continue
        offerings.append(
            Offering(
                backend_id=text(row, "id"),
                name=text(row, "name"),
                shown=names[text(row, "id")],
                description=text(row, "displaytext"),
                vcpus=vcpus,
                memory_mib=memory_mib,
                created=time(row, "created"),
                custom=custom,
                clock_mhz=number(row, "cpuspeed"),
                vcpus_range=_range(details, "mincpunumber", "maxcpunumber"),
                memory_mib_range=_range(details, "minmemory", "maxmemory"),
                root_disk_gib=number(row, "rootdisksize") or None,
            )
        )
    return offerings


def listed(offerings: Sequence[Offering], aliases: Mapping[str, str], zone: str) -> list[MachineType]:
    """What a list shows: fixed offerings, and aliases whose offering is fixed or whose name says a size."""
    found = {
        item.shown: machine_type_of(Choice(item.shown, item, item.vcpus or 0, item.memory_mib or 0), zone)
        for item in offerings
        if not item.custom
    }
    for alias in aliases:
        try:
            found[alias] = machine_type_of(choose(offerings, aliases, alias, zone), zone)
        except (errors.NotFound, errors.Invalid):
            continue  # an alias for what this zone does not have
    return [found[name] for name in sorted(found)]


def choose(offerings: Sequence[Offering], aliases: Mapping[str, str], name: str, zone: str) -> Choice:
    """
    The offering for a machine type's name.

    In this order: alias; an offering shown by the name; CloudStack's own name or id; a size that the name says, on a
    fixed offering of just that size (unless the caller chose the size) or else on a custom one.
    :raises NotFound: no such machine type. :raises Invalid: a size that no custom offering can give.
    """
    size = size_of(name)
    wanted = aliases.get(name, name)
    for key in ("shown", "name", "backend_id"):
        for item in offerings:
            if getattr(item, key) != wanted:
                continue
            if not item.custom:
                return Choice(name, item, item.vcpus or 0, item.memory_mib or 0)
            if size is not None:
                _check_size([item], size, name)
                return Choice(name, item, size.vcpus, size.memory_mib)
    if size is None or wanted != name:
        raise _no_such(name, zone)
    if not size.chosen:
        for item in offerings:
            if (item.vcpus, item.memory_mib, item.custom) == (size.vcpus, size.memory_mib, False):
                return Choice(name, item, size.vcpus, size.memory_mib)
    custom = [item for item in offerings if item.custom]
    if not custom:
        raise _no_such(name, zone)
    return Choice(name, _check_size(custom, size, name), size.vcpus, size.memory_mib)


def machine_type_of(choice: Choice, zone: str) -> MachineType:
    """The machine type that stands for a choice."""
    item = choice.offering
    own = choice.name == item.shown
    return MachineType(
        id=stable_id(item.backend_id if own else f"{item.backend_id}:{choice.name}"),
        backend_id=item.backend_id,
        name=choice.name,
        zone=zone,
        description=item.description or item.name,
        vcpus=choice.vcpus,
        memory_mib=choice.memory_mib,
        created=item.created,
        custom=item.custom,
    )


def name_of(
    offerings: Sequence[Offering],
    aliases: Mapping[str, str],
    asked: str,
    *,
    backend_id: str,
    vcpus: int,
    memory_mib: int,
) -> str:
    """
    The machine type to show for a machine: the one asked for while it still means this offering and these sizes.

    :param asked: the name that was asked for, or "". :returns: "" where the offering is not in the list.
    """
    if asked:
        try:
            choice = choose(offerings, aliases, asked, "")
        except (errors.NotFound, errors.Invalid):
            choice = None
        if choice and (choice.offering.backend_id, choice.vcpus, choice.memory_mib) == (backend_id, vcpus, memory_mib):
            return asked
    for item in offerings:
        if item.backend_id == backend_id:
            return custom_name(vcpus, memory_mib) if item.custom else item.shown
    return ""


def _check_size(offerings: Sequence[Offering], size: Size, name: str) -> Offering:
    """The first of the custom offerings that allows the size."""
    reasons = []
    for item in offerings:
        reason = _objection(item, size)
        if not reason:
            return item
        reasons.append(reason)
    raise errors.Invalid(
        f"Machine type {name!r} cannot be had: {'; or '.join(dict.fromkeys(reasons))}",
        kind="machine_type",
        name=name,
        field="machine_type",
    )


def _objection(item: Offering, size: Size) -> str:
    """What is wrong with the size, or ""."""
    if item.vcpus_range and not item.vcpus_range[0] <= size.vcpus <= item.vcpus_range[1]:
        return f"the number of vCPUs must be from {item.vcpus_range[0]} to {item.vcpus_range[1]}"
    if item.memory_mib_range and not item.memory_mib_range[0] <= size.memory_mib <= item.memory_mib_range[1]:
        return f"memory must be from {item.memory_mib_range[0]} to {item.memory_mib_range[1]} MiB"
    if size.chosen and not item.vcpus_range and size.vcpus != 1 and size.vcpus % 2:
        return "the number of vCPUs must be 1 or even"
    if size.chosen and not item.memory_mib_range and size.memory_mib % 256:
        return "memory must be a multiple of 256 MiB"
    return ""


def _range(details: Row, low: str, high: str) -> tuple[int, int] | None:
    bottom, top = number(details, low), number(details, high)
    return (bottom or 1, top) if top is not None else None


def _no_such(name: str, zone: str) -> errors.NotFound:
    return errors.NotFound(
        f"There is no machine type {name!r} in zone {zone!r}", kind="machine_type", name=name, field="machine_type"
    )
