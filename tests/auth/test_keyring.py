"""The file of master keys: what it may hold, and how it is changed."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gceshim.auth.errors import BadKey
from gceshim.auth.keyring import KeyRing, load, locked, parse_ring, save
from gceshim.auth.masterkey import MasterKey

KEYS = [MasterKey(bytes([number]) * 32) for number in range(20)]
TEXTS = [base64.b64encode(key.secret).decode() for key in KEYS]


def test_a_key_goes_from_next_to_current_to_old_and_out() -> None:
    """At each step all that was accepted before is accepted still, but for the last."""
    first = KeyRing(KEYS[0])
    second = first.with_next()
    third = second.promoted()
    assert second.following is not None
    assert second.keys == (KEYS[0], second.following)
    assert second.with_next() is second
    assert third.keys == (second.following, KEYS[0])
    assert third.promoted() is third
    assert third.without_old().keys == (second.following,)


def test_a_ring_comes_back_from_its_file(tmp_path: Path) -> None:
    """With each key's part; readable by its owner alone, and nothing is left beside it."""
    path = tmp_path / "key"
    load(path)
    ring = KeyRing(KEYS[1], KEYS[2], (KEYS[3], KEYS[4]))
    with locked(path):
        save(path, ring)
    assert load(path) == ring
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize(
    "text",
    [
        f"{TEXTS[0]} old\n\n# made by hand\n{TEXTS[1]}\n",
        f"{TEXTS[1]}, {TEXTS[0]} old",
        f"  {TEXTS[0]}   old # the first\n{TEXTS[1]} current",
    ],
)
def test_keys_are_written_in_lines_or_with_commas(text: str) -> None:
    """A variable holds one line; order means nothing."""
    assert parse_ring(text, "x") == KeyRing(KEYS[1], None, (KEYS[0],))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        f"{TEXTS[0]} old",
        f"{TEXTS[0]}\n{TEXTS[1]}",
        f"{TEXTS[0]}\n{TEXTS[1]} next\n{TEXTS[2]} next",
        f"{TEXTS[0]}\n{TEXTS[0]} old",
        f"{TEXTS[0]} first",
        f"{TEXTS[0]} current now",
        f"{TEXTS[0]}\nshort old",
        f"{TEXTS[0]}, " + ", ".join(f"{text} old" for text in TEXTS[1:17]),
    ],
)
def test_a_ring_that_leaves_a_doubt_is_refused(text: str) -> None:
    """By a line that shows no key."""
    with pytest.raises(BadKey, match=r"^x: ") as caught:
        parse_ring(text, "x")
    assert not any(key in caught.value.message for key in TEXTS)
    assert caught.value.__cause__ is None


@given(st.text(max_size=200))
def test_any_text_is_a_ring_or_refused(text: str) -> None:
    """A mistyped setting is answered with one line."""
    try:
        assert parse_ring(text, "setting").keys
    except BadKey as exc:
        assert exc.message.startswith("setting: ")


def test_one_process_changes_the_file_at_a_time(tmp_path: Path) -> None:
    """Of two who both add a key one would be lost, with all that it sealed."""
    path = tmp_path / "key"
    ring = load(path)
    with locked(path):
        with pytest.raises(BadKey, match="another process"), locked(path):
            pass
        save(path, ring.with_next())
    with locked(path):
        assert load(path).following is not None


def test_a_folder_that_cannot_be_written_leaves_the_ring_as_it_was(tmp_path: Path) -> None:
    """A key that could not be written is not in use anywhere."""
    path = tmp_path / "key"
    ring = load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(BadKey, match="cannot be written"):
        save(path, ring.with_next())
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_a_link_to_the_file_stays_one(tmp_path: Path) -> None:
    """Else the others who use the file that it leads to would keep the old key, and the key be in two places."""
    there, link = tmp_path / "there" / "key", tmp_path / "key"
    there.parent.mkdir()
    ring = load(there)
    link.symlink_to(there)
    with locked(link):
        save(link, ring.with_next())
    assert link.is_symlink()
    assert load(there).following is not None
    assert [file.name for file in there.parent.iterdir()] == ["key"]
