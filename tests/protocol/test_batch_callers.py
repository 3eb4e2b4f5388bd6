"""Who calls, of each part of a batch: what a part may say of itself, and what only the batch can."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application

from gceshim.protocol import errors
from gceshim.protocol.call import Authenticator, Caller
from gceshim.protocol.handler import handlers
from gceshim.protocol.limits import Limits
from gceshim.protocol.service import Service, ServiceOptions

from .harness import BEARER, DOCUMENT, ZONE, Gce, Reply, Table, serving
from .test_batch import answers

RESET = f"POST {ZONE}/instances/vm1/reset"


def one_part(request: str, inner: str = "") -> bytes:
    return (
        "--b\r\nContent-Type: application/http\r\nContent-ID: <a+0>\r\n\r\n"
        f"{request} HTTP/1.1\r\nX-None: x\r\n{inner}\r\n\r\n--b--\r\n"
    ).encode("latin-1")


async def sent(gce: Gce, request: str, inner: str = "", outer: Mapping[str, str] = BEARER, query: str = "") -> Reply:
    headers = {**outer, "Content-Type": "multipart/mixed; boundary=b"}
    return await gce("POST", f"/batch/compute/v1{query}", body=one_part(request, inner), headers=headers)


def answer(reply: Reply) -> tuple[int, Any]:
    found: tuple[int, Any] = answers(reply)["<response-a+0>"]
    return found


class BehindProxy(Authenticator):
    """As in the manual: a proxy takes the header away from what comes from outside, and puts its own in."""

    async def authenticate(self, bearer: str | None, headers: Mapping[str, str]) -> Caller:
        name = headers.get("x-our-user")
        if name is None:
            raise errors.LoginRequired
        return Caller(name, f"{name}@example.org", object())


def test_a_part_cannot_say_who_calls_in_a_header_that_a_proxy_sets() -> None:
    """The proxy has not looked into the body."""

    async def main() -> None:
        socket, port = bind_unused_port()
        table = Table()
        service = Service(DOCUMENT, table.methods(), BehindProxy(), ServiceOptions())
        server = HTTPServer(Application(list(handlers(service))))
        server.add_socket(socket)
        try:
            gce = Gce(port, table, service)
            forged = "X-Our-User: bob"
            status, operation = answer(await sent(gce, RESET, forged, {"X-Our-User": "alice"}))
            assert (status, operation["user"]) == (200, "alice@example.org")
            assert answer(await sent(gce, RESET, forged, {}))[0] == 401
        finally:
            server.stop()
            await server.close_all_connections()

    asyncio.run(main())


def test_a_part_cannot_say_where_it_comes_from() -> None:
    """Else one who guesses tokens would have a new address for each, or use up that of somebody else."""

    async def main() -> None:
        limits = Limits(strangers_per_second=0.001, strangers_burst=20)
        async with serving(trust_proxy=True, limits=limits) as gce:
            batch = b"".join(
                f"--b\r\nContent-Type: application/http\r\n\r\nGET {ZONE}/instances/vm1 HTTP/1.1\r\n"
                f"Authorization: Bearer bad{n}\r\nX-Forwarded-For: 203.0.113.{n}\r\n\r\n".encode()
                for n in range(60)
            )
            headers = {"X-Forwarded-For": "198.51.100.7", "Content-Type": "multipart/mixed; boundary=b"}
            reply = await gce("POST", "/batch", body=batch + b"--b--", headers=headers)
            assert reply.body.count(b"HTTP/1.1 401 ") in range(19, 22)
            assert reply.body.count(b"HTTP/1.1 429 ") in range(39, 42)
            other = await gce("GET", f"{ZONE}/instances/vm1", headers={"X-Forwarded-For": "203.0.113.1"})
            assert other.status == 401
            _, body = answer(
                await sent(gce, f"GET {ZONE}/instances/vm1", "X-Forwarded-Host: evil.example\r\nHost: evil")
            )
            assert "evil" not in body["selfLink"]

    asyncio.run(main())


@pytest.mark.parametrize("name", ["access_token", "oauth_token"])
def test_a_token_in_the_query_of_a_part_is_its_own(name: str) -> None:
    """Done in the name of the batch it would be done by somebody else than it says."""

    async def main() -> None:
        async with serving() as gce:
            status, operation = answer(await sent(gce, f"{RESET}?{name}=other"))
            assert (status, operation["user"]) == (200, "other@example.org")
            assert answer(await sent(gce, f"{RESET}?{name}=wrong"))[0] == 401
            status, operation = answer(await sent(gce, f"{RESET}?{name}=wrong", "Authorization: Bearer other"))
            assert (status, operation["user"]) == (200, "other@example.org")

    asyncio.run(main())


def test_a_token_in_the_query_of_a_batch_holds_for_its_parts() -> None:
    """As one in its header does, which goes before it."""

    async def main() -> None:
        async with serving() as gce:
            for outer, query, user in (({}, "other", "other"), (BEARER, "other", "good")):
                status, operation = answer(await sent(gce, RESET, "", outer, f"?access_token={query}"))
                assert (status, operation["user"]) == (200, f"{user}@example.org")
            assert (await sent(gce, RESET, "", {}, "?access_token=%ff")).status == 400

    asyncio.run(main())
