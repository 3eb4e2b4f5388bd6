"""The provider in somebody else's application, behind a proxy, and with what it stands on gone."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import tornado.web
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from gceshim.app import Shim, handlers
from gceshim.protocol.call import Authenticator, Caller
from gceshim.settings import Settings
from gceshim.testing.world import World

from .program import GCLOUD, JWT_BEARER, PKCE, VERIFIER, Program, robot

pytestmark = pytest.mark.gen_test


class Own(tornado.web.RequestHandler):
    """A page of the host application, at a path that the provider has too."""

    def get(self, *args: str) -> None:
        self.write("the host's own")


class HostAuthenticator(Authenticator):
    async def authenticate(self, bearer: str | None, headers: Mapping[str, str]) -> Caller:
        return Caller("somebody", "somebody@example.org", None)


@contextlib.asynccontextmanager
async def shim(
    name: Path, world: World, authenticator: Authenticator | None = None, *, key_file: Path | None = None
) -> AsyncIterator[Shim]:
    """Another server in front of the same simulator, with a store and, unless told otherwise, a key of its own."""
    overrides = {
        "store.path": f"{name}.sqlite",
        "auth.master_key_file": str(key_file or f"{name}.key"),
        "driver.cloudstack.url": world.cloudstack.endpoint,
    }
    async with Shim(Settings.load(overrides=overrides), authenticator=authenticator) as made:
        yield made


@contextlib.asynccontextmanager
async def listening(rules: list[Any]) -> AsyncIterator[str]:
    """An application at a port of its own; its URL."""
    server = HTTPServer(tornado.web.Application(rules))
    socket, port = bind_unused_port()
    server.add_sockets([socket])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()
        await server.close_all_connections()


async def test_two_providers_in_one_application_do_not_meet(tmp_path: Path, world: World) -> None:
    """Each under its prefix, with tokens of its own; the host keeps the same paths elsewhere."""
    async with shim(tmp_path / "one", world) as first, shim(tmp_path / "two", world) as second:
        rules = [*handlers(first, "/one"), *handlers(second, "/two"), (r"/(token|oauth2/auth|o/.*)", Own)]
        async with listening(rules) as root:
            one, two = Program(world, f"{root}/one"), Program(world, f"{root}/two")
            code = await one.code(**PKCE)
            assert (await two.exchange(code, code_verifier=VERIFIER)).error == (400, "invalid_grant")
            tokens = (await one.exchange(code, code_verifier=VERIFIER)).body
            assert await one.may_call(tokens["access_token"])
            assert not await two.may_call(tokens["access_token"])
            assert (await two.refresh(tokens["refresh_token"])).error == (400, "invalid_grant")
            assert (await two.get("/tokeninfo", id_token=tokens["id_token"])).error == (400, "invalid_token")
            about = (await one.get("/.well-known/openid-configuration")).body
            assert (about["issuer"], about["token_endpoint"]) == (f"{root}/one", f"{root}/one/token")
            assert (await one.get("/tokeninfo", id_token=tokens["id_token"])).body["iss"] == f"{root}/one"
            for path in ("/token", "/oauth2/auth", "/o/oauth2/token"):
                assert (await AsyncHTTPClient().fetch(root + path)).body == b"the host's own"


async def test_a_host_with_logins_of_its_own_has_no_provider(tmp_path: Path, world: World) -> None:
    """Tokens would be good for nobody; the paths stay the host's."""
    made = shim(tmp_path / "own", world, HostAuthenticator())
    async with made as server, listening([*handlers(server), (r"/.*", Own)]) as root:
        for path in ("/token", "/oauth2/auth", "/tokeninfo", "/.well-known/openid-configuration", "/v1/userinfo"):
            assert (await AsyncHTTPClient().fetch(root + path)).body == b"the host's own"


async def test_two_servers_of_one_master_key_sign_alike(tmp_path: Path, world: World) -> None:
    """The keys follow from it, and are stored nowhere."""
    keys = await Program(world).get("/oauth2/v3/certs")
    another = shim(tmp_path / "another", world, key_file=tmp_path / "master.key")
    async with another as other, listening(handlers(other)) as root:
        assert (await Program(world, root).get("/oauth2/v3/certs")).body == keys.body


class TestBehindAProxy:
    """The server is known by another name than the one it sees."""

    @pytest.fixture
    def shim_settings(self) -> Mapping[str, Any]:
        return {"server.public_url": "https://gce.example.org/cloud"}

    async def test_urls_and_issuers_are_the_public_ones(self, world: World) -> None:
        """A program is told those, and an assertion may be for them."""
        program = Program(world)
        about = (await program.get("/.well-known/openid-configuration")).body
        assert about["issuer"] == "https://gce.example.org/cloud"
        assert about["jwks_uri"] == "https://gce.example.org/cloud/oauth2/v3/certs"
        tokens = await program.login()
        told = (await program.get("/tokeninfo", id_token=tokens["id_token"])).body
        assert told["iss"] == "https://gce.example.org/cloud"
        machine = await robot(world)
        for audience, status in (("https://gce.example.org/cloud/token", 200), (f"{world.url}/token", 400)):
            assertion = machine.assertion(aud=audience)
            assert (await program.post("/token", grant_type=JWT_BEARER, assertion=assertion)).status == status


async def test_a_store_that_is_gone_is_a_503_in_oauth2s_form(world: World) -> None:
    """It may come back; nothing is taken for wrong meanwhile."""
    program = Program(world)
    tokens = await program.login()
    code = await program.code()
    await world.shim.store.close()
    answers = [
        await program.exchange(code),
        await program.refresh(tokens["refresh_token"]),
        await program.get("/tokeninfo", access_token=tokens["access_token"]),
        await program.post("/revoke", token=tokens["refresh_token"]),
        await program.get("/v1/userinfo", access_token=tokens["access_token"]),
    ]
    for answer in answers:
        assert answer.error == (503, "temporarily_unavailable")
        assert answer.headers["Retry-After"]


async def test_a_cloud_that_is_gone_is_a_503_to_those_who_need_it(world: World) -> None:
    """Key clients; everybody else goes on."""
    program = Program(world)
    tokens = await program.login(pkce=True)
    own = {"client_id": program.keys[0], "client_secret": program.keys[1]}
    code = await program.code(client_id=program.keys[0])
    await world.cloudstack.stop()
    assert (await program.exchange(code, **own)).error == (503, "temporarily_unavailable")
    answer = await program.post("/token", grant_type="client_credentials", **own)
    assert answer.error == (503, "temporarily_unavailable")
    assert (await program.refresh(tokens["refresh_token"], client_id=GCLOUD)).status == 200
