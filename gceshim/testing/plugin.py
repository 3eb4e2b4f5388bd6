"""
Fixtures for tests that speak HTTP to a server with a simulated CloudStack behind it.

In a conftest.py: `pytest_plugins = ["gceshim.testing.plugin"]`; needs pytest-tornado.

    cloudstack_settings   the simulator's settings; override it for another cloud
    shim_settings         settings of the server that differ from the defaults
    world                 all of it, started
    cloudstack            the simulator, for a look at what is really there, and for faults
    gce                   a client of the account `demo`, in whose answers everything is checked
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from gceshim.protocol.discovery import Document
from gceshim.resources.base import document
from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.testing.gce import Gce
from gceshim.testing.world import World


@pytest.fixture(scope="session")
def discovery() -> Document:
    """The discovery document."""
    return document()


@pytest.fixture
def cloudstack_settings() -> SimulatorSettings:
    """Two zones, a handful of offerings and templates, nothing made by anyone yet."""
    return SimulatorSettings()


@pytest.fixture
def shim_settings() -> Mapping[str, Any]:
    """By key; nothing here differs from the defaults."""
    return {}


@pytest.fixture
def world(
    io_loop: IOLoop,
    tmp_path: Path,
    discovery: Document,
    cloudstack_settings: SimulatorSettings,
    shim_settings: Mapping[str, Any],
) -> Iterator[World]:
    """A simulator and a server, for one test."""
    world = World(tmp_path, discovery, cloudstack_settings, shim_settings)
    io_loop.run_sync(world.__aenter__)
    yield world
    io_loop.run_sync(lambda: world.__aexit__(None, None, None), timeout=30)


@pytest.fixture
def cloudstack(world: World) -> Simulator:
    """What is really there."""
    return world.cloudstack


@pytest.fixture
def gce(world: World, io_loop: IOLoop) -> Gce:
    """A client of `demo`."""
    client: Gce = io_loop.run_sync(world.gce)
    return client
