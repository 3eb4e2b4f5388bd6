"""A simulator per test, in a thread of its own; each test ends with the claim that the simulator itself did not fail."""

from collections.abc import Callable, Iterator

import pytest

from gceshim.simulator import SimulatorSettings
from tests.simulator.api import World


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    """Starts simulators with settings of the test's choice; job_seconds is short unless given."""
    made: list[World] = []

    def make(**settings: object) -> World:
        found = World(SimulatorSettings(**{"job_seconds": 0.005, **settings}))  # type: ignore[arg-type]
        made.append(found)
        return found

    yield make
    for found in made:
        found.stop()
        assert list(found.sim.bugs) == []


@pytest.fixture
def cloud(make_world: Callable[..., World]) -> World:
    """A simulator with the default data set."""
    return make_world()
