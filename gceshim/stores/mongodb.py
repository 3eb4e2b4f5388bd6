"""
The store for several servers: MongoDB, through Motor.

Writes are acknowledged by a majority, so what was acknowledged outlives a fail-over; reads are of the primary. Each
change touches one document and is a compare-and-set on `version`. Bodies are kept as JSON text, as their keys are not
ours to choose. TTL indexes remove what has expired.

Motor has had no new features since May 2025 and is supported until May 2027; only this module knows it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, TypeVar

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.errors import ConfigurationError, DuplicateKeyError, OperationFailure, PyMongoError

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
    check_limit,
)
from gceshim.stores.encoding import to_json, to_ms
from gceshim.stores.errors import Conflict, Duplicate, Unavailable, WrongSchema
from gceshim.stores.mongodb_documents import (
    credential_document,
    document_document,
    expiry,
    operation_document,
    to_credential,
    to_document,
    to_operation,
    to_token,
    token_document,
)

T = TypeVar("T")
Json = dict[str, Any]

SCHEMA: Final = 2
"""Version of the collections' layout, kept in the collection `meta`."""

INDEXES: Final[Mapping[str, Sequence[IndexModel]]] = {
    "operations": (
        IndexModel([("name", ASCENDING)], unique=True),
        IndexModel([("number", ASCENDING)], unique=True),
        IndexModel([("owner", ASCENDING), ("name", ASCENDING)]),
        IndexModel(
            [("owner", ASCENDING), ("request_id", ASCENDING)],
            unique=True,
            partialFilterExpression={"request_id": {"$exists": True}},
        ),
        IndexModel([("done", ASCENDING), ("lease_until", ASCENDING)]),
        IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=0),
    ),
    "credentials": (IndexModel([("subject", ASCENDING)], unique=True),),
    "tokens": (
        IndexModel([("digest", ASCENDING)], unique=True),
        IndexModel([("subject", ASCENDING)]),
        IndexModel([("family", ASCENDING)], sparse=True),
        IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=0),
    ),
    "documents": (IndexModel([("owner", ASCENDING), ("collection", ASCENDING), ("name", ASCENDING)], unique=True),),
}


class MongoStore(Store):
    """
    A store in one MongoDB database.

    :param uri: `mongodb://...`, which may name user, password, hosts, replica set and TLS.
    :param database: its name. :param pool_size: most connections. :param timeout_seconds: longest wait for a server
        to be found, and for one call; a fail-over shorter than this is not noticed.
    :raises ValueError: the URI makes no sense; the text holds no password.
    """

    def __init__(
        self, uri: str, database: str = "gceshim", *, pool_size: int = 50, timeout_seconds: float = 15.0
    ) -> None:
        milliseconds = int(timeout_seconds * 1000)
        try:
            self._client: AsyncIOMotorClient[Json] = AsyncIOMotorClient(
                uri,
                appname="gceshim",
                tz_aware=True,
                w="majority",
                journal=True,
                readConcernLevel="majority",
                readPreference="primary",
                retryWrites=True,
                retryReads=True,
                maxPoolSize=pool_size,
                waitQueueTimeoutMS=milliseconds,
                serverSelectionTimeoutMS=milliseconds,
                connectTimeoutMS=milliseconds,
                socketTimeoutMS=milliseconds,
            )
        except (ConfigurationError, PyMongoError, ValueError) as exc:
            raise ValueError(f"not a MongoDB URI that can be used: {type(exc).__name__}") from None
        self._database = self._client[database]
        self.operations = MongoOperations(self._database["operations"])
        self.credentials = MongoCredentials(self._database["credentials"])
        self.tokens = MongoTokens(self._database["tokens"])
        self.documents = MongoDocuments(self._database["documents"])

    async def open(self) -> None:
        found = await self.schema_version()
        if found > SCHEMA:
            raise WrongSchema(f"the database has schema {found}, this release knows {SCHEMA}; use a newer release")
        for name, models in INDEXES.items():
            await guarded(self._database[name].create_indexes(list(models)))
        meta = self._database["meta"]
        await guarded(meta.update_one({"_id": "schema"}, {"$set": {"version": SCHEMA}}, upsert=True))

    async def close(self) -> None:
        self._client.close()

    async def ping(self) -> None:
        meta = self._database["meta"]
        await guarded(meta.update_one({"_id": "ping"}, {"$inc": {"count": 1}}, upsert=True))

    async def schema_version(self) -> int:
        found = await guarded(self._database["meta"].find_one({"_id": "schema"}))
        return 0 if found is None else int(found["version"])

    async def purge(self, now: datetime, *, limit: int = MAX_LIMIT) -> int:
        """MongoDB removes what has expired by itself, within a minute or so."""
        return 0


class MongoOperations(OperationStore):
    def __init__(self, collection: Any) -> None:
        self._collection = collection

    async def insert(self, record: OperationRecord) -> None:
        await guarded(self._collection.insert_one(operation_document(record)))

    async def get(self, name: str) -> OperationRecord | None:
        return await self._one({"name": name})

    async def find_id(self, owner: str, operation_id: int) -> OperationRecord | None:
        return await self._one({"owner": owner, "number": operation_id})

    async def find_request(self, owner: str, request_id: str) -> OperationRecord | None:
        return await self._one({"owner": owner, "request_id": request_id}) if request_id else None

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
        query: Json = {"owner": owner}
        if scope_kind is not None:
            query["scope_kind"] = scope_kind
        if scope is not None:
            query["scope"] = scope
        if after:
            query["name"] = {"$lt" if newest_first else "$gt": after}
        cursor = self._collection.find(query).sort("name", DESCENDING if newest_first else ASCENDING)
        return [to_operation(found) for found in await listed(cursor, limit)]

    async def update(self, record: OperationRecord) -> OperationRecord:
        changes = {
            "done": int(record.done),
            "lease_holder": record.lease_holder,
            "lease_until": to_ms(record.lease_until),
            **expiry(record.expires),
            "body": to_json(record.body),
        }
        await change(self._collection, {"name": record.name, "version": record.version}, changes)
        return replace(record, version=record.version + 1)

    async def delete(self, name: str, version: int) -> None:
        removed = await guarded(self._collection.delete_one({"name": name, "version": version}))
        if not removed.deleted_count:
            raise Conflict("the record has changed or is gone")

    async def lapsed(self, now: datetime, *, limit: int = 100) -> Sequence[OperationRecord]:
        query = {"done": 0, "lease_until": {"$lte": to_ms(now)}}
        cursor = self._collection.find(query).sort([("lease_until", ASCENDING), ("name", ASCENDING)])
        return [to_operation(found) for found in await listed(cursor, limit)]

    async def claim(self, name: str, holder: str, *, now: datetime, until: datetime) -> OperationRecord | None:
        found = await guarded(
            self._collection.find_one_and_update(
                {"name": name, "done": 0, "lease_until": {"$lte": to_ms(now)}},
                {"$set": {"lease_holder": holder, "lease_until": to_ms(until)}, "$inc": {"version": 1}},
                return_document=ReturnDocument.AFTER,
            )
        )
        return None if found is None else to_operation(found)

    async def renew(self, holder: str, names: Collection[str], until: datetime) -> frozenset[str]:
        query = {"name": {"$in": list(names)}, "done": 0, "lease_holder": holder}
        await guarded(self._collection.update_many(query, {"$set": {"lease_until": to_ms(until)}}))
        # Nobody else takes an operation over before its lease has lapsed: who has it now has it renewed.
        return await self._names(query)

    async def release(self, holder: str, names: Collection[str]) -> None:
        query = {"name": {"$in": list(names)}, "done": 0, "lease_holder": holder}
        await guarded(self._collection.update_many(query, {"$set": {"lease_holder": "", "lease_until": to_ms(EPOCH)}}))

    async def unfinished(self, names: Collection[str]) -> frozenset[str]:
        return await self._names({"name": {"$in": list(names)}, "done": 0})

    async def _names(self, query: Json) -> frozenset[str]:
        cursor = self._collection.find(query, {"name": 1})
        return frozenset(found["name"] for found in await guarded(cursor.to_list(length=None)))

    async def _one(self, query: Json) -> OperationRecord | None:
        found = await guarded(self._collection.find_one(query))
        return None if found is None else to_operation(found)


class MongoCredentials(CredentialStore):
    def __init__(self, collection: Any) -> None:
        self._collection = collection

    async def insert(self, record: CredentialRecord) -> None:
        await guarded(self._collection.insert_one(credential_document(record)))

    async def get(self, subject: str) -> CredentialRecord | None:
        found = await guarded(self._collection.find_one({"subject": subject}))
        return None if found is None else to_credential(found)

    async def list(self, *, after: str = "", limit: int = 500) -> Sequence[CredentialRecord]:
        cursor = self._collection.find({"subject": {"$gt": after}}).sort("subject", ASCENDING)
        return [to_credential(found) for found in await listed(cursor, limit)]

    async def update(self, record: CredentialRecord) -> CredentialRecord:
        changes = {"key_id": record.key_id, "sealed": record.sealed, "body": to_json(record.body)}
        await change(self._collection, {"subject": record.subject, "version": record.version}, changes)
        return replace(record, version=record.version + 1)

    async def delete(self, subject: str) -> bool:
        return bool((await guarded(self._collection.delete_one({"subject": subject}))).deleted_count)


class MongoTokens(TokenStore):
    def __init__(self, collection: Any) -> None:
        self._collection = collection

    async def insert(self, record: TokenRecord) -> None:
        await guarded(self._collection.insert_one(token_document(record)))

    async def get(self, digest: str) -> TokenRecord | None:
        found = await guarded(self._collection.find_one({"digest": digest}))
        return None if found is None else to_token(found)

    async def delete(self, digest: str) -> bool:
        return bool((await guarded(self._collection.delete_one({"digest": digest}))).deleted_count)

    async def delete_subject(self, subject: str) -> int:
        return int((await guarded(self._collection.delete_many({"subject": subject}))).deleted_count)

    async def delete_family(self, family: str) -> int:
        return int((await guarded(self._collection.delete_many({"family": check_family(family)}))).deleted_count)


class MongoDocuments(DocumentStore):
    def __init__(self, collection: Any) -> None:
        self._collection = collection

    async def insert(self, record: DocumentRecord) -> None:
        await guarded(self._collection.insert_one(document_document(record)))

    async def get(self, owner: str, collection: str, name: str) -> DocumentRecord | None:
        found = await guarded(self._collection.find_one({"owner": owner, "collection": collection, "name": name}))
        return None if found is None else to_document(found)

    async def list(self, owner: str, collection: str, *, after: str = "", limit: int = 500) -> Sequence[DocumentRecord]:
        query = {"owner": owner, "collection": collection, "name": {"$gt": after}}
        cursor = self._collection.find(query).sort("name", ASCENDING)
        return [to_document(found) for found in await listed(cursor, limit)]

    async def update(self, record: DocumentRecord) -> DocumentRecord:
        key = {"owner": record.owner, "collection": record.collection, "name": record.name, "version": record.version}
        await change(self._collection, key, {"updated": to_ms(record.updated), "body": to_json(record.body)})
        return replace(record, version=record.version + 1)

    async def delete(self, owner: str, collection: str, name: str, *, version: int | None = None) -> bool:
        key: Json = {"owner": owner, "collection": collection, "name": name}
        wanted = key if version is None else {**key, "version": version}
        if (await guarded(self._collection.delete_one(wanted))).deleted_count:
            return True
        if version is not None and await self.get(owner, collection, name) is not None:
            raise Conflict("the document has changed")
        return False


async def guarded(call: Awaitable[T]) -> T:
    """
    A call of Motor's, its errors in the words of the store. Texts hold no URI: that may hold a password.

    :raises Duplicate: a unique key is taken. :raises Unavailable: anything else.
    """
    try:
        return await call
    except DuplicateKeyError as exc:
        raise Duplicate("a record with this key is there already") from exc
    except OperationFailure as exc:
        raise Unavailable(
            f"MongoDB refuses: {exc.details.get('codeName', exc.code) if exc.details else exc.code}"
        ) from exc
    except (TimeoutError, PyMongoError) as exc:
        raise Unavailable(f"MongoDB cannot be reached: {type(exc).__name__}") from exc


async def listed(cursor: Any, limit: int) -> list[Json]:
    """What a cursor finds, up to a limit that is checked."""
    size = check_limit(limit)
    found: list[Json] = await guarded(cursor.limit(size).to_list(length=size))
    return found


async def change(collection: Any, key: Json, changes: Json) -> None:
    """Change the one document of this key, and count its version up. :raises Conflict: there is none."""
    done = await guarded(collection.update_one(key, {"$set": changes, "$inc": {"version": 1}}))
    if not done.matched_count:
        raise Conflict("the record has changed or is gone")
