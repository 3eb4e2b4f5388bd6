"""A Tornado server for a command: binding, TLS, signals, and an end that lets running requests finish."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Sequence

import tornado.netutil
import tornado.web

from gceshim.commands.connections import ConnectionLimits, ListeningSocket, room_for, serving
from gceshim.commands.errors import CommandError
from gceshim.commands.hangups import Terminal, let_through
from gceshim.settings import LimitsSection, ServerSection, SettingsError

LOG = logging.getLogger("gceshim.server")


class Listening:
    """A bound server. `url` is how a client on this machine reaches it."""

    def __init__(
        self,
        application: tornado.web.Application,
        settings: ServerSection,
        limits: LimitsSection | None = None,
        *,
        sockets: Sequence[socket.socket] = (),
        shared: bool = False,
    ) -> None:
        """
        Bind and begin to serve.

        :param sockets: bound ones, which are closed in the end; none: bind as the settings say.
        :param shared: other processes take connections from them too.
        :raises CommandError: the address is taken or not ours.
        :raises SettingsError: the certificate cannot be used.
        """
        self._settings = settings
        tls = tls_context(settings)
        given = sockets or bind(settings.address, settings.port)
        bound = [ListeningSocket(one.detach(), shared=shared) for one in given]
        limits = limits or LimitsSection()
        self._server, self.requests = serving(
            application,
            ConnectionLimits(
                connections=room_for(limits.connections),
                first_request_seconds=limits.header_seconds,
                idle_seconds=limits.idle_seconds,
                header_bytes=limits.header_bytes,
                body_seconds=limits.body_seconds,
                body_bytes=settings.max_body_bytes,
            ),
            tls,
        )
        self._server.add_sockets(bound)
        self.port: int = bound[0].getsockname()[1]
        self.url = local_url(settings, self.port)

    def reload_certificate(self) -> None:
        """
        Read certificate and key anew, for the connections that come from now on. Nothing to do without TLS.

        :raises SettingsError: they cannot be used; those from before stay in use.
        """
        self._server.ssl_options = tls_context(self._settings)

    async def close(self) -> None:
        """
        Accept nothing new, and let running requests finish for `shutdown_seconds`; then close all connections.

        Each connection is closed as soon as it is idle.
        """
        self._server.conn_params.no_keep_alive = True
        self._server.stop()
        self.requests.close_idle()
        if not self.requests.none_running.is_set():
            try:
                await asyncio.wait_for(self.requests.none_running.wait(), self._settings.shutdown_seconds)
            except TimeoutError:
                LOG.warning("stopping with requests unanswered")
        await self._server.close_all_connections()


def tls_context(settings: ServerSection) -> ssl.SSLContext | None:
    """
    The TLS side of the settings; None for plain HTTP.

    :raises SettingsError: certificate or key cannot be read or do not fit each other.
    """
    if not settings.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ssl.SSLError) as exc:
        files = f"{settings.tls_certificate}, {settings.tls_key}"
        raise SettingsError(f"server.tls_certificate, server.tls_key: {files}: cannot be used: {exc}") from exc
    return context


def bind(address: str, port: int, key: str = "server.address") -> list[socket.socket]:
    """
    Sockets that listen there; port 0 takes a free one.

    :param key: the setting that the address is from. :raises CommandError: it is taken or not ours.
    """
    try:
        return tornado.netutil.bind_sockets(port, address)
    except socket.gaierror as exc:
        raise CommandError(f"{key}: {address}: {exc.strerror}") from exc
    except OSError as exc:
        where = f"{_host(address)}:{port}"
        if exc.errno == errno.EADDRINUSE:
            raise CommandError(f"{where} is taken by another program; --port 0 picks a free port") from exc
        if exc.errno in {errno.EACCES, errno.EPERM}:
            raise CommandError(f"{where}: not allowed for this user; choose a --port of 1024 or more") from exc
        raise CommandError(f"{where}: cannot listen: {exc.strerror}") from exc


def local_url(settings: ServerSection, port: int) -> str:
    """How a client on this machine reaches a server that listens there."""
    return f"{'https' if settings.tls_certificate else 'http'}://{_host(settings.address)}:{port}"


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
        "PLAIN HTTP ON %s: tokens can be read on their way. Set server.tls_certificate and server.tls_key, "
        "or listen on 127.0.0.1 behind a proxy that does TLS.",
        settings.address,
    )


async def until_signalled(lifeline: int | None = None, *, on_hangup: Callable[[], None] | None = None) -> None:
    """
    Wait for SIGINT or SIGTERM. A second one ends the process at once, as it does without us.

    :param lifeline: of a worker, who may get each signal from several sides: more of them change nothing. That this
        file descriptor can be read counts as a signal.
    :param on_hangup: called at each SIGHUP, but for one that tells that the terminal is gone, which ends the wait too.
        None: SIGHUP ends the process at once, as it does without us.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if lifeline is not None:
        loop.add_reader(lifeline, stop.set)

    def caught(number: int) -> None:
        if stop.is_set():
            return
        stop.set()
        if lifeline is None:
            for signum in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(signum)
        LOG.info("%s: stopping", signal.Signals(number).name)

    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, caught, signum)
    if on_hangup is not None:
        terminal = Terminal()

        def hung_up(reload: Callable[[], None]) -> None:
            caught(signal.SIGHUP) if terminal.is_gone else reload()

        loop.add_signal_handler(signal.SIGHUP, hung_up, on_hangup)
        let_through()
    await stop.wait()
    if lifeline is not None:
        loop.remove_reader(lifeline)
