"""
Python's search for reference cycles, which holds up everything while it goes on: a short one, or at a quiet moment.

A page of 500 machines is more than ten thousand objects, in rows and in the answer, none of them in a cycle; and a
search looks at all that are there. As Python comes, 32 such pages are searched through several times while they are
being converted, for up to 0.1 s each.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Final

INTERVAL_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 0.25
#: How many more objects there are than at the last search of the youngest, which takes 1 to 10 ms with so many.
_YOUNG: Final = 5_000
#: How many such searches there are for one that looks, too, at what was found to be alive before: in a few milliseconds
#: at a quiet moment, and in half a second among many long lists. And how many of those there are for one of all.
_SEARCHES_OF_YOUNG: Final = 5_000
_SEARCHES_OF_OLDER: Final = 1_000


class GarbageSearch:
    """
    Searches at quiet moments, so that nearly nothing but the youngest objects is searched at others.

    :param is_quiet: whether nobody would have to wait.
    :param interval_seconds: from one search to the next.
    """

    def __init__(self, is_quiet: Callable[[], bool], interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._is_quiet = is_quiet
        self._interval_seconds = interval_seconds
        self._before = gc.get_threshold()
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, on the running loop. What is loaded by now is not searched any more."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG, _SEARCHES_OF_YOUNG, _SEARCHES_OF_OLDER)
        self._look_in(self._interval_seconds)

    def stop(self) -> None:
        """End it; all is as it was before. May be called twice."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            gc.set_threshold(*self._before)
            gc.unfreeze()

    def _look_in(self, seconds: float) -> None:
        self._handle = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        quiet = self._is_quiet()
        if quiet:
            gc.collect(1)
        self._look_in(self._interval_seconds if quiet else _AGAIN_SECONDS)
