"""What the capabilities share: the transport, the cache and the settings, and the ways to read lists."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

from gceshim.drivers.cloudstack.cache import Cache
from gceshim.drivers.cloudstack.rows import Row, rows
from gceshim.drivers.cloudstack.settings import Settings
from gceshim.drivers.cloudstack.transport import Transport
from gceshim.model import Credentials, Tenant
from gceshim.pace import Pace

T = TypeVar("T")
log = logging.getLogger(__name__)

MOST_ROWS: Final = 5000


class Backend:
    """CloudStack as the capabilities see it."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self.settings = settings
        self.transport = transport
        self.pace = Pace()
        self._cache = Cache(settings.cache_seconds)

    async def call(self, tenant: Tenant, command: str, /, **params: object) -> dict[str, Any]:
        """One command with the tenant's keys. Errors as `Transport.call`."""
        return await self.transport.call(tenant.credentials, command, **params)

    async def owned(self, tenant: Tenant, command: str, /, **params: object) -> dict[str, Any]:
        """One command about the objects of the tenant's project, or of their own account."""
        return await self.transport.call(tenant.credentials, command, projectid=tenant.project_id, **params)

    async def every(self, credentials: Credentials, command: str, key: str, /, **params: object) -> list[Row]:
        """All rows of a list that is short by nature; the first 5,000, with a warning in the log, if it is not."""
        found: list[Row] = []
        async for page in self.pages(credentials, command, key, **params):
            found.extend(page)
            if len(found) >= MOST_ROWS:
                log.warning("%s has more than %d rows; the rest is not shown", command, MOST_ROWS)
                break
        return found

    async def every_owned(self, tenant: Tenant, command: str, key: str, /, **params: object) -> list[Row]:
        """As `every`, of the tenant's project or account."""
        return await self.every(tenant.credentials, command, key, projectid=tenant.project_id, **params)

    async def pages(
        self, credentials: Credentials, command: str, key: str, /, **params: object
    ) -> AsyncIterator[list[Row]]:
        """The pages of a list, one call each, until it ends."""
        page = 1
        seen = 0
        while True:
            size = self.settings.page_size
            reply = await self.transport.call(credentials, command, page=page, pagesize=size, **params)
            found = rows(reply, key)
            seen += len(found)
            if found:
                yield found
            count = reply.get("count")
            if len(found) < size or (isinstance(count, int) and seen >= count):
                return
            page += 1

    async def part(
        self, tenant: Tenant, command: str, key: str, /, *, start: int, length: int, **params: object
    ) -> tuple[list[Row], bool]:
        """
        `length` rows of a list of the tenant's, from number `start` (0-based) on, and whether more follow.

        One call where `length` is within what CloudStack gives at once and `start` a multiple of it.
        """
        limit = min(length, self.settings.page_size)
        found: list[Row] = []
        page = start // limit + 1
        skip = start % limit
        while True:
            reply = await self.owned(tenant, command, page=page, pagesize=limit, **params)
            part = rows(reply, key)
            found += part[skip:] if page == start // limit + 1 else part
            count = reply.get("count")
            more = count > page * limit if isinstance(count, int) and part else len(part) == limit
            if not more or len(found) >= length:
                return found[:length], more or len(found) > length
            page += 1

    async def remembered(
        self, tenant: Credentials | Tenant, kind: str, fetch: Callable[[], Awaitable[T]], *, fresh: bool = False
    ) -> T:
        """What `fetch` gives, from memory for a short time; apart for each key pair and, for a tenant, project."""
        return await self._cache.get(_key(tenant, kind), fetch, fresh=fresh)

    def held(self, tenant: Credentials | Tenant, kind: str) -> Any | None:
        """What that memory holds now."""
        return self._cache.held(_key(tenant, kind))

    def remember(self, tenant: Credentials | Tenant, kind: str, value: object) -> None:
        """Put what was just learned into that memory."""
        self._cache.put(_key(tenant, kind), value)

    def forget(self, tenant: Credentials | Tenant, kind: str) -> None:
        """What that memory holds is no longer true."""
        self._cache.forget(_key(tenant, kind))

    async def close(self) -> None:
        """End what is under way and give back threads and connections."""
        await self._cache.close()
        await self.transport.close()


def _key(tenant: Credentials | Tenant, kind: str) -> tuple[str, str, str]:
    credentials = tenant.credentials if isinstance(tenant, Tenant) else tenant
    project = (tenant.project_id or "") if isinstance(tenant, Tenant) else ""
    digest = hashlib.sha256(f"{credentials.api_key}\0{credentials.secret_key}".encode()).hexdigest()
    return (digest, project, kind)
