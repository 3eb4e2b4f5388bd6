"""Pages of a list that changes while it is read: nothing twice, and nothing missed that was there throughout."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gceshim.model import Page
from gceshim.pace import Pace
from gceshim.protocol.page_tokens import PageTokens
from gceshim.protocol.paging import collect
from gceshim.protocol.sources import SCAN_PAGES, Numbered, window
from gceshim.simulator import SimulatorSettings
from gceshim.testing.gce import Gce
from gceshim.testing.world import World
from tests.protocol.harness import DOCUMENT
from tests.resources.requests import HERE, PROJECT, insert_body
from tests.resources.vpcs import cloudstack_call


class Query:
    """As much of a call as paging looks at."""

    method = DOCUMENT.method("compute.instances.list")
    document = DOCUMENT

    class caller:  # noqa: N801 - stands for an attribute
        subject = "s"

    def __init__(self, tokens: PageTokens, params: Mapping[str, Any]) -> None:
        self.params = params
        self.tokens = tokens
        self.pace = Pace()


class Backend:
    """Items in the order of making, or the reverse; several are made in one second."""

    def __init__(self, count: int, per_second: int, *, descending: bool, hidden: int = 0) -> None:
        self.items = list(range(count))
        self.next = count
        self.calls = 0
        self._descending = descending
        self._hidden = hidden
        self.source = Numbered(self.fetch, str, lambda item: f"{item // per_second:09}", descending)

    async def fetch(self, page: int, page_size: int) -> Page[int]:
        self.calls += 1
        start = (page - 1) * page_size
        items = self.items[::-1] if self._descending else self.items
        page_items = [item for item in items[start : start + page_size] if self.is_shown(item)]
        return Page(page_items, more=start + page_size < len(items))

    def is_shown(self, item: int) -> bool:
        """A driver leaves out of a page what is on its way out."""
        return not self._hidden or item % self._hidden != 0

    def change(self, chance: random.Random, gone: float, made: int) -> None:
        self.items = [item for item in self.items if chance.random() >= gone]
        self.items += range(self.next, self.next + made)
        self.next += made


async def walk(backend: Backend, size: int, change: Callable[[], None], **params: Any) -> tuple[list[int], set[int]]:
    """What is read, with a change after each answer; and what was there from the first answer to the last."""
    tokens = PageTokens()
    read: list[int] = []
    throughout = set(backend.items)
    token: str | None = None
    for _ in range(2_000):
        query: Any = Query(tokens, {"maxResults": size, **params, **({"pageToken": token} if token else {})})
        calls = backend.calls
        items, token = await collect(query, backend.source, lambda item: {"n": item, "name": f"i{item:06}"})
        assert backend.calls - calls <= SCAN_PAGES + 1
        assert len(items) <= size
        read += [item["n"] for item in items]
        if token is None:
            return read, throughout
        change()
        throughout &= set(backend.items)
    raise AssertionError("the list does not end")


@settings(max_examples=120)
@given(
    count=st.integers(0, 150),
    size=st.integers(1, 60),
    per_second=st.sampled_from((1, 3, 20)),
    descending=st.booleans(),
    gone=st.sampled_from((0.0, 0.05, 0.5, 0.95)),
    made=st.integers(0, 3),
    narrowed=st.booleans(),
    hidden=st.sampled_from((0, 0, 2, 1)),
    seed=st.integers(0, 2**32),
)
def test_pages_hold_whatever_comes_and_goes(
    *,
    count: int,
    size: int,
    per_second: int,
    descending: bool,
    gone: float,
    made: int,
    narrowed: bool,
    hidden: int,
    seed: int,
) -> None:
    """Rows move up as others vanish and down as others are made; several have one time."""
    backend = Backend(count, per_second, descending=descending, hidden=hidden)
    chance = random.Random(seed)
    params = {"filter": "name = *5"} if narrowed else {}
    made = min(made, max(0, size - 1))  # else a list that grows faster than it is read has no end

    read, throughout = asyncio.run(walk(backend, size, lambda: backend.change(chance, gone, made), **params))
    wanted = {item for item in throughout if backend.is_shown(item) and (item % 10 == 5 or not narrowed)}

    assert len(read) == len(set(read))
    assert wanted <= set(read)


@pytest.mark.parametrize("descending", [False, True])
def test_all_that_was_given_may_be_deleted(descending: bool) -> None:
    """Read a page, delete what is on it, read the next: this is how one cleans up."""

    async def main() -> None:
        backend = Backend(2_300, 5, descending=descending)
        tokens, token, seen = PageTokens(), None, list[int]()
        while True:
            query: Any = Query(tokens, {"pageToken": token} if token else {})
            items, token = await collect(query, backend.source, lambda item: {"n": item})
            seen += [item["n"] for item in items]
            backend.items = [item for item in backend.items if item not in set(seen)]
            if token is None:
                break
        assert sorted(seen) == list(range(2_300))
        assert backend.calls < 25

    asyncio.run(main())


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("given", [550, 540, 560, 1_050])
def test_what_was_given_last_may_be_deleted(given: int, descending: bool) -> None:
    """More of it than a token remembers, so that the list goes on before, at or behind the end of a backend's page."""

    async def main() -> None:
        backend = Backend(2_000, 1, descending=descending)
        tokens, token, seen = PageTokens(), None, list[int]()
        for _ in range(300):
            query: Any = Query(tokens, {"maxResults": 10, **({"pageToken": token} if token else {})})
            items, token = await collect(query, backend.source, lambda item: {"n": item})
            seen += [item["n"] for item in items]
            if len(seen) == given:
                backend.items = [item for item in backend.items if item not in set(seen[-50:])]
            if token is None:
                break
        assert sorted(seen) == list(range(2_000))

    asyncio.run(main())


@pytest.mark.parametrize("descending", [False, True])
def test_thousands_may_move_at_once(descending: bool) -> None:
    """Rows far from where they were are looked for, in a bounded number of calls."""

    async def main() -> None:
        backend = Backend(9_000, 1, descending=descending)
        tokens = PageTokens()
        seen: list[int] = []
        token: str | None = None
        for _ in range(8):
            query: Any = Query(tokens, {"pageToken": token} if token else {})
            items, token = await collect(query, backend.source, lambda item: {"n": item})
            seen += [item["n"] for item in items]
        if descending:
            backend.items += range(9_000, 12_000)
        else:
            backend.items = backend.items[3_000:]
        calls = backend.calls
        query = Query(tokens, {"pageToken": token})
        items, token = await collect(query, backend.source, lambda item: {"n": item})
        assert items[0]["n"] == seen[-1] + (-1 if descending else 1)
        assert backend.calls - calls <= 10

    asyncio.run(main())


@given(st.integers(1, 20_000), st.integers(1, 500))
def test_a_page_holds_the_row_that_was_given_last(index: int, length: int) -> None:
    """And what is asked for after it, or half a page at least."""
    page, size = window(index, length)
    first, last = page * size + 1, (page + 1) * size

    assert first <= index
    assert size <= 500
    assert last - index >= min(length, 240)


# Over a server.

MACHINES = 90


@pytest.fixture
def cloudstack_settings() -> SimulatorSettings:
    """Machines that are there from the start."""
    return SimulatorSettings(machines=MACHINES, job_seconds=0.0, limits={"user_vm": -1, "volume": -1, "cpu": -1})


class Changing:
    """Deletes and makes machines, straight in CloudStack."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._chance = random.Random(seed)
        self._made = 0

    def names(self) -> set[str]:
        """What is there now."""
        return {vm.name for vm in self._world.cloudstack.inspect.vms() if vm.state != "Expunging"}

    async def __call__(self) -> None:
        vms = [vm for vm in self._world.cloudstack.inspect.vms() if vm.state in ("Running", "Stopped")]
        like, *others = vms
        for vm in self._chance.sample(others, 3 if len(vms) > 20 else 0):
            await cloudstack_call(self._world, "destroyVirtualMachine", id=vm.uuid, expunge="true")
        self._made += 1
        await cloudstack_call(
            self._world,
            "deployVirtualMachine",
            name=f"late-{self._made}",
            zoneid=like.zone.uuid,
            templateid=like.template.uuid,
            serviceofferingid=like.offering.uuid,
            **({} if like.zone.security_groups else {"networkids": like.nics[0].network.uuid}),
        )


async def read_on(
    gce: Gce, method_id: str, change: Callable[[], Awaitable[None]], names: Callable[[], set[str]], **parameters: Any
) -> tuple[list[str], set[str]]:
    """As `walk`, over a server: the names read, and those that were there throughout."""
    read: list[str] = []
    throughout = names()
    token: dict[str, str] = {}
    while True:
        answer = await gce.call(method_id, **parameters, **token)
        scopes = answer["items"].values() if method_id.endswith("aggregatedList") else [{"items": answer.get("items")}]
        read += [item["name"] for scope in scopes for held in scope.values() if isinstance(held, list) for item in held]
        if "nextPageToken" not in answer:
            return read, throughout
        token = {"pageToken": answer["nextPageToken"]}
        await change()
        throughout &= names()


@pytest.mark.parametrize(
    ("method_id", "parameters"),
    [
        ("compute.instances.aggregatedList", {"maxResults": 4}),
        ("compute.instances.aggregatedList", {"maxResults": 25}),
        ("compute.instances.aggregatedList", {"maxResults": 7, "filter": "name:*"}),
        ("compute.instances.aggregatedList", {"maxResults": 7, "filter": "name ne x"}),
        ("compute.instances.aggregatedList", {"maxResults": 9, "orderBy": "name"}),
        ("compute.instances.aggregatedList", {"maxResults": 9, "orderBy": "creationTimestamp desc"}),
        ("compute.disks.aggregatedList", {"maxResults": 8}),
        ("compute.disks.aggregatedList", {"maxResults": 8, "filter": "status = READY"}),
    ],
)
@pytest.mark.gen_test
async def test_machines_and_disks_are_read_while_they_come_and_go(
    gce: Gce, world: World, method_id: str, parameters: dict[str, Any]
) -> None:
    """A boot disk has its machine's name, so one test does for both."""
    change = Changing(world, seed=len(str(parameters)))
    read, throughout = await read_on(gce, method_id, change, change.names, project=PROJECT, **parameters)

    assert sorted(read) == sorted(set(read))
    assert throughout - set(read) == set()
    assert len(throughout) < MACHINES
    assert len(throughout) > 0


@pytest.mark.parametrize("order", [None, "name", "creationTimestamp desc"])
@pytest.mark.gen_test
async def test_operations_are_read_while_they_come_and_go(gce: Gce, order: str | None) -> None:
    """New ones are made by what is done, old ones deleted; both ways through."""
    there: set[str] = set()

    async def begun() -> str:
        operation = await gce.done(await gce.call("compute.instances.insert", **HERE, body=insert_body(next(fresh))))
        there.add(operation["name"])
        return str(operation["name"])

    async def change() -> None:
        await begun()
        gone = sorted(there)[len(there) // 2]
        there.discard(gone)
        await gce.answer("compute.zoneOperations.delete", **HERE, operation=gone)

    fresh = iter(f"vm-{number}" for number in range(1_000))
    for _ in range(8):
        await begun()
    parameters = {"orderBy": order} if order else {}
    first = await gce.call("compute.zoneOperations.list", **HERE, **parameters)
    names = [item["name"] for item in first["items"]]
    assert names == sorted(there, reverse=order == "creationTimestamp desc")

    read, throughout = await read_on(
        gce, "compute.zoneOperations.list", change, lambda: set(there), **HERE, maxResults=3, **parameters
    )
    assert sorted(read) == sorted(set(read))
    assert throughout <= set(read)
