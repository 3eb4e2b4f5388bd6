"""
The connections of a server: how many, how long one may do nothing, and which are in the middle of a request.

What Tornado refuses by itself (no HTTP, a bad length, a bad chunk) is answered in the API's form too.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import tornado.web
from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, SSLIOStream

from gceshim.protocol.errors import ApiError, BackendError, BadRequest
from gceshim.protocol.service import error_reply

LOG = logging.getLogger("gceshim.server")

_TORNADOS_REFUSAL: Final = b"HTTP/1.1 400 Bad Request\r\n\r\n"
# Of headers up to so many times the limit Tornado reads all, so that they are answered; over that it hangs up.
_HEADERS_ANSWERED: Final = 4
# What a server has open beside its connections: those to the store and to CloudStack, files, its own sockets.
_OWN_FILES: Final = 256
_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
_SAID_AGAIN_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """
    What connections may do.

    :param connections: open at a time. At the limit the one that is idle for longest is closed for a new one; when
        none is idle, the new one is answered 503.
    :param first_request_seconds: from the beginning of a connection to the end of the headers of its first request.
    :param idle_seconds: the same for each request after the first, from the end of the one before.
    :param header_bytes: the server's own limit on headers, which is checked with the request.
    :param body_seconds: for a request's body to come in, where the handler of the request says nothing else.
    :param body_bytes: the longest body, in the same cases.
    """

    connections: int = 4_000
    first_request_seconds: float = 20.0
    idle_seconds: float = 75.0
    header_bytes: int = 64 * 1024
    body_seconds: float = 60.0
    body_bytes: int = 1024 * 1024


class ListeningSocket(socket.socket):
    """
    A listening socket for Tornado, which takes all the connections that wait, and fails where there is no file
    descriptor for one: at once again, and again, each time with a trace in the log.

    This one keeps a descriptor back, for that case: the connection that waits is taken with it, and closed.

    :param shared: several processes have it. Then it gives each one connection at a time: of a client that opens thirty
        at once, as connection pools do, all would be one worker's.
    """

    def __init__(self, fileno: int, *, shared: bool = False) -> None:
        super().__init__(fileno=fileno)
        self._shared = shared
        self._gave = False
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self._said = float("-inf")

    def accept(self) -> tuple[socket.socket, Any]:
        """As a socket's; of a shared one every other time there is none, so that the event loop goes round once."""
        if self._gave:
            self._gave = False
            raise BlockingIOError
        try:
            accepted = super().accept()
        except OSError as exc:
            if exc.errno not in _NO_FILES:
                raise
            self._turn_away()
            raise BlockingIOError from exc
        self._gave = self._shared
        return accepted

    def close(self) -> None:
        """As a socket's. May be called twice."""
        self._give_spare()
        super().close()

    def _turn_away(self) -> None:
        self._give_spare()
        with contextlib.suppress(OSError):
            super().accept()[0].close()
        with contextlib.suppress(OSError):  # a thread took it: the next time may do
            self._spare = os.open(os.devnull, os.O_RDONLY)
        if time.monotonic() - self._said > _SAID_AGAIN_SECONDS:
            self._said = time.monotonic()
            LOG.error("new connections are closed: this process has as many files open as it may (ulimit -n)")

    def _give_spare(self) -> None:
        spare, self._spare = self._spare, -1
        if spare >= 0:
            os.close(spare)


def room_for(connections: int) -> int:
    """
    How many connections can be open, so many at most: as many as this process may have files, beside its own.

    The limit on those (`ulimit -n`), which is often 1,024, is raised as far as that is needed and allowed.
    """
    needed = connections + _OWN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):  # not every system lets a process do that
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    room = soft - min(_OWN_FILES, soft // 2)
    LOG.warning("limits.connections: %d and not %d, for the %d open files of ulimit -n", room, connections, soft)
    return room


class Server(HTTPServer):
    """Tornado's, with bounds. Made by `serving`."""

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Tornado calls this for each new connection."""
        requests = self.request_callback
        if isinstance(requests, Requests) and not requests.make_room():
            _turn_away(stream)
            return
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        """Tornado tells whoever wants to know of connections that begin, and not of those that end."""
        super().on_close(server_conn)
        if isinstance(self.request_callback, Requests):
            self.request_callback.on_close(server_conn)


def serving(
    application: tornado.web.Application, limits: ConnectionLimits, tls: ssl.SSLContext | None
) -> tuple[Server, Requests]:
    """A server for the application, bound to nothing yet, and what knows its connections."""
    requests = Requests(application, limits)
    server = Server(
        requests,
        ssl_options=tls,
        idle_connection_timeout=limits.idle_seconds,
        body_timeout=limits.body_seconds,
        max_body_size=limits.body_bytes,
        max_header_size=limits.header_bytes * _HEADERS_ANSWERED,
    )
    return server, requests


class Requests(HTTPServerConnectionDelegate):
    """Knows the connections on which a request is being answered, and those on which none is."""

    def __init__(self, application: tornado.web.Application, limits: ConnectionLimits) -> None:
        self._application = application
        self._limits = limits
        self._running: set[object] = set()
        self._idle: dict[object, None] = {}  # since longest first
        self._first: dict[object, asyncio.TimerHandle] = {}
        self._known: set[object] = set()
        self._given_up: set[object] = set()
        self._open = 0
        self._closing = False
        self.none_running = asyncio.Event()
        self.none_running.set()

    @property
    def open(self) -> dict[str, float]:
        """How many connections there are, by state."""
        return {"running": len(self._running), "idle": len(self._idle)}

    def make_room(self) -> bool:
        """Whether there is room for a new connection, after an idle one was closed if need be; if so it is counted."""
        if self._open >= self._limits.connections:
            oldest = next(iter(self._idle), None)
            if oldest is None:
                return False
            self._close(oldest)
        self._open += 1
        return True

    def close_idle(self) -> None:
        """Close the connections on which nothing is going on; from now on each as soon as that is so."""
        self._closing = True
        for connection in list(self._idle):
            self._close(connection)

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Tornado calls this when a connection is ready for a request: its last one is answered by then."""
        self._ended(server_conn)
        self._idle[server_conn] = None
        if self._closing:
            # A little later: what has come already, behind the request before, is answered still.
            asyncio.get_running_loop().call_soon(self._close_if_idle, server_conn)
        if server_conn not in self._known:
            self._known.add(server_conn)
            loop = asyncio.get_running_loop()
            self._first[server_conn] = loop.call_later(
                self._limits.first_request_seconds, self._close_if_idle, server_conn
            )
        if isinstance(request_conn, HTTP1Connection):
            request_conn.stream = cast(IOStream, _Stream(request_conn.stream))
        inner = self._application.start_request(server_conn, request_conn)
        return _Marked(inner, lambda: self._came(server_conn))

    def on_close(self, server_conn: object) -> None:
        """The connection is no more."""
        self._ended(server_conn)
        self._idle.pop(server_conn, None)
        self._known.discard(server_conn)
        self._forget_first(server_conn)
        if server_conn in self._given_up:
            self._given_up.remove(server_conn)
        else:
            self._open -= 1
        self._application.on_close(server_conn)

    def _came(self, server_conn: object) -> None:
        self._forget_first(server_conn)
        self._idle.pop(server_conn, None)
        self._running.add(server_conn)
        self.none_running.clear()

    def _ended(self, server_conn: object) -> None:
        self._running.discard(server_conn)
        if not self._running:
            self.none_running.set()

    def _close_if_idle(self, server_conn: object) -> None:
        if server_conn in self._idle:
            self._close(server_conn)

    def _close(self, server_conn: object) -> None:
        """Close an idle one; Tornado tells of its end a little later."""
        del self._idle[server_conn]
        self._given_up.add(server_conn)
        self._open -= 1
        if isinstance(server_conn, HTTP1ServerConnection):
            server_conn.stream.close()

    def _forget_first(self, server_conn: object) -> None:
        timer = self._first.pop(server_conn, None)
        if timer is not None:
            timer.cancel()


class _Marked(HTTPMessageDelegate):
    """Hands everything on, and tells when a request has come."""

    def __init__(self, inner: HTTPMessageDelegate, came: Callable[[], None]) -> None:
        self._inner = inner
        self._came = came

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._came()
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()


class _Stream:
    """A connection's stream that says more than Tornado does where that refuses a request."""

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        """As the stream's."""
        if data == _TORNADOS_REFUSAL:
            data = _last_word("400 Bad Request", BadRequest("The HTTP request is malformed."))
        return self._stream.write(data)


def _turn_away(stream: IOStream) -> None:
    if isinstance(stream, SSLIOStream):
        stream.close()  # the handshake would be one more thing to wait for
        return
    error = BackendError("The server has too many connections; try again.")

    def told(done: asyncio.Future[None]) -> None:
        done.exception()  # the client may be gone: nobody else looks
        stream.close()

    stream.write(_last_word("503 Service Unavailable", error)).add_done_callback(told)


def _last_word(status: str, error: ApiError) -> bytes:
    """A whole answer, after which the connection is closed."""
    reply = error_reply(error)
    headers = {**reply.headers, "Server": "gceshim", "Content-Length": str(len(reply.body)), "Connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + reply.body
