"""
The tables of the sqlite store, and how records become their rows and come back.

A step of `MIGRATIONS` leads from one schema to the next and is never changed once it was released. It leaves the tables
such that the release before can go on with them until it is stopped: new columns have defaults.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

from gceshim.stores.base import CredentialRecord, DocumentRecord, OperationRecord, TokenRecord
from gceshim.stores.encoding import from_ms, to_json, to_ms

Migration = Sequence[str | Callable[[sqlite3.Connection], None]]


def _keys_of_tokens(db: sqlite3.Connection) -> None:
    """In schema 1 only the body of a token tells which key signed it."""
    rows = db.execute("SELECT digest, body FROM tokens").fetchall()
    found = [(json.loads(body).get("kid", ""), digest) for digest, body in rows]
    db.executemany("UPDATE tokens SET key_id = ? WHERE digest = ?", found)


MIGRATIONS: Final[Sequence[Migration]] = (
    (
        """
        CREATE TABLE operations (
            name TEXT PRIMARY KEY, id INTEGER NOT NULL UNIQUE, owner TEXT NOT NULL, scope_kind TEXT NOT NULL,
            scope TEXT NOT NULL, request_id TEXT NOT NULL, inserted INTEGER NOT NULL, done INTEGER NOT NULL,
            lease_holder TEXT NOT NULL, lease_until INTEGER NOT NULL, expires INTEGER, body TEXT NOT NULL,
            version INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE INDEX operations_owner ON operations (owner, name)",
        "CREATE UNIQUE INDEX operations_request ON operations (owner, request_id) WHERE request_id != ''",
        "CREATE INDEX operations_lease ON operations (lease_until) WHERE done = 0",
        "CREATE INDEX operations_expires ON operations (expires) WHERE expires IS NOT NULL",
        """
        CREATE TABLE credentials (
            subject TEXT PRIMARY KEY, created INTEGER NOT NULL, key_id TEXT NOT NULL, sealed BLOB NOT NULL,
            body TEXT NOT NULL, version INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE tokens (
            digest TEXT PRIMARY KEY, subject TEXT NOT NULL, kind TEXT NOT NULL, issued INTEGER NOT NULL,
            expires INTEGER NOT NULL, body TEXT NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE INDEX tokens_subject ON tokens (subject)",
        "CREATE INDEX tokens_expires ON tokens (expires)",
        """
        CREATE TABLE documents (
            owner TEXT NOT NULL, collection TEXT NOT NULL, name TEXT NOT NULL, updated INTEGER NOT NULL,
            body TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (owner, collection, name)
        ) WITHOUT ROWID
        """,
    ),
    (
        "ALTER TABLE tokens ADD COLUMN family TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE tokens ADD COLUMN key_id TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE operations ADD COLUMN key_id TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX tokens_family ON tokens (family) WHERE family != ''",
        _keys_of_tokens,
    ),
)

Row = tuple[Any, ...]

OPERATION: Final = (
    "name, id, owner, scope_kind, scope, request_id, inserted, done, lease_holder, lease_until, expires, body, "
    "version, key_id"
)
CREDENTIAL: Final = "subject, created, key_id, sealed, body, version"
TOKEN: Final = "digest, subject, kind, issued, expires, body, family, key_id"  # noqa: S105  column names
DOCUMENT: Final = "owner, collection, name, updated, body, version"


def operation_row(record: OperationRecord) -> Row:
    return (
        record.name,
        record.id,
        record.owner,
        record.scope_kind,
        record.scope,
        record.request_id,
        to_ms(record.inserted),
        record.done,
        record.lease_holder,
        to_ms(record.lease_until),
        None if record.expires is None else to_ms(record.expires),
        to_json(record.body),
        record.version,
        record.key_id,
    )


def to_operation(row: Row) -> OperationRecord:
    return OperationRecord(
        name=row[0],
        id=row[1],
        owner=row[2],
        scope_kind=row[3],
        scope=row[4],
        request_id=row[5],
        inserted=from_ms(row[6]),
        done=bool(row[7]),
        lease_holder=row[8],
        lease_until=from_ms(row[9]),
        expires=None if row[10] is None else from_ms(row[10]),
        body=json.loads(row[11]),
        version=row[12],
        key_id=row[13],
    )


def credential_row(record: CredentialRecord) -> Row:
    return (
        record.subject,
        to_ms(record.created),
        record.key_id,
        record.sealed,
        to_json(record.body),
        record.version,
    )


def to_credential(row: Row) -> CredentialRecord:
    subject, created, key_id, sealed, body, version = row
    return CredentialRecord(subject, from_ms(created), key_id, sealed, json.loads(body), version)


def token_row(record: TokenRecord) -> Row:
    return (
        record.digest,
        record.subject,
        record.kind,
        to_ms(record.issued),
        to_ms(record.expires),
        to_json(record.body),
        record.family,
        record.key_id,
    )


def to_token(row: Row) -> TokenRecord:
    digest, subject, kind, issued, expires, body, family, key_id = row
    return TokenRecord(digest, subject, kind, from_ms(issued), from_ms(expires), json.loads(body), family, key_id)


def document_row(record: DocumentRecord) -> Row:
    return (
        record.owner,
        record.collection,
        record.name,
        to_ms(record.updated),
        to_json(record.body),
        record.version,
    )


def to_document(row: Row) -> DocumentRecord:
    owner, collection, name, updated, body, version = row
    return DocumentRecord(owner, collection, name, from_ms(updated), json.loads(body), version)
