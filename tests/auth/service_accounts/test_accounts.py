"""Service accounts and their keys, as they are kept."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gceshim.auth.errors import CredentialsExist, CredentialsNotFound, InvalidToken
from gceshim.auth.service_accounts.accounts import MAX_KEYS, ServiceAccounts, address
from gceshim.auth.service_accounts.errors import NoSuchServiceAccount, ServiceAccountExists, ServiceAccountRefused
from gceshim.model import Credentials
from gceshim.stores.base import DocumentRecord
from tests.auth.world import ACCOUNT, PAIR, world
from tests.stores.running import in_loop

from .signing import accounts, robot


async def listed(there: ServiceAccounts) -> list[str]:
    return [account.email async for account in there.list()]


@in_loop
async def test_a_service_account_acts_with_the_key_pair_it_was_given() -> None:
    """Under its address, which is also how it is shown to others."""
    async with world() as there:
        account, key = await robot(there)
        stored, pair = await there.vault().lookup(account.email)
        private = load_pem_private_key(key.pem.encode(), None)
        assert (account.email, pair, stored.account.email) == ("ci@ops.iam.gserviceaccount.com", PAIR, account.email)
        assert isinstance(private, rsa.RSAPrivateKey) and private.key_size >= 2048
        assert len(account.client_id) == 21 and account.client_id.isdigit()
        assert [shown.id for shown in account.keys] == [key.id]
        assert await accounts(there).get(account.email) == account


@in_loop
async def test_a_private_key_is_kept_nowhere() -> None:
    """Nor does a log that prints the objects show it."""
    async with world() as there:
        account, key = await robot(there)
        [record] = await there.store.documents.list("", "serviceAccounts")
        assert "PRIVATE" not in f"{record.body}{account!r}{key!r}"
        assert PAIR.secret_key not in str(record.body)


@pytest.mark.parametrize("name", ["", "A", "1a", "-a", "a-", "a" * 31, "a.b", "a@b", "a b", "ä", "a\n", "a/../b"])
@in_loop
async def test_a_name_has_the_form_of_a_label(name: str) -> None:
    """It becomes a part of an address and of file names."""
    async with world() as there:
        with pytest.raises(ServiceAccountRefused):
            await accounts(there).create(name, ACCOUNT, PAIR)
        assert await listed(accounts(there)) == []


@pytest.mark.parametrize(
    ("name", "label"), [("ops", "ops"), ("Dev Team/Ö", "dev-team"), ("--", "account"), ("a" * 90, "a" * 60)]
)
def test_any_account_gives_an_address(name: str, label: str) -> None:
    """CloudStack's account names are free text."""
    assert address("ci", replace(ACCOUNT, name=name)) == f"ci@{label}.iam.gserviceaccount.com"


@in_loop
async def test_a_name_is_given_once_however_many_ask() -> None:
    """And the one who was first keeps what they made."""
    async with world() as there:
        made = await asyncio.gather(*(robot(there) for _ in range(3)), return_exceptions=True)
        [(account, _)] = [item for item in made if isinstance(item, tuple)]
        assert [type(item) for item in made if not isinstance(item, tuple)] == [ServiceAccountExists] * 2
        assert await accounts(there).get(account.email) == account
        await there.vault().get(account.email)


@in_loop
async def test_credentials_of_the_same_name_are_not_taken_over() -> None:
    """Somebody stored them by hand; nothing of the service account is left then."""
    async with world() as there:
        await there.vault().add("ci@ops.iam.gserviceaccount.com", ACCOUNT, PAIR)
        with pytest.raises(CredentialsExist):
            await robot(there)
        assert await listed(accounts(there)) == []


@in_loop
async def test_deleting_takes_keys_key_pair_and_tokens_with_it() -> None:
    """Nothing of the account works afterwards, and the name is free."""
    async with world() as there:
        account, _ = await robot(there)
        for _ in range(2):
            await there.tokens().issue(account.email, 60)
        other = await there.tokens().issue("other", 60)
        assert await accounts(there).delete(account.email) == 2
        with pytest.raises(NoSuchServiceAccount):
            await accounts(there).delete(account.email)
        with pytest.raises(CredentialsNotFound):
            await there.vault().get(account.email)
        await there.tokens().check(other)
        await robot(there)


@in_loop
async def test_what_a_crash_left_half_made_can_be_deleted() -> None:
    """A service account without a key pair."""
    async with world() as there:
        account, _ = await robot(there)
        token = await there.tokens().issue(account.email, 60)
        await there.store.credentials.delete(account.email)
        assert await listed(accounts(there)) == [account.email]
        await accounts(there).delete(account.email)
        assert await listed(accounts(there)) == []
        with pytest.raises(InvalidToken):
            await there.tokens().check(token)


@in_loop
async def test_a_deletion_that_was_cut_short_can_be_finished() -> None:
    """The key pair and the tokens would stay; of somebody who is no service account nothing is taken."""
    async with world() as there:
        account, _ = await robot(there)
        await there.tokens().issue(account.email, 60)
        await there.store.documents.delete("", "serviceAccounts", account.email)
        assert await accounts(there).delete(account.email) == 1
        with pytest.raises(CredentialsNotFound):
            await there.vault().get(account.email)
        await there.vault().add("alice", ACCOUNT, PAIR)
        with pytest.raises(NoSuchServiceAccount):
            await accounts(there).delete("alice")
        assert await there.vault().get("alice") == PAIR


@in_loop
async def test_keys_are_changed_without_a_gap() -> None:
    """The new one is made, given out, and then the old one is removed."""
    async with world() as there:
        account, first = await robot(there)
        there.advance(60)
        second = await accounts(there).add_key(account.email)
        keys = (await accounts(there).get(account.email)).keys
        assert [(key.id, key.created) for key in keys] == [
            (first.id, account.created),
            (second.id, there.now()),
        ]
        await accounts(there).remove_key(account.email, first.id)
        assert [key.id for key in (await accounts(there).get(account.email)).keys] == [second.id]
        with pytest.raises(NoSuchServiceAccount, match="no key"):
            await accounts(there).remove_key(account.email, first.id)
        for call in (accounts(there).add_key("nobody"), accounts(there).remove_key("nobody", first.id)):
            with pytest.raises(NoSuchServiceAccount):
                await call


@in_loop
async def test_the_key_pair_is_replaced_under_the_same_address() -> None:
    """CloudStack's keys are rotated too; another account's pair would be another account's rights."""
    async with world() as there:
        account, key = await robot(there)
        fresh = Credentials("new", "pair")
        await accounts(there).replace_pair(account.email, ACCOUNT, fresh)
        stored, pair = await there.vault().lookup(account.email)
        assert (pair, stored.account.email) == (fresh, account.email)
        assert [shown.id for shown in (await accounts(there).get(account.email)).keys] == [key.id]
        with pytest.raises(ServiceAccountRefused, match="web's"):
            other = replace(ACCOUNT, backend_id="other", name="web")
            await accounts(there).replace_pair(account.email, other, fresh)
        with pytest.raises(NoSuchServiceAccount):
            await accounts(there).replace_pair("nobody", ACCOUNT, fresh)


@in_loop
async def test_keys_made_at_the_same_time_are_all_there() -> None:
    """Two administrators do not undo each other's work, and the number is bounded."""
    async with world() as there:
        account, _ = await robot(there)
        made = await asyncio.gather(*(accounts(there).add_key(account.email) for _ in range(3)))
        keys = (await accounts(there).get(account.email)).keys
        assert {key.id for key in made} < {key.id for key in keys}
        await asyncio.gather(*(accounts(there).remove_key(account.email, key.id) for key in made))  # all read first
        assert len((await accounts(there).get(account.email)).keys) == 1
        body = (await there.store.documents.get("", "serviceAccounts", account.email)).body  # type: ignore[union-attr]
        full = DocumentRecord(
            "", "serviceAccounts", "full@ops", there.now(), {**body, "keys": [body["keys"][0]] * MAX_KEYS}
        )
        await there.store.documents.insert(full)
        with pytest.raises(ServiceAccountRefused, match="10 keys"):
            await accounts(there).add_key("full@ops")


@in_loop
async def test_a_short_name_finds_the_only_account_of_it() -> None:
    """And no other by guessing."""
    async with world() as there:
        account, _ = await robot(there)
        await robot(there, "ci-2")
        assert await accounts(there).find("ci") == account
        assert await accounts(there).find(account.email) == account
        for name in ("c", "ci@", "ci@other", "", "ci-"):
            with pytest.raises(NoSuchServiceAccount):
                await accounts(there).find(name)
        await accounts(there).create("ci", replace(ACCOUNT, name="web"), PAIR)
        with pytest.raises(ServiceAccountRefused, match=r"ci@ops.*ci@web"):
            await accounts(there).find("ci")
        assert await listed(accounts(there)) == sorted(
            ["ci-2@ops.iam.gserviceaccount.com", "ci@ops.iam.gserviceaccount.com", "ci@web.iam.gserviceaccount.com"]
        )
