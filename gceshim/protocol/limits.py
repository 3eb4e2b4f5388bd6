"""
How much one caller may ask at a time: requests per second, and requests under way.

Whoever goes over a limit by a little is held back for a while, so that clients that never try again, as most commands
of gcloud, do not notice; over that they are answered 429 with the time after which it is worth trying again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import math
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from gceshim.protocol.errors import RateLimitExceeded

_IPV6_NETWORK_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What an operator may set. All of it holds for one process.

    :param requests_per_second: of one caller, in the long run; 0: no limit. Each part of a batch counts.
    :param burst: requests that a caller may make at once after a rest.
    :param concurrent_requests: of one caller, under way at a time.
    :param concurrent_waits: of one caller: requests that wait for an operation, which count apart.
    :param patience_seconds: how long a request over a limit is held back, before it is refused.
    :param strangers_per_second: requests without valid credentials from one address (of IPv6: one /64); 0: no limit.
    :param strangers_burst: as `burst`.
    :param remembered: callers and addresses that are told apart; the longest unseen is forgotten.
    """

    requests_per_second: float = 200.0
    burst: int = 2_000
    concurrent_requests: int = 200
    concurrent_waits: int = 2_000
    patience_seconds: float = 5.0
    strangers_per_second: float = 50.0
    strangers_burst: int = 500
    remembered: int = 10_000


class Limiter:
    """Keeps the account of who asks how much. `refused` counts the 429s, by "caller" and "address"."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._callers = Buckets(limits.requests_per_second, limits.burst, limits.remembered)
        self._addresses = Buckets(limits.strangers_per_second, limits.strangers_burst, limits.remembered)
        self._requests = Gates(limits.concurrent_requests)
        self._waits = Gates(limits.concurrent_waits)
        self.refused: Counter[str] = Counter()

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way but such as wait for operations."""
        return self._requests.are_empty

    def check_address(self, address: str) -> None:
        """
        For a request of which nobody knows who makes it. :raises RateLimitExceeded: there were too many from there.

        Not to be asked about one with valid credentials: a whole office may share an address, or all the world that of
        a proxy.
        """
        delay_seconds = self._addresses.delay(_network(address))
        if delay_seconds > 0:
            raise self._refusal("address", "Too many requests without valid credentials.", delay_seconds)

    def count_stranger(self, address: str) -> None:
        """Count such a request."""
        self._addresses.take(_network(address))

    @contextlib.asynccontextmanager
    async def admitted(self, subject: str, *, waits: bool) -> AsyncIterator[None]:
        """
        The block is run when it is the caller's turn.

        :param waits: the request may wait for an operation, for long and at no cost.
        :raises RateLimitExceeded: that would take too long.
        """
        patience_seconds = self._limits.patience_seconds
        delay_seconds = self._callers.delay(subject)
        if delay_seconds > patience_seconds:
            raise self._refusal("caller", "Rate Limit Exceeded", delay_seconds)
        self._callers.take(subject)
        if delay_seconds > 0:
            await asyncio.sleep(delay_seconds)
        gates = self._waits if waits else self._requests
        try:
            await gates.enter(subject, patience_seconds)
        except TimeoutError:
            message = "Rate Limit Exceeded: too many requests are under way."
            raise self._refusal("caller", message, 1.0) from None
        try:
            yield
        finally:
            gates.leave(subject)

    def _refusal(self, who: str, message: str, delay_seconds: float) -> RateLimitExceeded:
        self.refused[who] += 1
        after_seconds = max(1, math.ceil(delay_seconds))
        return RateLimitExceeded(message, headers={"Retry-After": str(after_seconds)})


class Buckets:
    """
    A token bucket for each key, kept as the one moment at which it is full again.

    Source: the generic cell rate algorithm, ITU-T I.371.
    """

    def __init__(self, per_second: float, burst: int, remembered: int) -> None:
        self._pause_seconds = 1 / per_second if per_second else 0.0
        self._burst_seconds = max(0, burst - 1) * self._pause_seconds
        self._remembered = remembered
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def delay(self, key: str) -> float:
        """How many seconds it takes until there is a token; 0.0 when there is one."""
        return max(0.0, self._full_at.get(key, 0.0) - self._burst_seconds - time.monotonic())

    def take(self, key: str) -> None:
        """Take the next token, be it one that is not there yet."""
        if not self._pause_seconds:
            return
        self._full_at[key] = max(self._full_at.get(key, 0.0), time.monotonic()) + self._pause_seconds
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._remembered:
            self._full_at.popitem(last=False)


class Gates:
    """At most `limit` at a time for each key; as many more may wait, first come, first served."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def are_empty(self) -> bool:
        return not self._inside

    async def enter(self, key: str, seconds: float) -> None:
        """Return when there is room. :raises TimeoutError: there is none within `seconds`, or too many wait."""
        if self._inside[key] < self._limit:
            self._inside[key] += 1
            return
        line = self._waiting.setdefault(key, deque())
        if len(line) >= self._limit:
            raise TimeoutError
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except (TimeoutError, asyncio.CancelledError):
            if not turn.cancelled():
                self.leave(key)  # the turn came in the same moment
            elif turn in line:
                line.remove(turn)
            raise

    def leave(self, key: str) -> None:
        """Make room."""
        line = self._waiting.get(key, ())
        while line:
            turn = line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._waiting.pop(key, None)
        self._inside[key] -= 1
        if not self._inside[key]:
            del self._inside[key]


def _network(address: str) -> str:
    """What counts as one address: of IPv6 each customer has a whole network. A port, as proxies may add, does not."""
    if address.startswith("["):
        address = address[1:].partition("]")[0]
    elif address.count(":") == 1:
        address = address.partition(":")[0]
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], _IPV6_NETWORK_BITS), strict=False))
    except ValueError:
        return address
