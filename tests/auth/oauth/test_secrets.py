"""Codes, tokens, keys, passwords and assertions stay where they belong."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from gceshim.testing.world import World
from tests.auth.consent.visitor import BY_NAME, Visitor

from .program import GCLOUD, JWT_BEARER, LOOPBACK, PKCE, SCOPE, VERIFIER, Program, robot

PASSWORD = "a-password-that-is-wrong"
WRONG_SECRET = "a-secret-key-that-is-wrong"


@dataclass
class Seen:
    """What must not be found, and where it is looked for."""

    secrets: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)

    def add(self, *secrets: str) -> None:
        """A JWT counts as found by its signature alone, too."""
        for secret in secrets:
            self.secrets |= {secret, quote(secret, safe=""), secret.rsplit(".", 1)[-1]}

    @property
    def found(self) -> list[str]:
        return [text for text in self.texts if any(secret in text for secret in self.secrets)]


@pytest.fixture
def everything_logged() -> Iterator[list[logging.LogRecord]]:
    """Every record of every library, down to the last detail."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.NOTSET)
    handler.emit = records.append  # type: ignore[method-assign]
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.NOTSET)
    yield records
    root.removeHandler(handler)
    root.setLevel(level)


async def go_through_it_all(world: World, seen: Seen) -> None:
    """Every flow once, with its mistakes; errors' bodies are kept."""
    program = Program(world)
    api_key, secret_key = program.keys
    seen.add(secret_key, PASSWORD, WRONG_SECRET, VERIFIER)
    visitor = Visitor(program.url)
    page = await visitor.get()
    for typed in (BY_NAME | {"password": PASSWORD}, {"way": "keys", "api_key": api_key, "secret_key": WRONG_SECRET}):
        page = await visitor.send(page, **typed | {"decision": "allow"})
        assert page.status == 403
        seen.texts.append(page.text)
    own = {"client_id": api_key, "client_secret": secret_key}
    wrong = own | {"client_secret": WRONG_SECRET}
    for query, form in (({}, {}), (PKCE, {"code_verifier": VERIFIER}), ({"client_id": api_key}, own)):
        code = await program.code(**query)
        seen.add(code)
        for mistake in ({"redirect_uri": "http://localhost:1/"}, {"code_verifier": VERIFIER[::-1]}, wrong):
            seen.texts.append((await program.exchange(code, **form | mistake)).text)
        tokens = (await program.exchange(code, **form)).body
        seen.add(tokens["access_token"], tokens["refresh_token"], tokens["id_token"])
        client = own if form is own else {}
        seen.texts.append((await program.refresh(tokens["refresh_token"], **client, scope="more")).text)
        newer = (await program.refresh(tokens["refresh_token"], **client)).body
        seen.add(newer["access_token"])
        for token in (tokens["access_token"], newer["access_token"], code, tokens["refresh_token"]):
            await program.may_call(token)
            await program.get("/tokeninfo", access_token=token)
            seen.texts.append((await program.get("/v1/userinfo", id_token=token)).text)
        seen.texts.append((await program.exchange(code, **form)).text)
        seen.texts.append((await program.post("/revoke", token=tokens["access_token"])).text)
        seen.texts.append((await program.get("/revoke", token=tokens["refresh_token"])).text)
    machine = await robot(world)
    for assertion in (machine.assertion(), machine.assertion(aud="https://other.example"), machine.assertion() + "x"):
        seen.add(assertion)
        answer = await program.post("/token", grant_type=JWT_BEARER, assertion=assertion)
        if answer.status == 200:
            seen.add(answer.body["access_token"])
        else:
            seen.texts.append(answer.text)
        await program.may_call(assertion)
    for secret in (secret_key, WRONG_SECRET):
        header = "Basic " + base64.b64encode(f"{api_key}:{secret}".encode()).decode()
        seen.add(header)
        answer = await program.post("/token", {"Authorization": header}, grant_type="client_credentials")
        if answer.status == 200:
            seen.add(answer.body["access_token"])
        else:
            seen.texts.append(answer.text)
    asked = {"response_type": "token", "client_id": GCLOUD, "redirect_uri": LOOPBACK, "scope": SCOPE, "state": "s"}
    refused = await Visitor(program.url).get(urlencode(asked | {"client_secret": secret_key, "code": code}))
    seen.texts.append(str(dict(refused.headers)))


@pytest.mark.gen_test
async def test_no_secret_is_logged_or_told(world: World, everything_logged: list[logging.LogRecord]) -> None:
    """Not even at the most talkative level, by us or a library; nor in any error's body."""
    seen = Seen()
    await go_through_it_all(world, seen)
    assert any(record.name.startswith("oauthlib") for record in everything_logged)
    seen.add(Program(world).keys[0])  # which is no secret, but nothing for a log either
    seen.texts += [f"{record.getMessage()} {record.__dict__}" for record in everything_logged]
    assert seen.found == []


@pytest.mark.gen_test
async def test_a_stolen_store_gives_no_token(world: World, tmp_path: Path) -> None:
    """Digests alone are in it; and of a key client, not even its id."""
    seen = Seen()
    await go_through_it_all(world, seen)
    seen.add(Program(world).keys[0])
    seen.texts.append(store_of(tmp_path))
    assert seen.found == []


def store_of(folder: Path) -> str:
    """All that the embedded store has written."""
    stored = b"".join(path.read_bytes() for path in folder.glob("store.sqlite*"))
    assert b"refresh" in stored
    return stored.decode("latin-1")


@pytest.mark.gen_test
async def test_tokens_carry_no_secret(world: World) -> None:
    """They can be read by whoever sees them."""
    program = Program(world)
    own = {"client_id": program.keys[0], "client_secret": program.keys[1]}
    code = await program.code(client_id=program.keys[0])
    tokens = (await program.exchange(code, **own)).body
    for token in (code, tokens["access_token"], tokens["refresh_token"]):
        part = token.split(".")[1]
        claims = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
        assert json.loads(claims)
        assert not any(key in claims for key in program.keys)
