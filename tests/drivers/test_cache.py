"""Answers that are remembered: shared, bounded, never for long, never for others."""

from __future__ import annotations

import asyncio

import pytest

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.cache import Cache
from tests.drivers.worlds import ZONE, cloud, on_loop


class Source:
    """Counts how often it is asked; answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.asked += 1
        number = self.asked
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return number


@on_loop
async def test_many_who_ask_at_once_share_one_fetch():
    """As when forty machines are listed at the start of a day."""
    cache, source = Cache(60), Source()
    waiting = [asyncio.ensure_future(cache.get("k", source)) for _ in range(10)]
    await asyncio.sleep(0)
    source.go.set()
    assert await asyncio.gather(*waiting) == [1] * 10
    assert await cache.get("k", source) == 1
    assert await cache.get("k", source, fresh=True) == 2
    assert await cache.get("other", source) == 3


@on_loop
async def test_who_gives_up_does_not_take_it_from_the_others():
    """The first to ask is often the first to hang up."""
    cache, source = Cache(60), Source()
    first = asyncio.ensure_future(cache.get("k", source))
    second = asyncio.ensure_future(cache.get("k", source))
    await asyncio.sleep(0)
    first.cancel()
    source.go.set()
    assert await second == 1
    with pytest.raises(asyncio.CancelledError):
        await first


@on_loop
async def test_a_failure_is_told_and_not_remembered():
    """CloudStack may be back the next moment."""
    cache, source = Cache(60), Source()
    source.go.set()
    source.error = ValueError("no")
    waiting = [asyncio.ensure_future(cache.get("k", source)) for _ in range(3)]
    assert {type(result) for result in await asyncio.gather(*waiting, return_exceptions=True)} == {ValueError}
    assert source.asked == 1
    source.error = None
    assert await cache.get("k", source) == 2


@on_loop
async def test_what_was_known_does_while_cloudstack_cannot_be_reached():
    """Else nobody could ask how their operation does. What is to be fresh, or was forgotten, is not made up."""
    cache, source = Cache(0), Source()
    source.go.set()
    assert await cache.get("k", source) == 1
    source.error = errors.Unavailable("away")
    assert await cache.get("k", source) == 1
    with pytest.raises(errors.Unavailable):
        await cache.get("k", source, fresh=True)
    source.error = errors.Unauthenticated("no more")
    with pytest.raises(errors.Unauthenticated):
        await cache.get("k", source)
    source.error = errors.Unavailable("away")
    cache.forget("k")
    with pytest.raises(errors.Unavailable):
        await cache.get("k", source)


@on_loop
async def test_it_forgets():
    """After its time, when it is full, and when told to."""
    source = Source()
    source.go.set()
    cache = Cache(0)
    assert [await cache.get("k", source), await cache.get("k", source)] == [1, 2]
    cache = Cache(60, max_entries=2)
    for key in ("a", "b", "a", "c"):
        await cache.get(key, source)
    asked = source.asked
    await cache.get("a", source)
    assert source.asked == asked
    await cache.get("b", source)
    assert source.asked == asked + 1
    cache.forget("b")
    await cache.get("b", source)
    assert source.asked == asked + 2


@on_loop
async def test_one_tenants_memory_is_not_anothers():
    """What an account may see is its own affair; the same key with another secret is another caller."""
    async with cloud() as world:
        await world.driver.catalog.machine_types(world.tenant, ZONE)
        other = await world.tenant_of("other")
        before = len(list(world.sim.calls))
        await world.driver.catalog.machine_types(world.tenant, ZONE)
        assert world.commands_since(before) == []
        await world.driver.catalog.machine_types(other, ZONE)
        assert "listServiceOfferings" in world.commands_since(before)
