"""
Serve the GCE API of a CloudStack cloud.

Settings and driver are loaded before a port is bound, so a mistake in either ends the command at once. SIGINT and
SIGTERM end it: nothing new is accepted, running requests finish, operations go on when a server is started again. With
--workers several processes serve the one port; one that dies is replaced.

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
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from gceshim import __version__
from gceshim.app import Shim
from gceshim.commands import logs
from gceshim.commands.connections import SharedSocket
from gceshim.commands.options import add_config, add_listening, config_path, load_settings, workers
from gceshim.commands.running import Running, announced
from gceshim.commands.server import Listening, bind, local_url, until_signalled, warn_when_open
from gceshim.commands.shims import check_parts, opened
from gceshim.commands.supervisor import Post, Supervisor
from gceshim.settings import Settings

LOG = logging.getLogger("gceshim.server")

# What stopping takes beside the times that are set: the end of calls to CloudStack that are under way, and the store.
_SPARE_SECONDS: Final = 15.0


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
    if settings.server.workers > 1:
        return _supervise(settings, config, environ)
    asyncio.run(_serve(settings, lambda listening: announced(_here(settings, listening.url, config), environ)))
    return 0


def _supervise(settings: Settings, config: str, environ: Mapping[str, str]) -> int:
    """
    Serve by several processes.

    The sockets are bound before there are any, and shared: a connection that waits for a worker that dies is taken by
    another.
    """
    check_parts(settings)
    sockets = bind(settings.server.address, settings.server.port)
    url = local_url(settings.server, sockets[0].getsockname()[1])

    def close() -> None:
        for bound in sockets:
            bound.close()

    def work(post: Post) -> int:
        @contextlib.contextmanager
        def ready(_: Listening) -> Iterator[None]:
            post.ready()
            yield

        shared = [SharedSocket(fileno=bound.detach()) for bound in sockets]
        asyncio.run(_serve(settings, ready, sockets=shared, index=post.index, lifeline=post.lifeline))
        return 0

    with contextlib.ExitStack() as stack:
        here = _here(settings, url, config)
        supervisor = Supervisor(
            settings.server.workers,
            work,
            stop_seconds=settings.server.drain_seconds + 2 * settings.server.shutdown_seconds + _SPARE_SECONDS,
            ready=lambda: stack.enter_context(announced(here, environ)),
            stopping=close,  # here; the workers have them too, and close theirs when they take no more
        )
        return supervisor.run()


def _here(settings: Settings, url: str, config: str) -> Running:
    return Running("serve", settings.server.public_url or url, os.getpid(), local_url=url, config=config)


async def _serve(
    settings: Settings,
    serving: Callable[[Listening], contextlib.AbstractContextManager[None]],
    *,
    sockets: Sequence[socket.socket] = (),
    index: int = 0,
    lifeline: int | None = None,
) -> None:
    """
    Serve in this process.

    :param serving: entered as soon as requests are taken, and left when they no longer are.
    :param index: which of several workers this is.
    """
    async with opened(settings) as shim, _inspection(shim, index):
        listening = Listening(shim.application(), settings.server, settings.limits, sockets=sockets)
        states = listening.requests
        shim.instruments.metrics.gauges("gceshim_connections", "Open connections.", "state", lambda: states.open)
        try:
            if index == 0:
                warn_when_open(settings.server)
            with serving(listening):
                LOG.info("gceshim %s: %s, driver %s", __version__, listening.url, settings.driver.name)
                await until_signalled(lifeline)
                shim.drain()
                await asyncio.sleep(settings.server.drain_seconds)
            shim.stop_waiting()
        finally:
            await listening.close()


@contextlib.asynccontextmanager
async def _inspection(shim: Shim, index: int) -> AsyncIterator[None]:
    """`/metrics` on a port of its own, for the block; nothing where the settings name none."""
    server = shim.settings.server
    if not server.metrics_port:
        yield
        return
    sockets = bind(server.metrics_address, server.metrics_port + index, "server.metrics_address")
    plain = dataclasses.replace(server, address=server.metrics_address, tls_certificate="", tls_key="")
    listening = Listening(shim.inspection(), dataclasses.replace(plain, shutdown_seconds=0.0), sockets=sockets)
    LOG.info("metrics at %s/metrics", listening.url)
    try:
        yield
    finally:
        await listening.close()
