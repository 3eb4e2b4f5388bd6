"""
Page tokens: where an answer ended, as a text that only this endpoint can read or make.

Encrypted, so that nobody builds on what is in them, and bound to the method, the parameters and the caller, so that one
reads no other list. Source: `pageToken` of every list method: opaque, and good for the same query.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gceshim.protocol.errors import InvalidParameter, invalid_value

if TYPE_CHECKING:
    from gceshim.protocol.call import Call

State = list[Any]

_LONGEST: Final = 8_192
_NONCE_BYTES: Final = 12
_NOT_BOUND: Final = frozenset({"pageToken", "maxResults", "pageSize"})


class PageTokens:
    """
    Makes and reads page tokens.

    :param keys: the same for all processes that serve one endpoint; the first makes tokens, all may have. Random when
        left out, so that tokens then end with the process.
    """

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self.use_keys(keys or [secrets.token_bytes(32)])

    def use_keys(self, keys: Sequence[bytes]) -> None:
        """Go on with these keys instead."""
        derived = [hashlib.sha256(b"page tokens" + key).digest() for key in keys]
        self._key = derived[0]
        self._ciphers = [AESGCM(key) for key in derived]

    def make(self, call: "Call", state: State) -> str:
        """The token for `state`, any JSON; the same state of the same query has the same token."""
        plain, bound = json.dumps(state, separators=(",", ":")).encode(), _bound(call)
        # Made from what is encrypted: as good as random, and an answer that has not changed keeps its ETag.
        nonce = hmac.new(self._key, bound + b"\0" + plain, hashlib.sha256).digest()[:_NONCE_BYTES]
        return base64.urlsafe_b64encode(nonce + self._ciphers[0].encrypt(nonce, plain, bound)).decode().rstrip("=")

    def read(self, call: "Call") -> State | None:
        """
        The state in the caller's `pageToken`; None when there is none.

        :raises InvalidParameter: not a token of ours, or of another query.
        """
        token = call.params.get("pageToken")
        if not token:
            return None
        try:
            if len(token) > _LONGEST:
                raise ValueError("too long")
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as exc:
            raise bad_token(call) from exc
        plain = self._opened(call, raw)
        if plain is None:
            raise bad_token(call)
        state: State = json.loads(plain)
        return state

    def _opened(self, call: "Call", raw: bytes) -> bytes | None:
        for cipher in self._ciphers:
            with contextlib.suppress(InvalidTag, ValueError):
                return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _bound(call))
        return None


def bad_token(call: "Call") -> InvalidParameter:
    """The error for a token that cannot be gone on with."""
    why = "The token is malformed or belongs to another list."
    return InvalidParameter(invalid_value("pageToken", call.params.get("pageToken"), why), location="pageToken")


def _bound(call: "Call") -> bytes:
    query = {name: value for name, value in call.params.items() if name not in _NOT_BOUND}
    return json.dumps([call.method.id, call.caller.subject, query], sort_keys=True, default=str).encode()
