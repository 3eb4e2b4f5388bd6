"""id_tokens and what is sealed, across keys and in time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jose import jwt

from gceshim.auth.errors import InvalidToken
from gceshim.auth.masterkey import MasterKey
from gceshim.auth.oauth.id_tokens import LIFETIME_SECONDS, Identity, IdTokens
from gceshim.auth.oauth.sealing import Sealer
from gceshim.auth.tokens import SKEW_SECONDS
from tests.auth.world import KEY, OTHER_KEY, World, world
from tests.stores.running import in_loop

ISSUER = "https://gce.example.org"
SOMEBODY = Identity("jo@ops/ROOT#12345678", "jo@example.com")


def made(there: World, *keys: MasterKey) -> IdTokens:
    return IdTokens(keys or (KEY,), now=there.now)


@in_loop
async def test_an_id_token_outlives_a_change_of_the_master_key() -> None:
    """The old key's public half is published as long as the old key is accepted."""
    async with world() as there:
        token = made(there).issue(ISSUER, "client", SOMEBODY)
        later = made(there, OTHER_KEY, KEY)
        assert later.check(token, ISSUER)["email"] == "jo@example.com"
        assert len(later.key_set()["keys"]) == 2
        published = later.key_set()
        assert jwt.decode(token, published, algorithms=["ES256"], audience="client", options={"verify_exp": False})
        with pytest.raises(InvalidToken, match="another key"):
            made(there, OTHER_KEY).check(token, ISSUER)


@in_loop
async def test_an_id_token_is_good_for_an_hour_and_of_its_issuer() -> None:
    """And a word more, as clocks differ."""
    async with world() as there:
        token = made(there).issue(ISSUER, "client", SOMEBODY)
        with pytest.raises(InvalidToken):
            made(there).check(token, "https://other.example.org")
        there.advance(LIFETIME_SECONDS + SKEW_SECONDS - 1)
        made(there).check(token, ISSUER)
        there.advance(1)
        with pytest.raises(InvalidToken, match="expired"):
            made(there).check(token, ISSUER)


@given(st.text())
def test_no_text_breaks_the_reading_of_tokens(text: str) -> None:
    """All of it comes from outside."""
    with pytest.raises(InvalidToken):
        IdTokens([KEY]).check(text, ISSUER)
    with pytest.raises(InvalidToken):
        Sealer([KEY]).unseal("purpose", text)


def test_a_number_stands_for_a_subject() -> None:
    """The same one always, as long as Google's, and telling nothing."""
    assert SOMEBODY.number == Identity(SOMEBODY.subject, "other@example.com").number
    assert SOMEBODY.number != Identity("jo@ops/ROOT#87654321", "jo@example.com").number
    assert (len(SOMEBODY.number), SOMEBODY.number.isdecimal()) == (21, True)


@in_loop
async def test_what_is_sealed_is_for_one_purpose_and_a_while() -> None:
    """Under the keys that are accepted."""
    async with world() as there:
        sealed = Sealer([KEY], now=there.now).seal("one", {"a": 1}, 60)
        rotated = Sealer([OTHER_KEY, KEY], now=there.now)
        assert rotated.unseal("one", sealed) == {"a": 1}
        with pytest.raises(InvalidToken, match="another purpose"):
            rotated.unseal("another", sealed)
        with pytest.raises(InvalidToken, match="another key"):
            Sealer([OTHER_KEY], now=there.now).unseal("one", sealed)
        there.advance(60)
        with pytest.raises(InvalidToken, match="over"):
            rotated.unseal("one", sealed)
