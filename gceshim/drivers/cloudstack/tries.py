"""Calls whose answer may be lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from gceshim.drivers import errors

T = TypeVar("T")


def sure(action: Callable[[], Awaitable[T]], find: Callable[[], Awaitable[T | None]]) -> Callable[[], Awaitable[T]]:
    """
    The action, looking for what it made when its answer is lost, before giving up.

    :param find: as `Steps.run` and `Steps.job` take it.
    """

    async def act() -> T:
        try:
            return await action()
        except errors.Unavailable:
            found = await find()
            if found is None:
                raise
            return found

    return act
