"""Somebody has copied the whole store, and not the master key: there is no key pair and no token in it, in any form."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo import MongoClient

from gceshim.auth.keyring import load
from gceshim.model import Credentials
from gceshim.protocol.discovery import Document
from gceshim.simulator import SimulatorSettings
from gceshim.testing.world import World
from tests.auth.oauth.program import JWT_BEARER, PKCE, Program, robot
from tests.resources.requests import HERE, insert_body

pytestmark = pytest.mark.gen_test

USER_DATA = "#cloud-config\npassword: root-password-in-user-data\n"
SLOW = SimulatorSettings(job_seconds_by_command={"deployVirtualMachine": 600.0})


def forms(secret: bytes) -> Iterator[bytes]:
    """A secret as it may stand in a store: plain, in hexadecimal, or in base64, at any place of a longer text."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for before in range(3):
        whole = base64.b64encode(bytes(before) + secret)
        inner = whole[4 * (before > 0) : len(whole) // 4 * 4 - 4]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


def found(secrets: dict[str, str | bytes], dump: bytes) -> list[str]:
    """The names of the secrets that the dump holds in some form."""
    plain = {name: secret if isinstance(secret, bytes) else secret.encode() for name, secret in secrets.items()}
    return [name for name, secret in plain.items() if any(form in dump for form in forms(secret))]


def test_a_secret_is_found_in_whatever_form_it_stands() -> None:
    """Else the tests below would show nothing."""
    secret = b"a-secret-\xff\xfe-of-some-length"
    for text in (
        secret,
        base64.b64encode(b"ab" + secret),
        base64.urlsafe_b64encode(b"x" + secret + b"yz"),
        secret.hex(),
    ):
        dump = b"before" + (text.encode() if isinstance(text, str) else text) + b"after"
        assert found({"it": secret, "other": b"something else"}, dump) == ["it"]


async def use(world: World) -> dict[str, str | bytes]:
    """Log in in every way, have an operation under way, and give all that must not be found."""
    program = Program(world)
    secrets: dict[str, str | bytes] = {"API key": program.keys[0], "secret key": program.keys[1]}
    secrets["user data"] = USER_DATA.strip().rpartition(" ")[2]
    secrets["issued token"] = token = await world.token("demo")
    login = await program.login(pkce=True)
    refreshed = await program.refresh(login["refresh_token"])
    gcutil = await program.login()
    again = await program.refresh(gcutil["refresh_token"])
    for kind in ("access_token", "refresh_token"):
        secrets |= {f"gcloud's {kind}": login[kind], f"gcutil's {kind}": gcutil[kind]}
        secrets |= {
            f"newer {kind} {n}": body[kind] for n, body in enumerate((refreshed.body, again.body)) if kind in body
        }
    secrets["code"] = await program.code(**PKCE)
    service_account = await robot(world)
    assertion = service_account.assertion()
    exchanged = await program.post("/token", grant_type=JWT_BEARER, assertion=assertion)
    secrets |= {"assertion": assertion, "service account's token": exchanged.body["access_token"]}
    secrets["private key"] = base64.b64decode("".join(service_account._key.pem.splitlines()[1:-1]))[40:200]
    credentials = Credentials(program.keys[0], program.keys[1])
    await world.shim.vault.add("kept", await world.shim.driver.identity.whoami(credentials), credentials)
    metadata = {"items": [{"key": "user-data", "value": USER_DATA}]}
    gce = world.anonymous(token)
    begun = await gce.call("compute.instances.insert", **HERE, body=insert_body("vm-1", metadata=metadata))
    ended = await gce.done(await gce.call("compute.disks.insert", **HERE, body={"name": "d", "sizeGb": "1"}))
    assert "error" not in ended
    assert (await gce.call("compute.zoneOperations.get", **HERE, operation=begun["name"]))["status"] != "DONE"
    return secrets


def keys_of(file: Path) -> dict[str, str | bytes]:
    """The master key, and what it is written as."""
    return {"master key": load(file).current.secret}


def content(folder: Path) -> bytes:
    """The embedded store's file and those beside it."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("store.sqlite*")))


async def test_a_stolen_file_gives_no_key_pair_and_no_token(tmp_path: Path, discovery: Document) -> None:
    """The file, the log beside it, and all pages in them that are free."""
    quick = {"server.shutdown_seconds": 0.0}
    async with World(tmp_path, discovery, SLOW, overrides=quick) as world:
        secrets = await use(world) | keys_of(tmp_path / "master.key")
        dump = content(tmp_path)
        token = await world.shim.tokens.check(str(secrets["issued token"]))
    assert token.digest.encode() in dump
    assert b"kept" in dump
    assert found(secrets, dump) == []
    assert found(secrets, content(tmp_path)) == []


async def test_a_stolen_database_gives_no_key_pair_and_no_token(
    tmp_path: Path, discovery: Document, mongodb_uri: str
) -> None:
    """Every document of every collection."""
    name = f"stolen_{uuid.uuid4().hex[:12]}"
    shared = {"store.mongodb_uri": mongodb_uri, "store.mongodb_database": name, "store.mongodb_standalone": True}
    async with World(tmp_path, discovery, SLOW, overrides=shared | {"server.shutdown_seconds": 0.0}) as world:
        secrets = await use(world) | keys_of(tmp_path / "master.key")
        with MongoClient[dict[str, Any]](mongodb_uri) as client:
            sorts = {sort: list(client[name][sort].find()) for sort in client[name].list_collection_names()}
    filled = {sort for sort, documents in sorts.items() if documents}
    assert filled == {"operations", "credentials", "tokens", "documents", "meta"}
    dump = b"".join(bson.encode(document) for documents in sorts.values() for document in documents)
    assert b"kept" in dump
    assert found(secrets, dump) == []
