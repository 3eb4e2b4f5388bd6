"""
Finding volumes by the names that disks have.

A boot disk is called as its machine is. Where two disks of a zone would have one name, it goes to the first of: a disk
made here, whose name was free then; the boot disk of a machine of just that name; a volume of just that name; the boot
disk of a machine whose name was made; any other volume. Of two alike the older goes first. Each other one carries `-`
and the first 8 hex digits of its id.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.machines import Machines
from gceshim.drivers.cloudstack.names import answers_to, is_label, pick, shown, slug, suffixed
from gceshim.drivers.cloudstack.networks import Networks
from gceshim.drivers.cloudstack.rows import Row, age_key, rows, tags, text
from gceshim.drivers.cloudstack.tags import decode, tag_filter
from gceshim.drivers.cloudstack.vms import made_by
from gceshim.model import Tenant, Zone

_LIST: Final = "listVolumes"
_KEY: Final = "volume"
_GONE: Final = frozenset({"Destroy", "Destroying", "Expunging", "Expunged"})
_MOST_REMEMBERED: Final = 10_000
#: The reserved tag with the name that a disk was given here. It means nothing once CloudStack calls it otherwise.
NAME_MARK: Final = "disk-name"
_MADE_HERE: Final = 0
_BOOT: Final = 1
_OWN: Final = 2
_SLUGGED_BOOT: Final = 3
_SLUGGED: Final = 4


class Volumes:
    """Volume rows of one tenant, by id and by the name of the disk."""

    def __init__(self, backend: Backend, machines: Machines, networks: Networks) -> None:
        self._backend = backend
        self._machines = machines
        self._networks = networks
        self._ids: OrderedDict[tuple[str, str, str], str] = OrderedDict()

    async def by_id(self, tenant: Tenant, backend_id: str) -> Row | None:
        """One volume of the tenant by CloudStack's id; None where there is none (any more)."""
        try:
            reply = await self._backend.owned(tenant, _LIST, id=backend_id)
        except (errors.Invalid, errors.Forbidden):
            return None  # never was, or is somebody else's
        for row in rows(reply, _KEY):
            if text(row, "projectid") == (tenant.project_id or "") and is_there(row):
                return row
        return None

    async def of_machine(self, tenant: Tenant, vm_id: str) -> list[Row]:
        """All volumes of one machine."""
        return await self._backend.every_owned(tenant, _LIST, _KEY, virtualmachineid=vm_id)

    async def beside(self, tenant: Tenant, zone: Zone | None, *, start: int = 0) -> list[Row]:
        """
        All data volumes, attached or not, for a page of machines; with the root volumes where they fit into one call.

        That they do not is remembered for a short time.
        :param start: how many machines there are before the page: as many root volumes at least.
        """
        zone_id = zone.backend_id if zone else None
        kind = f"more volumes than a page {zone_id or ''}"
        size = self._backend.settings.page_size
        if start < size and not self._backend.held(tenant, kind):
            reply = await self._backend.owned(tenant, _LIST, zoneid=zone_id, page=1, pagesize=size)
            found, count = rows(reply, _KEY), reply.get("count")
            if (count <= len(found)) if isinstance(count, int) else (len(found) < size):
                return found
            self._backend.remember(tenant, kind, True)
        return await self._backend.every_owned(tenant, _LIST, _KEY, type="DATADISK", zoneid=zone_id)

    async def named(self, tenant: Tenant, zone_id: str, name: str) -> list[Row]:
        """The volumes that CloudStack calls just so and that are no boot disks, the oldest first."""
        reply = await self._backend.owned(tenant, _LIST, name=name, zoneid=zone_id)
        found = [row for row in rows(reply, _KEY) if text(row, "name") == name]
        return sorted((row for row in found if is_there(row) and not is_boot(row)), key=age_key)

    async def by_name(self, tenant: Tenant, zone: Zone, name: str) -> Row | None:
        """
        One volume by the name it is shown by, or its numeric id.

        One call for a disk that was made here, up to three for a name that CloudStack has too. Any other is looked for
        in the whole zone, unless it was found before; what was found before is checked.
        """
        if is_label(name):
            row = await self._exact(tenant, zone, name)
            if row is not None:
                return row
        key = (tenant.owner, zone.backend_id, name)
        held = self._ids.get(key)
        if held is not None:
            self._ids.move_to_end(key)
            row = await self.by_id(tenant, held)
            if row is not None and await self.name(tenant, row) == name:
                return row
            if row is not None and name.isdigit() and answers_to(row, name):
                return row
            del self._ids[key]
        found = await self._scan(tenant, zone, name)
        if found is None:
            return None
        self._ids[key] = text(found, "id")
        while len(self._ids) > _MOST_REMEMBERED:
            self._ids.popitem(last=False)
        return await self.by_id(tenant, text(found, "id"))

    async def is_taken(self, tenant: Tenant, zone_id: str, name: str, *, boot_disks: bool = True) -> bool:
        """Whether a disk made now could not have this name. :param boot_disks: look at these too."""
        if await self.named(tenant, zone_id, name):
            return True
        return boot_disks and await self._boot_disk(tenant, zone_id, name) is not None

    async def page(
        self, tenant: Tenant, zone: Zone | None, *, page: int, page_size: int, labels: Mapping[str, str] | None = None
    ) -> tuple[list[Row], bool]:
        """One page, the latest first, of those with a label if any are given, and whether more follow."""
        found, more = await self._backend.part(
            tenant,
            _LIST,
            _KEY,
            start=(page - 1) * page_size,
            length=page_size,
            zoneid=zone.backend_id if zone else None,
            **tag_filter(labels),
        )
        return [row for row in found if is_there(row)], more

    async def name(self, tenant: Tenant, row: Row) -> str:
        """The name to show for one volume."""
        return (await self.names(tenant, [row]))[text(row, "id")]

    async def names(self, tenant: Tenant, found: Sequence[Row], *, whole: bool = False) -> dict[str, str]:
        """
        The names to show for the rows of one page, by id.

        :param whole: there is nothing beyond the page. Else the whole zone is looked through, once in a short time,
            unless all that is on the page was made here.
        """
        names: dict[str, str] = {}
        for zone_id in {text(row, "zoneid") for row in found}:
            here = [row for row in found if text(row, "zoneid") == zone_id]
            if not whole and all(is_made_here(row) for row in here):
                names.update({text(row, "id"): text(row, "name") for row in here})
                continue
            short = await self._short(tenant, zone_id, here)
            if not whole:
                known = {text(row, "id") for row in here}
                crowded = await self._crowded(tenant, zone_id)
                for base in {text(row, "name") for row in short}:
                    short += [row for row in crowded.get(base, ()) if text(row, "id") not in known]
            names.update(shown(short, order=_order))
        return names

    async def users(self, tenant: Tenant, found: Sequence[Row]) -> dict[str, str]:
        """The names of the machines that have the volumes, by CloudStack's id of the machine."""
        names: dict[str, str] = {}
        for zone_id in {text(row, "zoneid") for row in found}:
            own = {
                text(row, "virtualmachineid"): text(row, "vmname")
                for row in found
                if text(row, "zoneid") == zone_id and row.get("virtualmachineid")
            }
            simple = bool(await self._networks.simple_zones(tenant, [zone_id])) if own else True
            names.update(await self._machines.names_by_id(tenant, zone_id, own, simple=simple))
        return names

    async def boot_names(
        self, tenant: Tenant, found: Sequence[tuple[Row, str]], volumes: Sequence[Row], *, whole: bool
    ) -> dict[str, str]:
        """
        The names of those boot disks that have not their machine's, because a data disk has it, by the machine's id.

        :param found: machines, and their names as they are shown. :param volumes: rows that were read anyhow.
        :param whole: all data volumes of the machines' zones are among them; else they are read, once in a short time.
        """
        names: dict[str, str] = {}
        by_zone: dict[str, Mapping[str, int]] = {}
        for vm, name in found:
            if made_by(vm):
                continue  # no disk had the name then, and none could take it since
            zone_id = text(vm, "zoneid")
            if zone_id not in by_zone:
                claimed = await self._claims(volumes, zone_id) if whole else await self._claimed(tenant, zone_id)
                by_zone[zone_id] = claimed
            order = _BOOT if text(vm, "name") == name else _SLUGGED_BOOT
            if by_zone[zone_id].get(name, order) < order:
                root = await self._root(tenant, text(vm, "id"), volumes)
                names[text(vm, "id")] = suffixed(name, text(root, "id")) if root else name
        return names

    async def _root(self, tenant: Tenant, vm_id: str, known: Sequence[Row]) -> Row | None:
        known = [row for row in known if text(row, "virtualmachineid") == vm_id and is_boot(row)]
        return next(iter(known or [row for row in await self.of_machine(tenant, vm_id) if is_boot(row)]), None)

    async def _exact(self, tenant: Tenant, zone: Zone, name: str) -> Row | None:
        same = await self.named(tenant, zone.backend_id, name)
        marked = [row for row in same if is_made_here(row)]
        if marked:
            return marked[0]
        return await self._boot_disk(tenant, zone.backend_id, name) or (same[0] if same else None)

    async def _boot_disk(self, tenant: Tenant, zone_id: str, name: str) -> Row | None:
        """The boot disk of the machine that CloudStack calls just so."""
        vms = await self._machines.named(tenant, zone_id, name)
        if not vms:
            return None
        reply = await self._backend.owned(tenant, _LIST, virtualmachineid=text(vms[0], "id"), type="ROOT")
        return next((row for row in rows(reply, _KEY) if is_there(row) and is_boot(row)), None)

    async def _scan(self, tenant: Tenant, zone: Zone, name: str) -> Row | None:
        matches: list[Row] = []
        async for page in self._all(tenant, zone.backend_id):
            matches += [row for row in await self._short(tenant, zone.backend_id, page) if answers_to(row, name)]
        return pick(matches, name, order=_order)

    async def _crowded(self, tenant: Tenant, zone_id: str) -> Mapping[str, Sequence[Row]]:
        """What shares its name with others in the zone, by that name, from memory for a short time."""

        async def fetch() -> Mapping[str, Sequence[Row]]:
            found: dict[str, list[Row]] = {}
            async for page in self._all(tenant, zone_id):
                for row in await self._short(tenant, zone_id, page):
                    found.setdefault(text(row, "name"), []).append(row)
            return {name: same for name, same in found.items() if len(same) > 1}

        return await self._backend.remembered(tenant, f"crowded disk names {zone_id}", fetch)

    async def _claimed(self, tenant: Tenant, zone_id: str) -> Mapping[str, int]:
        """As `_claims`, from memory for a short time."""

        async def fetch() -> Mapping[str, int]:
            found = await self._backend.every_owned(tenant, _LIST, _KEY, type="DATADISK", zoneid=zone_id)
            return await self._claims(found, zone_id)

        return await self._backend.remembered(tenant, f"claimed disk names {zone_id}", fetch)

    async def _claims(self, found: Sequence[Row], zone_id: str) -> dict[str, int]:
        """The names that data disks of a zone claim, and how well."""
        claimed: dict[str, int] = {}
        data = [row for row in found if text(row, "zoneid") == zone_id and is_there(row) and not is_boot(row)]
        for name, order in await self._backend.pace.map(_claim, data):
            claimed[name] = min(claimed.get(name, _SLUGGED), order)
        return claimed

    async def _short(self, tenant: Tenant, zone_id: str, found: Sequence[Row]) -> list[Row]:
        """What decides on the names of a zone's volumes: id, name as it would be alone, time, and who goes first."""
        users = await self.users(tenant, [row for row in found if is_boot(row)])
        await self._backend.pace.turn(found)
        short: list[Row] = []
        for row in found:
            if not is_there(row):
                continue
            own = text(row, "vmname") if is_boot(row) else text(row, "name")
            name = users.get(text(row, "virtualmachineid"), "") if is_boot(row) else slug(own)
            order = (_BOOT if own == name else _SLUGGED_BOOT) if is_boot(row) else _data_order(row)
            short.append({"id": text(row, "id"), "name": name, "created": row.get("created"), "order": order})
        return short

    def _all(self, tenant: Tenant, zone_id: str) -> AsyncIterator[list[Row]]:
        return self._backend.pages(tenant.credentials, _LIST, _KEY, projectid=tenant.project_id, zoneid=zone_id)


def is_boot(row: Row) -> bool:
    """Whether a machine boots from the volume."""
    return text(row, "type") == "ROOT" and bool(row.get("virtualmachineid"))


def is_there(row: Row) -> bool:
    """Whether it is there as GCE sees it: neither destroyed nor a destroyed machine's."""
    return text(row, "state") not in _GONE and text(row, "vmstate") not in ("Destroyed", "Expunging")


def is_made_here(row: Row) -> bool:
    """Whether the disk was given its name here."""
    return not is_boot(row) and decode(tags(row))[1].get(NAME_MARK) == text(row, "name") != ""


def _claim(row: Row) -> tuple[str, int]:
    return slug(text(row, "name")), _data_order(row)


def _data_order(row: Row) -> int:
    if is_made_here(row):
        return _MADE_HERE
    return _OWN if is_label(text(row, "name")) else _SLUGGED


def _order(row: Row) -> int:
    order = row["order"]
    return order if isinstance(order, int) else _SLUGGED
