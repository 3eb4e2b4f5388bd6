"""
Serve the simulated CloudStack alone, and print its endpoint and the keys of its accounts.

It keeps everything in memory: what is made is gone when it stops. `docs/simulator.md` tells what it can do.

examples:
  gceshim simulator
  gceshim simulator --config conf/simulator.toml --port 8080 --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from typing import Final

from gceshim.commands.options import add_listening
from gceshim.commands.server import Listening, until_signalled, warn_when_open
from gceshim.settings import ServerSection, SettingsError
from gceshim.simulator import Simulator, SimulatorSettings, SimulatorSettingsError
from gceshim.simulator.entities import User
from gceshim.simulator.server import API_PATH

_KINDS: Final = {0: "user", 1: "root admin", 2: "domain admin"}


def configure(parser: argparse.ArgumentParser) -> None:
    add_listening(parser, default_port=8080)
    parser.add_argument("--config", metavar="FILE", help="settings of the simulator, TOML (conf/simulator.toml)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Serve until a signal comes."""
    asyncio.run(_serve(load(args.config), args))
    return 0


def load(path: str | None) -> SimulatorSettings:
    """
    The simulator's settings.

    :param path: a TOML file; None: all at their defaults.
    :raises SettingsError: the file cannot be used.
    """
    try:
        return SimulatorSettings.load(path) if path else SimulatorSettings()
    except SimulatorSettingsError as exc:
        raise SettingsError(str(exc)) from exc


async def _serve(settings: SimulatorSettings, args: argparse.Namespace) -> None:
    simulator = Simulator(settings)
    server = ServerSection(address=args.address or "127.0.0.1", port=args.port, shutdown_seconds=1.0)
    warn_when_open(server)
    listening = Listening(simulator.application(), server)
    try:
        accounts = _accounts(simulator)
        endpoint = listening.url + API_PATH
        if args.json:
            shown = {"endpoint": endpoint, "accounts": accounts}
            print(json.dumps(shown, indent=2), flush=True)
        else:
            print(f"CloudStack API: {endpoint}")
            for account in accounts:
                print(f"\naccount {account['account']} ({account['type']}, domain {account['domain']})")
                print(f"  API key:    {account['api_key']}\n  secret key: {account['secret_key']}")
            print("\nCtrl-C stops it.", flush=True)
        await until_signalled()
    finally:
        await listening.close()
        await simulator.stop()


def _accounts(simulator: Simulator) -> list[dict[str, str]]:
    """The keys of the data set; they open nothing but this simulator."""
    return [
        {
            "account": user.account.name,
            "type": _KINDS[user.account.kind],
            "domain": user.account.domain.path,
            "api_key": user.api_key,
            "secret_key": user.secret_key,
        }
        for user in simulator.cloud.state.rows(User)
        if user.api_key
    ]
