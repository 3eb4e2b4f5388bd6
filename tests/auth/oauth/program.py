"""A program that wants to use the API for somebody: sends them to a browser, and talks to the JSON endpoints."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from gceshim.auth.service_accounts.accounts import ServiceAccounts
from gceshim.model import Credentials
from gceshim.testing.world import World
from tests.auth.consent.visitor import DEMO, Visitor
from tests.auth.service_accounts.signing import header_of, signed
from tests.stores.running import until

GCLOUD = "32555940559.apps.googleusercontent.com"
ADC = "764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com"
API = "https://www.googleapis.com/auth/"
SCOPE = f"openid {API}userinfo.email {API}cloud-platform {API}compute"
LOOPBACK = "http://localhost:8085/"
VERIFIER = "the-verifier-of-a-test-which-has-to-have-43-characters-at-least"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
PKCE = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
FORM = "application/x-www-form-urlencoded"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"

# RFC 6749, 5.2
_ERROR = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")


@dataclass(frozen=True)
class Answer:
    """A reply as it came; `body` is {} for one that is no JSON."""

    status: int
    headers: Mapping[str, str]
    text: str = field(repr=False)
    body: dict[str, Any] = field(repr=False)

    @property
    def error(self) -> tuple[int, str]:
        """Status and RFC 6749's word."""
        return self.status, self.body["error"]


class Program:
    """
    :param keys: API key and secret key of whoever signs in, and of a client that goes by such a pair.
    """

    def __init__(self, world: World, url: str = "", keys: tuple[str, str] | None = None) -> None:
        self.url = url or world.url
        self._world = world
        self.keys = keys or world.cloudstack.keys("demo")

    async def get(self, path: str, headers: Mapping[str, str] | None = None, **query: str) -> Answer:
        text = f"?{urlencode(query)}" if query else ""
        return await self.fetch(path + text, headers=headers)

    async def post(self, path: str, headers: Mapping[str, str] | None = None, **form: str) -> Answer:
        return await self.fetch(path, method="POST", body=urlencode(form), headers=headers)

    async def fetch(self, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        """One request. An error has to have RFC 6749's form."""
        sent = {"Content-Type": FORM, **(headers or {})} if "body" in more else headers
        request = HTTPRequest(
            self.url + path,
            headers=sent,
            follow_redirects=False,
            request_timeout=60,
            allow_nonstandard_methods=True,
            **more,
        )
        reply = await AsyncHTTPClient().fetch(request, raise_error=False)
        text = reply.body.decode()
        is_json = reply.headers.get("Content-Type", "").startswith("application/json")
        answer = Answer(reply.code, reply.headers, text, json.loads(text) if is_json and text else {})
        if answer.status >= 400 and more.get("method") != "HEAD":
            assert set(answer.body) == {"error", "error_description"}
            assert _ERROR.fullmatch(answer.body["error"])
            assert _ERROR.fullmatch(answer.body["error_description"])
            assert answer.headers["Cache-Control"] == "no-store"
        return answer

    async def code(self, *, client_id: str = GCLOUD, **query: str) -> str:
        """The code for which a user signs in and allows the program what it asks for."""
        visitor = Visitor(self.url)
        asked = {"response_type": "code", "client_id": client_id, "redirect_uri": LOOPBACK, "scope": SCOPE} | query
        page = await visitor.get(urlencode(asked))
        if page.status == 200:
            page = await visitor.send(page, **DEMO | {"api_key": self.keys[0], "secret_key": self.keys[1]})
        assert page.status == 303, page.text
        return parse_qs(urlsplit(page.headers["Location"]).query)["code"][0]

    async def exchange(self, code: str, **form: str) -> Answer:
        """A code for tokens, as gcutil does it."""
        usual = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": LOOPBACK,
            "client_id": GCLOUD,
            "client_secret": "not so secret",
            "scope": SCOPE,
        } | form
        return await self.post("/oauth2/token", **{name: value for name, value in usual.items() if value})

    async def refresh(self, refresh_token: str, **form: str) -> Answer:
        """A refresh token for an access token, as gcutil does it."""
        usual = {"grant_type": "refresh_token", "client_id": GCLOUD, "client_secret": "not so secret"}
        return await self.post("/oauth2/token", **usual | {"refresh_token": refresh_token} | form)

    async def login(self, *, pkce: bool = False, **query: str) -> dict[str, Any]:
        """Tokens for somebody who signs in: as gcloud gets them (`pkce`), or as gcutil does."""
        code = await self.code(**(PKCE if pkce else {}) | query)
        answer = await self.exchange(code, **({"code_verifier": VERIFIER} if pkce else {}))
        assert answer.status == 200, answer.text
        return answer.body

    async def may_call(self, access_token: str) -> bool:
        """Whether the API takes the token."""
        headers = {"Authorization": f"Bearer {access_token}"}
        request = HTTPRequest(f"{self.url}/compute/v1/projects/demo/zones", headers=headers)
        reply = await AsyncHTTPClient().fetch(request, raise_error=False)
        assert reply.code in (200, 401), reply.body
        return reply.code == 200

    async def may_call_soon(self, access_token: str) -> bool:
        """The same, when what the server remembers of the token for a moment is forgotten."""
        try:
            await until(lambda: self._refused(access_token), seconds=1.0)
        except TimeoutError:
            return True
        return False

    async def _refused(self, access_token: str) -> bool:
        return not await self.may_call(access_token)


@dataclass(frozen=True)
class Robot:
    """A service account and how it signs."""

    email: str
    _key: Any

    def assertion(self, **claims: Any) -> str:
        """What google-auth signs, with other claims; None leaves one out."""
        return signed(header_of(self._key), self.claims(**claims), self._key.pem)

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(time.time())
        usual = {"iss": self.email, "aud": "https://oauth2.googleapis.com/token", "iat": now, "exp": now + 3600}
        return {name: value for name, value in (usual | {"scope": SCOPE} | changed).items() if value is not None}


async def robot(world: World, name: str = "ci") -> Robot:
    """A new service account of `demo`."""
    credentials = Credentials(*world.cloudstack.keys("demo"))
    account = await world.shim.driver.identity.whoami(credentials)
    accounts = ServiceAccounts(world.shim.store, world.shim.vault)
    made, key = await accounts.create(name, account, credentials)
    return Robot(made.email, key)
