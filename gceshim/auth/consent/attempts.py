"""
How often somebody may try to sign in: attempts that failed, counted by address and by identity for a minute.

An address may fail `per_minute` times. An identity (a user of a domain, or an API key) may fail three times as often,
whoever tries: that slows down guessing from many addresses, while no single address can use it up and shut the owner
out by knowing their name. Somebody who guesses from many addresses can, for as long as they go on and a minute more;
but not from an address from which that identity has signed in lately, and not out of another way to sign in, as an API
key is another identity than the user it belongs to. What succeeds counts for nobody, and what was turned down here is
not counted again, so that asking too early makes no wait longer.

All of it is in memory, for one server process, and bounded: the oldest entries give way.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

WINDOW_SECONDS: Final = 60.0
IDENTITY_FACTOR: Final = 3
MAX_ENTRIES: Final = 10_000


class TooManyAttempts(Exception):
    """:param retry_after_seconds: after which another attempt is let through, 1 to 60."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"too many attempts; again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Attempt:
    """One that is under way. Until it turns out otherwise it counts as failed: many at once are no way round."""

    address: str
    identity: str
    began: float


class Attempts:
    """
    :param per_minute: failures of one address within a minute.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    def begin(self, address: str, identity: str) -> Attempt:
        """
        To be called before the backend is asked.

        :param address: where the attempt comes from. An IPv6 network of 64 bits is one address.
        :param identity: who is being signed in, in whatever words; only a digest is kept. :raises TooManyAttempts:
        """
        attempt = Attempt(_network(address), _digest(identity), self._clock())
        limits = {attempt.address: self._per_minute}
        if self._pair(attempt) not in self._known:
            limits[attempt.identity] = self._per_minute * IDENTITY_FACTOR
        waits = [self._wait_seconds(key, limit, attempt.began) for key, limit in limits.items()]
        if max(waits) > 0:
            raise TooManyAttempts(math.ceil(max(waits)))
        for key in (attempt.address, attempt.identity):
            self._failures.setdefault(key, deque()).append(attempt.began)
            self._failures.move_to_end(key)
        _shorten(self._failures)
        return attempt

    def forget(self, attempt: Attempt) -> None:
        """It does not count: the backend could not tell."""
        for key in (attempt.address, attempt.identity):
            times = self._failures.get(key, deque())
            if attempt.began in times:
                times.remove(attempt.began)
            if not times:
                self._failures.pop(key, None)

    def succeeded(self, attempt: Attempt) -> None:
        """It does not count, and others' failures do not shut this identity out at this address any more."""
        self.forget(attempt)
        self._known[self._pair(attempt)] = None
        self._known.move_to_end(self._pair(attempt))
        _shorten(self._known)

    def _wait_seconds(self, key: str, limit: int, now: float) -> float:
        times = self._failures.get(key)
        if times is None:
            return 0.0
        while times and times[0] <= now - WINDOW_SECONDS:
            times.popleft()
        return times[-limit] + WINDOW_SECONDS - now if len(times) >= limit else 0.0

    @staticmethod
    def _pair(attempt: Attempt) -> str:
        return f"{attempt.identity} {attempt.address}"


def _network(address: str) -> str:
    """Whoever has one address of an IPv6 network of 64 bits as a rule has them all."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def _digest(identity: str) -> str:
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()


def _shorten(entries: OrderedDict[str, Any]) -> None:
    while len(entries) > MAX_ENTRIES:
        entries.popitem(last=False)
