"""Bearer tokens: good ones, and every way to be a bad one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from jose import jwt

from gceshim.auth.errors import InvalidToken, RevokedToken
from gceshim.auth.tokens import PURPOSE, SKEW_SECONDS, digest
from gceshim.stores.base import TokenRecord
from tests.stores.running import in_loop

from .world import ISSUER, KEY, OTHER_KEY, World, world


def encode(part: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def signed(header: Any, claims: Any, key: bytes = KEY.derive(PURPOSE)) -> str:
    """A token with these parts and a right HS256 signature, made without the library."""
    content = f"{encode(header)}.{encode(claims)}"
    signature = hmac.new(key, content.encode(), hashlib.sha256).digest()
    return f"{content}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


async def stored(there: World, token: str) -> str:
    """A token as if it had been issued: its digest is in the store, so that only the token itself can be at fault."""
    await there.store.tokens.insert(
        TokenRecord(digest(token), "subject", "access", there.now(), there.now().replace(year=2099))
    )
    return token


async def parts(there: World) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the claims of a good token."""
    token = await there.tokens().issue("subject", 3600)
    claims: dict[str, Any] = jwt.get_unverified_claims(token)
    return jwt.get_unverified_header(token), claims


@in_loop
async def test_an_issued_token_is_good_and_names_its_subject() -> None:
    """With all the claims that a JWT of ours has."""
    async with world() as there:
        token = await there.tokens().issue("subject", 3600)
        record = await there.tokens().check(token)
        header, claims = jwt.get_unverified_header(token), jwt.get_unverified_claims(token)
        assert (record.subject, record.kind, record.issued) == ("subject", "access", there.now())
        assert (header["alg"], header["kid"]) == ("HS256", KEY.id)
        assert (claims["iss"], claims["aud"], claims["sub"]) == (ISSUER, ISSUER, "subject")
        assert claims["exp"] - claims["iat"] == 3600
        assert await there.tokens().issue("subject", 3600) != token


@in_loop
async def test_only_a_digest_is_stored() -> None:
    """A stolen store gives nobody a token."""
    async with world() as there:
        token = await there.tokens().issue("subject", 3600)
        record = await there.store.tokens.get(digest(token))
        assert record is not None
        assert token.rsplit(".", 1)[1] not in str(replace(record))
        assert digest(token) not in repr(record)


@in_loop
async def test_a_token_expires_within_the_skew() -> None:
    """Clocks differ a little between servers, and not more."""
    async with world() as there:
        token = await there.tokens().issue("subject", 3600)
        there.advance(3600 + SKEW_SECONDS - 1)
        await there.tokens().check(token)
        there.advance(1)
        with pytest.raises(InvalidToken, match="expired"):
            await there.tokens().check(token)


@in_loop
async def test_a_token_from_the_future_is_refused() -> None:
    """Past the skew, a clock is wrong or the token is."""
    async with world() as there:
        token = await there.tokens().issue("subject", 3600)
        there.advance(-SKEW_SECONDS)
        await there.tokens().check(token)
        there.advance(-1)
        with pytest.raises(InvalidToken, match="not valid yet"):
            await there.tokens().check(token)


@in_loop
async def test_revocation_holds_at_once_and_for_the_right_ones() -> None:
    """One token, or all of a subject."""
    async with world() as there:
        tokens = there.tokens()
        first, second, third = [await tokens.issue("a", 3600) for _ in range(3)]
        other = await tokens.issue("b", 3600)
        assert await tokens.revoke(first) is True
        assert await tokens.revoke(first) is False
        with pytest.raises(InvalidToken, match="revoked"):
            await tokens.check(first)
        await tokens.check(second)
        assert await tokens.revoke_all("a") == 2
        for token in (second, third):
            with pytest.raises(InvalidToken, match="revoked"):
                await tokens.check(token)
        await tokens.check(other)


@in_loop
async def test_a_key_that_was_replaced_still_verifies_while_it_is_listed() -> None:
    """Keys are changed without logging everybody out."""
    async with world() as there:
        old = await there.tokens(OTHER_KEY).issue("subject", 3600)
        assert (await there.tokens(KEY, OTHER_KEY).check(old)).subject == "subject"
        with pytest.raises(InvalidToken, match="another key"):
            await there.tokens(KEY).check(old)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", "HS384", "HS512", "RS256", "ES256", "dir"])
@in_loop
async def test_the_algorithm_is_ours_and_not_the_tokens(algorithm: str) -> None:
    """A header must not choose how it is checked, with or without a signature."""
    async with world() as there:
        header, claims = await parts(there)
        token = signed({**header, "alg": algorithm}, claims)
        bare = token.rsplit(".", 1)[0]
        for forged in (token, f"{bare}.", f"{bare}.AA"):
            await stored(there, forged)
            with pytest.raises(InvalidToken):
                await there.tokens().check(forged)


@in_loop
async def test_an_rsa_signature_is_not_taken() -> None:
    """Not even a right one, by a key that the token names."""
    async with world() as there:
        header, claims = await parts(there)
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        token = await stored(there, jwt.encode(claims, pem, algorithm="RS256", headers={"kid": header["kid"]}))
        with pytest.raises(InvalidToken):
            await there.tokens().check(token)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://evil.example.com/"},
        {"aud": "https://evil.example.com/"},
        {"aud": ["https://evil.example.com/"]},
        {"iss": None},
        {"aud": None},
        {"sub": None},
        {"jti": None},
        {"iat": None},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": 1e400},
        {"sub": "other"},
        {"sub": {"a": 1}},
        {"use": "refresh"},
    ],
)
@in_loop
async def test_claims_that_are_not_right_are_refused(change: dict[str, Any]) -> None:
    """Also when the signature is: None stands for leaving the claim out."""
    async with world() as there:
        header, claims = await parts(there)
        claims = {name: value for name, value in (claims | change).items() if value is not None}
        token = await stored(there, signed(header, claims))
        with pytest.raises(InvalidToken):
            await there.tokens().check(token)
        assert await stored(there, signed(header, (await parts(there))[1]))


@pytest.mark.parametrize("kid", [None, "", "other", 7, ["a"], {"a": "b"}])
@in_loop
async def test_a_key_id_that_is_not_known_is_refused(kid: Any) -> None:
    """The key is chosen from ours alone."""
    async with world() as there:
        header, claims = await parts(there)
        with pytest.raises(InvalidToken):
            await there.tokens().check(await stored(there, signed({**header, "kid": kid}, claims)))


@in_loop
async def test_a_forged_signature_is_refused_even_if_the_store_knows_the_digest() -> None:
    """Whoever can write to the store cannot make tokens."""
    async with world() as there:
        header, claims = await parts(there)
        for key in (b"", b"guess", OTHER_KEY.derive(PURPOSE), KEY.derive("another purpose"), KEY.secret):
            token = await stored(there, signed(header, claims, key))
            with pytest.raises(InvalidToken):
                await there.tokens().check(token)


@in_loop
async def test_a_token_of_another_kind_is_refused() -> None:
    """A refresh token is no access token."""
    async with world() as there:
        token = await there.tokens().issue("subject", 3600, kind="refresh")
        assert (await there.tokens().check(token, kind="refresh")).kind == "refresh"
        with pytest.raises(InvalidToken, match="not for this use"):
            await there.tokens().check(token)


@in_loop
async def test_a_token_of_another_server_is_refused() -> None:
    """Two servers may share a key by mistake."""
    async with world() as there:
        token = await there.tokens(issuer="https://other.example.com/").issue("subject", 3600)
        with pytest.raises(InvalidToken):
            await there.tokens().check(token)


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
    "a" * 100_000,
    f"{base64.urlsafe_b64encode(b'[' * 2500).decode().rstrip('=')}.e30.AA",
    f"{encode([])}.e30.AA",
    f"{encode({'alg': {}, 'kid': KEY.id})}.e30.AA",
]


@pytest.mark.parametrize("token", NASTY, ids=range(len(NASTY)))
@in_loop
async def test_garbage_is_refused(token: str) -> None:
    """Whatever is sent, the answer is the same kind of no."""
    async with world() as there:
        with pytest.raises(InvalidToken):
            await there.tokens().check(token)
        assert await there.tokens().revoke(token) is False


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{1,40}\.[A-Za-z0-9_-]{1,40}\.[A-Za-z0-9_-]{1,40}"))
def test_any_text_is_refused(token: str) -> None:
    """No text makes the check fail in another way."""

    @in_loop
    async def go() -> None:
        async with world() as there:
            with pytest.raises(InvalidToken) as caught:
                await there.tokens().check(token)
            assert caught.value.__cause__ is None
            assert caught.value.__suppress_context__ or caught.value.__context__ is None

    go()


@in_loop
async def test_a_changed_character_spoils_a_token() -> None:
    """Anywhere in it."""
    async with world() as there:
        token = await there.tokens().issue("subject", 3600)
        for place in range(0, len(token) - 1, 7):
            changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
            with pytest.raises(InvalidToken):
                await there.tokens().check(changed)


@in_loop
async def test_errors_show_no_token() -> None:
    """They reach logs."""
    async with world() as there:
        token = await there.tokens().issue("subject", 3600)
        for bad in (token[:-3] + "AAA", token + ".x"):
            with pytest.raises(InvalidToken) as caught:
                await there.tokens().check(bad)
            assert token[:20] not in str(caught.value)


@in_loop
async def test_the_tokens_of_one_grant_end_together() -> None:
    """And no others; tokens that came of no grant are no family."""
    async with world() as there:
        tokens = there.tokens()
        ours = [await tokens.issue("a", 3600, family="f", kind=kind) for kind in ("access", "refresh")]
        others = [await tokens.issue("a", 3600, family="g"), await tokens.issue("a", 3600)]
        assert await tokens.revoke_family("f") == 2
        assert await tokens.revoke_family("") == 0
        for token, kind in zip(ours, ("access", "refresh"), strict=True):
            with pytest.raises(RevokedToken):
                await tokens.check(token, kind=kind)
        for token in others:
            await tokens.check(token)


@in_loop
async def test_a_spent_token_tells_its_family_to_whom_it_is_for() -> None:
    """So that its grant can be ended; for another use it is just no good."""
    async with world() as there:
        tokens = there.tokens()
        token = await tokens.issue("a", 3600, kind="refresh", family="f", body={"scopes": ["s"]})
        record = await tokens.check(token, kind="refresh")
        assert (record.family, record.body["scopes"]) == ("f", ["s"])
        assert [await tokens.spend(record), await tokens.spend(record)] == [True, False]
        with pytest.raises(RevokedToken) as caught:
            await tokens.check(token, kind="refresh")
        assert caught.value.family == "f"
        with pytest.raises(InvalidToken, match="not for this use") as other:
            await tokens.check(token)
        assert not isinstance(other.value, RevokedToken)


@in_loop
async def test_a_token_that_the_store_dropped_after_its_time_is_not_taken_for_used() -> None:
    """Stores drop what is past; that a clock is late ends nobody's login."""
    async with world() as there:
        token = await there.tokens().issue("a", 60, family="f")
        there.advance(61)
        await there.store.tokens.delete(digest(token))
        with pytest.raises(InvalidToken, match="expired") as caught:
            await there.tokens().check(token)
        assert not isinstance(caught.value, RevokedToken)


@in_loop
async def test_a_text_is_used_once() -> None:
    """Though it was not stored before."""
    async with world() as there:
        tokens = there.tokens()
        assert [await tokens.use_once("text", "a", 60) for _ in range(3)] == [True, False, False]
        assert await tokens.use_once("another", "a", 60)
