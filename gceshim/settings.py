"""
Every setting: key, type, bounds, default and meaning, one row each; read from a TOML file and GCESHIM_* variables.

A section is a frozen dataclass and a row is one field of it, so that code reads `settings.server.port` and a type
checker knows that it is an int. The sample in `conf/` and the page `docs/settings.md` are generated from the rows.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import typing
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gceshim.rows import PREFIX, Section, Setting, SettingsError, checked, from_text
from gceshim.sections import (
    AuthSection,
    DriverSection,
    LimitsSection,
    LogSection,
    OauthSection,
    OperationsSection,
    ServerSection,
    StoreSection,
)

__all__ = [
    "RENAMED",
    "SETTINGS",
    "AuthSection",
    "DriverSection",
    "LimitsSection",
    "LogSection",
    "OauthSection",
    "OperationsSection",
    "ServerSection",
    "Setting",
    "Settings",
    "SettingsError",
    "StoreSection",
    "state_dir",
]

RENAMED: Final[Mapping[str, str]] = {}
"""Old key -> its present key. A row stays here for good once a key was renamed."""


@dataclass(frozen=True)
class Settings:
    """All settings of one server. Built once, handed on as an argument; prints without secrets."""

    server: ServerSection = field(default_factory=ServerSection)
    limits: LimitsSection = field(default_factory=LimitsSection)
    store: StoreSection = field(default_factory=StoreSection)
    auth: AuthSection = field(default_factory=AuthSection)
    oauth: OauthSection = field(default_factory=OauthSection)
    operations: OperationsSection = field(default_factory=OperationsSection)
    driver: DriverSection = field(default_factory=DriverSection)
    log: LogSection = field(default_factory=LogSection)

    @classmethod
    def load(
        cls,
        path: Path | str | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Settings:
        """
        Settings from their defaults, the file, the environment and the command line; the later of these win.

        :param path: a TOML file; None: none is read.
        :param environ: `GCESHIM_SERVER_PORT` sets `server.port`, and so on; also `HOME` and `XDG_STATE_HOME`.
        :param overrides: by key; a None is no override. `driver.<name>.<key>` reaches a driver's own table.
        :raises SettingsError: the file cannot be read, or a key is unknown, of a wrong type or out of bounds.
        """
        environ = environ or {}
        values: dict[str, Any] = {}
        tables: dict[str, dict[str, Any]] = {}
        if path is not None:
            _take(_flat(_read(Path(path)), str(path)), values, tables)
        _take(_from_environ(environ), values, tables)
        given = {key: value for key, value in (overrides or {}).items() if value is not None}
        _take([("command line", key, value, False) for key, value in given.items()], values, tables)
        _fill_paths(values, environ)
        _check_together(values)
        sections = {item.name: item.default_factory for item in dataclasses.fields(cls)}
        return cls(**{name: _section(name, kind, values, tables) for name, kind in sections.items()})

    def shown(self) -> dict[str, Any]:
        """Every setting by key, secrets as `***`; for logs and `gceshim doctor`."""
        return {row.key: _shown(row, self._value(row.key)) for row in SETTINGS}

    def _value(self, key: str) -> Any:
        section, name = key.split(".")
        return getattr(getattr(self, section), name)


def _shown(row: Setting, value: Any) -> Any:
    return "***" if row.secret and value else value


def _rows() -> Iterator[Setting]:
    for section in dataclasses.fields(Settings):
        kind = typing.cast("type[Section]", section.default_factory)
        types = typing.get_type_hints(kind)
        for item in dataclasses.fields(typing.cast("Any", kind)):
            if item.metadata:
                yield Setting(f"{section.name}.{item.name}", types[item.name], item.default, **item.metadata)


SETTINGS: Final[tuple[Setting, ...]] = tuple(_rows())
_BY_KEY: Final[Mapping[str, Setting]] = {row.key: row for row in SETTINGS}
_BY_VARIABLE: Final[Mapping[str, Setting]] = {row.variable: row for row in SETTINGS}
_SECTIONS: Final = tuple(item.name for item in dataclasses.fields(Settings))

_Given = tuple[str, str, Any, bool]
"""Where it was given, its key, its value, and whether the value is text that stands for the type."""


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise SettingsError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{path}: not valid TOML: {exc}") from exc


def _flat(document: Mapping[str, Any], source: str) -> Iterator[_Given]:
    for section, table in document.items():
        if section not in _SECTIONS:
            raise SettingsError(f"{source}: unknown setting {section}{_near(section, _SECTIONS)}")
        if not isinstance(table, dict):
            raise SettingsError(f"{source}: {section} must be a table, [{section}]")
        for name, value in table.items():
            if section == "driver" and isinstance(value, dict):
                yield from ((source, f"driver.{name}.{key}", inner, False) for key, inner in value.items())
            else:
                yield source, f"{section}.{name}", value, False


def _from_environ(environ: Mapping[str, str]) -> Iterator[_Given]:
    for variable, text in sorted(environ.items()):
        section, _, rest = variable.removeprefix(PREFIX).lower().partition("_")
        if not variable.startswith(PREFIX) or section not in _SECTIONS or not rest:
            continue
        if row := _BY_VARIABLE.get(variable):
            yield variable, row.key, text, True
        elif section == "driver" and "_" in rest:
            name, _, key = rest.partition("_")
            yield variable, f"driver.{name}.{key}", _toml_value(text), False
        else:
            raise SettingsError(f"{variable}: unknown setting{_near(variable, tuple(_BY_VARIABLE))}")


def _toml_value(text: str) -> Any:
    """Text of a variable for a driver's own table, whose types are not known here: a TOML value, else a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _take(given: Iterator[_Given] | list[_Given], values: dict[str, Any], tables: dict[str, dict[str, Any]]) -> None:
    for source, key, value, is_text in given:
        if key in RENAMED:
            raise SettingsError(f"{source}: {key} is now named {RENAMED[key]}")
        parts = key.split(".", 2)
        if parts[0] == "driver" and len(parts) == 3:
            tables.setdefault(parts[1], {})[parts[2]] = value
        elif found := _BY_KEY.get(key):
            values[key] = checked(source, found, from_text(found, value) if is_text else value)
        else:
            raise SettingsError(f"{source}: unknown setting {key}{_near(key, tuple(_BY_KEY))}")


def _near(key: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _fill_paths(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Where files lie when nobody said."""
    if not values.get("store.path"):
        values["store.path"] = str(state_dir(environ) / "gceshim.sqlite")


def state_dir(environ: Mapping[str, str]) -> Path:
    """
    The folder for what must last: `$XDG_STATE_HOME/gceshim`, or `~/.local/state/gceshim`.

    :raises SettingsError: there is no telling where the home folder is.
    """
    if base := environ.get("XDG_STATE_HOME"):
        return Path(base) / "gceshim"
    try:
        home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    except RuntimeError as exc:
        raise SettingsError("store.path must be set, as this user has no home folder") from exc
    return home / ".local" / "state" / "gceshim"


def _check_together(values: dict[str, Any]) -> None:
    """What no row can tell alone."""
    if bool(values.get("server.tls_certificate")) != bool(values.get("server.tls_key")):
        raise SettingsError("server.tls_certificate and server.tls_key: give both or neither")
    if values.get("auth.master_key") and values.get("auth.master_key_file"):
        raise SettingsError("auth.master_key and auth.master_key_file: give one of them")
    if not values.get("auth.master_key_file"):
        values["auth.master_key_file"] = str(Path(values["store.path"]).with_name("master.key"))
    pause = OperationsSection(**_named("operations", values))
    if pause.poll_min_seconds > pause.poll_max_seconds:
        raise SettingsError("operations.poll_min_seconds must not be more than operations.poll_max_seconds")
    if url := values.get("server.public_url"):
        values["server.public_url"] = _public_url(url)


def _public_url(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or "@" in parts.netloc:
        raise SettingsError(f"server.public_url must be like https://gce.example.org, not {url!r}")
    return url.rstrip("/")


def _named(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        row.key.split(".")[1]: values[row.key]
        for row in SETTINGS
        if row.key in values and row.key.startswith(section + ".")
    }


def _section(name: str, kind: Any, values: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> Any:
    chosen = _named(name, values)
    return kind(**chosen, tables=tables) if kind is DriverSection else kind(**chosen)
