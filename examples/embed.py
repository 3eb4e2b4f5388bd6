"""
Somebody's Tornado application with Compute Engine in it, once for each of their CloudStack clouds.

    python examples/embed.py portal.toml --folder /var/lib/portal --port 8888

The portal has pages of its own, and users of its own whom it knows by the tokens in its settings. Under `/north`,
`/south` or whatever its clouds are called, those users find the API of that cloud, each with their own keys:

    [clouds.north]
    url = "https://north.example.org/client/api"
    linger_seconds = 2.0
    machine_types = { e2-medium = "Medium Instance" }

    [users.alice]
    token = "a-long-secret"
    email = "alice@example.org"
    keys.north = ["her API key", "her secret key"]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hmac
import signal
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tornado.httpserver
import tornado.netutil
import tornado.web

import gceshim


class FrontPage(tornado.web.RequestHandler):
    """A page of the portal's."""

    def initialize(self, clouds: list[str]) -> None:
        self._clouds = clouds

    def get(self) -> None:
        self.write({"clouds": self._clouds})


class PortalUsers(gceshim.Authenticator):
    """Who calls, as the portal knows it; with which keys, depends on the cloud."""

    def __init__(self, users: Mapping[str, Any], cloud: str) -> None:
        self._users = users
        self._cloud = cloud

    async def authenticate(self, bearer: str | None, headers: Mapping[str, str]) -> gceshim.Caller:
        if bearer is None:
            raise gceshim.LoginRequired
        for name, user in self._users.items():
            if hmac.compare_digest(user["token"].encode(), bearer.encode()):
                credentials = await self.credentials(name)
                if credentials is None:
                    raise gceshim.InvalidCredentials(f"{name} has no account in the cloud {self._cloud}.")
                return gceshim.Caller(subject=name, email=user["email"], credentials=credentials)
        raise gceshim.InvalidCredentials

    async def credentials(self, subject: str) -> gceshim.Credentials | None:
        keys = self._users.get(subject, {}).get("keys", {}).get(self._cloud)
        return gceshim.Credentials(*keys) if keys else None


def shim_for(name: str, cloud: Mapping[str, Any], users: Mapping[str, Any], folder: Path) -> gceshim.Shim:
    """A cloud's shim: settings, store and key are its own."""
    here = folder / name
    here.mkdir(parents=True, exist_ok=True)
    overrides = {
        "store.path": str(here / "gceshim.sqlite"),
        "auth.master_key_file": str(here / "master.key"),
        "driver.cloudstack.url": cloud["url"],
        "driver.cloudstack.machine_types": cloud.get("machine_types", {}),
        "operations.linger_seconds": cloud.get("linger_seconds", 0.0),
    }
    return gceshim.Shim(gceshim.Settings.load(overrides=overrides), authenticator=PortalUsers(users, name))


async def serve(portal: Mapping[str, Any], folder: Path, port: int) -> None:
    """Until SIGINT or SIGTERM. A port of 0 takes a free one; it is printed."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with contextlib.AsyncExitStack() as shims:
        rules: list[Any] = [(r"/", FrontPage, {"clouds": list(portal["clouds"])})]
        for name, cloud in portal["clouds"].items():
            shim = await shims.enter_async_context(shim_for(name, cloud, portal["users"], folder))
            rules += gceshim.handlers(shim, f"/{name}")
        server = tornado.httpserver.HTTPServer(tornado.web.Application(rules))
        sockets = tornado.netutil.bind_sockets(port, "127.0.0.1")
        server.add_sockets(sockets)
        print(f"serving on http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
        await stopped.wait()
        server.stop()
        await server.close_all_connections()


def main() -> None:
    """Read the portal's settings and serve."""
    parser = argparse.ArgumentParser(description="A portal with Compute Engine in it.")
    parser.add_argument("settings", type=Path)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--port", type=int, default=8888)
    args = parser.parse_args()
    asyncio.run(serve(tomllib.loads(args.settings.read_text()), args.folder, args.port))


if __name__ == "__main__":
    main()
