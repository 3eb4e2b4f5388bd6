"""
Serve the GCE API of a CloudStack cloud.

Settings and driver are loaded before a port is bound, so a mistake in either ends the command at once. SIGINT and
SIGTERM end it: nothing new is accepted, running requests finish, operations go on when a server is started again. At
SIGHUP it reads the files of the master key and of the certificate anew, and goes on. With --workers several processes
serve the one port; one that dies is replaced.

examples:
  gceshim serve --config /etc/gceshim/gceshim.toml
  gceshim serve --config gceshim.toml --address 0.0.0.0 --tls-certificate server.pem --tls-key server-key.pem
  gceshim serve --config gceshim.toml --workers 4
  GCESHIM_DRIVER_CLOUDSTACK_URL=http://cloud:8080/client/api gceshim serve --port 9000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import functools
import itertools
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from gceshim import __version__
from gceshim.app import Shim
from gceshim.commands import hangups, logs
from gceshim.commands.options import add_config, add_listening, config_path, load_settings, workers
from gceshim.commands.running import Running, announced
from gceshim.commands.server import Listening, bind, local_url, tls_context, until_signalled, warn_when_open
from gceshim.commands.shims import check_parts, opened
from gceshim.commands.supervisor import Post, Supervisor
from gceshim.settings import LimitsSection, ServerSection, Settings, SettingsError

LOG = logging.getLogger("gceshim.server")

# What stopping takes beside the times that are set: the end of calls to CloudStack that are under way, and the store.
_SPARE_SECONDS: Final = 15.0
_INSPECTORS: Final = 100
_LAST_PORT: Final = 65_535


def configure(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_listening(parser)
    parser.add_argument(
        "--tls-certificate", metavar="FILE", help="certificate chain, PEM (gceshim cert makes one; default: settings)"
    )
    parser.add_argument("--tls-key", metavar="FILE", help="its private key, PEM (default: settings)")
    parser.add_argument("--workers", type=workers, metavar="N", help="how many processes serve (default: settings)")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Serve until a signal comes."""
    given = {
        "server.port": args.port,
        "server.address": args.address,
        "server.workers": args.workers,
        "server.tls_certificate": args.tls_certificate,
        "server.tls_key": args.tls_key,
    }
    settings = load_settings(args, environ, given)
    logs.set_up(settings.log)
    path = config_path(args, environ)
    config = str(Path(path).absolute()) if path else ""
    with hangups.held():
        if settings.server.workers > 1:
            return _supervise(settings, config, environ)
        inspection = _inspection_sockets(settings.server)[0]
        here = functools.partial(_here, settings, config)
        asyncio.run(_serve(settings, lambda listening: announced(here(listening.url), environ), inspection=inspection))
    return 0


def _supervise(settings: Settings, config: str, environ: Mapping[str, str]) -> int:
    """
    Serve by several processes.

    The sockets are bound before there are any, and shared: a connection that waits for a worker that dies is taken by
    another. Those for metrics are each worker's own.
    """
    check_parts(settings)
    tls_context(settings.server)
    sockets = bind(settings.server.address, settings.server.port)
    url = local_url(settings.server, sockets[0].getsockname()[1])
    inspection = _inspection_sockets(settings.server)

    def close() -> None:
        for bound in itertools.chain(sockets, *inspection):
            bound.close()

    def work(post: Post) -> int:
        @contextlib.contextmanager
        def ready(_: Listening) -> Iterator[None]:
            post.ready()
            yield

        own = inspection.pop(post.index)
        for bound in itertools.chain(*inspection):
            bound.close()
        first = post.index == 0
        asyncio.run(_serve(settings, ready, sockets=sockets, inspection=own, lifeline=post.lifeline, first=first))
        return 0

    with contextlib.ExitStack() as stack:
        here = _here(settings, config, url)
        supervisor = Supervisor(
            settings.server.workers,
            work,
            stop_seconds=settings.server.drain_seconds + 2 * settings.server.shutdown_seconds + _SPARE_SECONDS,
            ready=lambda: stack.enter_context(announced(here, environ)),
            stopping=close,  # here; the workers have them too, and close theirs when they take no more
        )
        return supervisor.run()


def _here(settings: Settings, config: str, url: str) -> Running:
    return Running("serve", settings.server.public_url or url, os.getpid(), local_url=url, config=config)


async def _serve(
    settings: Settings,
    serving: Callable[[Listening], contextlib.AbstractContextManager[None]],
    *,
    inspection: Sequence[socket.socket],
    sockets: Sequence[socket.socket] = (),
    lifeline: int | None = None,
    first: bool = True,
) -> None:
    """
    Serve in this process.

    :param serving: entered as soon as requests are taken, and left when they no longer are.
    :param inspection: the sockets for metrics, if there are to be any.
    :param sockets: those that several workers have; none: bind as the settings say.
    :param first: not one of several workers, or the first of them.
    """
    async with opened(settings) as shim, _inspection(shim, inspection):
        listening = Listening(
            shim.application(), settings.server, settings.limits, sockets=sockets, shared=bool(sockets)
        )
        states = listening.requests
        shim.instruments.metrics.gauges("gceshim_connections", "Open connections.", "state", lambda: states.open)
        try:
            if first:
                warn_when_open(settings.server)
            with serving(listening):
                LOG.info("gceshim %s: %s, driver %s", __version__, listening.url, settings.driver.name)
                await until_signalled(lifeline, on_hangup=functools.partial(_read_anew, shim, listening))
                shim.drain()
                await asyncio.sleep(settings.server.drain_seconds)
            shim.stop_waiting()
        finally:
            await listening.close()


def _read_anew(shim: Shim, listening: Listening) -> None:
    """The files of the master key and of the certificate. One that cannot be used changes nothing."""
    for read in (shim.reload_keys, listening.reload_certificate):
        try:
            read()
        except SettingsError as exc:
            LOG.error("SIGHUP: %s; what was read before stays in use", exc)
    LOG.info("SIGHUP: the master key in use is %s", shim.key_id)


@contextlib.asynccontextmanager
async def _inspection(shim: Shim, sockets: Sequence[socket.socket]) -> AsyncIterator[None]:
    """`/metrics` on sockets of its own, for the block; nothing where there are none."""
    if not sockets:
        yield
        return
    server = shim.settings.server
    plain = dataclasses.replace(
        server, address=server.metrics_address, tls_certificate="", tls_key="", shutdown_seconds=0.0
    )
    listening = Listening(shim.inspection(), plain, LimitsSection(connections=_INSPECTORS), sockets=sockets)
    LOG.info("metrics at %s/metrics", listening.url)
    try:
        yield
    finally:
        await listening.close()


def _inspection_sockets(server: ServerSection) -> list[list[socket.socket]]:
    """
    For each worker, bound ones for its metrics; none where the settings name no port.

    :raises SettingsError: they would need ports that there are not, or the main one. :raises CommandError: as `bind`.
    """
    first = server.metrics_port
    if not first:
        return [[] for _ in range(server.workers)]
    ports = range(first, first + server.workers)
    if server.port in ports:
        raise SettingsError(f"server.metrics_port: {_ports(ports)} for metrics, and server.port is {server.port} too")
    if ports[-1] > _LAST_PORT:
        raise SettingsError(f"server.metrics_port: there are no {_ports(ports)}")
    return [bind(server.metrics_address, port, "server.metrics_address") for port in ports]


def _ports(ports: range) -> str:
    return f"ports {ports[0]} to {ports[-1]}" if len(ports) > 1 else f"port {ports[0]}"
