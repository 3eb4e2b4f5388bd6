"""Replies of the OAuth2 endpoints: JSON, and errors in the form of RFC 6749, 5.2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from gceshim.protocol.errors import RateLimitExceeded
from gceshim.protocol.wire import WireReply, json_reply

# RFC 6749, 5.2: what error_description may hold
_UNFIT: Final = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
_MAX_DESCRIPTION_LENGTH: Final = 500
_UNKEPT: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749, 5.1


class OAuthError(Exception):
    """
    An error of an OAuth2 endpoint.

    :param error: one of RFC 6749's words. :param description: for a person; holds nothing secret.
    """

    def __init__(
        self, error: str, description: str, *, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = _UNFIT.sub("'", description)[:_MAX_DESCRIPTION_LENGTH]
        self.status = status
        self.headers = dict(headers or {})


def unavailable() -> OAuthError:
    """What is answered while the store or the backend gives no answer."""
    text = "The server cannot tell just now; try again."
    return OAuthError("temporarily_unavailable", text, status=503, headers={"Retry-After": "5"})


def too_many(error: RateLimitExceeded) -> OAuthError:
    """What is answered to those who ask too often without being known."""
    return OAuthError("temporarily_unavailable", error.message, status=error.status, headers=error.headers)


def too_many_attempts(after_seconds: int) -> OAuthError:
    """What is answered to those who have not known a client's secret too often."""
    text = "Too many attempts of this client have failed; wait, and try again."
    return OAuthError("temporarily_unavailable", text, status=429, headers={"Retry-After": str(after_seconds)})


def error_reply(error: OAuthError) -> WireReply:
    """The error as an HTTP reply."""
    body = {"error": error.error, "error_description": error.description}
    return reply(body, status=error.status).with_headers(error.headers)


def reply(body: Mapping[str, Any], *, status: int = 200) -> WireReply:
    """An object as an HTTP reply, which nobody is to keep."""
    return json_reply(body, status=status).with_headers(_UNKEPT)
