"""MongoDB, over the wire: the contract, and what belongs to a database of its own."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from gceshim.stores.base import CredentialRecord, DocumentRecord, Store, TokenRecord
from gceshim.stores.errors import Unavailable, Unsuitable, WrongSchema
from gceshim.stores.mongodb import MongoStore
from tests.ports import free_port

from .contract import NOW, StoreContract, operation
from .fake_mongodb import fake_mongodb, refusal
from .running import in_loop

pytestmark = pytest.mark.usefixtures("mongodb_uri")


def uri() -> str:
    return os.environ.get("GCESHIM_TEST_MONGODB_URI") or os.environ["GCESHIM_TEST_MONGODB_STARTED"]


def database(place: Path) -> str:
    return "test_" + hashlib.sha256(str(place).encode()).hexdigest()[:16]


class TestMongo(StoreContract):
    def make(self, place: Path) -> Store:
        return MongoStore(uri(), database(place), timeout_seconds=25, standalone=True)


@in_loop
async def test_a_server_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    """In bounded time, and without the password of the URI."""
    store = MongoStore(f"mongodb://me:geheim@127.0.0.1:{free_port()}/", timeout_seconds=1.5)
    with pytest.raises(Unavailable, match=r"cannot be reached; does it run.*refused") as raised:
        await store.open()
    await store.close()
    assert "geheim" not in str(raised.value)
    assert "geheim" not in store.upkeep.where


@pytest.mark.parametrize(
    ("login", "answers", "words"),
    [
        ("me:geheim@", {"saslStart": refusal(18, "AuthenticationFailed")}, "does not accept the user and password"),
        ("", {"find": refusal(13, "Unauthorized")}, "give it the role readWrite"),
        ("", {"find": refusal(26, "NamespaceNotFound")}, "NamespaceNotFound"),
    ],
)
@in_loop
async def test_a_server_that_refuses_is_told_from_one_that_is_not_there(
    login: str, answers: Mapping[str, Mapping[str, Any]], words: str
) -> None:
    """Each has another remedy, and the server's own text may hold what nobody is to see."""
    async with fake_mongodb(answers, {"setName": "rs0", "saslSupportedMechs": []}) as port:
        address = f"mongodb://{login}127.0.0.1:{port}/?directConnection=true&authMechanism=SCRAM-SHA-256"
        store = MongoStore(address if login else address.partition("&")[0], timeout_seconds=10)
        with pytest.raises(Unavailable, match=words) as raised:
            await store.open()
        await store.close()
    assert "geheim" not in str(raised.value)


@in_loop
async def test_a_single_server_has_to_be_asked_for(tmp_path: Path) -> None:
    """Its acknowledgement is worth less; the line says what to do."""
    async with fake_mongodb() as port:
        address = f"mongodb://127.0.0.1:{port}/?directConnection=true"
        store = MongoStore(address, timeout_seconds=3)
        with pytest.raises(Unsuitable, match=r"rs\.initiate.*store\.mongodb_standalone = true"):
            await store.open()
        with pytest.raises(Unsuitable):
            await store.upkeep.migrate(lambda what, done, total: None)
        await store.close()
        for hello, standalone in (({}, True), ({"setName": "rs0"}, False), ({"msg": "isdbgrid"}, False)):
            async with fake_mongodb({}, hello) as other:
                address = f"mongodb://127.0.0.1:{other}/?directConnection=true"
                store = MongoStore(address, timeout_seconds=3, standalone=standalone)
                await store.open()
                await store.close()


@pytest.mark.parametrize("collection", ["precious", "tokens"])
@in_loop
async def test_a_database_with_something_else_in_it_is_left_alone(tmp_path: Path, collection: str) -> None:
    """A name in the settings may be wrong, and another program may have collections of the same name."""
    with MongoClient[dict[str, Any]](uri()) as client:
        client[database(tmp_path)][collection].insert_one({"data": 1})
        store = MongoStore(uri(), database(tmp_path), timeout_seconds=5, standalone=True)
        for opening in (store.upkeep.check(), store.open(), store.upkeep.migrate(lambda what, done, total: None)):
            with pytest.raises(WrongSchema, match=rf"{collection}.*store\.mongodb_database"):
                await opening
        await store.close()
        assert client[database(tmp_path)].list_collection_names() == [collection]


@in_loop
async def test_every_document_tells_its_form(tmp_path: Path) -> None:
    """A later release knows what to change."""
    store = MongoStore(uri(), database(tmp_path), timeout_seconds=5, standalone=True)
    await store.open()
    await store.ping()
    await store.operations.insert(operation())
    await store.credentials.insert(CredentialRecord("s", NOW, "k", b"1"))
    await store.tokens.insert(TokenRecord("d", "s", "access", NOW, NOW))
    await store.documents.insert(DocumentRecord("o", "c", "n", NOW, {}))
    await store.close()
    with MongoClient[dict[str, Any]](uri()) as client:
        found = client[database(tmp_path)]
        forms = [document["schema"] for name in found.list_collection_names() for document in found[name].find()]
    assert forms == [store.upkeep.schema] * 6


@in_loop
async def test_servers_that_start_together_on_an_empty_database_all_succeed(tmp_path: Path) -> None:
    """Behind a balancer they do."""
    stores = [MongoStore(uri(), database(tmp_path), timeout_seconds=20, standalone=True) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    assert await stores[0].schema_version() == stores[0].upkeep.schema
    await asyncio.gather(*(store.close() for store in stores))


@in_loop
async def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    """An older release must not write into what it does not know."""
    store = MongoStore(uri(), database(tmp_path), timeout_seconds=5, standalone=True)
    await store.open()
    await store._meta.update_one({"_id": "schema"}, {"$set": {"version": 99}})
    for opening in (store.upkeep.check(), store.open()):
        with pytest.raises(WrongSchema, match=r"99.*newer release"):
            await opening
    await store.close()


@in_loop
async def test_indexes_are_there(tmp_path: Path) -> None:
    """Unique ones, and those by which MongoDB forgets what has expired."""
    store = MongoStore(uri(), database(tmp_path), timeout_seconds=5, standalone=True)
    await store.open()
    await store.operations.insert(operation())
    found = await store._meta.database["operations"].index_information()
    await store.close()

    assert [index.get("unique") for index in found.values() if index["key"] == [("number", 1)]] == [True]
    assert [index["expireAfterSeconds"] for index in found.values() if index["key"] == [("expires_at", 1)]] == [0]


@pytest.mark.parametrize("text", ["http://x", "mongodb://", "mongodb://u:geheim@h:99999999/"])
def test_an_uri_that_is_none_is_refused_without_its_password(text: str) -> None:
    """Settings errors are printed."""
    with pytest.raises(ValueError, match="not a MongoDB URI") as raised:
        MongoStore(text)
    assert "geheim" not in str(raised.value)
