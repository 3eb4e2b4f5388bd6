"""The form of what drivers return: the types that the model says, names that GCE has room for, times in UTC."""

from __future__ import annotations

import dataclasses
import enum
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from gceshim.model import stable_id

LABEL: Final = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
"""A name as GCE has them (RFC 1035)."""


class Named(Protocol):
    """What has a name and a numeric id."""

    @property
    def id(self) -> int:
        """As shown."""

    @property
    def name(self) -> str:
        """As shown."""


def assert_shape(value: Any) -> None:
    """The value, a dataclass of the model, holds what its annotations say, all the way down."""
    assert dataclasses.is_dataclass(value)
    hints = typing.get_type_hints(type(value))
    for field in dataclasses.fields(value):
        where = f"{type(value).__name__}.{field.name}"
        _assert_type(getattr(value, field.name), hints[field.name], where)


def assert_listed(items: Sequence[Named], *, by_name: bool = True) -> None:
    """
    Names, each once, that GCE has room for, and numeric ids, each once, in 63 bits.

    :param by_name: they are in the order of their names.
    """
    names = [item.name for item in items]
    assert [name for name in names if not LABEL.fullmatch(name)] == []
    assert _twice(names) == []
    assert _twice(item.id for item in items) == []
    assert [item.id for item in items if not 0 < item.id < 2**63] == []
    if by_name:
        assert names == sorted(names)
    for item in items:
        assert_shape(item)


def unused_id() -> str:
    """A numeric id that nothing has."""
    return str(stable_id("no such thing"))


def _twice(values: Iterable[object]) -> list[object]:
    seen: set[object] = set()
    return [value for value in values if value in seen or seen.add(value)]  # type: ignore[func-returns-value]


def _assert_type(value: Any, hint: Any, where: str) -> None:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return
    if origin in (typing.Union, types.UnionType):
        options = [option for option in arguments if option is not types.NoneType]
        if value is not None or len(options) == len(arguments):
            _assert_type(value, options[0], where)
    elif origin is tuple:
        assert isinstance(value, tuple), where
        for number, item in enumerate(value):
            _assert_type(item, arguments[0], f"{where}[{number}]")
    elif origin is not None and issubclass(origin, Mapping):
        assert isinstance(value, Mapping), where
        for key, item in value.items():
            _assert_type(key, arguments[0], f"{where} key")
            _assert_type(item, arguments[1], f"{where}[{key!r}]")
    elif dataclasses.is_dataclass(hint):
        assert isinstance(value, typing.cast(type, hint)), where
        assert_shape(value)
    else:
        _assert_plain(value, hint, where)


def _assert_plain(value: Any, hint: type, where: str) -> None:
    assert isinstance(value, hint), f"{where} is {value!r}"
    if isinstance(value, datetime):
        assert value.utcoffset() == timedelta(0), f"{where} is not in UTC: {value!r}"
    elif not issubclass(hint, enum.Enum):
        assert type(value) is hint, f"{where} is {value!r}"
