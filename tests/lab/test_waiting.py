"""Waiting for operations: what thousands of waiters cost, how soon they wake, and what is left when they go away."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter

import pytest

from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.testing.gce import Body, Gce
from gceshim.testing.world import World
from tests.resources.requests import HERE, insert_body, made
from tests.stores.running import until

pytestmark = pytest.mark.gen_test(timeout=60)

CLIENTS = 300


@pytest.fixture
def cloudstack_settings() -> SimulatorSettings:
    """A machine stops for as long as the test wants."""
    return SimulatorSettings(job_seconds_by_command={"stopVirtualMachine": 1000.0})


@pytest.fixture
def shim_settings() -> dict[str, float]:
    """What is still under way at the end is left."""
    return {"server.shutdown_seconds": 0.0}


async def stopping(gce: Gce) -> Body:
    """An operation that does not end by itself."""
    await made(gce, insert_body("vm-1"))
    return await gce.call("compute.instances.stop", **HERE, instance="vm-1")


async def waiting(gce: Gce, operation: Body) -> asyncio.StreamWriter:
    """A connection on which a client waits for the operation."""
    host, _, port = gce.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    path = operation["selfLink"].removeprefix(gce.url)
    head = f"POST {path}/wait HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {gce.token}\r\nContent-Length: 0\r\n"
    writer.write(f"{head}\r\n".encode())
    await writer.drain()
    return writer


def tasks() -> Counter[str]:
    """What runs in this loop, by the coroutine."""
    return Counter(getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())


async def settled(low: int, high: int) -> int:
    """How many tasks there are, once they are as many as they should be or some seconds have passed."""
    with contextlib.suppress(TimeoutError):
        await until(lambda: low <= tasks().total() <= high, 20.0)
    return tasks().total()


async def test_clients_that_go_away_free_their_waiters(world: World, gce: Gce, cloudstack: Simulator) -> None:
    """Who waits two minutes for nobody is memory; and no waiter costs a thread or a call to the cloud."""
    operation = await stopping(gce)
    before, threads = tasks(), threading.active_count()
    writers = [await waiting(gce, operation) for _ in range(CLIENTS)]
    assert await settled(before.total() + CLIENTS, 10**6) >= before.total() + CLIENTS
    assert threading.active_count() <= threads + 1
    for writer in writers:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in writers))
    assert await settled(0, before.total() + 2) <= before.total() + 2, tasks() - before
