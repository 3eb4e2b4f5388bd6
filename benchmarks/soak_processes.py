"""
The processes of a soak: a simulated cloud with several tenants, and a server that tells how large it is.

Started as those of `benchmarks.processes` are. The server answers two more things: `/state`, some numbers of itself,
and `/growth`, which code has allocated what it holds now and did not when it was last asked (by tracemalloc, which
makes everything slower: from the first time it is asked).
"""

from __future__ import annotations

import asyncio
import gc
import json
import linecache
import os
import sys
import threading
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import Control, serve_controlled
from gceshim.app import Shim
from gceshim.auth.oauth.clients import PUBLIC
from gceshim.auth.oauth.scopes import DEFAULT
from gceshim.auth.oauth.token_endpoint import REFRESH
from gceshim.commands import logs
from gceshim.commands.server import Listening
from gceshim.commands.shims import opened
from gceshim.model import Credentials
from gceshim.settings import Settings
from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.simulator.settings import DEFAULT_LIMITS, UserSettings

DAY_SECONDS: Final = 86_400.0
TOKEN_SECONDS: Final = 60
JOBS_REMEMBERED: Final = 2_000
LINES_OF_GROWTH: Final = 30
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


async def serve_simulator(options: Mapping[str, Any]) -> None:
    """A cloud with `tenants`, none of whom has a limit, until standard input ends."""
    users = tuple(UserSettings(name, f"{name}-password") for name in options["tenants"])
    limits = dict.fromkeys(DEFAULT_LIMITS, -1)
    settings = SimulatorSettings(users=users, limits=limits, remembered_jobs=JOBS_REMEMBERED)
    simulator = Simulator(settings)
    endpoint = await simulator.start()

    def usage() -> str:
        return json.dumps({"rss_bytes": _rss_bytes(), "bugs": [str(bug) for bug in simulator.bugs]})

    keys = {name: simulator.keys(name) for name in options["tenants"]}
    try:
        await serve_controlled({"endpoint": endpoint, "keys": keys}, [("/usage", Control, {"answer": usage})])
    finally:
        await simulator.stop()


async def serve_shim(options: Mapping[str, Any]) -> None:
    """
    gceshim as `gceshim serve` runs it, until standard input ends.

    With its default settings but one: access tokens are good for a minute, so that many run out in the meantime.
    """
    folder = Path(options["folder"])
    overrides = {
        "store.path": str(folder / "store.sqlite"),
        "auth.master_key_file": str(folder / "master.key"),
        "auth.token_lifetime_seconds": TOKEN_SECONDS,
        "driver.cloudstack.url": options["endpoint"],
        "server.port": 0,
        "log.level": "warning",
        "log.format": "json",
    }
    settings = Settings.load(overrides=overrides)
    logs.set_up(settings.log)
    async with opened(settings) as shim:
        tenants = {}
        for name, keys in options["keys"].items():
            credentials = Credentials(*keys)
            await shim.vault.add(name, await shim.driver.identity.whoami(credentials), credentials, overwrite=True)
            logins = [await _login(shim, name, number % 2 == 1) for number in range(options["clients"])]
            tenants[name] = {"token": await shim.tokens.issue(name, DAY_SECONDS), "logins": logins}
        listening = Listening(shim.application(), settings.server, settings.limits)
        growth = Growth()
        rules = [
            ("/state", Control, {"answer": lambda: json.dumps(_state(shim, folder))}),
            ("/growth", Control, {"answer": growth.report}),
        ]
        try:
            await serve_controlled({"host": "127.0.0.1", "port": listening.port, "tenants": tenants}, rules)
        finally:
            await listening.close()


async def _login(shim: Shim, subject: str, rotates: bool) -> Mapping[str, str]:
    """What a program holds after its user has logged in. :param rotates: each refresh token is good once."""
    client = next(iter(PUBLIC))
    body = {"client": client, "scopes": list(DEFAULT), "rotates": rotates}
    family = os.urandom(16).hex()
    token = await shim.tokens.issue(subject, DAY_SECONDS, kind=REFRESH, family=family, body=body)
    return {"refresh_token": token, "client_id": client, "client_secret": "known to all"}


def _state(shim: Shim, folder: Path) -> Mapping[str, float]:
    """How large the server is now. Taken on its event loop, in a few milliseconds."""
    store = folder / "store.sqlite"
    wal = folder / "store.sqlite-wal"
    return {
        "rss_bytes": _rss_bytes(),
        "blocks": sys.getallocatedblocks(),
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "metric_lines": shim.instruments.metrics.text().count(b"\n"),
        "store_bytes": store.stat().st_size,
        "wal_bytes": wal.stat().st_size if wal.exists() else 0,
    }


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


class Growth:
    """Watches allocations from the first time it is asked."""

    def __init__(self) -> None:
        self._before: tracemalloc.Snapshot | None = None

    def report(self) -> str:
        """The lines of code whose allocations have grown the most since the last report; "" for the first two."""
        if not tracemalloc.is_tracing():
            tracemalloc.start()
            return ""
        gc.collect()
        now, before = tracemalloc.take_snapshot(), self._before
        self._before = now
        if before is None:
            return ""
        lines = []
        for row in now.compare_to(before, "lineno")[:LINES_OF_GROWTH]:
            frame = row.traceback[0]
            code = linecache.getline(frame.filename, frame.lineno).strip()
            where = "/".join(Path(frame.filename).parts[-3:])
            lines.append(f"{row.size_diff / 1024:+9.1f} KiB {row.count_diff:+7d}  {where}:{frame.lineno}  {code}")
        return "\n".join(lines)


def main(role: str, options: str) -> None:
    """Be one of the processes."""
    serve = {"simulator": serve_simulator, "server": serve_shim}[role]
    asyncio.run(serve(json.loads(options)))


if __name__ == "__main__":
    main(*sys.argv[1:])
