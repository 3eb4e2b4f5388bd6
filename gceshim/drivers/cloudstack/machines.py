"""Finding virtual machines by the names that instances have."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Final

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.names import answers_to, is_label, pick, shown, slug, split
from gceshim.drivers.cloudstack.rows import Row, age_key, rows, text
from gceshim.drivers.cloudstack.tags import tag_filter
from gceshim.model import Tenant, Zone

_LIST: Final = "listVirtualMachines"
_KEY: Final = "virtualmachine"
#: What an instance is made of; statistics are left out, as they are slow to gather.
_FULL: Final = "nics,servoff"
#: Machines that were destroyed and not expunged are gone, as GCE sees it.
_PRESENT: Final = "Present"
_MOST_REMEMBERED: Final = 10_000


class Machines:
    """Virtual machine rows of one tenant, by id and by name."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._ids: OrderedDict[tuple[str, str, str], str] = OrderedDict()

    async def by_id(self, tenant: Tenant, backend_id: str) -> Row | None:
        """One machine of the tenant by CloudStack's id; None where there is none (any more)."""
        try:
            reply = await self._backend.owned(tenant, _LIST, id=backend_id, state=_PRESENT, details=_FULL)
        except (errors.Invalid, errors.Forbidden):
            return None  # never was, or is somebody else's
        for row in rows(reply, _KEY):
            if text(row, "projectid") == (tenant.project_id or ""):
                return row
        return None

    async def by_name(self, tenant: Tenant, zone: Zone, name: str) -> Row | None:
        """
        One machine by the name it is shown by, or its numeric id.

        One call for a name that CloudStack has too. Any other is looked for in the whole zone, unless it was found
        before; what was found before is checked.
        """
        if is_label(name):
            same = await self.named(tenant, zone.backend_id, name)
            if same:
                return same[0]
        key = (tenant.owner, zone.backend_id, name)
        held = self._ids.get(key)
        if held is not None:
            self._ids.move_to_end(key)
            row = await self.by_id(tenant, held)
            if row is not None and answers_to(row, name) and text(row, "zoneid") == zone.backend_id:
                return row
            del self._ids[key]
        parts = split(name)
        if parts is not None:
            for row in (await self.named(tenant, zone.backend_id, parts[0]))[1:]:
                if answers_to(row, name):
                    return row
        found = await self._scan(tenant, zone, name)
        if found is None:
            return None
        self._ids[key] = text(found, "id")
        while len(self._ids) > _MOST_REMEMBERED:
            self._ids.popitem(last=False)
        return await self.by_id(tenant, text(found, "id"))

    async def is_taken(self, tenant: Tenant, zone: Zone, name: str) -> bool:
        """
        Whether a new machine cannot have the name. One call: a valid name goes before those made up from others, so
        only the machines that CloudStack calls so, or those that carry a suffix, have it already.
        """
        if await self.named(tenant, zone.backend_id, name):
            return True
        parts = split(name)
        same = await self.named(tenant, zone.backend_id, parts[0]) if parts else []
        return any(answers_to(row, name) for row in same[1:])

    async def page(
        self, tenant: Tenant, zone: Zone | None, *, page: int, page_size: int, labels: Mapping[str, str] | None = None
    ) -> tuple[list[Row], bool]:
        """One page in the order of making, of those with a label if any are given, and whether more follow."""
        return await self._backend.part(
            tenant,
            _LIST,
            _KEY,
            start=(page - 1) * page_size,
            length=page_size,
            zoneid=zone.backend_id if zone else None,
            state=_PRESENT,
            details=_FULL,
            **tag_filter(labels),
        )

    async def names(
        self, tenant: Tenant, found: Sequence[Row], *, whole: bool = False, simple: Collection[str] = ()
    ) -> dict[str, str]:
        """
        The names to show for the rows of one page, by id.

        :param whole: there is nothing beyond the page. :param simple: the ids of zones where nothing beyond the page
            can share a valid name with what is on it. In any other, and where names are made up, the whole zone is
            looked through, once in a short time.
        """
        names: dict[str, str] = {}
        for zone_id in {text(row, "zoneid") for row in found}:
            here = [row for row in found if text(row, "zoneid") == zone_id]
            if not whole and (zone_id not in simple or any(not is_label(text(row, "name")) for row in here)):
                known = {text(row, "id") for row in here}
                crowded = await self._crowded(tenant, zone_id)
                for base in {slug(text(row, "name")) for row in here}:
                    here += [row for row in crowded.get(base, ()) if text(row, "id") not in known]
            names.update(shown(here))
        return names

    async def names_by_id(
        self, tenant: Tenant, zone_id: str, own: Mapping[str, str], *, simple: bool = False
    ) -> dict[str, str]:
        """
        The names to show for machines of one zone of which only CloudStack's names are known, by id.

        :param own: CloudStack's names, by id. :param simple: as for `names`.
        """
        if not own or (simple and all(is_label(name) for name in own.values())):
            return dict(own)
        crowded = await self._crowded(tenant, zone_id)
        names: dict[str, str] = {}
        for base in {slug(name) for name in own.values()}:
            names.update(shown(crowded.get(base, ())))
        return {vm_id: names.get(vm_id) or slug(name) for vm_id, name in own.items()}

    async def _crowded(self, tenant: Tenant, zone_id: str) -> Mapping[str, Sequence[Row]]:
        """What shares its name with others in the zone, by that name, from memory for a short time."""

        async def fetch() -> Mapping[str, Sequence[Row]]:
            found: dict[str, list[Row]] = {}
            async for page in self._all(tenant, zone_id):
                for row in page:
                    short = {key: row[key] for key in ("id", "name", "created") if key in row}
                    found.setdefault(slug(text(row, "name")), []).append(short)
            return {name: same for name, same in found.items() if len(same) > 1}

        return await self._backend.remembered(tenant, f"crowded names {zone_id}", fetch)

    async def everywhere(self, tenant: Tenant, name: str) -> list[tuple[Row, str]]:
        """The machines of exactly this shown name, at most one in each zone, with that name."""
        found: dict[str, Row] = {}
        if is_label(name):
            reply = await self._backend.owned(tenant, _LIST, name=name, state=_PRESENT, details=_FULL)
            for row in sorted(rows(reply, _KEY), key=age_key):
                if text(row, "name") == name:
                    found.setdefault(text(row, "zoneid"), row)
        if not found:
            by_zone: dict[str, list[Row]] = {}
            async for page in self._all(tenant, None):
                for row in page:
                    if answers_to(row, name):
                        by_zone.setdefault(text(row, "zoneid"), []).append(row)
            for zone_id, matches in by_zone.items():
                chosen = pick(matches, name)
                full = await self.by_id(tenant, text(chosen, "id")) if chosen else None
                if full is not None:
                    found[zone_id] = full
        return [(row, name) for row in found.values()]

    async def named(self, tenant: Tenant, zone_id: str, name: str) -> list[Row]:
        """The machines that CloudStack calls just so, the oldest first."""
        reply = await self._backend.owned(tenant, _LIST, name=name, zoneid=zone_id, state=_PRESENT, details=_FULL)
        return sorted((row for row in rows(reply, _KEY) if text(row, "name") == name), key=age_key)

    async def _scan(self, tenant: Tenant, zone: Zone, name: str) -> Row | None:
        matches: list[Row] = []
        async for page in self._all(tenant, zone.backend_id):
            matches += [row for row in page if answers_to(row, name)]
        return pick(matches, name)

    def _all(self, tenant: Tenant, zone_id: str | None) -> AsyncIterator[list[Row]]:
        return self._backend.pages(
            tenant.credentials,
            _LIST,
            _KEY,
            projectid=tenant.project_id,
            zoneid=zone_id,
            state=_PRESENT,
            details="min",
        )
