"""Named faults: what can go wrong between a client and CloudStack, on demand.

``slow_reply``        the reply waits ``seconds``
``slow_job``          the job takes ``seconds`` longer
``failing_job``       the job fails with 530
``capacity``          533: in the job of an asynchronous command, else at once
``quota_full``        535, at once (for commands that are not creating: in the job)
``lost_reply``        the work is done, then the connection is closed without a reply
``connection_reset``  the connection is closed, and no work is done
``garbage_reply``     the reply is not JSON
``http_error``        a reply of a proxy: HTTP ``status`` with an HTML body
``error_rate``        530 with the given ``probability``
``held_request``      the call waits, its work not done, until the fault is released
``held_reply``        the work is done, and the reply waits until the fault is released
"""

import asyncio
import random
from dataclasses import dataclass, field

NAMES = frozenset(
    {
        "slow_reply",
        "slow_job",
        "failing_job",
        "capacity",
        "quota_full",
        "lost_reply",
        "connection_reset",
        "garbage_reply",
        "http_error",
        "error_rate",
        "held_request",
        "held_reply",
    }
)


@dataclass
class Fault:
    """One active fault. ``left`` counts down to its end, None has no end; ``skip`` counts down to its beginning."""

    name: str
    command: str
    left: int | None
    probability: float
    seconds: float
    status: int
    text: str
    skip: int = 0
    hits: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """Set when it has struck for the first time."""
    _released: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    _lost: bool = False

    def release(self, *, lost: bool = False) -> None:
        """Let go of what is held. ``lost``: close the connections; a request that is held does no work then."""
        self._lost = lost
        self._released.set()

    async def hold(self) -> bool:
        """Wait for the release; whether to go on after it."""
        await self._released.wait()
        return not self._lost


class Faults:
    """The active faults. Probabilities are drawn from the seeded generator, so that a run repeats."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = random.Random(seed)  # noqa: S311 - not a secret
        self._active: list[Fault] = []
        self._holding: list[Fault] = []

    def add(
        self,
        name: str,
        command: str = "*",
        times: int = 0,
        *,
        probability: float = 1.0,
        seconds: float = 0.5,
        status: int = 500,
        text: str = "",
        skip: int = 0,
    ) -> Fault:
        """Make a fault active for a command (``*``: all), ``times`` times (0: until cleared), after ``skip`` calls.

        :raises ValueError: for a name that is not one of this module's.
        """
        if name not in NAMES:
            raise ValueError(f"unknown fault {name!r}; known are {', '.join(sorted(NAMES))}")
        fault = Fault(name, command, times or None, probability, seconds, status, text, skip)
        self._active.append(fault)
        return fault

    def clear(self) -> None:
        """End all faults, and let go of what they hold."""
        self._active.clear()
        self.let_go()

    def let_go(self) -> None:
        """Release all that is held."""
        for fault in self._holding:
            fault.release()
        self._holding.clear()

    def take(self, command: str, *names: str) -> Fault | None:
        """The first active fault of these names that strikes this command now, counted as used."""
        for fault in self._active:
            if fault.name not in names or fault.command not in ("*", command):
                continue
            if fault.probability < 1.0 and self._random.random() >= fault.probability:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.hits += 1
            if fault.name in ("held_request", "held_reply"):
                self._holding.append(fault)
            fault.reached.set()
            if fault.left is not None:
                fault.left -= 1
                if fault.left == 0:
                    self._active.remove(fault)
            return fault
        return None
