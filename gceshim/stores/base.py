"""
What must persist: operations, credentials, tokens and documents, each behind a small abstract class.

The interface holds to what an embedded and a replicated store can both do:

- unique keys are enforced at insertion (`Duplicate`);
- an update replaces one record, and only the version that was read (`Conflict`); nothing spans two records;
- a list is read a page at a time, by an ordered key and a limit;
- a record past its `expires` may vanish at any time and may still be seen for a while: whoever must know compares;
- times are aware datetimes in UTC, kept to the millisecond; `body` is any JSON object;
- `key_id` names the master key that a record was sealed or signed with, "" for none.

All calls are coroutines and may raise `Unavailable`. Records are frozen; a store neither reads nor changes `body`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""`lease_until` of an operation that nobody holds."""

MAX_LIMIT: Final = 1000


def check_limit(limit: int) -> int:
    """The limit of a list call, 1 to `MAX_LIMIT`; ValueError for any other."""
    if not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"limit must be 1 to {MAX_LIMIT}, not {limit}")
    return limit


def check_family(family: str) -> str:
    """The family of tokens to remove; ValueError for "", as tokens that came of no grant belong to none."""
    if not family:
        raise ValueError("tokens without a family are removed one by one, or with their subject")
    return family


def check_key(key_id: str) -> str:
    """The key whose tokens are to be removed; ValueError for "", which is no key's."""
    if not key_id:
        raise ValueError("a key has an id")
    return key_id


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """
    One operation: what the store looks things up by, and the rest in `body`.

    Unique: `name`, `id`, and (`owner`, `request_id`) where that is not "". `name` orders lists. All but `done`,
    the lease, `expires`, `version`, `body` and `key_id` stay as they were inserted.
    """

    name: str
    id: int
    owner: str
    scope_kind: str
    scope: str
    request_id: str
    inserted: datetime
    done: bool
    lease_holder: str
    lease_until: datetime
    expires: datetime | None
    body: Mapping[str, Any] = field(repr=False)
    version: int = 1
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class CredentialRecord:
    """
    One stored key pair, encrypted (`sealed`, under the key named `key_id`). Unique: `subject`, which orders lists.

    `body` tells whose it is and holds no secret.
    """

    subject: str
    created: datetime
    key_id: str
    sealed: bytes = field(repr=False)
    body: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """
    One issued token, by the hexadecimal SHA-256 of it (unique). `kind`: what the token is good for.

    `family` is the same in all tokens that came of one grant; "" in those that came of none.
    """

    digest: str = field(repr=False)
    subject: str
    kind: str
    issued: datetime
    expires: datetime
    body: Mapping[str, Any] = field(default_factory=dict)
    family: str = ""
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """One object that only this server knows. Unique: (`owner`, `collection`, `name`); `name` orders lists."""

    owner: str
    collection: str
    name: str
    updated: datetime
    body: Mapping[str, Any]
    version: int = 1


@dataclass(frozen=True, slots=True)
class KeyUse:
    """How many records were sealed or signed with one key; `tokens_until`: when the last of its tokens expires."""

    credentials: int = 0
    operations: int = 0
    tokens: int = 0
    tokens_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Census:
    """
    What a store holds, counted.

    :param operations: by state: "running" (a server holds its lease), "waiting" (none does), "done".
    :param oldest_unfinished: when the oldest operation that is not done was inserted.
    :param leases: how many operations each holder runs.
    :param tokens: by kind; those that have expired are not counted.
    :param documents: by collection, of all owners.
    :param keys: by key id; "" for what needs none is left out.
    :param outdated: records in the form of an older schema. They are read as well as others.
    """

    operations: Mapping[str, int]
    oldest_unfinished: datetime | None
    leases: Mapping[str, int]
    credentials: int
    tokens: Mapping[str, int]
    documents: Mapping[str, int]
    keys: Mapping[str, KeyUse]
    outdated: int = 0


Report = Callable[[str, int, int], None]
"""Told how a long piece of work gets on: what is being done, how much of it is, and of how much."""


class OperationStore(abc.ABC):
    """Operations and their leases."""

    @abc.abstractmethod
    async def insert(self, record: OperationRecord) -> None:
        """Add it, durably. :raises Duplicate: `name`, `id` or (`owner`, `request_id`) is taken."""

    @abc.abstractmethod
    async def get(self, name: str) -> OperationRecord | None:
        """The operation of this name."""

    @abc.abstractmethod
    async def find_id(self, owner: str, operation_id: int) -> OperationRecord | None:
        """The owner's operation with this numeric id."""

    @abc.abstractmethod
    async def find_request(self, owner: str, request_id: str) -> OperationRecord | None:
        """The owner's operation that was begun with this request id (not "")."""

    @abc.abstractmethod
    async def list(
        self,
        owner: str,
        *,
        scope_kind: str | None = None,
        scope: str | None = None,
        after: str = "",
        newest_first: bool = False,
        limit: int = 500,
    ) -> Sequence[OperationRecord]:
        """
        The owner's operations by name, up or (`newest_first`) down.

        :param scope_kind: None for all. :param scope: None for all.
        :param after: the name that the page before ended with, "" for the first page.
        :param limit: 1 to `MAX_LIMIT`; fewer are returned only at the end.
        """

    @abc.abstractmethod
    async def update(self, record: OperationRecord) -> OperationRecord:
        """
        Replace `done`, lease, `expires`, `body` and `key_id` if the stored version is `record.version`.

        Returns the record as stored, its version one higher. :raises Conflict: the stored version differs.
        """

    @abc.abstractmethod
    async def delete(self, name: str, version: int) -> None:
        """Remove it. :raises Conflict: the stored version differs, or it is gone."""

    @abc.abstractmethod
    async def lapsed(self, now: datetime, *, limit: int = 100) -> Sequence[OperationRecord]:
        """Operations that are not done and whose lease ended before or at `now`, those that lapsed first first."""

    @abc.abstractmethod
    async def claim(self, name: str, holder: str, *, now: datetime, until: datetime) -> OperationRecord | None:
        """
        Take over a lapsed operation: at one stroke, if it is not done and its lease ended before or at `now`.

        Returns the record as stored, its version one higher; None if another was quicker.
        """

    @abc.abstractmethod
    async def renew(self, holder: str, names: Collection[str], until: datetime) -> frozenset[str]:
        """Extend the leases that `holder` still has on these unfinished operations; returns which. Same version."""

    @abc.abstractmethod
    async def release(self, holder: str, names: Collection[str]) -> None:
        """Give up the leases that `holder` has on these unfinished operations. Same version."""

    @abc.abstractmethod
    async def unfinished(self, names: Collection[str]) -> frozenset[str]:
        """Which of these operations are there and not done."""


class CredentialStore(abc.ABC):
    """Encrypted key pairs by subject."""

    @abc.abstractmethod
    async def insert(self, record: CredentialRecord) -> None:
        """Add it. :raises Duplicate: the subject has one."""

    @abc.abstractmethod
    async def get(self, subject: str) -> CredentialRecord | None:
        """The record of this subject."""

    @abc.abstractmethod
    async def list(self, *, after: str = "", limit: int = 500) -> Sequence[CredentialRecord]:
        """All records by subject; `after`: the subject that the page before ended with."""

    @abc.abstractmethod
    async def update(self, record: CredentialRecord) -> CredentialRecord:
        """Replace `key_id`, `sealed` and `body` if the version is the stored one. :raises Conflict: it is not."""

    @abc.abstractmethod
    async def delete(self, subject: str) -> bool:
        """Remove it; False if there was none."""


class TokenStore(abc.ABC):
    """Digests of the tokens that are good."""

    @abc.abstractmethod
    async def insert(self, record: TokenRecord) -> None:
        """Add it. :raises Duplicate: the digest is there."""

    @abc.abstractmethod
    async def get(self, digest: str) -> TokenRecord | None:
        """The token of this digest."""

    @abc.abstractmethod
    async def delete(self, digest: str) -> bool:
        """Remove it; True for exactly one of several callers."""

    @abc.abstractmethod
    async def delete_subject(self, subject: str) -> int:
        """Remove all tokens of the subject; returns how many there were."""

    @abc.abstractmethod
    async def delete_family(self, family: str) -> int:
        """
        Remove all tokens of the family; returns how many there were.

        :raises ValueError: the family is "", which is none.
        """

    @abc.abstractmethod
    async def delete_key(self, key_id: str) -> int:
        """Remove all tokens that a key has signed; returns how many there were. :raises ValueError: it is ""."""


class DocumentStore(abc.ABC):
    """Objects that the backend has no place for."""

    @abc.abstractmethod
    async def insert(self, record: DocumentRecord) -> None:
        """Add it. :raises Duplicate: owner and collection have one of this name."""

    @abc.abstractmethod
    async def get(self, owner: str, collection: str, name: str) -> DocumentRecord | None:
        """The document of this name."""

    @abc.abstractmethod
    async def list(self, owner: str, collection: str, *, after: str = "", limit: int = 500) -> Sequence[DocumentRecord]:
        """The documents of a collection by name; `after`: the name that the page before ended with."""

    @abc.abstractmethod
    async def update(self, record: DocumentRecord) -> DocumentRecord:
        """Replace `body` and `updated` if the version is the stored one. :raises Conflict: it is not."""

    @abc.abstractmethod
    async def delete(self, owner: str, collection: str, name: str, *, version: int | None = None) -> bool:
        """
        Remove it; False if there was none.

        :param version: only this version. :raises Conflict: the stored version is another.
        """


class Upkeep(abc.ABC):
    """
    What an operator asks of a store.

    `kind`: which sort it is. `where`: its place, without a password. `schema`: the version that this code works with.
    """

    kind: ClassVar[str]
    schema: ClassVar[int]
    where: str

    @abc.abstractmethod
    async def version(self) -> int:
        """
        The version of the schema that is there, 0 for none. The store need not be open; changes nothing.

        :raises: as `migrate`.
        """

    @abc.abstractmethod
    async def check(self) -> None:
        """Whether `Store.open` would work, without a change. :raises: as that."""

    @abc.abstractmethod
    async def migrate(self, report: Report) -> None:
        """
        Make the schema, or bring an older one up to date; the store need not be open.

        May be called again, also after it was broken off. Servers that have the store open go on meanwhile.

        :raises Unavailable, Unsuitable: as `Store.open`. :raises WrongSchema: it holds something else, or a newer one.
        """

    @abc.abstractmethod
    async def census(self, now: datetime) -> Census:
        """What is in the open store, counted; it takes a while when there is much."""

    @abc.abstractmethod
    async def scrub(self) -> None:
        """Overwrite what removed and replaced records have left behind in the open store, where that can be done."""


class Store(abc.ABC):
    """A place to keep things. Building one does nothing; `open` comes before other calls, `close` ends it."""

    operations: OperationStore
    credentials: CredentialStore
    tokens: TokenStore
    documents: DocumentStore
    upkeep: Upkeep

    @abc.abstractmethod
    async def open(self) -> None:
        """
        Connect, and make the schema where there is none. A store of one machine also upgrades an older one.

        :raises Unavailable: there is no reaching it; the text says what to look at.
        :raises Unsuitable: it cannot keep what a store promises; the text says what to do.
        :raises WrongSchema: it holds something else, a newer schema, or an older one that servers share: see
            `Upkeep.migrate`.
        """

    @abc.abstractmethod
    async def close(self) -> None:
        """Finish what is under way and let go. May be called twice."""

    @abc.abstractmethod
    async def ping(self) -> None:
        """Return if the store can be read and written just now. :raises Unavailable: it cannot."""

    @abc.abstractmethod
    async def schema_version(self) -> int:
        """The version of the schema that the store holds."""

    @abc.abstractmethod
    async def purge(self, now: datetime, *, limit: int = MAX_LIMIT) -> int:
        """
        Remove records whose `expires` is past, up to `limit` of each sort, and return how many were removed.

        To be called now and then; a store that expires records by itself does nothing and returns 0.
        """
