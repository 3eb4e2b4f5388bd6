"""A small API over a real socket: what the tests of the protocol talk to."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application

from gceshim.model import Page
from gceshim.protocol import errors
from gceshim.protocol.call import Authenticator, Call, Caller
from gceshim.protocol.discovery import Document
from gceshim.protocol.handler import handlers
from gceshim.protocol.kinds import Kinds
from gceshim.protocol.paging import collect
from gceshim.protocol.schema import validate_error, validate_response
from gceshim.protocol.service import Implementation, Service, ServiceOptions
from gceshim.protocol.sources import Numbered

DOCUMENT = Document()
KINDS = Kinds(DOCUMENT)
ZONE = "/compute/v1/projects/p1/zones/z1"
BEARER = {"Authorization": "Bearer good"}
SECRET = "secret-of-the-caller"


class KnownTokens(Authenticator):
    """`good` is of alice, `other` of bob; `broken` is a mistake of the authenticator's."""

    async def authenticate(self, bearer: str | None, headers: Mapping[str, str]) -> Caller:
        if bearer is None:
            raise errors.LoginRequired
        if bearer == "broken":
            raise RuntimeError(SECRET)
        if bearer not in ("good", "other"):
            raise errors.InvalidCredentials
        return Caller({"good": "alice", "other": "bob"}[bearer], f"{bearer}@example.org", SECRET)


class Table:
    """A handful of methods that answer with what they were called with."""

    def __init__(self, count: int = 7) -> None:
        self.calls: list[Call] = []
        self.fetched: list[tuple[int, int]] = []
        self.names = [f"vm{index}" for index in range(count)]
        self.gate: asyncio.Barrier | None = None

    def methods(self) -> dict[str, Implementation]:
        return {
            "compute.instances.get": self.get,
            "compute.instances.list": self.list,
            "compute.instances.insert": self.insert,
            "compute.instances.reset": self.operation,
            "compute.instances.delete": self.operation,
            "compute.instances.setLabels": self.insert,
            "compute.instances.setScheduling": self.insert,
            "compute.instances.setMetadata": self.insert,
            "compute.images.getFromFamily": self.image,
            "compute.images.setLabels": self.insert,
            "compute.zoneOperations.wait": self.wait,
            "compute.zoneOperations.delete": self.nothing,
            "compute.disks.get": self.fail,
            "compute.projects.get": self.bug,
            "compute.disks.insert": self.insert,
            "compute.firewalls.patch": self.insert,
            "compute.routes.insert": self.insert,
        }

    def instance(self, call: Call, name: str) -> dict[str, Any]:
        number = self.names.index(name) if name in self.names else 99
        body = {
            "id": str(1000 + number),
            "name": name,
            "status": "RUNNING" if number % 2 == 0 else "TERMINATED",
            "creationTimestamp": f"2026-01-{30 - number % 28:02d}T00:00:00.000+00:00",
            "selfLink": call.links.url("zones", str(call.zone), "instances", name),
            "zone": call.links.url("zones", str(call.zone)),
            "labels": {"env": "prod" if number < 3 else "test"},
            "tags": {"items": ["web", name], "fingerprint": "42WmSpB8rSM="},
        }
        return KINDS.add("Instance", body)

    async def get(self, call: Call) -> dict[str, Any]:
        self.calls.append(call)
        return self.instance(call, call.resource_name)

    async def list(self, call: Call) -> dict[str, Any]:
        self.calls.append(call)

        async def fetch(page: int, page_size: int) -> Page[str]:
            self.fetched.append((page, page_size))
            start = (page - 1) * page_size
            return Page(self.names[start : start + page_size], more=start + page_size < len(self.names))

        source = Numbered(fetch, identity=str, rank=lambda name: name[2:].zfill(6))
        items, token = await collect(call, source, lambda name: self.instance(call, name))
        body: dict[str, Any] = {"id": "list", "selfLink": call.links.url("zones", str(call.zone), "instances")}
        if items:
            body["items"] = items
        if token:
            body["nextPageToken"] = token
        return KINDS.add("InstanceList", body)

    async def insert(self, call: Call) -> dict[str, Any]:
        self.calls.append(call)
        return await self.operation(call)

    async def operation(self, call: Call) -> dict[str, Any]:
        if call.body is None:
            self.calls.append(call)
        body = {
            "id": "7",
            "name": "operation-1",
            "operationType": call.method.name,
            "status": "DONE",
            "progress": 100,
            "targetLink": call.links.url("zones", "z1", "instances", "x"),
            "zone": call.links.url("zones", "z1"),
            "selfLink": call.links.url("zones", "z1", "operations", "operation-1"),
            "user": call.caller.email,
        }
        return KINDS.add("Operation", body)

    async def wait(self, call: Call) -> dict[str, Any]:
        """All waits of a test meet before any is answered."""
        if self.gate is not None:
            await self.gate.wait()
        return await self.operation(call)

    async def image(self, call: Call) -> dict[str, Any]:
        self.calls.append(call)
        return KINDS.add("Image", {"name": call.resource_name, "family": call.params["family"]})

    async def nothing(self, call: Call) -> None:
        self.calls.append(call)

    async def fail(self, call: Call) -> dict[str, Any]:
        raise errors.not_found(call.resource_path)

    async def bug(self, call: Call) -> dict[str, Any]:
        raise RuntimeError(SECRET)


@dataclass
class Reply:
    """An HTTP answer as it came over the socket, its body decoded."""

    status: int
    headers: dict[str, str]
    body: bytes
    value: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.body and self.headers.get("content-type", "").startswith("application/json"):
            self.value = json.loads(self.body)

    @property
    def reason(self) -> str:
        reason: str = self.value["error"]["errors"][0]["reason"]
        return reason

    @property
    def message(self) -> str:
        message: str = self.value["error"]["message"]
        return message


class Gce:
    """A client that checks every answer against the discovery document."""

    def __init__(self, port: int, table: Table, service: Service) -> None:
        self.port = port
        self.table = table
        self.service = service

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        schema: str | None = None,
        typed: bool = True,
    ) -> Reply:
        sent = dict(BEARER if headers is None else headers)
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if raw and "Content-Type" not in sent and typed:
            sent["Content-Type"] = "application/json"
        if params:
            path += "?" + urlencode(params, doseq=True)
        reply = await self.raw(request_bytes(method, path, sent, raw, f"127.0.0.1:{self.port}"))
        if reply.status >= 400 and method != "HEAD":
            assert validate_error(reply.value) == []
            assert reply.value["error"]["code"] == reply.status
        elif schema:
            assert validate_response(DOCUMENT, schema, reply.value) == []
        assert "\n" not in reply.headers.get("x-request-id", "\n")
        return reply

    async def raw(self, data: bytes, timeout_seconds: float = 20) -> Reply:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(data)
                await writer.drain()
                return await read_reply(reader, head_only=data.startswith(b"HEAD "))
            finally:
                writer.close()


async def read_reply(reader: asyncio.StreamReader, *, head_only: bool = False) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head[1:] if line}
    length_bytes = 0 if head_only else int(headers.get("content-length", "0"))
    body = await reader.readexactly(length_bytes)
    return Reply(int(head[0].split()[1]), headers, body)


def request_bytes(method: str, path: str, headers: Mapping[str, str], body: bytes, host: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1"]
    if "Host" not in headers:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


@asynccontextmanager
async def serving(
    table: Table | None = None, *, prefix: str = "", fallback: bool = True, more: Any = (), **options: Any
) -> AsyncIterator[Gce]:
    """A server on a free port, for the time of the block."""
    table = table or Table()
    service = Service(DOCUMENT, table.methods(), KnownTokens(), ServiceOptions(**options))
    socket, port = bind_unused_port()
    server = HTTPServer(Application([*handlers(service, prefix, fallback=fallback), *more]))
    server.add_socket(socket)
    try:
        yield Gce(port, table, service)
    finally:
        server.stop()
        await server.close_all_connections()


@contextmanager
def serving_in_thread(table: Table | None = None) -> Iterator[Gce]:
    """The same for clients that block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    block = serving(table)
    try:
        yield asyncio.run_coroutine_threadsafe(block.__aenter__(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(block.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
