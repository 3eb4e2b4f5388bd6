"""MongoDB, over the wire: the contract, and what belongs to a database of its own."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from gceshim.stores.base import Store
from gceshim.stores.errors import Unavailable, WrongSchema
from gceshim.stores.mongodb import MongoStore
from tests.mongodb import free_port

from .contract import StoreContract, operation
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
    store = MongoStore(f"mongodb://me:geheim@127.0.0.1:{free_port()}/", timeout_seconds=0.3)
    with pytest.raises(Unavailable) as raised:
        await store.open()
    await store.close()
    assert "geheim" not in str(raised.value)


@in_loop
async def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    """An older release must not write into what it does not know."""
    store = MongoStore(uri(), database(tmp_path), timeout_seconds=5, standalone=True)
    await store.open()
    await store._meta.update_one({"_id": "schema"}, {"$set": {"version": 99}})
    with pytest.raises(WrongSchema, match="99"):
        await store.open()
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
