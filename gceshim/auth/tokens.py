"""
Bearer tokens: JWTs signed by this server, of which only a digest is stored.

A token is good while its signature, issuer, audience and times are, and its digest is in the store. So a stolen
store gives no token, a stolen signing key alone gives none either, and a token is revoked by removing its digest.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from jose import jwk, jwt
from jose.exceptions import JOSEError

from gceshim.auth.errors import InvalidToken, RevokedToken
from gceshim.auth.masterkey import MasterKey
from gceshim.stores.base import TokenRecord, TokenStore
from gceshim.stores.errors import Duplicate

ALGORITHM: Final = "HS256"
PURPOSE: Final = "gceshim bearer tokens, HS256, 1"
ACCESS: Final = "access"
USED: Final = "used"
SKEW_SECONDS: Final = 60
MAX_LENGTH: Final = 4096
SHAPE: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def utc_now() -> datetime:
    return datetime.now(UTC)


class Tokens:
    """
    Issues, checks and revokes bearer tokens.

    :param keys: master keys; the first signs, all may have signed.
    :param issuer: names this server in the tokens, and is the audience too.
    """

    def __init__(
        self, store: TokenStore, keys: Sequence[MasterKey], issuer: str, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._store = store
        self._issuer = issuer
        self._now = now
        self.issued: Counter[str] = Counter()
        """How many were issued since the start, by kind."""
        self.revocations = 0
        """How often something was revoked here. What was remembered of tokens before the last time may be wrong."""
        self.use_keys(keys)

    def use_keys(self, keys: Sequence[MasterKey]) -> None:
        """Go on with these keys instead."""
        self._signing_id = keys[0].id
        # Keys of one type for one algorithm: a token's header chooses among these and nothing else.
        self._keys = {key.id: jwk.construct(key.derive(PURPOSE), ALGORITHM) for key in keys}

    async def issue(
        self,
        subject: str,
        lifetime_seconds: float,
        *,
        kind: str = ACCESS,
        family: str = "",
        body: Mapping[str, Any] | None = None,
    ) -> str:
        """
        A new token for a subject.

        :param kind: what it is to be good for.
        :param family: the same for all tokens of one grant, which are revoked together; "" for none.
        :param body: what is to be stored with it.
        :raises gceshim.stores.errors.StoreError: its digest could not be stored.
        """
        issued = self._now().replace(microsecond=0)
        expires = issued + timedelta(seconds=int(lifetime_seconds))
        claims = {
            "iss": self._issuer,
            "aud": self._issuer,
            "sub": subject,
            "iat": int(issued.timestamp()),
            "exp": int(expires.timestamp()),
            "jti": secrets.token_hex(16),
            "use": kind,
        }
        if family:
            claims["fam"] = family
        headers = {"kid": self._signing_id}
        token: str = jwt.encode(claims, self._keys[self._signing_id], algorithm=ALGORITHM, headers=headers)
        stored = {**(body or {}), "jti": claims["jti"], "kid": self._signing_id}
        record = TokenRecord(digest(token), subject, kind, issued, expires, stored, family, self._signing_id)
        await self._store.insert(record)
        self.issued[kind] += 1
        return token

    async def check(self, token: str, *, kind: str = ACCESS) -> TokenRecord:
        """
        What is stored about a token that is good.

        :raises RevokedToken: it was issued here for this use, but has been used up or revoked.
        :raises InvalidToken: it is not good, with the reason.
        :raises gceshim.stores.errors.StoreError: not known.
        """
        claims = self._claims(token)
        now = self._now().timestamp()
        issued, expires = claims.get("iat"), claims.get("exp")
        if not isinstance(issued, int) or not isinstance(expires, int):
            raise InvalidToken("The token is malformed.")
        if now >= expires + SKEW_SECONDS:
            raise InvalidToken("The token has expired.")
        if now < issued - SKEW_SECONDS:
            raise InvalidToken("The token is not valid yet.")
        if claims.get("use") != kind:
            raise InvalidToken("The token is not for this use.")
        record = await self._store.get(digest(token))
        if record is None and now >= expires:  # the store may have dropped it, used or not
            raise InvalidToken("The token has expired.")
        if record is None:
            raise RevokedToken("The token has been revoked.", str(claims.get("fam", "")))
        if (record.subject, record.kind) != (claims.get("sub"), kind):
            raise InvalidToken("The token is not for this use.")
        return record

    async def spend(self, record: TokenRecord) -> bool:
        """Use up a token that can be used once; True for exactly one of several callers."""
        return await self._store.delete(record.digest)

    async def use_once(self, text: str, subject: str, lifetime_seconds: float) -> bool:
        """
        Note that a text which is not stored has been used; True for exactly one of several callers.

        :param lifetime_seconds: for how long the text would be good, and the note is kept.
        """
        used = self._now().replace(microsecond=0)
        expires = used + timedelta(seconds=int(lifetime_seconds) + SKEW_SECONDS)
        try:
            await self._store.insert(TokenRecord(digest(text), subject, USED, used, expires))
        except Duplicate:
            return False
        return True

    async def revoke_family(self, family: str) -> int:
        """Revoke all tokens of one grant; returns how many there were. "" is no grant's, and has none."""
        return self._counted(await self._store.delete_family(family)) if family else 0

    async def revoke(self, token: str) -> bool:
        """Make a token worthless at once; False if it was no good token before."""
        return bool(self._counted(await self._store.delete(digest(token))))

    async def revoke_all(self, subject: str) -> int:
        """Revoke all tokens of a subject; returns how many there were."""
        return self._counted(await self._store.delete_subject(subject))

    def _counted(self, revoked: int) -> int:
        self.revocations += bool(revoked)
        return revoked

    def _claims(self, token: str) -> Mapping[str, Any]:
        """The claims of a token whose signature, issuer and audience are right. :raises InvalidToken:"""
        if len(token) > MAX_LENGTH or not SHAPE.fullmatch(token):
            raise InvalidToken("The token is malformed.")
        # Times are checked by the caller, against this object's clock.
        options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
        options |= {f"require_{claim}": True for claim in ("iss", "aud", "sub", "jti")}
        try:
            key = self._keys.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise InvalidToken("The token was signed by another key.")
            claims: Mapping[str, Any] = jwt.decode(
                token, key, algorithms=[ALGORITHM], audience=self._issuer, issuer=self._issuer, options=options
            )
        except (JOSEError, ValueError, RecursionError):
            raise InvalidToken("The token is malformed or was not issued here.") from None  # the cause may show it
        return claims


def digest(token: str) -> str:
    """What is stored in a token's place. A token holds 128 random bits, so a plain hash cannot be turned back."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
