"""Whether a server should be given work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

PING_SECONDS: Final = 2.0
REMEMBERED_SECONDS: Final = 0.5
_SILENCE: Final = frozenset({"Unavailable", "Timeout"})


@dataclass(frozen=True, slots=True)
class Readiness:
    """`ready` decides; the rest tells why, or what else is known: "ok", "unreachable" or, of the backend, "unknown"."""

    ready: bool
    status: str
    store: str
    backend: str


class Health:
    """
    What is known of the parts that a server stands on.

    The store decides: without it nothing can be answered. The backend is told of and does not: when a cloud is slow or
    down it is so for all servers, and taking them all out would replace answers that say so by none at all.

    :param ping: returns if the store can be used; raises anything if not.
    """

    def __init__(self, ping: Callable[[], Awaitable[None]]) -> None:
        self._ping = ping
        self.backend = "unknown"
        """"ok" or "unreachable", as the last call was; "unknown" before the first."""
        self._store = "unknown"
        self._asked = float("-inf")
        self._asking = asyncio.Lock()
        self.draining = False
        """Set for a server that is about to stop."""

    def backend_call(self, outcome: str) -> None:
        """Learn from a call to the backend how it is."""
        if outcome in _SILENCE:
            self.backend = "unreachable"
        elif outcome not in ("cancelled", "Overloaded"):
            self.backend = "ok"

    async def readiness(self) -> Readiness:
        """As it is now. However often that is asked, the store is at most twice a second, and waited for 2 seconds."""
        async with self._asking:
            if time.monotonic() - self._asked > REMEMBERED_SECONDS:
                self._store = await self._pinged()
                self._asked = time.monotonic()
        ready = self._store == "ok" and not self.draining
        status = "draining" if self.draining else "ready" if ready else "not ready"
        return Readiness(ready, status, self._store, self.backend)

    async def _pinged(self) -> str:
        try:
            async with asyncio.timeout(PING_SECONDS):
                await self._ping()
        except Exception:  # noqa: BLE001 - the edge of a probe: whatever is wrong, the answer is no
            return "unreachable"
        return "ok"
