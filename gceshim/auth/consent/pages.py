"""HTML pages: what is shown, and the headers that keep a page from being framed, stored, scripted or redirected."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tornado.template import Loader

from gceshim.auth.consent.fields import Panel
from gceshim.auth.consent.words import Permissions
from gceshim.auth.sign_in import MAX_TYPED_LENGTH
from gceshim.protocol.wire import WireReply

FOLDER: Final = Path(__file__).with_name("pages")
REFERRER_POLICY: Final = "no-referrer"
FORM_REFERRER_POLICY: Final = "same-origin"
"""Of the page with the form: told `no-referrer`, browsers send it with `Origin: null`, which says nothing."""


@dataclass(frozen=True, slots=True)
class Alert:
    """What went wrong, above the form."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Consent:
    """
    The page that asks.

    :param client: who asks. :param destination: a sentence on where the answer goes. :param target: its URI.
    :param account: whom the client expects, "" if it does not say.
    :param action: path that the form is sent to. :param sealed: the request. :param binding: ties it to the cookie.
    """

    client: str
    permissions: Permissions
    destination: str
    target: str
    account: str
    action: str
    sealed: str
    binding: str
    panels: tuple[Panel, ...]
    alert: Alert | None = None


class Pages:
    """Renders them. Reads the templates when it is made."""

    def __init__(self) -> None:
        loader = Loader(str(FOLDER))
        self._templates = {name: loader.load(f"{name}.html") for name in ("consent", "code", "message")}
        # As one paragraph: what the browser hashes is the text between the tags, to the letter.
        self._style = (FOLDER / "style.css").read_text(encoding="utf-8").strip()
        digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        self._policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"

    def consent(self, page: Consent, status: int = 200) -> WireReply:
        """The page with the form."""
        title = f"{'Error: ' if page.alert else ''}Allow access to your cloud?"
        values = {name: getattr(page, name) for name in Consent.__slots__}
        target = f"'self' {origin}" if (origin := _origin(page.target)) else "'self'"
        reply = self._reply(status, "consent", target, title=title, longest=MAX_TYPED_LENGTH, **values)
        return reply.with_headers({"Referrer-Policy": FORM_REFERRER_POLICY})

    def code(self, client: str, email: str, code: str, lifetime_seconds: int) -> WireReply:
        """
        The page with a code to copy.

        :param email: who has signed in; "" if nobody has.
        """
        return self._reply(
            200,
            "code",
            "'none'",
            title="Copy this code",
            client=client,
            email=email,
            code=code,
            lifetime=_duration(lifetime_seconds),
        )

    def message(self, status: int, title: str, *paragraphs: str) -> WireReply:
        """A page with nothing but text."""
        return self._reply(status, "message", "'none'", title=title, paragraphs=paragraphs)

    def _reply(self, status: int, template: str, form_action: str, **values: Any) -> WireReply:
        body: bytes = self._templates[template].generate(style=self._style, **values)
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": f"{self._policy}; form-action {form_action}",
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": REFERRER_POLICY,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        return WireReply(status, headers, body)


def redirect(location: str, status: int = 303) -> WireReply:
    """Sends the browser on, which is not to tell there where it comes from."""
    return WireReply(status, {"Location": location, "Referrer-Policy": REFERRER_POLICY, "Cache-Control": "no-store"})


def _origin(uri: str) -> str:
    """
    Where the answer to the form may lead: browsers hold `form-action` against redirects too. "" for no web address.

    A policy cannot name an IPv6 address; for that one any port of any host over plain HTTP is allowed.
    """
    parts = urlsplit(uri)
    if parts.scheme != "http":
        return ""
    return "http:" if "[" in parts.netloc else f"http://{parts.netloc}"


def _duration(seconds: int) -> str:
    minutes = round(seconds / 60)
    return "one minute" if minutes == 1 else f"{minutes} minutes"
