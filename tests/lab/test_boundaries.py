"""Every boundary between a server, its journal and CloudStack, with the server dying just there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.lab.boundaries import boundaries


@pytest.mark.parametrize(("scenario", "points"), [("insert", 22), ("delete", 8), ("patch", 8)])
def test_a_server_may_die_at_each_step(scenario: str, points: int, tmp_path: Path) -> None:
    """Before the call took effect, and after that, before its answer came: it is done once in the end."""
    outcome = asyncio.run(boundaries(tmp_path, scenario, side_by_side=2 if scenario == "patch" else 1))
    assert outcome.problems == []
    assert outcome.kills >= points
