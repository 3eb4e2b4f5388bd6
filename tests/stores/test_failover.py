"""A MongoDB that loses answers, goes away and comes back: calls ride it out or fail in time, and nothing is doubled."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gceshim.stores.base import CredentialRecord, DocumentRecord, Store, TokenRecord
from gceshim.stores.errors import Conflict, Duplicate, Unavailable
from gceshim.stores.mongodb import MongoStore
from tests.mongodb import serving

from .contract import NOW, SECOND, operation
from .running import in_loop, until
from .test_mongodb import database, uri
from .wire import CLAIM, DELETE, FIND, INSERT, UPDATE, Wire, wire

pytestmark = pytest.mark.usefixtures("mongodb_uri")

NAME = operation().name
TOKEN = TokenRecord("d", "s", "refresh", NOW, NOW + SECOND, {}, "f")
CREDENTIAL = CredentialRecord("s", NOW, "k", b"1")
DOCUMENT = DocumentRecord("o", "c", "n", NOW, {})


def port_of(address: str) -> int:
    port = urlsplit(address).port
    assert port is not None
    return port


@contextlib.asynccontextmanager
async def bad_line(place: Path, timeout_seconds: float = 10.0) -> AsyncIterator[tuple[Store, Wire]]:
    """An open store, and the line that it hangs on."""
    async with wire(port_of(uri())) as line:
        store = MongoStore(
            f"mongodb://127.0.0.1:{line.port}/?directConnection=true",
            database(place),
            timeout_seconds=timeout_seconds,
            standalone=True,
        )
        await store.open()
        try:
            yield store, line
        finally:
            await store.close()


INSERTS: dict[str, tuple[Callable[[Store], Awaitable[Any]], Callable[[Store], Awaitable[Any]]]] = {
    "operation": (lambda store: store.operations.insert(operation()), lambda store: store.operations.get(NAME)),
    "credential": (lambda store: store.credentials.insert(CREDENTIAL), lambda store: store.credentials.get("s")),
    "token": (lambda store: store.tokens.insert(TOKEN), lambda store: store.tokens.get("d")),
    "document": (lambda store: store.documents.insert(DOCUMENT), lambda store: store.documents.get("o", "c", "n")),
}  # fmt: skip


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("kind", INSERTS)
@in_loop
async def test_an_insertion_whose_answer_is_lost_is_no_duplicate_of_itself(
    tmp_path: Path, kind: str, times: int
) -> None:
    """The driver tries again, and finds the record there: it is the one it has put there."""
    insert, get = INSERTS[kind]
    async with bad_line(tmp_path) as (store, line):
        line.lose(INSERT, times)
        await insert(store)
        assert line.lost == times
        assert await get(store) is not None
        with pytest.raises(Duplicate):
            await insert(store)


@in_loop
async def test_a_real_duplicate_is_one_also_when_the_answer_is_lost(tmp_path: Path) -> None:
    """Idempotency by request id rests on this."""
    async with bad_line(tmp_path) as (store, line):
        await store.operations.insert(operation(1, request_id="r"))
        line.lose(INSERT)
        with pytest.raises(Duplicate):
            await store.operations.insert(operation(2, request_id="r"))
        assert line.lost == 1
        assert await store.operations.list("owner") == [operation(1, request_id="r")]


@pytest.mark.parametrize("before", [False, True])
@in_loop
async def test_a_change_whose_answer_is_lost_is_made_once(tmp_path: Path, before: bool) -> None:
    """Its version counts up by one, whether the request or the answer was lost; the next change fits."""
    async with bad_line(tmp_path) as (store, line):
        await store.operations.insert(operation())
        line.lose(UPDATE, before=before)
        changed = await store.operations.update(operation(body={"at": 2}))
        assert (line.lost, changed.version) == (1, 2)
        assert await store.operations.get(operation().name) == changed
        line.lose(UPDATE, before=before)
        assert (await store.operations.update(changed)).version == 3


@in_loop
async def test_a_change_that_comes_too_late_is_a_conflict_also_when_the_answer_is_lost(tmp_path: Path) -> None:
    """Another's change is not taken for one's own."""
    async with bad_line(tmp_path) as (store, line):
        await store.documents.insert(DOCUMENT)
        await store.documents.update(DocumentRecord("o", "c", "n", NOW, {"by": "another"}))
        line.lose(UPDATE)
        with pytest.raises(Conflict):
            await store.documents.update(DocumentRecord("o", "c", "n", NOW, {"by": "me"}))
        assert line.lost == 1
        found = await store.documents.get("o", "c", "n")
        assert found is not None
        assert found.body == {"by": "another"}


@in_loop
async def test_a_claim_whose_answer_is_lost_is_still_ours(tmp_path: Path) -> None:
    """And not free for another, nor lost to ourselves until it lapses."""
    async with bad_line(tmp_path) as (store, line):
        await store.operations.insert(operation())
        line.lose(CLAIM)
        now, until = NOW + SECOND, NOW + 2 * SECOND
        claimed = await store.operations.claim(operation().name, "me too", now=now, until=until)
        assert line.lost == 1
        assert claimed is not None
        assert (claimed.lease_holder, claimed.lease_until) == ("me too", until)
        assert claimed == await store.operations.get(operation().name)
        line.lose(CLAIM)
        assert await store.operations.claim(operation().name, "other", now=now, until=until) is None


@in_loop
async def test_a_token_is_never_spent_twice(tmp_path: Path) -> None:
    """When the answer is lost nobody may believe to have spent it; when the request is, it can still be spent."""
    async with bad_line(tmp_path) as (store, line):
        await store.tokens.insert(TOKEN)
        line.lose(DELETE, before=True)
        assert await store.tokens.delete("d") is True
        await store.tokens.insert(TOKEN)
        line.lose(DELETE)
        with pytest.raises(Unavailable):
            await store.tokens.delete("d")
        assert await store.tokens.delete("d") is False


@in_loop
async def test_a_removal_whose_answer_is_lost_has_worked(tmp_path: Path) -> None:
    """What is to be gone is gone, whoever did it."""
    async with bad_line(tmp_path) as (store, line):
        for insert, _ in INSERTS.values():
            await insert(store)
        line.lose(DELETE)
        assert await store.documents.delete("o", "c", "n", version=1) is True
        line.lose(DELETE)
        await store.operations.delete(operation().name, 1)
        line.lose(DELETE)
        assert await store.credentials.delete("s") is True
        line.lose(DELETE)
        await store.tokens.delete_family("f")
        assert line.lost == 4
        assert await store.tokens.get("d") is None
        with pytest.raises(Conflict):
            await store.operations.delete(operation().name, 1)
        assert await store.documents.delete("o", "c", "n") is False


@in_loop
async def test_leases_are_renewed_over_a_bad_line(tmp_path: Path) -> None:
    """A heartbeat that gets lost would cost the operation."""
    async with bad_line(tmp_path) as (store, line):
        await store.operations.insert(operation())
        line.lose(UPDATE)
        assert await store.operations.renew("me", [operation().name], NOW + 5 * SECOND) == {operation().name}
        line.lose(FIND)
        assert await store.operations.unfinished([operation().name]) == {operation().name}
        line.lose(UPDATE)
        await store.operations.release("me", [operation().name])
        assert len(await store.operations.lapsed(NOW)) == 1


@in_loop
async def test_an_outage_shorter_than_the_time_allowed_is_not_noticed(tmp_path: Path) -> None:
    """As long as an election takes; calls that began before it and in it."""
    async with bad_line(tmp_path) as (store, line):
        await store.documents.insert(DOCUMENT)
        await line.down()
        calls = [
            asyncio.ensure_future(store.documents.insert(DocumentRecord("o", "c", f"{number}", NOW, {})))
            for number in range(20)
        ]
        reads = [asyncio.ensure_future(store.documents.get("o", "c", "n")) for _ in range(20)]
        await asyncio.wait([*calls, *reads], timeout=0.5)
        assert not any(call.done() for call in [*calls, *reads])
        await line.up()
        await asyncio.gather(*calls)
        assert all(found is not None for found in await asyncio.gather(*reads))
        assert len(await store.documents.list("o", "c")) == 21


@pytest.mark.parametrize("how", ["away", "silent"])
@in_loop
async def test_a_longer_outage_fails_every_call_in_bounded_time(tmp_path: Path, how: str) -> None:
    """And when it is over, calls work again without a restart."""
    async with bad_line(tmp_path, timeout_seconds=1.5) as (store, line):
        await store.operations.insert(operation())
        if how == "away":
            await line.down()
        line.silent = True
        began = time.monotonic()
        calls = [
            store.operations.get(operation().name),
            store.operations.insert(operation(2)),
            store.operations.update(operation()),
            store.tokens.delete("d"),
            store.operations.list("owner"),
            store.ping(),
        ]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable] * 6
        assert time.monotonic() - began < 8
        line.silent = False
        await line.down()
        await line.up()
        for _ in range(5):  # threads that still wait for the silent server hold a few calls up
            with contextlib.suppress(Unavailable):
                await store.ping()
        assert await store.operations.get(operation().name) is not None


@in_loop
async def test_a_server_that_is_restarted_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """What was acknowledged is there once, whatever was under way when the server stopped."""
    with contextlib.ExitStack() as first:
        began = first.enter_context(serving(tmp_path))
        async with wire(port_of(began)) as line:
            store = MongoStore(
                f"mongodb://127.0.0.1:{line.port}/?directConnection=true",
                "restarted",
                timeout_seconds=20,
                standalone=True,
            )
            await store.open()
            stored: list[str] = []

            async def write(writer: int) -> None:
                for number in range(30):
                    name = f"{writer}-{number:03}"
                    await store.documents.insert(DocumentRecord("o", "c", name, NOW, {}))
                    stored.append(name)

            writers = [asyncio.ensure_future(write(number)) for number in range(4)]
            await until(lambda: len(stored) >= 20)
            await line.down()
            await asyncio.to_thread(first.close)
            with serving(tmp_path) as again:
                line.server_port = port_of(again)
                await line.up()
                await asyncio.gather(*writers)
                found = [record.name for record in await store.documents.list("o", "c", limit=1000)]
                await store.close()
    assert found == sorted(stored)
    assert len(stored) == 120
