"""The project as an object, and its limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from gceshim.drivers import base, errors
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.identity import Identity, project_names
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

#: Of projects `Active`, of accounts `enabled`. Source: `Project.State`, `Account.State`.
_ACTIVE: Final = frozenset({"active", "enabled", ""})


class Projects(base.Projects):
    """Implements `base.Projects`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._identity = Identity(backend)

    async def get(self, tenant: Tenant) -> Project:
        """The project, or the account. Source: `listProjects`, `listAccounts`."""
        row = await self._row(tenant)
        if tenant.project_id is None:
            return project_of(row)
        account = await self._identity.account(tenant.credentials)
        names = project_names(account, await self._identity.projects(tenant.credentials))
        return project_of(row, names.get(text(row, "id")))

    async def list(self, tenant: Tenant) -> Sequence[Project]:
        """The account and its projects. Source: `listAccounts` once in a while, `listProjects` each time."""
        credentials = tenant.credentials
        account = await self._identity.account(credentials)
        own = await self._backend.remembered(credentials, "own project", lambda: self._own(tenant, account.backend_id))
        found = await self._identity.projects(credentials, fresh=True)
        names = project_names(account, found)
        projects = [project_of(row, names[text(row, "id")]) for row in found]
        return [own, *sorted(projects, key=lambda project: project.name)]

    async def quotas(self, tenant: Tenant) -> Sequence[Quota]:
        """The limits that CloudStack tells. Source: `*limit` and `*total` of `listProjects` and `listAccounts`."""
        return quotas_of(await self._row(tenant))

    async def _own(self, tenant: Tenant, account_id: str) -> Project:
        return project_of(await self._row(dataclasses.replace(tenant, owner=account_id, project_id=None)))

    async def _row(self, tenant: Tenant) -> Row:
        command, key = ("listProjects", "project") if tenant.project_id else ("listAccounts", "account")
        try:
            row = first(await self._backend.call(tenant, command, id=tenant.owner), key)
        except errors.Invalid as exc:
            raise errors.NotFound(exc.message, detail=exc.detail, kind="project", name=tenant.project) from exc
        if row is None:
            raise errors.NotFound(f"There is no project {tenant.project!r}", kind="project", name=tenant.project)
        return row


def project_of(row: Row, name: str | None = None) -> Project:
    """A project or account row as a project; by its own name where it is shown by no other."""
    backend_id = text(row, "id")
    return Project(
        id=stable_id(backend_id),
        backend_id=backend_id,
        name=name or slug(text(row, "name")),
        description=text(row, "displaytext"),
        created=time(row, "created"),
        active=text(row, "state").lower() in _ACTIVE,
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
