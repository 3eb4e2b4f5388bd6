"""JSON as bytes, fast: orjson, and the standard library for the few values that orjson does not take."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

_PRETTY: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def compact(value: Any, *, sort_keys: bool = False) -> bytes:
    """Without blanks; with `sort_keys`, equal values have equal bytes."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort_keys else 0)
    except TypeError:  # half of a surrogate pair, or an integer of more than 64 bits
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)
        return text.encode("utf-8", "replace")


def pretty(value: Any) -> bytes:
    """Indented by two blanks, with a line end."""
    try:
        return orjson.dumps(value, option=_PRETTY)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n"
