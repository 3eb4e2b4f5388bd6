"""
Fixtures of the tests of documents.

    tour    the whole API called once, over HTTP, and all that it answered
"""

from __future__ import annotations

import asyncio

import pytest

from tests.docs.tour import Tour, take


@pytest.fixture(scope="session")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    """Taken once by each process; it needs some seconds."""
    # A loop of its own, where asyncio.run() would drop the one that pytest-tornado left as the current one, unclosed.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(take(tmp_path_factory.mktemp("tour")))
