"""What an attacker tries on the page: forged forms, framing, scripts, guessing, redirects to elsewhere."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from gceshim.auth.consent import service
from gceshim.testing.world import World
from tests.auth.consent.visitor import AUTHORIZE, BY_NAME, DEMO, OOB, Page, Visitor, query

pytestmark = pytest.mark.gen_test

MARKUP = """"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7919 * 7907 }}{% raw x %}</textarea></style>"""

#: Of the characters that a scope may have.
SCOPES_OF_MARKUP = "<script>alert(1)</script> <img/src=x/onerror=alert(1)> {{7919*7907}}"


@pytest.fixture
def visitor(world: World) -> Visitor:
    """The victim's browser."""
    return Visitor(world.url)


async def refused(world: World, answer: Page) -> None:
    """Nothing was done, and the person is told."""
    assert answer.status == 403
    assert answer.alert.startswith("This page was out of date.")
    assert "Location" not in answer.headers
    assert await world.shim.vault.list() == []


def resealed(sealed: str, **changed: Any) -> str:
    """The sealed request with other contents and the old signature."""
    head, body, signature = sealed.split(".")
    note = json.loads(base64.urlsafe_b64decode(body + "=="))
    note["note"] |= changed
    altered = base64.urlsafe_b64encode(json.dumps(note).encode()).decode().rstrip("=")
    return f"{head}.{altered}.{signature}"


async def test_a_form_without_the_cookie_is_refused(world: World, visitor: Visitor) -> None:
    """As it comes from another site, for which browsers do not send it."""
    page = await visitor.get()
    visitor.cookies.clear()
    await refused(world, await visitor.send(page, **DEMO))


async def test_a_form_with_another_browsers_cookie_is_refused(world: World, visitor: Visitor) -> None:
    """An attacker's own page, and what goes with it, is worth nothing in the victim's browser."""
    attacker = Visitor(world.url)
    theirs = await attacker.get()
    await visitor.get()
    await refused(world, await visitor.send(theirs, **DEMO))


async def test_a_binding_for_another_request_is_refused(world: World, visitor: Visitor) -> None:
    """What was shown is what is allowed: the page of one request does not answer another."""
    shown, other = await visitor.get(), await visitor.get(query(redirect_uri=OOB))
    mixed = DEMO | {"request": other.forms[0]["request"]}
    await refused(world, await visitor.send(shown, **mixed))


@pytest.mark.parametrize("binding", ["", "0" * 64, "é", "\ud800", "x" * 5000])
async def test_a_made_up_binding_is_refused(world: World, visitor: Visitor, binding: str) -> None:
    """Whatever it looks like."""
    page = await visitor.get()
    form = page.forms[1] | DEMO | {"binding": binding}
    answer = await visitor.post(f"{world.url}{AUTHORIZE}", form, {"Sec-Fetch-Site": "same-origin"})
    await refused(world, answer)


async def test_a_form_is_good_for_one_answer(world: World, visitor: Visitor) -> None:
    """Sent again from the browser's history it does nothing; nor with a cookie that was seen before."""
    page = await visitor.get()
    kept = dict(visitor.cookies)
    assert (await visitor.send(page, decision="cancel")).status == 303
    assert visitor.cookies == {}
    await refused(world, await visitor.send(page, **DEMO))
    assert visitor.cookies != kept


@pytest.mark.parametrize(
    ("origin", "site"),
    [
        (None, None),
        ("null", None),
        ("https://evil.example", None),
        ("https://evil.example", "cross-site"),
        ("http://localhost:1", "same-site"),
        ("http://127.0.0.1", None),
        ("http://[", None),
        ("", "cross-site"),
        ("", "same-site"),
        ("", "none"),
        (None, "cross-site"),
        ("null", "cross-site"),
    ],
)
async def test_a_form_from_elsewhere_is_refused(
    world: World, visitor: Visitor, origin: str | None, site: str | None
) -> None:
    """Even with the cookie: the browser says where it comes from, and one that says nothing is not believed."""
    await refused(world, await visitor.send(await visitor.get(), origin=origin, site=site, **DEMO))


@pytest.mark.parametrize(
    ("origin", "site"), [("", None), ("", "same-origin"), (None, "same-origin"), ("null", "same-origin")]
)
async def test_a_form_from_our_page_is_taken_whatever_the_browser_leaves_out(
    visitor: Visitor, origin: str | None, site: str | None
) -> None:
    """Older ones know no Sec-Fetch-Site; some extensions take the Origin away."""
    assert (await visitor.send(await visitor.get(), origin=origin, site=site, **DEMO)).status == 303


@pytest.mark.parametrize("shim_settings", [{"server.trust_proxy": True}])
@pytest.mark.parametrize(("origin", "status"), [("https://gce.example.org", 303), ("http://gce.example.org", 403)])
async def test_over_tls_a_form_from_the_same_host_without_tls_is_refused(
    world: World, origin: str, status: int
) -> None:
    """Whoever is on the wire can make such a page."""
    visitor = Visitor(world.url, **{"X-Forwarded-Proto": "https", "X-Forwarded-Host": "gce.example.org"})
    assert (await visitor.send(await visitor.get(), origin=origin, **DEMO)).status == status


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(visitor: Visitor) -> None:
    """And random for each browser."""
    header = (await visitor.get()).headers["Set-Cookie"]
    assert re.fullmatch(r"gceshim-consent=[\w-]{43}; HttpOnly; SameSite=Strict; Max-Age=1800", header)
    assert header != (await Visitor(visitor.url).get()).headers["Set-Cookie"]


@pytest.mark.parametrize(
    "sealed",
    [
        "",
        "a.b.c",
        "x" * 20_000,
        "é",
        "eyJhbGciOiJub25lIn0.e30.",
    ],
)
async def test_a_made_up_request_is_refused(world: World, visitor: Visitor, sealed: str) -> None:
    """With a page, and with no redirect."""
    page = await visitor.get()
    answer = await visitor.send(page, **DEMO, request=sealed)
    assert (answer.status, answer.title) == (400, "This request cannot be answered")
    assert await world.shim.vault.list() == []


@pytest.mark.parametrize(
    "changed",
    [
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": OOB},
        {"scopes": ["everything"]},
        {"client_id": "demo-api-key"},
        {"challenge": None},
        {"state": "another"},
        {},
    ],
)
async def test_a_request_that_was_tampered_with_is_refused(
    world: World, visitor: Visitor, changed: Mapping[str, Any]
) -> None:
    """Anything in it: the answer would go elsewhere, or be worth more than was shown."""
    page = await visitor.get()
    altered = resealed(page.forms[0]["request"], **changed)
    answer = await visitor.send(page, **DEMO, request=altered)
    assert (answer.status, answer.title) == (400, "This request cannot be answered")


async def test_a_page_that_was_open_for_too_long_is_refused(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    """Half an hour; a link found later in some history must not lead on."""
    sealer = world.shim.consent._grants._sealer
    page = await visitor.get()
    now = sealer._now
    monkeypatch.setattr(sealer, "_now", lambda: now().replace(year=now().year + 1))
    answer = await visitor.send(page, **DEMO)
    assert answer.status == 400
    assert "open for too long" in answer.words


@pytest.mark.parametrize(
    "asked",
    [
        query(),
        query(redirect_uri=OOB),
        query(redirect_uri="https://evil.example"),
        query(client_id=None),
        query(client_id="demo-api-key", redirect_uri=OOB),
    ],
)
async def test_no_page_can_be_framed_stored_scripted_or_sniffed(visitor: Visitor, asked: str) -> None:
    """Pages with and without a form."""
    page = await visitor.get(asked)
    policy = dict(part.strip().partition(" ")[::2] for part in page.headers["Content-Security-Policy"].split(";"))
    [style] = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy["default-src"] == "'none'"
    assert policy["style-src"] == f"'sha256-{digest}'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] in ("'none'", "'self'", "'self' http://localhost:8085")
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == ("same-origin" if page.forms else "no-referrer")
    assert not [tag for tag, _ in page.tags if tag in {"script", "iframe", "object", "embed", "link", "base", "img"}]
    assert not [found for _, found in page.tags if any(name.startswith("on") for name in found)]


@pytest.mark.parametrize("redirect", ["http://localhost:8085/", "http://127.0.0.1:1/x", "http://[::1]:9/"])
async def test_the_form_may_lead_to_the_page_itself_and_to_the_program_that_asks(
    visitor: Visitor, redirect: str
) -> None:
    """A policy can name no IPv6 address, which costs that one some strictness."""
    page = await visitor.get(query(redirect_uri=redirect))
    allowed = "http:" if "[" in redirect else redirect.rpartition("/")[0]
    assert page.headers["Content-Security-Policy"].endswith(f"form-action 'self' {allowed}")


@pytest.mark.parametrize("name", ["client_id", "redirect_uri", "scope", "state", "login_hint", "prompt", "nonce", "x"])
async def test_no_parameter_gets_markup_into_the_page(visitor: Visitor, name: str) -> None:
    """Neither into the page with the form nor into those that say no."""
    for redirect in ("http://localhost:8085/", OOB, MARKUP):
        for markup in (MARKUP, SCOPES_OF_MARKUP):
            check_no_markup(await visitor.get(query(**({"redirect_uri": redirect} | {name: markup}))))


@pytest.mark.parametrize("name", ["username", "password", "domain", "api_key", "secret_key", "way", "decision"])
async def test_nothing_typed_gets_markup_into_the_page(visitor: Visitor, name: str) -> None:
    """What was typed comes back in the form."""
    for way in ("password", "keys"):
        page = await visitor.get()
        fields = {"username": "x", "password": "x", "api_key": "x", "secret_key": "x", "decision": "allow"}
        posted = page.forms[0] | fields | {"way": way, name: MARKUP}
        answer = await visitor.post(f"{visitor.url}{AUTHORIZE}", posted, {"Sec-Fetch-Site": "same-origin"})
        check_no_markup(answer)
        if name in {"username", "domain"} and way == "password":
            assert answer.inputs[name]["value"] == MARKUP


def check_no_markup(page: Page) -> None:
    """Not one tag more than ours, and nothing taken for a template."""
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert "<script" not in page.text
    assert "62615533" not in page.text
    assert not any("onerror" in found for _, found in page.tags)


@pytest.mark.parametrize("name", ["redirect_uri", "location", "action", "continue", "client_id", "state"])
async def test_no_field_of_the_form_changes_where_the_answer_goes(visitor: Visitor, name: str) -> None:
    """It goes to what was sealed."""
    page = await visitor.get()
    answer = await visitor.send(page, **DEMO, **{name: "https://evil.example/"})
    assert answer.headers["Location"].startswith("http://localhost:8085/?code=")
    assert answer.headers["Location"].endswith("&state=the-state")


@pytest.mark.parametrize(
    "redirect",
    [
        "https://evil.example/",
        "http://localhost.evil.example/",
        "http://localhost@evil.example/",
        "http://localhost:80@evil.example/",
        "http://evil.example#http://localhost/",
        "http://127.0.0.1.evil.example/",
        "http://localhost\\@evil.example/",
        "//localhost:8085/",
        "javascript:alert(1)",
        "data:text/html,x",
        "http://localhost:8085/\r\nSet-Cookie: a=b",
        "https://localhost:8085/",
        "https://sdk.cloud.google.com/authcode.html?x",
        "http://localhost:99999999/",
        "http://localhost:65536/",
        "http://[::1]:99999/",
        "http://127.0.0.1:0/",
    ],
)
async def test_the_endpoint_is_no_open_redirect(visitor: Visitor, redirect: str) -> None:
    """Not for a request with a mistake either, nor for a key client, whose code would go there at once."""
    mistake = {"response_type": "token"}
    for changed in ({}, mistake, {"client_id": "demo-api-key"}, {"client_id": "demo-api-key"} | mistake):
        page = await visitor.get(query(redirect_uri=redirect, **changed))
        assert page.status == 400
        assert "Location" not in page.headers


@pytest.mark.parametrize("shim_settings", [{"oauth.sign_in_attempts_per_minute": 5}])
@pytest.mark.parametrize("way", [DEMO | {"secret_key": "x"}, BY_NAME | {"password": "x"}], ids=["keys", "password"])
async def test_guessing_ends_after_a_few_attempts(world: World, visitor: Visitor, way: dict[str, str]) -> None:
    """429, and CloudStack is not asked any more, even for what would be right; the person is told how long to wait."""
    page = await visitor.get()
    for _ in range(5):
        page = await visitor.send(page, **way)
        assert page.status == 403
    asked = len(world.cloudstack.calls)
    for right in (way, DEMO, BY_NAME):
        page = await visitor.send(page, **right, domain="")
        assert page.status == 429
        assert 1 <= int(page.headers["Retry-After"]) <= 60
        assert page.alert.startswith("Too many attempts failed. Please wait ")
    assert len(world.cloudstack.calls) == asked
    assert (await visitor.send(page, decision="cancel")).status == 303


@pytest.mark.parametrize("shim_settings", [{"oauth.sign_in_attempts_per_minute": 5}])
async def test_guesses_at_the_same_moment_are_counted(world: World, visitor: Visitor) -> None:
    """A hundred at once are not one attempt."""
    page = await visitor.get()
    answers = await asyncio.gather(
        *(visitor.send(page, way="keys", api_key="x", secret_key=f"{n}", decision="allow") for n in range(100))
    )
    assert sorted(answer.status for answer in answers) == [403] * 5 + [429] * 95


@pytest.mark.parametrize("shim_settings", [{"oauth.sign_in_attempts_per_minute": 2, "server.trust_proxy": True}])
async def test_behind_a_proxy_each_client_is_an_address_of_its_own(world: World) -> None:
    """By the address that the proxy adds; what the client put before that itself is not looked at."""

    def at(address: str) -> Visitor:
        return Visitor(world.url, **{"X-Forwarded-For": address})

    async def fail(address: str, name: str) -> int:
        visitor = at(address)
        return (await visitor.send(await visitor.get(), **BY_NAME | {"username": name, "password": "x"})).status

    made_up = [await fail(f"198.51.100.{number}, 192.0.2.1", f"user {number}") for number in range(4)]
    assert made_up == [403, 403, 429, 429]
    assert await fail("192.0.2.2", "somebody") == 403


@pytest.mark.parametrize("shim_settings", [{"oauth.sign_in_attempts_per_minute": 2, "server.trust_proxy": True}])
async def test_an_attacker_who_knows_a_name_does_not_shut_its_owner_out(world: World) -> None:
    """One address is turned away long before; with many, the owner comes in from where they were, or by key."""

    async def sign_in(address: str, fields: Mapping[str, str]) -> int:
        visitor = Visitor(world.url, **{"X-Forwarded-For": address})
        return (await visitor.send(await visitor.get(), **fields)).status

    guess = BY_NAME | {"password": "x"}
    owner, elsewhere = "203.0.113.1", "203.0.113.2"
    for _ in range(20):
        await sign_in("198.51.100.1", guess)
    assert await sign_in(owner, BY_NAME) == 303
    for number in range(2, 10):
        await sign_in(f"198.51.100.{number}", guess)
    assert await sign_in(elsewhere, BY_NAME) == 429
    assert await sign_in(elsewhere, DEMO) == 303
    assert await sign_in(owner, BY_NAME) == 303


async def test_names_that_cloudstack_does_not_tell_apart_are_counted_together(
    world: World, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise each spelling would have attempts of its own."""
    seen = set()
    attempts = world.shim.consent._attempts
    begin = attempts.begin
    monkeypatch.setattr(attempts, "begin", lambda address, identity: seen.add(identity) or begin(address, identity))
    page = await visitor.get()
    for name, domain in [("demo", ""), ("DEMO ", "/"), ("demo", "ROOT"), ("demo", "/Root/")]:
        page = await visitor.send(page, **BY_NAME | {"username": name, "password": "x", "domain": domain})
    assert len(seen) == 1
    await visitor.send(page, **BY_NAME | {"password": "x", "domain": "branch"})
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"&".join(b"a%d=b" % number for number in range(101)), None, 400),
        (b"request=\xff\xfe", None, 400),
        (b"%ff%fe=%ff&request=%00", None, 400),
        (b"", None, 400),
        (b"{}", "application/json", 415),
        (b"--x\r\n", "multipart/form-data; boundary=x", 415),
        (b"a=" + b"x" * 70_000, None, 413),
    ],
)
async def test_what_is_no_form_of_ours_is_refused(
    visitor: Visitor, body: bytes, content_type: str | None, status: int
) -> None:
    """With a 4xx, whatever it is."""
    headers = {"Content-Type": content_type or "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    page = await visitor.fetch(f"{visitor.url}{AUTHORIZE}", method="POST", body=body, headers=headers)
    assert page.status == status


@pytest.mark.parametrize("name", ["request", "decision", "username"])
async def test_a_field_that_comes_twice_is_refused(world: World, visitor: Visitor, name: str) -> None:
    """Two readers of the form could take different ones; RFC 6749, 3.1."""
    page = await visitor.get()
    form = page.forms[0] | BY_NAME
    body = urlencode([(name, form[name]), *form.items()])
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    page = await visitor.fetch(f"{visitor.url}{AUTHORIZE}", method="POST", body=body, headers=headers)
    assert (page.status, "sent twice" in page.words) == (400, True)
    assert await world.shim.vault.list() == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_are_refused(visitor: Visitor, method: str) -> None:
    """There is nothing that they could mean."""
    page = await visitor.fetch(
        f"{visitor.url}{AUTHORIZE}?{query()}", method=method, headers={}, allow_nonstandard_methods=True
    )
    assert (page.status, page.headers["Allow"]) == (405, "GET, POST")


async def test_a_mistake_of_ours_tells_nothing(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A page, and the details in the log alone."""

    def broken(scopes: object) -> None:
        raise RuntimeError("INNER DETAIL")

    monkeypatch.setattr(service.words, "permissions", broken)
    page = await visitor.get()
    assert (page.status, page.title) == (500, "Something went wrong")
    assert "INNER DETAIL" not in page.text
    assert "INNER DETAIL" in caplog.text


async def test_a_long_query_is_refused(visitor: Visitor) -> None:
    """Before it costs much."""
    many = urlencode([(f"a{number}", "b") for number in range(200)])
    assert (await visitor.get(f"{query()}&{many}")).status == 400
    assert (await visitor.get(query(redirect_uri="http://localhost:1/" + "x" * 3000))).status == 400


async def test_a_page_of_another_server_is_not_ours(world: World, visitor: Visitor) -> None:
    """Its Origin is another, and so is its Host; both have to be what the browser itself says."""
    page = await visitor.get()
    await refused(world, await visitor.send(replace(page, action="auth"), origin="http://127.0.0.1:1", **DEMO))
