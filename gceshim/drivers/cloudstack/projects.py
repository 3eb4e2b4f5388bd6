"""The project as an object, and its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gceshim.drivers import base, errors
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.jobs import first
from gceshim.drivers.cloudstack.names import slug
from gceshim.drivers.cloudstack.rows import Row, number, text, time
from gceshim.model import Project, Quota, QuotaKind, Tenant, stable_id

#: The word that CloudStack puts before `limit` and `total`. Memory is in MiB, storage in GiB.
_WORDS: Final[Mapping[QuotaKind, str]] = {
    QuotaKind.INSTANCES: "vm",
    QuotaKind.VCPUS: "cpu",
    QuotaKind.MEMORY_MIB: "memory",
    QuotaKind.ADDRESSES: "ip",
    QuotaKind.DISKS: "volume",
    QuotaKind.DISK_GIB: "primarystorage",
    QuotaKind.SNAPSHOTS: "snapshot",
    QuotaKind.IMAGES: "template",
    QuotaKind.NETWORKS: "network",
    QuotaKind.VPCS: "vpc",
}


class Projects(base.Projects):
    """Implements `base.Projects`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def get(self, tenant: Tenant) -> Project:
        """The project, or the account. Source: `listProjects`, `listAccounts`."""
        return project_of(await self._row(tenant))

    async def quotas(self, tenant: Tenant) -> Sequence[Quota]:
        """The limits that CloudStack tells. Source: `*limit` and `*total` of `listProjects` and `listAccounts`."""
        return quotas_of(await self._row(tenant))

    async def _row(self, tenant: Tenant) -> Row:
        command, key = ("listProjects", "project") if tenant.project_id else ("listAccounts", "account")
        try:
            row = first(await self._backend.call(tenant, command, id=tenant.owner), key)
        except errors.Invalid as exc:
            raise errors.NotFound(exc.message, detail=exc.detail, kind="project", name=tenant.project) from exc
        if row is None:
            raise errors.NotFound(f"There is no project {tenant.project!r}", kind="project", name=tenant.project)
        return row


def project_of(row: Row) -> Project:
    """A project or account row as a project."""
    backend_id = text(row, "id")
    return Project(
        id=stable_id(backend_id),
        backend_id=backend_id,
        name=slug(text(row, "name")),
        description=text(row, "displaytext"),
        created=time(row, "created"),
    )


def quotas_of(row: Row) -> list[Quota]:
    """The limits in a project or account row; one that the row does not have is left out."""
    found = []
    for kind, word in _WORDS.items():
        if row.get(f"{word}limit") is None:
            continue
        limit = number(row, f"{word}limit")  # "Unlimited" is None
        found.append(Quota(kind, None if limit is not None and limit < 0 else limit, number(row, f"{word}total")))
    return found
