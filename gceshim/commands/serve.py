"""
Serve the GCE API of a CloudStack cloud.

Settings and driver are loaded before a port is bound, so a mistake in either ends the command at once. SIGINT and
SIGTERM end it: nothing new is accepted, running requests finish, operations go on when a server is started again.

examples:
  gceshim serve --config /etc/gceshim/gceshim.toml
  gceshim serve --config gceshim.toml --address 0.0.0.0 --tls-certificate server.pem --tls-key server-key.pem
  GCESHIM_DRIVER_CLOUDSTACK_URL=http://cloud:8080/client/api gceshim serve --port 9000
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from gceshim import __version__
from gceshim.commands import logs
from gceshim.commands.options import add_config, add_listening, config_path, load_settings
from gceshim.commands.running import Running, announced
from gceshim.commands.server import Listening, until_signalled, warn_when_open
from gceshim.commands.shims import opened
from gceshim.settings import Settings

LOG = logging.getLogger("gceshim.server")


def configure(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_listening(parser)
    parser.add_argument(
        "--tls-certificate", metavar="FILE", help="certificate chain, PEM (gceshim cert makes one; default: settings)"
    )
    parser.add_argument("--tls-key", metavar="FILE", help="its private key, PEM (default: settings)")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Serve until a signal comes."""
    given = {
        "server.port": args.port,
        "server.address": args.address,
        "server.tls_certificate": args.tls_certificate,
        "server.tls_key": args.tls_key,
    }
    settings = load_settings(args, environ, given)
    logs.set_up(settings.log)
    config = config_path(args, environ)
    asyncio.run(_serve(settings, str(Path(config).absolute()) if config else "", environ))
    return 0


async def _serve(settings: Settings, config: str, environ: Mapping[str, str]) -> None:
    async with opened(settings) as shim:
        listening = Listening(shim.application(), settings.server)
        try:
            warn_when_open(settings.server)
            url = settings.server.public_url or listening.url
            here = Running("serve", url, os.getpid(), local_url=listening.url, config=config)
            with announced(here, environ):
                LOG.info("gceshim %s: %s, driver %s", __version__, listening.url, settings.driver.name)
                await until_signalled()
        finally:
            await listening.close()
