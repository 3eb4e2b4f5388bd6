"""Who calls: from a bearer token to the stored credentials of its subject."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from jose import jwt
from jose.exceptions import JOSEError

from gceshim.auth.credentials import CredentialVault
from gceshim.auth.errors import CredentialsNotFound, InvalidToken, WrongKey
from gceshim.auth.oauth import scopes
from gceshim.auth.service_accounts import assertions
from gceshim.auth.service_accounts.assertions import API_AUDIENCES, Assertions
from gceshim.auth.tokens import MAX_LENGTH, Tokens, digest
from gceshim.model import Credentials
from gceshim.protocol.call import Authenticator, Caller
from gceshim.protocol.errors import BackendError, InvalidCredentials, LoginRequired
from gceshim.stores.errors import StoreError

CACHE_SIZE: Final = 1000
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class _Known:
    """
    An answer. It counts until this time of the event loop, and for as long as nothing else was revoked here.

    :param revocations: how often something had been.
    """

    caller: Caller
    until: float
    revocations: int


class BearerAuthenticator(Authenticator):
    """
    Checks bearer tokens that `Tokens` issued, and those that service accounts sign themselves.

    Which of the two a token is, its header says; each is then checked by its own algorithm and keys, and by no other.

    :param self_signed: what checks the second sort; None: they are refused.
    :param public_url: the server's own address, which a self-signed token may be for. "": addresses of the loopback
        interface alone, as anyone can write any other in a Host header.
    :param cache_seconds: how long an answer is kept in memory, so that a burst of calls costs one look into the
        store: a token that another server revoked may be taken for this much longer.
    """

    def __init__(
        self,
        tokens: Tokens,
        vault: CredentialVault,
        self_signed: Assertions | None = None,
        *,
        public_url: str = "",
        cache_seconds: float = 0.5,
    ) -> None:
        self._tokens = tokens
        self._vault = vault
        self._self_signed = self_signed
        self._public_url = public_url
        self._cache_seconds = cache_seconds
        self._cache: OrderedDict[str, _Known] = OrderedDict()

    async def authenticate(self, bearer: str | None, headers: Mapping[str, str]) -> Caller:
        if bearer is None:
            raise LoginRequired
        if len(bearer) > MAX_LENGTH:
            raise InvalidCredentials(detail="the token is too long")
        key = digest(bearer)
        now = asyncio.get_running_loop().time()
        known, revocations = self._cache.get(key), self._tokens.revocations
        if known is not None and now < known.until and known.revocations == revocations:
            return known.caller
        caller = await self._look_up(bearer, headers.get("host", ""))
        # Both from before the look-up: what was revoked after it is refused within `cache_seconds`, or at once.
        self._cache[key] = _Known(caller, now + self._cache_seconds, revocations)
        self._cache.move_to_end(key)
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return caller

    async def credentials(self, subject: str) -> Credentials | None:
        """Those that are stored for the subject now."""
        try:
            return await self._vault.get(subject)
        except CredentialsNotFound:
            return None

    async def _look_up(self, bearer: str, host: str) -> Caller:
        try:
            subject, granted = await self._subject(bearer, host)
            stored, credentials = await self._vault.lookup(subject)
        except (InvalidToken, CredentialsNotFound, WrongKey) as exc:
            raise InvalidCredentials(detail=exc.message) from exc
        except StoreError as exc:
            raise BackendError("The server's store is not available; try again.", detail=str(exc)) from exc
        limits = None if granted is None else scopes.full(granted)
        return Caller(stored.subject, stored.account.email or stored.subject, credentials, limits)

    async def _subject(self, bearer: str, host: str) -> tuple[str, Collection[str] | None]:
        """Whose the token is, and its scopes; None: it is not limited."""
        if self._self_signed is not None and _algorithm(bearer) == assertions.ALGORITHM:
            found = await self._self_signed.verify_bearer(bearer, self._audiences(host))
            return found.email, found.scopes
        record = await self._tokens.check(bearer)
        return record.subject, record.body.get("scopes")

    def _audiences(self, host: str) -> frozenset[str]:
        """What a self-signed token for this server may call it: by Google's names, or by its own."""
        own = [self._public_url] if self._public_url else [f"{scheme}://{host}" for scheme in _loopback_schemes(host)]
        origins = [f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in own]
        return API_AUDIENCES.union(own, origins, (f"{url.rstrip('/')}/compute/v1" for url in own))


def _algorithm(token: str) -> object:
    """What the header says, of a token that nobody has checked yet; None of one that has no header."""
    try:
        return jwt.get_unverified_header(token).get("alg")
    except (JOSEError, ValueError, RecursionError):
        return None


def _loopback_schemes(host: str) -> tuple[str, ...]:
    """http and https for a Host of this machine, which may be behind a proxy of its own; none for another."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return ()
    return ("http", "https") if name in LOOPBACK else ()
