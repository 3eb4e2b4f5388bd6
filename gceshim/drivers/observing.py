"""What a driver tells of its calls to the backend, for metrics and health."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gceshim.drivers.errors import DriverError


@dataclass(frozen=True, slots=True)
class BackendCall:
    """
    One call that has ended.

    :param command: what was called, of a small set of names.
    :param outcome: "ok", "cancelled" (nobody waited for it any more), or the class of the error: "Timeout".
    """

    command: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class BackendLoad:
    """How much is under way: calls that run, of at most `slots`, and calls that wait for their turn."""

    slots: int = 0
    running: int = 0
    waiting: int = 0


Watcher = Callable[[BackendCall], None]


def outcome_of(error: BaseException) -> str:
    """The word for how a call failed."""
    return type(error).__name__ if isinstance(error, DriverError) else "cancelled"
