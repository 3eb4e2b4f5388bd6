"""The server's one secret: 32 random bytes, from the settings or a file, that all other keys are derived from."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gceshim.auth.errors import BadKey

KEY_BYTES: Final = 32
READ_LIMIT_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class MasterKey:
    """`secret`: 32 bytes. `id` names the key without giving it away."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise BadKey(f"a master key is {KEY_BYTES} bytes")

    @property
    def id(self) -> str:
        return hashlib.sha256(b"gceshim key id\0" + self.secret).hexdigest()[:16]

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose, from which neither this key nor those for other purposes can be found."""
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(self.secret)


def parse(text: str, where: str) -> MasterKey:
    """
    The master key in base64 (either alphabet).

    :param where: for the error's text: the setting's or the file's name. :raises BadKey: it is something else.
    """
    try:
        secret = base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise BadKey(f"{where}: not base64") from None  # the cause would show the key
    if len(secret) != KEY_BYTES:
        raise BadKey(f"{where}: {len(secret)} bytes, where {KEY_BYTES} are needed")
    return MasterKey(secret)


def load(path: Path) -> MasterKey:
    """
    The master key in a file; a new one if there is no file, written whole or not at all.

    :raises BadKey: the file can be read by others, belongs to another user, holds something else, or cannot be made.
    """
    try:
        if not path.exists():
            _create(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise BadKey(f"{path}: {exc.strerror}") from exc
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_mode & 0o077:
            raise BadKey(f"{path}: other users can read it; run: chmod 600 {path}")
        if status.st_uid not in (os.geteuid(), 0):
            raise BadKey(f"{path}: it belongs to another user")
        content = file.read(READ_LIMIT_BYTES)
    return parse(content.decode("ascii", "replace"), str(path))


def _create(path: Path) -> None:
    """Write a new key beside the place and link it there: of several processes one wins, and none reads half."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
