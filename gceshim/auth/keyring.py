"""
The master keys in use, in one file, so that a key can be replaced while servers run.

    <key in base64> current      makes all that is new; a key alone is the current one
    <key in base64> next         is accepted already; servers that have read it are ready for the change
    <key in base64> old          still opens what it made

A server reads the file at its start, and when it is told to. `gceshim store rotate-key` writes it, always whole or not
at all.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gceshim.auth.errors import BadKey
from gceshim.auth.masterkey import KEY_BYTES, MasterKey, parse

READ_LIMIT_BYTES: Final = 4096
MAX_KEYS: Final = 16
CURRENT: Final = "current"
NEXT: Final = "next"
OLD: Final = "old"


@dataclass(frozen=True, slots=True)
class KeyRing:
    """
    `current` seals and signs. `following` is to be the current one soon, `old` ones have been; all are accepted.

    :raises BadKey: one key is there twice, or there are more than 16.
    """

    current: MasterKey
    following: MasterKey | None = None
    old: tuple[MasterKey, ...] = ()

    def __post_init__(self) -> None:
        if len({key.id for key in self.keys}) < len(self.keys):
            raise BadKey("one master key is there twice")
        if len(self.keys) > MAX_KEYS:
            raise BadKey(f"more than {MAX_KEYS} master keys")

    @property
    def keys(self) -> tuple[MasterKey, ...]:
        """All that are accepted, the current one first."""
        return (self.current, *(() if self.following is None else (self.following,)), *self.old)

    def with_next(self) -> KeyRing:
        """With a new key to be the current one soon; the same if there is one."""
        return self if self.following else KeyRing(self.current, MasterKey(secrets.token_bytes(KEY_BYTES)), self.old)

    def promoted(self) -> KeyRing:
        """With the next key as the current one, and the one before among the old; the same if there is none."""
        return KeyRing(self.following, None, (self.current, *self.old)) if self.following else self

    def without_old(self) -> KeyRing:
        """Without the old keys."""
        return KeyRing(self.current, self.following)


def parse_ring(text: str, where: str) -> KeyRing:
    """
    The keys in a file or setting, one a line or with commas between them; after `#` a line may say anything.

    :param where: for the error's text: the setting's or the file's name. :raises BadKey: it is something else.
    """
    lines = [line.partition("#")[0] for line in text.splitlines()]
    entries = [entry.split() for line in lines for entry in line.split(",") if entry.strip()]
    found: dict[str, list[MasterKey]] = {CURRENT: [], NEXT: [], OLD: []}
    for words in entries or [[""]]:
        role = words[1] if len(words) > 1 else CURRENT
        if role not in found or len(words) > 2:
            raise BadKey(f"{where}: after a key stands current, next, old or nothing")
        found[role].append(parse(words[0], where))
    if len(found[CURRENT]) != 1 or len(found[NEXT]) > 1:
        raise BadKey(f"{where}: one key must be current, and at most one next")
    try:
        return KeyRing(found[CURRENT][0], next(iter(found[NEXT]), None), tuple(found[OLD]))
    except BadKey as exc:
        raise BadKey(f"{where}: {exc.message}") from None


def load(path: Path) -> KeyRing:
    """
    The keys in a file; one new key if there is no file, written whole or not at all.

    :raises BadKey: the file can be read by others, belongs to another user, holds something else, or cannot be made.
    """
    try:
        if not path.exists():
            _create(path)
    except OSError as exc:
        raise BadKey(f"{path}: {exc.strerror}") from exc
    return read(path)


def read(path: Path) -> KeyRing:
    """
    The keys in a file that is there.

    :raises BadKey: there is none, or as `load`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise BadKey(f"{path}: {exc.strerror}") from exc
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_mode & 0o077:
            raise BadKey(f"{path}: other users can read it; run: chmod 600 {path}")
        if status.st_uid not in (os.geteuid(), 0):
            raise BadKey(f"{path}: it belongs to another user; run this as that user")
        content = file.read(READ_LIMIT_BYTES)
    return parse_ring(content.decode("ascii", "replace"), str(path))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """
    Keep others from changing the file for the block.

    :raises BadKey: another process is changing it, or it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise BadKey(f"{path}: {exc.strerror}") from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            replaced = path.stat().st_ino != os.fstat(descriptor).st_ino
        except OSError:
            replaced = True
        if replaced:
            raise BadKey(f"{path}: another process is changing it just now")
        yield
    finally:
        os.close(descriptor)


def save(path: Path, ring: KeyRing) -> None:
    """
    Put the keys in the place of those in the file, at one stroke; to be done under `locked`. A link stays one.

    :raises BadKey: the file, or one beside it, cannot be written.
    """
    lines = [(ring.current, CURRENT), *([(ring.following, NEXT)] if ring.following else [])]
    lines += [(key, OLD) for key in ring.old]
    try:
        place = path.resolve()
        draft = _draft(place, "".join(f"{_text(key)} {role}  # {key.id}\n" for key, role in lines))
        try:
            draft.replace(place)
        except OSError:
            draft.unlink()
            raise
        _flush_folder(place.parent)
    except OSError as exc:
        raise BadKey(f"{path}: cannot be written: {exc.strerror}") from exc


def _create(path: Path) -> None:
    """Write a new key beside the place and link it there: of several processes one wins, and none reads half."""
    draft = _draft(path, _text(MasterKey(secrets.token_bytes(KEY_BYTES))) + "\n")
    try:
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()


def _draft(path: Path, content: str) -> Path:
    """A new file beside the place, on disk, for its owner alone."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode())
        file.flush()
        os.fsync(descriptor)
    return draft


def _flush_folder(folder: Path) -> None:
    """What a rename has done is on disk once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _text(key: MasterKey) -> str:
    return base64.b64encode(key.secret).decode()
