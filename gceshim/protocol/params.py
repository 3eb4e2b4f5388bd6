"""Path and query parameters, checked against the discovery document and typed."""

import functools
import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from gceshim.protocol.discovery import Method, Parameter
from gceshim.protocol.errors import BadRequest, InvalidParameter, Required, invalid_value, must_match, shown

_MOST_FIELDS: Final = 2_000
_LONGEST_PATH_VALUE: Final = 1_024
_BOOLEANS: Final = {"true": True, "false": False}
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f/?#]")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE | re.ASCII)

INTEGER_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}

# The text of every maxResults says 0 to 500; as a fact the document has the lower bound only.
_MOST_RESULTS: Final = 500


@dataclass(frozen=True, slots=True)
class Standard:
    """
    The parameters that every method has.

    :param pretty: `prettyPrint`; None when not given.
    :param fields: the selector of a partial answer, "" for all.
    :param bearer: `access_token` or `oauth_token`; None when there is neither.
    """

    pretty: bool | None
    fields: str
    bearer: str | None


Query = Mapping[str, list[str]]


def parse_query(query: str) -> dict[str, list[str]]:
    """
    The values of each name of a query string, or of a form-encoded body. Empty values are left out: clients send
    `queryPath=` for "not given".

    :param query: one character for each byte, as HTTP gives it: curl sends what is no ASCII as it was typed.
    :raises BadRequest: too many fields, or not UTF-8.
    """
    try:
        text = query if query.isascii() else query.encode("latin-1").decode("utf-8")
        pairs = parse_qsl(text, keep_blank_values=False, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as exc:  # UnicodeError is one too
        raise BadRequest("The query is not UTF-8 text or has too many fields.") from exc
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def standard(query: Query) -> Standard:
    """
    The standard parameters of a query.

    `key`, `quotaUser`, `userIp`, `uploadType`, `upload_protocol` and `$.xgafv` are accepted and mean nothing here.

    :raises InvalidParameter: an answer is asked for in a form that this server does not write.
    """
    for name in ("callback", "$callback"):
        if name in query:
            raise InvalidParameter(f"JSONP is not supported: leave '{name}' out.", location=name)
    alt = query.get("alt", ["json"])[-1]
    if alt != "json":
        raise InvalidParameter(invalid_value("alt", alt, "Only 'json' is supported."), location="alt")
    # `$alt=json;enum-encoding=int` asks for enums as numbers. The enums of the discovery document have no numbers, and
    # google-cloud-compute declares them as strings: answering in strings is all that can be done, and is understood.
    system_alt = query.get("$alt", ["json"])[-1]
    if system_alt.partition(";")[0] != "json":
        raise InvalidParameter(invalid_value("$alt", system_alt, "Only 'json' is supported."), location="$alt")
    pretty = query.get("prettyPrint") or query.get("$prettyPrint")
    fields = query.get("fields") or query.get("$fields") or [""]
    return Standard(
        pretty=_boolean("prettyPrint", pretty[-1]) if pretty else None,
        fields=",".join(fields),
        bearer=bearer(query),
    )


def bearer(query: Query) -> str | None:
    """The token in `access_token` or `oauth_token`; None when there is neither."""
    tokens = query.get("access_token") or query.get("oauth_token")
    return tokens[-1] if tokens else None


def parse(method: Method, path_values: Mapping[str, str], query: Query) -> dict[str, Any]:
    """
    All parameters of a call by their names in the document, typed, defaults filled in, absent ones left out.

    Query parameters that the method does not have are ignored, as new clients send more than old servers know.
    integer is int, number float, boolean bool, everything else (int64 too) str; a repeated one is a list.

    :raises InvalidParameter: a value does not fit; GCE's wording names it.
    :raises Required: a required parameter is missing.
    """
    params: dict[str, Any] = {}
    for parameter in method.parameters.values():
        name = parameter.name
        if parameter.location == "path":
            params[name] = _path_value(parameter, path_values[name])
            continue
        values = query.get(name)
        if values is None and parameter.default is not None:
            values = [parameter.default]
        if values is None:
            if parameter.required:
                raise Required(f"Required parameter '{name}' not specified", location=name)
            continue
        if parameter.repeated:
            params[name] = [_typed(parameter, value) for value in values]
            continue
        if len(set(values)) > 1:
            raise _invalid(name, ", ".join(values), "It must be given once.")
        params[name] = _typed(parameter, values[0])
    return params


def _path_value(parameter: Parameter, text: str) -> str:
    if parameter.pattern:
        if not _pattern(parameter.pattern).fullmatch(text):
            message = must_match(parameter.name, text, parameter.pattern)
            raise InvalidParameter(message, location=parameter.name)
    elif len(text) > _LONGEST_PATH_VALUE or _UNSAFE.search(text):
        raise _invalid(parameter.name, text, "The name is malformed.")
    return text


def _typed(parameter: Parameter, text: str) -> Any:
    if parameter.type == "integer":
        return _integer(parameter, text)
    if parameter.type == "boolean":
        return _boolean(parameter.name, text)
    if parameter.type == "number":
        number = float(text) if _NUMBER.fullmatch(text) else math.nan
        if not math.isfinite(number):
            raise _invalid(parameter.name, text, "It must be a number.")
        return number
    if parameter.enum and text not in parameter.enum:
        raise _invalid(parameter.name, text, f"Must be one of: {', '.join(sorted(parameter.enum))}.")
    if parameter.format in INTEGER_RANGES:
        return str(_integer(parameter, text))
    if parameter.pattern and not _pattern(parameter.pattern).fullmatch(text):
        raise InvalidParameter(must_match(parameter.name, text, parameter.pattern), location=parameter.name)
    if parameter.name == "requestId":
        return _request_id(text)
    return text


def _integer(parameter: Parameter, text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise _invalid(parameter.name, text, "It must be an integer.")
    number = int(text)
    low, high = INTEGER_RANGES[parameter.format or "int32"]
    if parameter.minimum is not None:
        low = max(low, parameter.minimum)
    if parameter.maximum is not None:
        high = min(high, parameter.maximum)
    if parameter.name == "maxResults":
        high = min(high, _MOST_RESULTS)
    if not low <= number <= high:
        raise _invalid(parameter.name, text, f"It must be from {low} to {high}.")
    return number


def _boolean(name: str, text: str) -> bool:
    """In any case: gcloud sends Python's True and False."""
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise _invalid(name, text, "It must be true or false.")
    return value


def _request_id(text: str) -> str:
    """Source: "a valid UUID with the exception that zero UUID is not supported"."""
    if not _UUID.fullmatch(text):  # uuid.UUID takes digits of any script, underscores and braces
        raise _invalid("requestId", text, "It must be a valid UUID.")
    value = uuid.UUID(text)
    if value.int == 0:
        raise _invalid("requestId", text, "The zero UUID is not supported.")
    return str(value)


def _invalid(name: str, text: str, why: str) -> InvalidParameter:
    return InvalidParameter(invalid_value(name, shown(text), why), location=name)


@functools.lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    """The patterns are the document's own, some forty; ASCII, so that `\\w` is what Google means by it."""
    return re.compile(pattern, re.ASCII)
