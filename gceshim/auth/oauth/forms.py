"""What came with a request: parameters that are not repeated, and who the client says it is."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from gceshim.auth.oauth.replies import OAuthError
from gceshim.protocol.wire import WireRequest

FORM: Final = "application/x-www-form-urlencoded"
MOST_PARAMETERS: Final = 100

CHALLENGE: Final[Mapping[str, str]] = {"WWW-Authenticate": 'Basic realm="gceshim"'}


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """
    :param client_id: "" if the client does not say who it is.
    :param secret: "" if it sends none.
    """

    client_id: str
    secret: str = field(repr=False)


def values(text: str) -> dict[str, list[str]]:
    """
    The values of each name of a query, or of a form; empty ones are left out, as RFC 6749, 3.1 has it.

    :raises OAuthError: it is not UTF-8, or has too many parameters.
    """
    try:
        pairs = parse_qsl(text, errors="strict", max_num_fields=MOST_PARAMETERS)
    except ValueError as exc:  # UnicodeDecodeError is one too
        raise OAuthError("invalid_request", "The parameters are not UTF-8 text, or too many.") from exc
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def form(request: WireRequest) -> dict[str, str]:
    """
    The parameters of a form that was posted.

    :raises OAuthError: it is no form, or a parameter is repeated.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.body and content_type != FORM:
        raise OAuthError("invalid_request", f"Send a form, Content-Type {FORM}.")
    try:
        text = request.body.decode("ascii")
    except UnicodeDecodeError as exc:
        raise OAuthError("invalid_request", "The form is not encoded as a form is.") from exc
    return _single(values(text))


def query_or_form(request: WireRequest) -> dict[str, str]:
    """The parameters of both; a parameter may be in both if its values are the same. :raises OAuthError: as `form`."""
    parameters = values(request.query)
    for name, value in (form(request) if request.method == "POST" else {}).items():
        if parameters.get(name) != [value]:
            parameters.setdefault(name, []).append(value)
    return _single(parameters)


def client_credentials(request: WireRequest, parameters: Mapping[str, str]) -> ClientCredentials:
    """
    Who the client says it is: in the form, or by HTTP Basic (RFC 6749, 2.3.1).

    :raises OAuthError: both at once, and not the same; or the header is malformed.
    """
    client_id, secret = parameters.get("client_id", ""), parameters.get("client_secret", "")
    header = request.headers.get("authorization")
    if header is None:
        return ClientCredentials(client_id, secret)
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "basic":
        raise OAuthError("invalid_client", "Use HTTP Basic, or the form.", status=401, headers=CHALLENGE)
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
        name, colon, password = text.partition(":")
        basic = ClientCredentials(unquote_plus(name, errors="strict"), unquote_plus(password, errors="strict"))
    except (binascii.Error, ValueError):
        colon = ""
    if not colon:
        text = "The Authorization header is malformed."
        raise OAuthError("invalid_client", text, status=401, headers=CHALLENGE) from None
    if client_id not in ("", basic.client_id) or secret not in ("", basic.secret):
        raise OAuthError("invalid_request", "The form and the Authorization header name different clients.")
    return basic


def _single(parameters: Mapping[str, list[str]]) -> dict[str, str]:
    repeated = [name for name, found in parameters.items() if len(found) > 1]
    if repeated:
        raise OAuthError("invalid_request", "A parameter is repeated.")
    return {name: found[0] for name, found in parameters.items()}
