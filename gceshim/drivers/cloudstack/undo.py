"""Taking back what an operation did before it failed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType

from gceshim.drivers import errors

log = logging.getLogger(__name__)


class Undo:
    """
    What is to be taken back, last done first, when the block ends with a driver error.

    Each part is made of steps of the operation, and so is replayed with it. What cannot be taken back is named in the
    error. A block that is cut short by anything else is not taken back: it will be replayed.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[Callable[[], Awaitable[object]], str]] = []

    def add(self, part: Callable[[], Awaitable[object]], what: str) -> None:
        """`what` is left behind, in words for the caller, where the part fails."""
        self._parts.append((part, what))

    async def __aenter__(self) -> Undo:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, errors.DriverError):
            return
        left = []
        while self._parts:
            part, what = self._parts.pop()
            try:
                await part()
            except errors.DriverError as exc:
                log.warning("could not be taken back: %s: %s (%s)", what, exc.message, exc.detail)
                left.append(what)
        if left:
            raise with_remains(error, left) from error


def with_remains(exc: errors.DriverError, left: Sequence[str]) -> errors.DriverError:
    """The same error, saying too what could not be removed."""
    return type(exc)(
        f"{exc.message} (left behind, to be removed by hand: {', '.join(left)})",
        detail=exc.detail,
        kind=exc.kind,
        name=exc.name,
        field=exc.field,
    )
