"""
Service accounts and their public keys.

A service account is a subject of the vault, its e-mail address, with the CloudStack key pair that it acts with; and
one document that holds its RSA public keys. Their private halves are given out once and kept nowhere.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gceshim.auth.credentials import CredentialVault
from gceshim.auth.errors import CredentialsNotFound
from gceshim.auth.service_accounts.errors import NoSuchServiceAccount, ServiceAccountExists, ServiceAccountRefused
from gceshim.model import Account, Credentials
from gceshim.stores.base import DocumentRecord, Store
from gceshim.stores.errors import Conflict, Duplicate

OWNER: Final = ""
COLLECTION: Final = "serviceAccounts"
DOMAIN: Final = "iam.gserviceaccount.com"
"""By the end of an address libcloud and gcloud tell a service account from a person; it leads nowhere else here."""
NAME: Final = re.compile(r"[a-z](?:[-a-z0-9]{0,28}[a-z0-9])?")
MAX_KEYS: Final = 10
"""Keys that one account may have at a time; Google's limit."""

KEY_BITS: Final = 2048
KEY_ID_BYTES: Final = 20
_PAGE: Final = 500
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class AccountKey:
    """A key of a service account: its public half, in PEM."""

    id: str
    created: datetime
    public_pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """
    A service account.

    :param email: `<name>@<account>.iam.gserviceaccount.com`: its subject in the vault, `iss` and `sub` of its JWTs.
    :param client_id: 21 decimal digits, which Google's key files hold too.
    :param account: whose key pair it acts with. :param keys: the oldest first.
    """

    email: str
    client_id: str
    account: Account
    created: datetime
    keys: tuple[AccountKey, ...]


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """The half of a key that its holder keeps: PKCS 8, PEM."""

    id: str
    pem: str = field(repr=False)


def utc_now() -> datetime:
    return datetime.now(UTC)


class ServiceAccounts:
    """
    The service accounts of a store; every server that shares the store sees a change at once.

    All calls may raise `gceshim.stores.errors.StoreError`.
    """

    def __init__(self, store: Store, vault: CredentialVault, *, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._vault = vault
        self._now = now

    async def create(self, name: str, account: Account, credentials: Credentials) -> tuple[ServiceAccount, PrivateKey]:
        """
        Make a service account with its first key.

        :param name: 1 to 30 lower-case letters, digits and dashes, a letter first.
        :param account: whose key pair it is. :param credentials: what the service account acts with.
        :raises ServiceAccountExists: the name is taken. :raises ServiceAccountRefused: it is no such name.
        :raises CredentialsExist: credentials are stored under the e-mail address that it would have.
        """
        if not NAME.fullmatch(name):
            raise ServiceAccountRefused(
                f"{name!r} is no name for a service account: 1 to 30 lower-case letters, digits and dashes, "
                "a letter first"
            )
        email = address(name, account)
        key, private = await _new_key(self._now())
        shown = replace(account, email=email)
        client_id = f"1{secrets.randbelow(10**20):020d}"
        made = ServiceAccount(email, client_id, shown, self._now(), (key,))
        # The document first: it decides who is first. One without credentials is shown by `list` and can be deleted.
        try:
            await self._store.documents.insert(_record(made, self._now()))
        except Duplicate as exc:
            message = f"There is a service account {email} already; make another key for it, or take another name."
            raise ServiceAccountExists(message) from exc
        try:
            await self._vault.add(email, shown, credentials)
        except BaseException:
            await self._store.documents.delete(OWNER, COLLECTION, email)
            raise
        return made, private

    async def get(self, email: str) -> ServiceAccount:
        """The service account of this address. :raises NoSuchServiceAccount:"""
        return _account(await self._stored(email))

    async def find(self, name: str) -> ServiceAccount:
        """
        The service account of this address, or the only one whose address begins with this name.

        :raises NoSuchServiceAccount: there is none. :raises ServiceAccountRefused: there are several.
        """
        if "@" in name:
            return await self.get(name)
        start = f"{name}@"
        page = await self._store.documents.list(OWNER, COLLECTION, after=start, limit=10)
        found = [record for record in page if record.name.startswith(start)]
        if not found:
            raise NoSuchServiceAccount(f"There is no service account {name}.")
        if len(found) > 1:
            addresses = ", ".join(record.name for record in found)
            raise ServiceAccountRefused(f"There are several service accounts {name}; give its address: {addresses}")
        return _account(found[0])

    async def list(self) -> AsyncIterator[ServiceAccount]:
        """All, by address."""
        after = ""
        while page := await self._store.documents.list(OWNER, COLLECTION, after=after, limit=_PAGE):
            for record in page:
                yield _account(record)
            after = page[-1].name

    async def delete(self, email: str) -> int:
        """
        Forget a service account, its keys and its key pair, and revoke its tokens; returns how many those were.

        :raises NoSuchServiceAccount: there is none.
        """
        # The keys first, so that none of them gets a new token while the rest goes.
        found = await self._store.documents.delete(OWNER, COLLECTION, email)
        missing = NoSuchServiceAccount(f"There is no service account {email}.")
        if not found and not email.endswith(f".{DOMAIN}"):
            raise missing
        try:
            return await self._vault.remove(email)  # also what is left by a deletion that was cut short
        except CredentialsNotFound:
            if not found:
                raise missing from None
            return 0

    async def replace_pair(self, email: str, account: Account, credentials: Credentials) -> None:
        """
        Let the service account act with another key pair; its keys and tokens stay good.

        :raises NoSuchServiceAccount: there is none. :raises ServiceAccountRefused: the pair is another account's.
        :raises CredentialsExist: somebody else is replacing it.
        """
        stored = await self.get(email)
        if account.backend_id != stored.account.backend_id:
            raise ServiceAccountRefused(f"The key pair is {account.name}'s, and {email} is {stored.account.name}'s.")
        await self._vault.add(email, stored.account, credentials, overwrite=True)

    async def add_key(self, email: str) -> PrivateKey:
        """
        Make another key; those that are there stay good.

        :raises NoSuchServiceAccount: there is none. :raises ServiceAccountRefused: it has `MAX_KEYS`.
        """
        key, private = await _new_key(self._now())

        def with_key(keys: tuple[AccountKey, ...]) -> tuple[AccountKey, ...]:
            if len(keys) >= MAX_KEYS:
                raise ServiceAccountRefused(f"{email} has {len(keys)} keys; delete one before another is made.")
            return (*keys, key)

        await self._change(email, with_key)
        return private

    async def remove_key(self, email: str, key_id: str) -> None:
        """
        Forget a key: what it signs is refused from then on, while tokens that were got by it stay good.

        :raises NoSuchServiceAccount: there is none, or it has no such key.
        """

        def without_key(keys: tuple[AccountKey, ...]) -> tuple[AccountKey, ...]:
            left = tuple(key for key in keys if key.id != key_id)
            if len(left) == len(keys):
                raise NoSuchServiceAccount(f"{email} has no key {key_id}.")
            return left

        await self._change(email, without_key)

    async def _change(self, email: str, change: Callable[[tuple[AccountKey, ...]], tuple[AccountKey, ...]]) -> None:
        for _ in range(_ATTEMPTS):
            record = await self._stored(email)
            account = _account(record)
            changed = replace(account, keys=change(account.keys))
            try:
                await self._store.documents.update(replace(_record(changed, self._now()), version=record.version))
            except Conflict:
                continue  # somebody else has changed it: once more, from what they have made of it
            return
        raise ServiceAccountRefused(f"{email} is being changed elsewhere; try again.")

    async def _stored(self, email: str) -> DocumentRecord:
        record = await self._store.documents.get(OWNER, COLLECTION, email)
        if record is None:
            raise NoSuchServiceAccount(f"There is no service account {email}.")
        return record


def address(name: str, account: Account) -> str:
    """The e-mail address of a service account of this name. It leads nowhere; `.internal` is nobody's domain."""
    label = re.sub(r"[^a-z0-9]+", "-", account.name.lower()).strip("-")[:60].rstrip("-")
    return f"{name}@{label or 'account'}.{DOMAIN}"


async def _new_key(now: datetime) -> tuple[AccountKey, PrivateKey]:
    # Finding primes takes some tenths of a second.
    private = await asyncio.to_thread(rsa.generate_private_key, public_exponent=65537, key_size=KEY_BITS)
    key_id = secrets.token_hex(KEY_ID_BYTES)
    public_pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    private_pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return AccountKey(key_id, now, public_pem), PrivateKey(key_id, private_pem)


def _record(account: ServiceAccount, now: datetime) -> DocumentRecord:
    body = {
        "clientId": account.client_id,
        "account": asdict(account.account),
        "created": account.created.isoformat(),
        "keys": [
            {"id": key.id, "created": key.created.isoformat(), "publicPem": key.public_pem} for key in account.keys
        ],
    }
    return DocumentRecord(OWNER, COLLECTION, account.email, now, body)


def _account(record: DocumentRecord) -> ServiceAccount:
    body = record.body
    keys: list[Mapping[str, Any]] = body["keys"]
    return ServiceAccount(
        email=record.name,
        client_id=body["clientId"],
        account=Account(**body["account"]),
        created=datetime.fromisoformat(body["created"]),
        keys=tuple(AccountKey(key["id"], datetime.fromisoformat(key["created"]), key["publicPem"]) for key in keys),
    )
