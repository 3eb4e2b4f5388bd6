"""The server of the commands: what it does with connections, as far as requests do not tell."""

from __future__ import annotations

import asyncio
import time

import tornado.web

from gceshim.commands.server import Listening
from gceshim.settings import ServerSection

PATIENCE_SECONDS = 20.0


class Slow(tornado.web.RequestHandler):
    """Takes a body, and then longer than any client of it waits."""

    async def post(self) -> None:
        await asyncio.sleep(PATIENCE_SECONDS)


def test_a_client_that_goes_away_is_not_waited_for() -> None:
    """Neither in the middle of its body nor while it waits for the answer; and nothing is kept of it."""

    async def stop_after_two_have_left() -> float:
        settings = ServerSection(port=0, shutdown_seconds=PATIENCE_SECONDS)
        listening = Listening(tornado.web.Application([("/", Slow)]), settings)
        for body in (b"{", b"{}"):
            reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
            writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n" + body)
            await reader.readline()  # the request has come
            writer.close()
            await writer.wait_closed()
        started = time.monotonic()
        await listening.close()
        return time.monotonic() - started

    assert asyncio.run(stop_after_two_have_left()) < PATIENCE_SECONDS / 2
