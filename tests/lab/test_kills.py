"""200 mutations in flight while their servers are killed at random points: each is done, once."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from tests.lab.storm import kills

COUNT = 200


@pytest.mark.parametrize("seed", [1])
def test_a_server_that_is_killed_and_started_again_does_all(seed: int, tmp_path: Path) -> None:
    """The same command line on the same file, some times over. `python -m tests.lab --seeds N` runs more."""
    outcome = asyncio.run(kills(tmp_path, seed, count=COUNT))
    assert not outcome.problems, str(outcome)
    assert outcome.kills >= 3


@pytest.mark.parametrize("seed", [2])
def test_servers_that_share_a_store_finish_what_others_began(seed: int, tmp_path: Path, mongodb_uri: str) -> None:
    """Of two, one at a time is killed or stands still, and the other takes over what it had."""
    shared = {
        "store.mongodb_uri": mongodb_uri,
        "store.mongodb_standalone": True,
        "store.mongodb_database": f"lab_{uuid.uuid4().hex[:8]}",
    }
    outcome = asyncio.run(kills(tmp_path, seed, count=COUNT, servers=2, settings=shared))
    assert not outcome.problems, str(outcome)
    assert outcome.kills + outcome.pauses >= 3
