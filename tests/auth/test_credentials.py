"""Key pairs at rest and the master key."""

from __future__ import annotations

import base64
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gceshim.auth.errors import BadKey, CredentialsExist, CredentialsNotFound, InvalidToken, WrongKey
from gceshim.auth.keyring import KeyRing, load
from gceshim.auth.masterkey import MasterKey, parse
from gceshim.model import Credentials
from tests.stores.running import in_loop

from .world import ACCOUNT, KEY, OTHER_KEY, PAIR, world


@in_loop
async def test_a_pair_comes_back_as_it_was_stored() -> None:
    """With whose it is."""
    async with world() as there:
        stored = await there.vault().add("ops", ACCOUNT, PAIR)
        assert await there.vault().get("ops") == PAIR
        assert await there.vault().lookup("ops") == (stored, PAIR)
        assert (stored.subject, stored.account, stored.created) == ("ops", ACCOUNT, there.now())


@in_loop
async def test_the_store_holds_no_secret_in_clear(tmp_path: Path) -> None:
    """Neither of the two keys, in any form that one would recognise."""
    async with world() as there:
        await there.vault().add("ops", ACCOUNT, PAIR)
        record = await there.store.credentials.get("ops")
        assert record is not None
        assert b"IN-CLEAR" not in record.sealed
        assert "IN-CLEAR" not in f"{record.body}"
        assert repr(record.sealed) not in repr(record)
        other = await there.vault().add("ops2", ACCOUNT, PAIR)
        second = await there.store.credentials.get(other.subject)
        assert second is not None
        assert second.sealed != record.sealed


@in_loop
async def test_a_record_under_another_subject_does_not_decrypt() -> None:
    """Whoever can write to the store cannot give one subject another's keys."""
    async with world() as there:
        await there.vault().add("rich", ACCOUNT, PAIR)
        record = await there.store.credentials.get("rich")
        assert record is not None
        await there.store.credentials.insert(replace(record, subject="poor"))
        with pytest.raises(WrongKey):
            await there.vault().get("poor")


@pytest.mark.parametrize("place", [0, 11, 12, 30, -1])
@in_loop
async def test_a_changed_bit_is_noticed(place: int) -> None:
    """In nonce, text or tag."""
    async with world() as there:
        await there.vault().add("ops", ACCOUNT, PAIR)
        record = await there.store.credentials.get("ops")
        assert record is not None
        sealed = bytearray(record.sealed)
        sealed[place] ^= 1
        await there.store.credentials.update(replace(record, sealed=bytes(sealed)))
        with pytest.raises(WrongKey) as caught:
            await there.vault().get("ops")
        assert "IN-CLEAR" not in str(caught.value)


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(12), bytes(20)])
@in_loop
async def test_a_cut_off_record_is_noticed(sealed: bytes) -> None:
    """As the same kind of error."""
    async with world() as there:
        await there.vault().add("ops", ACCOUNT, PAIR)
        record = await there.store.credentials.get("ops")
        assert record is not None
        await there.store.credentials.update(replace(record, sealed=sealed))
        with pytest.raises(WrongKey):
            await there.vault().get("ops")


@in_loop
async def test_another_master_key_is_told_from_tampering_and_old_ones_stay_readable() -> None:
    """Keys can be rotated; a lost one is named for what it is."""
    async with world() as there:
        await there.vault(OTHER_KEY).add("ops", ACCOUNT, PAIR)
        assert await there.vault(KEY, OTHER_KEY).get("ops") == PAIR
        with pytest.raises(WrongKey, match="another master key"):
            await there.vault(KEY).get("ops")
        await there.vault(KEY, OTHER_KEY).add("ops", ACCOUNT, PAIR, overwrite=True)
        assert await there.vault(KEY).get("ops") == PAIR


@in_loop
async def test_a_name_is_taken_once_unless_overwritten() -> None:
    """A second account must not replace the first by accident."""
    async with world() as there:
        first = await there.vault().add("ops", ACCOUNT, PAIR)
        there.advance(5)
        with pytest.raises(CredentialsExist, match="ops"):
            await there.vault().add("ops", ACCOUNT, Credentials("a", "b"))
        assert await there.vault().get("ops") == PAIR
        replaced = await there.vault().add("ops", ACCOUNT, Credentials("a", "b"), overwrite=True)
        assert await there.vault().get("ops") == Credentials("a", "b")
        assert replaced.created == first.created


@pytest.mark.parametrize("subject", ["", "a" * 201, "a\nb", "\x00"])
@in_loop
async def test_names_that_would_spoil_a_listing_are_refused(subject: str) -> None:
    """They are printed, logged and sent."""
    async with world() as there:
        with pytest.raises(ValueError, match="subject"):
            await there.vault().add(subject, ACCOUNT, PAIR)


@in_loop
async def test_listing_shows_no_secret() -> None:
    """In pages, by name."""
    async with world() as there:
        for subject in ("b", "a", "c"):
            await there.vault().add(subject, ACCOUNT, PAIR)
        page = await there.vault().list(limit=2)
        assert [stored.subject for stored in page] == ["a", "b"]
        assert [stored.subject for stored in await there.vault().list(after="b")] == ["c"]
        assert "IN-CLEAR" not in repr(page)


@in_loop
async def test_removal_takes_the_tokens_with_it() -> None:
    """And no other subject's."""
    async with world() as there:
        for subject in ("a", "b"):
            await there.vault().add(subject, ACCOUNT, PAIR)
        tokens = {subject: await there.tokens().issue(subject, 3600) for subject in ("a", "b")}
        assert await there.vault().remove("a") == 1
        with pytest.raises(InvalidToken):
            await there.tokens().check(tokens["a"])
        assert (await there.tokens().check(tokens["b"])).subject == "b"
        with pytest.raises(CredentialsNotFound):
            await there.vault().get("a")
        with pytest.raises(CredentialsNotFound):
            await there.vault().remove("a")


def test_a_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """The next start finds the same key."""
    path = tmp_path / "key"
    key = load(path)
    assert load(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key == KeyRing(parse(path.read_text(), "file"))
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_processes_that_start_together_get_one_key(tmp_path: Path) -> None:
    """Otherwise half of them could not read what the others encrypted."""
    keys: list[MasterKey] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        keys.append(load(tmp_path / "key").current)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key.secret for key in keys}) == 1
    assert len(keys) == 8


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_file_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    """The message says what to type."""
    path = tmp_path / "key"
    load(path)
    path.chmod(mode)
    with pytest.raises(BadKey, match="chmod 600"):
        load(path)


@pytest.mark.parametrize("content", ["", "short", "!" * 44, base64.b64encode(bytes(31)).decode(), "A" * 5000])
def test_a_key_file_with_something_else_in_it_is_named(tmp_path: Path, content: str) -> None:
    """Without showing what is in it."""
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(content)
    with pytest.raises(BadKey, match="key") as caught:
        load(path)
    assert not content or content not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The operator has to see what to mend."""
    with pytest.raises(BadKey, match="nowhere"):
        load(tmp_path / "nowhere" / "key")


def test_both_base64_alphabets_are_read() -> None:
    """People make keys with different tools."""
    secret = bytes([0xFB, 0xFF] * 16)
    assert parse(base64.b64encode(secret).decode() + "\n", "setting").secret == secret
    assert parse(base64.urlsafe_b64encode(secret).decode(), "setting").secret == secret


@given(st.text(max_size=100))
def test_any_text_is_a_key_or_refused(text: str) -> None:
    """A mistyped setting is answered with one line."""
    try:
        assert len(parse(text, "setting").secret) == 32
    except BadKey as exc:
        assert exc.message.startswith("setting: ")


def test_keys_for_different_purposes_differ_and_show_nothing() -> None:
    """One leaked derived key must not open the rest."""
    key = MasterKey(os.urandom(32))
    derived = {key.derive("a"), key.derive("b"), key.secret}
    assert len(derived) == 3
    for secret in derived:
        assert repr(secret) not in repr(key)
        assert secret.hex() not in key.id
    with pytest.raises(BadKey):
        MasterKey(b"short")


@in_loop
async def test_pairs_are_encrypted_anew_under_the_current_key() -> None:
    """All of them, in pages; those that are so already stay untouched, those that do not decrypt are named."""
    async with world() as there:
        for number in range(205):
            await there.vault(OTHER_KEY).add(f"old-{number:03}", ACCOUNT, PAIR)
        await there.vault(KEY).add("new", ACCOUNT, PAIR)
        await there.vault(MasterKey(b"x" * 32)).add("lost", ACCOUNT, PAIR)
        told: list[int] = []
        assert await there.vault(KEY, OTHER_KEY).reseal(told.append) == ["lost"]
        assert told == [100, 200, 207]
        assert await there.vault(KEY).get("old-204") == PAIR
        untouched = await there.store.credentials.get("new")
        assert untouched is not None
        assert untouched.version == 1
        with pytest.raises(WrongKey):
            await there.vault(OTHER_KEY).get("old-000")
        assert await there.vault(KEY, OTHER_KEY).reseal(told.append) == ["lost"]


class BrokenOff(Exception):
    """Stands for whatever ends the process."""


@in_loop
async def test_encrypting_anew_can_be_broken_off_and_called_again() -> None:
    """In between each pair opens with one key or the other."""
    async with world() as there:
        for number in range(150):
            await there.vault(OTHER_KEY).add(f"{number:03}", ACCOUNT, PAIR)

        def break_off(done: int) -> None:
            raise BrokenOff

        vault = there.vault(KEY, OTHER_KEY)
        with pytest.raises(BrokenOff):
            await vault.reseal(break_off)
        keys = [record.key_id for record in await there.store.credentials.list()]
        assert keys == [KEY.id] * 100 + [OTHER_KEY.id] * 50
        assert await vault.get("149") == await vault.get("000") == PAIR
        assert await vault.reseal(lambda done: None) == []
        assert {record.key_id for record in await there.store.credentials.list()} == {KEY.id}


@in_loop
async def test_a_pair_that_is_replaced_meanwhile_is_not_put_back() -> None:
    """Encrypting anew must not undo what a person does at the same moment."""
    async with world() as there:
        newer = Credentials("newer", "pair")
        await there.vault(OTHER_KEY).add("a", ACCOUNT, PAIR)
        vault = there.vault(KEY, OTHER_KEY)
        old = await there.store.credentials.get("a")
        assert old is not None
        await there.vault(OTHER_KEY).add("a", ACCOUNT, newer, overwrite=True)
        assert await vault._resealed(old)
        assert await there.vault(KEY).get("a") == newer


@in_loop
async def test_a_removal_that_was_cut_short_is_finished_by_the_next() -> None:
    """Tokens must not outlive their pair, to be good again for whoever gets the name."""
    async with world() as there:
        await there.vault().add("a", ACCOUNT, PAIR)
        token = await there.tokens().issue("a", 3600)
        await there.store.credentials.delete("a")  # and then the end
        with pytest.raises(CredentialsNotFound):
            await there.vault().remove("a")
        await there.vault().add("a", ACCOUNT, Credentials("b", "c"))
        with pytest.raises(InvalidToken):
            await there.tokens().check(token)
