"""A store, keys and a clock for tests of access."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from gceshim.auth.credentials import CredentialVault
from gceshim.auth.masterkey import MasterKey
from gceshim.auth.tokens import Tokens
from gceshim.model import Account, Credentials
from gceshim.stores.base import Store
from gceshim.stores.sqlite import SqliteStore

ISSUER = "https://gce.example.com/"
KEY = MasterKey(bytes(range(32)))
OTHER_KEY = MasterKey(bytes(32))
ACCOUNT = Account("account-id", "ops", "ROOT/a", "jo", "jo@example.com")
PAIR = Credentials("API-KEY-IN-CLEAR", "SECRET-KEY-IN-CLEAR")


@dataclass
class World:
    store: Store
    time: datetime = field(default_factory=lambda: datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))

    def now(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def tokens(self, *keys: MasterKey, issuer: str = ISSUER) -> Tokens:
        return Tokens(self.store.tokens, keys or (KEY,), issuer, now=self.now)

    def vault(self, *keys: MasterKey) -> CredentialVault:
        return CredentialVault(self.store, keys or (KEY,), now=self.now)


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    store = SqliteStore(":memory:")
    await store.open()
    try:
        yield World(store)
    finally:
        await store.close()
