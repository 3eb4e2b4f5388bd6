"""
GCE's names for CloudStack's objects, which are called as people like and may be called alike.

A CloudStack name that is a valid GCE name is used as it is; any other is made into one. Where two in one scope come
out the same, a valid name goes before one that was made, and an older object before a younger; each other one
carries `-` and the first 8 hex digits of its id.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gceshim.drivers.cloudstack.rows import Row, age_key, text
from gceshim.model import stable_id

_LABEL: Final = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SUFFIXED: Final = re.compile(r"(.+)-([0-9a-f]{8,32})")
_LIMIT: Final = 63
_SHORTEST: Final = 8


def is_label(name: str) -> bool:
    """Whether this is a valid GCE name: an RFC 1035 label in small letters."""
    return _LABEL.fullmatch(name) is not None


def slug(name: str) -> str:
    """The GCE name made from any text: small letters, digits and single hyphens; one that is valid is kept."""
    if is_label(name):
        return name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    parts = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if not parts or not parts[0].isalpha():
        parts = f"x-{parts}".rstrip("-")
    return parts[:_LIMIT].rstrip("-")


def suffixed(name: str, backend_id: str, digits: int = _SHORTEST) -> str:
    """The name with the first hex digits of the id, shortened to fit."""
    tail = backend_id.replace("-", "").lower()[:digits]
    return f"{name[: _LIMIT - 1 - len(tail)].rstrip('-')}-{tail}"


def split(name: str) -> tuple[str, str] | None:
    """The base and the hex digits of a name that `suffixed` may have made, or None."""
    match = _SUFFIXED.fullmatch(name)
    return (match[1], match[2]) if match else None


def shown(items: Iterable[Row], *, field: str = "name", order: Callable[[Row], int] | None = None) -> dict[str, str]:
    """
    The names of all objects of one scope, by backend id. No two are the same.

    :param items: rows with `id`, `created` (where there is one) and the name in `field`. :param order: who goes before
        whom, lowest first; else a valid name before one that was made.
    """
    items = list(items)
    result = {text(row, "id"): text(row, field) for row in items}
    if len(set(result.values())) == len(items) and all(map(is_label, result.values())):
        return result  # as nearly always
    result = {}
    taken: set[str] = set()

    def precedence(row: Row) -> tuple[int, str, str]:
        return (order(row) if order else not is_label(text(row, field)), *age_key(row))

    for row in sorted(items, key=precedence):
        backend_id = text(row, "id")
        base = slug(text(row, field))
        name = base
        digits = _SHORTEST
        while name in taken and digits <= _LIMIT // 2 + 1:
            name = suffixed(base, backend_id, digits)
            digits *= 2
        taken.add(name)
        result[backend_id] = name
    return result


def answers_to(row: Row, name: str) -> bool:
    """Whether the name, or numeric id, can be this object's, whatever others are called."""
    backend_id = text(row, "id")
    if name.isdigit():
        return str(stable_id(backend_id)) == name
    base = slug(text(row, "name"))
    return name == base or any(name == suffixed(base, backend_id, digits) for digits in (8, 16, 32))


def pick(matches: Sequence[Row], name: str, *, order: Callable[[Row], int] | None = None) -> Row | None:
    """The one shown by the name among those that can be, as `answers_to` tells; None where none is."""
    names = shown(matches, order=order)
    exact = next((row for row in matches if names[text(row, "id")] == name), None)
    return exact or next((row for row in matches if answers_to(row, name) and slug(text(row, "name")) != name), None)
