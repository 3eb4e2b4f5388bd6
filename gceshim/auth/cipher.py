"""
What is sealed in the store: by AES-256-GCM, with a key derived from a master key, and bound to a name.

What was moved to another name, or changed by a bit, does not open. The id of the master key is stored beside it, so
that old keys can stay readable while new ones come into use.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gceshim.auth.errors import WrongKey
from gceshim.auth.masterkey import MasterKey

NONCE_BYTES: Final = 12


class Cipher:
    """
    Seals and opens for one purpose.

    :param keys: master keys; the first seals, all may have sealed.
    """

    def __init__(self, keys: Sequence[MasterKey], purpose: str) -> None:
        self._purpose = purpose
        self.use_keys(keys)

    def use_keys(self, keys: Sequence[MasterKey]) -> None:
        """Go on with these keys instead."""
        self.key_id = keys[0].id
        self._ciphers = {key.id: AESGCM(key.derive(self._purpose)) for key in keys}

    def seal(self, name: str, plain: bytes) -> bytes:
        """The text sealed under `key_id`, for this name."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._ciphers[self.key_id].encrypt(nonce, plain, name.encode())

    def unseal(self, name: str, key_id: str, sealed: bytes) -> bytes:
        """
        The text.

        :raises WrongKey: it was sealed under a key that is none of these, or for another name, or was changed.
        """
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise WrongKey(f"{name} was encrypted under another master key, {key_id}.")
        try:
            return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError):
            raise WrongKey(f"{name} has been tampered with.") from None
