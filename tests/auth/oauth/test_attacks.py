"""What a thief may try with codes and tokens, over HTTP."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import string
import time
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jose import jwt

from gceshim.auth.service_accounts.accounts import ServiceAccounts
from gceshim.auth.tokens import digest
from gceshim.simulator import entities as model
from gceshim.testing.world import World
from tests.auth.consent.visitor import Visitor
from tests.auth.service_accounts.signing import signed

from .program import ADC, CHALLENGE, GCLOUD, JWT_BEARER, LOOPBACK, PKCE, SCOPE, VERIFIER, Answer, Program, robot


@pytest.fixture
def program(world: World) -> Program:
    return Program(world)


# Codes


@pytest.mark.parametrize("pkce", [True, False])
@pytest.mark.gen_test
async def test_a_code_that_comes_again_ends_what_the_first_exchange_gave(program: Program, pkce: bool) -> None:
    """RFC 6749, 4.1.2: one of the two who have it is a thief, and nobody can tell which."""
    code = await program.code(**(PKCE if pkce else {}))
    form = {"code_verifier": VERIFIER} if pkce else {}
    tokens = (await program.exchange(code, **form)).body
    other = await program.login(pkce=True)
    assert await program.may_call(tokens["access_token"])
    again = await program.exchange(code, **form)
    assert again.error == (400, "invalid_grant")
    assert not await program.may_call_soon(tokens["access_token"])
    assert (await program.refresh(tokens["refresh_token"])).error == (400, "invalid_grant")
    assert await program.may_call(other["access_token"])


@pytest.mark.gen_test
async def test_a_key_clients_code_that_comes_again_does_so_too(program: Program) -> None:
    """Though it is not stored."""
    own = {"client_id": program.keys[0], "client_secret": program.keys[1]}
    code = await program.code(client_id=program.keys[0])
    tokens = (await program.exchange(code, **own)).body
    for _ in range(2):
        assert (await program.exchange(code, **own)).error == (400, "invalid_grant")
    assert not await program.may_call_soon(tokens["access_token"])


@pytest.mark.gen_test
async def test_another_spelling_of_a_key_clients_code_is_the_same_code(program: Program) -> None:
    """Of the last character two bits mean nothing: four texts have one signature."""
    own = {"client_id": program.keys[0], "client_secret": program.keys[1]}
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    code = await program.code(client_id=program.keys[0])
    first = alphabet.index(code[-1]) & ~3
    answers = [await program.exchange(code[:-1] + last, **own) for last in alphabet[first : first + 4]]
    assert [answer.status for answer in answers] == [200, 400, 400, 400]
    assert not await program.may_call_soon(answers[0].body["access_token"])


@pytest.mark.gen_test
async def test_of_many_who_bring_one_code_at_once_nobody_keeps_a_token(program: Program) -> None:
    """Whichever way their requests overtake each other."""
    code = await program.code()
    answers = await asyncio.gather(*(program.exchange(code) for _ in range(8)))
    assert sum(answer.status == 200 for answer in answers) <= 1
    for answer in answers:
        if answer.status == 200:
            assert not await program.may_call_soon(answer.body["access_token"])
            assert (await program.refresh(answer.body["refresh_token"])).error == (400, "invalid_grant")


@pytest.mark.gen_test
async def test_a_code_is_good_for_the_client_that_asked_for_it(program: Program, world: World) -> None:
    """A public one cannot use a key client's, nor the other way round, nor one of two that both are such."""
    api_key, secret_key = program.keys
    other_key, other_secret = world.cloudstack.keys("other")
    public, own = await program.code(), await program.code(client_id=api_key)
    for code, client_id, secret in (
        (public, ADC, "x"),
        (public, api_key, secret_key),
        (own, GCLOUD, "x"),
        (own, ADC, "x"),
        (own, other_key, other_secret),
    ):
        answer = await program.exchange(code, client_id=client_id, client_secret=secret)
        assert answer.error == (400, "invalid_grant")
    assert (await program.exchange(public)).status == 200
    assert (await program.exchange(own, client_id=api_key, client_secret=secret_key)).status == 200


@pytest.mark.gen_test
async def test_a_code_is_good_with_its_own_redirect(program: Program) -> None:
    """RFC 6749, 4.1.3: identical, and there."""
    code = await program.code()
    for redirect_uri in ("http://localhost:8086/", "http://127.0.0.1:8085/", "http://localhost:8085"):
        assert (await program.exchange(code, redirect_uri=redirect_uri)).error == (400, "invalid_grant")
    assert (await program.exchange(code, redirect_uri="")).error == (400, "invalid_request")


@pytest.mark.gen_test
async def test_a_stolen_code_is_worth_nothing_without_its_verifier(program: Program) -> None:
    """PKCE: not the challenge itself, as `plain` would have it, and not none."""
    code = await program.code(**PKCE)
    for verifier in ("x" * 43, CHALLENGE, VERIFIER + "x", VERIFIER.upper(), "é" * 43):
        assert (await program.exchange(code, code_verifier=verifier)).error == (400, "invalid_grant")
    assert (await program.exchange(code)).error == (400, "invalid_request")
    assert (await program.exchange(code, code_verifier=VERIFIER)).status == 200


@pytest.mark.gen_test
async def test_a_verifier_without_a_challenge_is_refused(program: Program) -> None:
    """RFC 9700, 4.8.2: somebody has taken the challenge out of the request on its way."""
    code = await program.code()
    assert (await program.exchange(code, code_verifier=VERIFIER)).error == (400, "invalid_grant")


@pytest.mark.gen_test
async def test_plain_challenges_are_not_taken(program: Program) -> None:
    """Whoever sees the request could use the code."""
    usual = {"response_type": "code", "client_id": GCLOUD, "redirect_uri": LOOPBACK, "scope": SCOPE}
    for query in (
        {"code_challenge": VERIFIER[:43], "code_challenge_method": "plain"},
        {"code_challenge": CHALLENGE},
        {"code_challenge": CHALLENGE, "code_challenge_method": "s256"},
    ):
        page = await Visitor(program.url).get(urlencode(usual | query))
        assert (page.status, page.answer["error"]) == (303, "invalid_request")


ELSEWHERE = (
    "https://evil.example/",
    "http://localhost.evil.com/",
    "http://127.0.0.1@evil.com/",
    "//evil.com/",
    "http://localhost\\@evil.com/",
    "\\\\evil.com/",
    "http://localhost%2f@evil.com/",
    "http://localhost/#@evil.com/",
    "javascript:alert(1)",
)


@pytest.mark.gen_test
async def test_nobody_is_sent_anywhere_else(program: Program) -> None:
    """An open redirect; least of all with a code, as a key client's page-less answer would be."""
    mistakes: list[dict[str, str]] = [{}, {"response_type": "token"}, {"scope": '"'}]
    for client_id, uri, more in itertools.product((GCLOUD, program.keys[0]), ELSEWHERE, mistakes):
        query = {"response_type": "code", "client_id": client_id, "redirect_uri": uri, "scope": SCOPE, "state": "s"}
        page = await Visitor(program.url).get(urlencode(query | more))
        assert page.status == 400, uri
        assert "Location" not in page.headers, uri


# Refresh tokens


@pytest.mark.gen_test
async def test_a_refresh_token_that_comes_again_ends_the_login(program: Program) -> None:
    """The thief's tokens and the owner's; other logins of the same user go on."""
    first, other = await program.login(), await program.login()
    second = (await program.refresh(first["refresh_token"])).body
    third = (await program.refresh(second["refresh_token"])).body
    assert (await program.refresh(first["refresh_token"])).error == (400, "invalid_grant")
    for tokens in (first, second, third):
        assert not await program.may_call_soon(tokens["access_token"])
    assert (await program.refresh(third["refresh_token"])).error == (400, "invalid_grant")
    assert await program.may_call(other["access_token"])
    assert (await program.refresh(other["refresh_token"])).status == 200


@pytest.mark.gen_test
async def test_of_many_who_bring_one_refresh_token_at_once_nobody_keeps_a_token(program: Program) -> None:
    """Where it is good once."""
    tokens = await program.login()
    answers = await asyncio.gather(*(program.refresh(tokens["refresh_token"]) for _ in range(8)))
    assert sum(answer.status == 200 for answer in answers) <= 1
    assert not await program.may_call_soon(tokens["access_token"])
    for answer in answers:
        if answer.status == 200:
            assert not await program.may_call_soon(answer.body["access_token"])


@pytest.mark.gen_test
async def test_a_refresh_token_is_good_for_its_client(program: Program, world: World) -> None:
    """And for a key client's pair only as long as that is the pair."""
    own = {"client_id": program.keys[0], "client_secret": program.keys[1]}
    other = dict(zip(("client_id", "client_secret"), world.cloudstack.keys("other"), strict=True))
    public = await program.login(pkce=True)
    mine = (await program.exchange(await program.code(client_id=program.keys[0]), **own)).body
    for token, client in (
        (public["refresh_token"], {"client_id": ADC}),
        (public["refresh_token"], own),
        (mine["refresh_token"], {}),
        (mine["refresh_token"], other),
    ):
        assert (await program.refresh(token, **client)).error == (400, "invalid_grant")
    wrong = await program.refresh(mine["refresh_token"], **own | {"client_secret": "wrong"})
    assert wrong.error == (401, "invalid_client")
    assert (await program.refresh(mine["refresh_token"], **own)).status == 200


@pytest.mark.gen_test
async def test_a_pair_that_is_somebody_elses_by_now_does_not_refresh_old_tokens(program: Program, world: World) -> None:
    """What was allowed was allowed to act for the one that it was."""
    own = {"client_id": program.keys[0], "client_secret": program.keys[1]}
    tokens = (await program.exchange(await program.code(client_id=program.keys[0]), **own)).body
    [user] = [user for user in world.cloudstack.cloud.state.rows(model.User) if user.api_key == program.keys[0]]
    user.username = "renamed"
    assert (await program.refresh(tokens["refresh_token"], **own)).error == (400, "invalid_grant")
    assert (await program.post("/token", grant_type="client_credentials", **own)).status == 200


@pytest.mark.gen_test
async def test_a_refresh_that_a_revocation_overtakes_gives_nothing(program: Program) -> None:
    """What is revoked is revoked at once, with all that is being made of it."""
    for _ in range(5):
        tokens = await program.login(pkce=True)
        token = tokens["refresh_token"]
        early, late = ([program.refresh(token) for _ in range(4)] for _ in range(2))
        answers = await asyncio.gather(*early, program.post("/revoke", token=token), *late)
        assert answers.pop(4).status == 200
        for answer in answers:
            if answer.status == 200:
                assert not await program.may_call_soon(answer.body["access_token"])


# One kind of token in the place of another


@pytest.mark.gen_test
async def test_nothing_but_an_access_token_opens_the_api(program: Program) -> None:
    """Codes, refresh tokens and id_tokens are signed by us too."""
    code = await program.code()
    tokens = await program.login()
    for token in (code, tokens["refresh_token"], tokens["id_token"], await program.code(client_id=program.keys[0])):
        assert not await program.may_call(token)
        info = await program.get("/tokeninfo", access_token=token)
        assert info.error == (400, "invalid_token")
        who = await program.get("/v1/userinfo", {"Authorization": f"Bearer {token}"})
        assert who.error == (401, "invalid_token")


@pytest.mark.gen_test
async def test_nothing_but_a_code_is_a_code_and_so_on(program: Program, world: World) -> None:
    """Each token is for one use."""
    tokens = await program.login(pkce=True)
    machine = await robot(world)
    kinds = {
        "access_token": tokens["access_token"],
        "refresh_token": tokens["refresh_token"],
        "id_token": tokens["id_token"],
        "code": await program.code(),
        "assertion": machine.assertion(),
    }
    for kind, token in kinds.items():
        if kind != "code":
            assert (await program.exchange(token)).error == (400, "invalid_grant")
        if kind != "refresh_token":
            assert (await program.refresh(token)).error == (400, "invalid_grant")
        if kind != "assertion":
            answer = await program.post("/token", grant_type=JWT_BEARER, assertion=token)
            assert answer.error == (400, "invalid_grant")
        if kind != "id_token":
            assert (await program.get("/tokeninfo", id_token=token)).error == (400, "invalid_token")
    assert await program.may_call(tokens["access_token"])


# Forged tokens


def encoded(part: Any) -> str:
    return (
        base64.urlsafe_b64encode(part if isinstance(part, bytes) else json.dumps(part).encode()).rstrip(b"=").decode()
    )


def by_hash(header: dict[str, Any], claims: dict[str, Any], key: bytes) -> str:
    content = f"{encoded(header)}.{encoded(claims)}"
    return f"{content}.{encoded(hmac.new(key, content.encode(), hashlib.sha256).digest())}"


async def forged(program: Program, world: World) -> dict[str, str]:
    """Access tokens, id_tokens and assertions that were not signed by who they say, each stored as if it had been."""
    tokens = await program.login(pkce=True)
    machine = await robot(world)
    stored = world.shim.store.tokens
    issued = {kind: await stored.get(digest(tokens[f"{kind}_token"])) for kind in ("access", "refresh")}
    found = {}
    for name, token in (
        ("access", tokens["access_token"]),
        ("refresh", tokens["refresh_token"]),
        ("id", tokens["id_token"]),
    ):
        header, claims = jwt.get_unverified_header(token), jwt.get_unverified_claims(token)
        content, signature = token.rsplit(".", 1)
        found[f"{name} without algorithm"] = f"{encoded(header | {'alg': 'none'})}.{encoded(claims)}."
        found[f"{name} signed without algorithm"] = f"{encoded(header | {'alg': 'none'})}.{encoded(claims)}.{signature}"
        found[f"{name} without signature"] = f"{content}."
        found[f"{name} of another key"] = by_hash(header | {"alg": "HS256"}, claims, b"k" * 32)
        found[f"{name} of an empty key"] = by_hash(header | {"alg": "HS256"}, claims, b"")
        for change in ({"exp": claims["exp"] + 9999}, {"iss": "https://other.example"}, {"sub": "somebody"}):
            changed = f"{encoded(header)}.{encoded(claims | change)}.{signature}"
            found[f"{name} with {change}"] = changed
        pair = ec.generate_private_key(ec.SECP256R1())
        pem = pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        found[f"{name} of another pair"] = jwt.encode(claims, pem, algorithm="ES256", headers={"kid": header["kid"]})
    # What we publish, or a service account has registered, taken for the secret of a keyed hash.
    published = (await program.get("/oauth2/v3/certs")).body["keys"][0]
    header, claims = jwt.get_unverified_header(tokens["id_token"]), jwt.get_unverified_claims(tokens["access_token"])
    found["a published key as a secret"] = by_hash(header | {"alg": "HS256"}, claims, json.dumps(published).encode())
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    [registered] = (await accounts_of(world).get(machine.email)).keys
    for name, key in (("registered", registered.public_pem.encode()), ("foreign", public)):
        found[f"a {name} public key as a secret"] = by_hash(
            {"alg": "HS256", "kid": registered.id}, machine.claims(sub=machine.email), key
        )
    foreign = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    header = {"alg": "RS256", "kid": registered.id}
    now = int(time.time())
    found["an assertion of another key"] = signed(header, machine.claims(sub=machine.email), foreign)
    found["an assertion of nobody"] = signed(header, machine.claims(iss="nobody@example.com"), foreign)
    found["an assertion without algorithm"] = f"{encoded({'alg': 'none'})}.{encoded(machine.claims())}."
    found["an assertion with a key of its own"] = signed(
        {"alg": "RS256", "jwk": {"kty": "RSA"}, "jku": "https://evil.example/", "x5u": "https://evil.example/"},
        machine.claims(),
        foreign,
    )
    found["an expired assertion"] = machine.assertion(iat=now - 7200, exp=now - 3600, sub=machine.email)
    found["an assertion of tomorrow"] = machine.assertion(iat=now + 86400, exp=now + 86400 + 60, sub=machine.email)
    found["an assertion for ever"] = machine.assertion(exp=now + 10**8, sub=machine.email)
    for token in found.values():
        said = jwt.get_unverified_claims(token)
        record = issued["refresh" if said.get("use") == "refresh" else "access"]
        assert record is not None
        await stored.insert(replace(record, digest=digest(token), subject=said.get("sub", record.subject)))
    return found


def accounts_of(world: World) -> ServiceAccounts:
    return ServiceAccounts(world.shim.store, world.shim.vault)


@pytest.mark.gen_test
async def test_no_forged_token_is_taken_anywhere(program: Program, world: World) -> None:
    """Not at the API, the token endpoint, tokeninfo or userinfo, though its digest is in the store."""
    for name, token in (await forged(program, world)).items():
        bearer = {"Authorization": f"Bearer {token}"}
        assert not await program.may_call(token), name
        assert (await program.get("/v1/userinfo", bearer)).status == 401, name
        for path in ("/tokeninfo", "/oauth2/v1/tokeninfo"):
            assert (await program.get(path, access_token=token)).error == (400, "invalid_token"), name
            assert (await program.get(path, id_token=token)).error == (400, "invalid_token"), name
        assert (await program.post("/token", grant_type=JWT_BEARER, assertion=token)).error == (400, "invalid_grant"), (
            name
        )
        assert (await program.refresh(token)).error == (400, "invalid_grant"), name
        assert (await program.exchange(token)).error == (400, "invalid_grant"), name


# Secrets of key clients


@pytest.mark.parametrize("shim_settings", [{"oauth.sign_in_attempts_per_minute": 3, "server.trust_proxy": True}])
@pytest.mark.gen_test
async def test_guessing_a_clients_secret_ends_after_a_few_attempts(program: Program, world: World) -> None:
    """By whichever grant; CloudStack is asked no more, another client goes on, and so does the owner elsewhere."""
    api_key, secret_key = program.keys
    other_key, other_secret = world.cloudstack.keys("other")

    async def ask(secret: str, key: str = api_key, address: str = "192.0.2.1") -> Answer:
        form = {"grant_type": "client_credentials", "client_id": key, "client_secret": secret}
        return await program.post("/token", {"X-Forwarded-For": address}, **form)

    code = await program.code(client_id=api_key)
    for _ in range(3):
        assert (await ask("x")).error == (401, "invalid_client")
    asked = len(world.cloudstack.calls)
    for secret in ("x", secret_key):
        refused = await ask(secret)
        assert refused.error == (429, "temporarily_unavailable")
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
    exchange = {"grant_type": "authorization_code", "code": code, "redirect_uri": LOOPBACK, "client_id": api_key}
    refused = await program.post("/token", {"X-Forwarded-For": "192.0.2.1"}, client_secret=secret_key, **exchange)
    assert refused.error == (429, "temporarily_unavailable")
    assert len(world.cloudstack.calls) == asked
    assert (await ask(other_secret, other_key)).status == 200
    assert (await ask(secret_key, address="192.0.2.2")).status == 200
    for host in range(3, 6):
        for _ in range(2):
            await ask("x", address=f"192.0.2.{host}")
    assert (await ask(secret_key, address="192.0.2.9")).status == 429
    assert (await ask(secret_key, address="192.0.2.2")).status == 200


@pytest.mark.parametrize("shim_settings", [{"oauth.sign_in_attempts_per_minute": 3}])
@pytest.mark.gen_test
async def test_programs_that_come_at_once_with_the_right_secret_are_all_let_in(program: Program) -> None:
    """A night's jobs begin in the same second, with one key pair, behind one address."""
    api_key, secret_key = program.keys
    form = {"grant_type": "client_credentials", "client_id": api_key, "client_secret": secret_key}
    answers = await asyncio.gather(*(program.post("/token", **form) for _ in range(20)))
    assert [answer.status for answer in answers] == [200] * 20
    guesses = await asyncio.gather(*(program.post("/token", **form | {"client_secret": "x"}) for _ in range(20)))
    assert sorted(answer.status for answer in guesses) == [401] * 3 + [429] * 17
