"""Real server processes over one store: started by the command line, killed without warning, started again."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from gceshim.commands.shims import access, load_driver
from gceshim.model import Credentials
from gceshim.resources.base import document
from gceshim.settings import Settings
from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.testing.gce import Gce
from tests.ports import kept_port, listens, port_of
from tests.stores.running import until

START_SECONDS = 30.0
TOKEN_SECONDS = 3600.0
SUBJECT = "demo"
#: What a log may not hold, whatever happens to the process.
MISTAKES = re.compile(r"Traceback|internal error|unexpected error|never retrieved|never awaited")


class Server:
    """One `gceshim serve` with its command line; the process behind it comes and goes."""

    def __init__(self, config: Path, folder: Path, number: int) -> None:
        self._kept = kept_port()
        self.port = port_of(self._kept)
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "gceshim", "serve", "--config", str(config), "--port", str(self.port)]
        self._folder = folder
        self._log = folder / f"server-{number}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.listens = False

    async def start(self) -> None:
        """Return once it listens. :raises AssertionError: it does not, or has ended."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self._folder), "XDG_RUNTIME_DIR": str(self._folder)}
        with self._log.open("ab") as log:
            self._process = await asyncio.to_thread(
                subprocess.Popen, self._command, env=env, stdout=log, stderr=log, cwd=Path.cwd()
            )
        await until(lambda: listens(self.port) or not self.alive, START_SECONDS)
        if not self.alive:
            raise AssertionError(f"the server did not start: {self.log()[-2000:]}")
        self.listens = True

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def kill(self) -> None:
        """Without a warning, at whatever it is doing."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """As an operator does."""
        await self._end(signal.SIGTERM)

    async def pause(self, seconds: float) -> None:
        """Have it stand still, as a machine does that is moved to another host."""
        self.listens = False
        self._signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._signal(signal.SIGCONT)
            self.listens = True

    def _signal(self, signum: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signum)

    async def _end(self, signum: signal.Signals) -> None:
        if self._process is not None:
            self.listens = False
            self._signal(signum)
            await asyncio.to_thread(self._process.wait, START_SECONDS)

    async def close(self) -> None:
        """Kill it, for good."""
        if self.alive:
            await self.kill()
        self._kept.close()

    def log(self) -> str:
        """All that its processes have said."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class Laboratory:
    """
    A simulated cloud in this loop, a store, and servers over both; for the time of an `async with`.

    :param settings: of the servers, by key. :param servers: how many run side by side.
    """

    def __init__(
        self,
        folder: Path,
        cloud: SimulatorSettings | None = None,
        settings: Mapping[str, Any] | None = None,
        *,
        servers: int = 1,
    ) -> None:
        self.cloudstack = Simulator(cloud)
        self.token = ""
        self.servers: list[Server] = []
        self.settings: Settings
        self._folder = folder
        self._values = dict(settings or {})
        self._count = servers
        self._clients: dict[str, Gce] = {}

    async def __aenter__(self) -> Laboratory:
        endpoint = await self.cloudstack.start()
        values = {
            "store.path": str(self._folder / "store.sqlite"),
            "auth.master_key_file": str(self._folder / "master.key"),
            "operations.lease_seconds": 2.0,
            "log.level": "info",
            "driver.cloudstack.url": endpoint,
            **self._values,
        }
        config = self._folder / "gceshim.toml"
        config.write_text(_toml(values))
        self.settings = Settings.load(config)
        await self._sign_in()
        self.servers = [Server(config, self._folder, number) for number in range(self._count)]
        try:
            await asyncio.gather(*(server.start() for server in self.servers))
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def gce(self, server: Server) -> Gce:
        """A client of one server."""
        if server.url not in self._clients:
            self._clients[server.url] = Gce(server.url, self.token, document())
        return self._clients[server.url]

    def mistakes(self) -> list[str]:
        """What went wrong in the servers and in the simulator themselves."""
        found = [f"the simulator: {bug}" for bug in self.cloudstack.bugs]
        for number, server in enumerate(self.servers):
            found += [f"server {number}: {line}" for line in server.log().splitlines() if MISTAKES.search(line)]
        return found

    async def _close(self) -> None:
        for client in self._clients.values():
            client.close()
        await asyncio.gather(*(server.close() for server in self.servers))
        await self.cloudstack.stop()

    async def _sign_in(self) -> None:
        credentials = Credentials(*self.cloudstack.keys("demo"))
        driver = load_driver(self.settings)
        try:
            known = await driver.identity.whoami(credentials)
        finally:
            await driver.close()
        async with access(self.settings) as here:
            await here.vault.add(SUBJECT, known, credentials, overwrite=True)
            self.token = await here.tokens.issue(SUBJECT, TOKEN_SECONDS)


def _toml(values: Mapping[str, Any]) -> str:
    tables: dict[str, list[str]] = {}
    for key, value in values.items():
        table, _, name = key.rpartition(".")
        tables.setdefault(table, []).append(f"{name} = {json.dumps(value)}")
    return "\n".join("\n".join([f"[{table}]", *lines]) for table, lines in tables.items()) + "\n"
