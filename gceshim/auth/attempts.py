"""
How often somebody may try to sign in: attempts that failed, counted by address and by identity for a minute.

An address may fail `per_minute` times. An identity (a user of a domain, or an API key) may fail three times as often,
whoever tries: that slows down guessing from many addresses, while no single address can use it up and shut the owner
out by knowing their name. Somebody who guesses from many addresses can, for as long as they go on and a minute more;
but not from an address from which that identity has signed in lately, and not out of another way to sign in, as an API
key is another identity than the user it belongs to. What succeeds counts for nobody, and what was turned down here is
not counted again, so that asking too early makes no wait longer.

Programs that hold a key pair come many at a time, and many of them from one address: theirs are counted for each
identity at each address (`begin_program`), and of those that come at once so many are tried as may fail, and the others
once that is known.

All of it is in memory, for one server process, and bounded: the oldest entries give way.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import math
import time
from collections import Counter, OrderedDict, deque
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
    """
    One that is under way. Until it turns out otherwise it counts as failed: many at once are no way round.

    :param keys: under which it is counted. :param pair: the identity at this address.
    """

    keys: tuple[str, str]
    pair: str
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
        self._undecided: Counter[str] = Counter()
        self._decided = asyncio.Event()

    def begin(self, address: str, identity: str) -> Attempt:
        """
        To be called before the backend is asked.

        :param address: where the attempt comes from. An IPv6 network of 64 bits is one address.
        :param identity: who is being signed in, in whatever words; only a digest is kept. :raises TooManyAttempts:
        """
        place, who = _network(address), _digest(identity)
        return self._begin(place, who, f"{who} {place}")

    async def begin_program(self, address: str, identity: str) -> Attempt:
        """
        As `begin`, for a program with a key pair: waits for others that are under way, if only they stand against it.

        :raises TooManyAttempts:
        """
        who = _digest(identity)
        pair = f"{who} {_network(address)}"
        while True:
            try:
                return self._begin(pair, who, pair)
            except TooManyAttempts:
                if any(self._certain(key) >= limit for key, limit in self._limits(pair, who, pair).items()):
                    raise
            await self._decided.wait()

    def failed(self, attempt: Attempt) -> None:
        """It counts for a minute from its beginning."""
        self._decide(attempt)

    def forget(self, attempt: Attempt) -> None:
        """It does not count: the backend could not tell."""
        self._decide(attempt)
        for key in attempt.keys:
            times = self._failures.get(key, deque())
            if attempt.began in times:
                times.remove(attempt.began)
            if not times:
                self._failures.pop(key, None)

    def succeeded(self, attempt: Attempt) -> None:
        """It does not count, and others' failures do not shut this identity out at this address any more."""
        self.forget(attempt)
        self._known[attempt.pair] = None
        self._known.move_to_end(attempt.pair)
        _shorten(self._known)

    def _begin(self, place: str, who: str, pair: str) -> Attempt:
        attempt = Attempt((place, who), pair, self._clock())
        limits = self._limits(place, who, pair)
        waits = [self._wait_seconds(key, limit, attempt.began) for key, limit in limits.items()]
        if max(waits) > 0:
            raise TooManyAttempts(math.ceil(max(waits)))
        for key in attempt.keys:
            self._failures.setdefault(key, deque()).append(attempt.began)
            self._failures.move_to_end(key)
            self._undecided[key] += 1
        _shorten(self._failures)
        return attempt

    def _limits(self, place: str, who: str, pair: str) -> dict[str, int]:
        limits = {place: self._per_minute}
        if pair not in self._known:
            limits[who] = self._per_minute * IDENTITY_FACTOR
        return limits

    def _certain(self, key: str) -> int:
        """How many have failed, less those of which it is not known."""
        return len(self._failures.get(key, ())) - self._undecided[key]

    def _decide(self, attempt: Attempt) -> None:
        """Whoever waits for one that is under way looks again."""
        for key in attempt.keys:
            self._undecided[key] -= 1
            if self._undecided[key] <= 0:
                del self._undecided[key]
        decided, self._decided = self._decided, asyncio.Event()
        decided.set()

    def _wait_seconds(self, key: str, limit: int, now: float) -> float:
        times = self._failures.get(key)
        if times is None:
            return 0.0
        while times and times[0] <= now - WINDOW_SECONDS:
            times.popleft()
        return times[-limit] + WINDOW_SECONDS - now if len(times) >= limit else 0.0


def key_identity(api_key: str) -> str:
    """An API key as an identity, wherever it is typed."""
    return f"key {api_key.strip()}"


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
