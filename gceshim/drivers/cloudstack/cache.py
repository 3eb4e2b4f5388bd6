"""Answers that are remembered for a short time."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, TypeVar, cast

from gceshim.drivers.errors import Unavailable

T = TypeVar("T")

#: How long after its time a value still does when CloudStack cannot say a newer one: longer than it takes to start
#: anew. Who asks in the meantime how their operations do, which CloudStack is not needed for, is told.
OUTAGE_SECONDS: Final = 600.0


class Cache:
    """
    Values by key, at most `max_entries` (the least recently used goes first), each for `keep_seconds`.

    Who asks for a value that is being fetched waits for that fetch. A failure is told to all that wait and is not
    remembered; but where CloudStack cannot be reached, a value whose time is over does for some minutes more, unless
    it was to be fresh. A caller that is cancelled does not take the fetch away from the others.
    """

    def __init__(self, keep_seconds: float, max_entries: int = 1000) -> None:
        self._keep_seconds = keep_seconds
        self._max_entries = max_entries
        self._values: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()
        self._fetches: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(self, key: Hashable, fetch: Callable[[], Awaitable[T]], *, fresh: bool = False) -> T:
        """The value remembered for the key, or what `fetch` gives. `fresh`: what is remembered does not do."""
        if not fresh:
            held = self._values.get(key)
            if held is not None and held[0] > time.monotonic():
                self._values.move_to_end(key)
                return cast(T, held[1])
        task = self._fetches.get(key)
        if task is None or task.done() or fresh:
            task = asyncio.ensure_future(self._fetch(key, fetch))
            self._fetches[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        try:
            return cast(T, await asyncio.shield(task))
        except Unavailable:
            held = self._values.get(key)
            now = time.monotonic()
            if fresh or held is None or held[0] + OUTAGE_SECONDS < now:
                raise
            return cast(T, held[1])

    def held(self, key: Hashable) -> Any | None:
        """The value remembered for the key, if its time is not over."""
        held = self._values.get(key)
        return held[1] if held is not None and held[0] > time.monotonic() else None

    def put(self, key: Hashable, value: object) -> None:
        """Remember a value that came another way."""
        self._values[key] = (time.monotonic() + self._keep_seconds, value)
        self._values.move_to_end(key)
        while len(self._values) > self._max_entries:
            self._values.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """What is remembered for the key is no longer true."""
        self._values.pop(key, None)

    async def close(self) -> None:
        """Stop fetches that are under way."""
        tasks = list(self._fetches.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._values.clear()

    async def _fetch(self, key: Hashable, fetch: Callable[[], Awaitable[T]]) -> T:
        value = await fetch()
        self.put(key, value)
        return value

    def _finished(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        if self._fetches.get(key) is task:
            del self._fetches[key]
        if not task.cancelled():
            task.exception()  # nobody may be left to look at it
