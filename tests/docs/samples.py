"""Values for any field of any schema, and bodies around them."""

from __future__ import annotations

from typing import Any

from gceshim.protocol.discovery import Document

TEXTS = {
    "byte": "AAAA",
    "int64": "7",
    "uint64": "7",
    "google-datetime": "2030-01-31T09:30:00.000+00:00",
    "google-duration": "7s",
}
NUMBERS = {"boolean": True, "integer": 7, "number": 7.0}


def sample(document: Document, facts: dict[str, Any], *, other_than: object = None) -> Any:
    """
    A value that says something, with every member where it is an object.

    :param other_than: for an enum, which value not to take.
    """
    if "$ref" in facts:
        facts = document.schema(facts["$ref"])
    if facts["type"] == "array":
        return [sample(document, facts["items"])]
    if "properties" in facts:
        return {name: sample(document, inner) for name, inner in facts["properties"].items()}
    if facts["type"] == "object":
        return {"some": sample(document, facts["additionalProperties"])}
    if "enum" in facts:
        return next(value for value in sorted(facts["enum"]) if value != other_than and "UNSPECIFIED" not in value)
    return NUMBERS.get(facts["type"]) or TEXTS.get(facts.get("format", ""), "x")


def facts_of(document: Document, schema: str, field: str) -> dict[str, Any]:
    """What the document says of a field, `disks[].mode` for instance."""
    facts = document.schema(schema)
    for part in field.split("."):
        facts = facts["properties"][part.removesuffix("[]")]
        if part.endswith("[]"):
            facts = facts["items"]
        if "$ref" in facts:
            facts = document.schema(facts["$ref"])
    return facts


def with_value(body: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """The body with the value at a path; of an array its first element."""
    head, _, rest = field.partition(".")
    name, listed = head.removesuffix("[]"), head.endswith("[]")
    if not rest:
        return {**body, name: [value] if listed else value}
    if listed:
        first, *others = body.get(name) or [{}]
        return {**body, name: [with_value(first, rest, value), *others]}
    return {**body, name: with_value(body.get(name, {}), rest, value)}
