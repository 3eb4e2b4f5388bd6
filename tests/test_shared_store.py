"""Several servers that share one MongoDB and one master key."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from gceshim.protocol.discovery import Document
from gceshim.testing.gce import Gce
from gceshim.testing.world import World
from tests.auth.consent.visitor import DEMO, Visitor, query
from tests.auth.oauth.program import Program
from tests.command_line import running, settings_file
from tests.resources.requests import HERE, insert_body

pytestmark = pytest.mark.gen_test


async def test_tokens_and_operations_are_shared(tmp_path: Path, discovery: Document, mongodb_uri: str) -> None:
    """What one server has begun or revoked, the other knows within a second."""
    shared = {
        "store.mongodb_uri": mongodb_uri,
        "store.mongodb_standalone": True,
        "store.mongodb_database": f"world_{uuid.uuid4().hex[:12]}",
        "auth.master_key_file": str(tmp_path / "shared.key"),
    }
    async with World(tmp_path, discovery, overrides=shared) as one:
        own = {**shared, "driver.cloudstack.url": one.cloudstack.endpoint}
        async with World(tmp_path, discovery, overrides=own) as two:
            token = await one.token("demo")
            here, there = one.anonymous(token), two.anonymous(token)
            operation = await here.call("compute.instances.insert", **HERE, body=insert_body("vm-1"))
            ended = await there.done(operation)
            assert (ended["status"], ended.get("error")) == ("DONE", None)
            assert (await there.call("compute.instances.get", **HERE, instance="vm-1"))["status"] == "RUNNING"

            await two.shim.tokens.revoke(token)
            await asyncio.gather(refused_within(1.0, here), refused_within(1.0, there))


async def refused_within(seconds: float, client: Gce) -> None:
    """Ask until the answer is a 401. :raises TimeoutError: it is not, in that time."""
    async with asyncio.timeout(seconds):
        while (await client.answer("compute.zones.list", project="demo")).status != 401:
            pass


# Two processes, as behind a balancer


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory, cloud: Mapping[str, str], mongodb_uri: str
) -> Iterator[tuple[str, str]]:
    """Where two server processes are, which share a MongoDB and a copy of the master key."""
    shared = f'[store]\nmongodb_uri = "{mongodb_uri}"\nmongodb_database = "two_{uuid.uuid4().hex[:12]}"\n'
    shared += "mongodb_standalone = true"
    urls: list[str] = []
    with contextlib.ExitStack() as stack:
        key = b""
        for name in ("one", "two"):
            home = tmp_path_factory.mktemp(name)
            file = home / "state" / "gceshim" / "master.key"
            if key:
                file.parent.mkdir(parents=True)
                file.touch(0o600)
                file.write_bytes(key)
            words = ("serve", "--config", str(settings_file(home, cloud, shared)), "--port", "0")
            server = stack.enter_context(running(home, *words))
            urls.append(server.wait_for(r"(http://127\.0\.0\.1:\d+), driver")[1])
            key = file.read_bytes()
        yield urls[0], urls[1]


@pytest.fixture
def programs(servers: tuple[str, str], cloud: Mapping[str, str]) -> tuple[Program, Program]:
    """A program at each of the two."""
    keys = (cloud["api_key"], cloud["secret_key"])
    one, two = (Program(None, url, keys) for url in servers)  # type: ignore[arg-type]
    return one, two


async def test_a_login_begun_at_one_process_is_finished_at_another(programs: tuple[Program, Program]) -> None:
    """A balancer sends each request where it likes: the page, the form, the code, each refresh, the call."""
    one, two = programs
    visitor = Visitor(one.url)
    page = await visitor.get(query())
    page.action = page.action.replace(one.url, two.url)
    page.url = page.url.replace(one.url, two.url)
    page = await visitor.send(page, **DEMO | {"api_key": one.keys[0], "secret_key": one.keys[1]})
    assert page.status == 303, page.text
    code = parse_qs(urlsplit(page.headers["Location"]).query)["code"][0]
    tokens = (await one.exchange(code)).body
    assert await two.may_call(tokens["access_token"])
    refreshed = await two.refresh(tokens["refresh_token"])
    assert await one.may_call(refreshed.body["access_token"])
    assert (await one.get("/oauth2/v3/certs")).body == (await two.get("/oauth2/v3/certs")).body


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_a_login_revoked_at_one_process_is_refused_at_another(
    programs: tuple[Program, Program], kind: str
) -> None:
    """Within a second, all tokens of the login: also those that the other process knew a moment ago."""
    one, two = programs
    tokens = await one.login(pkce=True)
    assert await two.may_call(tokens["access_token"])
    assert (await one.post("/oauth2/revoke", token=tokens[kind])).status == 200
    assert not await two.may_call_soon(tokens["access_token"])
    if kind == "refresh_token":
        assert (await two.refresh(tokens["refresh_token"])).error == (400, "invalid_grant")


async def test_a_code_is_good_once_at_all_processes_together(programs: tuple[Program, Program]) -> None:
    """Of two that are asked at the same moment one gives tokens, and its tokens die with the second try."""
    one, two = programs
    code = await one.code()
    answers = await asyncio.gather(one.exchange(code), two.exchange(code))
    assert sorted(answer.status for answer in answers) == [200, 400]
    [won] = [answer.body for answer in answers if answer.status == 200]
    assert not await one.may_call_soon(won["access_token"])
    assert not await two.may_call_soon(won["access_token"])


async def test_a_refresh_token_used_again_at_another_process_ends_the_login(programs: tuple[Program, Program]) -> None:
    """One who has copied it cannot go on beside its owner by choosing another server."""
    one, two = programs
    first = await one.login()
    second = (await one.refresh(first["refresh_token"])).body
    assert second["refresh_token"] != first["refresh_token"]
    third = (await two.refresh(second["refresh_token"])).body
    assert (await two.refresh(first["refresh_token"])).error == (400, "invalid_grant")
    for program in programs:
        assert not await program.may_call_soon(third["access_token"])
        assert (await program.refresh(third["refresh_token"])).error == (400, "invalid_grant")
