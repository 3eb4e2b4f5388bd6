"""A Tornado server for a command: binding, TLS, signals, and an end that lets running requests finish."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import tornado.netutil
import tornado.web
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from gceshim.commands.errors import CommandError
from gceshim.settings import ServerSection, SettingsError

LOG = logging.getLogger("gceshim.server")

_IDLE_SECONDS: Final = 75.0


class Listening:
    """A bound server. `url` is how a client on this machine reaches it."""

    def __init__(self, application: tornado.web.Application, settings: ServerSection) -> None:
        """
        Bind and begin to serve.

        :raises CommandError: the address is taken or not ours.
        :raises SettingsError: the certificate cannot be used.
        """
        self._settings = settings
        tls = tls_context(settings)
        sockets = _bind(settings)
        self._requests = _Requests(application)
        self._server = _Server(
            self._requests,
            ssl_options=tls,
            idle_connection_timeout=_IDLE_SECONDS,
            max_body_size=settings.max_body_bytes,
        )
        self._server.add_sockets(sockets)
        self.port: int = sockets[0].getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{_host(settings.address)}:{self.port}"

    async def close(self) -> None:
        """Accept nothing new, let running requests finish for `shutdown_seconds`, then close all connections."""
        self._server.stop()
        try:
            await asyncio.wait_for(self._requests.idle.wait(), self._settings.shutdown_seconds)
        except TimeoutError:
            LOG.warning("stopping with requests unanswered")
        await self._server.close_all_connections()


class _Server(HTTPServer):
    """Tornado's, which tells `_Requests` of connections that begin, and not of those that end."""

    def on_close(self, server_conn: object) -> None:
        super().on_close(server_conn)
        if isinstance(self.request_callback, _Requests):
            self.request_callback.on_close(server_conn)


class _Requests(HTTPServerConnectionDelegate):
    """Knows the connections on which a request is being answered."""

    def __init__(self, application: tornado.web.Application) -> None:
        self._application = application
        self._running: set[object] = set()
        self.idle = asyncio.Event()
        self.idle.set()

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Tornado calls this when a connection is ready for a request: its last one is answered by then."""
        self._ended(server_conn)
        inner = self._application.start_request(server_conn, request_conn)
        return _Marked(inner, lambda: self._came(server_conn))

    def on_close(self, server_conn: object) -> None:
        self._ended(server_conn)
        self._application.on_close(server_conn)

    def _came(self, server_conn: object) -> None:
        self._running.add(server_conn)
        self.idle.clear()

    def _ended(self, server_conn: object) -> None:
        self._running.discard(server_conn)
        if not self._running:
            self.idle.set()


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


def tls_context(settings: ServerSection) -> ssl.SSLContext | None:
    """
    The TLS side of the settings; None for plain HTTP.

    :raises SettingsError: certificate or key cannot be read or do not fit each other.
    """
    if not settings.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ssl.SSLError) as exc:
        raise SettingsError(f"server.tls_certificate, server.tls_key: cannot be used: {exc}") from exc
    return context


def _bind(settings: ServerSection) -> list[socket.socket]:
    try:
        return tornado.netutil.bind_sockets(settings.port, settings.address)
    except socket.gaierror as exc:
        raise CommandError(f"server.address: {settings.address}: {exc.strerror}") from exc
    except OSError as exc:
        where = f"{_host(settings.address)}:{settings.port}"
        if exc.errno == errno.EADDRINUSE:
            raise CommandError(f"{where} is taken by another program; --port 0 picks a free port") from exc
        if exc.errno in {errno.EACCES, errno.EPERM}:
            raise CommandError(f"{where}: not allowed for this user; choose a --port of 1024 or more") from exc
        raise CommandError(f"{where}: cannot listen: {exc.strerror}") from exc


def _host(address: str) -> str:
    local = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - read, not bound
    return f"[{local}]" if ":" in local else local


def is_loopback(address: str) -> bool:
    """Whether only this machine can connect to the address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def warn_when_open(settings: ServerSection) -> None:
    """Tokens on plain HTTP can be read on their way, by anyone: that is worth loud words."""
    if settings.tls_certificate or is_loopback(settings.address):
        return
    if settings.trust_proxy or settings.public_url.startswith("https://"):
        LOG.info("plain HTTP on %s: relying on the proxy in front for TLS", settings.address)
        return
    LOG.warning(
        "PLAIN HTTP ON %s: bearer tokens can be read on their way. Set server.tls_certificate and server.tls_key, "
        "or listen on 127.0.0.1 behind a proxy that does TLS.",
        settings.address,
    )


async def until_signalled() -> None:
    """Wait for SIGINT or SIGTERM. A second one ends the process at once, as it does without us."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def caught(number: int) -> None:
        stop.set()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(signum)
        LOG.info("%s: stopping", signal.Signals(number).name)

    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, caught, signum)
    await stop.wait()
