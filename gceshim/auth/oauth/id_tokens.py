"""
OpenID Connect id_tokens: who somebody is, for their own program to read. They open nothing at this server.

The keys follow from the master keys, so that all servers of one master key sign alike and none is stored.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from jose import jwk, jwt
from jose.exceptions import JOSEError

from gceshim.auth.errors import InvalidToken
from gceshim.auth.masterkey import MasterKey
from gceshim.auth.oauth import scopes as scope_names
from gceshim.auth.tokens import MAX_LENGTH, SHAPE, SKEW_SECONDS, utc_now

ALGORITHM: Final = "ES256"
LIFETIME_SECONDS: Final = 3600
PURPOSE: Final = "gceshim id_tokens, ES256, 1"

# FIPS 186-5, A.3.1: 64 bits more than the order has, so that the remainder is as good as evenly spread.
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SUBJECT_DIGITS: Final = 21


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is. `subject`: what their tokens are stored under."""

    subject: str
    email: str

    @property
    def number(self) -> str:
        """The subject as clients see it: digits, always the same ones, from which no name can be read."""
        value = int.from_bytes(hashlib.sha256(self.subject.encode()).digest())
        return f"{value % 10**_SUBJECT_DIGITS:0{_SUBJECT_DIGITS}}"


class IdTokens:
    """
    Makes and checks id_tokens.

    :param keys: master keys; the first signs, all may have signed.
    """

    def __init__(self, keys: Sequence[MasterKey], *, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self.use_keys(keys)

    def use_keys(self, keys: Sequence[MasterKey]) -> None:
        """Go on with these keys instead."""
        pairs = [_pair(key) for key in keys]
        self._published = [_published(pair.public_key()) for pair in pairs]
        self._signing_id = self._published[0]["kid"]
        self._signing_key = jwk.construct(pairs[0], ALGORITHM)
        self._keys = {published["kid"]: jwk.construct(published, ALGORITHM) for published in self._published}

    def key_set(self) -> dict[str, Any]:
        """The public keys, as RFC 7517 has a set of them."""
        return {"keys": self._published}

    def issue(
        self,
        issuer: str,
        audience: str,
        identity: Identity,
        scopes: Sequence[str] = (scope_names.EMAIL,),
        *,
        nonce: str | None = None,
    ) -> str:
        """
        An id_token, good for an hour.

        :param issuer: URL of this server. :param audience: the client that is to read it.
        :param scopes: what was granted; whether the address is among it.
        """
        issued = int(self._now().timestamp())
        claims: dict[str, Any] = {
            "iss": issuer,
            "aud": audience,
            "azp": audience,
            "sub": identity.number,
            "iat": issued,
            "exp": issued + LIFETIME_SECONDS,
        }
        # gcloud names the account after the address, and asks for it
        if scope_names.EMAIL in scope_names.full(scopes):
            claims |= {"email": identity.email, "email_verified": True}
        if nonce is not None:
            claims["nonce"] = nonce
        headers = {"kid": self._signing_id}
        token: str = jwt.encode(claims, self._signing_key, algorithm=ALGORITHM, headers=headers)
        return token

    def check(self, token: str, issuer: str) -> Mapping[str, Any]:
        """The claims of a good id_token, whoever is to read it. :raises InvalidToken: it is no good one."""
        if len(token) > MAX_LENGTH or not SHAPE.fullmatch(token):
            raise InvalidToken("The token is malformed.")
        # The times are checked below, against this object's clock.
        options = {"verify_aud": False, "verify_exp": False, "verify_iat": False, "verify_nbf": False}
        try:
            key = self._keys.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise InvalidToken("The token was signed by another key.")
            claims: Mapping[str, Any] = jwt.decode(token, key, algorithms=[ALGORITHM], issuer=issuer, options=options)
        except (JOSEError, ValueError, RecursionError):
            raise InvalidToken("The token is malformed or was not issued here.") from None  # the cause may show it
        if self._now().timestamp() >= claims["exp"] + SKEW_SECONDS:
            raise InvalidToken("The token has expired.")
        return claims


def _pair(key: MasterKey) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(key.derive(f"{PURPOSE}, first half") + key.derive(f"{PURPOSE}, second half"))
    return ec.derive_private_key(number % (_ORDER - 1) + 1, ec.SECP256R1())


def _published(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    x, y = (base64.urlsafe_b64encode(part.to_bytes(32)).rstrip(b"=").decode() for part in (numbers.x, numbers.y))
    kid = hashlib.sha256(f"{x}.{y}".encode()).hexdigest()[:16]
    return {"kty": "EC", "crv": "P-256", "alg": ALGORITHM, "use": "sig", "kid": kid, "x": x, "y": y}
