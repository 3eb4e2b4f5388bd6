"""How long an event loop keeps its callers waiting."""

from __future__ import annotations

import asyncio
import time
from typing import Final

INTERVAL_SECONDS: Final = 0.005


class StallMonitor:
    """
    Wakes up every few milliseconds and notes by how much it came too late.

    `longest_seconds`: the longest delay since `reset`, whatever its cause: a callback that took long, another thread
    that held the interpreter, or a processor that was given to another process. `longest_busy_seconds`: the part of
    a delay that the loop's own thread spent computing, again the longest. A machine that is short of processors makes
    the first grow, and only code that runs on the loop the second.
    """

    def __init__(self, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._interval_seconds = interval_seconds
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._cpu_seconds = 0.0
        self.longest_seconds = 0.0
        self.longest_busy_seconds = 0.0

    def start(self) -> None:
        """Begin to watch the running loop."""
        self._schedule(asyncio.get_running_loop())

    def stop(self) -> None:
        """End it. May be called twice."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def reset(self) -> None:
        """Forget the delays so far."""
        self.longest_seconds = self.longest_busy_seconds = 0.0

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + self._interval_seconds
        self._cpu_seconds = time.thread_time()
        self._handle = loop.call_at(self._due, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        late_seconds = loop.time() - self._due
        busy_seconds = min(late_seconds, time.thread_time() - self._cpu_seconds)
        self.longest_seconds = max(self.longest_seconds, late_seconds)
        self.longest_busy_seconds = max(self.longest_busy_seconds, busy_seconds)
        self._schedule(loop)
