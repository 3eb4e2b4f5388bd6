"""Taking back what an operation did before it failed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Final, TypeVar

from gceshim.drivers import errors
from gceshim.drivers.base import Steps

T = TypeVar("T")
log = logging.getLogger(__name__)

_MOST_TRIES: Final = 5
_PAUSE_SECONDS: Final = 0.1


async def insist(steps: Steps, part: Callable[[Steps], Awaitable[T]], what: str) -> T:
    """
    Do a part of a workflow, once more and again where it fails: what is left behind costs more than a wait.

    :param part: does it with the steps that it is given, which differ from try to try. :param what: for the log.
    :raises DriverError: as the last try.
    """
    for tried in range(1, _MOST_TRIES):
        try:
            return await part(steps if tried == 1 else steps.within(f"again-{tried}"))
        except errors.DriverError as exc:
            log.info("not done yet: %s: %s (%s)", what, exc.message, exc.detail)
        await asyncio.sleep(_PAUSE_SECONDS * 2 ** (tried - 1))
    return await part(steps.within(f"again-{_MOST_TRIES}"))


class Undo:
    """
    What is to be taken back, last done first, when the block ends with a driver error.

    Each part is made of steps of the operation, and so is replayed with it. What cannot be taken back at the last try
    is named in the error. A block that is cut short by anything else is not taken back: it will be replayed.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[Steps, Callable[[Steps], Awaitable[object]], str]] = []

    def add(self, steps: Steps, part: Callable[[Steps], Awaitable[object]], what: str) -> None:
        """
        :param part: for `insist`. :param what: is left behind, in words for the caller, where the part fails.
        """
        self._parts.append((steps, part, what))

    async def __aenter__(self) -> Undo:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, errors.DriverError):
            return
        left = []
        while self._parts:
            steps, part, what = self._parts.pop()
            try:
                await insist(steps, part, what)
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
