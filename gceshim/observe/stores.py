"""How long the calls to a store take."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")


class _Timed:
    """Stands before one part of a store and times its coroutines."""

    def __init__(self, inner: object, name: str, seen: Callable[[str, float], None]) -> None:
        self._inner = inner
        self._name = name
        self._seen = seen

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._inner, attribute)
        if not inspect.iscoroutinefunction(found):
            return found
        call = f"{self._name}.{attribute}"

        async def timed(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return await found(*arguments, **options)
            finally:
                self._seen(call, time.perf_counter() - started)

        self.__dict__[attribute] = timed  # the next use finds it without coming here
        return timed


def timed(part: T, name: str, seen: Callable[[str, float], None]) -> T:
    """
    The same part of a store, which tells how long each call takes.

    :param seen: called with a name such as "operations.insert", and seconds, however the call ended.
    """
    return cast(T, _Timed(part, name, seen))
