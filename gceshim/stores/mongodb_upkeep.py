"""
What an operator asks of a store in MongoDB: its schema, the way from an older one, and what is in it.

A newer release leaves an older schema alone until it is told to migrate, as other servers work with it. A migration
only adds, so that servers of the release before go on until they are stopped; what they write meanwhile is in the
older form, which is read as well. They cannot be started again after it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from pymongo import ASCENDING, IndexModel, UpdateOne

from gceshim.stores.base import Census, KeyUse, Report, Upkeep
from gceshim.stores.encoding import from_ms, to_ms
from gceshim.stores.errors import Duplicate, Unsuitable, WrongSchema
from gceshim.stores.mongodb_calls import Calls, Json
from gceshim.stores.mongodb_documents import FORM

META: Final = "meta"
BATCH: Final = 500

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


def _token_of_form_1(document: Json) -> Json:
    """Only its body tells which key signed it."""
    return {"key_id": json.loads(document["body"]).get("kid", "")}


UPGRADES: Final[Mapping[str, Callable[[Json], Json]]] = {"tokens": _token_of_form_1}
"""By collection: what a document of the form before gets beside its new number."""


class MongoUpkeep(Upkeep):
    """
    :param database: Motor's. :param where: hosts and database, for messages.
    :param standalone: whether a server that is no replica set will do.
    """

    kind = "mongodb"
    schema = FORM

    def __init__(self, database: Any, calls: Calls, where: str, *, standalone: bool) -> None:
        self.where = where
        self._database = database
        self._calls = calls
        self._standalone = standalone

    async def prepare(self) -> None:
        """Check the server and the schema, and make it where there is none. :raises: as `Store.open`."""
        await self.check()
        await self._make()

    async def check(self) -> None:
        await self._check_server()
        found = await self.version()
        if found == 0:
            await self._check_empty()
        elif found != self.schema:
            raise WrongSchema(self._other_schema(found))

    async def version(self) -> int:
        found = await self._calls.run(lambda: self._database[META].find_one({"_id": "schema"}))
        return 0 if found is None else int(found["version"])

    async def migrate(self, report: Report) -> None:
        await self._check_server()
        found = await self.version()
        if found == 0:
            await self._check_empty()
        if found > self.schema:
            raise WrongSchema(self._other_schema(found))
        await self._make()
        for name in INDEXES:
            await self._upgrade(name, report)
        meta = self._database[META]
        await self._calls.run(lambda: meta.update_one({"_id": "schema"}, {"$set": {"version": self.schema}}))

    async def census(self, now: datetime) -> Census:
        moment = to_ms(now)
        operations, tokens = self._database["operations"], self._database["tokens"]
        running: Json = {"done": 0, "lease_until": {"$gt": moment}}
        oldest = await self._groups(operations, {"done": 0}, None, oldest={"$min": "$inserted"})
        outdated = [await self._count(self._database[name], {"schema": {"$lt": FORM}}) for name in INDEXES]
        return Census(
            operations={
                "running": await self._count(operations, running),
                "waiting": await self._count(operations, {"done": 0, "lease_until": {"$lte": moment}}),
                "done": await self._count(operations, {"done": 1}),
            },
            oldest_unfinished=from_ms(oldest[0]["oldest"]) if oldest else None,
            leases=await self._counts(operations, running, "lease_holder"),
            credentials=await self._count(self._database["credentials"], {}),
            tokens=await self._counts(tokens, {"expires": {"$gt": moment}}, "kind"),
            documents=await self._counts(self._database["documents"], {}, "collection"),
            keys=await self._keys(moment),
            outdated=sum(outdated),
        )

    async def scrub(self) -> None:
        """MongoDB overwrites freed space in its own time; its oplog and backups keep what was there for longer."""

    async def _keys(self, moment: int) -> Mapping[str, KeyUse]:
        uses: dict[str, KeyUse] = defaultdict(KeyUse)
        for key, count in (await self._counts(self._database["credentials"], {}, "key_id")).items():
            uses[key] = replace(uses[key], credentials=count)
        sealed: Json = {"key_id": {"$gt": ""}}
        for key, count in (await self._counts(self._database["operations"], sealed, "key_id")).items():
            uses[key] = replace(uses[key], operations=count)
        good: Json = {"key_id": {"$gt": ""}, "expires": {"$gt": moment}}
        for group in await self._groups(self._database["tokens"], good, "$key_id", until={"$max": "$expires"}):
            use = replace(uses[group["_id"]], tokens=group["count"], tokens_until=from_ms(group["until"]))
            uses[group["_id"]] = use
        return dict(uses)

    async def _counts(self, collection: Any, query: Json, field: str) -> dict[str, int]:
        return {group["_id"]: group["count"] for group in await self._groups(collection, query, f"${field}")}

    async def _groups(self, collection: Any, query: Json, by: str | None, **sums: Json) -> list[Json]:
        stages = [{"$match": query}, {"$group": {"_id": by, "count": {"$sum": 1}, **sums}}]
        found: list[Json] = await self._calls.run(lambda: collection.aggregate(stages).to_list(length=None))
        return found

    async def _count(self, collection: Any, query: Json) -> int:
        count: int = await self._calls.run(lambda: collection.count_documents(query))
        return count

    async def _check_server(self) -> None:
        """:raises Unsuitable: the server is no replica set and no router of one."""
        hello = await self._calls.run(lambda: self._database.client.admin.command("hello"))
        if not (self._standalone or hello.get("setName") or hello.get("msg") == "isdbgrid"):
            raise Unsuitable(
                "this MongoDB is a single server, which may lose what it has acknowledged when it fails; make it a "
                "replica set (mongod --replSet rs0, then rs.initiate(); one member will do), or accept that: "
                "store.mongodb_standalone = true"
            )

    async def _check_empty(self) -> None:
        """:raises WrongSchema: the database has no schema of ours, but something in it."""
        names: list[str] = await self._calls.run(self._database.list_collection_names)
        foreign = [name for name in names if name not in {*INDEXES, META} and not name.startswith("system.")]
        for name in INDEXES.keys() & set(names):
            if await self._calls.run(partial(self._database[name].find_one, {"schema": {"$exists": False}})):
                foreign.append(name)
        if foreign:
            raise WrongSchema(
                f"the database {self._database.name} holds something else ({', '.join(sorted(foreign)[:5])}); "
                "give the store one of its own: store.mongodb_database"
            )

    async def _make(self) -> None:
        """Make what is missing; several servers may do it at once."""
        for name, models in INDEXES.items():
            await self._calls.run(partial(self._database[name].create_indexes, list(models)))
        fresh = {"$setOnInsert": {"schema": FORM, "version": self.schema}}
        try:
            await self._calls.run(lambda: self._database[META].update_one({"_id": "schema"}, fresh, upsert=True))
        except Duplicate:
            return  # another was quicker

    async def _upgrade(self, name: str, report: Report) -> None:
        """Bring the documents of a collection into the present form, those before `last` being in it."""
        collection = self._database[name]
        older: Json = {"schema": {"$lt": FORM}}
        total, done, last = await self._count(collection, older), 0, None
        while True:
            report(name, done, max(done, total))
            query = older if last is None else {**older, "_id": {"$gt": last}}
            found = await self._calls.find(collection, query, [("_id", ASCENDING)], BATCH)
            if not found:
                return
            changes = [_upgraded(name, document) for document in found]
            await self._calls.run(partial(collection.bulk_write, changes, ordered=False))
            done, last = done + len(found), found[-1]["_id"]

    def _other_schema(self, found: int) -> str:
        if found > self.schema:
            return f"the database has schema {found}, and this release knows {self.schema}; use a newer release"
        return f"the database has schema {found}, and this release works with {self.schema}; run: gceshim store migrate"


def _upgraded(name: str, document: Json) -> UpdateOne:
    added = UPGRADES[name](document) if name in UPGRADES else {}
    return UpdateOne({"_id": document["_id"], "schema": document["schema"]}, {"$set": {**added, "schema": FORM}})
