"""
JWTs that a service account signs with its own key: RFC 7523 assertions, and self-signed bearer tokens.

The algorithm is RS256 and nothing else; a key is looked for among those of the account that the JWT says it is from,
and nothing in the header can bring another key in.

Source: RFC 7523 section 3; google-auth `service_account.Credentials` and `jwt.Credentials`; libcloud
`GoogleServiceAcctAuthConnection`, which leaves out `kid` and keeps the padding of base64.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from jose import jwk, jwt
from jose.exceptions import JOSEError

from gceshim.auth.errors import InvalidToken
from gceshim.auth.service_accounts.accounts import ServiceAccounts, utc_now
from gceshim.auth.service_accounts.errors import NoSuchServiceAccount
from gceshim.auth.tokens import MAX_LENGTH, SKEW_SECONDS

ALGORITHM: Final = "RS256"
MOST_SECONDS: Final = 3600
MAX_EMAIL_LENGTH: Final = 200
CACHE_SIZE: Final = 1000
SHAPE: Final = re.compile(r"(?:[A-Za-z0-9_-]+={0,2}\.){2}[A-Za-z0-9_-]+={0,2}")

TOKEN_AUDIENCES: Final = frozenset(
    {
        "https://oauth2.googleapis.com/token",
        "https://accounts.google.com/o/oauth2/token",
        "https://www.googleapis.com/oauth2/v4/token",
    }
)
"""What Google's libraries, and libcloud, call the token endpoint, whatever the key file says."""

API_AUDIENCES: Final = frozenset({"https://compute.googleapis.com/", "https://www.googleapis.com/"})
"""What Google's libraries call this API, whatever its endpoint."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """
    What a service account has signed.

    :param scopes: what the `scope` claim lists; None without that claim.
    :param target_audience: who an id_token is wanted for; None: an access token is wanted.
    """

    email: str
    scopes: frozenset[str] | None
    target_audience: str | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """The keys of one account, as they were just now. `until` is a time of the event loop."""

    until: float
    keys: Mapping[str, Any]


class Assertions:
    """
    Checks JWTs against the public keys of service accounts.

    :param cache_seconds: how long the keys of an account are remembered: a deleted key may be taken for this much
        longer.
    """

    def __init__(
        self, accounts: ServiceAccounts, *, cache_seconds: float = 0.3, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._accounts = accounts
        self._cache_seconds = cache_seconds
        self._now = now
        self._cache: OrderedDict[str, _Known] = OrderedDict()

    async def verify(self, text: str, audiences: Collection[str]) -> Assertion:
        """
        An assertion that is brought to the token endpoint.

        :param audiences: the URLs of that endpoint, as `aud` may name it; a slash at the end makes no difference.
        :raises InvalidToken: it is no good, with a reason that may be shown. :raises StoreError: it cannot be told.
        """
        email, claims = await self._signed(text)
        if claims.get("sub", email) != email:
            raise InvalidToken("A service account cannot act for another user here: `sub` must be `iss`.")
        if not _is_for(claims.get("aud"), audiences):
            raise InvalidToken("The assertion is for another audience.")
        target = claims.get("target_audience")
        if target is not None and not isinstance(target, str):
            raise InvalidToken("The assertion is malformed: `target_audience` is no text.")
        return Assertion(email, _scopes(claims), target or None)

    async def verify_bearer(self, text: str, audiences: Collection[str]) -> Assertion:
        """
        A self-signed JWT that is brought in the place of an access token: for an audience, or with scopes.

        :param audiences: the URLs of this API, as `aud` may name it. :raises: as `verify`.
        """
        email, claims = await self._signed(text)
        # What is signed for the token endpoint has no `sub`, and must be worth nothing here.
        if claims.get("sub") != email:
            raise InvalidToken("The token is no self-signed JWT: `sub` must be `iss`.")
        if "target_audience" in claims:
            raise InvalidToken("The token is not for this use.")
        if ("aud" in claims or "scope" not in claims) and not _is_for(claims.get("aud"), audiences):
            raise InvalidToken("The token is for another audience.")
        return Assertion(email, _scopes(claims))

    async def _signed(self, text: str) -> tuple[str, Mapping[str, Any]]:
        """The issuer and the claims of a JWT whose signature and times are right. :raises InvalidToken:"""
        if len(text) > MAX_LENGTH or not SHAPE.fullmatch(text):
            raise InvalidToken("The token is malformed.")
        try:
            header, unchecked = jwt.get_unverified_header(text), jwt.get_unverified_claims(text)
        except (JOSEError, ValueError, RecursionError):
            raise InvalidToken("The token is malformed.") from None  # the cause may show it
        if header.get("alg") != ALGORITHM or "crit" in header:
            raise InvalidToken(f"The token must be signed by {ALGORITHM}, without critical extensions.")
        email, kid = unchecked.get("iss"), header.get("kid")
        if not isinstance(email, str) or not 1 <= len(email) <= MAX_EMAIL_LENGTH or not email.isprintable():
            raise InvalidToken("The token is malformed: `iss` is no address.")
        if kid is not None and not isinstance(kid, str):
            raise InvalidToken("The token is malformed: `kid` is no text.")
        known = await self._keys(email)
        keys = list(known.values()) if kid is None else [known[kid]] if kid in known else []
        claims = _verified(text, keys)
        _check_times(claims, self._now().timestamp())
        return email, claims

    async def _keys(self, email: str) -> Mapping[str, Any]:
        """The keys of an account by id; none for an account that is not there."""
        now = asyncio.get_running_loop().time()
        known = self._cache.get(email)
        if known is not None and now < known.until:
            return known.keys
        try:
            keys = {key.id: jwk.construct(key.public_pem, ALGORITHM) for key in (await self._accounts.get(email)).keys}
        except NoSuchServiceAccount:
            keys = {}
        self._cache[email] = _Known(now + self._cache_seconds, keys)
        self._cache.move_to_end(email)
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return keys


def _verified(text: str, keys: Collection[Any]) -> Mapping[str, Any]:
    """The claims, once one of the keys fits the signature. Times, issuer and audience are checked by the caller."""
    options = {f"verify_{claim}": False for claim in ("aud", "iat", "exp", "nbf", "iss", "sub", "jti", "at_hash")}
    for key in keys:
        try:
            claims: Mapping[str, Any] = jwt.decode(text, key, algorithms=[ALGORITHM], options=options)
        except (JOSEError, ValueError, RecursionError):
            continue  # not this key
        return claims
    raise InvalidToken("The token was signed by a key that is not known, or no longer.")


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    issued, expires = _time(claims, "iat"), _time(claims, "exp")
    begins = _time(claims, "nbf") if "nbf" in claims else issued
    if not issued < expires <= issued + MOST_SECONDS + SKEW_SECONDS:
        raise InvalidToken("The token must be good for an hour at most: `exp` less `iat`.")
    if now >= expires + SKEW_SECONDS:
        raise InvalidToken("The token has expired.")
    if now < max(issued, begins) - SKEW_SECONDS:
        raise InvalidToken("The token is not valid yet: check the clock of the machine that signed it.")


def _time(claims: Mapping[str, Any], name: str) -> float:
    """A NumericDate, which may have a fraction (RFC 7519 section 2)."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e12 or math.isnan(value):
        raise InvalidToken(f"The token is malformed: `{name}` is no time.")
    return float(value)


def _is_for(claim: object, audiences: Collection[str]) -> bool:
    """Whether `aud`, a text or a list of texts, names one of the audiences."""
    wanted = {audience.rstrip("/") for audience in audiences}
    named = claim if isinstance(claim, list) else [claim]
    return any(isinstance(item, str) and item.rstrip("/") in wanted for item in named)


def _scopes(claims: Mapping[str, Any]) -> frozenset[str] | None:
    scope = claims.get("scope")
    if scope is None:
        return None
    if not isinstance(scope, str):
        raise InvalidToken("The token is malformed: `scope` is no text.")
    return frozenset(scope.split())
