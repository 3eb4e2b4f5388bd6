"""The composition: embedding, several servers in one process, other drivers, stores that fail."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
import tornado.web
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

import gceshim
from gceshim.app import Shim, handlers
from gceshim.drivers.cloudstack.driver import CloudStackDriver
from gceshim.drivers.loader import DriverLoadError
from gceshim.model import Credentials
from gceshim.protocol.call import Authenticator, Caller
from gceshim.protocol.discovery import Document
from gceshim.resources.table import COLLECTIONS
from gceshim.settings import Settings, SettingsError
from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.testing.gce import Gce
from gceshim.testing.world import World
from tests.resources.requests import insert_body

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
    """A host application that knows its users by a header; `known` may go on with what they began."""

    def __init__(self, credentials: Credentials, known: Collection[str] = ()) -> None:
        self._credentials = credentials
        self._known = known

    async def authenticate(self, bearer: str | None, headers: Mapping[str, str]) -> Caller:
        return Caller(headers["x-host-user"], "user@example.org", self._credentials)

    async def credentials(self, subject: str) -> Credentials | None:
        return self._credentials if subject in self._known else None


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
    rules: list[Any] = [*handlers(shims[0], "/one"), *handlers(shims[1], "/two"), (r"/hello", Hello)]
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


@pytest.mark.parametrize(("known", "ends_well"), [(["alice"], True), (["bob"], False)])
async def test_operations_of_the_hosts_users_survive_a_restart(
    tmp_path: Path, discovery: Document, known: list[str], ends_well: bool
) -> None:
    """They go on with the credentials that the host has for whoever began them, or end with an error."""
    simulator = Simulator(SimulatorSettings(job_seconds_by_command={"rebootVirtualMachine": 1.0}))
    overrides = {
        "store.path": str(tmp_path / "store"),
        "auth.master_key_file": str(tmp_path / "key"),
        "server.shutdown_seconds": 0,
        "operations.poll_min_seconds": 0.01,
        "driver.cloudstack.url": await simulator.start(),
    }
    users = HostAuthenticator(Credentials(*simulator.keys("demo")), known)
    alice = {"X-Host-User": "alice"}
    socket, port = bind_unused_port()
    gce = Gce(f"http://127.0.0.1:{port}", "", discovery)

    async with gceshim.Shim(Settings.load(overrides=overrides), authenticator=users) as shim:
        server = HTTPServer(gceshim.make_app(shim))
        server.add_sockets([socket])
        insert = {"project": "demo", "zone": "sandbox-1-a", "body": insert_body("vm-1")}
        made = await gce.call("compute.instances.insert", **insert, headers={**alice, "Prefer": "wait=30"})
        assert made["status"] == "DONE"
        where = {"project": "demo", "zone": "sandbox-1-a", "instance": "vm-1"}
        reset = await gce.call("compute.instances.reset", **where, headers=alice)
        server.stop()
        await server.close_all_connections()
    assert reset["status"] != "DONE"

    socket, port = bind_unused_port()
    again = Gce(f"http://127.0.0.1:{port}/gce", "", discovery)
    async with gceshim.Shim(Settings.load(overrides=overrides), authenticator=users) as shim:
        server = HTTPServer(gceshim.make_app(shim, "/gce"))
        server.add_sockets([socket])
        here = {"project": "demo", "zone": "sandbox-1-a", "operation": reset["name"]}
        ended = await again.call("compute.zoneOperations.wait", **here, headers=alice)
        assert (ended["status"], "error" not in ended) == ("DONE", ends_well)
        server.stop()
        await server.close_all_connections()
    gce.close()
    again.close()
    await simulator.stop()


async def test_a_store_that_is_gone_is_a_503(gce: Gce, world: World) -> None:
    """Not a 500, neither when the token is looked up nor later: it may come back, and clients try again."""
    unseen = world.anonymous(await world.token("demo"))
    await gce.call("compute.zones.list", project="demo")
    await world.shim.store.close()
    for client in (gce, unseen):
        error = await client.error("compute.projects.get", project="demo")
        assert (error["code"], error["errors"][0]["reason"]) == (503, "backendError")
