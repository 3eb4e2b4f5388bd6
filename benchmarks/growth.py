"""Does something grow without end? By samples of it, taken at regular times."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

LEAST_SAMPLES: Final = 24
LEAST_SECONDS: Final = 90.0


@dataclass(frozen=True)
class Bound:
    """
    How much a plateau may rise within the last third of a run: what is larger of the two.

    :param part: of its level. :param least: in the unit of the samples.
    """

    part: float
    least: float


@dataclass
class Series:
    """
    One number by time.

    :param bound: None: it is to grow, or says nothing about the server; it is shown all the same.
    """

    name: str
    unit: str
    scale: float
    bound: Bound | None
    at_seconds: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, at_seconds: float, value: float) -> None:
        """The next sample, in the unit."""
        self.at_seconds.append(at_seconds)
        self.values.append(value / self.scale)

    @property
    def decided(self) -> bool:
        """Whether the run was long enough to tell."""
        return len(self.values) >= LEAST_SAMPLES and self.at_seconds[-1] - self.at_seconds[0] >= LEAST_SECONDS

    @property
    def level(self) -> float:
        """The median of the last third."""
        return statistics.median(self._last_third()[1])

    @property
    def growth(self) -> float:
        """By how much the straight line through the last third rises from its one end to the other."""
        times, values = self._last_third()
        if len(times) < 2:
            return 0.0
        return statistics.linear_regression(times, values).slope * (times[-1] - times[0])

    @property
    def per_hour(self) -> float:
        """The same, if it went on for an hour."""
        times, _ = self._last_third()
        seconds = times[-1] - times[0]
        return self.growth / seconds * 3600 if seconds else 0.0

    @property
    def allowed(self) -> float:
        """The bound, in the unit; without one, infinite."""
        return float("inf") if self.bound is None else max(self.bound.part * self.level, self.bound.least)

    @property
    def grows(self) -> bool:
        """Whether it has no plateau."""
        return self.decided and self.growth > self.allowed

    def _last_third(self) -> tuple[Sequence[float], Sequence[float]]:
        start = len(self.values) * 2 // 3
        return self.at_seconds[start:], self.values[start:]
