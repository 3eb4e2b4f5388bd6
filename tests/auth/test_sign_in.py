"""Signing in: which subject and address a key pair gets, and what is stored of it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gceshim.auth.errors import BackendUnavailable, SignInRefused
from gceshim.auth.sign_in import Backend, SignIn, email_of, subject_of
from gceshim.model import Account, Credentials
from tests.stores.running import in_loop

from .world import ACCOUNT, KEY, OTHER_KEY, PAIR, world


@dataclass
class People(Backend):
    """A backend of one account, whose users and pairs are what a test says."""

    account: Account = ACCOUNT
    pairs: list[Credentials] = field(default_factory=lambda: [PAIR])
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def whoami(self, credentials: Credentials) -> Account:
        self.asked.append(("whoami", credentials.api_key))
        if credentials not in self.pairs:
            raise SignInRefused("no")
        return self.account

    async def sign_in(self, username: str, password: str, domain: str) -> Credentials:
        self.asked.append(("sign_in", username, domain))
        if (username, password, domain) != ("jo", " pass word ", "a"):
            raise SignInRefused("no")
        return self.pairs[0]


@in_loop
async def test_a_key_pair_is_stored_under_user_account_domain_and_key() -> None:
    """Blanks that came along when it was copied do no harm."""
    async with world() as there:
        sign_in = SignIn(People(), there.vault())
        stored = await sign_in.with_keys(f" {PAIR.api_key}\n", f"{PAIR.secret_key} ")
        assert re.fullmatch(r"jo@ops/ROOT/a#[0-9a-f]{8}", stored.subject)
        assert stored.account == ACCOUNT
        assert await there.vault().get(stored.subject) == PAIR
        assert await sign_in.with_keys(PAIR.api_key, PAIR.secret_key) == stored


@in_loop
async def test_a_password_leads_to_the_same_subject_as_the_pair() -> None:
    """The password itself is taken as it was typed, blanks and all, and stored nowhere."""
    async with world() as there:
        sign_in = SignIn(People(), there.vault())
        stored = await sign_in.with_password("jo ", " pass word ", " a")
        assert stored == await sign_in.with_keys(PAIR.api_key, PAIR.secret_key)
        record = await there.store.credentials.get(stored.subject)
        assert record is not None
        assert "pass word" not in f"{record.body}{record.sealed!r}"


@in_loop
async def test_a_new_pair_of_the_same_user_is_another_subject() -> None:
    """It may have other rights, and must not take over tokens that the old one's owner gave away."""
    async with world() as there:
        other = Credentials("OTHER", "SECRET")
        sign_in = SignIn(People(pairs=[PAIR, other]), there.vault())
        first = await sign_in.with_keys(PAIR.api_key, PAIR.secret_key)
        second = await sign_in.with_keys("OTHER", "SECRET")
        assert first.subject != second.subject
        assert await there.vault().get(first.subject) == PAIR


@in_loop
async def test_a_refused_pair_is_not_stored() -> None:
    """Nothing of it."""
    async with world() as there:
        with pytest.raises(SignInRefused):
            await SignIn(People(), there.vault()).with_keys(PAIR.api_key, "WRONG")
        assert await there.vault().list() == []


@pytest.mark.parametrize(
    ("key", "secret"), [("", "s"), ("k", ""), (" ", "s"), ("k" * 513, "s"), ("k\0", "s"), ("\ud800", "s")]
)
@in_loop
async def test_what_can_be_no_pair_is_refused_without_asking(key: str, secret: str) -> None:
    """The backend is not to be tried with it."""
    async with world() as there:
        people = People()
        with pytest.raises(SignInRefused):
            await SignIn(people, there.vault()).with_keys(key, secret)
        with pytest.raises(SignInRefused):
            await SignIn(people, there.vault()).with_password(key, secret, "")
        assert people.asked == []


@in_loop
async def test_the_topmost_domain_needs_no_name() -> None:
    """It is what most people are in."""
    async with world() as there:
        people = People()
        with pytest.raises(SignInRefused):
            await SignIn(people, there.vault()).with_password("jo", "x", "")
        assert people.asked == [("sign_in", "jo", "")]


@in_loop
async def test_a_changed_account_is_stored_anew() -> None:
    """Such as an e-mail address that was corrected; a lost master key is overcome in the same way."""
    async with world() as there:
        people = People()
        first = await SignIn(people, there.vault(OTHER_KEY)).with_keys(PAIR.api_key, PAIR.secret_key)
        people.account = replace(ACCOUNT, email="new@example.com")
        stored = await SignIn(people, there.vault(KEY)).with_keys(PAIR.api_key, PAIR.secret_key)
        assert (stored.subject, stored.account.email) == (first.subject, "new@example.com")
        assert (await there.vault(KEY).lookup(stored.subject))[0] == stored


@in_loop
async def test_another_pair_is_never_put_in_the_place_of_the_stored_one() -> None:
    """Eight digits can be alike; tokens of the one must not become tokens of the other."""
    async with world() as there:
        subject = subject_of(ACCOUNT, PAIR)
        await there.vault().add(subject, ACCOUNT, Credentials("VICTIM", "SECRET"))
        with pytest.raises(BackendUnavailable):
            await SignIn(People(), there.vault()).with_keys(PAIR.api_key, PAIR.secret_key)
        assert await there.vault().get(subject) == Credentials("VICTIM", "SECRET")


@in_loop
async def test_signing_in_many_times_at_once_works_each_time() -> None:
    """Two tabs, or two servers."""
    async with world() as there:
        sign_in = SignIn(People(), there.vault())
        done = await asyncio.gather(*(sign_in.with_keys(PAIR.api_key, PAIR.secret_key) for _ in range(8)))
        assert {stored.subject for stored in done} == {subject_of(ACCOUNT, PAIR)}


@in_loop
async def test_a_store_that_is_away_is_no_wrong_password() -> None:
    """The person is told to try again, not to doubt what they typed."""
    async with world() as there:
        vault = there.vault()
        await there.store.close()
        with pytest.raises(BackendUnavailable):
            await SignIn(People(), vault).with_keys(PAIR.api_key, PAIR.secret_key)


@pytest.mark.parametrize(
    ("email", "user", "account", "domain", "shown"),
    [
        ("jo@example.com", "jo", "ops", "ROOT/a", "jo@example.com"),
        (" jo@example.com ", "jo", "ops", "ROOT/a", "jo@example.com"),
        ("", "jo", "ops", "ROOT/a", "jo@ops.root-a.gceshim.internal"),
        ("", "Jo.B_c@x", "Ops & Co", "/", "jo.b_c-x@ops-co.x.gceshim.internal"),
        ("no address", "jo", "ops", "ROOT", "jo@ops.root.gceshim.internal"),
        ("jo@localhost", "jo", "ops", "ROOT", "jo@ops.root.gceshim.internal"),
        ("a@b.c\nX: y", "jo", "ops", "ROOT", "jo@ops.root.gceshim.internal"),
        ("robot@Ops.gceshim.INTERNAL", "jo", "ops", "ROOT", "jo@ops.root.gceshim.internal"),
        ("ci@demo.iam.gserviceaccount.com", "jo", "ops", "ROOT", "jo@ops.root.gceshim.internal"),
        ("robot@gceshim.internal", "jo", "ops", "ROOT", "jo@ops.root.gceshim.internal"),
        ("ü@example.com", "日本", "日本", "日本", "x@x.x.gceshim.internal"),
    ],
)
def test_each_user_has_an_address(email: str, user: str, account: str, domain: str, shown: str) -> None:
    """gcloud names its accounts by it; addresses under our own domain are ours to give."""
    assert email_of(Account("id", account, domain, user, email)) == shown


@given(st.builds(Account, st.text(), st.text(), st.text(), st.text(), st.text()))
def test_any_account_has_a_subject_and_an_address_that_can_be_stored(account: Account) -> None:
    """CloudStack lets names hold nearly anything."""
    subject = subject_of(account, PAIR)
    assert subject.isprintable()
    assert 1 <= len(subject) <= 200
    assert re.fullmatch(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]+", email_of(account))
    assert subject != subject_of(account, Credentials("another", ""))
