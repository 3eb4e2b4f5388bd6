"""
A GCE endpoint to try: simulated cloud, store and server in one process, nothing to set up.

Prints the lines that point gcloud in another terminal at it; `gceshim env` prints them alone. What is made is gone
when it stops, with Ctrl-C.

examples:
  gceshim demo
  gceshim demo --port 0 --simulator-config conf/simulator.toml
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gceshim.app import Shim
from gceshim.commands import lines, logs
from gceshim.commands.errors import USAGE, CommandError
from gceshim.commands.options import add_listening
from gceshim.commands.running import Running, announced, write_private
from gceshim.commands.server import Listening, until_signalled, warn_when_open
from gceshim.commands.shims import opened
from gceshim.commands.simulator import load
from gceshim.model import Credentials
from gceshim.settings import Settings
from gceshim.simulator import Simulator, SimulatorSettings

ACCOUNT: Final = "demo"
TOKEN_LIFETIME_SECONDS: Final = 30 * 24 * 3600
LINGER_SECONDS: Final = 4.0


def configure(parser: argparse.ArgumentParser) -> None:
    add_listening(parser, default_port=8787)
    parser.add_argument("--simulator-config", metavar="FILE", help="settings of the simulated cloud, TOML")
    parser.add_argument("--state-dir", metavar="DIR", help="keep store and token here (default: a temporary folder)")
    parser.add_argument("--verbose", action="store_true", help="log each request")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Serve until a signal comes."""
    simulated = load(args.simulator_config)
    with _state(args.state_dir) as folder:
        overrides = {
            "server.address": args.address,
            "server.port": args.port,
            "store.path": str(folder / "gceshim.sqlite"),
            "operations.linger_seconds": LINGER_SECONDS,
            "log.level": "info" if args.verbose else "warning",
        }
        asyncio.run(_serve(simulated, overrides, folder, environ))
    return 0


@contextlib.contextmanager
def _state(chosen: str | None) -> Iterator[Path]:
    if chosen:
        folder = Path(chosen).absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise CommandError(f"--state-dir: {chosen}: {exc.strerror}", USAGE) from exc
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="gceshim-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _serve(
    simulated: SimulatorSettings, overrides: Mapping[str, object], folder: Path, environ: Mapping[str, str]
) -> None:
    simulator = Simulator(simulated)
    try:
        url = await simulator.start()
        # None of the server's own settings count here: a demo is the same whatever this machine is set up for.
        settings = Settings.load(None, {}, {**overrides, "driver.cloudstack.url": url})
        logs.set_up(settings.log)
        async with opened(settings) as shim:
            listening = Listening(shim.application(), settings.server, settings.limits)
            try:
                warn_when_open(settings.server)
                here = await _prepared(shim, simulator, listening, folder)
                with announced(here, environ):
                    print(_welcome(here), flush=True)
                    await until_signalled()
            finally:
                await listening.close()
    finally:
        await simulator.stop()
    print("stopped")


async def _prepared(shim: Shim, simulator: Simulator, listening: Listening, folder: Path) -> Running:
    """Store the account's keys, make a token, and find out where machines can be."""
    api_key, secret_key = simulator.keys(ACCOUNT)
    credentials = Credentials(api_key=api_key, secret_key=secret_key)
    account = await shim.driver.identity.whoami(credentials)
    await shim.vault.add(ACCOUNT, account, credentials, overwrite=True)
    token = await shim.tokens.issue(ACCOUNT, TOKEN_LIFETIME_SECONDS)
    token_file = folder / "token"
    write_private(token_file, token + "\n")
    region = zone = ""
    if "locations" in shim.driver.capabilities():
        tenant = await shim.driver.identity.tenant(ACCOUNT, credentials, ACCOUNT)
        up = [item for item in await shim.driver.locations.zones(tenant) if item.up]
        region, zone = (up[0].region, up[0].name) if up else ("", "")
    return Running(
        kind="demo",
        url=listening.url,
        pid=os.getpid(),
        local_url=listening.url,
        project=ACCOUNT,
        region=region,
        zone=zone,
        token_file=str(token_file),
        cloudstack_url=simulator.endpoint,
    )


def _welcome(here: Running) -> str:
    itself = "gceshim" if shutil.which("gceshim") else f"{shlex.quote(sys.executable)} -m gceshim"
    create = "gcloud compute instances create my-machine --image-family=debian-12 --image-project=debian-cloud"
    return f"""\
gceshim demo: a Compute Engine endpoint at {here.url}, with a simulated CloudStack behind it.

In another terminal, point gcloud at it:

{lines.shown(lines.variables(here))}

(or: eval "$({itself} env)") and use it:

{create}
gcloud compute instances list

Ctrl-C stops it and forgets everything."""
