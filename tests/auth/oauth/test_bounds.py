"""What the endpoints read, and how much of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest

from gceshim.auth.oauth.forms import MOST_PARAMETERS
from gceshim.auth.oauth.handlers import MAX_BODY_BYTES
from gceshim.auth.oauth.replies import OAuthError
from gceshim.testing.world import World

from .program import GCLOUD, Program

PATHS = ("/oauth2/token", "/revoke", "/tokeninfo", "/v1/userinfo")


@pytest.fixture
def program(world: World) -> Program:
    return Program(world)


@pytest.mark.gen_test
async def test_a_parameter_may_not_be_repeated(program: Program) -> None:
    """RFC 6749, 3.1: readers in a row may each take another one. Empty ones count as left out."""
    names = ("grant_type", "client_id", "code", "redirect_uri", "scope", "token", "access_token", "unknown")
    for path, name, second in itertools.product(PATHS, names, ("a", "b")):
        answer = await program.fetch(path, method="POST", body=f"{name}=a&{name}={second}")
        assert answer.error == (400, "invalid_request")
    empty = await program.fetch("/oauth2/token", method="POST", body="grant_type=&grant_type=password")
    assert empty.error == (400, "unsupported_grant_type")


@pytest.mark.gen_test
async def test_a_body_is_bounded(program: Program) -> None:
    """To the byte."""
    for path in PATHS:
        fits = await program.fetch(path, method="POST", body="token=" + "x" * (MAX_BODY_BYTES - 6))
        assert fits.status in (200, 400, 401)
        longer = await program.fetch(path, method="POST", body="token=" + "x" * (MAX_BODY_BYTES - 5))
        assert longer.error == (413, "invalid_request")


@pytest.mark.gen_test
async def test_parameters_are_bounded_in_number(program: Program) -> None:
    """Each costs something."""
    many = "&".join(f"p{number}=x" for number in range(MOST_PARAMETERS + 1))
    for answer in (
        await program.fetch("/oauth2/token", method="POST", body=many),
        await program.fetch(f"/tokeninfo?{many}"),
    ):
        assert answer.error == (400, "invalid_request")


@pytest.mark.gen_test
async def test_what_is_no_form_is_refused(program: Program) -> None:
    """Bad UTF-8, raw bytes, JSON."""
    for body in ("grant_type=%ff", "%80=x", "grant_type=x\xe9", '{"grant_type": "password"}', "\x00"):
        assert (await program.fetch("/oauth2/token", method="POST", body=body)).error == (400, "invalid_request")


@pytest.mark.gen_test
async def test_a_form_has_to_say_that_it_is_one(program: Program) -> None:
    """A page elsewhere can make a browser send other types without asking."""
    for content_type in ("text/plain", "application/json", "multipart/form-data; boundary=x", ""):
        headers = {"Content-Type": content_type}
        answer = await program.fetch("/oauth2/token", method="POST", body="grant_type=password", headers=headers)
        assert answer.error == (400, "invalid_request")
    headers = {"Content-Type": "Application/X-WWW-Form-Urlencoded; charset=UTF-8"}
    answer = await program.fetch("/oauth2/token", method="POST", body="grant_type=password", headers=headers)
    assert answer.error == (400, "unsupported_grant_type")


@pytest.mark.gen_test
async def test_parameters_of_the_url_are_nothing_to_the_token_endpoint(program: Program) -> None:
    """RFC 6749, 2.3.1: URLs are written down everywhere."""
    answer = await program.post(f"/oauth2/token?grant_type=authorization_code&code=x&client_id={quote(GCLOUD)}")
    assert answer.error == (400, "invalid_request")


@pytest.mark.gen_test
async def test_an_unusable_host_is_a_mistake_of_the_client(program: Program) -> None:
    """The issuer of an id_token is made of it."""
    for path in ("/.well-known/openid-configuration", "/oauth2/token"):
        method = "POST" if path == "/oauth2/token" else "GET"
        more = {"body": ""} if method == "POST" else {}
        answer = await program.fetch(path, method=method, headers={"Host": "a!b"}, **more)
        assert answer.error == (400, "invalid_request")


@pytest.mark.gen_test
async def test_doubled_slashes_lead_to_the_same_place(program: Program) -> None:
    """Clients glue URLs together."""
    assert (await program.post("//oauth2//token", grant_type="x")).error == (400, "unsupported_grant_type")


def test_a_description_holds_what_it_may() -> None:
    """RFC 6749, 5.2: clients may show it as it is; and it has an end."""
    assert OAuthError("invalid_grant", 'say "\u00e9\\\n" <b>').description == "say ''''' <b>"
    assert len(OAuthError("invalid_grant", "x" * 10_000).description) == 500


class TestStrangers:
    """Who has nothing that is good may not ask without end."""

    @pytest.fixture
    def shim_settings(self) -> Mapping[str, Any]:
        return {"limits.strangers_per_second": 0.1, "limits.strangers_burst": 5}

    @pytest.mark.gen_test
    async def test_guessing_is_slowed_down(self, program: Program) -> None:
        """By address; whoever has something good is not counted."""
        tokens = await program.login(pkce=True)
        for _ in range(10):
            assert (await program.refresh(tokens["refresh_token"])).status == 200
        answers = [await program.refresh("guessed") for _ in range(7)]
        assert [answer.status for answer in answers] == [400] * 5 + [429] * 2
        assert answers[-1].body["error"] == "temporarily_unavailable"
        assert int(answers[-1].headers["Retry-After"]) >= 1
