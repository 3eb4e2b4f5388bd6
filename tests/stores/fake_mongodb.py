"""A server that speaks as much of MongoDB's protocol as a start-up check needs, to say what a real one would."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any

import bson

OP_MSG = 2013
OP_QUERY = 2004
OP_REPLY = 1
HELLO = {"ok": 1, "isWritablePrimary": True, "minWireVersion": 0, "maxWireVersion": 21, "maxBsonObjectSize": 16777216}


class FakeMongo:
    """
    Answers each command with what `answers` has for its name, else with success and nothing found.

    :param hello: what the server says of itself.
    """

    def __init__(self, answers: Mapping[str, Mapping[str, Any]], hello: Mapping[str, Any]) -> None:
        self._answers = answers
        self._hello = {**HELLO, **hello}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = (OSError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*ended), contextlib.closing(writer):
            while True:
                length, request, _, code = struct.unpack("<iiii", await reader.readexactly(16))
                body = await reader.readexactly(length - 16)
                if code == OP_QUERY:
                    answer = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(self._hello)
                else:
                    answer = b"\0\0\0\0\0" + bson.encode(self._answer(_command(body)))
                kind = OP_REPLY if code == OP_QUERY else OP_MSG
                writer.write(struct.pack("<iiii", 16 + len(answer), 0, request, kind) + answer)

    def _answer(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        name = next(iter(command))
        if name in {"hello", "ismaster", "isMaster"}:
            return self._hello
        cursor = {"id": 0, "ns": "a.b", "firstBatch": []}
        return self._answers.get(name, {"ok": 1, "n": 0, "cursor": cursor})


def _command(body: bytes) -> Mapping[str, Any]:
    """The first section of a message; what an update or insertion is to write follows in others."""
    start = 5  # flags, and the section's kind
    (length,) = struct.unpack_from("<i", body, start)
    command: Mapping[str, Any] = bson.decode(body[start : start + length])
    return command


def refusal(code: int, name: str) -> dict[str, Any]:
    return {"ok": 0, "code": code, "codeName": name, "errmsg": "no, geheim"}


@contextlib.asynccontextmanager
async def fake_mongodb(
    answers: Mapping[str, Mapping[str, Any]] | None = None, hello: Mapping[str, Any] | None = None
) -> AsyncIterator[int]:
    """Its port, for the time of a block."""
    fake = FakeMongo(answers or {}, hello or {})
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        server.close()
