"""
The store for several servers: MongoDB, through Motor.

Writes are acknowledged by a majority, so what was acknowledged outlives a fail-over; reads are of the primary. Each
change touches one document and is a compare-and-set on `version`. Bodies are kept as JSON text, as their keys are not
ours to choose. TTL indexes remove what has expired.

Motor has had no new features since May 2025 and is supported until May 2027; only this module knows it, and what goes
with it in `mongodb_calls` and `mongodb_upkeep`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, DESCENDING, ReturnDocument
from pymongo.errors import ConfigurationError, PyMongoError

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
from gceshim.stores.errors import Conflict, Unavailable
from gceshim.stores.mongodb_calls import Calls, Json
from gceshim.stores.mongodb_documents import (
    FORM,
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
from gceshim.stores.mongodb_upkeep import META, MongoUpkeep


class MongoStore(Store):
    """
    A store in one MongoDB database.

    :param uri: `mongodb://...`, which may name user, password, hosts, replica set and TLS.
    :param database: its name. :param pool_size: most connections to one server.
    :param timeout_seconds: longest time for one call, with all its tries; a shorter fail-over is not noticed.
    :param standalone: take a server that is no replica set; it may lose what it has acknowledged.
    :raises ValueError: the URI makes no sense; the text holds no password.
    """

    def __init__(
        self,
        uri: str,
        database: str = "gceshim",
        *,
        pool_size: int = 50,
        timeout_seconds: float = 15.0,
        standalone: bool = False,
    ) -> None:
        part = int(max(1.0, timeout_seconds / 3) * 1000)  # of one try, so that there is time for another
        # Shorter than the whole, as it takes up to half a second more: its error tells what is wrong, a timeout not.
        selection = int(max(timeout_seconds - 1.0, 0.6 * timeout_seconds) * 1000)
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
                waitQueueTimeoutMS=part,
                serverSelectionTimeoutMS=selection,
                connectTimeoutMS=part,
                socketTimeoutMS=part,
            )
            found = self._client[database]
        except (ConfigurationError, PyMongoError, ValueError) as exc:
            raise ValueError(f"not a MongoDB URI that can be used: {type(exc).__name__}") from None
        hosts = uri.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]
        calls = Calls(timeout_seconds)
        self._meta = found[META]
        self._calls = calls
        self.operations = MongoOperations(found["operations"], calls)
        self.credentials = MongoCredentials(found["credentials"], calls)
        self.tokens = MongoTokens(found["tokens"], calls)
        self.documents = MongoDocuments(found["documents"], calls)
        self.upkeep = self._upkeep = MongoUpkeep(found, calls, f"{hosts}, database {database}", standalone=standalone)

    async def open(self) -> None:
        await self._upkeep.prepare()

    async def close(self) -> None:
        await asyncio.to_thread(self._client.close)  # it takes leave of the server, which may not answer

    async def ping(self) -> None:
        count = {"$inc": {"count": 1}, "$set": {"schema": FORM}}
        await self._calls.run(lambda: self._meta.update_one({"_id": "ping"}, count, upsert=True))

    async def schema_version(self) -> int:
        return await self.upkeep.version()

    async def purge(self, now: datetime, *, limit: int = MAX_LIMIT) -> int:
        """MongoDB removes what has expired by itself, within a minute or so."""
        return 0


class MongoOperations(OperationStore):
    def __init__(self, collection: Any, calls: Calls) -> None:
        self._collection = collection
        self._calls = calls

    async def insert(self, record: OperationRecord) -> None:
        await self._calls.insert(self._collection, operation_document(record))

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
        order = [("name", DESCENDING if newest_first else ASCENDING)]
        found = await self._calls.find(self._collection, query, order, check_limit(limit))
        return [to_operation(document) for document in found]

    async def update(self, record: OperationRecord) -> OperationRecord:
        changes = {
            "done": int(record.done),
            "lease_holder": record.lease_holder,
            "lease_until": to_ms(record.lease_until),
            **expiry(record.expires),
            "body": to_json(record.body),
            "key_id": record.key_id,
        }
        await self._calls.change(self._collection, {"name": record.name}, record.version, changes)
        return replace(record, version=record.version + 1)

    async def delete(self, name: str, version: int) -> None:
        removed = await self._calls.remove(self._collection, {"name": name, "version": version})
        if not removed and (removed is False or await self.get(name) is not None):
            raise Conflict("the record has changed or is gone")

    async def lapsed(self, now: datetime, *, limit: int = 100) -> Sequence[OperationRecord]:
        query = {"done": 0, "lease_until": {"$lte": to_ms(now)}}
        order = [("lease_until", ASCENDING), ("name", ASCENDING)]
        found = await self._calls.find(self._collection, query, order, check_limit(limit))
        return [to_operation(document) for document in found]

    async def claim(self, name: str, holder: str, *, now: datetime, until: datetime) -> OperationRecord | None:
        own = {"write": secrets.token_hex(12)}  # as in `Calls.change`
        lapsed = {"lease_until": {"$lte": to_ms(now)}}
        update = {"$set": {"lease_holder": holder, "lease_until": to_ms(until), **own}, "$inc": {"version": 1}}
        key = {"name": name, "done": 0}

        def take(which: Json) -> Awaitable[Json | None]:
            taken: Awaitable[Json | None] = self._collection.find_one_and_update(
                which, update, return_document=ReturnDocument.AFTER
            )
            return taken

        found = await self._calls.run(lambda: take({**key, **lapsed}), lambda: take({**key, "$or": [lapsed, own]}))
        return None if found is None else to_operation(found)

    async def renew(self, holder: str, names: Collection[str], until: datetime) -> frozenset[str]:
        query = {"name": {"$in": list(names)}, "done": 0, "lease_holder": holder}
        update = {"$set": {"lease_until": to_ms(until)}}
        await self._calls.run(lambda: self._collection.update_many(query, update))
        # Nobody else takes an operation over before its lease has lapsed: who has it now has it renewed.
        return await self._names(query)

    async def release(self, holder: str, names: Collection[str]) -> None:
        query = {"name": {"$in": list(names)}, "done": 0, "lease_holder": holder}
        update = {"$set": {"lease_holder": "", "lease_until": to_ms(EPOCH)}}
        await self._calls.run(lambda: self._collection.update_many(query, update))

    async def unfinished(self, names: Collection[str]) -> frozenset[str]:
        return await self._names({"name": {"$in": list(names)}, "done": 0})

    async def _names(self, query: Json) -> frozenset[str]:
        found = await self._calls.run(lambda: self._collection.find(query, {"name": 1}).to_list(length=None))
        return frozenset(document["name"] for document in found)

    async def _one(self, query: Json) -> OperationRecord | None:
        found = await self._calls.run(lambda: self._collection.find_one(query))
        return None if found is None else to_operation(found)


class MongoCredentials(CredentialStore):
    def __init__(self, collection: Any, calls: Calls) -> None:
        self._collection = collection
        self._calls = calls

    async def insert(self, record: CredentialRecord) -> None:
        await self._calls.insert(self._collection, credential_document(record))

    async def get(self, subject: str) -> CredentialRecord | None:
        found = await self._calls.run(lambda: self._collection.find_one({"subject": subject}))
        return None if found is None else to_credential(found)

    async def list(self, *, after: str = "", limit: int = 500) -> Sequence[CredentialRecord]:
        query = {"subject": {"$gt": after}}
        found = await self._calls.find(self._collection, query, [("subject", ASCENDING)], check_limit(limit))
        return [to_credential(document) for document in found]

    async def update(self, record: CredentialRecord) -> CredentialRecord:
        changes = {"key_id": record.key_id, "sealed": record.sealed, "body": to_json(record.body)}
        await self._calls.change(self._collection, {"subject": record.subject}, record.version, changes)
        return replace(record, version=record.version + 1)

    async def delete(self, subject: str) -> bool:
        return await self._calls.remove(self._collection, {"subject": subject}) is not False


class MongoTokens(TokenStore):
    def __init__(self, collection: Any, calls: Calls) -> None:
        self._collection = collection
        self._calls = calls

    async def insert(self, record: TokenRecord) -> None:
        await self._calls.insert(self._collection, token_document(record))

    async def get(self, digest: str) -> TokenRecord | None:
        found = await self._calls.run(lambda: self._collection.find_one({"digest": digest}))
        return None if found is None else to_token(found)

    async def delete(self, digest: str) -> bool:
        removed = await self._calls.remove(self._collection, {"digest": digest})
        if removed is None:
            # It is gone, by us or by another, and whoever removes it may use it.
            raise Unavailable("MongoDB did not answer when a token was removed")
        return removed

    async def delete_subject(self, subject: str) -> int:
        return await self._delete({"subject": subject})

    async def delete_family(self, family: str) -> int:
        return await self._delete({"family": check_family(family)})

    async def delete_key(self, key_id: str) -> int:
        return await self._delete({"key_id": check_key(key_id)})

    async def _delete(self, query: Json) -> int:
        return int((await self._calls.run(lambda: self._collection.delete_many(query))).deleted_count)


class MongoDocuments(DocumentStore):
    def __init__(self, collection: Any, calls: Calls) -> None:
        self._collection = collection
        self._calls = calls

    async def insert(self, record: DocumentRecord) -> None:
        await self._calls.insert(self._collection, document_document(record))

    async def get(self, owner: str, collection: str, name: str) -> DocumentRecord | None:
        key = {"owner": owner, "collection": collection, "name": name}
        found = await self._calls.run(lambda: self._collection.find_one(key))
        return None if found is None else to_document(found)

    async def list(self, owner: str, collection: str, *, after: str = "", limit: int = 500) -> Sequence[DocumentRecord]:
        query = {"owner": owner, "collection": collection, "name": {"$gt": after}}
        found = await self._calls.find(self._collection, query, [("name", ASCENDING)], check_limit(limit))
        return [to_document(document) for document in found]

    async def update(self, record: DocumentRecord) -> DocumentRecord:
        key = {"owner": record.owner, "collection": record.collection, "name": record.name}
        changes = {"updated": to_ms(record.updated), "body": to_json(record.body)}
        await self._calls.change(self._collection, key, record.version, changes)
        return replace(record, version=record.version + 1)

    async def delete(self, owner: str, collection: str, name: str, *, version: int | None = None) -> bool:
        key: Json = {"owner": owner, "collection": collection, "name": name}
        wanted = key if version is None else {**key, "version": version}
        removed = await self._calls.remove(self._collection, wanted)
        if not removed and version is not None and await self.get(owner, collection, name) is not None:
            raise Conflict("the document has changed")
        return removed is not False
