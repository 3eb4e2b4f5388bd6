"""The token endpoint, as each client uses it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from jose import jwt
from tornado.httpclient import AsyncHTTPClient

from gceshim.testing.world import World

from .program import ADC, API, GCLOUD, JWT_BEARER, LOOPBACK, PKCE, SCOPE, VERIFIER, Program, robot


@pytest.fixture
def program(world: World) -> Program:
    return Program(world)


def payload(token: str) -> dict[str, Any]:
    """What is in a JWT, read as gcloud reads it."""
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@pytest.mark.gen_test
async def test_gcloud_gets_all_that_it_reads(program: Program) -> None:
    """CLIENTS: expires_in and an id_token with the address, or gcloud fails; a scope has to be all of them."""
    tokens = await program.login(pkce=True, state="s")
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 3600, SCOPE)
    claims = payload(tokens["id_token"])
    assert (claims["email"], claims["aud"], claims["iss"]) == ("demo@example.com", GCLOUD, program.url)
    assert await program.may_call(tokens["access_token"])
    again = await program.refresh(tokens["refresh_token"], scope=SCOPE)
    assert (again.status, again.body["scope"], again.body["expires_in"]) == (200, SCOPE, 3600)
    assert payload(again.body["id_token"])["email"] == "demo@example.com"
    assert await program.may_call(again.body["access_token"])


@pytest.mark.gen_test
async def test_gcloud_goes_on_with_its_refresh_token(program: Program) -> None:
    """It throws away a new one, so it gets none; and two gclouds of one login may refresh at once."""
    for query in ({"client_id": GCLOUD}, {"client_id": ADC}):
        code = await program.code(**PKCE | query)
        tokens = (await program.exchange(code, code_verifier=VERIFIER, **query)).body
        for _ in range(3):
            again = await program.refresh(tokens["refresh_token"], **query)
            assert again.status == 200
            assert "refresh_token" not in again.body


@pytest.mark.gen_test
async def test_gcutil_gets_a_new_refresh_token_each_time(program: Program) -> None:
    """oauth2client keeps it; so the one before is worth nothing any more."""
    tokens = await program.login()
    assert payload(tokens["id_token"])["email"] == "demo@example.com"
    seen = {tokens["refresh_token"]}
    for _ in range(3):
        tokens = (await program.refresh(tokens["refresh_token"])).body
        assert tokens["refresh_token"] not in seen
        seen.add(tokens["refresh_token"])
        assert await program.may_call(tokens["access_token"])


@pytest.mark.gen_test
async def test_nobody_keeps_what_is_answered(program: Program) -> None:
    """RFC 6749, 5.1; of errors too."""
    code = await program.code()
    good = await program.exchange(code)
    bad = await program.exchange(code)
    for answer in (good, bad):
        assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
        assert answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.gen_test
async def test_every_path_that_clients_know_is_the_token_endpoint(program: Program) -> None:
    """Of Google's hosts, gcutil's base and libcloud's."""
    for path in ("/oauth2/token", "/o/oauth2/token", "/oauth2/v3/token", "/oauth2/v4/token", "/token"):
        code = await program.code()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": LOOPBACK, "client_id": GCLOUD}
        assert (await program.post(path, **form)).status == 200


@pytest.mark.gen_test
async def test_a_key_pair_is_a_client_without_a_page(program: Program) -> None:
    """The seed's flow: client id and secret are an API key and its secret."""
    api_key, secret_key = program.keys
    own = {"client_id": api_key, "client_secret": secret_key}
    tokens = (await program.exchange(await program.code(client_id=api_key), **own)).body
    assert await program.may_call(tokens["access_token"])
    assert payload(tokens["id_token"])["aud"] == api_key
    again = await program.refresh(tokens["refresh_token"], **own)
    assert again.status == 200
    assert await program.may_call(again.body["access_token"])


@pytest.mark.gen_test
async def test_a_key_pair_is_good_for_an_access_token_at_once(program: Program) -> None:
    """grant_type=client_credentials, the secret in the form or by HTTP Basic; nothing to refresh."""
    api_key, secret_key = program.keys
    in_form = await program.post(
        "/token", grant_type="client_credentials", client_id=api_key, client_secret=secret_key, scope=f"{API}compute"
    )
    assert (in_form.status, in_form.body["scope"]) == (200, f"{API}compute")
    assert "refresh_token" not in in_form.body
    encoded = base64.b64encode(f"{api_key}:{secret_key}".encode()).decode()
    by_basic = await program.post("/token", {"Authorization": f"Basic {encoded}"}, grant_type="client_credentials")
    assert (by_basic.status, by_basic.body["scope"]) == (200, f"{API}cloud-platform")
    for answer in (in_form, by_basic):
        assert await program.may_call(answer.body["access_token"])


@pytest.mark.gen_test
async def test_a_client_may_say_twice_who_it_is_if_it_says_the_same(program: Program) -> None:
    """Some libraries send the id in the form as well."""
    api_key, secret_key = program.keys
    encoded = base64.b64encode(f"{api_key}:{secret_key}".encode()).decode()
    headers = {"Authorization": f"Basic {encoded}"}
    same = await program.post("/token", headers, grant_type="client_credentials", client_id=api_key)
    assert same.status == 200
    other = await program.post("/token", headers, grant_type="client_credentials", client_id=GCLOUD)
    assert other.error == (400, "invalid_request")


@pytest.mark.gen_test
async def test_a_wrong_key_pair_is_told_as_a_wrong_client(program: Program) -> None:
    """RFC 6749, 5.2: 401, and how to do better."""
    api_key, secret_key = program.keys
    for client_id, client_secret in ((api_key, secret_key + "x"), ("no-such-key", secret_key), (api_key, "")):
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        answer = await program.post("/token", **form)
        assert answer.error == (401, "invalid_client")
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    code = await program.code(client_id=api_key)
    refused = await program.exchange(code, client_id=api_key, client_secret="wrong")
    assert refused.error == (401, "invalid_client")
    assert (await program.exchange(code, client_id=api_key, client_secret=secret_key)).status == 200


@pytest.mark.gen_test
async def test_a_malformed_authorization_header_is_a_wrong_client(program: Program) -> None:
    """Whatever is wrong with it."""
    for header in ("Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Basic /////w==", "Bearer x", ""):
        answer = await program.post("/token", {"Authorization": header}, grant_type="client_credentials")
        assert answer.error == (401, "invalid_client"), header


@pytest.mark.gen_test
async def test_a_public_client_has_no_rights_of_its_own(program: Program) -> None:
    """Everybody knows its secret."""
    answer = await program.post("/token", grant_type="client_credentials", client_id=GCLOUD, client_secret="x")
    assert answer.error == (401, "invalid_client")


@pytest.mark.gen_test
async def test_a_service_account_makes_the_two_exchanges_of_gcloud(program: Program, world: World) -> None:
    """First an id_token for gcloud itself, then an access token."""
    machine = await robot(world)
    first = await program.post(
        "/token", grant_type=JWT_BEARER, assertion=machine.assertion(scope=None, target_audience=GCLOUD)
    )
    assert (first.status, set(first.body)) == (200, {"id_token"})
    claims = payload(first.body["id_token"])
    assert (claims["aud"], claims["email"]) == (GCLOUD, machine.email)
    second = await program.post("/token", grant_type=JWT_BEARER, assertion=machine.assertion())
    assert (second.status, second.body["token_type"], second.body["expires_in"]) == (200, "Bearer", 3600)
    assert set(second.body["scope"].split()) == set(SCOPE.split())
    assert "refresh_token" not in second.body
    assert await program.may_call(second.body["access_token"])


@pytest.mark.gen_test
async def test_an_assertion_may_be_for_any_of_our_own_urls(program: Program, world: World) -> None:
    """Go's library takes the token_uri of the key file, libcloud Google's old URL."""
    machine = await robot(world)
    for audience in (
        f"{program.url}/token",
        f"{program.url}/oauth2/token",
        "https://accounts.google.com/o/oauth2/token",
    ):
        answer = await program.post("/token", grant_type=JWT_BEARER, assertion=machine.assertion(aud=audience))
        assert answer.status == 200
    for audience in ("https://other.example/token", program.url, None):
        answer = await program.post("/token", grant_type=JWT_BEARER, assertion=machine.assertion(aud=audience))
        assert answer.error == (400, "invalid_grant")


NOT_GRANTED: list[tuple[dict[str, str], str]] = [
    ({}, "invalid_request"),
    ({"grant_type": ""}, "invalid_request"),
    ({"grant_type": "password"}, "unsupported_grant_type"),
    ({"grant_type": "implicit"}, "unsupported_grant_type"),
    ({"grant_type": "authorization_code", "client_id": GCLOUD}, "invalid_request"),
    ({"grant_type": "authorization_code", "client_id": GCLOUD, "code": ""}, "invalid_request"),
    ({"grant_type": "authorization_code", "client_id": GCLOUD, "code": "x"}, "invalid_grant"),
    ({"grant_type": "authorization_code", "code": "x"}, "invalid_grant"),
    ({"grant_type": "refresh_token", "client_id": GCLOUD}, "invalid_request"),
    ({"grant_type": "refresh_token", "client_id": GCLOUD, "refresh_token": "x"}, "invalid_grant"),
    ({"grant_type": JWT_BEARER}, "invalid_request"),
    ({"grant_type": JWT_BEARER, "assertion": "x"}, "invalid_grant"),
    ({"grant_type": JWT_BEARER, "assertion": "x.y.z"}, "invalid_grant"),
]


@pytest.mark.gen_test
async def test_a_request_that_cannot_be_granted_names_its_mistake(program: Program) -> None:
    """In the words of RFC 6749, 5.2."""
    for form, error in NOT_GRANTED:
        assert (await program.post("/oauth2/token", **form)).error == (400, error), form


@pytest.mark.gen_test
async def test_a_refresh_may_ask_for_less_and_not_for_more(program: Program) -> None:
    """RFC 6749, 6; a scope may go by its other name."""
    tokens = await program.login(pkce=True)
    less = await program.refresh(tokens["refresh_token"], scope=f"{API}compute email")
    assert (less.status, less.body["scope"]) == (200, f"{API}compute email")
    more = await program.refresh(tokens["refresh_token"], scope=f"{SCOPE} {API}devstorage.full_control")
    assert more.error == (400, "invalid_scope")
    same = await program.refresh(tokens["refresh_token"])
    assert same.body["scope"] == SCOPE


@pytest.mark.gen_test
async def test_an_id_token_repeats_the_nonce_and_is_made_for_those_who_ask(program: Program) -> None:
    """OpenID Connect Core, 2; without an identifying scope there is none."""
    code = await program.code(nonce="n-0S6", **PKCE)
    tokens = (await program.exchange(code, code_verifier=VERIFIER)).body
    assert payload(tokens["id_token"])["nonce"] == "n-0S6"
    without = (await program.exchange(await program.code(scope=f"{API}compute"))).body
    assert "id_token" not in without
    bare = (await program.exchange(await program.code(scope="openid"))).body
    assert "email" not in payload(bare["id_token"])


@pytest.mark.gen_test
async def test_an_id_token_can_be_checked_by_the_keys_that_we_publish(program: Program) -> None:
    """With nothing but the discovery document to begin with."""
    tokens = await program.login()
    about = (await program.get("/.well-known/openid-configuration")).body
    keys = json.loads((await AsyncHTTPClient().fetch(about["jwks_uri"])).body)
    options = {"verify_at_hash": False}
    claims = jwt.decode(
        tokens["id_token"], keys, algorithms=["ES256"], audience=GCLOUD, issuer=about["issuer"], options=options
    )
    assert claims["email"] == "demo@example.com"


@pytest.mark.gen_test
async def test_who_has_been_forgotten_gets_no_new_tokens(program: Program, world: World) -> None:
    """`gceshim credentials remove` ends all logins."""
    tokens = await program.login(pkce=True)
    subject = payload(tokens["access_token"])["sub"]
    await world.shim.vault.remove(subject)
    assert (await program.refresh(tokens["refresh_token"])).error == (400, "invalid_grant")
    assert not await program.may_call(tokens["access_token"])
