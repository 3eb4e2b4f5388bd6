"""From a bearer token to a caller."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gceshim.auth.authenticator import CACHE_SIZE, BearerAuthenticator
from gceshim.auth.service_accounts.assertions import Assertions
from gceshim.model import Credentials
from gceshim.protocol.call import Caller
from gceshim.protocol.errors import InvalidCredentials, LoginRequired
from tests.stores.running import in_loop, until

from .service_accounts.signing import (
    COMPUTE,
    GOOGLE,
    accounts,
    bearer_claims,
    claims_of,
    content,
    header_of,
    keyed_hash,
    signed,
)
from .service_accounts.signing import quick_robot as robot
from .world import ACCOUNT, KEY, OTHER_KEY, PAIR, World, world

SCOPES = "https://www.googleapis.com/auth/"


def authenticator(there: World, **more: Any) -> BearerAuthenticator:
    self_signed = Assertions(accounts(there), now=there.now)
    return BearerAuthenticator(there.tokens(), there.vault(), self_signed, **more)


@in_loop
async def test_a_good_token_leads_to_its_subjects_credentials() -> None:
    """Shown by e-mail address, or by name where the backend has none."""
    async with world() as there:
        await there.vault().add("ops", ACCOUNT, PAIR)
        await there.vault().add("bare", replace(ACCOUNT, email=""), PAIR)
        caller = await authenticator(there).authenticate(await there.tokens().issue("ops", 60), {})
        assert caller == Caller("ops", "jo@example.com", PAIR)
        assert "IN-CLEAR" not in repr(caller)
        assert (await authenticator(there).authenticate(await there.tokens().issue("bare", 60), {})).email == "bare"


@in_loop
async def test_no_token_and_a_bad_one_are_told_apart() -> None:
    """Clients log in on the one and give up, or refresh, on the other."""
    async with world() as there:
        with pytest.raises(LoginRequired):
            await authenticator(there).authenticate(None, {})
        orphan = await there.tokens().issue("nobody", 60)
        for token in ("", "bad", "a.b.c", "x" * 10_000, "\ud800", orphan):
            with pytest.raises(InvalidCredentials) as caught:
                await authenticator(there).authenticate(token, {})
            assert not token or token not in f"{caught.value}{caught.value.detail}"


@in_loop
async def test_a_token_is_limited_to_the_scopes_it_was_granted() -> None:
    """By their full names; tokens that were made by hand are not limited."""
    async with world() as there:
        await there.vault().add("ops", ACCOUNT, PAIR)
        token = await there.tokens().issue("ops", 60, body={"scopes": ["openid", "email", f"{SCOPES}compute"]})
        caller = await authenticator(there).authenticate(token, {})
        assert caller.scopes == {"openid", f"{SCOPES}userinfo.email", f"{SCOPES}compute"}
        token = await there.tokens().issue("ops", 60)
        assert (await authenticator(there).authenticate(token, {})).scopes is None


@in_loop
async def test_a_service_account_signs_its_own_token() -> None:
    """For the API it is not limited; without an audience, to its scopes."""
    async with world() as there:
        account, key = await robot(there)
        gate = authenticator(there)
        token = signed(header_of(key), bearer_claims(there, account), key.pem)
        assert await gate.authenticate(token, {}) == Caller(account.email, "jo@example.com", PAIR)
        token = signed(header_of(key), bearer_claims(there, account, aud=None, scope="openid compute"), key.pem)
        assert (await gate.authenticate(token, {})).scopes == {"openid", f"{SCOPES}compute"}


@pytest.mark.parametrize(
    ("public_url", "host", "audience", "good"),
    [
        ("", "", COMPUTE, True),
        ("https://gce.example", "", "https://www.googleapis.com/", True),
        ("https://gce.example", "", "https://gce.example", True),
        ("https://gce.example", "", "https://gce.example/", True),
        ("https://gce.example", "", "https://gce.example/compute/v1/", True),
        ("https://gce.example/here", "", "https://gce.example/", True),
        ("https://gce.example/here", "", "https://gce.example/here/compute/v1", True),
        ("https://gce.example/here", "", "https://gce.example/there", False),
        ("https://gce.example", "other.example", "https://other.example/", False),
        ("https://gce.example", "localhost", "http://localhost/", False),
        ("", "localhost:8787", "http://localhost:8787/", True),
        ("", "127.0.0.1:8787", "https://127.0.0.1:8787/compute/v1/", True),
        ("", "[::1]:8787", "http://[::1]:8787", True),
        ("", "localhost:8787", "http://localhost:9999/", False),
        ("", "evil.example", "https://evil.example/", False),
        ("", "localhost.evil.example", "https://localhost.evil.example/", False),
        ("", "[", "http://[/", False),
        ("", "", "http://", False),
        ("", "", GOOGLE, False),
    ],
)
@in_loop
async def test_a_self_signed_token_is_for_this_server(public_url: str, host: str, audience: str, good: bool) -> None:
    """One that was made for another place, and that this place passes on, is refused; a Host header is no proof."""
    async with world() as there:
        account, key = await robot(there)
        token = signed(header_of(key), bearer_claims(there, account, aud=audience), key.pem)
        gate = authenticator(there, public_url=public_url)
        if good:
            await gate.authenticate(token, {"host": host})
        else:
            with pytest.raises(InvalidCredentials):
                await gate.authenticate(token, {"host": host})


@in_loop
async def test_the_two_sorts_of_token_are_not_mixed_up() -> None:
    """Neither's key makes the other's tokens, and neither's content is taken under the other's signature."""
    async with world() as there:
        account, key = await robot(there)
        await there.vault().add("ops", ACCOUNT, PAIR)
        issued = await there.tokens().issue(account.email, 60)
        public = account.keys[0].public_pem.encode()
        ours = {"typ": "JWT", "alg": "HS256", "kid": KEY.id}
        for forged in (
            keyed_hash({**header_of(key), "alg": "HS256"}, bearer_claims(there, account), public),
            keyed_hash(header_of(key), bearer_claims(there, account), public),
            keyed_hash(ours, bearer_claims(there, account), public),
            signed(ours, bearer_claims(there, account), key.pem),
            signed({**ours, "alg": "RS256"}, bearer_claims(there, account), key.pem),
            signed(header_of(key), {**bearer_claims(there, account), "sub": "ops"}, key.pem),
            signed(header_of(key), {**bearer_claims(there, account), "iss": "ops", "sub": "ops"}, key.pem),
            signed(header_of(key), claims_of(there, account), key.pem),
            f"{content(header_of(key), bearer_claims(there, account))}.{issued.rsplit('.', 1)[1]}",
            f"{content({'alg': 'none'}, bearer_claims(there, account))}.AA",
        ):
            with pytest.raises(InvalidCredentials):
                await authenticator(there).authenticate(forged, {})
        good = signed(header_of(key), bearer_claims(there, account), key.pem)
        with pytest.raises(InvalidCredentials):
            await BearerAuthenticator(there.tokens(), there.vault()).authenticate(good, {})


@in_loop
async def test_a_key_pair_that_cannot_be_read_is_a_refusal() -> None:
    """A self-signed token does not depend on the master key; what it stands for does."""
    async with world() as there:
        account, key = await robot(there)
        gate = BearerAuthenticator(there.tokens(), there.vault(OTHER_KEY), Assertions(accounts(there), now=there.now))
        with pytest.raises(InvalidCredentials):
            await gate.authenticate(signed(header_of(key), bearer_claims(there, account), key.pem), {})


@pytest.mark.parametrize("how", ["key", "account"])
@in_loop
async def test_a_deleted_service_account_is_refused_within_a_second(how: str) -> None:
    """Both memories together, the one of keys and the one of tokens."""
    async with world() as there:
        account, key = await robot(there)
        token = signed(header_of(key), bearer_claims(there, account), key.pem)
        gate = authenticator(there)
        await gate.authenticate(token, {})
        if how == "key":
            await accounts(there).remove_key(account.email, key.id)
        else:
            await accounts(there).delete(account.email)

        async def refused() -> bool:
            try:
                await gate.authenticate(token, {})
            except InvalidCredentials:
                return True
            return False

        await until(refused, seconds=1.0)


@pytest.mark.parametrize("how", ["token", "subject", "credentials"])
@in_loop
async def test_a_revoked_token_is_refused_within_a_second(how: str) -> None:
    """Whatever this process remembers, and whoever revoked it."""
    async with world() as there:
        await there.vault().add("ops", ACCOUNT, PAIR)
        token = await there.tokens().issue("ops", 60)
        gate = authenticator(there)
        await gate.authenticate(token, {})
        if how == "token":
            await there.tokens().revoke(token)
        elif how == "subject":
            await there.tokens().revoke_all("ops")
        else:
            await there.vault().remove("ops")

        async def refused() -> bool:
            try:
                await gate.authenticate(token, {})
            except InvalidCredentials:
                return True
            return False

        await until(refused, seconds=1.0)


@in_loop
async def test_a_burst_costs_one_look_into_the_store() -> None:
    """Clients poll; the answer is kept for a moment, and no longer than that."""
    async with world() as there:
        await there.vault().add("ops", ACCOUNT, PAIR)
        token = await there.tokens().issue("ops", 60)
        kept = authenticator(there, cache_seconds=1000)
        first = await kept.authenticate(token, {})
        await there.vault().add("ops", ACCOUNT, Credentials("new", "new"), overwrite=True)
        assert await kept.authenticate(token, {}) is first
        unkept = authenticator(there, cache_seconds=0)
        assert (await unkept.authenticate(token, {})).credentials == Credentials("new", "new")


@in_loop
async def test_what_is_remembered_is_bounded() -> None:
    """Many tokens must not fill the memory."""
    async with world() as there:
        await there.vault().add("ops", ACCOUNT, PAIR)
        gate = authenticator(there, cache_seconds=1000)
        tokens = [await there.tokens().issue("ops", 60) for _ in range(CACHE_SIZE + 5)]
        await asyncio.gather(*(gate.authenticate(token, {}) for token in tokens))
        assert len(gate._cache) == CACHE_SIZE
