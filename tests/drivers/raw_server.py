"""A server that answers as it is told to: what stands between us and CloudStack on a bad day."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]


class RawServer:
    """`url`: the endpoint. `connections`: how many were made. `requests`: the head and body of each."""

    def __init__(self) -> None:
        self.url = ""
        self.connections = 0
        self.requests: list[str] = []


@asynccontextmanager
async def raw_server(behaviour: Behaviour, context: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Each request is read whole and then given to `behaviour`, with its number from 1."""
    server = RawServer()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")
                )
                server.requests.append(head + (await reader.readexactly(length)).decode())
                await behaviour(reader, writer, len(server.requests))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    server.url = f"{'https' if context else 'http'}://127.0.0.1:{listening.sockets[0].getsockname()[1]}/client/api"
    try:
        yield server
    finally:
        listening.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


def answer(status: str, body: str | bytes, kind: str = "application/json", *headers: str) -> Behaviour:
    """Always the same reply."""
    content = body.encode() if isinstance(body, str) else body

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(content)}", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + content)

    return behave


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
    """The connection is reset instead of an answer."""
    writer.transport.abort()


async def silence(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _number: int) -> None:
    """Nothing, until the other side gives up."""
    await reader.read()


async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
    """A byte at a time, without end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)
