"""Answers on their way to clients that read slowly, or not at all: bounded in time, and all together in size."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

_PIECE_BYTES: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Unread:
    size_bytes: int
    close: Callable[[], None]
    overdue: asyncio.TimerHandle


class Outbox:
    """
    Knows the answers that are not wholly sent, by whatever stands for each.

    :param limit_bytes: of all together; at more, the oldest are given up.
    :param seconds: longest time for each 2 MiB of one, or part of that.
    """

    def __init__(self, limit_bytes: int, seconds: float) -> None:
        self._limit_bytes = limit_bytes
        self._seconds = seconds
        self._unread: OrderedDict[Hashable, _Unread] = OrderedDict()
        self.size_bytes = 0

    def add(self, key: Hashable, size_bytes: int, close: Callable[[], None]) -> None:
        """An answer is being sent. `close` gives it up, by closing its connection."""
        seconds = self._seconds * math.ceil(size_bytes / _PIECE_BYTES)
        overdue = asyncio.get_running_loop().call_later(seconds, self._give_up, key)
        self._unread[key] = _Unread(size_bytes, close, overdue)
        self.size_bytes += size_bytes
        while self.size_bytes > self._limit_bytes:
            self._give_up(next(iter(self._unread)))

    def discard(self, key: Hashable) -> None:
        """It is sent, or its client is gone. May be called for what is not there."""
        unread = self._unread.pop(key, None)
        if unread is not None:
            self.size_bytes -= unread.size_bytes
            unread.overdue.cancel()

    def _give_up(self, key: Hashable) -> None:
        unread = self._unread[key]
        self.discard(key)
        unread.close()
