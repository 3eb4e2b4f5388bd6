"""JWTs of service accounts: good ones, and every way to be a bad one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gceshim.auth.errors import InvalidToken
from gceshim.auth.service_accounts.assertions import (
    API_AUDIENCES,
    CACHE_SIZE,
    SKEW_SECONDS,
    TOKEN_AUDIENCES,
    Assertion,
    Assertions,
)
from tests.auth.world import World, world
from tests.stores.running import in_loop, until

from .signing import (
    GOOGLE,
    accounts,
    bearer_claims,
    claims_of,
    content,
    encoded,
    header_of,
    keyed_hash,
    private_pem,
    signed,
    signed_sha512,
)
from .signing import quick_robot as robot


def assertions(there: World, **more: float) -> Assertions:
    return Assertions(accounts(there), now=there.now, **more)


async def verified(there: World, text: str) -> Assertion:
    return await assertions(there).verify(text, TOKEN_AUDIENCES)


async def refused(there: World, text: str, match: str | None = None) -> None:
    """Both as an assertion and as a bearer token; the words show nothing of the token."""
    for check, audiences in (
        (assertions(there).verify, TOKEN_AUDIENCES),
        (assertions(there).verify_bearer, API_AUDIENCES),
    ):
        with pytest.raises(InvalidToken, match=match) as caught:
            await check(text, audiences)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        assert len(text) < 20 or text[:20] not in str(caught.value)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kid", [True, False])
@in_loop
async def test_an_assertion_names_its_account_and_what_it_wants(padded: bool, kid: bool) -> None:
    """With the key's id as google-auth sends it, and without it and with padding as libcloud does."""
    async with world() as there:
        account, key = await robot(there)
        header = header_of(key) if kid else {"typ": "JWT", "alg": "RS256"}
        text = signed(header, claims_of(there, account), key.pem, padded=padded)
        assert await verified(there, text) == Assertion(account.email, frozenset({"openid", "email"}))


@in_loop
async def test_an_assertion_may_want_an_id_token() -> None:
    """gcloud asks so first."""
    async with world() as there:
        account, key = await robot(there)
        claims = claims_of(there, account, scope=None, target_audience="32555940559.apps.googleusercontent.com")
        found = await verified(there, signed(header_of(key), claims, key.pem))
        assert (found.scopes, found.target_audience) == (None, "32555940559.apps.googleusercontent.com")


@pytest.mark.parametrize(
    "aud", [*sorted(TOKEN_AUDIENCES), "https://own.example/token", ["x", "https://own.example/token"]]
)
@in_loop
async def test_any_of_the_audiences_will_do(aud: Any) -> None:
    """Google's constants and the server's own address."""
    async with world() as there:
        account, key = await robot(there)
        text = signed(header_of(key), claims_of(there, account, aud=aud), key.pem)
        await assertions(there).verify(text, {*TOKEN_AUDIENCES, "https://own.example/token"})
        with pytest.raises(InvalidToken, match="audience"):
            await assertions(there).verify(text, {"https://elsewhere.example/token"})


@in_loop
async def test_a_self_signed_token_is_for_the_api_or_has_scopes() -> None:
    """google-auth makes the first form, gcloud the second."""
    async with world() as there:
        account, key = await robot(there)
        form = bearer_claims(there, account)
        check = assertions(there).verify_bearer
        assert await check(signed(header_of(key), form, key.pem), API_AUDIENCES) == Assertion(account.email, None)
        form = bearer_claims(there, account, aud=None, scope="a b")
        assert (await check(signed(header_of(key), form, key.pem), API_AUDIENCES)).scopes == {"a", "b"}
        for wrong in ({"aud": None}, {"aud": "https://evil.example/"}, {"aud": GOOGLE}, {"aud": GOOGLE, "scope": "a"}):
            with pytest.raises(InvalidToken, match="audience"):
                await check(signed(header_of(key), bearer_claims(there, account, **wrong), key.pem), API_AUDIENCES)


@in_loop
async def test_an_assertion_is_no_bearer_token_and_the_other_way_round() -> None:
    """Who sees the one cannot use it as the other."""
    async with world() as there:
        account, key = await robot(there)
        assertion = signed(header_of(key), claims_of(there, account), key.pem)
        with pytest.raises(InvalidToken):
            await assertions(there).verify_bearer(assertion, API_AUDIENCES)
        wanted = claims_of(there, account, aud=None, sub=account.email, target_audience="x")
        with pytest.raises(InvalidToken):
            await assertions(there).verify_bearer(signed(header_of(key), wanted, key.pem), API_AUDIENCES)
        for form in (bearer_claims(there, account), bearer_claims(there, account, aud=None, scope="a")):
            with pytest.raises(InvalidToken, match="audience"):
                await verified(there, signed(header_of(key), form, key.pem))


@pytest.mark.parametrize("form", [{}, {"aud": None, "scope": "a"}], ids=["audience", "scope"])
@pytest.mark.parametrize("sub", [None, "", "victim@ops.iam.gserviceaccount.com", 7])
@in_loop
async def test_a_self_signed_token_is_about_its_signer(sub: Any, form: dict[str, Any]) -> None:
    """Whatever else it says; one without a subject is something else."""
    async with world() as there:
        account, key = await robot(there)
        text = signed(header_of(key), bearer_claims(there, account, **{**form, "sub": sub}), key.pem)
        with pytest.raises(InvalidToken, match="`sub` must be `iss`"):
            await assertions(there).verify_bearer(text, API_AUDIENCES)


@pytest.mark.parametrize("seconds", [-SKEW_SECONDS, 3600 + SKEW_SECONDS - 1])
@in_loop
async def test_clocks_may_differ_by_the_skew(seconds: float) -> None:
    """And a second more is too much."""
    async with world() as there:
        account, key = await robot(there)
        text = signed(header_of(key), claims_of(there, account), key.pem)
        there.advance(seconds)
        await verified(there, text)
        there.advance(1 if seconds > 0 else -1)
        await refused(there, text, "expired" if seconds > 0 else "not valid yet")


@pytest.mark.parametrize(
    "change",
    [
        {"iss": None},
        {"iss": ""},
        {"iss": 7},
        {"iss": ["ci@ops.iam.gserviceaccount.com"]},
        {"iss": "a\nb"},
        {"iss": "x" * 1000},
        {"iss": "nobody@ops.iam.gserviceaccount.com"},
        {"sub": "other@ops.iam.gserviceaccount.com"},
        {"sub": ""},
        {"sub": 7},
        {"aud": "https://evil.example/"},
        {"aud": {"https://oauth2.googleapis.com/token": 1}},
        {"aud": []},
        {"aud": [["https://oauth2.googleapis.com/token"]]},
        {"iat": None},
        {"exp": None},
        {"iat": "1"},
        {"exp": True},
        {"exp": 1e400},
        {"exp": float("nan")},
        {"exp": 10**4000},
        {"iat": -1},
        {"exp": 0},
        {"nbf": 4_000_000_000},
        {"nbf": "now"},
        {"scope": ["a"], "sub": "ci@ops.iam.gserviceaccount.com", "aud": None},
        {"target_audience": 7},
        {"target_audience": ["x"]},
    ],
    ids=str,
)
@in_loop
async def test_claims_that_are_not_right_are_refused(change: dict[str, Any]) -> None:
    """Also when the signature is."""
    async with world() as there:
        account, key = await robot(there)
        claims = {name: value for name, value in (claims_of(there, account) | change).items() if value is not None}
        await refused(there, signed(header_of(key), claims, key.pem))


@in_loop
async def test_a_long_life_is_refused() -> None:
    """An hour, and the skew for those who date back; fractions of a second are times too."""
    async with world() as there:
        account, key = await robot(there)
        now = there.now().timestamp()
        good = claims_of(there, account, iat=now - 30.5, exp=now + 3600.0)
        await verified(there, signed(header_of(key), good, key.pem))
        for exp in (now + 3600 + SKEW_SECONDS + 1, now - 1, now):
            await refused(there, signed(header_of(key), claims_of(there, account, exp=exp), key.pem))


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "nOnE", "", "HS256", "RS384", "RS512", "ES256", "PS256", None, 7, ["RS256"]]
)
@in_loop
async def test_the_algorithm_is_rs256_and_nothing_else(algorithm: Any) -> None:
    """Whatever the header says, with a right signature, with the public key as a secret, or with none."""
    async with world() as there:
        account, key = await robot(there)
        header = {**header_of(key), "alg": algorithm}
        for claims in (claims_of(there, account), bearer_claims(there, account)):
            text = content(header, claims)
            for forged in (
                signed(header, claims, key.pem),
                signed_sha512(header, claims, key.pem),
                keyed_hash(header, claims, account.keys[0].public_pem.encode()),
                keyed_hash(header, claims, b""),
                f"{text}.",
                f"{text}.AA",
            ):
                await refused(there, forged)


@in_loop
async def test_a_signature_that_does_not_fit_is_refused() -> None:
    """By another key, another digest, another content, or made as a keyed hash."""
    async with world() as there:
        account, key = await robot(there)
        header, claims = header_of(key), claims_of(there, account)
        good = signed(header, claims, key.pem)
        head, body, signature = good.split(".")
        stranger = encoded(json.dumps({**claims, "scope": "everything"}).encode())
        for forged in (
            signed(header, claims, private_pem()),
            signed_sha512(header, claims, key.pem),
            keyed_hash(header, claims, account.keys[0].public_pem.encode()),
            f"{head}.{stranger}.{signature}",
            f"{head}.{body}.{signature[:-4]}",
            f"{head}.{body}.{signature}{signature}",
        ):
            await refused(there, forged)
        await verified(there, good)


@pytest.mark.parametrize(
    "extra",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"kid": "other"},
        {"kid": ""},
        {"kid": 7},
        {"kid": ["a"]},
        {"kid": "../../etc/passwd"},
    ],
    ids=str,
)
@in_loop
async def test_headers_that_are_not_right_are_refused(extra: dict[str, Any]) -> None:
    """A key is chosen from the account's own alone."""
    async with world() as there:
        account, key = await robot(there)
        await refused(there, signed({**header_of(key), **extra}, claims_of(there, account), key.pem))


@in_loop
async def test_a_header_brings_no_key_in() -> None:
    """Neither whole nor by an address to fetch it from."""
    async with world() as there:
        account, key = await robot(there)
        own = {"kty": "oct", "k": "AAAA"}
        for extra in ({"jwk": own}, {"jku": "http://127.0.0.1:1/"}, {"x5u": "http://127.0.0.1:1/"}, {"x5c": ["AAAA"]}):
            await refused(there, signed({**header_of(key), **extra}, claims_of(there, account), private_pem()))


@in_loop
async def test_one_account_cannot_speak_for_another() -> None:
    """Its own key is no key of the other's, with and without naming it."""
    async with world() as there:
        _, key = await robot(there)
        victim, _ = await robot(there, "victim")
        for header in (header_of(key), {"alg": "RS256"}):
            await refused(there, signed(header, claims_of(there, victim), key.pem))
            await refused(there, signed(header, bearer_claims(there, victim), key.pem))


@in_loop
async def test_both_keys_are_good_while_they_are_changed() -> None:
    """With and without their ids."""
    async with world() as there:
        account, first = await robot(there)
        second = await accounts(there).add_key(account.email)
        for key in (first, second):
            for header in (header_of(key), {"alg": "RS256"}):
                await verified(there, signed(header, claims_of(there, account), key.pem))
        await refused(there, signed(header_of(first), claims_of(there, account), second.pem))


@pytest.mark.parametrize("how", ["key", "account"])
@in_loop
async def test_a_deleted_key_is_refused_within_a_second(how: str) -> None:
    """Whatever this process remembers."""
    async with world() as there:
        account, key = await robot(there)
        text = signed(header_of(key), claims_of(there, account), key.pem)
        gate = assertions(there)
        await gate.verify(text, TOKEN_AUDIENCES)
        if how == "key":
            await accounts(there).remove_key(account.email, key.id)
        else:
            await accounts(there).delete(account.email)

        async def is_refused() -> bool:
            try:
                await gate.verify(text, TOKEN_AUDIENCES)
            except InvalidToken:
                return True
            return False

        await until(is_refused, seconds=0.5)


@in_loop
async def test_what_is_remembered_is_bounded_and_short() -> None:
    """Many names must not fill the memory, and a burst costs one look into the store."""
    async with world() as there:
        account, key = await robot(there)
        gate = assertions(there, cache_seconds=1000)
        text = signed(header_of(key), claims_of(there, account), key.pem)
        await gate.verify(text, TOKEN_AUDIENCES)
        await accounts(there).delete(account.email)
        await gate.verify(text, TOKEN_AUDIENCES)
        for number in range(CACHE_SIZE + 5):
            with pytest.raises(InvalidToken):
                await gate.verify(f"{content({'alg': 'RS256'}, {'iss': str(number)})}.AA", TOKEN_AUDIENCES)
        assert len(gate._cache) == CACHE_SIZE


NASTY = [
    "",
    ".",
    "..",
    "a.b",
    "a.b.c",
    "a.b.c.d",
    "\x00.\x00.\x00",
    "ä.ö.ü",
    "\ud800.a.b",
    " . . ",
    "=.=.=",
    "a===.b.c",
    "a" * 100_000,
    f"{content(b'[' * 2500, b'{}')}.AA",
    f"{content({'alg': 'RS256'}, b'[' * 2500)}.AA",
    f"{content([], {})}.AA",
    f"{content({'alg': 'RS256'}, [])}.AA",
    f"{content({'alg': 'RS256'}, b'null')}.AA",
    f"{content({'alg': 'RS256'}, bytes([0xFF, 0xFE]))}.AA",
    f"{content(bytes([0xFF]), {})}.AA",
    f"{content({'alg': {}}, {})}.AA",
    f"{content({'alg': 'RS256'}, b'{' + b'9' * 3000 + b'}')}.AA",
    f"{content({'alg': 'RS256'}, {'iss': chr(0xD800)})}.AA",
    f"{content({'alg': 'RS256'}, {'iss': chr(0)})}.AA",
]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
@in_loop
async def test_garbage_is_refused(text: str) -> None:
    """Whatever is sent, the answer is the same kind of no."""
    async with world() as there:
        await refused(there, text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["iss", "sub", "aud", "iat", "exp", "nbf", "scope", "target_audience", "alg", "kid", "crit"])
PARTS = st.dictionaries(NAMES, JSON, max_size=6)


@given(PARTS, PARTS)
def test_any_parts_with_a_right_signature_are_refused_in_words(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """A holder of a key can sign what they like; no content of it makes the check fail in another way."""

    @in_loop
    async def go() -> None:
        async with world() as there:
            account, key = await robot(there)
            for head in (header, header_of(key)):
                await refused(there, signed(head, {"iss": account.email, **claims}, key.pem))

    go()
