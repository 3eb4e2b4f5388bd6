"""
Fixtures for all tests: `world`, `cloudstack`, `gce` and the settings they are made from (see gceshim.testing.plugin);
`mongodb_uri`, a server of MongoDB's protocol (see tests.mongodb).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from tornado.ioloop import IOLoop

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

pytest_plugins = ["gceshim.testing.plugin", "tests.mongodb"]


@pytest.fixture
def loop_before() -> Iterator[None]:
    """A current loop, which pytest-tornado's fixture else makes, with a warning, and never closes."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def io_loop(loop_before: None, io_loop: IOLoop) -> IOLoop:
    """The loop of a test, made and closed by pytest-tornado."""
    return io_loop
