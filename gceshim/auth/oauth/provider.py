"""
The OAuth2 provider's JSON endpoints, all together, at the paths that clients know.

gcutil asks below `/oauth2`, gcloud and google-auth at whatever URL they are given, libcloud below `/o/oauth2`; and
whoever comes with one of Google's own paths finds it here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gceshim.auth.consent.service import PATHS as AUTHORIZE_PATHS
from gceshim.auth.oauth import scopes
from gceshim.auth.oauth.handlers import Endpoint
from gceshim.auth.oauth.id_tokens import ALGORITHM, IdTokens
from gceshim.auth.oauth.inspection import Inspection, in_v1_words, in_v2_words
from gceshim.auth.oauth.replies import OAuthError, reply
from gceshim.auth.oauth.token_endpoint import TokenEndpoint
from gceshim.auth.oauth.token_rules import AUTHORIZATION_CODE, CLIENT_CREDENTIALS, JWT_BEARER, REFRESH_TOKEN
from gceshim.protocol.errors import ApiError
from gceshim.protocol.wire import WireReply, WireRequest, json_reply

TOKEN_PATHS: Final = ("/token", "/oauth2/token", "/o/oauth2/token", "/oauth2/v3/token", "/oauth2/v4/token")
REVOKE_PATHS: Final = ("/revoke", "/oauth2/revoke", "/o/oauth2/revoke")
TOKEN_INFO_PATHS: Final = ("/tokeninfo", "/oauth2/v3/tokeninfo")
TOKEN_INFO_V1_PATHS: Final = ("/oauth2/v1/tokeninfo",)
USER_INFO_PATHS: Final = ("/v1/userinfo", "/oauth2/v3/userinfo")
USER_INFO_V2_PATHS: Final = ("/userinfo/v2/me", "/oauth2/v1/userinfo", "/oauth2/v2/userinfo")
KEYS_PATHS: Final = ("/oauth2/v3/certs",)
METADATA_PATHS: Final = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")

_KEPT_SECONDS: Final = 300
_PUBLIC: Final = {"Cache-Control": f"public, max-age={_KEPT_SECONDS}"}


class Provider:
    """:param base_url: the URL of this server, as the client that sent a request reaches it; may raise `ApiError`."""

    def __init__(
        self,
        *,
        token_endpoint: TokenEndpoint,
        inspection: Inspection,
        id_tokens: IdTokens,
        base_url: Callable[[WireRequest], str],
    ) -> None:
        self._token_endpoint = token_endpoint
        self._inspection = inspection
        self._id_tokens = id_tokens
        self._base_url = base_url

    @property
    def endpoints(self) -> list[Endpoint]:
        """All but the authorize endpoint, which is the consent page's."""
        both = ("GET", "POST")
        return [
            Endpoint("oauth.token", TOKEN_PATHS, ("POST",), self._token),
            Endpoint("oauth.revoke", REVOKE_PATHS, both, self._inspection.revoke),
            Endpoint("oauth.tokeninfo", TOKEN_INFO_PATHS, both, self._token_info),
            Endpoint("oauth.tokeninfo", TOKEN_INFO_V1_PATHS, both, self._token_info_v1),
            Endpoint("oauth.userinfo", USER_INFO_PATHS, both, self._user_info),
            Endpoint("oauth.userinfo", USER_INFO_V2_PATHS, both, self._user_info_v2),
            Endpoint("oauth.certs", KEYS_PATHS, ("GET",), self._keys),
            Endpoint("oauth.metadata", METADATA_PATHS, ("GET",), self._metadata),
        ]

    async def _token(self, request: WireRequest) -> WireReply:
        return await self._token_endpoint.answer(request, self._issuer(request))

    async def _token_info(self, request: WireRequest) -> WireReply:
        return reply(await self._inspection.token_info(request, self._issuer(request)))

    async def _token_info_v1(self, request: WireRequest) -> WireReply:
        return reply(in_v1_words(await self._inspection.token_info(request, self._issuer(request))))

    async def _user_info(self, request: WireRequest) -> WireReply:
        return reply(await self._inspection.user_info(request))

    async def _user_info_v2(self, request: WireRequest) -> WireReply:
        return reply(in_v2_words(await self._inspection.user_info(request)))

    async def _keys(self, request: WireRequest) -> WireReply:
        return json_reply(self._id_tokens.key_set()).with_headers(_PUBLIC)

    async def _metadata(self, request: WireRequest) -> WireReply:
        return json_reply(metadata(self._issuer(request))).with_headers(_PUBLIC)

    def _issuer(self, request: WireRequest) -> str:
        try:
            return self._base_url(request)
        except ApiError as exc:
            raise OAuthError("invalid_request", exc.message) from exc


def metadata(issuer: str) -> dict[str, Any]:
    """What OpenID Connect Discovery 1.0, 3 and RFC 8414, 2 have a server tell about itself."""
    return {
        "issuer": issuer,
        "authorization_endpoint": issuer + AUTHORIZE_PATHS[-1],
        "token_endpoint": issuer + TOKEN_PATHS[0],
        "userinfo_endpoint": issuer + USER_INFO_PATHS[0],
        "revocation_endpoint": issuer + REVOKE_PATHS[0],
        "jwks_uri": issuer + KEYS_PATHS[0],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [AUTHORIZATION_CODE, REFRESH_TOKEN, CLIENT_CREDENTIALS, JWT_BEARER],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "scopes_supported": [scopes.OPENID, scopes.EMAIL, scopes.PROFILE, scopes.CLOUD_PLATFORM, scopes.COMPUTE],
        "claims_supported": ["iss", "aud", "azp", "sub", "iat", "exp", "email", "email_verified", "nonce"],
    }
