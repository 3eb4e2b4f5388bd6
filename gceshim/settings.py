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

from gceshim.rows import PREFIX, Section, Setting, SettingsError, checked, from_text, row

__all__ = [
    "RENAMED",
    "SETTINGS",
    "AuthSection",
    "DriverSection",
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


@dataclass(frozen=True, repr=False)
class ServerSection(Section):
    address: str = row("127.0.0.1", "Address to listen on; `0.0.0.0` or `::` for all.")
    port: int = row(8787, "TCP port to listen on; 0 takes a free one.", minimum=0, maximum=65535)
    public_url: str = row(
        "",
        "URL under which clients reach the server, as `https://gce.example.org`; all links are built from it. "
        "Empty: links are built from the Host header of each request.",
    )
    trust_proxy: bool = row(
        False,
        "Believe `X-Forwarded-Proto` and `X-Forwarded-Host`. Only behind a proxy that sets both itself.",
    )
    max_body_bytes: int = row(
        1024 * 1024,
        "Longest request body accepted, in bytes; a longer one is answered 413.",
        minimum=1024,
        maximum=1024**3,
    )
    request_timeout_seconds: float = row(
        180.0,
        "Longest time for one request; then it is answered 504. Longer than the 120 seconds that clients may wait "
        "for an operation.",
        minimum=121,
        maximum=3600,
    )
    tls_certificate: str = row("", "PEM file with the certificate chain; empty: plain HTTP.", path=True)
    tls_key: str = row("", "PEM file with the private key of the certificate.", path=True)
    shutdown_seconds: float = row(
        10.0, "Longest wait, when the server stops, for requests that are being answered.", minimum=0, maximum=600
    )


@dataclass(frozen=True, repr=False)
class StoreSection(Section):
    path: str = row(
        "",
        "File of the embedded store (tokens, encrypted credentials, operations). Empty: "
        "`$XDG_STATE_HOME/gceshim/gceshim.sqlite`, or `~/.local/state/gceshim/gceshim.sqlite`.",
        path=True,
    )
    mongodb_uri: str = row(
        "",
        "MongoDB to keep all of that in instead, as `mongodb://user:password@host/?replicaSet=rs0`; several servers "
        "can share it if they share the master key. Empty: the embedded store.",
        secret=True,
    )
    mongodb_database: str = row("gceshim", "Name of the database in that MongoDB.")
    mongodb_connections: int = row(50, "Most connections to one server of that MongoDB.", minimum=1, maximum=1000)
    mongodb_timeout_seconds: float = row(
        15.0,
        "Longest wait for that MongoDB to answer one call, in seconds; a fail-over that is shorter is not noticed.",
        minimum=1,
        maximum=120,
    )
    mongodb_standalone: bool = row(
        False,
        "Take a MongoDB that is a single server and no replica set. It may lose what it has acknowledged when it "
        "fails; for trying it out.",
    )


@dataclass(frozen=True, repr=False)
class AuthSection(Section):
    master_key: str = row(
        "",
        "Key that encrypts stored credentials and signs tokens: 32 random bytes in base64 (`openssl rand -base64 "
        "32`). Others that are accepted still, or already, follow as `, KEY old` or `, KEY next`. Empty: the key file "
        "is used.",
        secret=True,
    )
    master_key_file: str = row(
        "",
        "File with that key, and others one a line, readable by its owner alone; `gceshim store rotate-key` changes "
        "it. Empty: `master.key` beside the store, made at the first start.",
        path=True,
    )
    token_lifetime_seconds: int = row(
        3600, "How long a bearer token is good, in seconds.", minimum=60, maximum=365 * 24 * 3600
    )


@dataclass(frozen=True, repr=False)
class OauthSection(Section):
    require_pkce: bool = row(
        False,
        "Refuse programs that ask for a login without PKCE. gcloud sends it; gcutil and oauth2client do not know it.",
    )
    code_seconds: int = row(300, "How long an authorization code is good, in seconds.", minimum=60, maximum=600)
    refresh_token_days: int = row(
        90,
        "How long a login lasts, in days: after that the refresh token is no good any more. One that is exchanged for "
        "a new one at each use (gcutil's) starts anew each time.",
        minimum=1,
        maximum=3650,
    )
    sign_in_attempts_per_minute: int = row(
        10,
        "How often signing in on the consent page may fail within a minute from one address; a user or an API key may "
        "fail three times as often, from all addresses together. Counted by each server process for itself.",
        minimum=1,
        maximum=1000,
    )


@dataclass(frozen=True, repr=False)
class OperationsSection(Section):
    linger_seconds: float = row(
        0.0,
        "How long a mutation waits to be answered with a finished operation. For clients that cannot follow an "
        "operation at a custom endpoint (google-cloud-compute); 0 answers at once.",
        minimum=0,
        maximum=120,
    )
    poll_min_seconds: float = row(0.05, "Shortest pause between two looks at a backend job.", minimum=0.01, maximum=60)
    poll_max_seconds: float = row(
        2.0,
        "Longest pause between two looks at a backend job; the pause grows with its age.",
        minimum=0.01,
        maximum=600,
    )
    poll_few_jobs: int = row(
        4,
        "Up to so many pending jobs of a tenant are asked about one by one; more are found by one list of what is "
        "pending.",
        minimum=0,
        maximum=1000,
    )
    job_seconds: float = row(
        6 * 3600.0, "How long a backend job may be pending before its operation fails.", minimum=1, maximum=30 * 86400
    )
    unavailable_seconds: float = row(
        1800.0, "How long a backend that does not answer is tried before an operation fails.", minimum=1, maximum=86400
    )
    lease_seconds: float = row(
        20.0,
        "How long after its last sign of life a server loses its operations to another.",
        minimum=1,
        maximum=3600,
    )
    keep_days: float = row(14.0, "How long finished operations are kept, in days.", minimum=0.01, maximum=3650)


@dataclass(frozen=True, repr=False)
class DriverSection(Section):
    name: str = row("cloudstack", "Entry point of the namespace `gceshim.drivers` that reaches the backend.")
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """`[driver.<name>]` tables as read; each driver checks its own."""

    @property
    def own(self) -> Mapping[str, Any]:
        """The table of the chosen driver."""
        return self.tables.get(self.name, {})

    def _shown(self) -> Iterator[tuple[str, Any]]:
        yield "name", self.name
        yield "tables", {name: sorted(table) for name, table in self.tables.items()}


@dataclass(frozen=True, repr=False)
class LogSection(Section):
    level: str = row("info", "Least severity that is logged.", choices=("debug", "info", "warning", "error"))
    format: str = row("text", "`text` for people, `json` for one object a line.", choices=("text", "json"))


@dataclass(frozen=True)
class Settings:
    """All settings of one server. Built once, handed on as an argument; prints without secrets."""

    server: ServerSection = field(default_factory=ServerSection)
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
