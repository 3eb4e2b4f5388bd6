"""A place where many may be at once, or one alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Doorway:
    """
    Lets in everybody, but for the time that somebody is alone or waits to be. Used from one event loop alone.

    Who wants to be alone counts as outside until it is, so that of two who want it neither waits for the other.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()
        #: Held by who is alone, or will be when the others have left; for a moment by who enters.
        self._door = asyncio.Lock()

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[Turn]:
        """Be inside for the length of the block."""
        async with self._door:
            self.come()
        turn = Turn(self, self._door)
        try:
            yield turn
        finally:
            turn.leave()

    def come(self) -> None:
        """One more is inside."""
        self._inside += 1
        self._empty.clear()

    def go(self) -> None:
        """One is inside no more."""
        self._inside -= 1
        if not self._inside:
            self._empty.set()

    async def emptied(self) -> None:
        """Return once nobody is inside."""
        await self._empty.wait()


class Turn:
    """One that has entered."""

    def __init__(self, doorway: Doorway, door: asyncio.Lock) -> None:
        self._doorway = doorway
        self._door = door
        self._inside = True
        self._holds_door = False

    async def alone(self) -> None:
        """Return once all others have left; nobody else enters until this one leaves."""
        if self._inside:
            self._inside = False
            self._doorway.go()
        if not self._holds_door:
            await self._door.acquire()
            self._holds_door = True
        await self._doorway.emptied()

    def leave(self) -> None:
        """Let others in."""
        if self._inside:
            self._inside = False
            self._doorway.go()
        if self._holds_door:
            self._holds_door = False
            self._door.release()
