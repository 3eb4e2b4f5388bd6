"""A whole small world in one event loop: a simulated CloudStack, a server in front of it, and who may use it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from gceshim.app import Shim
from gceshim.drivers.base import Driver
from gceshim.model import Credentials
from gceshim.protocol.discovery import RESOURCE_MANAGER, Document
from gceshim.resources.base import document
from gceshim.settings import Settings
from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.testing.gce import Gce

TOKEN_SECONDS = 3600.0


class World:
    """
    Started by `async with`; everything is on ports of its own, and nothing is left behind.

    :param folder: for the store and the master key.
    :param overrides: settings of the server, by key.
    :param driver: instead of the default driver.
    """

    def __init__(
        self,
        folder: Path,
        document: Document,
        simulator: SimulatorSettings | None = None,
        overrides: Mapping[str, Any] | None = None,
        driver: Driver | None = None,
    ) -> None:
        self.cloudstack = Simulator(simulator)
        self.shim: Shim
        self.url = ""
        self._folder = folder
        self._document = document
        self._overrides = dict(overrides or {})
        self._driver = driver
        self._clients: list[Gce] = []
        self._server: HTTPServer | None = None

    async def __aenter__(self) -> World:
        endpoint = await self.cloudstack.start()
        overrides = {
            "store.path": str(self._folder / "store.sqlite"),
            "auth.master_key_file": str(self._folder / "master.key"),
            "operations.poll_min_seconds": 0.01,
            "driver.cloudstack.url": endpoint,
            **self._overrides,
        }
        self.shim = Shim(Settings.load(overrides=overrides), driver=self._driver)
        await self.shim.open()
        socket, port = bind_unused_port()
        self._server = HTTPServer(self.shim.application())
        self._server.add_sockets([socket])
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.close()
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
        await self.shim.close()
        await self.cloudstack.stop()

    async def token(self, account: str) -> str:
        """A bearer token for an account of the simulator, whose key pair is stored on first use."""
        credentials = Credentials(*self.cloudstack.keys(account))
        known = await self.shim.driver.identity.whoami(credentials)
        await self.shim.vault.add(account, known, credentials, overwrite=True)
        return await self.shim.tokens.issue(account, TOKEN_SECONDS)

    async def gce(self, account: str = "demo") -> Gce:
        """A client with a token of that account."""
        return self.anonymous(await self.token(account))

    def anonymous(self, token: str = "") -> Gce:
        """A client with any token, or none."""
        client = Gce(self.url, token, self._document, document(RESOURCE_MANAGER))
        self._clients.append(client)
        return client
