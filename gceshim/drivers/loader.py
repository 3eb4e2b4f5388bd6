"""Finding and loading drivers by their entry points. The only module that knows stevedore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stevedore.named import NamedExtensionManager

from gceshim.drivers.base import Driver

NAMESPACE: Final = "gceshim.drivers"


class DriverLoadError(Exception):
    """The driver named in the settings cannot be had; the text is one line for whoever wrote the settings."""


def installed() -> list[str]:
    """The names of all drivers installed, sorted. Imports none of them."""
    return sorted(set(_manager([], []).entry_points_names()))


def load(name: str, settings: Mapping[str, Any]) -> Driver:
    """
    Build the driver that the setting `driver.name` names; no backend is called.

    :param settings: the driver's own table of the settings file, handed to `Driver.create`.
    :raises DriverLoadError: no such driver, or its code cannot be imported or is not a driver.
    :raises ValueError: a setting of the driver is unknown or wrong.
    """
    causes: list[BaseException] = []
    manager = _manager([name], causes)
    if causes:
        cause = f"{type(causes[0]).__name__}: {causes[0]}"
        raise DriverLoadError(f"driver.name: driver {name!r} cannot be loaded: {cause}") from causes[0]
    if name not in manager.names():
        raise DriverLoadError(f"driver.name: no driver {name!r}; installed: {', '.join(installed()) or 'none'}")
    plugin = manager[name].plugin
    if not (isinstance(plugin, type) and issubclass(plugin, Driver)):
        raise DriverLoadError(f"driver.name: driver {name!r} is not a subclass of gceshim.drivers.base.Driver")
    return plugin.create(settings)


def _manager(names: Sequence[str], causes: list[BaseException]) -> NamedExtensionManager[Any]:
    """stevedore's manager of just these names; why an import failed goes to `causes`."""
    return NamedExtensionManager(
        NAMESPACE,
        names,
        on_load_failure_callback=lambda _manager, _entry, cause: causes.append(cause),
        on_missing_entrypoints_callback=None,
    )
