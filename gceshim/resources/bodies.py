"""Looking into request bodies by the paths with which collections declare their fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def values(body: Any, pattern: str) -> Iterator[tuple[str, Any]]:
    """
    What a body holds at a path such as `disks[].interface`: (`disks[0].interface`, value) for each.

    Values that say nothing (null, false, zero, and objects and arrays of nothing else) are passed over.
    """
    head, _, rest = pattern.partition(".")
    name, listed = (head[:-2], True) if head.endswith("[]") else (head, False)
    value = body.get(name) if isinstance(body, dict) else None
    if not listed:  # noqa: SIM108 - one line would not be read
        found = [(name, value)]
    else:
        found = [(f"{name}[{index}]", item) for index, item in enumerate(value or [])]
    for path, item in found:
        if rest:
            yield from ((f"{path}.{inner}", leaf) for inner, leaf in values(item, rest))
        elif _says_something(item):
            yield path, item


def _says_something(value: Any) -> bool:
    """Clients fill in defaults, `{"enableConfidentialCompute": false}` for instance, which ask for nothing."""
    if isinstance(value, dict):
        return any(_says_something(item) for item in value.values())
    if isinstance(value, list):
        return any(_says_something(item) for item in value)
    return value not in (None, False, "", "0", 0)
