"""What a setting is: one row with its type, bounds and meaning, and how a value is checked against it."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

PREFIX: Final = "GCESHIM_"


class SettingsError(Exception):
    """A setting cannot be used. The text is one line that names where it was given and its key."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row. `choices` and bounds are checked when settings are loaded; `secret` values are shown as `***`."""

    key: str
    type: type
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False
    path: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.key.replace(".", "_").upper()

    @property
    def wanted(self) -> str:
        """What values are allowed, as a phrase."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        noun = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}[self.type]
        if self.minimum is not None and self.maximum is not None:
            return f"{noun} from {_number(self.minimum)} to {_number(self.maximum)}"
        if self.minimum is not None:
            return f"{noun} of at least {_number(self.minimum)}"
        return noun


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def row(
    default: Any,
    help: str,  # noqa: A002 - the name that the row has
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
    path: bool = False,
) -> Any:
    facts = {"help": help, "minimum": minimum, "maximum": maximum, "choices": choices, "secret": secret, "path": path}
    return field(default=default, metadata=facts)


class Section:
    """Shows itself without its secrets."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._shown())
        return f"{type(self).__name__}({shown})"

    def _shown(self) -> Iterator[tuple[str, Any]]:
        for item in dataclasses.fields(typing.cast("Any", self)):
            value = getattr(self, item.name)
            yield item.name, "***" if item.metadata.get("secret") and value else value


def from_text(setting: Setting, text: str) -> Any:
    if setting.type is bool:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(text.lower(), text)
    if setting.type in {int, float}:
        try:
            return setting.type(text)
        except ValueError:
            return text
    return text


def checked(source: str, setting: Setting, value: Any) -> Any:
    if setting.type is float and type(value) is int:
        value = float(value)
    right_type: bool = type(value) is setting.type
    fits = (
        right_type
        and (setting.type is not float or math.isfinite(value))
        and (not setting.choices or value in setting.choices)
        and (setting.minimum is None or value >= setting.minimum)
        and (setting.maximum is None or value <= setting.maximum)
    )
    if not fits:
        given = "" if setting.secret else f", not {value!r}"
        raise SettingsError(f"{source}: {setting.key} must be {setting.wanted}{given}")
    return str(Path(value).expanduser()) if setting.path and value else value
