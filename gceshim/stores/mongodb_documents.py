"""
How records become MongoDB documents and come back. Each carries the version of its form in `schema`.

Times are numbers and flags are 0 and 1: what speaks MongoDB's protocol does not always keep the finer types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from gceshim.stores.base import CredentialRecord, DocumentRecord, OperationRecord, TokenRecord
from gceshim.stores.encoding import from_ms, to_json, to_ms

Json = dict[str, Any]

FORM: Final = 2
"""Version of the form, and of the schema it belongs to. In form 1 tokens had no family, and only credentials a key."""


def expiry(moment: datetime | None) -> Json:
    """When a record expires: as a number, to be read, and as a date, by which MongoDB forgets it."""
    return {"expires": None if moment is None else to_ms(moment), "expires_at": moment}


def operation_document(record: OperationRecord) -> Json:
    """`request_id` is there only when there is one, as its index is unique."""
    document = {
        "name": record.name,
        "schema": FORM,
        "number": record.id,
        "owner": record.owner,
        "scope_kind": record.scope_kind,
        "scope": record.scope,
        "inserted": to_ms(record.inserted),
        "done": int(record.done),
        "lease_holder": record.lease_holder,
        "lease_until": to_ms(record.lease_until),
        **expiry(record.expires),
        "body": to_json(record.body),
        "version": record.version,
        "key_id": record.key_id,
    }
    return {**document, "request_id": record.request_id} if record.request_id else document


def to_operation(document: Mapping[str, Any]) -> OperationRecord:
    return OperationRecord(
        name=document["name"],
        id=document["number"],
        owner=document["owner"],
        scope_kind=document["scope_kind"],
        scope=document["scope"],
        request_id=document.get("request_id", ""),
        inserted=from_ms(document["inserted"]),
        done=bool(document["done"]),
        lease_holder=document["lease_holder"],
        lease_until=from_ms(document["lease_until"]),
        expires=None if document["expires"] is None else from_ms(document["expires"]),
        body=json.loads(document["body"]),
        version=document["version"],
        key_id=document.get("key_id", ""),
    )


def credential_document(record: CredentialRecord) -> Json:
    return {
        "subject": record.subject,
        "schema": FORM,
        "created": to_ms(record.created),
        "key_id": record.key_id,
        "sealed": record.sealed,
        "body": to_json(record.body),
        "version": record.version,
    }


def to_credential(document: Mapping[str, Any]) -> CredentialRecord:
    return CredentialRecord(
        subject=document["subject"],
        created=from_ms(document["created"]),
        key_id=document["key_id"],
        sealed=bytes(document["sealed"]),
        body=json.loads(document["body"]),
        version=document["version"],
    )


def token_document(record: TokenRecord) -> Json:
    """`family` is there only when there is one: its index is sparse."""
    document = {
        "digest": record.digest,
        "schema": FORM,
        "subject": record.subject,
        "kind": record.kind,
        "issued": to_ms(record.issued),
        **expiry(record.expires),
        "body": to_json(record.body),
        "key_id": record.key_id,
    }
    return {**document, "family": record.family} if record.family else document


def to_token(document: Mapping[str, Any]) -> TokenRecord:
    return TokenRecord(
        digest=document["digest"],
        subject=document["subject"],
        kind=document["kind"],
        issued=from_ms(document["issued"]),
        expires=from_ms(document["expires"]),
        body=json.loads(document["body"]),
        family=document.get("family", ""),
        key_id=document.get("key_id", ""),
    )


def document_document(record: DocumentRecord) -> Json:
    return {
        "schema": FORM,
        "owner": record.owner,
        "collection": record.collection,
        "name": record.name,
        "updated": to_ms(record.updated),
        "body": to_json(record.body),
        "version": record.version,
    }


def to_document(document: Mapping[str, Any]) -> DocumentRecord:
    return DocumentRecord(
        owner=document["owner"],
        collection=document["collection"],
        name=document["name"],
        updated=from_ms(document["updated"]),
        body=json.loads(document["body"]),
        version=document["version"],
    )
