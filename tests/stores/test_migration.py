"""From the first schema to the present one: what is kept, who waits for whom, and what happens in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from gceshim.stores.base import Store
from gceshim.stores.errors import Unavailable, WrongSchema
from gceshim.stores.mongodb import MongoStore
from gceshim.stores.sqlite import SqliteStore

from . import version_1
from .running import in_loop
from .test_mongodb import database, uri


async def all_is_there(store: Store) -> None:
    """Each record as the present schema has it."""
    assert await store.operations.get("operation-1") == version_1.OPERATION
    assert await store.operations.find_request("o", "r") == version_1.OPERATION
    assert await store.credentials.get("s") == version_1.CREDENTIAL
    assert await store.tokens.get("d") == version_1.TOKEN
    assert await store.documents.get("o", "c", "n") == version_1.DOCUMENT


def version_of(path: Path) -> int:
    db = sqlite3.connect(path)
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    db.close()
    return version


@in_loop
async def test_a_file_of_schema_1_is_brought_up_to_date_when_it_is_opened(tmp_path: Path) -> None:
    """A new release on one machine just starts; looking at the version changes nothing."""
    path = tmp_path / "store.sqlite"
    version_1.make_file(path)
    store = SqliteStore(path)
    assert await store.upkeep.version() == version_of(path) == 1
    await store.open()
    assert await store.upkeep.version() == version_of(path) == store.upkeep.schema
    await all_is_there(store)
    await store.close()


@in_loop
async def test_servers_that_start_together_on_an_older_file_all_succeed(tmp_path: Path) -> None:
    """One of them migrates."""
    path = tmp_path / "store.sqlite"
    version_1.make_file(path)
    stores = [SqliteStore(path) for _ in range(6)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(all_is_there(store) for store in stores))
    await asyncio.gather(*(store.close() for store in stores))


@in_loop
async def test_a_server_of_the_release_before_goes_on_with_the_file(tmp_path: Path) -> None:
    """Until it is stopped, what it writes is read, and what it reads it understands."""
    path = tmp_path / "store.sqlite"
    version_1.make_file(path)
    before = sqlite3.connect(path)
    store = SqliteStore(path)
    await store.open()
    statement, values = version_1.NEW_TOKEN
    before.execute(statement, ("d2", *values))
    before.commit()
    columns = "digest, subject, kind, issued, expires, body"
    assert len(before.execute(f"SELECT {columns} FROM tokens").fetchall()) == 2
    before.close()
    assert await store.tokens.get("d2") is not None
    await store.close()


@in_loop
async def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """All of it or nothing, and the release before can go on."""
    path = tmp_path / "store.sqlite"
    version_1.make_file(path, token_body="{broken")
    store = SqliteStore(path)
    with pytest.raises(Unavailable, match="cannot open"):
        await store.open()
    await store.close()
    assert version_of(path) == 1
    db = sqlite3.connect(path)
    assert "family" not in [row[1] for row in db.execute("PRAGMA table_info(tokens)")]
    db.execute('UPDATE tokens SET body = \'{"jti":"j","kid":"k1"}\'')
    db.commit()
    db.close()
    await store.open()
    await all_is_there(store)
    await store.close()


@contextlib.asynccontextmanager
async def mongo(place: Path) -> AsyncIterator[MongoStore]:
    store = MongoStore(uri(), database(place), timeout_seconds=10, standalone=True)
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.usefixtures("mongodb_uri")
@in_loop
async def test_a_database_of_schema_1_waits_for_the_operator(tmp_path: Path) -> None:
    """Other servers work with it: a newer one says what to run, and touches nothing."""
    version_1.make_database(uri(), database(tmp_path))
    async with mongo(tmp_path) as store:
        with pytest.raises(WrongSchema, match=r"schema 1.*gceshim store migrate"):
            await store.open()
        assert await store.upkeep.version() == 1
        told: list[tuple[str, int, int]] = []
        await store.upkeep.migrate(lambda what, done, total: told.append((what, done, total)))
        assert ("tokens", 1, 1) in told
        await store.open()
        await all_is_there(store)
        assert (await store.upkeep.census(version_1.NOW)).outdated == 0


@pytest.mark.usefixtures("mongodb_uri")
@in_loop
async def test_what_a_server_of_the_release_before_writes_is_read_and_migrated_later(tmp_path: Path) -> None:
    """A rolling upgrade: the old servers go on until each is restarted; then the rest is brought up to date."""
    version_1.make_database(uri(), database(tmp_path))
    async with mongo(tmp_path) as store:
        await store.upkeep.migrate(lambda what, done, total: None)
        await store.open()
        with MongoClient[dict[str, Any]](uri()) as client:
            tokens = client[database(tmp_path)]["tokens"]
            tokens.insert_one(version_1.token_document("d2"))
            migrated = tokens.find_one({"digest": "d"}) or {}
            known = {"subject", "kind", "issued", "expires", "body"}
            assert {name: migrated.get(name) for name in known} == {
                name: version_1.token_document("d")[name] for name in known
            }
        late = await store.tokens.get("d2")
        assert late is not None
        assert (late.subject, late.key_id) == ("s", "")
        assert (await store.upkeep.census(version_1.NOW)).outdated == 1
        await store.upkeep.migrate(lambda what, done, total: None)
        assert (await store.upkeep.census(version_1.NOW)).outdated == 0
        late = await store.tokens.get("d2")
        assert late is not None
        assert late.key_id == "k1"


class BrokenOff(Exception):
    """Stands for whatever ends the process."""


@pytest.mark.usefixtures("mongodb_uri")
@in_loop
async def test_a_migration_that_is_broken_off_goes_on_from_there(tmp_path: Path) -> None:
    """Until it is through, the database counts as an old one."""
    version_1.make_database(uri(), database(tmp_path), tokens=1200)
    async with mongo(tmp_path) as store:

        def break_off(what: str, done: int, total: int) -> None:
            if (what, done) == ("tokens", 500):
                raise BrokenOff

        with pytest.raises(BrokenOff):
            await store.upkeep.migrate(break_off)
        assert await store.upkeep.version() == 1
        with pytest.raises(WrongSchema):
            await store.open()
        told: list[tuple[str, int, int]] = []
        await store.upkeep.migrate(lambda what, done, total: told.append((what, done, total)))
        assert [(done, total) for what, done, total in told if what == "tokens"] == [(0, 700), (500, 700), (700, 700)]
        await store.open()
        await all_is_there(store)


@pytest.mark.usefixtures("mongodb_uri")
@in_loop
async def test_a_newer_database_is_left_alone_by_a_migration_too(tmp_path: Path) -> None:
    """An older release must not write into what it does not know."""
    async with mongo(tmp_path) as store:
        await store.open()
        with MongoClient[dict[str, Any]](uri()) as client:
            client[database(tmp_path)]["meta"].update_one({"_id": "schema"}, {"$set": {"version": 99}})
        with pytest.raises(WrongSchema, match="99"):
            await store.upkeep.migrate(lambda what, done, total: None)
