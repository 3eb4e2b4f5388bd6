"""The embedded store: the contract, and what belongs to a file on a disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gceshim.stores.base import DocumentRecord, Store
from gceshim.stores.errors import Overloaded, Unavailable, WrongSchema
from gceshim.stores.sqlite import SqliteStore

from .contract import NOW, StoreContract, operation
from .running import in_loop


class TestSqlite(StoreContract):
    def make(self, place: Path) -> Store:
        return SqliteStore(place / "store.sqlite")


@in_loop
async def test_memory_holds_a_store_until_it_is_closed() -> None:
    """For tests and demonstrations."""
    store = SqliteStore(":memory:")
    await store.open()
    await store.operations.insert(operation())
    assert await store.operations.get(operation().name) == operation()
    await store.close()


def modes_in(directory: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


@in_loop
async def test_all_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    """Also the side files, and also when the umask or an earlier file would have it otherwise."""
    path = tmp_path / "store.sqlite"
    path.touch(0o644)
    store = SqliteStore(path)
    await store.open()
    await store.ping()
    await store.operations.insert(operation())
    modes = modes_in(tmp_path)
    await store.close()
    assert modes == dict.fromkeys(("store.sqlite", "store.sqlite-wal", "store.sqlite-shm"), 0o600)


@in_loop
async def test_purging_removes_expired_records_at_once(tmp_path: Path) -> None:
    """sqlite expires nothing by itself."""
    store = SqliteStore(tmp_path / "store.sqlite")
    await store.open()
    await store.operations.insert(operation(1, done=True, expires=NOW))
    await store.operations.insert(operation(2))
    assert await store.purge(NOW) == 1
    assert [record.id for record in await store.operations.list("owner")] == [2]
    await store.close()


@in_loop
async def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The operator has to see what to mend."""
    with pytest.raises(Unavailable, match=r"nowhere/store\.sqlite"):
        await SqliteStore(tmp_path / "nowhere" / "store.sqlite").open()


@in_loop
async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """An older program must not write into what it does not know."""
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path)
    await store.open()
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for opening in (store.upkeep.check(), store.open()):
        with pytest.raises(WrongSchema, match=r"99.*newer release"):
            await opening


@in_loop
async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """A path in the settings may be wrong."""
    path = tmp_path / "store.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE precious (data TEXT)")
    connection.close()
    with pytest.raises(WrongSchema, match="another program"):
        await SqliteStore(path).open()
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(Unavailable, match="not a database"):
        await SqliteStore(path).open()


@in_loop
async def test_many_stores_opening_one_new_file_all_succeed(tmp_path: Path) -> None:
    """Server processes start together."""
    stores = [SqliteStore(tmp_path / "store.sqlite") for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(store.operations.insert(operation(n + 1)) for n, store in enumerate(stores)))
    assert len(await stores[0].operations.list("owner")) == 8
    await asyncio.gather(*(store.close() for store in stores))


@in_loop
async def test_a_failed_call_takes_nothing_else_of_its_batch_down(tmp_path: Path) -> None:
    """Calls that share a flush to disk do not share a fate."""
    store = SqliteStore(tmp_path / "store.sqlite")
    await store.open()
    results = await asyncio.gather(
        *(store.operations.insert(operation(number // 2 + 1)) for number in range(100)), return_exceptions=True
    )
    assert [result is None for result in results] == [True, False] * 50
    assert len(await store.operations.list("owner")) == 50
    await store.close()


@in_loop
async def test_a_locked_file_fails_its_calls_and_then_recovers(tmp_path: Path) -> None:
    """Another process that holds the lock too long is an outage, not the end."""
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path, busy_timeout_seconds=0.05)
    await store.open()
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        await store.operations.insert(operation())
    assert await store.operations.get(operation().name) is None
    blocker.execute("ROLLBACK")
    blocker.close()
    await store.operations.insert(operation())
    await store.close()


@in_loop
async def test_more_waiting_calls_than_allowed_are_refused(tmp_path: Path) -> None:
    """A disk that does not keep up must not fill the memory."""
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path, queue_limit=10)
    await store.open()
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    calls = [asyncio.ensure_future(store.ping()) for _ in range(500)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    blocker.execute("ROLLBACK")
    blocker.close()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {Overloaded, type(None)}
    assert [type(result) for result in results].count(Overloaded) >= 500 - 10 - 200
    await store.close()


@in_loop
async def test_the_loop_goes_on_while_the_disk_is_waited_for(tmp_path: Path) -> None:
    """One slow write must not stop every request."""
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path)
    await store.open()
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    call = asyncio.ensure_future(store.ping())
    for _ in range(100):
        await asyncio.sleep(0)
    assert not call.done()
    blocker.execute("ROLLBACK")
    blocker.close()
    await call
    await store.close()
    assert "gceshim-sqlite" not in {thread.name for thread in threading.enumerate()}


WRITER = """
import asyncio, sys
from gceshim.stores.base import DocumentRecord
from gceshim.stores.sqlite import SqliteStore
from datetime import UTC, datetime

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    for number in range(1_000_000):
        await store.documents.insert(DocumentRecord("o", "c", f"{number:06}", datetime.now(UTC), {}))
        print(number, flush=True)

asyncio.run(main())
"""


def killed_in_the_middle(path: Path) -> int:
    """Let a process write, kill it, and return the last number that it said was stored."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(50):
            acknowledged = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        rest = [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        return max([acknowledged, *map(int, rest)])


@in_loop
async def test_what_was_acknowledged_outlives_a_killed_process(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing loses nothing that was said to be stored."""
    path = tmp_path / "store.sqlite"
    acknowledged = killed_in_the_middle(path)
    store = SqliteStore(path)
    await store.open()
    stored = [record.name for record in await store.documents.list("o", "c", limit=1000)]
    assert stored[: acknowledged + 1] == [f"{number:06}" for number in range(acknowledged + 1)]
    await store.documents.insert(DocumentRecord("o", "d", "n", NOW, {}))
    await store.close()


@in_loop
async def test_scrubbing_leaves_nothing_of_what_was_removed(tmp_path: Path) -> None:
    """An old key, got hold of later, is not to open what lies about in free pages; builds of sqlite differ in that."""
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path)
    await store.open()
    await store.operations.insert(operation())
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA secure_delete = OFF")
        other.execute("INSERT INTO credentials VALUES ('s', 1, 'k', ?, '{}', 1)", (b"leftover" * 100,))
        other.commit()
        other.execute("DELETE FROM credentials")
        other.commit()

    def leftovers() -> int:
        return sum(file.read_bytes().count(b"leftover") for file in tmp_path.iterdir())

    assert leftovers() > 0
    await store.upkeep.scrub()
    assert leftovers() == 0
    assert await store.operations.get(operation().name) == operation()
    await store.close()
