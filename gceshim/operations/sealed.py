"""
Operations at rest: what an operation was asked, and what its steps gave, is encrypted for as long as it runs.

Arguments and results may hold user data, and with it passwords. At the end of an operation they are dropped, so its
record is plain from then on. The key is the current one at each write: when keys change, operations that run follow by
themselves.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from gceshim.auth.cipher import Cipher
from gceshim.auth.errors import WrongKey
from gceshim.auth.masterkey import MasterKey
from gceshim.stores.base import OperationRecord, OperationStore

LOG = logging.getLogger(__name__)

PURPOSE: Final = "gceshim operations at rest, AES-256-GCM, 1"
SECRET_PARTS: Final = ("arguments", "journal")
SEALED: Final = "sealed"
NO_WORKFLOW: Final = ""


class SealedOperations(OperationStore):
    """
    The operations of a store, sealed on their way in and opened on their way out.

    One that does not open, as its key is lost, is there without what is sealed, and has no workflow: whoever takes it
    over ends it as failed.

    :param keys: master keys; the first seals, all may have sealed.
    """

    def __init__(self, inner: OperationStore, keys: Sequence[MasterKey]) -> None:
        self._inner = inner
        self._cipher = Cipher(keys, PURPOSE)

    def use_keys(self, keys: Sequence[MasterKey]) -> None:
        """Go on with these keys instead."""
        self._cipher.use_keys(keys)

    async def insert(self, record: OperationRecord) -> None:
        await self._inner.insert(self._sealed(record))

    async def get(self, name: str) -> OperationRecord | None:
        return self._opened(await self._inner.get(name))

    async def find_id(self, owner: str, operation_id: int) -> OperationRecord | None:
        return self._opened(await self._inner.find_id(owner, operation_id))

    async def find_request(self, owner: str, request_id: str) -> OperationRecord | None:
        return self._opened(await self._inner.find_request(owner, request_id))

    async def list(
        self,
        owner: str,
        *,
        scope_kind: str | None = None,
        scope: str | None = None,
        after: str = "",
        newest_first: bool = False,
        limit: int = 500,
    ) -> Sequence[OperationRecord]:
        found = await self._inner.list(
            owner, scope_kind=scope_kind, scope=scope, after=after, newest_first=newest_first, limit=limit
        )
        return self._all_opened(found)

    async def update(self, record: OperationRecord) -> OperationRecord:
        stored = await self._inner.update(self._sealed(record))
        return replace(stored, body=record.body)

    async def delete(self, name: str, version: int) -> None:
        await self._inner.delete(name, version)

    async def lapsed(self, now: datetime, *, limit: int = 100) -> Sequence[OperationRecord]:
        return self._all_opened(await self._inner.lapsed(now, limit=limit))

    async def claim(self, name: str, holder: str, *, now: datetime, until: datetime) -> OperationRecord | None:
        return self._opened(await self._inner.claim(name, holder, now=now, until=until))

    async def renew(self, holder: str, names: Collection[str], until: datetime) -> frozenset[str]:
        return await self._inner.renew(holder, names, until)

    async def release(self, holder: str, names: Collection[str]) -> None:
        await self._inner.release(holder, names)

    async def unfinished(self, names: Collection[str]) -> frozenset[str]:
        return await self._inner.unfinished(names)

    def _sealed(self, record: OperationRecord) -> OperationRecord:
        if record.done:
            return replace(record, key_id="")
        secret = {part: record.body[part] for part in SECRET_PARTS if part in record.body}
        sealed = self._cipher.seal(record.name, json.dumps(secret, separators=(",", ":")).encode())
        plain = {part: value for part, value in record.body.items() if part not in SECRET_PARTS}
        body = {**plain, SEALED: base64.b64encode(sealed).decode()}
        return replace(record, body=body, key_id=self._cipher.key_id)

    def _opened(self, record: OperationRecord | None) -> OperationRecord | None:
        return None if record is None else self._open(record)

    def _all_opened(self, records: Sequence[OperationRecord]) -> Sequence[OperationRecord]:
        return [self._open(record) for record in records]

    def _open(self, record: OperationRecord) -> OperationRecord:
        if SEALED not in record.body:
            return record  # it has ended, or was written by a release that sealed none
        plain = {part: value for part, value in record.body.items() if part != SEALED}
        return replace(record, body={**plain, **self._secret(record)})

    def _secret(self, record: OperationRecord) -> Mapping[str, Any]:
        try:
            text = self._cipher.unseal(record.name, record.key_id, base64.b64decode(record.body[SEALED]))
        except WrongKey as exc:
            LOG.warning("an operation cannot be read: %s", exc.message)
            return {"workflow": NO_WORKFLOW}
        secret: Mapping[str, Any] = json.loads(text)
        return secret
