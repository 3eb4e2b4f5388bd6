"""The fields that a filter may name, and what of a filter is the API's own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gceshim.protocol.discovery import RESOURCE_MANAGER, Document
from gceshim.protocol.filter_grammar import FilterSyntaxError, Path

_MOST_COMPARISONS: Final = 250
_MOST_INSTRUCTIONS: Final = 3_000
# Of one resource: some 60 ms at the worst, and enough for three of gcloud's patterns and the longest metadata.
_MOST_STEPS: Final = 32_000_000
_TIME_NAMES: Final = frozenset({"insertTime", "startTime", "endTime", "createTime"})


@dataclass(frozen=True, slots=True)
class Dialect:
    """
    How an API reads a filter; as it stands here, as Compute Engine does.

    :param loose: case plays no part in names and texts, `field:text` means equal and `field:text*` begins with; and
        of terms with nothing between them any may match.
    :param aliases: names for fields that are not in the schema.
    """

    loose: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FieldType:
    """
    What is known of a field.

    :param kind: "boolean", "number", "time", "text", "object", or "" for what is in no schema.
    :param repeated: it is an array, or within one. :param keyed: it is the value of a key, as a label is.
    """

    kind: str = ""
    repeated: bool = False
    keyed: bool = False


_COMPUTE: Final = Dialect()
# Source: the text of the parameter `filter` of cloudresourcemanager.projects.list.
_DIALECTS: Final[Mapping[str, Dialect]] = {RESOURCE_MANAGER: Dialect(loose=True, aliases={"id": "projectId"})}


class Work:
    """What the comparisons of one filter take, all together, for each character of a text that they look at."""

    def __init__(self) -> None:
        self._comparisons = 0
        self._instructions = 0

    def add(self, instructions: int) -> None:
        """
        Count a comparison in.

        :param instructions: of its regular expression; 0 for one without.
        :raises FilterSyntaxError: there are too many of them, or their regular expressions are too large.
        """
        self._comparisons += 1
        self._instructions += instructions
        if self._comparisons > _MOST_COMPARISONS:
            raise FilterSyntaxError(f"it has more than {_MOST_COMPARISONS} comparisons")
        if self._instructions > _MOST_INSTRUCTIONS:
            raise FilterSyntaxError("its regular expressions are too large")

    def check(self, path: Path, values: Iterable[Any]) -> None:
        """
        Metadata may hold half a MiB; while a text is looked through, nobody else is answered.

        :raises FilterSyntaxError: the values of a field are too long for a filter as large as this.
        """
        characters = sum(len(value) for value in values if isinstance(value, str))
        if characters * (self._comparisons + self._instructions) > _MOST_STEPS:
            raise FilterSyntaxError(f"it is too large for a {'.'.join(path)} of {characters} characters")


class Fields:
    """Looks fields up in a schema. Without a schema every field is taken."""

    def __init__(self, document: Document | None, schema: str | None) -> None:
        self.dialect = _DIALECTS.get(document.name, _COMPUTE) if document else _COMPUTE
        self._document = document
        self._schema = schema

    def spelt(self, path: Path) -> Path:
        """A path as the schema spells it."""
        if not self.dialect.loose or self._document is None or self._schema is None:
            return path
        names = {name.lower(): name for name in self._document.schema(self._schema).get("properties", {})}
        first = path[0].lower()
        return (self.dialect.aliases.get(first) or names.get(first, path[0]), *path[1:])

    def type_of(self, path: Path) -> FieldType:
        """
        What is known of a field.

        :raises FilterSyntaxError: the schema has no such field.
        """
        if self._document is None or self._schema is None:
            return FieldType()
        facts: Mapping[str, Any] = {"$ref": self._schema}
        repeated = keyed = False
        for name in path:
            facts, within_array = _message(self._document, facts)
            repeated = repeated or within_array
            child = facts.get("properties", {}).get(name)
            keyed = child is None
            child = facts.get("additionalProperties") if keyed else child
            if child is None:
                raise FilterSyntaxError(f"there is no field {'.'.join(path)}")
            facts = child
        facts, within_array = _message(self._document, facts)
        return FieldType(_kind(path[-1], facts), repeated or within_array, keyed)


def _message(document: Document, facts: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """What a reference or an array leads to, and whether there was an array."""
    repeated = False
    while "$ref" in facts or "items" in facts:
        repeated = repeated or "items" in facts
        facts = document.schema(facts["$ref"]) if "$ref" in facts else facts["items"]
    return facts, repeated


def _kind(name: str, facts: Mapping[str, Any]) -> str:
    kind = facts.get("type", "object")
    if kind in ("integer", "number") or facts.get("format") in ("int64", "uint64"):
        return "number"
    if kind == "string":
        timed = facts.get("format") == "google-datetime" or name.endswith("Timestamp") or name in _TIME_NAMES
        return "time" if timed else "text"
    return kind if kind in ("boolean", "object") else ""
