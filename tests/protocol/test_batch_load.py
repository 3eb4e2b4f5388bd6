"""Large batches, slow parts, impatient clients, and bodies that are no batch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httplib2
from googleapiclient.discovery import build
from hypothesis import given, settings
from hypothesis import strategies as st

from gceshim.protocol.call import Call
from gceshim.protocol.limits import Limits

from .harness import BEARER, ZONE, Table, request_bytes, serving, serving_in_thread
from .test_batch import answers, gcloud_batch, gcloud_part, headers

DEADLINE_SECONDS = 20.0


class SlowTable(Table):
    """`slow...` is not answered before it is let go; all that is under way is counted."""

    def __init__(self) -> None:
        super().__init__(3)
        self.let_go = asyncio.Event()
        self.under_way = 0
        self.most_under_way = 0
        self.done: list[str] = []
        self.cancelled = 0

    async def get(self, call: Call) -> dict[str, Any]:
        return await self._counted(call, super().get(call))

    async def wait(self, call: Call) -> dict[str, Any]:
        return await self._counted(call, self.operation(call))

    async def _counted(self, call: Call, answer: Any) -> dict[str, Any]:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            if call.resource_name.startswith("slow"):
                await self.let_go.wait()
        except asyncio.CancelledError:
            answer.close()
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1
        self.done.append(call.resource_name)
        made: dict[str, Any] = await answer
        return made


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


def gets(*names: str) -> list[tuple[str]]:
    return [(f"GET {ZONE}/instances/{name}",) for name in names]


def waits(*names: str) -> list[tuple[str]]:
    return [(f"POST {ZONE}/operations/{name}/wait",) for name in names]


def test_a_slow_part_holds_up_neither_the_others_nor_anybody_else():
    """With two at a time, one that takes long leaves one for the rest; waits need none at all."""

    async def main():
        async with serving(SlowTable(), batch_concurrency=2) as gce:
            table = gce.table
            body = gcloud_batch(*gets("slow1", *["vm1"] * 20), *waits("slow2", "slow3", "slow4"), *gets("vm2"))
            batch = asyncio.create_task(gce("POST", "/batch", body=body, headers=headers()))
            await until(lambda: table.done.count("vm1") == 20 and "vm2" in table.done)
            assert (await gce("GET", f"{ZONE}/instances/vm0")).status == 200
            assert not batch.done()
            assert table.under_way == 4
            table.let_go.set()
            assert {status for status, _ in answers(await batch).values()} == {200}

    asyncio.run(main())


def test_so_many_parts_run_at_once_and_no_more():
    """Whatever the size of the batch; waits beside them."""

    async def main():
        async with serving(SlowTable(), batch_concurrency=7) as gce:
            body = gcloud_batch(*gets(*[f"slow{n}" for n in range(50)]))
            batch = asyncio.create_task(gce("POST", "/batch", body=body, headers=headers()))
            await until(lambda: gce.table.under_way == 7)
            for _ in range(20):  # no other part begins, however long these take
                assert (await gce("GET", f"{ZONE}/instances/vm1")).status == 200
                assert gce.table.under_way == 7
            gce.table.let_go.set()
            assert len(answers(await batch)) == 50
            assert gce.table.most_under_way == 8  # with the one beside them
        async with serving(SlowTable(), batch_concurrency=7) as gce:
            body = gcloud_batch(*waits(*[f"slow{n}" for n in range(300)]))
            batch = asyncio.create_task(gce("POST", "/batch", body=body, headers=headers()))
            await until(lambda: gce.table.under_way == 300)
            gce.table.let_go.set()
            assert len(answers(await batch)) == 300

    asyncio.run(main())


def test_a_read_does_not_wait_whatever_it_prefers():
    """Else a header would do to have as many of them at once as operations may be waited for."""

    async def main():
        limits = Limits(concurrent_requests=2, concurrent_waits=100, patience_seconds=0.05)
        async with serving(SlowTable(), batch_concurrency=7) as gce:
            read = f"{ZONE}/instances/slow"
            override = "X-HTTP-Method-Override: GET\nPrefer: wait=9"
            parts = [f"GET {read} HTTP/1.1\nPrefer: wait=9", f"POST {read} HTTP/1.1\n{override}"] * 25
            body = "".join(f"--b\nContent-ID: <n+{n}>\n\n{part}\n\n" for n, part in enumerate(parts)) + "--b--"
            batch = asyncio.create_task(gce("POST", "/batch", body=body.encode(), headers=headers("b")))
            await until(lambda: gce.table.under_way == 7)
            gce.table.let_go.set()
            assert {status for status, _ in answers(await batch).values()} == {200}
            assert gce.table.most_under_way == 7
        async with serving(SlowTable(), limits=limits) as gce:
            sent = {**BEARER, "Prefer": "wait=9"}
            reads = [asyncio.create_task(gce("GET", f"{ZONE}/instances/slow", headers=sent)) for _ in range(2)]
            await until(lambda: gce.table.under_way == 2)
            assert (await gce("GET", f"{ZONE}/instances/slow", headers=sent)).status == 429
            assert (await gce("POST", f"{ZONE}/operations/o/wait", headers=sent)).status == 200
            gce.table.let_go.set()
            assert [reply.status for reply in await asyncio.gather(*reads)] == [200, 200]

    asyncio.run(main())


def test_others_are_answered_between_the_parts_of_a_large_batch():
    """Not after it."""

    async def main():
        async with serving(Table(3)) as gce:
            body = gcloud_batch(*gets(*["vm1"] * 1_000))
            batch = asyncio.create_task(gce("POST", "/batch", body=body, headers=headers()))
            await until(lambda: len(gce.table.calls) > 0)
            between = 0
            while not batch.done():
                assert (await gce("GET", f"{ZONE}/instances/vm2")).status == 200
                between += len(gce.table.calls) < 1_000
            assert len(answers(await batch)) == 1_000
            assert between >= 20

    asyncio.run(main())


def test_a_batch_whose_client_went_away_is_given_up():
    """None of its parts goes on, neither those that run nor those that have not begun."""

    async def main():
        async with serving(SlowTable(), batch_concurrency=5) as gce:
            table = gce.table
            body = gcloud_batch(*gets(*[f"slow{n}" for n in range(30)]), *waits("slow-a", "slow-b"))
            waiting = gcloud_batch(*waits("slow-c", "slow-d"), *gets(*[f"slow{n}" for n in range(30)]))
            for sent, running in ((body, 5), (waiting, 7)):
                before = table.cancelled
                _reader, writer = await asyncio.open_connection("127.0.0.1", gce.port)
                writer.write(request_bytes("POST", "/batch", headers(), sent, f"127.0.0.1:{gce.port}"))
                await writer.drain()
                await until(lambda running=running: table.under_way == running)
                writer.close()
                await until(lambda: table.under_way == 0)
                assert table.cancelled - before == running
            table.let_go.set()
            assert (await gce("GET", f"{ZONE}/instances/vm1")).status == 200
            assert table.done == ["vm1"]

    asyncio.run(main())


def test_a_condition_of_the_batch_is_none_of_its_parts():
    """Each has its own."""

    async def main():
        async with serving() as gce:
            body = gcloud_batch(*gets("vm1", "vm2"))
            sent = headers(**{"If-None-Match": "*"})
            found = answers(await gce("POST", "/batch", body=body, headers=sent))
            assert [status for status, _ in found.values()] == [200, 200]
            tag = (await gce("GET", f"{ZONE}/instances/vm1")).headers["etag"]
            part = gcloud_part(0, f"GET {ZONE}/instances/vm1").replace("accept:", f"If-None-Match: {tag}\naccept:")
            body = f"{part}--===============123==--".encode()
            found = answers(await gce("POST", "/batch", body=body, headers=headers()))
            assert [status for status, _ in found.values()] == [304]

    asyncio.run(main())


def test_google_api_python_client_has_a_thousand_parts_answered():
    """As many as it puts into one batch; each callback has its own answer."""

    class WithToken(httplib2.Http):
        def request(self, uri, method="GET", body=None, headers=None, **more):
            return super().request(uri, method, body, {**(headers or {}), **BEARER}, **more)

    with serving_in_thread(Table(1_000)) as gce:
        compute = build(
            "compute",
            "v1",
            http=WithToken(timeout=120),
            discoveryServiceUrl=f"http://127.0.0.1:{gce.port}/discovery/v1/apis/{{api}}/{{apiVersion}}/rest",
            static_discovery=False,
            cache_discovery=False,
        )
        found: dict[str, Any] = {}
        batch = compute.new_batch_http_request(
            callback=lambda name, answer, error: found.update({name: error.status_code if error else answer["name"]})
        )
        for number in range(999):
            call = compute.instances().get(project="p1", zone="z1", instance=f"vm{number}")
            batch.add(call, request_id=f"vm{number}")
        batch.add(compute.disks().get(project="p1", zone="z1", disk="none"), request_id="none")
        batch.execute()
        compute.close()
    assert found.pop("none") == 404
    assert found == {f"vm{number}": f"vm{number}" for number in range(999)}


pieces = st.sampled_from(
    (
        b"--b",
        b"--b--",
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b"Content-Type: application/http\r\n",
        b"Content-ID: <a+1>\r\n",
        b"Content-ID: \x01\r\n",
        f"GET {ZONE}/instances/vm1 HTTP/1.1\r\n".encode(),
        f"POST {ZONE}/instances HTTP/1.1\r\n".encode(),
        b"POST /batch HTTP/1.1\r\n",
        b"GET //[ HTTP/9.9.9\r\n",
        b"X-HTTP-Method-Override: GET\r\n",
        b"Authorization: Bearer other\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b'{"name": "x"}',
        b"\xff\xfe",
        b"\x00",
    )
)


@settings(max_examples=60)
@given(st.lists(st.one_of(pieces, st.binary(max_size=8)), max_size=25), st.sampled_from(("b", "x", "", '"', "b b")))
def test_what_is_no_batch_is_refused_and_what_is_no_part_too(parts: list[bytes], boundary: str) -> None:
    """The envelope by one 4xx, a part by one of its own; never a 5xx, a hang or a part too many."""
    body = b"".join(parts)

    async def main():
        async with serving() as gce:
            sent = {**BEARER, "Content-Type": f"multipart/mixed; boundary={boundary}"}
            reply = await gce("POST", "/batch", body=body or b"\n", headers=sent)
            if reply.status != 200:
                assert reply.status == 400
                assert reply.reason in ("badRequest", "invalid")
                return
            statuses = [line.split()[1] for line in reply.body.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
            assert 1 <= len(statuses) <= body.count(b"--b")
            assert all(200 <= int(status) < 500 for status in statuses)

    asyncio.run(main())
