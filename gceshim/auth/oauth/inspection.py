"""What a client may ask about a token, and giving one back: tokeninfo, userinfo, revoke."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from gceshim.auth.credentials import CredentialVault
from gceshim.auth.errors import CredentialsNotFound, InvalidToken, RevokedToken, WrongKey
from gceshim.auth.oauth import forms, scopes
from gceshim.auth.oauth.id_tokens import Identity, IdTokens
from gceshim.auth.oauth.replies import OAuthError, reply, unavailable
from gceshim.auth.oauth.token_endpoint import REFRESH
from gceshim.auth.tokens import ACCESS, Tokens, utc_now
from gceshim.protocol.call import Authenticator
from gceshim.protocol.errors import ApiError, InvalidCredentials, LoginRequired
from gceshim.protocol.wire import WireReply, WireRequest

_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/=-]+)")
_REALM: Final = 'Bearer realm="gceshim"'


class Inspection:
    """:param authenticator: the API's, so that userinfo takes what the API takes."""

    def __init__(
        self,
        *,
        tokens: Tokens,
        id_tokens: IdTokens,
        vault: CredentialVault,
        authenticator: Authenticator,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._tokens = tokens
        self._id_tokens = id_tokens
        self._vault = vault
        self._authenticator = authenticator
        self._now = now

    async def token_info(self, request: WireRequest, issuer: str) -> Mapping[str, Any]:
        """
        What an access token or an id_token is good for, in the words of Google's tokeninfo v3.

        :param issuer: URL of this server, which an id_token has to be from.
        :raises OAuthError: there is no token, or no good one. :raises gceshim.stores.errors.StoreError:
        """
        parameters = forms.query_or_form(request)
        access_token, id_token = parameters.get("access_token"), parameters.get("id_token")
        if access_token is not None and id_token is not None:
            raise OAuthError("invalid_request", "Ask about one token at a time.")
        try:
            if id_token is not None:
                return self._described(self._id_tokens.check(id_token, issuer))
            if access_token is not None:
                return await self._access_token(access_token)
        except InvalidToken as exc:
            raise OAuthError("invalid_token", "Invalid Value") from exc
        raise OAuthError("invalid_request", "Either access_token or id_token is required.")

    async def user_info(self, request: WireRequest) -> Mapping[str, Any]:
        """
        Who the bearer of an access token is, in the words of Google's userinfo v3.

        :raises OAuthError: there is no good token, or it does not tell.
        """
        parameters = forms.query_or_form(request)
        try:
            caller = await self._authenticator.authenticate(_bearer(request, parameters), request.headers)
        except LoginRequired as exc:
            headers = {"WWW-Authenticate": _REALM}
            raise OAuthError("invalid_request", "An access token is required.", status=401, headers=headers) from exc
        except InvalidCredentials as exc:
            raise _challenged("invalid_token", "Invalid Credentials", 401) from exc
        except ApiError as exc:
            raise unavailable() from exc
        if caller.scopes is not None and not scopes.identifying(caller.scopes):
            raise _challenged("insufficient_scope", "The token does not tell who its user is.", 403)
        told = {"sub": Identity(caller.subject, caller.email).number}
        return told | _email(caller.email, caller.scopes)

    async def revoke(self, request: WireRequest) -> WireReply:
        """
        Make a token worthless, and all that came of the same grant. RFC 7009: what is no token is no mistake.

        :raises OAuthError: the parameter is missing. :raises gceshim.stores.errors.StoreError: not known whether it is.
        """
        token = forms.query_or_form(request).get("token")
        if token is None:
            raise OAuthError("invalid_request", "Missing token parameter.")
        for kind in (REFRESH, ACCESS):
            try:
                record = await self._tokens.check(token, kind=kind)
            except RevokedToken as exc:
                await self._tokens.revoke_family(exc.family)
            except InvalidToken:
                continue
            else:
                await self._tokens.revoke(token)
                await self._tokens.revoke_family(record.family)
        return reply({})

    async def _access_token(self, token: str) -> Mapping[str, Any]:
        record = await self._tokens.check(token)
        try:
            stored, _ = await self._vault.lookup(record.subject)
        except (CredentialsNotFound, WrongKey) as exc:
            raise InvalidToken("The user's credentials are not stored any more.") from exc
        granted: Sequence[str] | None = record.body.get("scopes")
        client = record.body.get("client", "gceshim")
        email = stored.account.email or record.subject
        claims = {
            "azp": client,
            "aud": client,
            "sub": Identity(record.subject, email).number,
            "scope": " ".join(scopes.DEFAULT if granted is None else granted),
            "exp": int(record.expires.timestamp()),
        }
        described = self._described(claims | _email(email, None if granted is None else scopes.full(granted)))
        return described | {"access_type": "offline"}

    def _described(self, claims: Mapping[str, Any]) -> dict[str, Any]:
        """As Google has it: everything is text."""
        remaining_seconds = max(0, int(claims["exp"] - self._now().timestamp()))
        described = {name: _text(value) for name, value in claims.items()}
        return described | {"expires_in": str(remaining_seconds)}


def in_v1_words(described: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of tokeninfo v3 as tokeninfo v1 has it."""
    names = {"azp": "issued_to", "aud": "audience", "sub": "user_id", "email_verified": "verified_email"}
    answer = {names.get(name, name): value for name, value in described.items() if name != "exp"}
    answer["expires_in"] = int(described["expires_in"])
    if "verified_email" in answer:
        answer["verified_email"] = answer["verified_email"] == "true"
    return answer


def in_v2_words(told: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of userinfo v3 as userinfo v1 and v2 have it."""
    names = {"sub": "id", "email_verified": "verified_email"}
    return {names.get(name, name): value for name, value in told.items()}


def _email(email: str, granted: frozenset[str] | None) -> dict[str, Any]:
    return {"email": email, "email_verified": True} if granted is None or scopes.EMAIL in granted else {}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _challenged(error: str, description: str, status: int) -> OAuthError:
    """Source: RFC 6750, 3."""
    challenge = f'{_REALM}, error="{error}", error_description="{description}"'
    return OAuthError(error, description, status=status, headers={"WWW-Authenticate": challenge})


def _bearer(request: WireRequest, parameters: Mapping[str, str]) -> str | None:
    header = request.headers.get("authorization")
    if header is None:
        return parameters.get("access_token")
    match = _BEARER.fullmatch(header.strip())
    if match is None:
        raise _challenged("invalid_token", "The Authorization header has to be Bearer and a token.", 401)
    return match[1]
