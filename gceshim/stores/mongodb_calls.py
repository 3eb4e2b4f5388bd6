"""
Calls of MongoDB that ride out a fail-over, and their errors in the words of the store.

Motor's driver tries a call once more by itself, on a replica set. A fail-over takes longer than that: seconds go by
until there is a new primary. So each call is tried until it works or its time is over. When an answer was lost, the
call may have taken effect; each write is made such that trying it again does no more than the first would have done,
and finds its own traces where the first did it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from bson import ObjectId
from pymongo.errors import (
    ConnectionFailure,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from gceshim.stores.errors import Conflict, Duplicate, Unavailable

T = TypeVar("T")
Json = dict[str, Any]

FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 1.0

AUTHENTICATION_FAILED: Final = 18
UNAUTHORIZED: Final = 13
FAILING_OVER: Final = frozenset({6, 7, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436})
"""Codes of errors that pass. Source: MongoDB's retryable reads specification."""


class Calls:
    """:param seconds: how long a call is tried, all in all."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def run(self, first: Callable[[], Awaitable[T]], again: Callable[[], Awaitable[T]] | None = None) -> T:
        """
        Call, and while MongoDB does not answer, again.

        :param again: what to call then, as the first call may have taken effect; None: the same.
        :raises Duplicate: a unique key is taken. :raises Unavailable: the time is over, or MongoDB refuses.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._seconds
        pause = FIRST_PAUSE_SECONDS
        call = first
        while True:
            try:
                async with asyncio.timeout_at(give_up):
                    return await call()
            except DuplicateKeyError as exc:
                raise Duplicate("a record with this key is there already") from exc
            except TimeoutError as exc:
                raise Unavailable(f"MongoDB did not answer within {self._seconds:g} seconds") from exc
            except PyMongoError as exc:
                if not _passes(exc) or loop.time() + pause > give_up:
                    raise Unavailable(_words(exc)) from exc
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            call = again or first

    async def find(self, collection: Any, query: Json, sort: Sequence[tuple[str, int]], limit: int) -> list[Json]:
        """The first documents of a query in an order that is total."""

        def first() -> Awaitable[list[Json]]:
            found: Awaitable[list[Json]] = collection.find(query).sort(list(sort)).limit(limit).to_list(length=limit)
            return found

        return await self.run(first)

    async def insert(self, collection: Any, document: Json) -> None:
        """Add a document. :raises Duplicate: a unique key is taken, and not by this very document."""
        own = {"_id": ObjectId()}

        async def again() -> None:
            try:
                await collection.insert_one({**own, **document})
            except DuplicateKeyError:
                # A write, as it returns when a majority has what it found; a read would not tell.
                mine = await collection.update_one(own, {"$set": {"schema": document["schema"]}})
                if not mine.matched_count:
                    raise

        await self.run(lambda: collection.insert_one({**own, **document}), again)

    async def change(self, collection: Any, key: Json, version: int, changes: Json) -> None:
        """
        Change the one document of this key and version, and count its version up.

        `write` names the change, so that a second try knows what the first has done.

        :raises Conflict: there is none.
        """
        own = {"write": secrets.token_hex(12)}
        update = {"$set": {**changes, **own, "version": version + 1}}
        done = await self.run(
            lambda: collection.update_one({**key, "version": version}, update),
            lambda: collection.update_one({**key, "$or": [{"version": version}, own]}, update),
        )
        if not done.matched_count:
            raise Conflict("the record has changed or is gone")

    async def remove(self, collection: Any, key: Json) -> bool | None:
        """Remove the one document of this key. False: there was none; None: there is none, and it may have been us."""
        lost = False

        async def again() -> Any:
            nonlocal lost
            lost = True
            return await collection.delete_one(key)

        done = await self.run(lambda: collection.delete_one(key), again)
        return True if done.deleted_count else (None if lost else False)


def _passes(exc: PyMongoError) -> bool:
    """Whether a server that stops, or another that takes its place, may be all that is wrong."""
    if isinstance(exc, ServerSelectionTimeoutError):
        return False  # the driver has waited for one long enough
    if isinstance(exc, OperationFailure) and exc.code in FAILING_OVER:
        return True
    return isinstance(exc, (ConnectionFailure, WriteConcernError)) or exc.has_error_label("RetryableWriteError")


def _words(exc: PyMongoError) -> str:
    """What to tell an operator. Holds no URI: that may hold a password."""
    if isinstance(exc, OperationFailure):
        if exc.code == AUTHENTICATION_FAILED:
            return "MongoDB does not accept the user and password; mend them, or authSource, in store.mongodb_uri"
        if exc.code == UNAUTHORIZED:
            return "MongoDB does not let this user in; give it the role readWrite on the store's database"
        return f"MongoDB refuses: {(exc.details or {}).get('codeName', exc.code)}"
    if isinstance(exc, ServerSelectionTimeoutError):
        reason = str(exc).partition(", Timeout:")[0].partition(" (configured timeouts")[0]
        return f"MongoDB cannot be reached; does it run, and are hosts and replicaSet right? ({reason})"
    return f"MongoDB cannot be reached: {type(exc).__name__}"
