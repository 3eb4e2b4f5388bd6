"""
What stands in the way of a change of master keys: servers that do not know a key yet, and records that need an old one.

Source of what is alive: the servers' own documents in the store (`gceshim.stores.servers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gceshim.auth.keyring import KeyRing
from gceshim.stores.base import KeyUse, Store
from gceshim.stores.servers import Server, alive


class Rotation:
    """:param store: open. :param ring: as the key file has it now. :param now: the time of looking."""

    def __init__(self, store: Store, ring: KeyRing, now: datetime) -> None:
        self._store = store
        self._ring = ring
        self._now = now

    async def unready(self) -> Sequence[Server]:
        """The servers that would not read what the next key seals. :raises StoreError:"""
        following = self._ring.following
        servers = await alive(self._store.documents, self._now)
        return [server for server in servers if following is not None and following.id not in server.keys]

    async def behind(self) -> Sequence[Server]:
        """The servers that still make things with another key than the current one. :raises StoreError:"""
        servers = await alive(self._store.documents, self._now)
        return [server for server in servers if server.keys[0] != self._ring.current.id]

    async def holders(self) -> Sequence[Server]:
        """The servers that would read what an old key has sealed. :raises StoreError:"""
        old = {key.id for key in self._ring.old}
        return [server for server in await alive(self._store.documents, self._now) if old & set(server.keys)]

    async def needed(self) -> KeyUse:
        """What was sealed or signed with old keys, taken together. :raises StoreError:"""
        census = await self._store.upkeep.census(self._now)
        uses = [census.keys.get(key.id, KeyUse()) for key in self._ring.old]
        ends = [use.tokens_until for use in uses if use.tokens_until is not None]
        return KeyUse(
            credentials=sum(use.credentials for use in uses),
            operations=sum(use.operations for use in uses),
            tokens=sum(use.tokens for use in uses),
            tokens_until=max(ends, default=None),
        )
