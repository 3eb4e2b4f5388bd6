"""
Which servers share a store: each keeps one document there that tells what it is, and when it last gave a sign of life.

An operator who changes keys has to know who holds which, and who holds an operation.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gceshim.stores.base import MAX_LIMIT, DocumentRecord, DocumentStore
from gceshim.stores.errors import Conflict, StoreError

LOG = logging.getLogger(__name__)

COLLECTION: Final = "servers"
BEAT_SECONDS: Final = 10.0
ALIVE_SECONDS: Final = 45.0
KEPT_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Server:
    """One server process. `name`: as it holds leases. `keys`: ids of its master keys, the current one first."""

    name: str
    host: str
    pid: int
    release: str
    keys: tuple[str, ...]
    started: str
    seen: datetime

    @property
    def shown(self) -> str:
        return f"{self.host}, process {self.pid}"


def utc_now() -> datetime:
    return datetime.now(UTC)


async def alive(documents: DocumentStore, now: datetime) -> Sequence[Server]:
    """The servers that gave a sign of life lately. :raises StoreError:"""
    known = [_server(record) for record in await documents.list("", COLLECTION, limit=MAX_LIMIT)]
    return [server for server in known if server.seen > now - timedelta(seconds=ALIVE_SECONDS)]


class Presence:
    """
    Keeps one server's document, from `start` to `close`.

    :param keys: ids of the master keys it accepts, the current one first.
    """

    def __init__(
        self,
        documents: DocumentStore,
        name: str,
        release: str,
        keys: Sequence[str],
        *,
        now: Callable[[], datetime] = utc_now,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        self._documents = documents
        self._now = now
        self._beat_seconds = beat_seconds
        started = now()
        facts = Server(name, socket.gethostname(), os.getpid(), release, tuple(keys), started.isoformat(), started)
        self._record = _record(facts)
        self._keys_changed = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Make oneself known, and forget those that are long gone. :raises StoreError:"""
        for record in await self._documents.list("", COLLECTION, limit=MAX_LIMIT):
            if record.updated < self._now() - timedelta(seconds=KEPT_SECONDS):
                await self._documents.delete("", COLLECTION, record.name)
        for other in await alive(self._documents, self._now()):
            self._compare_keys(other)
        await self._beat()
        self._beating = asyncio.get_running_loop().create_task(self._keep_beating(), name="presence")

    def use_keys(self, keys: Sequence[str]) -> None:
        """Let the others know soon that these keys are accepted instead, the current one first."""
        self._record = replace(self._record, body={**self._record.body, "keys": tuple(keys)})
        self._keys_changed.set()

    async def close(self) -> None:
        """Be known no more. May be called twice, and without `start`."""
        if self._beating is None:
            return
        self._beating.cancel()
        await asyncio.gather(self._beating, return_exceptions=True)
        self._beating = None
        with contextlib.suppress(StoreError):  # it is forgotten when it gives no sign of life
            await self._documents.delete("", COLLECTION, self._record.name)

    def _compare_keys(self, other: Server) -> None:
        """A key file that was not copied would else be noticed by users, one call in two."""
        own = _server(self._record)
        if other.keys[0] not in own.keys:
            LOG.warning(
                "this server lacks the master key %s that %s uses: copy its key file", other.keys[0], other.shown
            )
        elif own.keys[0] not in other.keys:
            LOG.warning("%s lacks the master key %s that this server uses: copy the key file", other.shown, own.keys[0])

    async def _keep_beating(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._keys_changed.wait(), self._beat_seconds)
            self._keys_changed.clear()
            try:
                await self._beat()
            except StoreError as exc:
                LOG.info("this server is not seen by others: %s", exc)

    async def _beat(self) -> None:
        self._record = replace(self._record, updated=self._now())
        try:
            stored = await self._documents.update(self._record)
            self._record = replace(self._record, version=stored.version)  # the keys may be others by now
        except Conflict:
            known = await self._documents.get("", COLLECTION, self._record.name)
            self._record = replace(self._record, version=known.version if known else 1)
            if known is None:
                await self._documents.insert(self._record)


def _record(server: Server) -> DocumentRecord:
    body: dict[str, Any] = {key: value for key, value in asdict(server).items() if key not in {"name", "seen"}}
    return DocumentRecord("", COLLECTION, server.name, server.seen, body)


def _server(record: DocumentRecord) -> Server:
    body = record.body
    return Server(
        name=record.name,
        host=body["host"],
        pid=body["pid"],
        release=body["release"],
        keys=tuple(body["keys"]),
        started=body["started"],
        seen=record.updated,
    )
