"""Unmodified clients against `gceshim demo`, one demo for each worker of the test run."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.clients.demo import Cloud, Demo, running
from tests.clients.gcloud import Gcloud
from tests.clients.plain import Plain
from tests.clients.secure import Secure, secured


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The server that all tests of this process share."""
    with running(tmp_path_factory.mktemp("demo")) as demo:
        yield demo


@pytest.fixture(scope="session")
def cloud(demo: Demo) -> Cloud:
    """CloudStack's own view."""
    return Cloud(demo.cloudstack_url)


@pytest.fixture(scope="session")
def plain(demo: Demo) -> Plain:
    """What makes and deletes what a test is not about."""
    return Plain(demo)


@pytest.fixture(scope="session")
def slow_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Another, whose cloud takes longer for its work than a demo lets an answer linger."""
    home = tmp_path_factory.mktemp("slow-demo")
    config = home / "simulator.toml"
    config.write_text(
        "[job_seconds_by_command]\ndeployVirtualMachine = 9.0\nstopVirtualMachine = 5.5\ndestroyVirtualMachine = 5.5\n"
    )
    with running(home, "--simulator-config", str(config)) as demo:
        yield demo


@pytest.fixture(scope="session")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """A server behind TLS, with a service account."""
    with secured(tmp_path_factory.mktemp("secure")) as secure:
        yield secure


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    """What makes names fresh."""
    return itertools.count(1)


@pytest.fixture
def fresh_name(numbers: Iterator[int]) -> Callable[[], str]:
    """Gives a name for a machine that no other test uses."""
    return lambda: f"vm-{next(numbers)}"


@pytest.fixture
def nothing_left(cloud: Cloud) -> Iterator[None]:
    """The test's end: not one machine, volume or address more than before, or fewer."""
    before = cloud.holdings()
    yield
    assert cloud.holdings() == before


@pytest.fixture(scope="session")
def gcloud(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Gcloud:
    """The real gcloud, with the demo's lines in its environment."""
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed")
    return Gcloud(demo, tmp_path_factory.mktemp("gcloud"))
