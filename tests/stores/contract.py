"""
What every store does alike. A store's test class derives from `StoreContract` and says how to make one.

Nothing here may lean on how fast expired records vanish, or on what a store does beyond the interface.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gceshim.stores.base import (
    EPOCH,
    Census,
    CredentialRecord,
    DocumentRecord,
    KeyUse,
    OperationRecord,
    Store,
    TokenRecord,
)
from gceshim.stores.errors import Conflict, Duplicate, Unavailable

from .running import in_loop

NOW = datetime(2096, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC)
SECOND = timedelta(seconds=1)
BODY: dict[str, Any] = {"a.b": [1, None, {"$c": "ä\u2028\U0001f600"}], "": True, "big": 2**62, "f": 0.1}


def operation(number: int = 1, **changes: Any) -> OperationRecord:
    """An operation that is held by "me" for a second from `NOW`."""
    record = OperationRecord(
        name=f"operation-{number:013}",
        id=number,
        owner="owner",
        scope_kind="zone",
        scope="z",
        request_id="",
        inserted=NOW,
        done=False,
        lease_holder="me",
        lease_until=NOW + SECOND,
        expires=None,
        body=BODY,
    )
    return replace(record, **changes)


class StoreContract(abc.ABC):
    """`make` twice with one place gives two stores with the same content, as in two processes."""

    @abc.abstractmethod
    def make(self, place: Path) -> Store: ...

    @contextlib.asynccontextmanager
    async def opened(self, place: Path) -> AsyncIterator[Store]:
        store = self.make(place)
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    @in_loop
    async def test_what_was_stored_is_there_after_reopening(self, tmp_path: Path) -> None:
        """An acknowledged write outlives the process."""
        records = (
            operation(expires=NOW + SECOND, key_id="k"),
            CredentialRecord("s", NOW, "k", b"\x00\xff", BODY),
            TokenRecord("d", "s", "access", NOW, NOW + SECOND, BODY, "f", "k"),
            DocumentRecord("o", "c", "n", NOW, BODY),
        )
        async with self.opened(tmp_path) as store:
            await store.operations.insert(records[0])
            await store.credentials.insert(records[1])
            await store.tokens.insert(records[2])
            await store.documents.insert(records[3])
            version = await store.schema_version()
        async with self.opened(tmp_path) as store:
            await store.ping()
            assert await store.schema_version() == version
            assert await store.operations.get(records[0].name) == records[0]
            assert await store.credentials.get("s") == records[1]
            assert await store.tokens.get("d") == records[2]
            assert await store.documents.get("o", "c", "n") == records[3]

    @in_loop
    async def test_times_are_kept_to_the_millisecond(self, tmp_path: Path) -> None:
        """Some stores keep no more, so none may seem to."""
        fine = NOW + timedelta(microseconds=999)
        async with self.opened(tmp_path) as store:
            await store.operations.insert(operation(inserted=fine, lease_until=EPOCH))
            stored = await store.operations.get(operation().name)
        assert stored is not None
        assert (stored.inserted, stored.lease_until) == (NOW, EPOCH)

    @in_loop
    async def test_a_closed_store_says_so(self, tmp_path: Path) -> None:
        """A call after closing must not hang."""
        async with self.opened(tmp_path) as store:
            pass
        with pytest.raises(Unavailable):
            await store.ping()
        await store.close()

    @pytest.mark.parametrize("changes", [{"id": 2}, {"name": "other"}, {"name": "other", "id": 2}])
    @in_loop
    async def test_names_ids_and_request_ids_of_operations_are_unique(
        self, tmp_path: Path, changes: dict[str, Any]
    ) -> None:
        """Idempotency by request id rests on this."""
        async with self.opened(tmp_path) as store:
            await store.operations.insert(operation(request_id="r"))
            with pytest.raises(Duplicate):
                await store.operations.insert(operation(request_id="r", **changes))
            assert await store.operations.list("owner") == [operation(request_id="r")]

    @in_loop
    async def test_no_request_id_and_another_owner_are_no_duplicates(self, tmp_path: Path) -> None:
        """The request id of one tenant means nothing to another."""
        async with self.opened(tmp_path) as store:
            for number, changes in enumerate(
                ({}, {}, {"request_id": "r"}, {"request_id": "r", "owner": "other"}), start=1
            ):
                await store.operations.insert(operation(number, **changes))
            found = await store.operations.find_request("other", "r")
            assert found is not None
            assert found.id == 4
            assert await store.operations.find_request("owner", "") is None

    @in_loop
    async def test_operations_are_found_by_id_within_their_owner(self, tmp_path: Path) -> None:
        """Numeric ids may be guessed; owners may not be crossed."""
        async with self.opened(tmp_path) as store:
            await store.operations.insert(operation(id=2**63 - 1))
            assert await store.operations.find_id("owner", 2**63 - 1) == operation(id=2**63 - 1)
            assert await store.operations.find_id("other", 2**63 - 1) is None
            assert await store.operations.get("nope") is None

    @in_loop
    async def test_operations_are_listed_in_pages_by_name(self, tmp_path: Path) -> None:
        """Every one once, in both directions, within one owner and one scope."""
        async with self.opened(tmp_path) as store:
            for number in range(1, 8):
                await store.operations.insert(operation(number))
            await store.operations.insert(operation(8, owner="other"))
            await store.operations.insert(operation(9, scope_kind="global", scope=""))
            for newest_first in (False, True):
                seen: list[int] = []
                after = ""
                while True:
                    page = await store.operations.list(
                        "owner", scope_kind="zone", scope="z", after=after, newest_first=newest_first, limit=3
                    )
                    seen += [record.id for record in page]
                    if len(page) < 3:
                        break
                    after = page[-1].name
                assert seen == sorted(range(1, 8), reverse=newest_first)
            assert [record.id for record in await store.operations.list("owner")] == [*range(1, 8), 9]
            assert [record.id for record in await store.operations.list("owner", scope_kind="global")] == [9]

    @pytest.mark.parametrize("limit", [0, -1, 1001])
    @in_loop
    async def test_a_list_without_bound_is_refused(self, tmp_path: Path, limit: int) -> None:
        """No call may read the whole store into memory."""
        async with self.opened(tmp_path) as store:
            for part in (
                store.operations.list("o", limit=limit),
                store.operations.lapsed(NOW, limit=limit),
                store.credentials.list(limit=limit),
                store.documents.list("o", "c", limit=limit),
            ):
                with pytest.raises(ValueError, match="limit"):
                    await part

    @in_loop
    async def test_an_update_needs_the_version_that_was_read(self, tmp_path: Path) -> None:
        """Of several writers who read the same, one wins and the others learn of it."""
        async with self.opened(tmp_path) as store, self.opened(tmp_path) as other:
            await store.operations.insert(operation())
            results = await asyncio.gather(
                *(
                    part.operations.update(operation(body={"writer": number}))
                    for number, part in enumerate([store, other] * 5)
                ),
                return_exceptions=True,
            )
            won = [result for result in results if isinstance(result, OperationRecord)]
            assert [type(result) for result in results].count(Conflict) == 9
            assert await other.operations.get(operation().name) == won[0]
            assert won[0].version == 2

    @in_loop
    async def test_an_update_replaces_state_and_nothing_else(self, tmp_path: Path) -> None:
        """Keys stay what they were at insertion."""
        async with self.opened(tmp_path) as store:
            await store.operations.insert(operation())
            changed = operation(done=True, lease_holder="", lease_until=EPOCH, expires=NOW, body={"x": 1})
            assert await store.operations.update(changed) == replace(changed, version=2)
            assert await store.operations.get(changed.name) == replace(changed, version=2)

    @in_loop
    async def test_updating_or_deleting_what_is_gone_is_a_conflict(self, tmp_path: Path) -> None:
        """Gone is changed, too."""
        async with self.opened(tmp_path) as store:
            with pytest.raises(Conflict):
                await store.operations.update(operation())
            with pytest.raises(Conflict):
                await store.operations.delete(operation().name, 1)
            await store.operations.insert(operation())
            with pytest.raises(Conflict):
                await store.operations.delete(operation().name, 2)
            await store.operations.delete(operation().name, 1)
            assert await store.operations.get(operation().name) is None

    @in_loop
    async def test_one_of_many_claims_a_lapsed_operation(self, tmp_path: Path) -> None:
        """Two processes must never run one operation."""
        async with self.opened(tmp_path) as store, self.opened(tmp_path) as other:
            await store.operations.insert(operation())
            claim = {"now": NOW + SECOND, "until": NOW + 2 * SECOND}
            claimed = await asyncio.gather(
                *(
                    part.operations.claim(operation().name, f"holder {number}", **claim)
                    for number, part in enumerate([store, other] * 5)
                )
            )
            winners = [record for record in claimed if record is not None]
            assert len(winners) == 1
            assert (winners[0].version, winners[0].lease_until) == (2, NOW + 2 * SECOND)
            assert winners[0] == await store.operations.get(operation().name)

    @in_loop
    async def test_held_and_ended_operations_are_not_claimed(self, tmp_path: Path) -> None:
        """A lease protects to its last moment, and the end of an operation for ever."""
        async with self.opened(tmp_path) as store:
            await store.operations.insert(operation(1))
            await store.operations.insert(operation(2, done=True))
            just_before = NOW + SECOND - timedelta(milliseconds=1)
            assert await store.operations.claim(operation(1).name, "x", now=just_before, until=NOW) is None
            assert await store.operations.claim(operation(2).name, "x", now=NOW + SECOND, until=NOW) is None
            assert await store.operations.claim("nope", "x", now=NOW + SECOND, until=NOW) is None

    @in_loop
    async def test_lapsed_operations_come_longest_lapsed_first(self, tmp_path: Path) -> None:
        """A bounded look must not starve the oldest."""
        async with self.opened(tmp_path) as store:
            for number, seconds in ((1, 3), (2, 1), (3, 2), (4, 9)):
                await store.operations.insert(operation(number, lease_until=NOW + seconds * SECOND))
            await store.operations.insert(operation(5, done=True, lease_until=EPOCH))
            lapsed = await store.operations.lapsed(NOW + 3 * SECOND)
            assert [record.id for record in lapsed] == [2, 3, 1]
            assert [record.id for record in await store.operations.lapsed(NOW + 3 * SECOND, limit=1)] == [2]

    @in_loop
    async def test_renewal_tells_which_leases_are_still_held(self, tmp_path: Path) -> None:
        """A process learns of a lost lease by its heartbeat, and a heartbeat is no change of the record."""
        async with self.opened(tmp_path) as store:
            await store.operations.insert(operation(1))
            await store.operations.insert(operation(2, lease_holder="other"))
            await store.operations.insert(operation(3, done=True))
            names = [operation(number).name for number in (1, 2, 3, 4)]
            held = await store.operations.renew("me", names, NOW + 5 * SECOND)
            assert held == {names[0]}
            assert await store.operations.get(names[0]) == operation(1, lease_until=NOW + 5 * SECOND)
            assert await store.operations.get(names[1]) == operation(2, lease_holder="other")

    @in_loop
    async def test_a_released_operation_may_be_claimed_at_once(self, tmp_path: Path) -> None:
        """A server that closes hands over without waiting for its leases to lapse."""
        async with self.opened(tmp_path) as store:
            await store.operations.insert(operation(1))
            await store.operations.insert(operation(2, lease_holder="other"))
            await store.operations.release("me", [operation(1).name, operation(2).name])
            assert [record.id for record in await store.operations.lapsed(NOW)] == [1]
            assert await store.operations.claim(operation(1).name, "x", now=NOW, until=NOW + SECOND) is not None

    @in_loop
    async def test_many_names_at_once(self, tmp_path: Path) -> None:
        """A busy process renews and waits for more operations than one statement can name."""
        async with self.opened(tmp_path) as store:
            await asyncio.gather(*(store.operations.insert(operation(n, done=n % 2 == 0)) for n in range(1, 1203)))
            names = {operation(number).name for number in range(1, 1203)}
            odd = {operation(number).name for number in range(1, 1203, 2)}
            assert await store.operations.unfinished(names | {"nope"}) == odd
            assert await store.operations.renew("me", names, NOW + 9 * SECOND) == odd
            assert await store.operations.unfinished([]) == frozenset()

    @in_loop
    async def test_purging_removes_what_has_expired_only(self, tmp_path: Path) -> None:
        """Records are kept for their time and no shorter."""
        async with self.opened(tmp_path) as store:
            await store.operations.insert(operation(1, done=True, expires=NOW))
            await store.operations.insert(operation(2, done=True, expires=NOW + SECOND))
            await store.operations.insert(operation(3))
            await store.tokens.insert(TokenRecord("d", "s", "access", NOW, NOW + SECOND))
            await store.purge(NOW)
            assert await store.tokens.get("d") is not None
            assert await store.operations.unfinished([operation(3).name])
            assert await store.operations.get(operation(2).name) is not None

    @in_loop
    async def test_credentials_are_one_to_a_subject(self, tmp_path: Path) -> None:
        """Insert, page, compare and set, delete."""
        async with self.opened(tmp_path) as store:
            for subject in ("c", "a", "b"):
                await store.credentials.insert(CredentialRecord(subject, NOW, "k1", b"1"))
            with pytest.raises(Duplicate):
                await store.credentials.insert(CredentialRecord("a", NOW, "k2", b"2"))
            assert [record.subject for record in await store.credentials.list(limit=2)] == ["a", "b"]
            assert [record.subject for record in await store.credentials.list(after="b")] == ["c"]
            changed = await store.credentials.update(CredentialRecord("a", NOW, "k2", b"2", {"x": 1}))
            assert await store.credentials.get("a") == changed == CredentialRecord("a", NOW, "k2", b"2", {"x": 1}, 2)
            with pytest.raises(Conflict):
                await store.credentials.update(CredentialRecord("a", NOW, "k3", b"3"))
            assert await store.credentials.delete("a") is True
            assert await store.credentials.delete("a") is False
            assert await store.credentials.get("a") is None

    @in_loop
    async def test_a_token_is_removed_once(self, tmp_path: Path) -> None:
        """What may be used once only is used by whoever removed it."""
        async with self.opened(tmp_path) as store, self.opened(tmp_path) as other:
            await store.tokens.insert(TokenRecord("d", "s", "access", NOW, NOW))
            with pytest.raises(Duplicate):
                await store.tokens.insert(TokenRecord("d", "s", "access", NOW, NOW))
            removed = await asyncio.gather(*(part.tokens.delete("d") for part in [store, other] * 3))
            assert removed.count(True) == 1
            assert await store.tokens.get("d") is None

    @in_loop
    async def test_all_tokens_of_a_subject_are_removed_together(self, tmp_path: Path) -> None:
        """And no other subject's."""
        async with self.opened(tmp_path) as store:
            for digest, subject in (("1", "a"), ("2", "a"), ("3", "b")):
                await store.tokens.insert(TokenRecord(digest, subject, "access", NOW, NOW))
            assert await store.tokens.delete_subject("a") == 2
            assert await store.tokens.get("2") is None
            assert await store.tokens.get("3") is not None

    @in_loop
    async def test_all_tokens_of_a_family_are_removed_together(self, tmp_path: Path) -> None:
        """A grant is taken back whole, whatever its subject has beside it."""
        async with self.opened(tmp_path) as store:
            for digest, family in (("1", "f"), ("2", "f"), ("3", "g"), ("4", "")):
                await store.tokens.insert(TokenRecord(digest, "a", "access", NOW, NOW, {}, family))
            kept = await store.tokens.get("1")
            assert kept is not None
            assert kept.family == "f"
            assert await store.tokens.delete_family("f") == 2
            assert await store.tokens.delete_family("f") == 0
            assert await store.tokens.get("2") is None
            assert await store.tokens.get("3") is not None
            assert await store.tokens.get("4") is not None

    @in_loop
    async def test_tokens_without_a_family_are_not_one(self, tmp_path: Path) -> None:
        """The empty one would be everybody's."""
        async with self.opened(tmp_path) as store:
            await store.tokens.insert(TokenRecord("1", "a", "access", NOW, NOW))
            with pytest.raises(ValueError, match="family"):
                await store.tokens.delete_family("")
            assert await store.tokens.get("1") == TokenRecord("1", "a", "access", NOW, NOW)

    @in_loop
    async def test_all_tokens_that_a_key_has_signed_are_removed_together(self, tmp_path: Path) -> None:
        """A key that is given up must open nothing any more."""
        async with self.opened(tmp_path) as store:
            for digest, key in (("1", "k"), ("2", "k"), ("3", "l"), ("4", "")):
                await store.tokens.insert(TokenRecord(digest, "a", "access", NOW, NOW + SECOND, {}, "", key))
            assert await store.tokens.delete_key("k") == 2
            assert await store.tokens.delete_key("k") == 0
            with pytest.raises(ValueError, match="key"):
                await store.tokens.delete_key("")
            assert [await store.tokens.get(digest) is not None for digest in "1234"] == [False, False, True, True]

    @in_loop
    async def test_an_update_tells_the_key_of_the_new_content(self, tmp_path: Path) -> None:
        """What was sealed anew needs the old key no more."""
        async with self.opened(tmp_path) as store:
            await store.operations.insert(operation(key_id="k"))
            changed = await store.operations.update(operation(key_id="l"))
            assert await store.operations.get(operation().name) == changed == operation(key_id="l", version=2)

    @in_loop
    async def test_what_is_there_is_counted(self, tmp_path: Path) -> None:
        """By state, holder, kind, collection and key; what has expired is not there."""
        async with self.opened(tmp_path) as store:
            for record in (
                operation(1, lease_holder="x", lease_until=NOW + SECOND, key_id="k", inserted=NOW - SECOND),
                operation(2, lease_holder="x", lease_until=NOW + SECOND),
                operation(3, lease_holder="y", lease_until=NOW + SECOND, key_id="l"),
                operation(4, lease_holder="y", lease_until=NOW),
                operation(5, lease_holder="", lease_until=EPOCH, done=True, inserted=EPOCH),
            ):
                await store.operations.insert(record)
            for subject, key in (("a", "k"), ("b", "k"), ("c", "l")):
                await store.credentials.insert(CredentialRecord(subject, NOW, key, b"1"))
            for digest, kind, seconds, key in (
                ("1", "access", 1, "k"),
                ("2", "access", 3, "k"),
                ("3", "refresh", 2, "l"),
                ("4", "used", 2, ""),
                ("5", "refresh", 0, "l"),
            ):
                await store.tokens.insert(TokenRecord(digest, "s", kind, NOW, NOW + seconds * SECOND, {}, "", key))
            for owner, collection in (("o", "c"), ("p", "c"), ("", "d")):
                await store.documents.insert(DocumentRecord(owner, collection, "n", NOW, {}))

            assert await store.upkeep.census(NOW) == Census(
                operations={"running": 3, "waiting": 1, "done": 1},
                oldest_unfinished=NOW - SECOND,
                leases={"x": 2, "y": 1},
                credentials=3,
                tokens={"access": 2, "refresh": 1, "used": 1},
                documents={"c": 2, "d": 1},
                keys={"k": KeyUse(2, 1, 2, NOW + 3 * SECOND), "l": KeyUse(1, 1, 1, NOW + 2 * SECOND)},
            )

    @in_loop
    async def test_nothing_is_counted_in_an_empty_store(self, tmp_path: Path) -> None:
        """The first look is at this one."""
        async with self.opened(tmp_path) as store:
            nothing = Census({"running": 0, "waiting": 0, "done": 0}, None, {}, 0, {}, {}, {})
            assert await store.upkeep.census(NOW) == nothing

    @in_loop
    async def test_a_schema_is_made_by_migration_too_and_stays_when_it_is_the_present_one(self, tmp_path: Path) -> None:
        """An installation may begin with it, and may repeat it."""
        store = self.make(tmp_path)
        await store.upkeep.check()
        assert await store.upkeep.version() == 0
        for _ in range(2):
            await store.upkeep.migrate(lambda what, done, total: None)
            assert await store.upkeep.version() == store.upkeep.schema
        await store.open()
        await store.operations.insert(operation())
        await store.upkeep.scrub()
        await store.upkeep.migrate(lambda what, done, total: None)
        await store.close()
        async with self.opened(tmp_path) as store:
            assert await store.operations.get(operation().name) == operation()
            assert await store.schema_version() == store.upkeep.schema

    @in_loop
    async def test_documents_are_kept_by_owner_and_collection(self, tmp_path: Path) -> None:
        """Insert, page, compare and set, delete; nothing of another owner or collection."""
        async with self.opened(tmp_path) as store:
            for owner, collection, name in (("o", "c", "b"), ("o", "c", "a"), ("o", "d", "a"), ("p", "c", "a")):
                await store.documents.insert(DocumentRecord(owner, collection, name, NOW, {"at": owner + collection}))
            with pytest.raises(Duplicate):
                await store.documents.insert(DocumentRecord("o", "c", "a", NOW, {}))
            assert [record.name for record in await store.documents.list("o", "c")] == ["a", "b"]
            assert [record.name for record in await store.documents.list("o", "c", after="a", limit=1)] == ["b"]
            later = NOW + SECOND
            changed = await store.documents.update(DocumentRecord("o", "c", "a", later, BODY))
            assert await store.documents.get("o", "c", "a") == changed == DocumentRecord("o", "c", "a", later, BODY, 2)
            with pytest.raises(Conflict):
                await store.documents.update(DocumentRecord("o", "c", "a", later, {}))
            with pytest.raises(Conflict):
                await store.documents.delete("o", "c", "a", version=1)
            assert await store.documents.delete("o", "c", "a", version=2) is True
            assert await store.documents.delete("o", "c", "a", version=2) is False
            assert await store.documents.delete("o", "c", "b") is True
            other = await store.documents.get("p", "c", "a")
            assert other is not None
            assert other.body == {"at": "pc"}
