"""Who calls: from a bearer token to the stored credentials of its subject."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from gceshim.auth.credentials import CredentialVault
from gceshim.auth.errors import CredentialsNotFound, InvalidToken
from gceshim.auth.tokens import MAX_LENGTH, Tokens, digest
from gceshim.model import Credentials
from gceshim.protocol.call import Authenticator, Caller
from gceshim.protocol.errors import BackendError, InvalidCredentials, LoginRequired
from gceshim.stores.errors import StoreError

CACHE_SIZE: Final = 1000


class BearerAuthenticator(Authenticator):
    """
    Checks bearer tokens that `Tokens` issued.

    :param cache_seconds: how long an answer is kept in memory, so that a burst of calls costs one look into the
        store: a revoked token may be taken for this much longer.
    """

    def __init__(self, tokens: Tokens, vault: CredentialVault, *, cache_seconds: float = 0.5) -> None:
        self._tokens = tokens
        self._vault = vault
        self._cache_seconds = cache_seconds
        self._cache: OrderedDict[str, tuple[float, Caller]] = OrderedDict()

    async def authenticate(self, bearer: str | None, headers: Mapping[str, str]) -> Caller:
        if bearer is None:
            raise LoginRequired
        if len(bearer) > MAX_LENGTH:
            raise InvalidCredentials(detail="the token is too long")
        key = digest(bearer)
        now = asyncio.get_running_loop().time()
        until, caller = self._cache.get(key, (0.0, None))
        if caller is not None and now < until:
            return caller
        caller = await self._look_up(bearer)
        # Counted from before the look-up: what was revoked after it is refused within `cache_seconds`.
        self._cache[key] = (now + self._cache_seconds, caller)
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

    async def _look_up(self, bearer: str) -> Caller:
        try:
            record = await self._tokens.check(bearer)
            stored, credentials = await self._vault.lookup(record.subject)
        except (InvalidToken, CredentialsNotFound) as exc:
            raise InvalidCredentials(detail=exc.message) from exc
        except StoreError as exc:
            raise BackendError("The server's store is not available; try again.", detail=str(exc)) from exc
        return Caller(stored.subject, stored.account.email or stored.subject, credentials)
