"""What callers, clients and clouds do that would take the server away from everyone else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import tornado.web

from gceshim.commands.server import Listening
from gceshim.protocol.call import Call
from gceshim.protocol.discovery import Document
from gceshim.protocol.handler import handlers
from gceshim.protocol.limits import Buckets, Gates, Limits
from gceshim.protocol.outbox import Outbox
from gceshim.protocol.service import Service, ServiceOptions
from gceshim.settings import LimitsSection, ServerSection
from gceshim.testing.world import World
from tests.protocol.harness import BEARER, DOCUMENT, ZONE, KnownTokens, Reply, Table, read_reply, serving
from tests.resources.requests import HERE, insert_body

OTHER = {"Authorization": "Bearer other"}
INSTANCE = f"{ZONE}/instances/vm1"


def run(coroutine: Any) -> Any:
    """To its end, for five minutes at most."""
    return asyncio.run(asyncio.wait_for(coroutine, 300))


async def until(true: Callable[[], object]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(120):
        while not true():  # noqa: ASYNC110 - whatever it is, it sets no event
            await asyncio.sleep(0.005)


def refused(reply: Reply) -> tuple[int, str, bool]:
    """Status, reason, and whether it says when to try again."""
    return reply.status, reply.reason, int(reply.headers["retry-after"]) >= 1


TOO_MANY = (429, "rateLimitExceeded", True)


class Stuck(Table):
    """Reads of machines are answered when they are let go."""

    def __init__(self, count: int = 7) -> None:
        super().__init__(count)
        self.let_go = asyncio.Event()

    async def get(self, call: Call) -> dict[str, Any]:
        self.calls.append(call)
        await self.let_go.wait()
        return self.instance(call, call.resource_name)

    async def wait(self, call: Call) -> dict[str, Any]:
        self.calls.append(call)
        await self.let_go.wait()
        return await self.operation(call)


# Callers


def test_a_caller_who_asks_too_often_is_refused_and_no_other_is():
    """In GCE's form, with the time after which it is worth asking again."""

    async def main():
        limits = Limits(requests_per_second=0.1, burst=3, patience_seconds=0)
        async with serving(limits=limits) as gce:
            replies = [await gce("GET", INSTANCE) for _ in range(4)]
            assert [reply.status for reply in replies] == [200, 200, 200, 429]
            assert refused(replies[3]) == TOO_MANY
            assert 5 <= int(replies[3].headers["retry-after"]) <= 10
            assert (await gce("GET", INSTANCE, headers=OTHER)).status == 200
            assert gce.service.limiter.refused == {"caller": 1}

    run(main())


def test_a_caller_who_asks_a_little_too_often_is_held_back():
    """Most commands of gcloud do not try again after a 429; a short wait they do not notice."""

    async def main():
        limits = Limits(requests_per_second=20, burst=2, patience_seconds=5)
        async with serving(limits=limits) as gce:
            started = time.monotonic()
            replies = await asyncio.gather(*(gce("GET", INSTANCE) for _ in range(10)))
            assert {reply.status for reply in replies} == {200}
            assert time.monotonic() - started > 0.3  # eight of them at twenty a second

    run(main())


def test_a_caller_is_the_same_with_every_token(tmp_path):
    """Else a loop of logins would be the way around every limit."""

    async def main():
        limits = {"limits.requests_per_second": 0.1, "limits.burst": 2, "limits.patience_seconds": 0}
        async with World(tmp_path, Document(), overrides=limits) as here:
            clients = [await here.gce("demo") for _ in range(3)]
            assert len({client.token for client in clients}) == 3
            answers = [await client.answer("compute.zones.list", project="default") for client in clients]
            assert [answer.status for answer in answers] == [200, 200, 429]

    run(main())


def test_nobody_is_told_to_come_again_at_once():
    """Clients take a Retry-After of 0 at its word."""

    async def main():
        limits = Limits(requests_per_second=2, burst=1, patience_seconds=0)
        async with serving(limits=limits) as gce:
            replies = [await gce("GET", INSTANCE) for _ in range(2)]
            assert replies[0].status == 200
            assert refused(replies[1]) == TOO_MANY

    run(main())


def test_each_part_of_a_batch_counts():
    """Else a batch would be the way around every limit."""

    async def main():
        limits = Limits(requests_per_second=0.1, burst=3, patience_seconds=0)
        async with serving(limits=limits) as gce:
            reply = await gce.raw(batch([INSTANCE] * 5))
            statuses = [line.split()[1] for line in reply.body.decode().splitlines() if line.startswith("HTTP/1.1")]
            assert sorted(statuses) == ["200", "200", "200", "429", "429"]
            assert reply.body.count(b"Retry-After: ") == 2

    run(main())


def test_a_batch_answers_no_more_than_a_server_can_hold():
    """A thousand pages of machines in one answer are a gigabyte."""

    async def main():
        async with serving(Table(100), batch_answer_bytes=100_000, batch_concurrency=1) as gce:
            reply = await gce.raw(batch([f"{ZONE}/instances"] * 10))
            assert reply.body.count(b"HTTP/1.1 200") >= 1
            assert reply.body.count(b"responseTooLarge") >= 5
            assert len(reply.body) < 200_000

    run(main())


def batch(paths: list[str]) -> bytes:
    """A batch of GETs as it goes over the wire."""
    parts = "".join(f"--b\r\nContent-Type: application/http\r\n\r\nGET {path} HTTP/1.1\r\n\r\n\r\n" for path in paths)
    body = f"{parts}--b--\r\n".encode()
    head = (
        "POST /batch/compute/v1 HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer good\r\n"
        f"Content-Type: multipart/mixed; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def test_a_caller_has_so_much_under_way_and_waits_count_apart():
    """Who waits for an operation costs nothing and may be many; who reads may not."""

    async def main():
        table = Stuck()
        limits = Limits(concurrent_requests=2, concurrent_waits=3, patience_seconds=0.1)
        async with serving(table, limits=limits) as gce:
            wait = f"{ZONE}/operations/operation-1/wait"
            under_way = [asyncio.ensure_future(gce("GET", INSTANCE)) for _ in range(2)]
            under_way += [asyncio.ensure_future(gce("POST", wait)) for _ in range(3)]
            under_way += [asyncio.ensure_future(gce("GET", INSTANCE, headers=OTHER))]
            await until(lambda: len(table.calls) == 6)
            assert refused(await gce("GET", INSTANCE)) == TOO_MANY
            assert refused(await gce("POST", wait)) == TOO_MANY
            held_back = asyncio.ensure_future(gce("GET", INSTANCE))
            table.let_go.set()
            assert {(await reply).status for reply in [*under_way, held_back]} == {200}
            assert gce.service.in_flight == 0

    run(main())


def test_strangers_are_counted_by_where_they_come_from():
    """And shut out nobody who is known, not even from the same address."""

    async def main():
        limits = Limits(strangers_per_second=0.1, strangers_burst=3)
        async with serving(limits=limits, trust_proxy=True) as gce:
            here = {"X-Forwarded-For": "10.9.9.9, 198.51.100.7"}
            bad = {"Authorization": "Bearer wrong", **here}
            found = [await gce("GET", INSTANCE, headers=bad), await gce("GET", "/nothing", headers=here)]
            found += [await gce("GET", "/discovery/v1/apis", headers=here)]
            assert [reply.status for reply in found] == [401, 404, 200]
            for path in (INSTANCE, "/nothing", "/discovery/v1/apis"):
                assert refused(await gce("GET", path, headers=bad)) == TOO_MANY
            for address in ("198.51.100.8", "2001:db8:1::1", "2001:db8:2::1"):
                assert (await gce("GET", INSTANCE, headers={"X-Forwarded-For": address})).status == 401
            for last in range(3):
                reply = await gce("GET", INSTANCE, headers={"X-Forwarded-For": f"2001:db8:1::{last}"})
            assert refused(reply) == TOO_MANY  # one customer has them all
            assert (await gce("GET", INSTANCE, headers={**BEARER, **here})).status == 200
            assert gce.service.limiter.refused == {"address": 4}
            for last in range(3):  # some proxies say the port as well, which is another each time
                for form in (f"203.0.113.9:{4000 + last}", f"[2001:db8:3::1]:{4000 + last}"):
                    assert (await gce("GET", INSTANCE, headers={"X-Forwarded-For": form})).status == 401
            for form in ("203.0.113.9:4009", "203.0.113.9", "[2001:db8:3::1]:4009", "2001:db8:3::2"):
                assert refused(await gce("GET", INSTANCE, headers={"X-Forwarded-For": form})) == TOO_MANY

    run(main())


def test_what_is_remembered_of_callers_is_bounded():
    """A million addresses must not fill the memory; and one with nothing to its account is not kept at all."""

    async def main():
        buckets = Buckets(per_second=1, burst=5, remembered=100)
        for number in range(10_000):
            buckets.take(f"address-{number}")
        assert len(buckets._full_at) == 100
        gates = Gates(limit=1)
        for number in range(100):
            await gates.enter(f"caller-{number}", 1)
            with pytest.raises(TimeoutError):
                await gates.enter(f"caller-{number}", 0)
        for number in range(100):
            gates.leave(f"caller-{number}")
        assert (gates._inside, gates._waiting) == ({}, {})

    run(main())


def test_no_more_wait_for_their_turn_than_have_it():
    """A caller who asks without end is told so, and does not fill the memory first."""

    async def main():
        gates = Gates(limit=2)
        for _ in range(2):
            await gates.enter("caller", 0)
        waiting = [asyncio.ensure_future(gates.enter("caller", 60)) for _ in range(2)]
        await asyncio.sleep(0)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await gates.enter("caller", 20)
        assert time.monotonic() - started < 15
        for _ in range(2):
            gates.leave("caller")
        await asyncio.gather(*waiting)
        for _ in range(2):
            gates.leave("caller")
        assert (gates._inside, gates._waiting) == ({}, {})

    run(main())


# The cloud behind it


@asynccontextmanager
async def world(folder: Path, **settings: Any) -> AsyncIterator[World]:
    """A whole world with settings of the driver."""
    overrides = {f"driver.cloudstack.{key}": value for key, value in settings.items()}
    async with World(folder, Document(), overrides={"operations.poll_max_seconds": 0.2, **overrides}) as made:
        yield made


def test_one_who_asks_two_hundred_slow_things_does_not_keep_another_waiting(tmp_path):
    """Without turns, they would have all the ways to CloudStack to themselves, for as long as it is slow."""

    async def main():
        async with world(tmp_path, threads=8, queue_seconds=30) as here:
            greedy, modest = await here.gce("demo"), await here.gce("other")
            for client in (greedy, modest):
                await client.call("compute.zones.list", project="default")
            here.cloudstack.faults.add("held_request", "listVirtualMachines")
            slow = [
                asyncio.ensure_future(greedy.answer("compute.instances.list", project="default", zone=HERE["zone"]))
                for _ in range(200)
            ]
            await until(lambda: here.shim.driver.load.waiting > 150)
            assert here.shim.driver.load.running < 8
            started = time.monotonic()
            for _ in range(5):
                await modest.call("compute.disks.list", project="default", zone=HERE["zone"])
            assert time.monotonic() - started < 20
            here.cloudstack.faults.clear()
            assert {(await answer).status for answer in slow} == {200}

    run(main())


def test_what_cannot_begin_in_time_is_answered_503_and_said_to_be_tried_again(tmp_path):
    """A cloud that is slow must not fill the server with callers who wait for it."""

    async def main():
        async with world(tmp_path, threads=2, queue_seconds=0.2, queue_limit=4) as here:
            gce = await here.gce()
            await gce.call("compute.disks.list", **HERE)
            held = here.cloudstack.faults.add("held_request", "listVolumes")
            slow = [asyncio.ensure_future(gce.answer("compute.disks.list", **HERE)) for _ in range(2)]
            await until(lambda: held.hits == 2)
            answers = await asyncio.gather(*(gce.answer("compute.disks.list", **HERE) for _ in range(20)))
            assert {(answer.status, answer.body["error"]["errors"][0]["reason"]) for answer in answers} == {
                (503, "backendError")
            }
            assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
            here.cloudstack.faults.clear()
            assert {(await answer).status for answer in slow} == {200}

    run(main())


def test_cloudstacks_own_limit_reaches_the_caller_as_a_429(tmp_path):
    """It counts calls by account: who is refused has to wait, and nobody else. A mutation waits by itself."""

    async def main():
        async with world(tmp_path, retries=0) as here:
            gce = await here.gce()
            fault = here.cloudstack.faults.add("http_error", "listVolumes", status=429)
            answer = await gce.answer("compute.disks.list", **HERE)
            reason = answer.body["error"]["errors"][0]["reason"]
            assert (answer.status, reason, "Retry-After" in answer.headers) == (429, "rateLimitExceeded", True)
            assert fault.hits == 1
            here.cloudstack.faults.clear()
            limited = here.cloudstack.faults.add("http_error", "deployVirtualMachine", times=8, status=429)
            operation = await gce.done(await gce.call("compute.instances.insert", **HERE, body=insert_body("vm-1")))
            assert (operation.get("error"), limited.hits) == (None, 8)
            assert len(here.cloudstack.vms()) == 1

    run(main())


def test_a_client_that_leaves_frees_what_was_done_for_it(tmp_path):
    """A reader's work ends with it; the turn at CloudStack comes back when that has answered."""

    async def main():
        async with world(tmp_path, threads=2) as here:
            gce = await here.gce()
            await gce.call("compute.instances.list", **HERE)
            held = here.cloudstack.faults.add("held_request", "listVirtualMachines")
            path = "/compute/v1/projects/demo/zones/sandbox-1-a/instances"
            port = int(here.url.rpartition(":")[2])
            for _ in range(20):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {gce.token}\r\n\r\n".encode())
                await writer.drain()
                writer.close()
            await until(lambda: here.shim.service.in_flight == 0 and here.shim.driver.load.waiting == 0)
            assert held.hits <= 2
            here.cloudstack.faults.clear()
            await until(lambda: here.shim.driver.load.running == 0)

    run(main())


def test_a_client_that_leaves_frees_who_waited_for_it_and_no_operation(tmp_path):
    """Nobody is there to be told of the end any more; the end comes all the same."""

    async def main():
        async with world(tmp_path) as here:
            gce = await here.gce()
            held = here.cloudstack.faults.add("held_request", "deployVirtualMachine")
            port = int(here.url.rpartition(":")[2])
            writers = [await leaving(port, gce.token, "instances", insert_body("vm-1"))]
            await held.reached.wait()
            [operation] = (await gce.call("compute.zoneOperations.list", **HERE))["items"]
            writers += [await leaving(port, gce.token, f"operations/{operation['name']}/wait", {}) for _ in range(50)]
            await until(lambda: here.shim.engine.numbers["waited"] == 1 and here.shim.service.in_flight == 50)
            for writer in writers:
                writer.close()
            await until(lambda: here.shim.engine.numbers["waited"] == 0 and here.shim.service.in_flight == 0)
            here.cloudstack.faults.clear()
            assert "error" not in await gce.done(operation)
            assert [vm.name for vm in here.cloudstack.vms()] == ["vm-1"]

    run(main())


async def leaving(port: int, token: str, path: str, body: Any) -> asyncio.StreamWriter:
    """A POST whose answer nobody will read."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    content = json.dumps(body)
    writer.write(
        f"POST /compute/v1/projects/demo/zones/sandbox-1-a/{path} HTTP/1.1\r\nHost: here\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n{content}".encode()
    )
    await writer.drain()
    return writer


# Connections


@asynccontextmanager
async def listening(table: Table | None = None, *, options: Any = None, **limits: Any) -> AsyncIterator[Listening]:
    """The API behind the server of the commands."""
    service = Service(DOCUMENT, (table or Table()).methods(), KnownTokens(), options or ServiceOptions())
    application = tornado.web.Application(handlers(service, fallback=True))
    server = Listening(application, ServerSection(port=0, shutdown_seconds=1.0), LimitsSection(**limits))
    try:
        yield server
    finally:
        await server.close()


GET = f"GET {INSTANCE} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer good\r\n\r\n".encode()


async def connect(server: Listening) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server.port)


async def told(server: Listening, data: bytes) -> Reply:
    """The answer to some bytes, after which the connection is closed."""
    reader, writer = await connect(server)
    writer.write(data)
    reply = await read_reply(reader)
    assert await reader.read() == b""
    writer.close()
    return reply


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx\r\n",
        b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_in_gce_form_and_hung_up_on(data):
    """Also where Tornado refuses it before any code of ours."""

    async def main():
        async with listening() as server:
            reply = await told(server, data)
            assert (reply.status, reply.reason) == (400, "badRequest")
            assert reply.headers["connection"] == "close"

    run(main())


def test_long_headers_are_a_431():
    """A little too long is answered; much too long is not read."""

    async def main():
        async with listening(options=ServiceOptions(max_header_bytes=10_000), header_bytes=10_000) as server:
            head = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\nX-Long: "
            reply = await told(server, head + b"x" * 12_000 + b"\r\n\r\n")
            assert (reply.status, reply.reason) == (431, "badRequest")
            reply = await told(
                server, b"GET /" + b"x" * 12_000 + b" HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
            )
            assert reply.status == 431
            reader, writer = await connect(server)
            writer.write(head + b"x" * 200_000)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()

    run(main())


def test_who_sends_nothing_or_only_bit_by_bit_is_hung_up_on():
    """Slowloris: connections cost the client nothing and us a place each."""

    async def main():
        options = ServiceOptions(body_seconds=0.3)
        async with listening(options=options, header_seconds=0.3, idle_seconds=0.3) as server:
            for beginning in (b"", b"GET / HTTP/1.1\r\nHost:", GET):
                reader, writer = await connect(server)
                writer.write(beginning)
                if beginning is GET:
                    assert (await read_reply(reader)).status == 200
                async with asyncio.timeout(60):
                    assert await reader.read() == b""
                writer.close()
            head = b"POST /compute/v1/projects/p1 HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\n{"
            reply = await told(server, head)
            assert (reply.status, reply.reason) == (408, "requestTimeout")
            assert server.requests.open == {"running": 0, "idle": 0}

    run(main())


def test_connections_that_do_nothing_make_room_for_those_that_do():
    """A thousand clients that keep theirs open must not shut out the next one."""

    async def main():
        table = Stuck()
        async with listening(table, connections=3) as server:
            idle = [await connect(server) for _ in range(3)]
            await until(lambda: server.requests.open["idle"] == 3)
            reader, writer = await connect(server)
            writer.write(GET)
            async with asyncio.timeout(10):  # less than what any may be idle
                assert await idle[0][0].read() == b""  # the one that was idle for longest
            await until(lambda: server.requests.open == {"running": 1, "idle": 2})
            assert [stream.at_eof() for stream, _ in idle[1:]] == [False, False]
            busy = [(reader, writer)]
            for _ in range(2):
                busy.append(await connect(server))
                busy[-1][1].write(GET)
            await until(lambda: len(table.calls) == 3)
            reply = await told(server, b"")
            assert refused(reply) == (503, "backendError", True)
            table.let_go.set()
            for reader, _ in busy:
                assert (await read_reply(reader)).status == 200
            for _, writer in [*idle, *busy]:
                writer.close()

    run(main())


def test_requests_that_come_together_are_answered_in_their_order():
    """Pipelining, which proxies do: each answer belongs to the request before which nothing else is answered."""

    async def main():
        async with listening() as server:
            reader, writer = await connect(server)
            names = [f"vm{number}" for number in range(7)]
            writer.write(b"".join(GET.replace(b"vm1", name.encode()) for name in names))
            assert [(await read_reply(reader)).value["name"] for _ in names] == names
            writer.close()

    run(main())


def test_who_does_not_read_its_answer_is_hung_up_on():
    """It lies in our memory for that long."""

    async def main():
        options = ServiceOptions(answer_seconds=0.2, gzip_min_bytes=10**9)
        async with listening(Table(500), options=options) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
            request = batch([f"{ZONE}/instances?maxResults=500&prettyPrint=true"] * 60)
            writer.write(request)
            await until(lambda: server.requests.open["running"] == 1)
            await until(lambda: server.requests.open["running"] == 0)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(10**9)
            writer.close()

    run(main())


def test_a_long_answer_may_be_read_for_longer():
    """For each 2 MiB as long as for a short one: a slow line is no attack."""

    async def main():
        loop = asyncio.get_running_loop()
        closed: dict[str, float] = {}
        outbox = Outbox(limit_bytes=10**9, seconds=0.1)
        started = loop.time()
        for name, size_bytes in (("long", 5 * 1024 * 1024), ("short", 1)):
            outbox.add(name, size_bytes, lambda name=name: closed.update({name: loop.time() - started}))
        await until(lambda: len(closed) == 2)
        assert closed["short"] >= 0.09
        assert closed["long"] >= 0.29

    run(main())


def test_all_answers_that_are_not_read_together_have_a_bound():
    """Each may be within its time; the oldest go first."""

    async def main():
        closed: list[str] = []
        outbox = Outbox(limit_bytes=100, seconds=60)
        for name in ("a", "b", "c"):
            outbox.add(name, 40, lambda name=name: closed.append(name))
        assert (closed, outbox.size_bytes) == (["a"], 80)
        outbox.discard("b")
        outbox.discard("b")
        assert outbox.size_bytes == 40
        outbox.add("d", 1000, lambda: closed.append("d"))
        assert (closed, outbox.size_bytes) == (["a", "c", "d"], 0)

    run(main())
