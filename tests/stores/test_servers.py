"""How servers of one store know of each other."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from gceshim.stores.base import DocumentRecord, Store
from gceshim.stores.servers import Presence, alive
from gceshim.stores.sqlite import SqliteStore

from .running import in_loop, until


@dataclass
class Clock:
    time: datetime = field(default_factory=lambda: datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@asynccontextmanager
async def opened() -> AsyncIterator[Store]:
    store = SqliteStore(":memory:")
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@in_loop
async def test_a_server_is_known_from_its_start_to_its_end() -> None:
    """With what an operator has to know of it, the keys above all."""
    clock = Clock()
    async with opened() as store:
        one = Presence(store.documents, "a", "1.2", ["k1", "k2"], now=clock)
        two = Presence(store.documents, "b", "1.3", ["k2"], now=clock)
        await one.start()
        await two.start()
        first, second = await alive(store.documents, clock())
        assert (first.name, first.release, first.keys, first.host) == ("a", "1.2", ("k1", "k2"), socket.gethostname())
        assert (first.pid, first.seen, first.shown) == (os.getpid(), clock(), f"{first.host}, process {os.getpid()}")
        assert second.keys == ("k2",)
        await one.close()
        await one.close()
        assert [server.name for server in await alive(store.documents, clock())] == ["b"]
        await two.close()
        assert await store.documents.list("", "servers") == []


@in_loop
async def test_servers_with_other_keys_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """A key file was not copied; in the middle of a change of keys there is nothing to warn of."""
    clock = Clock()
    async with opened() as store:
        servers = []
        for name, keys in (("a", ["k1", "k2"]), ("b", ["k2", "k1"]), ("c", ["k1"]), ("d", ["k3", "k1"])):
            servers.append(Presence(store.documents, name, "1.2", keys, now=clock))
            await servers[-1].start()
        for server in servers:
            await server.close()
    words = [record.getMessage().partition(" that ")[0] for record in caplog.records]
    shown = f"{socket.gethostname()}, process {os.getpid()}"
    assert words == [
        "this server lacks the master key k2",  # c, of b
        f"{shown} lacks the master key k3",  # d, of a
        "this server lacks the master key k2",  # d, of b
        f"{shown} lacks the master key k3",  # d, of c
    ]


@in_loop
async def test_a_server_that_was_killed_is_forgotten() -> None:
    """It counts no more after a short while, and the next server to start removes what it left."""
    clock = Clock()
    async with opened() as store:
        killed = Presence(store.documents, "a", "1.2", ["k1"], now=clock, beat_seconds=1000)
        await killed.start()
        clock.advance(46)
        assert await alive(store.documents, clock()) == []
        assert len(await store.documents.list("", "servers")) == 1
        clock.advance(86_400)
        other = Presence(store.documents, "b", "1.2", ["k1"], now=clock)
        await other.start()
        assert [record.name for record in await store.documents.list("", "servers")] == ["b"]
        await other.close()
        await killed.close()


@in_loop
async def test_a_server_that_lives_gives_signs_of_life() -> None:
    """Also when its document was changed or removed under it."""
    clock = Clock()
    async with opened() as store:
        presence = Presence(store.documents, "a", "1.2", ["k1"], now=clock, beat_seconds=0.01)
        await presence.start()

        async def seen_now() -> bool:
            return any(server.seen == clock() for server in await alive(store.documents, clock()))

        clock.advance(100)
        await until(seen_now)
        await store.documents.delete("", "servers", "a")
        clock.advance(100)
        await until(seen_now)
        [record] = await store.documents.list("", "servers")
        await store.documents.delete("", "servers", "a")
        await store.documents.insert(DocumentRecord("", "servers", "a", clock(), record.body, 1000))
        clock.advance(100)
        await until(seen_now)
        await presence.close()
