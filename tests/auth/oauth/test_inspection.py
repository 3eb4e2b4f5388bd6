"""tokeninfo, userinfo, revoke, the published keys and the metadata."""

from __future__ import annotations

import pytest

from gceshim.testing.world import World

from .program import API, GCLOUD, JWT_BEARER, SCOPE, Program, robot


@pytest.fixture
def program(world: World) -> Program:
    return Program(world)


@pytest.mark.gen_test
async def test_tokeninfo_tells_what_a_token_is_good_for(program: Program) -> None:
    """In the words of Google's two versions; by GET and by POST."""
    tokens = await program.login()
    for path in ("/tokeninfo", "/oauth2/v3/tokeninfo"):
        for ask in (program.get, program.post):
            answer = await ask(path, access_token=tokens["access_token"])
            assert answer.status == 200
            told = answer.body
            assert (told["aud"], told["azp"], told["scope"]) == (GCLOUD, GCLOUD, SCOPE)
            assert (told["email"], told["email_verified"]) == ("demo@example.com", "true")
            assert 3590 < int(told["expires_in"]) <= 3600
            assert told["sub"].isdecimal()
    first = (await program.get("/oauth2/v1/tokeninfo", access_token=tokens["access_token"])).body
    assert (first["audience"], first["issued_to"], first["scope"]) == (GCLOUD, GCLOUD, SCOPE)
    assert (first["email"], first["verified_email"], first["user_id"]) == ("demo@example.com", True, told["sub"])
    assert 3590 < first["expires_in"] <= 3600


@pytest.mark.gen_test
async def test_tokeninfo_reads_id_tokens_too(program: Program, world: World) -> None:
    """Of a user and of a service account."""
    tokens = await program.login()
    told = (await program.get("/oauth2/v3/tokeninfo", id_token=tokens["id_token"])).body
    assert (told["aud"], told["email"], told["iss"]) == (GCLOUD, "demo@example.com", program.url)
    machine = await robot(world)
    assertion = machine.assertion(scope=None, target_audience="https://service.example")
    signed = (await program.post("/token", grant_type=JWT_BEARER, assertion=assertion)).body["id_token"]
    told = (await program.get("/tokeninfo", id_token=signed)).body
    assert (told["aud"], told["email"]) == ("https://service.example", machine.email)


@pytest.mark.gen_test
async def test_the_address_is_told_to_whom_it_was_allowed(program: Program) -> None:
    """And to those with a token of the operator's, which is not limited."""
    blind = (await program.exchange(await program.code(scope=f"{API}compute"))).body["access_token"]
    assert "email" not in (await program.get("/tokeninfo", access_token=blind)).body
    bearer = {"Authorization": f"Bearer {blind}"}
    refused = await program.get("/v1/userinfo", bearer)
    assert refused.error == (403, "insufficient_scope")
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    known = (await program.exchange(await program.code(scope="openid"))).body["access_token"]
    assert "email" not in (await program.get("/v1/userinfo", {"Authorization": f"Bearer {known}"})).body


@pytest.mark.gen_test
async def test_an_operators_token_is_known_as_well(program: Program, world: World) -> None:
    """`gceshim credentials token` makes it, for no client."""
    token = await world.token("demo")
    told = (await program.get("/tokeninfo", access_token=token)).body
    assert (told["scope"], told["email"]) == (f"{API}cloud-platform", "demo@example.com")
    assert (await program.get("/v1/userinfo", {"Authorization": f"Bearer {token}"})).body["email"] == "demo@example.com"


@pytest.mark.gen_test
async def test_userinfo_tells_who_it_is(program: Program, world: World) -> None:
    """At the path of each version, in its words; the same number everywhere, and another for another user."""
    tokens = await program.login()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    number = (await program.get("/tokeninfo", access_token=tokens["access_token"])).body["sub"]
    new = {"sub": number, "email": "demo@example.com", "email_verified": True}
    old = {"id": number, "email": "demo@example.com", "verified_email": True}
    for path in ("/v1/userinfo", "/oauth2/v3/userinfo"):
        assert (await program.get(path, bearer)).body == new
        assert (await program.post(path, bearer)).body == new
    for path in ("/oauth2/v1/userinfo", "/oauth2/v2/userinfo", "/userinfo/v2/me"):
        assert (await program.get(path, bearer)).body == old
    assert (await program.post("/v1/userinfo", access_token=tokens["access_token"])).body == new
    other = await Program(world, keys=world.cloudstack.keys("other")).login()
    told = (await program.get("/v1/userinfo", access_token=other["access_token"])).body
    assert told["sub"] != number


@pytest.mark.gen_test
async def test_userinfo_knows_what_a_service_account_signs_itself(program: Program, world: World) -> None:
    """As the API does."""
    machine = await robot(world)
    token = machine.assertion(sub=machine.email, aud=None)
    assert (await program.get("/v1/userinfo", {"Authorization": f"Bearer {token}"})).body["email"] == machine.email


@pytest.mark.gen_test
async def test_questions_without_a_good_token_are_refused(program: Program) -> None:
    """In RFC 6749's form, with RFC 6750's challenge."""
    assert (await program.get("/tokeninfo")).error == (400, "invalid_request")
    assert (await program.get("/tokeninfo", access_token="x", id_token="y")).error == (400, "invalid_request")
    assert (await program.get("/tokeninfo", access_token="x")).error == (400, "invalid_token")
    missing = await program.get("/v1/userinfo")
    assert missing.status == 401
    assert "error=" not in missing.headers["WWW-Authenticate"]
    for header in ("Bearer x", "Basic eDp5", "Bearer", "x"):
        wrong = await program.get("/v1/userinfo", {"Authorization": header})
        assert wrong.error == (401, "invalid_token")
        assert 'error="invalid_token"' in wrong.headers["WWW-Authenticate"]


@pytest.mark.gen_test
async def test_revoking_either_token_ends_the_login(program: Program) -> None:
    """As Google has it; other logins go on."""
    other = await program.login()
    for path in ("/oauth2/revoke", "/o/oauth2/revoke", "/revoke"):
        for which in ("access_token", "refresh_token"):
            tokens = await program.login()
            newer = (await program.refresh(tokens["refresh_token"])).body
            assert (await program.post(path, token=newer[which])).status == 200
            for token in (newer["access_token"], tokens["access_token"]):
                assert not await program.may_call_soon(token)
            assert (await program.refresh(newer["refresh_token"])).error == (400, "invalid_grant")
    assert await program.may_call(other["access_token"])


@pytest.mark.gen_test
async def test_the_server_that_is_told_refuses_a_token_at_once(program: Program) -> None:
    """Others remember an answer for half a second; this one knows better."""
    for which in ("access_token", "refresh_token"):
        tokens = await program.login()
        assert await program.may_call(tokens["access_token"])
        assert (await program.post("/revoke", token=tokens[which])).status == 200
        assert not await program.may_call(tokens["access_token"])


@pytest.mark.gen_test
async def test_revoking_a_spent_refresh_token_ends_the_login_too(program: Program) -> None:
    """Whoever wants it gone does not want what came of it."""
    tokens = await program.login()
    newer = (await program.refresh(tokens["refresh_token"])).body
    assert (await program.post("/revoke", token=tokens["refresh_token"])).status == 200
    assert not await program.may_call_soon(newer["access_token"])


@pytest.mark.gen_test
async def test_an_operators_token_is_revoked_alone(program: Program, world: World) -> None:
    """It came of no grant."""
    first, second = await world.token("demo"), await world.token("demo")
    assert (await program.post("/revoke", token=first)).status == 200
    assert not await program.may_call_soon(first)
    assert await program.may_call(second)


@pytest.mark.gen_test
async def test_revoking_what_is_no_token_is_no_mistake(program: Program) -> None:
    """RFC 7009, 2.2; but nothing at all is."""
    for token in ("x", "a.b.c", "x" * 5000, await program.code()):
        assert (await program.post("/revoke", token=token, token_type_hint="refresh_token")).status == 200
    assert (await program.post("/revoke")).error == (400, "invalid_request")
    assert (await program.post("/revoke", token_type_hint="access_token")).error == (400, "invalid_request")


@pytest.mark.gen_test
async def test_a_token_may_be_revoked_by_its_url(program: Program) -> None:
    """oauth2client sends it so, by GET; and in URL and form at once where that is a 405."""
    first, second = await program.login(), await program.login()
    assert (await program.get("/revoke", token=first["refresh_token"])).status == 200
    assert not await program.may_call_soon(first["access_token"])
    token = second["refresh_token"]
    assert (await program.post(f"/revoke?token={token}", token=token)).status == 200
    assert not await program.may_call_soon(second["access_token"])
    assert (await program.post("/revoke?token=a", token="b")).error == (400, "invalid_request")


@pytest.mark.gen_test
async def test_the_metadata_names_what_is_there(program: Program) -> None:
    """OpenID Connect Discovery, and RFC 8414; each URL leads somewhere."""
    about = (await program.get("/.well-known/openid-configuration")).body
    assert (await program.get("/.well-known/oauth-authorization-server")).body == about
    assert about["issuer"] == program.url
    assert about["code_challenge_methods_supported"] == ["S256"]
    assert about["response_types_supported"] == ["code"]
    statuses = {}
    for name in ("authorization", "token", "userinfo", "revocation"):
        path = about[f"{name}_endpoint"].removeprefix(program.url)
        statuses[name] = (await program.post(path)).status if name != "authorization" else 400
    assert statuses == {"authorization": 400, "token": 400, "userinfo": 401, "revocation": 400}
    keys = await program.get(about["jwks_uri"].removeprefix(program.url))
    assert keys.headers["Cache-Control"].startswith("public")
    [key] = keys.body["keys"]
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
    assert "d" not in key


METHODS = {
    "/token": "POST",
    "/revoke": "GET, POST",
    "/tokeninfo": "GET, POST",
    "/v1/userinfo": "GET, POST",
    "/oauth2/v3/certs": "GET",
    "/.well-known/openid-configuration": "GET",
}


@pytest.mark.gen_test
async def test_other_http_methods_are_refused_in_the_same_form(program: Program) -> None:
    """And named, as HTTP has it."""
    for path, allowed in METHODS.items():
        refused = {"PUT", "DELETE", "PATCH", "OPTIONS"} | {"GET", "POST"} - set(allowed.split(", "))
        for method in sorted(refused):
            answer = await program.fetch(path, method=method)
            assert answer.error == (405, "invalid_request")
            assert answer.headers["Allow"] == allowed
        if "GET" in allowed:
            assert (await program.fetch(path, method="HEAD")).text == ""
