"""How one literal of a filter compares with the values of a field."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import re2

_PATTERN_MEMORY_BYTES: Final = 1024 * 1024
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_BOOLEANS: Final = {"true": True, "false": False}
_DEFAULTS: Final[Mapping[str, Any]] = {"boolean": False, "integer": 0, "number": 0, "string": ""}
_ESCAPED: Final = re.compile(r"\\([^A-Za-z0-9])")
_SPECIAL: Final = re.compile(r"[\\^$.|?*+()\[\]{}]")

Test = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Matcher:
    """
    A comparison with its literal prepared.

    It holds when any of a repeated field's values passes; `negated` turns the outcome round, so that `!=` on a
    repeated field means that none is equal. `default` stands for an absent field: None when the type is not known.
    """

    test: Test
    negated: bool
    default: Any

    @classmethod
    def of(cls, operator: str, literal: str, field_type: str, *, loose: bool = False) -> "Matcher":
        """
        The matcher for `FIELD operator literal`.

        :param loose: as in `filter_fields.Dialect`.
        :raises ValueError: the literal is not a regular expression, or does not fit the field's type.
        """
        default = _DEFAULTS.get(field_type)
        if field_type == "boolean" and operator not in {"eq", "ne"} and literal.lower() not in _BOOLEANS:
            raise ValueError("true or false expected")
        if operator in ("eq", "ne"):
            return cls(_regex(literal), operator == "ne", default)
        if operator in ("=", "!="):
            return cls(_folded(literal) if loose else _equals(literal), operator == "!=", default)
        if operator == ":" and loose and "*" not in literal:
            return cls(_folded(literal), negated=False, default=None)
        if operator == ":":
            return cls(_has(literal), negated=False, default=None)
        return cls(_ordered(operator, literal), negated=False, default=None)

    def matches(self, values: Sequence[Any]) -> bool:
        """Whether the values of a field pass; an empty sequence is an absent field."""
        if not values and self.default is not None:
            values = [self.default]
        return any(self.test(value) for value in values) != self.negated


def literal_of_pattern(pattern: str) -> str | None:
    """The one text that a regular expression matches, if that is plain to see: `^vm1$` is `vm1`, `a.*` is None."""
    body = pattern.removeprefix("^")
    body = body[:-1] if body.endswith("$") and not body.endswith("\\$") else body
    if _SPECIAL.search(_ESCAPED.sub("", body)):
        return None
    return _ESCAPED.sub(r"\1", body)


def _regex(literal: str) -> Test:
    """
    RE2 against the whole value. Numbers, booleans and times are compared as values first: gcloud writes a time with
    milliseconds that the value does not have.
    """
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY_BYTES
    try:
        pattern = re2.compile(literal, options)
    except re2.error as exc:
        raise ValueError("not a regular expression") from exc
    same = _equals(literal)

    def test(value: Any) -> bool:
        if isinstance(value, bool):
            return same(value)
        return same(value) or pattern.fullmatch(_text(value)) is not None

    return test


def _equals(literal: str) -> Test:
    number, time, boolean = _number(literal), _time(literal), _BOOLEANS.get(literal.lower())

    def test(value: Any) -> bool:
        if isinstance(value, bool):
            return value is boolean
        if isinstance(value, int | float):
            return number is not None and value == number
        if isinstance(value, str) and time is not None and value[:4] == literal[:4]:
            return value == literal or _time(value) == time
        return isinstance(value, str) and value == literal

    return test


def _folded(literal: str) -> Test:
    """Equal but for case."""
    same, text = _equals(literal), literal.lower()
    return lambda value: same(value) or (isinstance(value, str) and value.lower() == text)


def _has(literal: str) -> Test:
    """`labels:env` a key is there; `tags.items:web` an element; `name:web` contains; `field:*` is there at all."""
    if literal == "*":
        return lambda _value: True
    same = _equals(literal)
    needle = literal.strip("*").lower()

    def test(value: Any) -> bool:
        if isinstance(value, Mapping):
            return literal in value
        if isinstance(value, str):
            text = value.lower()
            if literal.startswith("*") == literal.endswith("*"):
                return needle in text
            return text.endswith(needle) if literal.startswith("*") else text.startswith(needle)
        return same(value)

    return test


def _ordered(operator: str, literal: str) -> Test:
    number, time = _number(literal), _time(literal)

    def compare(left: Any, right: Any) -> bool:
        if operator == "<":
            return bool(left < right)
        if operator == "<=":
            return bool(left <= right)
        return bool(left > right) if operator == ">" else bool(left >= right)

    def test(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return False
        value_number = _number(str(value))
        if number is not None and value_number is not None:
            return compare(value_number, number)
        value_time = _time(value) if isinstance(value, str) else None
        if time is not None and value_time is not None:
            return compare(value_time, time)
        return compare(str(value), literal)

    return test


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _number(text: str) -> int | float | None:
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _time(text: str) -> datetime | None:
    """An instant; without an offset, in UTC."""
    if not _TIME.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
