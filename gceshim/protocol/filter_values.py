"""How one literal of a filter compares with the values of a field."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import re2

from gceshim.protocol.filter_fields import FieldType

# Several times what an honest pattern takes. Beyond its memory RE2 is slower by its instructions, so these are bounded
# too: the worst pattern of this size takes some milliseconds for 2,000 characters.
_PATTERN_MEMORY_BYTES: Final = 64 * 1024
_LARGEST_PROGRAM: Final = 1_500
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_BOOLEANS: Final = {"true": True, "false": False}
_DEFAULTS: Final[Mapping[str, Any]] = {"boolean": False, "number": 0, "text": ""}
_ESCAPED: Final = re.compile(r"\\([^A-Za-z0-9])")
_SPECIAL: Final = re.compile(r"[\\^$.|?*+()\[\]{}]")
# What comes first holds it to linear time: of a text with a blank, each of its parts might be the path.
_LINK: Final = re.compile(r"(?=\S+\Z)(?:https?://[^/\s]+/(?:\S*?/)?|/)?(projects/[^/\s]+/\S+)")
_LONGEST_LINK: Final = 2_048
_WILD: Final = re.compile(r"\\([\\*])|(\*)|([^\\*]+|\\)")

Test = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Matcher:
    """
    A comparison with its literal prepared.

    It holds when any of a repeated field's values passes; `negated` turns the outcome round, so that `!=` on a
    repeated field means that none is equal. `default` stands for an absent field; None: nothing does. `instructions`:
    how large a program its regular expression is.
    """

    test: Test
    negated: bool
    default: Any
    instructions: int = 0

    @classmethod
    def of(cls, operator: str, literal: str, field: FieldType, *, loose: bool = False) -> "Matcher":
        """
        The matcher for `FIELD operator literal`.

        :param loose: as in `filter_fields.Dialect`.
        :raises ValueError: the literal is not a regular expression, or does not fit the field's type; the text says so.
        """
        if field.kind == "object" and operator != ":":
            raise ValueError("it has members; compare one of them")
        default = None if field.keyed or field.repeated else _DEFAULTS.get(field.kind)
        numeric = field.kind == "number"
        if operator in ("eq", "ne"):
            pattern = _compiled(literal)
            return cls(_regex(literal, pattern, numeric=numeric), operator == "ne", default, pattern.programsize)
        _check(operator, literal, field.kind)
        if operator in ("=", "!="):
            return cls(_same(literal, fold=loose, numeric=numeric), operator == "!=", default)
        if operator != ":":
            return cls(_ordered(operator, literal), negated=False, default=None)
        exact = loose or field.repeated or field.keyed
        if numeric and literal != "*":
            return cls(_equals(literal, numeric=True), negated=False, default=None)
        return cls(_has(literal, exact=exact, fold=loose or not exact), negated=False, default=None)

    def matches(self, values: Sequence[Any]) -> bool:
        """Whether the values of a field pass; an empty sequence is an absent field."""
        if not values and self.default is not None:
            values = [self.default]
        return any(self.test(value) for value in values) != self.negated


def text_of(operator: str, literal: str) -> str | None:
    """
    The one text that a comparison asks a field to have, if that is plain to see.

    `name eq ^vm1$` and `name = vm1` ask for `vm1`; `name eq a.*`, `name = a*` and `name != a` for no one text.
    """
    if operator == "=":
        return _plain(literal) if len(_pieces(literal)) == 1 else None
    if operator != "eq":
        return None
    body = literal.removeprefix("^")
    body = body[:-1] if body.endswith("$") and not body.endswith("\\$") else body
    if _SPECIAL.search(_ESCAPED.sub("", body)):
        return None
    return _ESCAPED.sub(r"\1", body)


def _check(operator: str, literal: str, kind: str) -> None:
    if operator == ":" and literal == "*":
        return
    if kind == "boolean":
        if operator not in ("=", "!=", ":"):
            raise ValueError("true and false have no order")
        if literal.lower() not in _BOOLEANS:
            raise ValueError("true or false expected")
    elif kind == "number" and _number(literal) is None:
        raise ValueError("a number expected")
    elif kind == "time" and operator in ("<", "<=", ">", ">=") and _time(literal) is None:
        raise ValueError("a time in RFC 3339 form expected")


def _regex(literal: str, pattern: Any, *, numeric: bool) -> Test:
    """
    RE2 against the whole value, as JSON has it. Numbers, booleans and times are compared as values first: gcloud writes
    a time with milliseconds that the value does not have.
    """
    same = _equals(literal, numeric=numeric)

    def test(value: Any) -> bool:
        if same(value):
            return True
        text = ("false", "true")[value] if isinstance(value, bool) else str(value)
        # Half of a surrogate pair, which CloudStack's JSON may have, is shown as a question mark.
        return pattern.fullmatch(text.encode(errors="replace").decode()) is not None

    return test


def _compiled(text: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY_BYTES
    try:
        pattern = re2.compile(text, options)
    except re2.error as exc:
        raise ValueError("not a regular expression, or too large a one") from exc
    if pattern.programsize > _LARGEST_PROGRAM:
        raise ValueError("too large a regular expression")
    return pattern


def _same(literal: str, *, fold: bool, numeric: bool = False) -> Test:
    """Equal, or as the wildcards in the literal have it."""
    pieces = _pieces(literal.lower() if fold else literal)
    if len(pieces) > 1:
        return lambda value: isinstance(value, str) and _fits(pieces, value.lower() if fold else value)
    plain = _plain(literal)
    same = _equals(plain, numeric=numeric)
    if not fold:
        return same
    return lambda value: same(value) or (isinstance(value, str) and value.lower() == pieces[0])


def _pieces(literal: str) -> list[str]:
    """The texts between the wildcards of a literal: one for a literal without. Source: AIP-160."""
    pieces = [""]
    for escaped, star, text in _WILD.findall(literal):
        if star:
            pieces.append("")
        else:
            pieces[-1] += escaped or text
    return pieces


def _fits(pieces: Sequence[str], value: str) -> bool:
    """Whether a value begins with the first piece, ends with the last, and has the others in between in their order."""
    first, *middle, last = pieces
    end = len(value) - len(last)
    position = len(first)
    if end < position or not value.startswith(first) or not value.endswith(last):
        return False
    for piece in middle:
        found = value.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


def _plain(literal: str) -> str:
    return "*".join(_pieces(literal))


def _equals(literal: str, *, numeric: bool = False) -> Test:
    """Equal to a value. :param numeric: of a field of numbers, where texts are int64."""
    number, time, boolean = _number(literal), _time(literal), _BOOLEANS.get(literal.lower())
    path = _path(literal)

    def test(value: Any) -> bool:
        if isinstance(value, bool):
            return value is boolean
        if isinstance(value, int | float):
            return number is not None and value == number
        if not isinstance(value, str):
            return False
        if value == literal:
            return True
        if numeric:
            return number is not None and _number(value) == number
        if path is not None:  # clients write links of whatever host and version
            return _path(value) == path
        return time is not None and _time(value) == time

    return test


def _path(text: str) -> str | None:
    """What a link says from `projects/` on; None when it is none."""
    link = _LINK.fullmatch(text) if len(text) <= _LONGEST_LINK else None
    return link[1] if link else None


def _has(literal: str, *, exact: bool, fold: bool) -> Test:
    """
    `labels:env` a key is there; `field:*` it is there at all; else as `=` does where `exact`, or contains.

    Source: AIP-160, "Has Operator".
    """
    if literal == "*":
        return lambda _value: True
    same, is_key = _same(literal, fold=fold), _same(literal, fold=False)
    needle = None if exact or len(_pieces(literal)) > 1 else _plain(literal).lower()

    def test(value: Any) -> bool:
        if isinstance(value, Mapping):
            return any(is_key(name) for name in value)
        return same(value) or (needle is not None and isinstance(value, str) and needle in value.lower())

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
