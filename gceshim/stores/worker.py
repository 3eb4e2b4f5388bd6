"""
One thread that owns one sqlite connection, so that the event loop never waits for a disk.

Calls are done in the order they came. Those that wait when the thread gets round to them share one transaction,
each in a savepoint of its own, so that a burst of writes costs one flush to disk; a caller is answered after the
commit.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from gceshim.stores.errors import Duplicate, Overloaded, StoreError, Unavailable, WrongSchema
from gceshim.stores.rows import Migration

T = TypeVar("T")

APPLICATION_ID: Final = 0x67637368  # "gcsh": marks the file as ours in its header
BATCH: Final = 200
BUSY_PAUSE_SECONDS: Final = 0.01
MEMORY: Final = ":memory:"


@dataclass(slots=True)
class _Call:
    function: Callable[[sqlite3.Connection], Any]
    writes: bool
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class Worker:
    """
    The thread, its queue and its connection.

    :param migrations: what leads from schema version 0 to 1, from 1 to 2, ...: statements, and functions.
    :param queue_limit: most calls that may wait; the next is refused with `Overloaded`.
    """

    def __init__(
        self, path: str, migrations: Sequence[Migration], *, busy_timeout_seconds: float, queue_limit: int
    ) -> None:
        self._path = path
        self._migrations = migrations
        self._busy_timeout_seconds = busy_timeout_seconds
        self._queue_limit = queue_limit
        self._queue: collections.deque[_Call] = collections.deque()
        self._wake = threading.Condition()
        self._stopping = True
        self._thread: threading.Thread | None = None
        self._ended: asyncio.Future[None] | None = None

    @property
    def running(self) -> bool:
        """Whether the file is open."""
        return not self._stopping

    async def start(self) -> None:
        """Open the file and bring its schema up to date. :raises Unavailable, WrongSchema: as `Store.open`."""
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        ended: asyncio.Future[None] = loop.create_future()
        self._stopping = False
        self._ended = ended
        self._thread = threading.Thread(
            target=self._run, args=(loop, opened, ended), name="gceshim-sqlite", daemon=True
        )
        self._thread.start()
        await opened

    async def stop(self) -> None:
        """Do what is queued, close the file and end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None and self._ended is not None:
            await asyncio.shield(self._ended)
            self._thread.join()  # it has nothing left to do: this does not wait

    async def version(self) -> int:
        """
        The schema version in the file, 0 if there is none. Needs no thread, and changes nothing.

        :raises Unavailable: the file cannot be read. :raises WrongSchema: it is another program's.
        """
        if self.running:
            found: int = await self.read(lambda db: db.execute("PRAGMA user_version").fetchone()[0])
            return found
        return await asyncio.to_thread(self._look)

    def check_version(self, version: int) -> None:
        """:raises WrongSchema: it is newer than this release knows."""
        if version > len(self._migrations):
            raise WrongSchema(
                f"{self._path} has schema version {version}, and this release knows {len(self._migrations)} and below; "
                "use a newer release"
            )

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function that only reads, in the thread."""
        return await self._submit(function, writes=False)

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function in the thread, in a transaction; it is on disk when this returns."""
        return await self._submit(function, writes=True)

    async def _submit(self, function: Callable[[sqlite3.Connection], T], *, writes: bool) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._wake:
            if self._stopping:
                raise Unavailable("the store is closed")
            if len(self._queue) >= self._queue_limit:
                raise Overloaded("too many calls wait for the store")
            self._queue.append(_Call(function, writes, future))
            self._wake.notify()
        return await future

    def _run(self, loop: asyncio.AbstractEventLoop, opened: asyncio.Future[None], ended: asyncio.Future[None]) -> None:
        try:
            with contextlib.closing(self._connect()) as connection:
                _tell(loop, _settle, opened, None)
                while calls := self._take():
                    self._do(connection, calls)
                    _tell(loop, _deliver, calls)
        except StoreError as exc:
            _tell(loop, _settle, opened, exc)
        except (OSError, sqlite3.Error, ValueError) as exc:  # ValueError: a migration met what is not as it should be
            _tell(loop, _settle, opened, Unavailable(f"cannot open {self._path}: {exc}"))
        finally:
            self._stopping = True
            _tell(loop, _settle, ended, None)

    def _take(self) -> list[_Call]:
        with self._wake:
            while not self._queue and not self._stopping:
                self._wake.wait()
            return [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]

    def _do(self, connection: sqlite3.Connection, calls: Sequence[_Call]) -> None:
        if not any(call.writes for call in calls):
            for call in calls:
                _attempt(connection, call)
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            for call in calls:
                connection.execute("SAVEPOINT one_call")
                _attempt(connection, call)
                if call.error is not None:
                    connection.execute("ROLLBACK TO one_call")
                connection.execute("RELEASE one_call")
            connection.execute("COMMIT")
        except sqlite3.Error as exc:
            # Busy past the timeout, disk full, I/O error: nothing of this batch can be promised.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            for call in calls:
                call.error = Unavailable(f"the store cannot write: {exc}")

    def _connect(self) -> sqlite3.Connection:
        if self._path != MEMORY:
            _make_private(Path(self._path))
        connection = sqlite3.connect(self._path, timeout=self._busy_timeout_seconds, isolation_level=None)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _look(self) -> int:
        if self._path == MEMORY or not Path(self._path).exists():
            return 0
        try:
            address = f"{Path(self._path).absolute().as_uri()}?mode=ro"
            with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
                return self._identify(connection)
        except sqlite3.Error as exc:
            raise Unavailable(f"cannot read {self._path}: {exc}") from exc

    def _identify(self, connection: sqlite3.Connection) -> int:
        """The schema version. :raises WrongSchema: there are tables which are not ours."""
        connection.execute("BEGIN")  # all from one state: another process may be making the tables just now
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute("COMMIT")
        if tables and application != APPLICATION_ID:
            raise WrongSchema(f"{self._path} is a database of another program")
        return version

    def _prepare(self, connection: sqlite3.Connection) -> None:
        self._identify(connection)
        self._use_wal(connection)
        # FULL flushes the log at each commit. NORMAL would outlive a killed process but not a lost power supply,
        # and an operation that CloudStack carries out must not be forgotten; shared commits keep it affordable.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        self.check_version(version)
        for migration in self._migrations[version:]:
            for step in migration:
                if isinstance(step, str):
                    connection.execute(step)
                else:
                    step(connection)
        connection.execute(f"PRAGMA user_version = {len(self._migrations)}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """Change to WAL, again and again: the busy timeout does not hold when several processes do it at once."""
        give_up = time.monotonic() + self._busy_timeout_seconds
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(BUSY_PAUSE_SECONDS)
            else:
                return


def _attempt(connection: sqlite3.Connection, call: _Call) -> None:
    try:
        call.result = call.function(connection)
    except sqlite3.IntegrityError as exc:
        call.error = Duplicate("a record with this key is there already")
        call.error.__cause__ = exc
    except sqlite3.Error as exc:
        call.error = Unavailable(f"the store failed: {exc}")
        call.error.__cause__ = exc
    except Exception as exc:  # noqa: BLE001  the edge of the thread: the caller is given it
        call.error = exc


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *args: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
        loop.call_soon_threadsafe(callback, *args)


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(None)


def _deliver(calls: Sequence[_Call]) -> None:
    for call in calls:
        if call.future.done():
            continue
        if call.error is not None:
            call.future.set_exception(call.error)
        else:
            call.future.set_result(call.result)


def _make_private(path: Path) -> None:
    """Make the file, or take an existing one back from other users; sqlite gives its side files the same mode."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
