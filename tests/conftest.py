"""
Fixtures for all tests: `world`, `cloudstack`, `gce` and the settings they are made from (see gceshim.testing.plugin);
`mongodb_uri`, a server of MongoDB's protocol (see tests.mongodb); `cloud`, a simulated CloudStack in its own process.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Generator, Iterator, Mapping

import pytest
from hypothesis import HealthCheck, settings
from tornado.ioloop import IOLoop

from tests.command_line import simulated_cloud
from tests.leaks import leaked

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three for each processor: half of the time is waiting for servers and clients of their own."""
    return 3 * (os.cpu_count() or 1)


def pytest_configure() -> None:
    """A script that runs the suite in the background has SIGINT ignored, by all children too; tests send it to some."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays: looking for garbage in it takes a third of the time that finding the tests does."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that passes, and has written or logged a secret, has failed."""
    report = yield
    places = [place for _, text in report.sections for place in leaked(text)]
    if places and report.passed:
        report.outcome = "failed"
        report.longrepr = f"secrets in the output: {places}"
        report.sections = []
    return report


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


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """A simulated CloudStack in a process of its own: `endpoint`, and the demo account's keys."""
    with simulated_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud
