"""
Backend key pairs at rest: encrypted by AES-256-GCM, each bound to the subject it is stored under.

A record moved to another subject, or changed by a bit, does not decrypt. The key's id is stored with each record,
so that old keys can stay readable while new ones come into use.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gceshim.auth.errors import CredentialsExist, CredentialsNotFound, WrongKey
from gceshim.auth.masterkey import MasterKey
from gceshim.model import Account, Credentials
from gceshim.stores.base import CredentialRecord, Store
from gceshim.stores.errors import Conflict, Duplicate

PURPOSE: Final = "gceshim credentials at rest, AES-256-GCM, 1"
NONCE_BYTES: Final = 12
MAX_SUBJECT_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class StoredCredentials:
    """Whose key pair is stored under `subject`, and since when. Holds no secret."""

    subject: str
    account: Account
    created: datetime


def utc_now() -> datetime:
    return datetime.now(UTC)


class CredentialVault:
    """
    Key pairs by subject.

    :param keys: master keys; the first encrypts, all may have encrypted.
    """

    def __init__(self, store: Store, keys: Sequence[MasterKey], *, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._now = now
        self._sealing_id = keys[0].id
        self._ciphers = {key.id: AESGCM(key.derive(PURPOSE)) for key in keys}

    async def add(
        self, subject: str, account: Account, credentials: Credentials, *, overwrite: bool = False
    ) -> StoredCredentials:
        """
        Store a key pair.

        :param subject: a name for it, 1 to 200 printable characters. :param account: whose it is.
        :param overwrite: put it in the place of one that is there; tokens stay good.
        :raises CredentialsExist: there is one, and `overwrite` is False. :raises ValueError: no such subject can be.
        """
        if not subject.isprintable() or not 1 <= len(subject) <= MAX_SUBJECT_LENGTH:
            raise ValueError(f"a subject is 1 to {MAX_SUBJECT_LENGTH} printable characters")
        record = CredentialRecord(
            subject=subject,
            created=self._now(),
            key_id=self._sealing_id,
            sealed=self._seal(subject, credentials),
            body={"account": asdict(account)},
        )
        try:
            await self._store.credentials.insert(record)
        except Duplicate as exc:
            earlier = await self._store.credentials.get(subject) if overwrite else None
            if earlier is None:
                raise CredentialsExist(f"There are credentials under the name {subject} already.") from exc
            record = replace(record, created=earlier.created, version=earlier.version)
            try:
                await self._store.credentials.update(record)
            except Conflict as conflict:
                raise CredentialsExist(f"The credentials {subject} are being changed elsewhere.") from conflict
        return _describe(record)

    async def get(self, subject: str) -> Credentials:
        """The key pair. :raises CredentialsNotFound: none is stored. :raises WrongKey: it does not decrypt."""
        return (await self.lookup(subject))[1]

    async def lookup(self, subject: str) -> tuple[StoredCredentials, Credentials]:
        """Whose the key pair is, and the pair. :raises: as `get`."""
        record = await self._store.credentials.get(subject)
        if record is None:
            raise CredentialsNotFound(f"There are no credentials under the name {subject}.")
        return _describe(record), self._unseal(record)

    async def list(self, *, after: str = "", limit: int = 500) -> Sequence[StoredCredentials]:
        """What is stored, by subject; `after`: the subject that the page before ended with."""
        return [_describe(record) for record in await self._store.credentials.list(after=after, limit=limit)]

    async def remove(self, subject: str) -> int:
        """Forget a key pair and revoke its tokens; returns how many those were. :raises CredentialsNotFound:"""
        if not await self._store.credentials.delete(subject):
            raise CredentialsNotFound(f"There are no credentials under the name {subject}.")
        return await self._store.tokens.delete_subject(subject)

    def _seal(self, subject: str, credentials: Credentials) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        plain = json.dumps([credentials.api_key, credentials.secret_key]).encode()
        return nonce + self._ciphers[self._sealing_id].encrypt(nonce, plain, subject.encode())

    def _unseal(self, record: CredentialRecord) -> Credentials:
        cipher = self._ciphers.get(record.key_id)
        if cipher is None:
            raise WrongKey(f"The credentials {record.subject} were encrypted under another master key.")
        nonce, sealed = record.sealed[:NONCE_BYTES], record.sealed[NONCE_BYTES:]
        try:
            plain = cipher.decrypt(nonce, sealed, record.subject.encode())
        except (InvalidTag, ValueError):
            raise WrongKey(f"The credentials {record.subject} have been tampered with.") from None
        api_key, secret_key = json.loads(plain)
        return Credentials(api_key, secret_key)


def _describe(record: CredentialRecord) -> StoredCredentials:
    return StoredCredentials(record.subject, Account(**record.body["account"]), record.created)
