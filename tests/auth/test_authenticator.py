"""From a bearer token to a caller."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gceshim.auth.authenticator import CACHE_SIZE, BearerAuthenticator
from gceshim.model import Credentials
from gceshim.protocol.call import Caller
from gceshim.protocol.errors import InvalidCredentials, LoginRequired
from tests.stores.running import in_loop, until

from .world import ACCOUNT, PAIR, World, world


def authenticator(there: World, cache_seconds: float = 0.5) -> BearerAuthenticator:
    return BearerAuthenticator(there.tokens(), there.vault(), cache_seconds=cache_seconds)


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
