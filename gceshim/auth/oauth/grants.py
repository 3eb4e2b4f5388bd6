"""
Authorization requests, and the codes that answer them. The rules for the first are oauthlib's.

What a page that asks the user for consent needs:

    request = grants.parse(query)                  # AuthorizationRefused: show it; AuthorizationError: redirect
    code = grants.code_without_page(request)       # for a key client; else None, and there is a page
    ... the page carries grants.seal(request), and what comes back with it is grants.unseal(text) ...
    code = await grants.allow(request, subject)    # or grants.refusal(request)
    url = grants.location(request, code)           # None: show the code
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from oauthlib.common import Request
from oauthlib.oauth2 import AuthorizationCodeGrant, FatalClientError, OAuth2Error, RequestValidator
from oauthlib.oauth2.rfc6749 import errors

from gceshim.auth.errors import InvalidToken, RevokedToken
from gceshim.auth.oauth import clients, redirects, scopes
from gceshim.auth.oauth.clients import Client
from gceshim.auth.oauth.errors import AuthorizationError, AuthorizationRefused
from gceshim.auth.oauth.redirects import Redirect
from gceshim.auth.oauth.sealing import Sealer
from gceshim.auth.tokens import Tokens
from gceshim.stores.base import TokenRecord

CODE: Final = "code"
PAGE_SECONDS: Final = 1_800
"""How long somebody may take to sign in."""

_PAGE: Final = "authorization request"
_KEY_CODE: Final = "code of a key client"
# Of all other parameters oauthlib would take some for what it has found out itself, such as `scopes`.
_READ: Final = (
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "login_hint",
)
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # the base64url form of a SHA-256
_MAX_OPAQUE_BYTES: Final = 2_000
_MAX_HINT_LENGTH: Final = 200

_NO_CLIENT: Final = (
    "The program that sent you here does not say which program it is, or in a way that is not understood."
)
_NO_REDIRECT: Final = (
    "The program that sent you here wants the answer sent to a place where it cannot go: answers go to programs on "
    "your own machine only. If you did not start a program that asked you to sign in, close this page."
)
_DAMAGED: Final = "The link that brought you here is incomplete or damaged. Start again from the program that gave it."
_TOO_OLD: Final = "This page has been open for too long, or is not one of ours. Start again from the program."


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """
    What a client asks of a user.

    :param scopes: as they were asked for, at least one.
    :param state: comes back to the client unchanged; None if it sent none.
    :param challenge: PKCE, of the method S256; None if it sent none.
    :param nonce: for the id_token; None if it sent none.
    :param login_hint: who the client thinks is going to sign in; "" if it does not say.
    """

    client: Client
    redirect: Redirect
    scopes: tuple[str, ...]
    state: str | None = None
    challenge: str | None = None
    nonce: str | None = None
    login_hint: str = ""


@dataclass(frozen=True, slots=True)
class Code:
    """
    What an authorization code stands for.

    :param client: the client's mark.
    :param subject: who allowed it; None for a key client, which has to prove its pair.
    :param family: of all tokens that come of it.
    :param record: what is stored about it; None for a key client.
    """

    client: str
    redirect_uri: str
    scopes: tuple[str, ...]
    challenge: str | None
    nonce: str | None
    family: str
    subject: str | None = None
    record: TokenRecord | None = None


class Grants:
    """
    Reads authorization requests and answers them with codes.

    :param code_seconds: how long a code is good.
    :param require_pkce: refuse requests that have no challenge.
    """

    def __init__(self, tokens: Tokens, sealer: Sealer, *, code_seconds: int = 300, require_pkce: bool = False) -> None:
        self._tokens = tokens
        self._sealer = sealer
        self._code_seconds = code_seconds
        self._require_pkce = require_pkce

    def parse(self, query: Mapping[str, list[str]]) -> AuthorizationRequest:
        """
        The request that a query makes. Unknown parameters are ignored, as RFC 6749, 3.1 demands.

        :raises AuthorizationRefused: show a page, and send the browser nowhere.
        :raises AuthorizationError: send the browser to its `location`.
        """
        client = clients.find(_only(query, "client_id"))
        redirect = redirects.find(_only(query, "redirect_uri"))
        pairs = [(name, value) for name in _READ for value in query.get(name, []) if value]
        if client is not None:
            pairs = [(name, client.mark if name == "client_id" else value) for name, value in pairs]
        try:
            request = Request("?" + urlencode(pairs))
        except ValueError as exc:  # text that is not Unicode
            raise AuthorizationRefused(_DAMAGED) from exc
        grant = AuthorizationCodeGrant(
            _AuthorizationRules(client, redirect, self._require_pkce), pre_auth=[_check_parameters]
        )
        try:
            grant.validate_authorization_request(request)
        except (errors.MissingClientIdError, errors.InvalidClientIdError) as exc:
            raise AuthorizationRefused(_NO_CLIENT) from exc
        except FatalClientError as exc:
            raise AuthorizationRefused(_DAMAGED if redirect else _NO_REDIRECT) from exc
        except OAuth2Error as exc:
            description = exc.description or "The request is not allowed."
            raise _told(redirect, request.state, exc.error, description) from exc
        if client is None or redirect is None:  # oauthlib has asked the rules about both
            raise AuthorizationRefused(_DAMAGED)
        hint = request.login_hint or ""
        return AuthorizationRequest(
            client=client,
            redirect=redirect,
            scopes=tuple(dict.fromkeys(request.scopes)),
            state=request.state,
            challenge=request.code_challenge,
            nonce=request.nonce,
            login_hint=hint if hint.isprintable() and len(hint) <= _MAX_HINT_LENGTH else "",
        )

    def code_without_page(self, request: AuthorizationRequest) -> str | None:
        """
        The code for a key client; None for any other client.

        It gives no rights: who changes it for a token proves the key pair then. So nothing is stored for it, and
        nobody can fill the store with such codes.
        """
        if request.client.public:
            return None
        return self._sealer.seal(_KEY_CODE, _note(request) | {"family": secrets.token_hex(16)}, self._code_seconds)

    async def allow(self, request: AuthorizationRequest, subject: str) -> str:
        """
        A code, as the subject has allowed the request.

        :raises gceshim.stores.errors.StoreError: it could not be stored.
        """
        return await self._tokens.issue(
            subject, self._code_seconds, kind=CODE, family=secrets.token_hex(16), body=_note(request)
        )

    def location(self, request: AuthorizationRequest, code: str) -> str | None:
        """Where to send the browser with the code; None: show it to the user, who copies it."""
        return request.redirect.location([("code", code), *_state(request.state)])

    def refusal(self, request: AuthorizationRequest) -> str | None:
        """Where to send the browser if the user refuses; None: nowhere."""
        return request.redirect.location([("error", "access_denied"), *_state(request.state)])

    def seal(self, request: AuthorizationRequest) -> str:
        """The request as text that can go through a form: signed, and good for `PAGE_SECONDS`."""
        return self._sealer.seal(
            _PAGE,
            {
                "client_id": request.client.id,
                "redirect_uri": request.redirect.uri,
                "scopes": request.scopes,
                "state": request.state,
                "challenge": request.challenge,
                "nonce": request.nonce,
                "login_hint": request.login_hint,
            },
            PAGE_SECONDS,
        )

    def unseal(self, text: str) -> AuthorizationRequest:
        """The request that was sealed. :raises AuthorizationRefused: it is too old, or was not sealed here."""
        try:
            note = self._sealer.unseal(_PAGE, text)
        except InvalidToken as exc:
            raise AuthorizationRefused(_TOO_OLD) from exc
        client, redirect = clients.find(note["client_id"]), redirects.find(note["redirect_uri"])
        if client is None or redirect is None:  # sealed by a version that allowed more
            raise AuthorizationRefused(_TOO_OLD)
        return AuthorizationRequest(
            client,
            redirect,
            tuple(note["scopes"]),
            state=note["state"],
            challenge=note["challenge"],
            nonce=note["nonce"],
            login_hint=note["login_hint"],
        )

    async def code(self, text: str) -> Code:
        """
        What a code stands for.

        :raises RevokedToken: it was good, and has been used or revoked. :raises InvalidToken: it is no good.
        :raises gceshim.stores.errors.StoreError: not known.
        """
        try:
            note = self._sealer.unseal(_KEY_CODE, text)
        except InvalidToken:
            record = await self._tokens.check(text, kind=CODE)
            return _code(record.body, record.family, record.subject, record)
        return _code(note, note["family"])

    async def spend(self, code: Code, subject: str) -> None:
        """
        Use a code up.

        :param subject: who has it used up. :raises RevokedToken: somebody else was quicker.
        :raises gceshim.stores.errors.StoreError: not known whether it is used up.
        """
        if code.record is None:
            # By its family, which no two codes share: one text can be spelled in several ways.
            first = await self._tokens.use_once(f"{_KEY_CODE} {code.family}", subject, self._code_seconds)
        else:
            first = await self._tokens.spend(code.record)
        if not first:
            raise RevokedToken("The code has been used.", code.family)


class _AuthorizationRules(RequestValidator):  # type: ignore[misc] # oauthlib has no types
    """What oauthlib asks about one authorization request. What it is asked about is looked up before."""

    def __init__(self, client: Client | None, redirect: Redirect | None, require_pkce: bool) -> None:
        self._client = client
        self._redirect = redirect
        self._require_pkce = require_pkce

    def validate_client_id(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> bool:
        return self._client is not None

    def validate_redirect_uri(
        self, client_id: str, redirect_uri: str, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        return self._redirect is not None

    def get_default_redirect_uri(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> None:
        return None

    def validate_response_type(
        self, client_id: str, response_type: str, client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        return response_type == "code"

    def is_pkce_required(self, client_id: str, request: Request) -> bool:
        return self._require_pkce

    def get_default_scopes(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> list[str]:
        return list(scopes.DEFAULT)

    def validate_scopes(
        self, client_id: str, asked: list[str], client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        return scopes.acceptable(asked)


def _check_parameters(request: Request) -> Mapping[str, Any]:
    """What oauthlib lets pass: other parameters repeated, `plain` challenges, values without end."""
    if request.duplicate_params:
        raise errors.InvalidRequestError("A parameter is repeated.", request=request)
    if request.response_type not in (None, "code"):
        raise errors.UnsupportedResponseTypeError("The response_type has to be code.", request=request)
    if request.code_challenge is not None and request.code_challenge_method != "S256":
        raise errors.UnsupportedCodeChallengeMethodError("The code_challenge_method has to be S256.", request=request)
    if request.code_challenge is None and request.code_challenge_method is not None:
        raise errors.MissingCodeChallengeError(request=request)
    if request.code_challenge is not None and not _CHALLENGE.fullmatch(request.code_challenge):
        raise errors.InvalidRequestError("The code_challenge is malformed.", request=request)
    if any(len((value or "").encode()) > _MAX_OPAQUE_BYTES for value in (request.state, request.nonce)):
        raise errors.InvalidRequestError("The state or the nonce is too long.", request=request)
    if request.scope is not None:
        request.scope = " ".join(request.scope.split())
    return {}


def _told(redirect: Redirect | None, state: str | None, error: str, description: str) -> Exception:
    told = [("error", error), ("error_description", description), *_state(state)]
    location = redirect.location(told) if redirect else None
    return AuthorizationError(location, description) if location else AuthorizationRefused(_DAMAGED)


def _note(request: AuthorizationRequest) -> dict[str, Any]:
    """What a code has to tell when it comes back."""
    return {
        "client": request.client.mark,
        "redirect_uri": request.redirect.uri,
        "scopes": list(request.scopes),
        "challenge": request.challenge,
        "nonce": request.nonce,
    }


def _code(note: Mapping[str, Any], family: str, subject: str | None = None, record: TokenRecord | None = None) -> Code:
    return Code(
        client=note["client"],
        redirect_uri=note["redirect_uri"],
        scopes=tuple(note["scopes"]),
        challenge=note["challenge"],
        nonce=note["nonce"],
        family=family,
        subject=subject,
        record=record,
    )


def _state(state: str | None) -> list[tuple[str, str]]:
    return [] if state is None else [("state", state)]


def _only(query: Mapping[str, list[str]], name: str) -> str:
    values = query.get(name, [])
    return values[0] if len(values) == 1 else ""
