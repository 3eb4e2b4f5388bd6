"""
The authorize endpoint: what happens to a request, free of any HTTP library.

    GET   the request is checked -> key clients get a code at once, all others' users see the page
    POST  the sealed request of the form -> is it from our page -> Cancel, or: sign in -> code -> back to the client
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

from gceshim.auth.attempts import Attempts, TooManyAttempts
from gceshim.auth.consent import words
from gceshim.auth.consent.fields import KEYS, Typed, panels
from gceshim.auth.consent.origins import Bindings, Site, is_ours, set_cookie, site
from gceshim.auth.consent.pages import Alert, Consent, Pages, redirect
from gceshim.auth.credentials import StoredCredentials
from gceshim.auth.errors import BackendUnavailable, SignInRefused
from gceshim.auth.oauth import scopes
from gceshim.auth.oauth.errors import AuthorizationError, AuthorizationRefused
from gceshim.auth.oauth.grants import PAGE_SECONDS, AuthorizationRequest, Grants
from gceshim.auth.oauth.handlers import Endpoint
from gceshim.auth.sign_in import SignIn
from gceshim.protocol.wire import WireReply, WireRequest
from gceshim.stores.errors import StoreError

LOG = logging.getLogger("gceshim.auth.consent")

PATHS: Final = ("/oauth2/auth", "/o/oauth2/auth", "/o/oauth2/v2/auth")
SIGN_IN_SECONDS: Final = 90
_MOST_PARAMETERS: Final = 100
_FORM: Final = "application/x-www-form-urlencoded"
_REFUSED: Final = "This request cannot be answered"
_WARNING: Final = "Allow it only if you have just started that program yourself."
_MISSING: Final = Alert("Something is missing.", "Please fill in what is marked below.")
_UNAVAILABLE: Final = Alert(
    "CloudStack cannot be reached.", "What you typed could not be checked. Please try again in a moment."
)
_STALE: Final = Alert(
    "This page was out of date.",
    "It was open for long, or in another window, or cookies are off. Please sign in again; nothing was sent on.",
)


@dataclass(frozen=True, slots=True)
class ConsentOptions:
    """
    :param address: where a request comes from, for counting attempts.
    :param public_url: under which people reach the server; "" if that is not set.
    :param trust_proxy: believe X-Forwarded-Proto and X-Forwarded-Host.
    :param code_seconds: how long a code is good, as the page with a code says.
    """

    address: Callable[[WireRequest], str]
    public_url: str = ""
    trust_proxy: bool = False
    code_seconds: int = 300


class ConsentService:
    """Answers requests to the authorize endpoint with pages and redirects."""

    def __init__(
        self,
        grants: Grants,
        sign_in: SignIn,
        attempts: Attempts,
        bindings: Bindings,
        options: ConsentOptions,
    ) -> None:
        self._grants = grants
        self._sign_in = sign_in
        self._attempts = attempts
        self._bindings = bindings
        self._options = options
        self._pages = Pages()

    @property
    def endpoint(self) -> Endpoint:
        """The service at its place among the endpoints."""
        return Endpoint("oauth.authorize", PATHS, ("GET", "POST"), self.answer)

    async def answer(self, request: WireRequest) -> WireReply:
        """Answer a request. Never raises: every mistake, ours too, is a page."""
        try:
            return await self._answered(request)
        except _Unreadable as exc:
            return self._pages.message(exc.status, _REFUSED, exc.message)
        except AuthorizationRefused as exc:
            return self._pages.message(400, _REFUSED, exc.message)
        except AuthorizationError as exc:
            return redirect(exc.location)
        except Exception:  # the outermost edge: a mistake of ours must not end the server
            LOG.exception("unexpected error")
            return self._pages.message(500, "Something went wrong", "The fault is on this side. Please try again.")

    async def _answered(self, request: WireRequest) -> WireReply:
        if request.method != "POST":
            return self._open(request)
        form = _form(request)
        asked = self._grants.unseal(form.get("request", ""))
        here = self._site(request)
        if not is_ours(request, here) or not self._bindings.is_bound(
            request, here, form["request"], form.get("binding", "")
        ):
            LOG.info("a form was refused, which does not come from our page")
            return self._page(request, asked, 403, alert=_STALE)
        if form.get("decision") == "allow":
            return await self._allow(request, asked, Typed.of(form))
        return self._cancel(request, asked)

    def _open(self, request: WireRequest) -> WireReply:
        try:
            query = parse_qs(request.query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
        except ValueError as exc:
            raise _Unreadable(400, "It has too many parameters.") from exc
        asked = self._grants.parse(query)
        code = self._grants.code_without_page(asked)
        return self._page(request, asked) if code is None else self._deliver(asked, code, "")

    async def _allow(self, request: WireRequest, asked: AuthorizationRequest, typed: Typed) -> WireReply:
        if typed.missing:
            return self._page(request, asked, 400, typed=typed, alert=_MISSING)
        try:
            attempt = self._attempts.begin(self._options.address(request), typed.identity)
        except TooManyAttempts as exc:
            LOG.info("signing in with %s was put off: too many attempts", typed.way)
            wait = exc.retry_after_seconds
            alert = Alert(
                "Too many attempts failed.",
                f"Please wait {wait} {'second' if wait == 1 else 'seconds'}, then try again.",
            )
            reply = self._page(request, asked, 429, typed=typed, alert=alert)
            return reply.with_headers({"Retry-After": str(wait)})
        try:
            async with asyncio.timeout(SIGN_IN_SECONDS):
                stored = await self._signed_in(typed)
            code = await self._grants.allow(asked, stored.subject)
        except SignInRefused as exc:  # the one outcome that counts
            self._attempts.failed(attempt)
            LOG.info("signing in with %s was refused", typed.way)
            return self._page(request, asked, 403, typed=typed, alert=_alert(exc), refused=True)
        except (BackendUnavailable, StoreError, TimeoutError) as exc:
            self._attempts.forget(attempt)
            LOG.warning("signing in with %s could not be tried: %s", typed.way, type(exc).__name__)
            return self._page(request, asked, 503, typed=typed, alert=_UNAVAILABLE)
        except BaseException:
            self._attempts.failed(attempt)
            raise
        self._attempts.succeeded(attempt)
        LOG.info("%s allowed %s to act for them", stored.subject, asked.client.name)
        return self._done(request, self._deliver(asked, code, stored.account.email))

    async def _signed_in(self, typed: Typed) -> StoredCredentials:
        values = typed.values
        if typed.way == KEYS:
            return await self._sign_in.with_keys(values["api_key"], values["secret_key"])
        return await self._sign_in.with_password(values["username"], values["password"], values["domain"])

    def _cancel(self, request: WireRequest, asked: AuthorizationRequest) -> WireReply:
        if location := self._grants.refusal(asked):
            return self._done(request, redirect(location))
        said = f"{asked.client.name} may not use your cloud. You can close this page, and end the program that asks."
        return self._done(request, self._pages.message(200, "You have refused", said))

    def _deliver(self, asked: AuthorizationRequest, code: str, email: str) -> WireReply:
        if location := self._grants.location(asked, code):
            return redirect(location)
        return self._pages.code(asked.client.name, email, code, self._options.code_seconds)

    def _page(
        self,
        request: WireRequest,
        asked: AuthorizationRequest,
        status: int = 200,
        *,
        typed: Typed | None = None,
        alert: Alert | None = None,
        refused: bool = False,
    ) -> WireReply:
        here = self._site(request)
        cookie = self._bindings.cookie_of(request, here)
        sealed = self._grants.seal(asked)
        page = Consent(
            client=asked.client.name,
            permissions=words.permissions(scopes.full(asked.scopes)),
            destination=_destination(asked),
            target=asked.redirect.uri,
            account=asked.login_hint,
            action=request.path.rpartition("/")[2],  # relative, so that it holds under any prefix
            sealed=sealed,
            binding=self._bindings.bind(cookie, sealed),
            panels=panels(typed, refused=refused),
            alert=alert,
        )
        return self._pages.consent(page, status).with_headers({"Set-Cookie": set_cookie(here, cookie, PAGE_SECONDS)})

    def _done(self, request: WireRequest, reply: WireReply) -> WireReply:
        """The answer to a form that is not to be sent again: without the cookie it is worth nothing."""
        return reply.with_headers({"Set-Cookie": set_cookie(self._site(request), "", 0)})

    def _site(self, request: WireRequest) -> Site:
        return site(request, public_url=self._options.public_url, trust_proxy=self._options.trust_proxy)


class _Unreadable(Exception):
    """The request is not one that our page makes."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def _form(request: WireRequest) -> Mapping[str, str]:
    """The form's fields, each given once."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise _Unreadable(415, "What was sent is no form.")
    try:
        text = request.body.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError as exc:  # UnicodeDecodeError is one
        raise _Unreadable(400, "What was sent is no form.") from exc
    form = dict(pairs)
    if len(form) != len(pairs):
        raise _Unreadable(400, "A field of the form was sent twice.")
    return form


def _destination(asked: AuthorizationRequest) -> str:
    if asked.redirect.shows_code:
        return f"If you allow it, this page shows a code, which you copy into the program yourself. {_WARNING}"
    port = urlsplit(asked.redirect.uri).port or 80
    return f"If you allow it, the answer goes to a program on this computer, at port {port}. {_WARNING}"


def _alert(error: SignInRefused) -> Alert:
    return Alert("You are not signed in.", error.message)
