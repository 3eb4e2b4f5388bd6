"""
Bodies against their schema: what callers send, and, for tests, what this server answers.

Source: the JSON mapping of protocol buffers, as Google's servers apply it (int64 as a string, null as absent, an
unknown member as an error), with Compute Engine's wording.
"""

import base64
import binascii
import functools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from gceshim.protocol.discovery import Document, Method
from gceshim.protocol.errors import CANONICAL, ApiError, Invalid, ParseError, Required, invalid_value, must_match, shown
from gceshim.protocol.params import INTEGER_RANGES
from gceshim.protocol.patching import nulls

Json = dict[str, Any]

_DEEPEST: Final = 64
_MOST_ELEMENTS: Final = 10_000
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,19})")
_NUMBER: Final = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_DURATION: Final = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?s")
_STANDARD_ALPHABET: Final = str.maketrans("-_", "+/")
_TIMES: Final = frozenset({"creationTimestamp", "insertTime", "startTime", "endTime"})


def parse_json(raw: bytes) -> Any:
    """
    JSON as RFC 8259 has it: UTF-8, no NaN, no duplicate member, no half of a surrogate pair.

    :raises ParseError: it is not that, or is nested too deeply.
    """
    try:
        value = json.loads(raw.decode("utf-8-sig"), parse_constant=_no_constant, object_pairs_hook=_unique_members)
        if b"\\ud" in raw.lower():  # a lone surrogate could not be encoded again, not even in an error
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as exc:
        raise ParseError("Parse Error: the body is nested too deeply.") from exc
    except ValueError as exc:  # not JSON, not UTF-8, or an integer of thousands of digits
        raise ParseError("Parse Error: the body is not valid JSON.", detail=type(exc).__name__) from exc
    return value


@dataclass(slots=True)
class _Reading:
    """One body on its way. :param elements: of its arrays, so far: what is done for each of them adds up."""

    method_id: str
    elements: int = 0


class BodyReader:
    """Reads request bodies into canonical form."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def read(self, method: Method, raw: bytes) -> Json:
        """
        The members of a request's body, typed by the method's request schema.

        int64 and uint64 become decimal strings, int32 int, number float or int, boolean bool, bytes padded base64 in
        the standard alphabet; a member that is null is left out. Read-only members are kept: clients send back what
        they were given.

        :raises ParseError: the body is not JSON.
        :raises Required: a member that the document requires for this method is missing.
        :raises Invalid: a member is unknown or does not fit; the text names its place, `resource.disks[0].source`.
        """
        value = parse_json(raw)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise Invalid("Invalid JSON payload received. The body has to be a JSON object.")
        schema = self._document.schema(method.request or "")
        body: Json = self._message(schema, value, "resource", _Reading(method.id), 0)
        return body

    def cleared(self, method: Method, raw: bytes) -> frozenset[tuple[str, ...]]:
        """The paths of the members that the body of a PATCH, which `read` takes, sets to null; else none."""
        if method.http_method != "PATCH" or b"null" not in raw:
            return frozenset()
        return frozenset(nulls(parse_json(raw)))

    def _value(self, schema: Json, value: Any, path: str, reading: _Reading, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ParseError("Parse Error: the body is nested too deeply.")
        if "$ref" in schema:
            schema = self._document.schema(schema["$ref"])
        kind = schema["type"]
        if kind == "array":
            return self._array(schema, value, path, reading, depth)
        if kind == "object":
            return self._message(schema, value, path, reading, depth)
        if kind == "any":
            return _any(value, depth)
        return _scalar(schema, value, path)

    def _array(self, schema: Json, value: Any, path: str, reading: _Reading, depth: int) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong(path, value, "It must be an array.")
        reading.elements += len(value)
        if reading.elements > _MOST_ELEMENTS:
            why = f"The arrays of a body have at most {_MOST_ELEMENTS} elements, all together."
            raise Invalid(invalid_value(path, f"{len(value)} elements", why))
        items = schema["items"]
        return [self._value(items, item, f"{path}[{index}]", reading, depth + 1) for index, item in enumerate(value)]

    def _message(self, schema: Json, value: Any, path: str, reading: _Reading, depth: int) -> Json:
        if not isinstance(value, dict):
            raise _wrong(path, value, "It must be an object.")
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties")
        if not properties and others is None:
            if not schema.get("format"):  # an empty message has no members
                return {} if not value else _unknown(next(iter(value)), path)
            others = {"type": "any"}
        members: Json = {}
        for name, member in value.items():
            if member is None:
                continue
            place = f"{path}.{name}"
            if name in properties:
                members[name] = self._value(properties[name], member, place, reading, depth + 1)
            elif others is not None:
                members[name] = self._value(others, member, place, reading, depth + 1)
            else:
                _unknown(name, path)
        for name, facts in properties.items():
            if name not in members and reading.method_id in facts.get("annotations", {}).get("required", ()):
                raise Required(f"Required field '{path}.{name}' not specified")
        return members


def _any(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ParseError("Parse Error: the body is nested too deeply.")
    if isinstance(value, dict):
        return {name: _any(member, depth + 1) for name, member in value.items()}
    if isinstance(value, list):
        return [_any(item, depth + 1) for item in value]
    return value


def _scalar(schema: Json, value: Any, path: str) -> Any:
    kind, form = schema["type"], schema.get("format", "")
    if kind == "boolean":
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(value, value)
        if not isinstance(value, bool):
            raise _wrong(path, value, "It must be true or false.")
        return value
    if form in INTEGER_RANGES:
        number = _as_integer(value, form)
        if number is None:
            low, high = INTEGER_RANGES[form]
            raise _wrong(path, value, f"It must be an integer from {low} to {high}.")
        return str(number) if kind == "string" else number
    if kind == "number":
        return _as_number(value, path)
    if not isinstance(value, str):
        raise _wrong(path, value, "It must be a string.")
    return _text(schema, form, value, path)


def _text(schema: Json, form: str, value: str, path: str) -> str:
    enum = schema.get("enum")
    if enum is not None and value not in enum:
        if value.upper() not in enum:  # gcutil sends onHostMaintenance: "migrate"
            raise _wrong(path, value, f"Must be one of: {', '.join(enum)}.")
        return value.upper()
    if "pattern" in schema and not _pattern(schema["pattern"]).fullmatch(value):
        raise Invalid(must_match(path, value, schema["pattern"]))
    if form == "byte":
        return _as_base64(value, path)
    if form == "google-datetime" and not _TIME.fullmatch(value):
        raise _wrong(path, value, "It must be a time in RFC 3339 form, with an offset.")
    if form == "google-duration" and not _DURATION.fullmatch(value):
        raise _wrong(path, value, "It must be a duration in seconds, such as '3.5s'.")
    return value


def _as_integer(value: Any, form: str) -> int | None:
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            return None
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    low, high = INTEGER_RANGES[form]
    return value if low <= value <= high else None


def _as_number(value: Any, path: str) -> int | float:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1.7e308:
        raise _wrong(path, value, "It must be a number.")
    return value


def _as_base64(value: str, path: str) -> str:
    """Either alphabet, padded or not: gcloud sends back in the URL-safe one what it got in the standard one."""
    text = value.translate(_STANDARD_ALPHABET).rstrip("=")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise _wrong(path, value, "It must be base64.") from exc
    return base64.b64encode(raw).decode()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _unique_members(pairs: list[tuple[str, Any]]) -> Json:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _unknown(name: str, path: str) -> NoReturn:
    raise Invalid(
        f"Invalid JSON payload received. Unknown name \"{shown(name)}\" at '{shown(path)}': Cannot find field."
    )


def _wrong(path: str, value: Any, why: str) -> ApiError:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Invalid(invalid_value(path, text, why))


@functools.lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


def validate_response(document: Document, schema_name: str, value: Any) -> list[str]:
    """
    What is wrong with an answer, one sentence each; an empty list when it is as the document says.

    Stricter than any client: unknown members, nulls and wrong types are errors, int64 has to be a decimal string, enums
    have to be in their lists, `kind` has to be there on everything that has a selfLink, and times need an offset.
    """
    problems: list[str] = []
    _check(document, {"$ref": schema_name}, value, schema_name, problems, top=True)
    return problems


def validate_error(value: Any) -> list[str]:
    """What is wrong with an error reply, one sentence each."""
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return ["error: is not an object; gcloud crashes on anything else"]
    problems = [f"error: unknown member {name}" for name in error.keys() - {"code", "message", "errors", "status"}]
    if not isinstance(error.get("code"), int) or not 400 <= error["code"] <= 599:
        problems.append("error.code: is not an HTTP error status")
    elif "status" in error and error["status"] != CANONICAL.get(error["code"]):
        problems.append("error.status: is not the canonical code of the HTTP status")
    if not isinstance(error.get("message"), str) or not error["message"]:
        problems.append("error.message: is missing")
    items = error.get("errors")
    if not isinstance(items, list) or not items:
        return [*problems, "error.errors: is missing"]
    wanted = {"message", "domain", "reason"}
    for item in items:
        if not wanted <= item.keys() <= wanted | {"location", "locationType"}:
            problems.append(f"error.errors: members are {sorted(item)}")
        elif not all(isinstance(text, str) and text for text in item.values()):
            problems.append("error.errors: a member is not a text")
    return problems


def _check(
    document: Document, schema: Mapping[str, Any], value: Any, path: str, problems: list[str], *, top: bool = False
) -> None:
    if "$ref" in schema:
        schema = document.schema(schema["$ref"])
    kind = schema["type"]
    if kind == "any" or schema.get("format") == "google.protobuf.Any":
        return
    if kind == "array":
        if not isinstance(value, list):
            problems.append(f"{path}: is not an array")
            return
        for index, item in enumerate(value):
            _check(document, schema["items"], item, f"{path}[{index}]", problems)
    elif kind == "object":
        _check_object(document, schema, value, path, problems, top=top)
    else:
        reason = _scalar_problem(schema, value)
        if reason:
            problems.append(f"{path}: {value!r} {reason}")


def _check_object(
    document: Document, schema: Mapping[str, Any], value: Any, path: str, problems: list[str], *, top: bool
) -> None:
    if not isinstance(value, dict):
        problems.append(f"{path}: is not an object")
        return
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties")
    wanted_kind = properties.get("kind", {}).get("default")
    if wanted_kind and ("kind" in value or top or "selfLink" in properties) and value.get("kind") != wanted_kind:
        problems.append(f"{path}.kind: is {value.get('kind')!r} and not {wanted_kind!r}")
    for name, member in value.items():
        facts = properties.get(name, others)
        if facts is None:
            problems.append(f"{path}.{name}: is not in the schema")
            continue
        _check(document, facts, member, f"{path}.{name}", problems)
        if name in _TIMES and isinstance(member, str) and not _TIME.fullmatch(member):
            problems.append(f"{path}.{name}: {member!r} is not a time in RFC 3339 form with an offset")
        if name == "selfLink" and not str(member).startswith(("http://", "https://")):
            problems.append(f"{path}.selfLink: {member!r} is not absolute")


def _scalar_problem(schema: Mapping[str, Any], value: Any) -> str:
    kind, form = schema["type"], schema.get("format", "")
    if kind == "boolean":
        return "" if isinstance(value, bool) else "is not a boolean"
    if kind == "number":
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return "" if good else "is not a number"
    if kind == "integer":
        return "" if type(value) is int and _as_integer(value, form) is not None else f"is not an {form}"
    if not isinstance(value, str):
        return "is not a string"
    if form in INTEGER_RANGES:
        return "" if _as_integer(value, form) is not None else f"is not an {form} in decimal"
    if "enum" in schema and value not in schema["enum"]:
        return "is not in the enum"
    try:
        canonical = _text(dict(schema), form, value, "")
    except ApiError as exc:
        return exc.message
    return "" if form != "byte" or len(value) == len(canonical) else "is not padded base64"
