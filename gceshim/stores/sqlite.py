"""
The embedded store: one sqlite file, several processes on one machine, nothing to install or run.

The file is in WAL mode (readers and a writer do not wait for each other), each commit is flushed to disk, and the
mode of the file is 0600. Times are kept as whole milliseconds since 1970, JSON as text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from gceshim.stores.base import (
    EPOCH,
    MAX_LIMIT,
    CredentialRecord,
    CredentialStore,
    DocumentRecord,
    DocumentStore,
    OperationRecord,
    OperationStore,
    Store,
    TokenRecord,
    TokenStore,
    check_family,
    check_key,
    check_limit,
)
from gceshim.stores.encoding import to_json, to_ms
from gceshim.stores.errors import Conflict
from gceshim.stores.rows import (
    CREDENTIAL,
    DOCUMENT,
    MIGRATIONS,
    OPERATION,
    TOKEN,
    Row,
    credential_row,
    document_row,
    operation_row,
    to_credential,
    to_document,
    to_operation,
    to_token,
    token_row,
)
from gceshim.stores.sqlite_upkeep import SqliteUpkeep
from gceshim.stores.worker import Worker

NAMES_PER_STATEMENT: Final = 500


class SqliteStore(Store):
    """
    A store in one file, or in memory for as long as it is open.

    :param path: the file, made if absent (its directory is not); ":memory:" for none.
    :param busy_timeout_seconds: how long to wait while another process writes.
    :param queue_limit: most calls that may wait for the disk; see `Overloaded`.
    """

    def __init__(self, path: str | Path, *, busy_timeout_seconds: float = 10.0, queue_limit: int = 10_000) -> None:
        self._worker = Worker(str(path), MIGRATIONS, busy_timeout_seconds=busy_timeout_seconds, queue_limit=queue_limit)
        self.operations = SqliteOperations(self._worker)
        self.credentials = SqliteCredentials(self._worker)
        self.tokens = SqliteTokens(self._worker)
        self.documents = SqliteDocuments(self._worker)
        self.upkeep = SqliteUpkeep(self._worker, str(path))

    async def open(self) -> None:
        await self._worker.start()

    async def close(self) -> None:
        await self._worker.stop()

    async def ping(self) -> None:
        await self._worker.write(lambda db: None)

    async def schema_version(self) -> int:
        return await self.upkeep.version()

    async def purge(self, now: datetime, *, limit: int = MAX_LIMIT) -> int:
        def remove(db: sqlite3.Connection) -> int:
            operations = db.execute(
                "DELETE FROM operations WHERE name IN (SELECT name FROM operations WHERE expires <= ? LIMIT ?)",
                (to_ms(now), limit),
            )
            tokens = db.execute(
                "DELETE FROM tokens WHERE digest IN (SELECT digest FROM tokens WHERE expires <= ? LIMIT ?)",
                (to_ms(now), limit),
            )
            return operations.rowcount + tokens.rowcount

        return await self._worker.write(remove)


class SqliteOperations(OperationStore):
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def insert(self, record: OperationRecord) -> None:
        await self._worker.write(lambda db: insert(db, "operations", OPERATION, operation_row(record)))

    async def get(self, name: str) -> OperationRecord | None:
        return await self._one("name = ?", name)

    async def find_id(self, owner: str, operation_id: int) -> OperationRecord | None:
        return await self._one("owner = ? AND id = ?", owner, operation_id)

    async def find_request(self, owner: str, request_id: str) -> OperationRecord | None:
        return await self._one("owner = ? AND request_id = ? AND request_id != ''", owner, request_id)

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
        where, values = ["owner = ?"], [owner]
        if scope_kind is not None:
            where.append("scope_kind = ?")
            values.append(scope_kind)
        if scope is not None:
            where.append("scope = ?")
            values.append(scope)
        if after:
            where.append("name < ?" if newest_first else "name > ?")
            values.append(after)
        order = "DESC" if newest_first else "ASC"
        return await self._all(f"{' AND '.join(where)} ORDER BY name {order}", *values, limit=limit)

    async def update(self, record: OperationRecord) -> OperationRecord:
        values = (
            record.done,
            record.lease_holder,
            to_ms(record.lease_until),
            None if record.expires is None else to_ms(record.expires),
            to_json(record.body),
            record.key_id,
            record.name,
            record.version,
        )
        statement = (
            "UPDATE operations SET done = ?, lease_holder = ?, lease_until = ?, expires = ?, body = ?, key_id = ?, "
            "version = version + 1 WHERE name = ? AND version = ?"
        )
        await self._worker.write(lambda db: change(db, statement, values))
        return replace(record, version=record.version + 1)

    async def delete(self, name: str, version: int) -> None:
        statement = "DELETE FROM operations WHERE name = ? AND version = ?"
        await self._worker.write(lambda db: change(db, statement, (name, version)))

    async def lapsed(self, now: datetime, *, limit: int = 100) -> Sequence[OperationRecord]:
        return await self._all("done = 0 AND lease_until <= ? ORDER BY lease_until, name", to_ms(now), limit=limit)

    async def claim(self, name: str, holder: str, *, now: datetime, until: datetime) -> OperationRecord | None:
        statement = (
            "UPDATE operations SET lease_holder = ?, lease_until = ?, version = version + 1 "
            "WHERE name = ? AND done = 0 AND lease_until <= ?"
        )
        values = (holder, to_ms(until), name, to_ms(now))
        claimed = await self._worker.write(lambda db: db.execute(statement, values).rowcount)
        # Nobody else may touch it before `until`, so it may be read after.
        return await self.get(name) if claimed else None

    async def renew(self, holder: str, names: Collection[str], until: datetime) -> frozenset[str]:
        return await self._set_lease(holder, names, holder, until)

    async def release(self, holder: str, names: Collection[str]) -> None:
        await self._set_lease(holder, names, "", EPOCH)

    async def unfinished(self, names: Collection[str]) -> frozenset[str]:
        def select(db: sqlite3.Connection) -> frozenset[str]:
            return frozenset(
                row[0]
                for part, marks in parts(names)
                for row in db.execute(f"SELECT name FROM operations WHERE done = 0 AND name IN ({marks})", part)  # noqa: S608
            )

        return await self._worker.read(select)

    async def _set_lease(self, holder: str, names: Collection[str], new_holder: str, until: datetime) -> frozenset[str]:
        def update(db: sqlite3.Connection) -> frozenset[str]:
            held: set[str] = set()
            for part, marks in parts(names):
                where = f"done = 0 AND lease_holder = ? AND name IN ({marks})"
                held.update(row[0] for row in db.execute(f"SELECT name FROM operations WHERE {where}", (holder, *part)))  # noqa: S608
                statement = f"UPDATE operations SET lease_holder = ?, lease_until = ? WHERE {where}"  # noqa: S608
                db.execute(statement, (new_holder, to_ms(until), holder, *part))
            return frozenset(held)

        return await self._worker.write(update)

    async def _one(self, where: str, *values: Any) -> OperationRecord | None:
        rows = await self._all(where, *values, limit=1)
        return rows[0] if rows else None

    async def _all(self, where: str, *values: Any, limit: int) -> Sequence[OperationRecord]:
        statement = f"SELECT {OPERATION} FROM operations WHERE {where} LIMIT ?"  # noqa: S608
        bound = (*values, check_limit(limit))
        rows = await self._worker.read(lambda db: db.execute(statement, bound).fetchall())
        return [to_operation(row) for row in rows]


class SqliteCredentials(CredentialStore):
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def insert(self, record: CredentialRecord) -> None:
        await self._worker.write(lambda db: insert(db, "credentials", CREDENTIAL, credential_row(record)))

    async def get(self, subject: str) -> CredentialRecord | None:
        statement = f"SELECT {CREDENTIAL} FROM credentials WHERE subject = ?"  # noqa: S608
        row = await self._worker.read(lambda db: db.execute(statement, (subject,)).fetchone())
        return None if row is None else to_credential(row)

    async def list(self, *, after: str = "", limit: int = 500) -> Sequence[CredentialRecord]:
        statement = f"SELECT {CREDENTIAL} FROM credentials WHERE subject > ? ORDER BY subject LIMIT ?"  # noqa: S608
        values = (after, check_limit(limit))
        rows = await self._worker.read(lambda db: db.execute(statement, values).fetchall())
        return [to_credential(row) for row in rows]

    async def update(self, record: CredentialRecord) -> CredentialRecord:
        statement = (
            "UPDATE credentials SET key_id = ?, sealed = ?, body = ?, version = version + 1 "
            "WHERE subject = ? AND version = ?"
        )
        values = (record.key_id, record.sealed, to_json(record.body), record.subject, record.version)
        await self._worker.write(lambda db: change(db, statement, values))
        return replace(record, version=record.version + 1)

    async def delete(self, subject: str) -> bool:
        statement = "DELETE FROM credentials WHERE subject = ?"
        return await self._worker.write(lambda db: db.execute(statement, (subject,)).rowcount) > 0


class SqliteTokens(TokenStore):
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def insert(self, record: TokenRecord) -> None:
        await self._worker.write(lambda db: insert(db, "tokens", TOKEN, token_row(record)))

    async def get(self, digest: str) -> TokenRecord | None:
        statement = f"SELECT {TOKEN} FROM tokens WHERE digest = ?"  # noqa: S608
        row = await self._worker.read(lambda db: db.execute(statement, (digest,)).fetchone())
        return None if row is None else to_token(row)

    async def delete(self, digest: str) -> bool:
        statement = "DELETE FROM tokens WHERE digest = ?"
        return await self._worker.write(lambda db: db.execute(statement, (digest,)).rowcount) > 0

    async def delete_subject(self, subject: str) -> int:
        statement = "DELETE FROM tokens WHERE subject = ?"
        return await self._worker.write(lambda db: db.execute(statement, (subject,)).rowcount)

    async def delete_family(self, family: str) -> int:
        statement = "DELETE FROM tokens WHERE family = ? AND family != ''"  # the condition of the index
        values = (check_family(family),)
        return await self._worker.write(lambda db: db.execute(statement, values).rowcount)

    async def delete_key(self, key_id: str) -> int:
        values = (check_key(key_id),)
        return await self._worker.write(lambda db: db.execute("DELETE FROM tokens WHERE key_id = ?", values).rowcount)


class SqliteDocuments(DocumentStore):
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def insert(self, record: DocumentRecord) -> None:
        await self._worker.write(lambda db: insert(db, "documents", DOCUMENT, document_row(record)))

    async def get(self, owner: str, collection: str, name: str) -> DocumentRecord | None:
        statement = f"SELECT {DOCUMENT} FROM documents WHERE owner = ? AND collection = ? AND name = ?"  # noqa: S608
        row = await self._worker.read(lambda db: db.execute(statement, (owner, collection, name)).fetchone())
        return None if row is None else to_document(row)

    async def list(self, owner: str, collection: str, *, after: str = "", limit: int = 500) -> Sequence[DocumentRecord]:
        statement = (
            f"SELECT {DOCUMENT} FROM documents WHERE owner = ? AND collection = ? AND name > ? "  # noqa: S608
            "ORDER BY name LIMIT ?"
        )
        values = (owner, collection, after, check_limit(limit))
        rows = await self._worker.read(lambda db: db.execute(statement, values).fetchall())
        return [to_document(row) for row in rows]

    async def update(self, record: DocumentRecord) -> DocumentRecord:
        statement = (
            "UPDATE documents SET updated = ?, body = ?, version = version + 1 "
            "WHERE owner = ? AND collection = ? AND name = ? AND version = ?"
        )
        key = (record.owner, record.collection, record.name)
        values = (to_ms(record.updated), to_json(record.body), *key, record.version)
        await self._worker.write(lambda db: change(db, statement, values))
        return replace(record, version=record.version + 1)

    async def delete(self, owner: str, collection: str, name: str, *, version: int | None = None) -> bool:
        key = (owner, collection, name)

        def remove(db: sqlite3.Connection) -> bool:
            where = "owner = ? AND collection = ? AND name = ?"
            row = db.execute(f"SELECT version FROM documents WHERE {where}", key).fetchone()  # noqa: S608
            if row is not None and version not in (None, row[0]):
                raise Conflict("the document has changed")
            return db.execute(f"DELETE FROM documents WHERE {where}", key).rowcount > 0  # noqa: S608

        return await self._worker.write(remove)


def insert(db: sqlite3.Connection, table: str, columns: str, row: Row) -> None:
    db.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608


def change(db: sqlite3.Connection, statement: str, values: Row) -> None:
    """Run a statement that is to change one row; Conflict if it found none."""
    if not db.execute(statement, values).rowcount:
        raise Conflict("the record has changed or is gone")


def parts(names: Collection[str]) -> Iterator[tuple[Row, str]]:
    """The names in handfuls that a statement can take, each with as many question marks."""
    ordered = tuple(names)
    for start in range(0, len(ordered), NAMES_PER_STATEMENT):
        part = ordered[start : start + NAMES_PER_STATEMENT]
        yield part, ", ".join("?" * len(part))
