"""Page tokens from one server to the next: a list is read on after a restart, and at whichever of several servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from gceshim.protocol.discovery import Document
from gceshim.testing.gce import Gce
from gceshim.testing.world import World

pytestmark = pytest.mark.gen_test

ZONES = {"project": "demo", "maxResults": 1}


def other(world: World, folder: Path, discovery: Document, key: Path) -> World:
    """A second server for the same cloud, with a store of its own."""
    folder.mkdir()
    overrides = {"driver.cloudstack.url": world.cloudstack.endpoint, "auth.master_key_file": str(key)}
    return World(folder, discovery, overrides=overrides)


async def test_a_token_is_good_at_each_server_of_one_key(
    world: World, gce: Gce, tmp_path: Path, discovery: Document
) -> None:
    """It holds no more than the place and the query; of another key it is a 400."""
    first = await gce.call("compute.zones.list", **ZONES)
    key = tmp_path / "master.key"
    async with other(world, tmp_path / "same", discovery, key) as same:
        there = await same.gce()
        rest = await there.call("compute.zones.list", **ZONES, pageToken=first["nextPageToken"])
    async with other(world, tmp_path / "strange", discovery, tmp_path / "strange.key") as strange:
        there = await strange.gce()
        error = await there.error("compute.zones.list", **ZONES, pageToken=first["nextPageToken"])

    names = [zone["name"] for zone in (*first["items"], *rest["items"])]
    assert (names, "nextPageToken" in rest) == (["sandbox-1-a", "sandbox-sg-a"], False)
    assert (error["code"], "'pageToken'" in error["message"]) == (400, True)
