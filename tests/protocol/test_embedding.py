"""The handlers inside somebody else's Tornado application."""

import asyncio

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from gceshim.protocol.handler import handlers
from gceshim.protocol.service import Service

from .harness import BEARER, DOCUMENT, ZONE, Gce, KnownTokens, Table, request_bytes, serving


class Mine(RequestHandler):
    """A page of the embedder's."""

    def get(self) -> None:
        self.write("mine")


def test_the_api_shares_an_application_with_other_pages():
    """Under a prefix, or at the root where it keeps to its own paths."""

    async def main():
        for prefix in ("", "/gce", "gce/v2/"):
            async with serving(prefix=prefix, fallback=False, more=[("/mine", Mine)]) as gce:
                root = "/" + prefix.strip("/") if prefix else ""
                assert (await gce("GET", f"{root}{ZONE}/instances/vm1")).value["name"] == "vm1"
                assert (await gce("GET", f"/{root}/{ZONE}/instances/vm1")).value["name"] == "vm1"
                document = (await gce("GET", f"{root}/$discovery/rest")).value
                assert document["rootUrl"] == f"http://127.0.0.1:{gce.port}{root}/"
                assert (await gce.raw(request_bytes("GET", "/mine", {}, b"", "h"))).body == b"mine"
                other = await gce.raw(request_bytes("GET", f"{root}/other", {}, b"", "h"))
                assert (other.status, other.headers["content-type"]) == (404, "text/html; charset=UTF-8")

    asyncio.run(main())


def test_two_apis_live_in_one_application():
    """Nothing is kept in a module."""

    async def main():
        first, second = Table(1), Table(2)
        rules = [
            *handlers(Service(DOCUMENT, first.methods(), KnownTokens()), "/one"),
            *handlers(Service(DOCUMENT, {"compute.instances.get": second.get}, KnownTokens()), "/two"),
        ]
        socket, port = bind_unused_port()
        server = HTTPServer(Application(rules))
        server.add_socket(socket)
        gce = Gce(port, first, Service(DOCUMENT, {}, KnownTokens()))
        assert (await gce("GET", f"/one{ZONE}/instances")).status == 200
        assert (await gce("GET", f"/two{ZONE}/instances")).status == 501
        assert (await gce("GET", f"/two{ZONE}/instances/vm1")).status == 200
        assert (len(first.calls), len(second.calls)) == (1, 1)
        server.stop()
        await server.close_all_connections()

    asyncio.run(main())


def test_a_client_that_goes_away_harms_nobody():
    """Half a request, half a body, no reading of the answer."""

    async def main():
        async with serving(Table(500)) as gce:
            post = request_bytes("POST", f"{ZONE}/instances", BEARER, b"x" * 100_000, "h")
            listed = request_bytes("GET", f"{ZONE}/instances", BEARER, b"", "h")
            for data in (post[:50], post[:5_000], listed):
                _, writer = await asyncio.open_connection("127.0.0.1", gce.port)
                writer.write(data)
                await writer.drain()
                writer.close()
            assert (await gce("GET", f"{ZONE}/instances/vm1")).status == 200

    asyncio.run(main())


def test_requests_follow_each_other_on_one_connection():
    """Clients keep connections; an error must not cut them."""

    async def main():
        async with serving() as gce:
            reader, writer = await asyncio.open_connection("127.0.0.1", gce.port)
            for path, status in (
                (f"{ZONE}/instances/vm1", b"200"),
                ("/nothing", b"404"),
                (f"{ZONE}/instances", b"200"),
            ):
                writer.write(request_bytes("GET", path, BEARER, b"", "h"))
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.split()[1] == status
                length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
                await reader.readexactly(length)
            writer.close()

    asyncio.run(main())
