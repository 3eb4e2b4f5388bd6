"""The fields that a filter may name, and what of a filter is the API's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gceshim.protocol.discovery import RESOURCE_MANAGER, Document

_MOST_COMPARISONS: Final = 250

Path = tuple[str, ...]


class FilterSyntaxError(Exception):
    """The expression cannot be read; the caller sees GCE's sentence instead."""


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


_COMPUTE: Final = Dialect()
# Source: the text of the parameter `filter` of cloudresourcemanager.projects.list.
_DIALECTS: Final[Mapping[str, Dialect]] = {RESOURCE_MANAGER: Dialect(loose=True, aliases={"id": "projectId"})}


class Fields:
    """Looks fields up in a schema. Without a schema every field is taken, as a text."""

    def __init__(self, document: Document | None, schema: str | None) -> None:
        self.dialect = _DIALECTS.get(document.name, _COMPUTE) if document else _COMPUTE
        self._document = document
        self._schema = schema
        self._asked = 0

    def spelt(self, path: Path) -> Path:
        """A path as the schema spells it."""
        if not self.dialect.loose or self._document is None or self._schema is None:
            return path
        names = {name.lower(): name for name in self._document.schema(self._schema).get("properties", {})}
        first = path[0].lower()
        return (self.dialect.aliases.get(first) or names.get(first, path[0]), *path[1:])

    def type_of(self, path: Path) -> str:
        """
        `boolean`, `integer`, `number`, `string`, `object`, `array`, or "" where that is not known.

        :raises FilterSyntaxError: the schema has no such field, or the expression has too many of them.
        """
        self._asked += 1
        if self._asked > _MOST_COMPARISONS:
            raise FilterSyntaxError("too many comparisons")
        if self._document is None or self._schema is None:
            return ""
        facts: Mapping[str, Any] = {"$ref": self._schema}
        for name in path:
            facts = self._behind(self._document, facts)
            child = facts.get("properties", {}).get(name, facts.get("additionalProperties"))
            if child is None:
                raise FilterSyntaxError(f"no field {name}")
            facts = child
        if facts.get("format") in ("int64", "uint64"):
            return "integer"
        return str(facts.get("type", "object"))

    @staticmethod
    def _behind(document: Document, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in facts or "items" in facts:
            facts = document.schema(facts["$ref"]) if "$ref" in facts else facts["items"]
        return facts
