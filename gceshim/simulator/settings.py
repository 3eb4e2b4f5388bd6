"""Settings of the simulator: a frozen dataclass that is read from TOML."""

import dataclasses
import pathlib
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gceshim.simulator.faults import NAMES

#: Quotas of a new account by CloudStack's resource type names; -1 is unlimited.
DEFAULT_LIMITS: Mapping[str, int] = types.MappingProxyType(
    {
        "user_vm": 100,
        "public_ip": 40,
        "volume": 200,
        "snapshot": 100,
        "template": 40,
        "project": 10,
        "network": 40,
        "vpc": 20,
        "cpu": 400,
        "memory": 819_200,
        "primary_storage": 20_000,
        "secondary_storage": 4_000,
    }
)


#: The accounts of the data set.
ACCOUNTS = ("admin", "demo", "other", "branch-admin", "branch-user")


class SimulatorSettingsError(ValueError):
    """A settings file has an unknown key or a value of the wrong type; the message names file and key."""


@dataclass(frozen=True)
class ZoneSettings:
    """One zone of the data set. ``hosts`` is the number of hypervisor hosts; ``enabled`` its allocation state."""

    name: str
    security_groups: bool = False
    enabled: bool = True
    hosts: int = 4
    guest_cidr: str = "10.1.1.0/24"
    public_cidr: str = "192.168.100.0/22"


@dataclass(frozen=True)
class UserSettings:
    """One more user, alone in an account of the same name. ``domain`` is a path below ROOT, which is made.

    ``keys`` is whether they have an API key pair, ``<name>-api-key`` and ``<name>-secret-key``; ``api_key_access``
    whether it may be used; ``two_factor`` whether a session needs a second factor.
    """

    name: str
    password: str
    domain: str = ""
    keys: bool = True
    enabled: bool = True
    two_factor: bool = False
    api_key_access: bool = True


#: The users of the data set beside one for each of ACCOUNTS.
USERS = (
    UserSettings("newcomer", "newcomer-password", keys=False),
    UserSettings("former", "former-password", enabled=False),
    UserSettings("cautious", "cautious-password", two_factor=True),
    UserSettings("keyless", "keyless-password", api_key_access=False),
    UserSettings("physicist", "physicist-password", domain="research/physics"),
)


@dataclass(frozen=True)
class FaultSettings:
    """One fault that is active from the start; the fields are the arguments of ``Faults.add``."""

    name: str
    command: str = "*"
    times: int = 0
    probability: float = 1.0
    seconds: float = 0.5
    status: int = 500
    text: str = ""
    skip: int = 0


@dataclass(frozen=True)
class SimulatorSettings:
    """All settings, with their defaults. The page ``docs/simulator.md`` explains each."""

    seed: int = 1
    latency_seconds: float = 0.0
    job_seconds: float = 0.03
    job_seconds_by_command: Mapping[str, float] = field(default_factory=dict)
    zones: tuple[ZoneSettings, ...] = (
        ZoneSettings("Sandbox 1"),
        ZoneSettings("Sandbox SG", security_groups=True, public_cidr="192.168.104.0/22"),
    )
    custom_offerings: bool = True
    machines: int = 0
    machines_account: str = "demo"
    users: tuple[UserSettings, ...] = USERS
    limits: Mapping[str, int] = field(default_factory=dict)
    allow_user_expunge_recover_vm: bool = True
    allow_user_view_destroyed_vm: bool = False
    allow_user_create_projects: bool = True
    allow_duplicate_network_name: bool = True
    dynamic_scale_vm: bool = True
    vpc_max_networks: int = 20
    userdata_max_bytes: int = 32_768
    expunge_delay_seconds: float = 86_400.0
    session_timeout_seconds: float = 1_800.0
    incorrect_login_attempts_allowed: int = 5
    max_url_bytes: int = 8_192
    remembered_jobs: int = 10_000
    remembered_calls: int = 1_000
    cloudstack_version: str = "4.22.1.0"
    faults: tuple[FaultSettings, ...] = ()

    def __post_init__(self) -> None:
        unknown = set(self.limits) - set(DEFAULT_LIMITS)
        if unknown:
            raise SimulatorSettingsError(f"limits: unknown resource type {sorted(unknown)[0]!r}")
        if self.machines_account not in ACCOUNTS:
            raise SimulatorSettingsError(f"machines_account: unknown account {self.machines_account!r}")
        for fault in self.faults:
            if fault.name not in NAMES:
                raise SimulatorSettingsError(f"faults: unknown fault {fault.name!r}")
        if not self.zones:
            raise SimulatorSettingsError("zones: at least one zone is needed")
        names = [*ACCOUNTS, *(user.name for user in self.users)]
        if len(set(names)) < len(names):
            raise SimulatorSettingsError("users: a name is there twice")
        for name in ("latency_seconds", "job_seconds", "machines", "incorrect_login_attempts_allowed"):
            if getattr(self, name) < 0:
                raise SimulatorSettingsError(f"{name}: must not be negative")

    def limit(self, resource: str) -> int:
        """The default quota of an account for a resource type."""
        return self.limits.get(resource, DEFAULT_LIMITS[resource])

    @classmethod
    def load(cls, path: str | pathlib.Path) -> "SimulatorSettings":
        """Read a TOML file.

        :raises SimulatorSettingsError: naming file and key, if a key is unknown or a value has the wrong type.
        """
        try:
            content = tomllib.loads(pathlib.Path(path).read_text())
            return cls.from_mapping(content)
        except (SimulatorSettingsError, tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
            raise SimulatorSettingsError(f"{path}: {exc}") from exc

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any]) -> "SimulatorSettings":
        """As ``load``, from a parsed file."""
        return cls(**_read(cls, content, ""))


def _read(kind: type[Any], content: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    fields = {item.name: item for item in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in content.items():
        if key not in fields:
            raise SimulatorSettingsError(f"{prefix}{key}: unknown key")
        values[key] = _convert(value, hints[key], f"{prefix}{key}")
    for name, item in fields.items():
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING and name not in values:
            raise SimulatorSettingsError(f"{prefix}{name}: missing")
    return values


def _convert(value: Any, hint: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin is tuple:
        kind = typing.get_args(hint)[0]
        if not isinstance(value, list):
            raise SimulatorSettingsError(f"{where}: must be a list of tables")
        return tuple(_table(item, kind, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is not None:
        if not isinstance(value, dict):
            raise SimulatorSettingsError(f"{where}: must be a table")
        kind = typing.get_args(hint)[1]
        return {key: _convert(item, kind, f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise SimulatorSettingsError(f"{where}: must be {hint.__name__}, not {type(value).__name__}")
    return value


def _table(item: Any, kind: type[Any], where: str) -> Any:
    if not isinstance(item, dict):
        raise SimulatorSettingsError(f"{where}: must be a table")
    return kind(**_read(kind, item, f"{where}."))
