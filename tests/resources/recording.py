"""A request body that records which of its fields are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gceshim.protocol.discovery import Document


class Recording(dict[str, Any]):
    """A body; `read` collects the paths (`disks[].mode`) of the members that were looked at."""

    def __init__(self, body: Mapping[str, Any], read: set[str], prefix: str = "") -> None:
        super().__init__({name: _wrapped(value, read, f"{prefix}{name}") for name, value in body.items()})
        self._read, self._prefix = read, prefix

    def __getitem__(self, name: str) -> Any:
        self._read.add(f"{self._prefix}{name}")
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._read.add(f"{self._prefix}{name}")
        return super().get(name, default)


def _wrapped(value: Any, read: set[str], path: str) -> Any:
    if isinstance(value, dict):
        return Recording(value, read, f"{path}.")
    if isinstance(value, list):
        return [_wrapped(item, read, f"{path}[]") for item in value]
    return value


def leaves(document: Document, schema: str, prefix: str = "") -> Iterator[str]:
    """The paths of all members of a schema that hold no further object."""
    yield from _leaves(document, document.schema(schema), prefix, ())


def _leaves(document: Document, facts: Mapping[str, Any], prefix: str, seen: tuple[str, ...]) -> Iterator[str]:
    if "$ref" in facts:
        if facts["$ref"] in seen:
            return
        seen = (*seen, facts["$ref"])
        facts = document.schema(facts["$ref"])
    if facts.get("type") == "array":
        yield from _leaves(document, facts["items"], f"{prefix}[]", seen)
    elif "properties" in facts:
        for name, inner in facts["properties"].items():
            yield from _leaves(document, inner, f"{prefix}.{name}" if prefix else name, seen)
    else:
        yield prefix.removesuffix("[]")


def covered(path: str, declared: set[str]) -> bool:
    """Whether a path, or something that holds it, is declared."""
    parts = path.split(".")
    return any(
        candidate in declared or candidate.removesuffix("[]") in declared
        for candidate in (".".join(parts[: end + 1]) for end in range(len(parts)))
    )
