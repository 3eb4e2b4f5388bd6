"""What an operator asks of the embedded store."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from dataclasses import replace
from datetime import datetime

from gceshim.stores.base import Census, KeyUse, Report, Upkeep
from gceshim.stores.encoding import from_ms, to_ms
from gceshim.stores.rows import MIGRATIONS
from gceshim.stores.worker import Worker


class SqliteUpkeep(Upkeep):
    kind = "sqlite"
    schema = len(MIGRATIONS)

    def __init__(self, worker: Worker, where: str) -> None:
        self.where = where
        self._worker = worker

    async def version(self) -> int:
        return await self._worker.version()

    async def check(self) -> None:
        self._worker.check_version(await self.version())

    async def migrate(self, report: Report) -> None:
        """In one transaction, as opening the store does it."""
        if not self._worker.running:
            await self._worker.start()
            await self._worker.stop()
        report("schema", self.schema, self.schema)

    async def census(self, now: datetime) -> Census:
        return await self._worker.read(lambda db: _counted(db, now))

    async def scrub(self) -> None:
        """Write the file anew, and empty the log beside it; others who write wait meanwhile."""

        def vacuum(db: sqlite3.Connection) -> None:
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        await self._worker.read(vacuum)  # not `write`: this cannot be done within a transaction


def _counted(db: sqlite3.Connection, now: datetime) -> Census:
    moment = (to_ms(now),)
    done = _count(db, "SELECT count(*) FROM operations WHERE done")
    running = _count(db, "SELECT count(*) FROM operations WHERE NOT done AND lease_until > ?", *moment)
    waiting = _count(db, "SELECT count(*) FROM operations WHERE NOT done AND lease_until <= ?", *moment)
    leases = "SELECT lease_holder, count(*) FROM operations WHERE NOT done AND lease_until > ? GROUP BY lease_holder"
    (oldest,) = db.execute("SELECT min(inserted) FROM operations WHERE NOT done").fetchone()
    return Census(
        operations={"running": running, "waiting": waiting, "done": done},
        oldest_unfinished=None if oldest is None else from_ms(oldest),
        leases=dict(db.execute(leases, moment)),
        credentials=_count(db, "SELECT count(*) FROM credentials"),
        tokens=dict(db.execute("SELECT kind, count(*) FROM tokens WHERE expires > ? GROUP BY kind", moment)),
        documents=dict(db.execute("SELECT collection, count(*) FROM documents GROUP BY collection")),
        keys=_keys(db, moment),
    )


def _keys(db: sqlite3.Connection, moment: tuple[int]) -> dict[str, KeyUse]:
    uses: dict[str, KeyUse] = defaultdict(KeyUse)
    for key, count in db.execute("SELECT key_id, count(*) FROM credentials GROUP BY key_id"):
        uses[key] = replace(uses[key], credentials=count)
    for key, count in db.execute("SELECT key_id, count(*) FROM operations WHERE key_id != '' GROUP BY key_id"):
        uses[key] = replace(uses[key], operations=count)
    tokens = "SELECT key_id, count(*), max(expires) FROM tokens WHERE key_id != '' AND expires > ? GROUP BY key_id"
    for key, count, until in db.execute(tokens, moment):
        uses[key] = replace(uses[key], tokens=count, tokens_until=from_ms(until))
    return dict(uses)


def _count(db: sqlite3.Connection, statement: str, *values: int) -> int:
    count: int = db.execute(statement, values).fetchone()[0]
    return count
