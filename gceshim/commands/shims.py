"""Opening a shim, or the part of one that a command needs, with its errors in the words of the settings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from gceshim.app import ISSUER, Shim, key_ring, make_store
from gceshim.auth.credentials import CredentialVault
from gceshim.auth.errors import AuthError
from gceshim.auth.service_accounts.accounts import ServiceAccounts
from gceshim.auth.tokens import Tokens
from gceshim.commands.errors import CommandError
from gceshim.commands.garbage import GarbageSearch
from gceshim.drivers import loader
from gceshim.drivers.base import Driver
from gceshim.drivers.errors import DriverError, Unauthenticated
from gceshim.model import Account, Credentials
from gceshim.settings import Settings, SettingsError
from gceshim.stores.base import Store
from gceshim.stores.errors import StoreError


def check_tables(settings: Settings) -> None:
    """
    Refuse a `[driver.<name>]` table that no driver will read.

    :raises SettingsError: there is no driver of that name.
    """
    for name in settings.driver.tables:
        if name not in (known := loader.installed()):
            raise SettingsError(f"driver.{name}: no driver {name!r}; installed: {', '.join(known)}")


def load_driver(settings: Settings) -> Driver:
    """
    The driver of the settings.

    :raises SettingsError: it is not installed, or refuses its settings.
    """
    check_tables(settings)
    with _in_words(settings):
        try:
            return loader.load(settings.driver.name, settings.driver.own)
        except ValueError as exc:
            raise SettingsError(str(exc)) from exc


async def account_of(settings: Settings, keys: Credentials) -> Account:
    """
    Whose a key pair is.

    :raises CommandError: the backend does not accept it, or cannot be asked.
    """
    driver = load_driver(settings)
    try:
        return await driver.identity.whoami(keys)
    except Unauthenticated as exc:
        raise CommandError(f"CloudStack does not accept this key pair: {exc.message}") from exc
    except DriverError as exc:
        raise CommandError(f"the key pair could not be checked: {exc.message}") from exc
    finally:
        await driver.close()


def check_parts(settings: Settings) -> None:
    """
    Find out, before there are processes to serve, whether they could: all but the store, which each must open itself.

    :raises SettingsError: as `opened`.
    """
    driver = load_driver(settings)
    _make_folder(settings)
    with _in_words(settings):
        key_ring(settings)
    asyncio.run(driver.close())


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Shim]:
    """
    A whole shim, closed at the end of the block.

    :raises SettingsError: the driver is not installed or refuses its settings, or the master key cannot be used.
    :raises CommandError: the store cannot be used.
    """
    check_tables(settings)
    _make_folder(settings)
    with _in_words(settings):
        shim = Shim(settings)
        await shim.open()
    search = GarbageSearch(lambda: shim.service.limiter.is_idle)
    search.start()
    try:
        yield shim
    finally:
        search.stop()
        await shim.close()


@dataclass(frozen=True)
class Access:
    """What a server knows of callers, open without the rest of it. `where`: in which store, for people."""

    vault: CredentialVault
    tokens: Tokens
    service_accounts: ServiceAccounts
    where: str


@contextlib.asynccontextmanager
async def access(settings: Settings) -> AsyncIterator[Access]:
    """
    The stored credentials and tokens, for the block. Needs no driver and runs no operation.

    :raises SettingsError: the master key cannot be used. :raises CommandError: the store cannot be used, and what
        the block raises as AuthError.
    """
    check_tables(settings)
    _make_folder(settings)
    keys = key_ring(settings).keys
    store = make_store(settings)
    with _in_words(settings):
        try:
            await store.open()
            vault = CredentialVault(store, keys)
            yield Access(vault, Tokens(store.tokens, keys, ISSUER), ServiceAccounts(store, vault), store.upkeep.where)
        finally:
            await store.close()


@contextlib.asynccontextmanager
async def unopened_store(settings: Settings, *, make_folder: bool = True) -> AsyncIterator[Store]:
    """
    The store, for the block to open or not; closed at its end.

    :param make_folder: make the folder that it is to be in.
    :raises CommandError: what the block raises as StoreError or AuthError.
    """
    if make_folder:
        _make_folder(settings)
    store = make_store(settings)
    with _in_words(settings):
        try:
            yield store
        finally:
            await store.close()


def _make_folder(settings: Settings) -> None:
    folder = Path(settings.store.path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise SettingsError(f"store.path: {folder} cannot be made: {exc.strerror}") from exc


@contextlib.contextmanager
def _in_words(settings: Settings) -> Iterator[None]:
    try:
        yield
    except loader.DriverLoadError as exc:
        raise SettingsError(str(exc)) from exc
    except AuthError as exc:
        raise CommandError(exc.message) from exc
    except StoreError as exc:
        where = "store.mongodb_uri" if settings.store.mongodb_uri else f"store.path: {settings.store.path}"
        raise CommandError(f"{where}: {exc}") from exc
