"""The authorize endpoint as a browser sees it: pages, redirects, and codes that come of them."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from gceshim.protocol.discovery import Document
from gceshim.testing.world import World
from tests.auth.consent.visitor import API, AUTHCODE, AUTHORIZE, BY_NAME, DEMO, LOOPBACK, OOB, Visitor, query

pytestmark = pytest.mark.gen_test

SUBJECT = re.compile(r"demo@demo/ROOT#[0-9a-f]{8}")


@pytest.fixture
def visitor(world: World) -> Visitor:
    """A browser that has not been here before."""
    return Visitor(world.url)


async def subject_of(world: World, code: str) -> str:
    """Whom a code stands for."""
    return (await world.shim.tokens.check(code, kind="code")).subject


@pytest.mark.parametrize("path", ["/oauth2/auth", "/o/oauth2/auth", "/o/oauth2/v2/auth"])
async def test_the_page_says_who_asks_for_what_and_where_the_answer_goes(visitor: Visitor, path: str) -> None:
    """At the path of each client; a person has to know before they type a password."""
    page = await visitor.get(path=path)
    assert (page.status, page.title) == (200, "Allow access to your cloud?")
    assert "Google Cloud SDK (gcloud, gcutil) asks to" in page.words
    assert "See, create, change and delete your machines" in page.words
    assert "See your e-mail address in CloudStack" in page.words
    assert "a program on this computer, at port 8085" in page.words
    assert (await visitor.send(page, **DEMO)).answer["state"] == "the-state"


@pytest.mark.parametrize("way", [DEMO, BY_NAME], ids=["keys", "password"])
async def test_allowing_sends_a_code_for_the_one_who_signed_in(
    world: World, visitor: Visitor, way: Mapping[str, str]
) -> None:
    """Both ways lead to the same person, whose key pair is stored then."""
    answer = await visitor.send(await visitor.get(), **way)
    assert answer.status == 303
    assert answer.headers["Location"].startswith(f"{LOOPBACK}?code=")
    subject = await subject_of(world, answer.answer["code"])
    assert SUBJECT.fullmatch(subject)
    assert (await world.shim.vault.get(subject)).api_key == "demo-api-key"


async def test_a_user_of_a_domain_further_down_signs_in(world: World, visitor: Visitor) -> None:
    """By the domain as CloudStack's own page takes it; one who has no keys gets some."""
    physicist = {"way": "password", "username": "physicist", "password": "physicist-password", "decision": "allow"}
    answer = await visitor.send(await visitor.get(), **physicist, domain="research/physics")
    assert (await subject_of(world, answer.answer["code"])).startswith("physicist@physicist/")
    newcomer = {"way": "password", "username": "newcomer", "password": "newcomer-password", "decision": "allow"}
    assert (await visitor.send(await visitor.get(), **newcomer)).status == 303


async def test_cancel_sends_the_refusal_back(visitor: Visitor) -> None:
    """With the state, so that the program knows which request it is about; nothing typed is looked at."""
    answer = await visitor.send(await visitor.get(), decision="cancel", username="demo", password="wrong")
    assert answer.status == 303
    assert answer.headers["Location"] == f"{LOOPBACK}?error=access_denied&state=the-state"


async def test_anything_but_allow_is_a_refusal(visitor: Visitor) -> None:
    """A form that says something else has not been allowed."""
    page = await visitor.get()
    for decision in ("", "ALLOW", "yes"):
        answer = await visitor.send(page, **(DEMO | {"decision": decision}))
        assert answer.answer["error"] == "access_denied"
        page = await visitor.get()


@pytest.mark.parametrize("redirect", [OOB, f"{OOB}:auto", AUTHCODE])
async def test_a_code_for_copying_is_shown_and_sent_nowhere(world: World, visitor: Visitor, redirect: str) -> None:
    """For programs on another machine."""
    asked = await visitor.get(query(redirect_uri=redirect))
    assert "this page shows a code" in asked.words
    page = await visitor.send(asked, **DEMO)
    assert (page.status, page.title) == (200, "Copy this code")
    assert "Location" not in page.headers
    assert SUBJECT.fullmatch(await subject_of(world, page.code))
    assert "demo@example.com" in page.words
    assert "within 5 minutes" in page.words


async def test_cancel_with_nowhere_to_go_is_a_page(visitor: Visitor) -> None:
    """The person has to see that it worked."""
    page = await visitor.send(await visitor.get(query(redirect_uri=OOB)), decision="cancel")
    assert (page.status, page.title) == (200, "You have refused")


@pytest.mark.parametrize(
    ("filled_in", "marked", "kept"),
    [
        ({"way": "password", "username": "jo", "domain": "a/b"}, ["password"], {"username": "jo", "domain": "a/b"}),
        ({"way": "password", "password": "SECRET"}, ["username"], {"username": "", "domain": ""}),
        ({"way": "password", "username": " "}, ["username", "password"], {"username": " "}),
        ({"way": "keys", "secret_key": "SECRET"}, ["api_key"], {}),
        ({"way": "keys", "api_key": "SECRET"}, ["secret_key"], {}),
    ],
)
async def test_what_is_missing_is_named_and_nothing_else_is_lost(
    world: World, visitor: Visitor, filled_in: dict[str, str], marked: list[str], kept: dict[str, str]
) -> None:
    """What was typed stays, but for secrets; an API key too may be a secret key in the wrong place."""
    seen = len(world.cloudstack.calls)
    page = await visitor.send(await visitor.get(), **filled_in, decision="allow")
    assert (page.status, page.alert) == (400, "Something is missing. Please fill in what is marked below.")
    assert [name for name, found in page.inputs.items() if found.get("aria-invalid") == "true"] == marked
    assert [name for name, found in page.inputs.items() if "autofocus" in found] == marked[:1]
    assert {name: page.inputs[name]["value"] for name in kept} == kept
    assert "SECRET" not in page.text
    assert "checked" in page.inputs[f"way-{filled_in['way']}"]
    assert len(world.cloudstack.calls) == seen
    assert (await visitor.send(page, **DEMO)).status == 303


@pytest.mark.parametrize(
    ("filled_in", "said"),
    [
        ({"way": "keys", "api_key": "demo-api-key", "secret_key": "WRONG"}, "this API key and secret key."),
        ({"way": "keys", "api_key": "NOBODY", "secret_key": "demo-secret-key"}, "this API key and secret key."),
        ({"username": "demo", "password": "WRONG"}, "this user name, password and domain."),
        ({"username": "NOBODY", "password": "password"}, "this user name, password and domain."),
        ({"username": "demo", "password": "password", "domain": "x"}, "this user name, password and domain."),
        ({"username": "former", "password": "former-password"}, "this user name, password and domain."),
        ({"username": "former", "password": "WRONG"}, "this user name, password and domain."),
    ],
)
async def test_errors_do_not_tell_what_exists(visitor: Visitor, filled_in: dict[str, str], said: str) -> None:
    """A wrong name, a wrong password and a locked user look alike to a stranger."""
    page = await visitor.send(await visitor.get(), **filled_in, decision="allow")
    assert (page.status, page.alert) == (403, f"You are not signed in. CloudStack does not accept {said}")
    assert "WRONG" not in page.text
    assert (await visitor.send(page, **DEMO)).status == 303


@pytest.mark.parametrize(("name", "said"), [("cautious", "two-factor"), ("keyless", "may not use API keys")])
async def test_who_is_known_hears_why_they_cannot_come_in(visitor: Visitor, name: str, said: str) -> None:
    """Only with the right password; with another it is as for anybody."""
    page = await visitor.send(await visitor.get(), username=name, password=f"{name}-password", decision="allow")
    assert page.status == 403
    assert said in page.alert
    page = await visitor.send(page, username=name, password="WRONG", decision="allow")
    assert said not in page.alert


@pytest.mark.parametrize("way", [DEMO, BY_NAME], ids=["keys", "password"])
async def test_a_cloud_that_gives_no_answer_is_no_wrong_password(
    world: World, visitor: Visitor, way: Mapping[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """The person is told to try again, and it does not count as an attempt."""
    page = await visitor.get()
    await world.cloudstack.stop()
    for _ in range(11):
        page = await visitor.send(page, **way)
        assert page.status == 503
        assert page.alert.startswith("CloudStack cannot be reached.")
    assert "demo-secret-key" not in caplog.text
    await world.cloudstack.start()


async def test_a_store_that_is_away_is_told_as_such(world: World, visitor: Visitor) -> None:
    """And nobody is taken for signed in."""
    page = await visitor.get()
    await world.shim.store.close()
    page = await visitor.send(page, **DEMO)
    assert page.status == 503
    await world.shim.store.open()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"redirect_uri": "https://evil.example/"}, "answers go to programs on your own machine only"),
        ({"redirect_uri": None}, "answers go to programs on your own machine only"),
        ({"client_id": None}, "does not say which program it is"),
        ({"client_id": "a b"}, "does not say which program it is"),
        ({"redirect_uri": OOB, "response_type": "token"}, "incomplete or damaged"),
    ],
)
async def test_a_request_that_nobody_can_be_told_about_is_a_page(
    visitor: Visitor, changed: dict[str, Any], said: str
) -> None:
    """Never a redirect to where it should not go."""
    page = await visitor.get(query(**changed))
    assert (page.status, page.title) == (400, "This request cannot be answered")
    assert said in page.words
    assert "Location" not in page.headers


async def test_a_mistake_of_the_client_is_sent_back_to_it(visitor: Visitor) -> None:
    """Such as PKCE with a method that is none."""
    answer = await visitor.get(query(code_challenge="x" * 43, code_challenge_method="plain"))
    assert answer.status == 303
    assert answer.headers["Location"].startswith(LOOPBACK)
    assert (answer.answer["error"], answer.answer["state"]) == ("invalid_request", "the-state")


async def test_a_key_client_gets_its_code_with_no_page(visitor: Visitor) -> None:
    """Its id and secret are the key pair; who changes the code for a token proves that then."""
    answer = await visitor.get(query(client_id="demo-api-key"))
    assert (answer.status, answer.answer["state"]) == (303, "the-state")
    page = await visitor.get(query(client_id="demo-api-key", redirect_uri=OOB))
    assert (page.status, page.title) == (200, "Copy this code")
    assert "You are signed in" not in page.words
    assert "demo-api-key" not in page.text


async def test_permissions_are_named_once_and_unused_ones_listed(visitor: Visitor) -> None:
    """Clients ask for half of Google; people need to see what it means here."""
    page = await visitor.get(query(scope=f"email compute {API}compute.readonly {API}sqlservice.login x"))
    assert "See your e-mail address" in page.words
    assert "2 more, without a use on this server" in page.words
    assert f"{API}sqlservice.login" in page.words
    assert "but change nothing" not in page.words
    page = await visitor.get(query(scope=f"{API}compute.readonly"))
    assert "but change nothing" in page.words
    assert "without a use" not in page.words
    page = await visitor.get(query(scope="x"))
    assert "Sign you in, and nothing more" in page.words


async def test_whom_the_program_expects_is_shown(visitor: Visitor) -> None:
    """`gcloud auth login ACCOUNT` fails if it is somebody else in the end."""
    assert "expects the account jo@example.com" in (await visitor.get(query(login_hint="jo@example.com"))).words
    assert "expects the account" not in (await visitor.get()).words


async def test_two_pages_can_be_open_at_once(visitor: Visitor) -> None:
    """A browser that sends its cookie keeps it."""
    first, second = await visitor.get(), await visitor.get(query(redirect_uri=OOB))
    assert (await visitor.send(first, decision="cancel")).status == 303
    # The first answer took the cookie away: the second page is told to be out of date, and works from there.
    again = await visitor.send(second, **DEMO)
    assert again.status == 403
    assert again.alert.startswith("This page was out of date.")
    assert (await visitor.send(again, **DEMO)).title == "Copy this code"


async def test_a_head_request_is_answered(visitor: Visitor) -> None:
    """Link checkers ask so."""
    page = await visitor.fetch(f"{visitor.url}/oauth2/auth?{query()}", headers={}, method="HEAD")
    assert (page.status, page.text) == (200, "")


@pytest.mark.parametrize("shim_settings", [{"server.public_url": "https://gce.example.org/compute-api"}])
async def test_behind_a_proxy_that_takes_a_part_of_the_path_the_form_still_arrives(world: World) -> None:
    """The form names its target relative to the page; over TLS the cookie is bound to the host."""
    visitor = Visitor(world.url, Host="gce.example.org")
    page = await visitor.get()
    assert page.action == "auth"
    assert [name for name in visitor.cookies if name.startswith("__Host-")]
    assert "Secure" in page.headers["Set-Cookie"]
    assert (await visitor.send(page, origin="https://gce.example.org", **DEMO)).status == 303


async def test_under_a_prefix_everything_is_in_its_place(world: World) -> None:
    """As in somebody else's application; and nothing answers outside it."""
    socket, port = bind_unused_port()
    server = HTTPServer(world.shim.application("/gce"))
    server.add_sockets([socket])
    try:
        visitor = Visitor(f"http://127.0.0.1:{port}")
        assert (await visitor.send(await visitor.get(path=f"/gce{AUTHORIZE}"), **DEMO)).status == 303
        assert (await visitor.get()).status == 404
    finally:
        server.stop()
        await server.close_all_connections()


async def test_nothing_secret_is_logged(visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    """Neither what was typed, whichever field it was typed into, nor the code."""
    caplog.set_level(logging.DEBUG)
    page = await visitor.get()
    page = await visitor.send(page, way="keys", api_key="TYPED", secret_key="TYPED", decision="allow")
    page = await visitor.send(page, username="TYPED", password="TYPED", domain="TYPED", decision="allow")
    page = await visitor.send(page, **BY_NAME, domain="")
    assert page.status == 303
    assert "TYPED" not in caplog.text
    assert page.answer["code"] not in caplog.text
    assert "demo-secret-key" not in caplog.text
    assert "the-state" not in caplog.text
    assert "allowed Google Cloud SDK" in caplog.text


async def test_all_servers_of_one_master_key_take_each_others_forms(
    world: World, visitor: Visitor, tmp_path: Path, discovery: Document
) -> None:
    """The page may come from one server and be sent to another; with another key it is nobody's."""
    page = await visitor.get()
    for folder in (tmp_path / "same", tmp_path / "another"):
        folder.mkdir()
    shutil.copy2(tmp_path / "master.key", tmp_path / "same" / "master.key")
    async with World(tmp_path / "same", discovery) as same, World(tmp_path / "another", discovery) as another:
        assert (await visitor.send(replace(page, url=f"{another.url}/oauth2/auth"), **DEMO)).status == 400
        assert (await visitor.send(replace(page, url=f"{same.url}/oauth2/auth"), **DEMO)).status == 303
