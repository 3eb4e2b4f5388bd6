"""Stores as the first schema had them, made by its own statements, with a record of each sort."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymongo import ASCENDING, MongoClient

from gceshim.stores.base import CredentialRecord, DocumentRecord, OperationRecord, TokenRecord

NOW = datetime(2096, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC)
MS = 3_981_675_967_089

OPERATION = OperationRecord(
    name="operation-1",
    id=7,
    owner="o",
    scope_kind="zone",
    scope="z",
    request_id="r",
    inserted=NOW,
    done=False,
    lease_holder="me",
    lease_until=NOW,
    expires=None,
    body={"a": 1},
    version=3,
)
CREDENTIAL = CredentialRecord("s", NOW, "k1", b"\x00\xff", {"b": 2}, 2)
TOKEN = TokenRecord("d", "s", "access", NOW, NOW, {"jti": "j", "kid": "k1"}, family="", key_id="k1")
DOCUMENT = DocumentRecord("o", "c", "n", NOW, {"c": 3}, 4)
"""As they are to be read after a migration."""

TABLES = """
CREATE TABLE operations (
    name TEXT PRIMARY KEY, id INTEGER NOT NULL UNIQUE, owner TEXT NOT NULL, scope_kind TEXT NOT NULL,
    scope TEXT NOT NULL, request_id TEXT NOT NULL, inserted INTEGER NOT NULL, done INTEGER NOT NULL,
    lease_holder TEXT NOT NULL, lease_until INTEGER NOT NULL, expires INTEGER, body TEXT NOT NULL,
    version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX operations_owner ON operations (owner, name);
CREATE UNIQUE INDEX operations_request ON operations (owner, request_id) WHERE request_id != '';
CREATE INDEX operations_lease ON operations (lease_until) WHERE done = 0;
CREATE INDEX operations_expires ON operations (expires) WHERE expires IS NOT NULL;
CREATE TABLE credentials (
    subject TEXT PRIMARY KEY, created INTEGER NOT NULL, key_id TEXT NOT NULL, sealed BLOB NOT NULL,
    body TEXT NOT NULL, version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE tokens (
    digest TEXT PRIMARY KEY, subject TEXT NOT NULL, kind TEXT NOT NULL, issued INTEGER NOT NULL,
    expires INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX tokens_subject ON tokens (subject);
CREATE INDEX tokens_expires ON tokens (expires);
CREATE TABLE documents (
    owner TEXT NOT NULL, collection TEXT NOT NULL, name TEXT NOT NULL, updated INTEGER NOT NULL,
    body TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (owner, collection, name)
) WITHOUT ROWID;
PRAGMA user_version = 1;
PRAGMA application_id = 1734570856;
"""

NEW_TOKEN = (
    "INSERT INTO tokens (digest, subject, kind, issued, expires, body) VALUES (?, 's', 'access', ?, ?, ?)",
    (MS, MS, '{"jti":"j","kid":"k1"}'),
)
"""How the release of schema 1 stores a token."""


def make_file(path: Path, token_body: str = '{"jti":"j","kid":"k1"}') -> None:
    """An sqlite store of schema 1."""
    db = sqlite3.connect(path)
    db.executescript(TABLES)
    db.execute(
        "INSERT INTO operations VALUES ('operation-1', 7, 'o', 'zone', 'z', 'r', ?, 0, 'me', ?, NULL, '{\"a\":1}', 3)",
        (MS, MS),
    )
    db.execute("INSERT INTO credentials VALUES ('s', ?, 'k1', ?, '{\"b\":2}', 2)", (MS, b"\x00\xff"))
    db.execute("INSERT INTO tokens VALUES ('d', 's', 'access', ?, ?, ?)", (MS, MS, token_body))
    db.execute("INSERT INTO documents VALUES ('o', 'c', 'n', ?, '{\"c\":3}', 4)", (MS,))
    db.commit()
    db.close()


def token_document(digest: str) -> dict[str, Any]:
    """How the release of schema 1 stores a token in MongoDB."""
    return {
        "digest": digest,
        "schema": 1,
        "subject": "s",
        "kind": "access",
        "issued": MS,
        "expires": MS,
        "expires_at": NOW,
        "body": '{"jti":"j","kid":"k1"}',
    }


def make_database(uri: str, name: str, tokens: int = 1) -> None:
    """A MongoDB store of schema 1; of several tokens the first is `TOKEN`."""
    with MongoClient[dict[str, Any]](uri) as client:
        database = client[name]
        for collection, key in (("operations", "name"), ("operations", "number"), ("tokens", "digest")):
            database[collection].create_index([(key, ASCENDING)], unique=True)
        database["tokens"].create_index([("subject", ASCENDING)])
        database["credentials"].create_index([("subject", ASCENDING)], unique=True)
        database["operations"].insert_one(
            {
                "name": "operation-1",
                "schema": 1,
                "number": 7,
                "owner": "o",
                "scope_kind": "zone",
                "scope": "z",
                "request_id": "r",
                "inserted": MS,
                "done": 0,
                "lease_holder": "me",
                "lease_until": MS,
                "expires": None,
                "expires_at": None,
                "body": '{"a":1}',
                "version": 3,
            }
        )
        database["credentials"].insert_one(
            {
                "subject": "s",
                "schema": 1,
                "created": MS,
                "key_id": "k1",
                "sealed": b"\x00\xff",
                "body": '{"b":2}',
                "version": 2,
            }
        )
        database["tokens"].insert_many(
            [token_document("d" if not number else f"d{number}") for number in range(tokens)]
        )
        database["documents"].insert_one(
            {
                "schema": 1,
                "owner": "o",
                "collection": "c",
                "name": "n",
                "updated": MS,
                "body": '{"c":3}',
                "version": 4,
            }
        )
        database["meta"].insert_one({"_id": "schema", "version": 1})
