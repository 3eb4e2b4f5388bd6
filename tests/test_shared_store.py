"""Several servers that share one MongoDB and one master key."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from gceshim.protocol.discovery import Document
from gceshim.testing.gce import Gce
from gceshim.testing.world import World
from tests.resources.requests import HERE, insert_body

pytestmark = pytest.mark.gen_test(timeout=60)


async def test_tokens_and_operations_are_shared(tmp_path: Path, discovery: Document, mongodb_uri: str) -> None:
    """What one server has begun or revoked, the other knows within a second."""
    shared = {
        "store.mongodb_uri": mongodb_uri,
        "store.mongodb_standalone": True,
        "store.mongodb_database": f"world_{uuid.uuid4().hex[:12]}",
        "auth.master_key_file": str(tmp_path / "shared.key"),
    }
    async with World(tmp_path, discovery, overrides=shared) as one:
        own = {**shared, "driver.cloudstack.url": one.cloudstack.endpoint}
        async with World(tmp_path, discovery, overrides=own) as two:
            token = await one.token("demo")
            here, there = one.anonymous(token), two.anonymous(token)
            operation = await here.call("compute.instances.insert", **HERE, body=insert_body("vm-1"))
            ended = await there.done(operation)
            assert (ended["status"], ended.get("error")) == ("DONE", None)
            assert (await there.call("compute.instances.get", **HERE, instance="vm-1"))["status"] == "RUNNING"

            await two.shim.tokens.revoke(token)
            await asyncio.gather(refused_within(1.0, here), refused_within(1.0, there))


async def refused_within(seconds: float, client: Gce) -> None:
    """Ask until the answer is a 401. :raises TimeoutError: it is not, in that time."""
    async with asyncio.timeout(seconds):
        while (await client.answer("compute.zones.list", project="demo")).status != 401:
            pass
