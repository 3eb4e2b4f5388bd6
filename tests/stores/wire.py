"""A bad line to a MongoDB server: answers that get lost, a server that is away for a while."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

INSERT = b"\x02insert\x00"
UPDATE = b"\x02update\x00"
DELETE = b"\x02delete\x00"
CLAIM = b"\x02findAndModify\x00"
FIND = b"\x02find\x00"


class Wire:
    """
    Passes messages on between clients and the server at `server_port`, which may be changed.

    `lost` counts the answers that were swallowed, each with its connection. While `silent`, none is passed on.
    """

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.port = 0
        self.lost = 0
        self.silent = False
        self._word = b""
        self._times = 0
        self._before = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def lose(self, word: bytes, times: int = 1, *, before: bool = False) -> None:
        """Of the next requests that hold the word, lose the answer; or (`before`) the request itself."""
        self._word, self._times, self._before = word, times, before

    async def up(self) -> None:
        """Be there, at the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Be away: connections break, and no new ones are made."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with (
            contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError),
            contextlib.closing(writer),
        ):
            to_server, from_server = await asyncio.open_connection("127.0.0.1", self.server_port)
            with contextlib.closing(from_server):
                while await self._turn(reader, writer, to_server, from_server):
                    pass

    async def _turn(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> bool:
        """One request and its answer; false when the line is to break."""
        request = await _message(client)
        losing = self._times > 0 and self._word in request
        if losing:
            self._times -= 1
            self.lost += 1
            if self._before:
                return False
        to_server.write(request)
        answer = await _message(server)
        if self.silent:
            await asyncio.Event().wait()
        if losing:
            return False
        to_client.write(answer)
        await to_client.drain()
        return True


async def _message(reader: asyncio.StreamReader) -> bytes:
    length = await reader.readexactly(4)
    return length + await reader.readexactly(int.from_bytes(length, "little") - 4)


@contextlib.asynccontextmanager
async def wire(server_port: int) -> AsyncIterator[Wire]:
    """A line for the time of a block."""
    line = Wire(server_port)
    await line.up()
    try:
        yield line
    finally:
        await line.down()
