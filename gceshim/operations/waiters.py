"""
Those who wait for operations to end.

An operation that this process runs wakes them itself. The others are looked up in the store together, by one task
and one call per round, however many wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass

from gceshim.operations.record import Operation, from_record
from gceshim.operations.settings import OperationsSettings
from gceshim.stores.base import OperationStore
from gceshim.stores.errors import StoreError

LOG = logging.getLogger(__name__)

REST_TO_LOOK = 4.0
"""A look into the store is followed by a rest of so many times its own length."""


@dataclass(slots=True, eq=False)
class _Wait:
    end: asyncio.Future[Operation | None]
    waiters: int = 0


class Waiters:
    """:param runs_here: whether this process runs the operation of that name, and so will call `wake`."""

    def __init__(self, store: OperationStore, settings: OperationsSettings, runs_here: Callable[[str], bool]) -> None:
        self._store = store
        self._settings = settings
        self._runs_here = runs_here
        self._waits: dict[str, _Wait] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def wait(self, name: str, seconds: float) -> Operation | None:
        """The operation once it has ended; None if it is gone, the time is up, or the server closes."""
        if self._closed:
            return None
        wait = self._waits.get(name)
        if wait is None:
            wait = self._waits[name] = _Wait(asyncio.get_running_loop().create_future())
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(
                self._watch(), name="operations waited for", context=Context()
            )
        wait.waiters += 1
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(wait.end)
        except TimeoutError:
            return None
        finally:
            wait.waiters -= 1
            if not wait.waiters and self._waits.get(name) is wait:
                del self._waits[name]

    def wake(self, name: str, operation: Operation | None) -> None:
        """Tell those who wait for it how it ended; None sends them to look for themselves."""
        wait = self._waits.pop(name, None)
        if wait is not None and not wait.end.done():
            wait.end.set_result(operation)

    @property
    def count(self) -> int:
        """How many operations are waited for."""
        return len(self._waits)

    def stop(self) -> None:
        """Wake all; from now on nobody waits."""
        self._closed = True
        for name in list(self._waits):
            self.wake(name, None)

    async def close(self) -> None:
        """Wake all and stop."""
        self.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        took_seconds = 0.0
        while self._waits:
            await asyncio.sleep(max(self._settings.reread_seconds, REST_TO_LOOK * took_seconds))
            started = loop.time()
            try:
                await self._look()
            except StoreError as exc:
                LOG.warning("operations waited for cannot be looked up: %s", exc)
            except Exception:  # the edge of a background task
                LOG.exception("operations waited for cannot be looked up")
            took_seconds = loop.time() - started
        self._task = None

    async def _look(self) -> None:
        elsewhere = [name for name in self._waits if not self._runs_here(name)]
        if not elsewhere:
            return
        unfinished = await self._store.unfinished(elsewhere)
        for name in elsewhere:
            if name not in unfinished:
                record = await self._store.get(name)
                self.wake(name, None if record is None else from_record(record))
