"""The server's one secret: 32 random bytes that all other keys are derived from."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gceshim.auth.errors import BadKey

KEY_BYTES: Final = 32


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
