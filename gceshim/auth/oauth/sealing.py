"""Notes to ourselves that travel through a browser: signed, short-lived, and not stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from jose import jwk, jwt
from jose.exceptions import JOSEError

from gceshim.auth.errors import InvalidToken
from gceshim.auth.masterkey import MasterKey
from gceshim.auth.tokens import SHAPE, utc_now

ALGORITHM: Final = "HS256"
PURPOSE: Final = "gceshim notes that travel through a browser, HS256, 1"
_MAX_LENGTH: Final = 60_000


class Sealer:
    """
    Signs and reads notes. They can be read by whoever holds them, and changed by nobody.

    :param keys: master keys; the first signs, all may have signed.
    """

    def __init__(self, keys: Sequence[MasterKey], *, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self.use_keys(keys)

    def use_keys(self, keys: Sequence[MasterKey]) -> None:
        """Go on with these keys instead."""
        self._signing_id = keys[0].id
        self._keys = {key.id: jwk.construct(key.derive(PURPOSE), ALGORITHM) for key in keys}

    def seal(self, purpose: str, note: Mapping[str, Any], lifetime_seconds: int) -> str:
        """The note as text of the characters that a URL can hold."""
        claims = {"use": purpose, "exp": int(self._now().timestamp()) + lifetime_seconds, "note": note}
        key = self._keys[self._signing_id]
        sealed: str = jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": self._signing_id})
        return sealed

    def unseal(self, purpose: str, sealed: str) -> Mapping[str, Any]:
        """The note. :raises InvalidToken: it was not sealed here for this purpose, or its time is over."""
        if len(sealed) > _MAX_LENGTH or not SHAPE.fullmatch(sealed):
            raise InvalidToken("This was not sealed here.")
        try:
            key = self._keys.get(str(jwt.get_unverified_header(sealed).get("kid")))
            if key is None:
                raise InvalidToken("This was sealed under another key.")
            claims = jwt.decode(sealed, key, algorithms=[ALGORITHM], options={"verify_exp": False})
        except (JOSEError, ValueError, RecursionError):
            raise InvalidToken("This was not sealed here.") from None  # the cause may show it
        if claims.get("use") != purpose:
            raise InvalidToken("This was sealed for another purpose.")
        if self._now().timestamp() >= claims["exp"]:
            raise InvalidToken("The time for this is over.")
        note: Mapping[str, Any] = claims["note"]
        return note
