"""The search for reference cycles: at quiet moments, and then indeed."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable

import pytest

from gceshim.commands.garbage import GarbageSearch


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def lost_knot() -> weakref.ref[Knot]:
    """A cycle that nothing refers to, and that a search of the youngest objects does not look at any more."""
    knot = Knot()
    gc.collect(0)
    return weakref.ref(knot)


async def searched(is_quiet: Callable[[], bool], enough: Callable[[], bool]) -> bool:
    """Whether a cycle is found before it is enough."""
    search = GarbageSearch(is_quiet, interval_seconds=0.01)
    search.start()
    try:
        knot = lost_knot()
        for _ in range(3_000):
            if knot() is None or enough():
                break
            await asyncio.sleep(0.01)
        return knot() is None
    finally:
        search.stop()
        search.stop()


def test_cycles_are_found_when_nothing_is_under_way() -> None:
    """Memory that nobody can reach would grow for as long as the server runs."""
    assert asyncio.run(searched(lambda: True, lambda: False))


def test_nothing_is_searched_while_something_is_under_way() -> None:
    """Among the rows of many long lists a search takes so long that all who wait for an answer notice."""
    asked = 0

    def is_quiet() -> bool:
        nonlocal asked
        asked += 1
        return False

    assert not asyncio.run(searched(is_quiet, lambda: asked >= 3))


@pytest.mark.parametrize("is_quiet", [True, False])
def test_afterwards_python_searches_as_before(is_quiet: bool) -> None:
    """A program that opens a server for a while goes on with its own settings."""
    before = gc.get_threshold()
    asyncio.run(searched(lambda: is_quiet, lambda: True))
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
