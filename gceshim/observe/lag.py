"""How late the event loop comes, as long as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

INTERVAL_SECONDS: Final = 0.25


class LagMonitor:
    """
    Wakes up four times a second and tells by how much it came too late.

    :param seen: called with seconds, on the loop.
    """

    def __init__(self, seen: Callable[[float], None]) -> None:
        self._seen = seen
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch the running loop."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + INTERVAL_SECONDS
        self._handle = loop.call_at(self._due, self._tick)

    def stop(self) -> None:
        """End it. May be called twice."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _tick(self) -> None:
        self._seen(max(0.0, asyncio.get_running_loop().time() - self._due))
        self.start()
