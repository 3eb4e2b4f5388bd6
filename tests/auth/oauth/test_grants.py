"""Authorization requests: which are taken, which are told off at their redirect, and which get a page."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from gceshim.auth.errors import InvalidToken, RevokedToken
from gceshim.auth.oauth.errors import AuthorizationError, AuthorizationRefused
from gceshim.auth.oauth.grants import CODE, PAGE_SECONDS, Grants
from gceshim.auth.oauth.sealing import Sealer
from tests.auth.world import KEY, OTHER_KEY, World, world
from tests.stores.running import in_loop

GCLOUD = "32555940559.apps.googleusercontent.com"
LOOPBACK = "http://localhost:8085/"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
PLAIN: dict[str, Any] = {
    "response_type": "code",
    "client_id": GCLOUD,
    "redirect_uri": LOOPBACK,
    "scope": "openid email",
}


def grants(there: World, **options: Any) -> Grants:
    return Grants(there.tokens(), Sealer([KEY], now=there.now), **options)


def query(**changes: str | list[str] | None) -> dict[str, list[str]]:
    """The parameters of a good request with some changed, repeated (a list) or left out (None)."""
    merged = PLAIN | changes
    return {name: value if isinstance(value, list) else [value] for name, value in merged.items() if value is not None}


@in_loop
async def test_what_gcloud_and_gcutil_send_is_taken() -> None:
    """gcloud sends state and a challenge, gcutil neither."""
    async with world() as there:
        plain = grants(there).parse(query())
        assert (plain.client.public, plain.redirect.uri) == (True, LOOPBACK)
        assert (plain.scopes, plain.state, plain.challenge) == (("openid", "email"), None, None)
        full = grants(there).parse(
            query(
                state="a b&ü",
                code_challenge=CHALLENGE,
                code_challenge_method="S256",
                nonce="n",
                login_hint="jo@example.com",
                access_type="offline",
                scopes="not a parameter",
                client="nor this",
            )
        )
        assert (full.state, full.challenge, full.nonce) == ("a b&ü", CHALLENGE, "n")
        assert full.login_hint == "jo@example.com"


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost:8085/",
        "http://127.0.0.1:1/a/b?c=%20d",
        "http://[::1]:65535/",
        "http://localhost",
        "urn:ietf:wg:oauth:2.0:oob",
        "urn:ietf:wg:oauth:2.0:oob:auto",
        "https://sdk.cloud.google.com/authcode.html",
    ],
)
@in_loop
async def test_answers_go_to_the_users_own_machine_or_screen(uri: str) -> None:
    """RFC 8252: loopback with any port; and what a person copies."""
    async with world() as there:
        assert grants(there).parse(query(redirect_uri=uri)).redirect.uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/",
        "http://evil.example/",
        "http://localhost.evil.com/",
        "http://localhost:80.evil.com/",
        "http://127.0.0.1.evil.com/",
        "http://127.0.0.1@evil.com/",
        "http://127.0.0.1:80@evil.com/",
        "http://user:pass@localhost/",
        "http://localhost\\@evil.com/",
        "http://localhost:80\\.evil.com/",
        "http:\\\\localhost/",
        "//evil.com/",
        "//localhost/",
        "\\\\localhost/",
        "/path",
        "http://localhost%2eevil.com/",
        "http://localhost%00.evil.com/",
        "http://localhost%2f@evil.com/",
        "http://localhost:80%40evil.com/",
        "http://localhost:99999999/",
        "http://localhost:/",
        "http://127.1/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://127.0.0.1./",
        "http://0.0.0.0/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::1].evil.com/",
        "http://[::1]evil.com/",
        "http://LOCALHOST.evil.com/",
        "http://localhost/#fragment",
        "http://localhost/\r\nSet-Cookie: a=b",
        "http://localhost/ x",
        "http://localhost/%zz",
        "http://localhost/\u2028",
        " http://localhost/",
        "http://localhost/\n",
        "https://localhost:8085/",
        "javascript:alert(1)",
        "javascript://localhost/%0aalert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "urn:ietf:wg:oauth:2.0:oob:other",
        "urn:ietf:wg:oauth:2.0:oob\n",
        "https://sdk.cloud.google.com/authcode.html?x=1",
        "https://sdk.cloud.google.com.evil.com/authcode.html",
        "https://sdk.cloud.google.com/authcode.html#x",
        "http://localhost/" + "a" * 3000,
    ],
)
@in_loop
async def test_no_answer_goes_anywhere_else(uri: str) -> None:
    """A redirect that only looks like the user's own machine is shown on a page, and never followed."""
    async with world() as there:
        with pytest.raises(AuthorizationRefused) as caught:
            grants(there).parse(query(redirect_uri=uri))
        assert "evil" not in caught.value.message


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": None},
        {"client_id": ""},
        {"client_id": "with blank"},
        {"client_id": "x" * 201},
        {"client_id": "\ud800"},
        {"client_id": [GCLOUD, GCLOUD]},
        {"redirect_uri": None},
        {"redirect_uri": [LOOPBACK, "https://evil.example/"]},
        {"redirect_uri": [LOOPBACK, LOOPBACK]},
        {"state": ["a", "b"]},
        {"scope": "\ud800"},
    ],
)
@in_loop
async def test_a_request_that_cannot_be_trusted_gets_a_page(changes: dict[str, Any]) -> None:
    """Neither its client nor its redirect is known for certain."""
    async with world() as there:
        with pytest.raises(AuthorizationRefused):
            grants(there).parse(query(**changes))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"response_type": "none"}, "unsupported_response_type"),
        ({"code_challenge": CHALLENGE, "code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": CHALLENGE}, "invalid_request"),
        ({"code_challenge_method": "S256"}, "invalid_request"),
        ({"code_challenge": "short", "code_challenge_method": "S256"}, "invalid_request"),
        ({"code_challenge": [CHALLENGE, CHALLENGE], "code_challenge_method": "S256"}, "invalid_request"),
        ({"scope": 'a "quoted" scope'}, "invalid_scope"),
        ({"scope": " ".join(f"s{number}" for number in range(101))}, "invalid_scope"),
        ({"nonce": "n" * 2001}, "invalid_request"),
        ({"login_hint": ["a", "b"]}, "invalid_request"),
    ],
)
@in_loop
async def test_a_clients_mistake_is_told_to_the_client(changes: dict[str, Any], error: str) -> None:
    """By the redirect, with its state; or on the page, if the redirect is a page."""
    async with world() as there:
        with pytest.raises(AuthorizationError) as caught:
            grants(there).parse(query(state="s", **changes))
        assert caught.value.location.startswith(LOOPBACK + "?")
        told = dict(parse_qsl(urlsplit(caught.value.location).query))
        assert (told["error"], told["state"], bool(told.get("error_description"))) == (error, "s", True)
        with pytest.raises(AuthorizationRefused):
            grants(there).parse(query(redirect_uri="urn:ietf:wg:oauth:2.0:oob", **changes))


@in_loop
async def test_a_challenge_can_be_demanded() -> None:
    """For servers whose clients all know PKCE."""
    async with world() as there:
        strict = grants(there, require_pkce=True)
        with pytest.raises(AuthorizationError):
            strict.parse(query())
        strict.parse(query(code_challenge=CHALLENGE, code_challenge_method="S256"))


@in_loop
async def test_a_sealed_request_comes_back_whole_and_in_time() -> None:
    """It goes through the user's browser, where anything can be done to it."""
    async with world() as there:
        ours = grants(there)
        request = ours.parse(query(state="s", code_challenge=CHALLENGE, code_challenge_method="S256", nonce="n"))
        sealed = ours.seal(request)
        assert ours.unseal(sealed) == request
        code = await ours.allow(request, "subject")
        other = Grants(there.tokens(), Sealer([OTHER_KEY], now=there.now))
        for bad in ("", "a.b.c", sealed[:-2], sealed + "x", code, other.seal(request), "\ud800", "x" * 20_000):
            with pytest.raises(AuthorizationRefused):
                ours.unseal(bad)
        there.advance(PAGE_SECONDS)
        with pytest.raises(AuthorizationRefused):
            ours.unseal(sealed)


@in_loop
async def test_the_longest_request_that_is_taken_can_be_sealed() -> None:
    """Else its user would be told that the page is too old."""
    async with world() as there:
        ours = grants(there)
        scope = " ".join(f"{number:03}" + "s" * 37 for number in range(100))
        most = {"state": "\x01" * 2000, "nonce": "\x01" * 2000, "redirect_uri": LOOPBACK + "a" * 1900, "scope": scope}
        request = ours.parse(query(**most))
        assert ours.unseal(ours.seal(request)) == request


@in_loop
async def test_a_code_tells_what_was_allowed_and_is_used_once() -> None:
    """To one of two that come at the same time."""
    async with world() as there:
        ours = grants(there)
        request = ours.parse(query(code_challenge=CHALLENGE, code_challenge_method="S256", nonce="n"))
        text = await ours.allow(request, "subject")
        code = await ours.code(text)
        assert (code.client, code.redirect_uri, code.scopes) == (GCLOUD, LOOPBACK, ("openid", "email"))
        assert (code.challenge, code.nonce, code.subject) == (CHALLENGE, "n", "subject")
        assert code.family
        await ours.spend(code, "subject")
        with pytest.raises(RevokedToken):
            await ours.spend(code, "subject")
        with pytest.raises(RevokedToken) as caught:
            await ours.code(text)
        assert caught.value.family == code.family


@in_loop
async def test_a_code_lives_for_minutes() -> None:
    """RFC 6749, 4.1.2."""
    async with world() as there:
        ours = grants(there, code_seconds=60)
        public = await ours.allow(ours.parse(query()), "subject")
        own = ours.code_without_page(ours.parse(query(client_id="api-key")))
        assert own is not None
        there.advance(121)
        for text in (public, own, "", "a.b.c", await there.tokens().issue("subject", 60)):
            with pytest.raises(InvalidToken):
                await ours.code(text)


@in_loop
async def test_a_key_client_gets_a_code_without_a_page_and_nothing_is_stored() -> None:
    """Anybody may ask for one, as often as they like; it is worth nothing without the key pair."""
    async with world() as there:
        ours = grants(there)
        assert ours.code_without_page(ours.parse(query())) is None
        text = ours.code_without_page(ours.parse(query(client_id="API-KEY")))
        assert text is not None
        assert await there.store.tokens.get(hashlib.sha256(text.encode()).hexdigest()) is None
        code = await ours.code(text)
        assert (code.subject, code.record) == (None, None)
        assert "API-KEY" not in repr(code)
        await ours.spend(code, "subject")
        with pytest.raises(RevokedToken):
            await ours.spend(code, "subject")


@in_loop
async def test_where_the_browser_goes() -> None:
    """Back to the client with what it sent, or nowhere."""
    async with world() as there:
        ours = grants(there)
        request = ours.parse(query(redirect_uri="http://127.0.0.1:1/?a=b", state="ü&="))
        assert ours.location(request, "CODE") == "http://127.0.0.1:1/?a=b&code=CODE&state=%C3%BC%26%3D"
        assert ours.refusal(request) == "http://127.0.0.1:1/?a=b&error=access_denied&state=%C3%BC%26%3D"
        shown = ours.parse(query(redirect_uri="urn:ietf:wg:oauth:2.0:oob"))
        assert (ours.location(shown, "CODE"), ours.refusal(shown)) == (None, None)


@in_loop
async def test_a_code_is_no_bearer_token() -> None:
    """Nor is any other kind of token a code."""
    async with world() as there:
        ours = grants(there)
        text = await ours.allow(ours.parse(query()), "subject")
        with pytest.raises(InvalidToken):
            await there.tokens().check(text)
        await there.tokens().check(text, kind=CODE)
