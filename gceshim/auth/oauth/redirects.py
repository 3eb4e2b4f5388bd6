"""Where an authorization code may go: to a program on the user's own machine, or before the user's eyes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

# RFC 8252, 7.3: loopback, any port. Spelled out rather than taken apart, as browsers and libraries disagree about
# what a strange URL means: here is no user, no other spelling of an address, no backslash, blank or fragment.
_LOOPBACK: Final = re.compile(
    r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?"
    r"(?:\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?"
)
_MAX_LENGTH: Final = 2_000
_HTTP_PORT: Final = 80
_HIGHEST_PORT: Final = 65_535
_SHOWN: Final = frozenset(
    {
        "urn:ietf:wg:oauth:2.0:oob",
        "urn:ietf:wg:oauth:2.0:oob:auto",
        "https://sdk.cloud.google.com/authcode.html",  # gcloud auth login --no-launch-browser
    }
)


@dataclass(frozen=True, slots=True)
class Redirect:
    """
    :param uri: the `redirect_uri` as it was sent, which the token request has to repeat.
    """

    uri: str

    @property
    def shows_code(self) -> bool:
        """The page shows the code for the user to copy, and the browser goes nowhere."""
        return self.uri in _SHOWN

    def location(self, parameters: Sequence[tuple[str, str]]) -> str | None:
        """The URL to send the browser to; None if it goes nowhere."""
        if self.shows_code:
            return None
        return f"{self.uri}{'&' if '?' in self.uri else '?'}{urlencode(parameters)}"


def find(uri: str) -> Redirect | None:
    """The redirect of a `redirect_uri`; None for one that is not allowed."""
    if uri in _SHOWN:
        return Redirect(uri)
    loopback = _LOOPBACK.fullmatch(uri) if len(uri) <= _MAX_LENGTH else None
    if loopback is None or not 1 <= int(loopback["port"] or _HTTP_PORT) <= _HIGHEST_PORT:
        return None
    return Redirect(uri)
