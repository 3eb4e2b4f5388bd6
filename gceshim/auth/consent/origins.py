"""
Whether a form comes from our own page in the browser that we showed it to.

Nobody is signed in here between two requests, so a forged form cannot borrow anybody's rights. What it could do is to
make a victim's program act as the attacker, or to guess passwords from a victim's address. Against both: a random
cookie that no script sees and that no other site's request carries, a form bound to that cookie and to the request it
is about, and what browsers themselves say about where a form comes from.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gceshim.auth.masterkey import MasterKey
from gceshim.protocol.wire import WireRequest

PURPOSE: Final = "gceshim consent forms bound to a cookie, HMAC-SHA256, 1"
COOKIE: Final = "gceshim-consent"
_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Site:
    """The server as this browser reaches it."""

    scheme: str
    host: str

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    @property
    def cookie(self) -> str:
        """The cookie's name. With `__Host-` browsers take it from this host alone, over TLS."""
        return f"__Host-{COOKIE}" if self.secure else COOKIE


def site(request: WireRequest, *, public_url: str, trust_proxy: bool) -> Site:
    """
    The server as the browser that sent the request reaches it.

    :param public_url: tells the scheme where the request came to that host. :param trust_proxy: so do its headers.
    """
    scheme, host = request.scheme, request.host.lower()
    if trust_proxy:
        forwarded = _first(request, "x-forwarded-proto").lower()
        scheme = forwarded if forwarded in ("http", "https") else scheme
        host = _first(request, "x-forwarded-host").lower() or host
    public = urlsplit(public_url)
    return Site(public.scheme if public.netloc.lower() == host else scheme, host)


def is_ours(request: WireRequest, here: Site) -> bool:
    """
    Whether the browser says that the form comes from a page of this server. One of the two headers has to be there.

    A proxy may end TLS unknown to us, so `https` is believed where we see `http`; never the other way round.
    """
    fetch_site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if fetch_site is not None and fetch_site != "same-origin":
        return False
    if origin is None or origin == "null":  # as browsers say that are told to name no referrer
        return fetch_site == "same-origin"
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in {"https", here.scheme} and parts.netloc.lower() == here.host


class Bindings:
    """
    Binds forms to a browser.

    :param keys: master keys; the first binds, all may have bound.
    """

    def __init__(self, keys: Sequence[MasterKey]) -> None:
        self.use_keys(keys)

    def use_keys(self, keys: Sequence[MasterKey]) -> None:
        """Go on with these keys instead."""
        self._keys = [key.derive(PURPOSE) for key in keys]

    def cookie_of(self, request: WireRequest, here: Site) -> str:
        """The browser's cookie if it has one, so that two pages can be open at once; else a new one."""
        return next(iter(_cookies(request, here)), secrets.token_urlsafe(32))

    def bind(self, cookie: str, sealed: str) -> str:
        """What the form carries beside the sealed request."""
        return _mac(self._keys[0], cookie, sealed)

    def is_bound(self, request: WireRequest, here: Site, sealed: str, binding: str) -> bool:
        """Whether the form was made for this browser's cookie and this sealed request."""
        given = binding.encode("utf-8", "surrogatepass")
        return any(
            hmac.compare_digest(_mac(key, cookie, sealed).encode(), given)
            for cookie in _cookies(request, here)
            for key in self._keys
        )


def set_cookie(here: Site, value: str, lifetime_seconds: int) -> str:
    """
    The header that sets the cookie; a lifetime of 0 removes it.

    Strict is good enough though the page is opened from outside: it need not come with the request for the page, and
    the form is sent by our own page. Without TLS no path is named: browsers then take the folder that they see, which
    need not be the one that we see behind a proxy.
    """
    where = "; Path=/; Secure" if here.secure else ""
    return f"{here.cookie}={value}{where}; HttpOnly; SameSite=Strict; Max-Age={lifetime_seconds}"


def _cookies(request: WireRequest, here: Site) -> list[str]:
    pairs = (pair.strip().partition("=") for pair in request.headers.get("cookie", "").split(";"))
    return [value for name, _, value in pairs if name == here.cookie and _VALUE.fullmatch(value)]


def _mac(key: bytes, cookie: str, sealed: str) -> str:
    return hmac.new(key, f"{cookie}.{sealed}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _first(request: WireRequest, header: str) -> str:
    return request.headers.get(header, "").split(",")[0].strip()
