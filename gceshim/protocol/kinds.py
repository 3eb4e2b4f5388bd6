"""
The `kind` members of answers: read from the schemas, so that no resource spells one.

Source: the `default` of each `kind` property in the discovery document; gcutil dispatches on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gceshim.protocol.discovery import Document


@dataclass(slots=True)
class _Plan:
    """What to do with an object: its own `kind`, and the plans of those members in which there is one to set."""

    kind: str | None = None
    members: dict[str, _Plan] = field(default_factory=dict)


class Kinds:
    """Sets `kind` in an answer and everywhere inside it. Plans are made once for each schema, on first use."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._plans: dict[str, _Plan] = {}

    def add(self, schema: str, body: dict[str, Any]) -> dict[str, Any]:
        """Set every `kind` of `body`, an object of `schema`, in place; return it."""
        _apply(self._plan(schema), body)
        return body

    def _plan(self, schema: str) -> _Plan:
        plan = self._plans.get(schema)
        if plan is None:
            plan = self._plans[schema] = _Plan(self._document.kind_of(schema))
            self._fill(plan, self._document.schema(schema))
        return plan

    def _fill(self, plan: _Plan, schema: Mapping[str, Any]) -> None:
        for name, facts in schema.get("properties", {}).items():
            inner = self._inner(facts)
            if inner is not None and (inner.kind or inner.members):
                plan.members[name] = inner

    def _inner(self, facts: Mapping[str, Any]) -> _Plan | None:
        """The plan for a member's objects, whether it holds one, an array or a map of them."""
        while "items" in facts or "additionalProperties" in facts:
            facts = facts.get("items") or facts["additionalProperties"]
        if "$ref" in facts:
            return self._plan(facts["$ref"])
        if "properties" in facts:
            plan = _Plan(facts["properties"].get("kind", {}).get("default"))
            self._fill(plan, facts)
            return plan
        return None


def _apply(plan: _Plan, value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _apply(plan, item)
        return
    if plan.kind is not None:
        value["kind"] = plan.kind
    for name, inner in plan.members.items():
        if name in value:
            _apply(inner, value[name])
