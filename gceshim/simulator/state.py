"""The tables of the simulated cloud, with deterministic identifiers."""

import collections
import random
import time
import uuid as uuids
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from gceshim.simulator.entities import AclList, Host, Network, NetworkOffering, Record, Tag

R = TypeVar("R", bound=Record)


class State:
    """Records by kind and uuid.

    A removed record is kept apart, for parameters of the API find removed entities too; of each kind only the
    latest ``remembered`` removed ones are kept, so that a long run does not grow without bound.
    """

    def __init__(self, seed: int, remembered: int = 10_000) -> None:
        self.random = random.Random(seed)  # noqa: S311 - identifiers that must repeat, not secrets
        self._remembered = remembered
        self._live: dict[type[Record], dict[str, Any]] = collections.defaultdict(dict)
        self._gone: dict[type[Record], dict[str, Any]] = collections.defaultdict(dict)
        self._numbers: dict[type[Record], int] = collections.defaultdict(int)
        self.tags: dict[str, dict[str, Tag]] = {}
        self.addresses_taken: set[str] = set()
        self.default_allow: AclList
        self.default_deny: AclList
        self.hosts: list[Host] = []

    def new_uuid(self) -> str:
        """The next identifier: random in form, the same for the same seed."""
        return str(uuids.UUID(int=self.random.getrandbits(128), version=4))

    def new(self, kind: type[R], /, **fields: Any) -> R:
        """Make a record of ``kind`` and enter it in its table."""
        self._numbers[kind] += 1
        record = kind(uuid=self.new_uuid(), number=self._numbers[kind], created=time.time(), **fields)
        self._live[kind][record.uuid] = record
        return record

    def rows(self, kind: type[R]) -> Iterable[R]:
        """All live records of a kind, oldest first."""
        return self._live[kind].values()

    def snapshot(self, kind: type[R]) -> list[R]:
        """As ``rows``, safe while records are added or removed."""
        return list(self._live[kind].values())

    def count(self, kind: type[Record]) -> int:
        return len(self._live[kind])

    def find(self, kind: type[R], uuid: str) -> R | None:
        """The record of that uuid, removed or not."""
        found: R | None = self._live[kind].get(uuid) or self._gone[kind].get(uuid)
        return found

    def named(self, kind: type[R], name: str) -> R | None:
        """The first live record with that name, in any case."""
        for row in self.rows(kind):
            if getattr(row, "name", "").casefold() == name.casefold():
                return row
        return None

    def remove(self, record: Record) -> None:
        """Take a record out of its table; its tags go with it."""
        if record.removed:
            return
        record.removed = True
        kind = type(record)
        del self._live[kind][record.uuid]
        gone = self._gone[kind]
        gone[record.uuid] = record
        if len(gone) > self._remembered:
            del gone[next(iter(gone))]
        for tag in list(self.tags.pop(record.uuid, {}).values()):
            self.remove(tag)

    def forget_oldest(self, kind: type[Record], keep: int) -> None:
        """Drop the oldest live records of a kind until ``keep`` are left."""
        table = self._live[kind]
        while len(table) > keep:
            del table[next(iter(table))]

    def tags_of(self, uuid: str) -> Iterator[Tag]:
        return iter(self.tags.get(uuid, {}).values())

    def required_isolated_offering(self) -> NetworkOffering | None:
        """The offering from which a network is made for an account that has none."""
        for offering in self.rows(NetworkOffering):
            if offering.enabled and offering.availability == "Required" and offering.guest_type == "Isolated":
                return offering
        return None

    def tiers(self, vpc_uuid: str) -> list[Network]:
        return [row for row in self.rows(Network) if row.vpc is not None and row.vpc.uuid == vpc_uuid]
