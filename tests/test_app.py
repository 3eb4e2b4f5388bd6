"""The composition: embedding, several servers in one process, other drivers, stores that fail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tornado.web
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from gceshim.app import Shim
from gceshim.drivers.cloudstack.driver import CloudStackDriver
from gceshim.drivers.loader import DriverLoadError
from gceshim.model import Credentials
from gceshim.protocol.call import Authenticator, Caller
from gceshim.protocol.discovery import Document
from gceshim.resources.table import COLLECTIONS
from gceshim.settings import Settings, SettingsError
from gceshim.simulator import Simulator
from gceshim.testing.gce import Gce
from gceshim.testing.world import World

pytestmark = pytest.mark.gen_test


async def test_served_discovery_holds_what_is_implemented_and_no_more(world: World) -> None:
    """Clients that build themselves from it must find each method, and only what works."""
    reply = await AsyncHTTPClient().fetch(f"{world.url}/discovery/v1/apis/compute/v1/rest")
    served = json.loads(reply.body)
    methods = {method["id"] for item in served["resources"].values() for method in item["methods"].values()}

    assert methods == {method_id for collection in COLLECTIONS for method_id in collection.methods}
    assert served["rootUrl"] == f"{world.url}/"
    assert (await AsyncHTTPClient().fetch(f"{world.url}/$discovery/rest?version=v1")).body == reply.body


class WithoutImages(CloudStackDriver):
    """A driver that cannot tell of images."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        del self.images


async def test_a_driver_that_lacks_a_capability_loses_just_its_methods(tmp_path: Path, discovery: Document) -> None:
    """501 with the method's name, and gone from the served document; all else works."""
    simulator = Simulator()
    driver = WithoutImages.create({"url": await simulator.start()})
    async with World(tmp_path, discovery, driver=driver) as world:
        gce = await world.gce()
        error = await gce.error("compute.images.list", project="debian-cloud")
        served = json.loads((await AsyncHTTPClient().fetch(f"{world.url}/$discovery/rest?version=v1")).body)

        assert (error["code"], error["errors"][0]["reason"]) == (501, "notImplemented")
        assert "compute.images.list" in error["message"]
        assert "images" not in served["resources"]
        assert "instances" in served["resources"]
        assert (await gce.call("compute.zones.list", project="demo"))["items"]
    await simulator.stop()


async def test_an_unknown_driver_is_answered_with_those_there_are(tmp_path: Path) -> None:
    """The way out stands in the error."""
    overrides = {
        "driver.name": "nosuch",
        "store.path": str(tmp_path / "s"),
        "auth.master_key_file": str(tmp_path / "k"),
    }
    with pytest.raises(DriverLoadError, match=r"driver\.name: no driver 'nosuch'; installed: .*cloudstack"):
        Shim(Settings.load(overrides=overrides))


async def test_a_setting_of_the_driver_that_is_wrong_is_named(tmp_path: Path) -> None:
    """Before a port is bound."""
    overrides = {"driver.cloudstack.nosuch": 1, "store.path": str(tmp_path / "s")}
    overrides |= {"driver.cloudstack.url": "http://127.0.0.1:1/client/api", "auth.master_key_file": str(tmp_path / "k")}
    with pytest.raises(SettingsError, match=r"driver\.cloudstack\.nosuch"):
        Shim(Settings.load(overrides=overrides))


class HostAuthenticator(Authenticator):
    """A host application that knows its users by a header."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def authenticate(self, bearer: str | None, headers: Mapping[str, str]) -> Caller:
        return Caller(headers["x-host-user"], "user@example.org", self._credentials)


class Hello(tornado.web.RequestHandler):
    def get(self) -> None:
        self.write("hello")


async def test_two_servers_in_one_application_with_the_hosts_own_logins(
    tmp_path: Path, world: World, discovery: Document
) -> None:
    """No global state: two prefixes, two stores, the host's pages beside them, links that hold the prefix."""
    shims = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        overrides = {"store.path": str(folder / "store"), "auth.master_key_file": str(folder / "key")}
        overrides |= {"driver.cloudstack.url": world.cloudstack.endpoint}
        keys = Credentials(*world.cloudstack.keys("demo"))
        shim = Shim(Settings.load(overrides=overrides), authenticator=HostAuthenticator(keys))
        await shim.open()
        shims.append(shim)
    rules: list[Any] = [*shims[0].handlers("/one"), *shims[1].handlers("/two"), (r"/hello", Hello)]
    server = HTTPServer(tornado.web.Application(rules))
    socket, port = bind_unused_port()
    server.add_sockets([socket])
    root = f"http://127.0.0.1:{port}"

    assert (await AsyncHTTPClient().fetch(f"{root}/hello")).body == b"hello"
    host = {"X-Host-User": "somebody"}
    for number, shim in enumerate(shims):
        gce = Gce(f"{root}/{('one', 'two')[number]}", "", discovery)
        zones = await gce.call("compute.zones.list", project="demo", headers=host)
        assert zones["selfLink"] == f"{gce.url}/compute/v1/projects/demo/zones"
        await gce.call(
            "compute.projects.setCommonInstanceMetadata",
            project="demo",
            body={"items": [{"key": "server", "value": str(number)}]},
            headers={**host, "Prefer": "wait=10"},
        )
        shown = await gce.call("compute.projects.get", project="demo", headers=host)
        assert shown["commonInstanceMetadata"]["items"] == [{"key": "server", "value": str(number)}]
        gce.close()
        await shim.close()
    server.stop()
    await server.close_all_connections()


async def test_a_store_that_is_gone_is_a_503(gce: Gce, world: World) -> None:
    """Not a 500, neither when the token is looked up nor later: it may come back, and clients try again."""
    unseen = world.anonymous(await world.token("demo"))
    await gce.call("compute.zones.list", project="demo")
    await world.shim.store.close()
    for client in (gce, unseen):
        error = await client.error("compute.projects.get", project="demo")
        assert (error["code"], error["errors"][0]["reason"]) == (503, "backendError")
