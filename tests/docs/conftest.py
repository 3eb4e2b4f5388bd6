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
    return asyncio.run(take(tmp_path_factory.mktemp("tour")))
