"""Backend key pairs at rest: encrypted, each bound to the subject it is stored under."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Final

from gceshim.auth.cipher import Cipher
from gceshim.auth.errors import CredentialsExist, CredentialsNotFound, WrongKey
from gceshim.auth.masterkey import MasterKey
from gceshim.model import Account, Credentials
from gceshim.stores.base import CredentialRecord, Store
from gceshim.stores.errors import Conflict, Duplicate

PURPOSE: Final = "gceshim credentials at rest, AES-256-GCM, 1"
MAX_SUBJECT_LENGTH: Final = 200
PAGE_SIZE: Final = 100
RESEAL_TRIES: Final = 5


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
        self._cipher = Cipher(keys, PURPOSE)

    def use_keys(self, keys: Sequence[MasterKey]) -> None:
        """Go on with these keys instead."""
        self._cipher.use_keys(keys)

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
            key_id=self._cipher.key_id,
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
        found = await self._store.credentials.delete(subject)
        # Also when there is no key pair: an earlier removal may have got no further.
        revoked = await self._store.tokens.delete_subject(subject)
        if not found:
            raise CredentialsNotFound(f"There are no credentials under the name {subject}.")
        return revoked

    async def reseal(self, report: Callable[[int], None]) -> Sequence[str]:
        """
        Encrypt anew, under the current key, what is encrypted under another one. May be broken off and called again.

        :param report: told now and then how many records have been looked at.
        :returns: the subjects whose records do not decrypt; they stay as they are.
        """
        unreadable: list[str] = []
        after, count = "", 0
        while page := await self._store.credentials.list(after=after, limit=PAGE_SIZE):
            for record in page:
                if not await self._resealed(record):
                    unreadable.append(record.subject)
            after, count = page[-1].subject, count + len(page)
            report(count)
        return unreadable

    async def _resealed(self, record: CredentialRecord | None) -> bool:
        """False if it does not decrypt. One that is changed again and again meanwhile is left to the next run."""
        for _ in range(RESEAL_TRIES):
            if record is None or record.key_id == self._cipher.key_id:
                return True
            try:
                sealed = self._seal(record.subject, self._unseal(record))
                await self._store.credentials.update(replace(record, key_id=self._cipher.key_id, sealed=sealed))
            except WrongKey:
                return False
            except Conflict:
                record = await self._store.credentials.get(record.subject)
            else:
                return True
        return True

    def _seal(self, subject: str, credentials: Credentials) -> bytes:
        return self._cipher.seal(subject, json.dumps([credentials.api_key, credentials.secret_key]).encode())

    def _unseal(self, record: CredentialRecord) -> Credentials:
        try:
            plain = self._cipher.unseal(record.subject, record.key_id, record.sealed)
        except WrongKey as exc:
            raise WrongKey(f"The credentials {exc.message}") from None
        api_key, secret_key = json.loads(plain)
        return Credentials(api_key, secret_key)


def _describe(record: CredentialRecord) -> StoredCredentials:
    return StoredCredentials(record.subject, Account(**record.body["account"]), record.created)
