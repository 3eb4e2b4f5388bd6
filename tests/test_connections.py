"""Connections when files run out, and when a server stops."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tornado.web

from gceshim.commands.connections import ListeningSocket
from gceshim.commands.server import Listening, bind
from gceshim.settings import LimitsSection, ServerSection
from tests.command_line import DEADLINE_SECONDS, Process, complaint, environment, fetch, gceshim, settings_file

NOWHERE = {"endpoint": "http://127.0.0.1:9/client/api"}


class Slow(tornado.web.RequestHandler):
    """Answers when it is let go."""

    def initialize(self, let_go: asyncio.Event, came: asyncio.Event) -> None:
        """Called by Tornado."""
        self._let_go = let_go
        self._came = came

    async def get(self) -> None:
        self._came.set()
        await self._let_go.wait()
        self.finish("done")


def slow(path: str) -> tuple[tuple[str, type[Slow], dict[str, asyncio.Event]], asyncio.Event, asyncio.Event]:
    let_go, came = asyncio.Event(), asyncio.Event()
    return (path, Slow, {"let_go": let_go, "came": came}), let_go, came


def test_connections_are_bounded_by_the_files_that_the_system_allows(tmp_path: Path) -> None:
    """At the limit Tornado would try to accept for ever, at full speed, with a trace in the log each time."""
    config = settings_file(tmp_path, NOWHERE)
    command = f"ulimit -n 200; exec {sys.executable} -m gceshim serve --config {config}"
    popen = subprocess.Popen(
        ["sh", "-c", command],
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process = Process(popen)
    clients = []
    try:
        url = process.wait_for(r"gceshim \S+: (http://127\.0\.0\.1:\d+)")[1]
        process.wait_for(r"limits.connections: 100 and not 4000, for the 200 open files")
        for _ in range(300):
            clients.append(socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30))
        # Of those that came in one moment the server does not know yet that they are idle, to close one for another.
        deadline = time.monotonic() + DEADLINE_SECONDS
        while fetch(f"{url}/healthz")[0] == 503:
            assert time.monotonic() < deadline
        assert fetch(f"{url}/healthz")[::2] == (200, {"status": "ok"})
        assert fetch(f"{url}/readyz")[0] == 200
        assert process.stop() == 0
        assert not re.search("Too many open files|Traceback", process.output)
    finally:
        for client in clients:
            client.close()
        popen.kill()
        process.ended()
        for stream in (popen.stdout, popen.stderr):
            if stream is not None:
                stream.close()


def test_a_connection_for_which_there_is_no_file_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    """Others in the process may use them up; the client learns it at once, and the log once."""
    [bound] = bind("127.0.0.1", 0)
    listening = ListeningSocket(bound.detach())
    clients = [socket.socket() for _ in range(4)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    try:
        for client in clients:
            client.settimeout(30)
            client.connect(listening.getsockname())
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            for client in clients[:3]:
                with pytest.raises(BlockingIOError):
                    listening.accept()
                assert client.recv(1) == b""
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        accepted, _ = listening.accept()
        accepted.sendall(b"x")
        assert clients[3].recv(1) == b"x"
        accepted.close()
    finally:
        for client in clients:
            client.close()
        listening.close()
    assert [record.getMessage() for record in caplog.records if "ulimit" in record.getMessage()] == [
        "new connections are closed: this process has as many files open as it may (ulimit -n)"
    ]


def test_a_stopping_server_closes_each_connection_once_it_is_answered() -> None:
    """And not when the last one is: who keeps a connection open would go on to send requests there."""

    async def main() -> None:
        quick, let_quick_go, quick_came = slow("/quick")
        long, let_long_go, long_came = slow("/long")
        listening = Listening(tornado.web.Application([quick, long]), ServerSection(port=0, shutdown_seconds=60))
        streams = []
        for path, came in (("/quick", quick_came), ("/long", long_came)):
            reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
            await came.wait()
            streams.append((reader, writer))
        closing = asyncio.ensure_future(listening.close())
        await asyncio.sleep(0)
        let_quick_go.set()
        assert (await streams[0][0].read()).endswith(b"done")  # to the end of the connection
        assert not closing.done()
        let_long_go.set()
        assert (await streams[1][0].read()).endswith(b"done")
        await closing
        for _, writer in streams:
            writer.close()
            await writer.wait_closed()

    asyncio.run(asyncio.wait_for(main(), 300))


def test_the_time_for_the_first_request_is_over_with_it() -> None:
    """A client that keeps its connection for later is not hung up on for that."""

    async def main() -> None:
        settings, limits = ServerSection(port=0), LimitsSection(header_seconds=0.5, idle_seconds=60)
        listening = Listening(tornado.web.Application([]), settings, limits)
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await reader.readexactly(int(re.search(r"Content-Length: (\d+)", head)[1]))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 1.0)
        await listening.close()
        writer.close()
        await writer.wait_closed()

    asyncio.run(asyncio.wait_for(main(), 300))


def test_a_server_with_nothing_to_answer_stops_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    """Also one that would not wait for requests, as that of the metrics."""

    async def main() -> None:
        listening = Listening(tornado.web.Application([]), ServerSection(port=0, shutdown_seconds=0))
        _, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        await listening.close()
        writer.close()
        await writer.wait_closed()

    asyncio.run(main())
    assert caplog.records == []


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({"PORT": "9187", "METRICS_PORT": "9187"}, "port 9187 for metrics, and server.port is 9187 too"),
        (
            {"PORT": "9188", "METRICS_PORT": "9187", "WORKERS": "2"},
            "ports 9187 to 9188 for metrics, and server.port is 9188 too",
        ),
        ({"PORT": "0", "METRICS_PORT": "65535", "WORKERS": "2"}, "there are no ports 65535 to 65536"),
    ],
)
def test_metrics_have_ports_of_their_own(tmp_path: Path, server: dict[str, str], words: str) -> None:
    """Told before anything is begun; else a worker would die of it again and again."""
    config = settings_file(tmp_path, NOWHERE)
    more = {f"GCESHIM_SERVER_{name}": value for name, value in server.items()}
    told = complaint(gceshim(tmp_path, "serve", "--config", str(config), **more), 2)
    assert told == f"gceshim: server.metrics_port: {words}"


def test_a_port_of_any_worker_that_is_taken_ends_the_command(tmp_path: Path) -> None:
    """Not only that of the worker that comes to it: the rest would go on without."""
    config = settings_file(tmp_path, NOWHERE)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        more = {"GCESHIM_SERVER_METRICS_PORT": str(port - 1), "GCESHIM_SERVER_WORKERS": "2"}
        done = gceshim(tmp_path, "serve", "--config", str(config), **more)
    # Its neighbour may be taken too: by whom is not this test's business.
    assert re.fullmatch(r"gceshim: 127\.0\.0\.1:\d+ is taken by another program; .*\n", done.stderr), done.stderr
    assert done.returncode == 1
