"""A server of MongoDB's protocol for tests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import kept_port, listens, port_of

START_SECONDS = 120.0


@pytest.fixture(scope="session")
def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server that GCESHIM_TEST_MONGODB_URI names, or one started for these tests."""
    if uri := os.environ.get("GCESHIM_TEST_MONGODB_URI"):
        yield uri
        return
    folder = tmp_path_factory.mktemp("mongodb")
    with serving(folder) as uri:
        os.environ["GCESHIM_TEST_MONGODB_STARTED"] = uri
        yield uri


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A server of MongoDB's protocol with its data in a folder, for the time of a block; its URI."""
    with kept_port() as kept:
        yield from _serving(folder, port_of(kept))


def _serving(folder: Path, port: int) -> Iterator[str]:
    command = [str(Path(sys.executable).with_name("nx-27017")), "--data-dir", str(folder / "data"), "-p", str(port)]
    # By default one file for the whole machine, and a second worker's server would not start beside the first's.
    command += ["--pid-file", str(folder / "pid"), "--log-file", str(folder / "own.log")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*command, "--host", "127.0.0.1"], stdout=log, stderr=log, cwd=folder)
    deadline = time.monotonic() + START_SECONDS
    try:
        while not listens(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the MongoDB server did not start: {(folder / 'log').read_text()}")
            time.sleep(0.02)
        yield f"mongodb://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(10)
