"""Opening a shim for a command, its errors in the words of the settings."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from gceshim.app import Shim
from gceshim.commands.errors import CommandError
from gceshim.drivers import loader
from gceshim.settings import Settings, SettingsError
from gceshim.stores.errors import StoreError


def check_tables(settings: Settings) -> None:
    """
    Refuse a `[driver.<name>]` table that no driver will read.

    :raises SettingsError: there is no driver of that name.
    """
    for name in settings.driver.tables:
        if name not in (known := loader.installed()):
            raise SettingsError(f"driver.{name}: no driver {name!r}; installed: {', '.join(known)}")


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Shim]:
    """
    A shim with its store and driver, closed at the end of the block.

    :raises SettingsError: the driver is not installed or refuses its settings, or the master key cannot be used.
    :raises CommandError: the store cannot be used.
    """
    check_tables(settings)
    try:
        shim = Shim(settings)
        await shim.open()
    except loader.DriverLoadError as exc:
        raise SettingsError(str(exc)) from exc
    except StoreError as exc:
        raise CommandError(f"store.path: {settings.store.path}: {exc}") from exc
    try:
        yield shim
    finally:
        await shim.close()
