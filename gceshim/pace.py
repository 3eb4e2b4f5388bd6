"""Long conversions in small pieces, so that an event loop keeps answering everything else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence, Sized
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE: Final = 50
_LONGEST_SECONDS: Final = 0.005


class Pace:
    """
    Converts long lists piece by piece, one list after the other.

    A page of 500 machines takes some 10 ms to convert. Without turns, 30 callers whose pages come in together would
    hold up the event loop for as long as all of them take.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def turn(self, items: Sized) -> None:
        """
        Wait for a turn to look through the items at one go. Short lists have it at once.

        For what takes a few milliseconds and cannot be cut up: one does so at a time, and between two of them the event
        loop does what else there is.
        """
        if len(items) > _AT_ONCE:
            async with self._turn:
                await asyncio.sleep(0)

    async def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """
        What `function` makes of each item. Short lists at once.

        :param function: takes a fraction of a millisecond.
        """
        if len(items) <= _AT_ONCE:
            return [function(item) for item in items]
        made: list[R] = []
        async with self._turn:
            since, begun = 0, time.monotonic()
            for item in items:
                made.append(function(item))
                since += 1
                if since == _AT_ONCE or time.monotonic() - begun > _LONGEST_SECONDS:
                    await asyncio.sleep(0)
                    since, begun = 0, time.monotonic()
        return made
