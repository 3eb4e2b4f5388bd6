"""
The rules of the token endpoint, as oauthlib has them: which parameters a grant needs, whose a code is, whether a PKCE
verifier fits, which scopes a refresh may ask for.

oauthlib is synchronous and the store is not, so all that it asks about is looked up before and handed to it as `Facts`.
Codes, tokens and secrets stay outside: oauthlib sees placeholders, as it logs what it sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from oauthlib.common import Request
from oauthlib.oauth2 import (
    AuthorizationCodeGrant,
    ClientCredentialsGrant,
    OAuth2Error,
    RefreshTokenGrant,
    RequestValidator,
)
from oauthlib.oauth2.rfc6749 import errors
from oauthlib.oauth2.rfc6749.grant_types.base import GrantTypeBase

from gceshim.auth.credentials import StoredCredentials
from gceshim.auth.oauth import scopes
from gceshim.auth.oauth.clients import Client
from gceshim.auth.oauth.forms import CHALLENGE
from gceshim.auth.oauth.grants import Code
from gceshim.auth.oauth.replies import OAuthError
from gceshim.auth.service_accounts.assertions import Assertion
from gceshim.stores.base import TokenRecord

AUTHORIZATION_CODE: Final = "authorization_code"
REFRESH_TOKEN: Final = "refresh_token"  # noqa: S105 a word of the protocol
CLIENT_CREDENTIALS: Final = "client_credentials"
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"

# Of all other parameters oauthlib would take some for what it has found out itself, such as `scopes`.
_READ: Final = frozenset({"grant_type", "redirect_uri", "code_verifier", "scope"})
_SECRET: Final = frozenset({"code", "refresh_token", "assertion"})
_PLACEHOLDER: Final = "given"


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What is known of a token request before it is judged.

    :param client: None if the request names none that can be.
    :param account: whose key pair a key client has proved to have; None if it has not, or is none.
    :param problem: why it has not; for the caller.
    :param code, refresh, assertion: what the request brought; it is good, but perhaps for another client.
    """

    client: Client | None = None
    account: StoredCredentials | None = None
    problem: str = ""
    code: Code | None = None
    refresh: TokenRecord | None = None
    assertion: Assertion | None = None


def scopes_to_grant(parameters: Mapping[str, str], facts: Facts) -> tuple[str, ...]:
    """
    The scopes that a token request is to be granted, as it names them.

    :param parameters: its `grant_type` is one of those above. :raises OAuthError: it is to be refused.
    """
    request = _request(parameters, facts)
    try:
        _GRANTS[parameters["grant_type"]](_Rules(facts)).validate_token_request(request)
    except errors.InvalidClientError as exc:
        text = facts.problem or "No such client, or another client_secret."
        raise OAuthError("invalid_client", text, status=401, headers=CHALLENGE) from exc
    except (errors.InvalidGrantError, errors.MismatchingRedirectURIError) as exc:
        text = exc.description or "It was not given to this client, or for another redirect_uri."
        raise OAuthError("invalid_grant", text) from exc
    except OAuth2Error as exc:
        raise OAuthError(exc.error, exc.description or "The request is not allowed.") from exc
    return tuple(dict.fromkeys(request.scopes))


def _request(parameters: Mapping[str, str], facts: Facts) -> Request:
    shown = {name: value for name, value in parameters.items() if name in _READ}
    shown |= {name: _PLACEHOLDER for name in parameters if name in _SECRET}
    shown["client_id"] = facts.client.mark if facts.client else ""
    if "scope" in shown:
        shown["scope"] = " ".join(shown["scope"].split())
    return Request("", "POST", body=list(shown.items()))


class _JwtBearerGrant(GrantTypeBase):  # type: ignore[misc] # oauthlib has no types
    """RFC 7523, 2.1. The service account has signed the assertion; no client need say who it is."""

    def validate_token_request(self, request: Request) -> None:
        """Sets the request's scopes. :raises OAuth2Error: it is to be refused."""
        if request.grant_type != JWT_BEARER:
            raise errors.UnsupportedGrantTypeError(request=request)
        if "assertion" not in dict(request.decoded_body):
            raise errors.InvalidRequestError("Missing assertion parameter.", request=request)
        if not self.request_validator.validate_assertion(request):
            raise errors.InvalidGrantError(request=request)
        self.validate_scopes(request)


@dataclass(frozen=True, slots=True)
class _Known:
    """What oauthlib wants a client to have."""

    client_id: str


class _Rules(RequestValidator):  # type: ignore[misc] # oauthlib has no types
    """What oauthlib asks about one token request."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def client_authentication_required(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        client = self._facts.client
        return client is not None and not client.public

    def authenticate_client(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        """A key client, by its pair."""
        return self._facts.account is not None and self._keep_client(request)

    def authenticate_client_id(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> bool:
        """A public client, whose secret everybody knows."""
        return self._facts.client is not None and self._facts.client.public and self._keep_client(request)

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        return grant_type != CLIENT_CREDENTIALS or self._facts.account is not None

    def validate_code(
        self, client_id: str, code: str, client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        found = self._facts.code
        if found is None or found.client != client.client_id:
            return False
        if found.challenge is None and request.code_verifier is not None:
            # RFC 9700, 2.1.1: somebody may have taken the challenge out of the authorization request.
            raise errors.InvalidGrantError("The code was asked for without a code_challenge.", request=request)
        request.scopes = list(found.scopes)
        return True

    def get_code_challenge(self, code: str, request: Request) -> str | None:
        return self._facts.code.challenge if self._facts.code else None

    def get_code_challenge_method(self, code: str, request: Request) -> str:
        return "S256"  # the only one for which codes are given

    def get_default_redirect_uri(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> None:
        return None

    def confirm_redirect_uri(
        self, client_id: str, code: str, redirect_uri: str, client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        return self._facts.code is not None and self._facts.code.redirect_uri == redirect_uri

    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        found, account = self._facts.refresh, self._facts.account
        if found is None or found.body["client"] != client.client_id:
            return False
        # A pair may have become another user's, in CloudStack's eyes.
        return account is None or account.subject == found.subject

    def get_original_scopes(self, refresh_token: str, request: Request, *args: Any, **kwargs: Any) -> list[str]:
        return list(self._facts.refresh.body["scopes"]) if self._facts.refresh else []

    def is_within_original_scope(
        self, request_scopes: list[str], refresh_token: str, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        """By whichever of their names."""
        return scopes.full(request_scopes) <= scopes.full(self.get_original_scopes(refresh_token, request))

    def validate_assertion(self, request: Request) -> bool:
        found = self._facts.assertion
        if found is not None and found.scopes:
            request.scopes = sorted(found.scopes)
        return found is not None

    def get_default_scopes(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> list[str]:
        return list(scopes.DEFAULT)

    def validate_scopes(
        self, client_id: str, asked: list[str], client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        return scopes.acceptable(asked)

    def _keep_client(self, request: Request) -> bool:
        request.client = _Known(request.client_id)
        return True


_GRANTS: Final[Mapping[str, type[GrantTypeBase]]] = {
    AUTHORIZATION_CODE: AuthorizationCodeGrant,
    REFRESH_TOKEN: RefreshTokenGrant,
    CLIENT_CREDENTIALS: ClientCredentialsGrant,
    JWT_BEARER: _JwtBearerGrant,
}
