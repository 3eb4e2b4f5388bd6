"""
Turns at the few threads that call CloudStack: bounded, and fair between those who call.

Each caller has a lane. Lanes take turns, and a lane may have at most three times as many calls under way as threads
are free at the moment. So one that is alone has three quarters of the threads, several share them, and whoever comes
next finds a free one, however slow the calls of the others are.

Source of the rule: dynamic thresholds for the shared memory of packet switches (Choudhury and Hahne, 1998).
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from typing import Final

_FREE_TO_OWN: Final = 3


class LanesFull(Exception):
    """Too many calls wait, or this one has waited for too long; it was not begun."""


class Lanes:
    """
    Hands out `slots` turns. Used from one event loop alone.

    :param queue_limit: most calls that wait. At the limit, the longest lane gives up its last for one of a shorter.
    """

    def __init__(self, slots: int, queue_limit: int) -> None:
        self._slots = slots
        self._queue_limit = queue_limit
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self.running = 0
        self.waiting = 0

    async def enter(self, lane: str, seconds: float) -> None:
        """
        Return once it is this call's turn; `leave` gives the turn back.

        :param seconds: longest wait.
        :raises LanesFull: the wait is over, or too many wait already.
        """
        if lane not in self._waiting and self._may_start(lane):
            self._start(lane)
            return
        self._make_room(lane)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(lane, deque()).append(turn)
        self.waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await turn
        except TimeoutError as exc:
            self._withdraw(lane, turn)
            raise LanesFull from exc
        except asyncio.CancelledError:
            self._withdraw(lane, turn)
            raise

    def leave(self, lane: str) -> None:
        """Give a turn back."""
        self._held[lane] -= 1
        if not self._held[lane]:
            del self._held[lane]
        self.running -= 1
        self._next()

    def _may_start(self, lane: str) -> bool:
        return self._held[lane] < _FREE_TO_OWN * (self._slots - self.running)

    def _start(self, lane: str) -> None:
        self._held[lane] += 1
        self.running += 1

    def _next(self) -> None:
        """Give out the free turns, to each lane in its turn."""
        started = True
        while started and self._waiting:
            started = False
            for lane in list(self._waiting):
                if not self._may_start(lane):
                    continue
                turn = self._waiting[lane][0]
                self._remove(lane, turn)
                started = True
                if lane in self._waiting:
                    self._waiting.move_to_end(lane)
                if not turn.done():  # else its caller is just about to go
                    self._start(lane)
                    turn.set_result(None)

    def _make_room(self, lane: str) -> None:
        if self.waiting < self._queue_limit:
            return
        own = len(self._waiting.get(lane, ()))
        longest = max(self._waiting, key=lambda name: len(self._waiting[name]), default=lane)
        if longest == lane or len(self._waiting[longest]) <= own + 1:
            raise LanesFull
        last = self._waiting[longest][-1]
        self._remove(longest, last)
        last.set_exception(LanesFull())

    def _withdraw(self, lane: str, turn: asyncio.Future[None]) -> None:
        """For one who waits no longer; they may just have been given their turn."""
        if turn in self._waiting.get(lane, ()):
            self._remove(lane, turn)
        elif not turn.cancelled() and turn.exception() is None:
            self.leave(lane)

    def _remove(self, lane: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting[lane]
        turns.remove(turn)
        self.waiting -= 1
        if not turns:
            del self._waiting[lane]
