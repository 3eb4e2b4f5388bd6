"""Paging, filtering and ordering, over a backend that has pages only."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gceshim.model import Page
from gceshim.pace import Pace
from gceshim.protocol.page_tokens import PageTokens
from gceshim.protocol.paging import collect
from gceshim.protocol.sources import Numbered

from .harness import BEARER, ZONE, Table, serving

LIST = f"{ZONE}/instances"


def flat(pages):
    return [name for page in pages for name in page]


async def walk(gce, **params):
    """All pages: the names on each."""
    pages, token = [], None
    while True:
        sent = {**params, **({"pageToken": token} if token else {})}
        reply = await gce("GET", LIST, params=sent, schema="InstanceList")
        assert reply.status == 200
        pages.append([item["name"] for item in reply.value.get("items", [])])
        token = reply.value.get("nextPageToken")
        if not token:
            return pages
        assert len(pages) < 200


def test_a_list_without_filter_takes_backend_pages_as_they_are():
    """One backend call for each answer."""

    async def main():
        async with serving(Table(7)) as gce:
            assert await walk(gce, maxResults=3) == [["vm0", "vm1", "vm2"], ["vm3", "vm4", "vm5"], ["vm6"]]
            assert gce.table.fetched == [(1, 3), (1, 6), (2, 5)]
            assert await walk(gce) == [[f"vm{n}" for n in range(7)]]

    asyncio.run(main())


def test_an_empty_list_has_no_items_and_no_token():
    """`items: null` crashes gcloud."""

    async def main():
        async with serving(Table(0)) as gce:
            reply = await gce("GET", LIST, schema="InstanceList")
            assert "items" not in reply.value
            assert "nextPageToken" not in reply.value

    asyncio.run(main())


def test_a_filter_applies_before_paging():
    """maxResults counts what matches."""

    async def main():
        async with serving(Table(1_200)) as gce:
            pages = await walk(gce, filter="status eq TERMINATED", maxResults=400)
            assert [len(page) for page in pages] == [400, 200]
            assert flat(pages) == [f"vm{n}" for n in range(1, 1_200, 2)]
            assert flat(await walk(gce, filter='name="vm7"', maxResults=1)) == ["vm7"]
            assert all(400 <= size <= 500 for _, size in gce.table.fetched)
            bad = await gce("GET", LIST, params={"filter": "nothing eq x"})
            assert (bad.status, bad.reason) == (400, "invalidParameter")

    asyncio.run(main())


def test_a_filter_that_matches_nothing_reads_a_bounded_part_for_each_answer():
    """An empty page with a token is legal; a request that reads for ever is not."""

    async def main():
        async with serving(Table(10_700)) as gce:
            pages = await walk(gce, filter="name=none")
            assert pages == [[], []]
            assert len(gce.table.fetched) == 23

    asyncio.run(main())


def test_lists_are_ordered_by_name_or_newest_first():
    """GCE's two orders; a third is refused."""

    async def main():
        table = Table(0)
        table.names = ["c", "a", "d", "b", "e"]
        async with serving(table) as gce:
            assert flat(await walk(gce, orderBy="name", maxResults=2)) == ["a", "b", "c", "d", "e"]
            assert [len(page) for page in await walk(gce, orderBy="name", maxResults=2)] == [2, 2, 1]
            newest = await walk(gce, orderBy="creationTimestamp desc", maxResults=2)
            assert flat(newest) == ["c", "a", "d", "b", "e"]
            assert await walk(gce, orderBy="name", filter="status=RUNNING") == [["c", "d", "e"]]
            for bad in ("name desc", "creationTimestamp", "status", "name,status"):
                reply = await gce("GET", LIST, params={"orderBy": bad})
                assert (reply.status, reply.reason) == (400, "invalidParameter")
        async with serving(Table(5_001)) as gce:
            reply = await gce("GET", LIST, params={"orderBy": "name"})
            assert (reply.status, "5000" in reply.message) == (400, True)

    asyncio.run(main())


def test_a_page_token_is_good_for_its_own_query_only():
    """Another filter, place or caller would read another list with it."""

    async def main():
        async with serving(Table(9), page_token_keys=[b"k" * 32]) as gce:
            token = (await gce("GET", LIST, params={"maxResults": 4})).value["nextPageToken"]
            more = await gce("GET", LIST, params={"maxResults": 2, "pageToken": token})
            assert [item["name"] for item in more.value["items"]] == ["vm4", "vm5"]
            last = await gce("GET", LIST, params={"pageToken": more.value["nextPageToken"]})
            assert [item["name"] for item in last.value["items"]] == ["vm6", "vm7", "vm8"]
            wrong = [
                (LIST, {"pageToken": token, "filter": "name=vm1"}, BEARER),
                ("/compute/v1/projects/p1/zones/z2/instances", {"pageToken": token}, BEARER),
                (LIST, {"pageToken": token}, {"Authorization": "Bearer other"}),
                *[(LIST, {"pageToken": bad}, BEARER) for bad in ("x", token[:-2], "é", "A" * 5_000, token + "A", "%")],
            ]
            for path, params, headers in wrong:
                reply = await gce("GET", path, params=params, headers=headers)
                assert (reply.status, reply.reason) == (400, "invalidParameter"), params
                assert reply.message.startswith("Invalid value for field 'pageToken': '")
        async with serving(Table(9), page_token_keys=[b"k" * 32]) as gce:
            assert (await gce("GET", LIST, params={"pageToken": token})).status == 200
        async with serving(Table(9), page_token_keys=[b"n" * 32, b"k" * 32]) as gce:
            assert (await gce("GET", LIST, params={"pageToken": token})).status == 200
        async with serving(Table(9)) as gce:
            assert (await gce("GET", LIST, params={"pageToken": token})).status == 400

    asyncio.run(main())


class _Call:
    """As much of a call as paging looks at."""

    class method:  # noqa: N801 - stands for an attribute
        id = "compute.instances.list"

    class caller:  # noqa: N801 - stands for an attribute
        subject = "s"

    def __init__(self, tokens, **params):
        self.params = params
        self.tokens = tokens
        self.pace = Pace()


@settings(deadline=None, max_examples=60)
@given(count=st.integers(0, 60), first=st.integers(1, 12), others=st.integers(1, 12))
def test_pages_together_are_the_whole_list_once(count, first, others):
    """Whatever the sizes asked for on the way."""

    async def fetch(page, page_size):
        start = (page - 1) * page_size
        return Page(list(range(count))[start : start + page_size], more=start + page_size < count)

    async def main():
        tokens = PageTokens()
        source = Numbered(fetch, identity=str, rank=lambda n: f"{n:06}")
        found, token = await collect(_Call(tokens, maxResults=first), source, lambda n: {"n": n})
        while token:
            call = _Call(tokens, maxResults=others, pageToken=token)
            items, token = await collect(call, source, lambda n: {"n": n})
            assert len(items) <= others
            found += items
        assert [item["n"] for item in found] == list(range(count))

    asyncio.run(main())


@pytest.mark.parametrize("size", [1, 500])
def test_max_results_at_its_bounds(size):
    """0 to 500, 0 meaning the default."""

    async def main():
        async with serving(Table(600)) as gce:
            reply = await gce("GET", LIST, params={"maxResults": size})
            assert len(reply.value["items"]) == size
            assert len((await gce("GET", LIST, params={"maxResults": 0})).value["items"]) == 500

    asyncio.run(main())


def test_a_filter_that_is_sent_as_it_was_typed_is_read():
    """curl percent-encodes nothing, neither in a request line nor in a part of a batch that somebody writes by hand."""

    async def main():
        async with serving(Table(3)) as gce:
            target = f"{LIST}?filter=name=vm1%20description!=Größe&fields=items/name"
            head = f"HTTP/1.1\r\nHost: h\r\nAuthorization: {BEARER['Authorization']}\r\n"
            reply = await gce.raw(f"GET {target} {head}\r\n".encode())
            assert (reply.status, reply.value) == (200, {"items": [{"name": "vm1"}]})
            told = await gce.raw(f"GET {LIST}?filter=Größe {head}\r\n".encode())
            assert "'Größe'" in told.message
            assert (await gce.raw(f"GET {LIST}?filter=Größe {head}\r\n".encode("latin-1"))).status == 400
            part = f"--b\r\nContent-ID: <a+0>\r\n\r\nGET {LIST}?filter=Größe HTTP/1.1\r\nX: y\r\n\r\n--b--".encode()
            sent = {**BEARER, "Content-Type": "multipart/mixed; boundary=b"}
            assert "'Größe'" in (await gce("POST", "/batch", body=part, headers=sent)).body.decode()

    asyncio.run(main())
