"""The driver's own settings: the table `[driver.cloudstack]` of the settings file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_ZONE_NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,59}[a-z0-9])?-[a-z0-9]")
_LABEL = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "threads": (1, 256),
    "queue_limit": (0, 1_000_000),
    "queue_seconds": (0, 600),
    "timeout_seconds": (0.1, 600),
    "cache_seconds": (0, 3600),
    "page_size": (1, 500),
    "retries": (0, 10),
    "custom_cpu_mhz": (100, 10_000),
    "user_data_limit_bytes": (1_024, 1_048_576),
    "reply_limit_bytes": (1_024, 1_073_741_824),
}


@dataclass(frozen=True, slots=True)
class ImageOverride:
    """Where one template is shown. "" leaves what its operating system says."""

    project: str = ""
    family: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """
    All settings of the CloudStack driver.

    `url`: the API endpoint, as `https://cloud.example.org/client/api`. `threads`: calls to CloudStack at one time; one
    key pair that is alone has three quarters of them. `queue_limit`: most calls that wait for their turn.
    `queue_seconds`: longest such wait.
    `timeout_seconds`: longest wait for one answer. `retries`: how often a read is tried again when CloudStack cannot
    be reached. `cache_seconds`: how long zones, offerings, public templates and the like are remembered.
    `page_size`: rows asked for at once, at most CloudStack's own `default.page.size`.
    `machine_types`: alias to service offering (name or id). `zones`: CloudStack zone (name or id) to the name shown.
    `disk_types`: name to disk offering (name or id).
    `images`: template (name or id) to the image project and family it is shown in. `default_network_offering`: name
    or id of the offering for a `default` network that has to be made. `custom_cpu_mhz`: clock for custom offerings
    that leave it open. `user_data_limit_bytes`: CloudStack's `vm.userdata.max.length`.
    """

    url: str
    threads: int = 16
    queue_limit: int = 1000
    queue_seconds: float = 10.0
    timeout_seconds: float = 30.0
    retries: int = 2
    cache_seconds: float = 30.0
    page_size: int = 500
    verify_tls: bool = True
    ca_file: str = ""
    machine_types: Mapping[str, str] = field(default_factory=dict)
    disk_types: Mapping[str, str] = field(default_factory=dict)
    zones: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, ImageOverride] = field(default_factory=dict)
    default_network_offering: str = ""
    custom_cpu_mhz: int = 1000
    user_data_limit_bytes: int = 32_768
    reply_limit_bytes: int = 64 * 1024 * 1024


def parse(table: Mapping[str, Any]) -> Settings:
    """
    The settings in a table as read from TOML.

    :raises ValueError: a key that is unknown, of the wrong type or out of bounds, or no `url`; the message names it.
    """
    known = {item.name: item for item in dataclasses.fields(Settings)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"driver.cloudstack.{key}: unknown setting; known are {', '.join(sorted(known))}")
        values[key] = _value(key, value, str(known[key].type))
    if "url" not in values:
        raise ValueError("driver.cloudstack.url: missing; it is the API endpoint, as http://host:8080/client/api")
    _check_url(values["url"])
    return Settings(**values)


def _value(key: str, value: Any, kind: str) -> Any:
    if key == "images":
        return _images(value)
    if kind.startswith("Mapping"):
        return _strings(key, value)
    if kind == "bool":
        return _typed(key, value, bool, "true or false")
    if kind == "str":
        return _typed(key, value, str, "a string")
    value = _typed(key, value, int, "a whole number") if kind == "int" else _typed(key, value, int | float, "a number")
    low, high = _BOUNDS[key]
    if not low <= value <= high:
        raise ValueError(f"driver.cloudstack.{key}: must be from {low:g} to {high:g}, not {value}")
    return value if kind == "int" else float(value)


def _typed(key: str, value: Any, kind: Any, words: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"driver.cloudstack.{key}: must be {words}")
    return value


def _strings(key: str, value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(item, str) and item for item in value.values()):
        raise ValueError(f"driver.cloudstack.{key}: must be a table of strings")
    if key == "zones":
        for name, shown in value.items():
            if not _ZONE_NAME.fullmatch(shown):
                raise ValueError(
                    f"driver.cloudstack.zones.{name}: {shown!r} is no zone name; it must look like us-east1-a"
                )
        if len(set(value.values())) != len(value):
            raise ValueError("driver.cloudstack.zones: two zones have one name")
    if key in ("machine_types", "disk_types"):
        for name in value:
            if not _LABEL.fullmatch(name):
                raise ValueError(f"driver.cloudstack.{key}.{name}: no {key[:-1].replace('_', ' ')} name")
    return dict(value)


def _images(value: Any) -> Mapping[str, ImageOverride]:
    if not isinstance(value, Mapping):
        raise ValueError("driver.cloudstack.images: must be a table of tables")  # noqa: TRY004 - as above
    found = {}
    for name, row in value.items():
        key = f"images.{name}"
        if not isinstance(row, Mapping) or not set(row) <= {"project", "family"}:
            raise ValueError(f"driver.cloudstack.{key}: must be a table with the keys project and family")
        for part, text in row.items():
            if not isinstance(text, str) or not _LABEL.fullmatch(text):
                raise ValueError(f"driver.cloudstack.{key}.{part}: must be a name of small letters, digits and hyphens")
        found[name] = ImageOverride(**row)
    return found


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise ValueError(f"driver.cloudstack.url: {exc}") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("driver.cloudstack.url: must be http(s)://host[:port]/path")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("driver.cloudstack.url: must have no user, query or fragment")
    if not parts.path.strip("/"):
        raise ValueError("driver.cloudstack.url: the path is missing; it is usually /client/api")
    if parts.scheme == "http" and port == 443:
        raise ValueError("driver.cloudstack.url: port 443 is for https")
