"""
The token endpoint: codes, refresh tokens, key pairs and assertions in, tokens out.

Each grant goes the same way: look up what the request brought; ask the rules; store the new tokens; use up the old one.
In that order: of two who bring the same code at once, the later to use it up finds it used and revokes the family, and
the first one's tokens are in the store by then.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from gceshim.auth.attempts import Attempts, TooManyAttempts, key_identity
from gceshim.auth.credentials import CredentialVault, StoredCredentials
from gceshim.auth.errors import (
    BackendUnavailable,
    CredentialsNotFound,
    InvalidToken,
    RevokedToken,
    SignInRefused,
    WrongKey,
)
from gceshim.auth.oauth import clients, forms, scopes
from gceshim.auth.oauth.grants import Grants
from gceshim.auth.oauth.id_tokens import Identity, IdTokens
from gceshim.auth.oauth.replies import OAuthError, reply, too_many_attempts
from gceshim.auth.oauth.token_rules import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    JWT_BEARER,
    REFRESH_TOKEN,
    Facts,
    scopes_to_grant,
)
from gceshim.auth.service_accounts.assertions import TOKEN_AUDIENCES, Assertions
from gceshim.auth.sign_in import SignIn
from gceshim.auth.tokens import Tokens
from gceshim.protocol.wire import WireReply, WireRequest
from gceshim.stores.base import TokenRecord
from gceshim.stores.errors import StoreError
from gceshim.trace import current

REFRESH: Final = "refresh"
SECONDS_OF_A_DAY: Final = 86_400

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long tokens are good. A refresh token that is exchanged for a new one starts anew."""

    access_seconds: int = 3600
    refresh_days: int = 90


@dataclass(frozen=True, slots=True)
class _Call:
    """
    A request to the endpoint.

    :param issuer: URL of this server. :param client: None if the request names none that can be.
    :param address: where the request comes from.
    """

    parameters: Mapping[str, str]
    issuer: str
    client: clients.Client | None
    secret: str
    address: str

    def brought(self, name: str) -> str:
        """The value of a parameter; "" if it is not there."""
        return self.parameters.get(name, "")


class TokenEndpoint:
    """
    :param sign_in: tells whose a key client's pair is. :param attempts: how often it may have been told in vain.
    :param address: where a request comes from.
    :param assertions: checks what service accounts have signed.
    :param paths: of this endpoint, below the server's URL: an assertion may be for any of them.
    """

    def __init__(
        self,
        *,
        tokens: Tokens,
        grants: Grants,
        id_tokens: IdTokens,
        vault: CredentialVault,
        sign_in: SignIn,
        attempts: Attempts,
        address: Callable[[WireRequest], str],
        assertions: Assertions,
        lifetimes: Lifetimes,
        paths: Collection[str],
    ) -> None:
        self._tokens = tokens
        self._grants = grants
        self._id_tokens = id_tokens
        self._vault = vault
        self._sign_in = sign_in
        self._attempts = attempts
        self._address = address
        self._assertions = assertions
        self._lifetimes = lifetimes
        self._paths = tuple(paths)
        self._exchanges: Mapping[str, Callable[[_Call], Awaitable[dict[str, Any]]]] = {
            AUTHORIZATION_CODE: self._for_code,
            REFRESH_TOKEN: self._for_refresh_token,
            CLIENT_CREDENTIALS: self._for_key_pair,
            JWT_BEARER: self._for_assertion,
        }

    async def answer(self, request: WireRequest, issuer: str) -> WireReply:
        """
        Answer a request. :param issuer: URL of this server, as the client reaches it.

        :raises OAuthError: it is refused.
        :raises gceshim.auth.errors.BackendUnavailable, gceshim.stores.errors.StoreError: it cannot be told now.
        """
        parameters = forms.form(request)
        credentials = forms.client_credentials(request, parameters)
        client = clients.find(credentials.client_id)
        call = _Call(parameters, issuer, client, credentials.secret, self._address(request))
        grant_type = parameters.get("grant_type")
        if grant_type is None:
            raise OAuthError("invalid_request", "Missing grant_type parameter.")
        exchange = self._exchanges.get(grant_type)
        if exchange is None:
            raise OAuthError("unsupported_grant_type", f"The grant_type has to be one of {', '.join(self._exchanges)}.")
        return reply(await exchange(call))

    async def _for_code(self, call: _Call) -> dict[str, Any]:
        code = await self._looked_up(self._grants.code, call.brought("code"))
        facts = await self._with_account(call, Facts(call.client, code=code))
        granted = scopes_to_grant(call.parameters, facts)
        subject = facts.account.subject if facts.account else code.subject if code else None
        if code is None or subject is None or call.client is None:  # the rules have looked at all three
            raise _not_good()
        identity = await self._identity(subject)
        body = {"client": call.client.mark, "scopes": list(granted)}
        access_token = await self._issue_access(subject, code.family, body)
        # Who sends a challenge is gcloud. It throws away the new refresh token that a refresh brings, and so could not
        # go on with one that is good once; gcutil, which has the same client id and sends none, keeps it.
        rotates = call.client.public and code.challenge is None
        refresh_token = await self._issue_refresh(subject, code.family, body | {"rotates": rotates})
        try:
            await self._grants.spend(code, subject)
        except RevokedToken as exc:
            raise await self._reused(code.family) from exc
        return self._answer(call, identity, granted, access_token, refresh_token=refresh_token, nonce=code.nonce)

    async def _for_refresh_token(self, call: _Call) -> dict[str, Any]:
        text = call.brought("refresh_token")
        record = await self._looked_up(lambda token: self._tokens.check(token, kind=REFRESH), text)
        facts = await self._with_account(call, Facts(call.client, refresh=record))
        granted = scopes_to_grant(call.parameters, facts)
        if record is None or call.client is None:
            raise _not_good()
        identity = await self._identity(record.subject)
        body = {"client": call.client.mark, "scopes": list(granted)}
        access_token = await self._issue_access(record.subject, record.family, body)
        refresh_token = None
        if record.body["rotates"]:
            refresh_token = await self._issue_refresh(record.subject, record.family, record.body)
        try:
            await self._settle(text, record)
        except InvalidToken as exc:
            raise await self._reused(record.family) from exc
        return self._answer(call, identity, granted, access_token, refresh_token=refresh_token)

    async def _for_key_pair(self, call: _Call) -> dict[str, Any]:
        facts = await self._with_account(call, Facts(call.client))
        granted = scopes_to_grant(call.parameters, facts)
        if facts.account is None or call.client is None:
            raise _not_good()
        identity = await self._identity(facts.account.subject)
        body = {"client": call.client.mark, "scopes": list(granted)}
        return self._answer(call, identity, granted, await self._issue_access(identity.subject, _new_family(), body))

    async def _for_assertion(self, call: _Call) -> dict[str, Any]:
        audiences = TOKEN_AUDIENCES.union(call.issuer + path for path in self._paths)
        assertion = await self._looked_up(
            lambda text: self._assertions.verify(text, audiences), call.brought("assertion")
        )
        granted = scopes_to_grant(call.parameters, Facts(call.client, assertion=assertion))
        if assertion is None:
            raise _not_good()
        identity = await self._identity(assertion.email)
        if assertion.target_audience is not None:
            return {"id_token": self._id_tokens.issue(call.issuer, assertion.target_audience, identity)}
        body = {"client": assertion.email, "scopes": list(granted)}
        access_token = await self._issue_access(identity.subject, _new_family(), body)
        return self._answer(call, identity, granted, access_token, audience=assertion.email)

    async def _looked_up(self, look_up: Callable[[str], Awaitable[Found]], text: str) -> Found | None:
        """
        What a code, token or assertion stands for; None if there is none.

        :raises OAuthError: it is no good. If it once was, whoever brings it again is a thief, or has been robbed.
        """
        if not text:
            return None
        try:
            return await look_up(text)
        except RevokedToken as exc:
            raise await self._reused(exc.family) from exc
        except InvalidToken as exc:
            raise OAuthError("invalid_grant", exc.message) from exc

    async def _reused(self, family: str) -> OAuthError:
        await self._tokens.revoke_family(family)
        return OAuthError("invalid_grant", "It has been used before, or revoked.")

    async def _with_account(self, call: _Call, facts: Facts) -> Facts:
        """The facts, and whose the key pair is that a key client goes by."""
        if call.client is None or call.client.public:
            return facts
        try:
            return replace(facts, account=await self._signed_in(call, call.client.id))
        except SignInRefused as exc:
            return replace(facts, problem=exc.message)

    async def _signed_in(self, call: _Call, api_key: str) -> StoredCredentials:
        """
        Whose the pair is.

        :raises SignInRefused: it is no pair. :raises OAuthError: too many were none.
        """
        try:
            attempt = await self._attempts.begin_program(call.address, key_identity(api_key))
        except TooManyAttempts as exc:
            raise too_many_attempts(exc.retry_after_seconds) from exc
        try:
            stored = await self._sign_in.with_keys(api_key, call.secret)
        except (BackendUnavailable, StoreError):
            self._attempts.forget(attempt)
            raise
        except BaseException:
            self._attempts.failed(attempt)
            raise
        self._attempts.succeeded(attempt)
        return stored

    async def _identity(self, subject: str) -> Identity:
        try:
            stored, _ = await self._vault.lookup(subject)
        except (CredentialsNotFound, WrongKey) as exc:
            raise OAuthError("invalid_grant", "The user's credentials are not stored any more.") from exc
        if (trace := current()) is not None:
            trace.subject = subject  # for the log
        return Identity(subject, stored.account.email or subject)

    async def _issue_access(self, subject: str, family: str, body: Mapping[str, Any]) -> str:
        return await self._tokens.issue(subject, self._lifetimes.access_seconds, family=family, body=body)

    async def _issue_refresh(self, subject: str, family: str, body: Mapping[str, Any]) -> str:
        lifetime_seconds = self._lifetimes.refresh_days * SECONDS_OF_A_DAY
        return await self._tokens.issue(subject, lifetime_seconds, kind=REFRESH, family=family, body=body)

    async def _settle(self, text: str, record: TokenRecord) -> None:
        """
        Use up a refresh token that is good once. One that stays good may have been revoked while the new tokens were
        made, which then have to go too. :raises InvalidToken: it was, or somebody else was quicker.
        """
        if not record.body["rotates"]:
            await self._tokens.check(text, kind=REFRESH)
        elif not await self._tokens.spend(record):
            raise RevokedToken("The refresh token has been used.", record.family)

    def _answer(
        self,
        call: _Call,
        identity: Identity,
        granted: Sequence[str],
        access_token: str,
        *,
        refresh_token: str | None = None,
        nonce: str | None = None,
        audience: str = "",
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "access_token": access_token,
            "expires_in": self._lifetimes.access_seconds,
            "token_type": "Bearer",
            "scope": " ".join(granted),  # all of them: gcloud fails if one is missing
        }
        if refresh_token is not None:
            answer["refresh_token"] = refresh_token
        audience = audience or (call.client.id if call.client else "")
        if scopes.identifying(granted) and audience:
            answer["id_token"] = self._id_tokens.issue(call.issuer, audience, identity, granted, nonce=nonce)
        return answer


def _new_family() -> str:
    return secrets.token_hex(16)


def _not_good() -> OAuthError:
    return OAuthError("invalid_grant", "It is not good here.")
