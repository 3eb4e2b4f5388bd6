"""
List filters: both of GCE's dialects, made into one kind of expression that tells which resources pass.

Source: the text of the parameter `filter` in the discovery document, and AIP-160; `filter_grammar` has examples.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gceshim.protocol import filter_grammar as grammar
from gceshim.protocol.discovery import Document
from gceshim.protocol.errors import InvalidParameter, invalid_value
from gceshim.protocol.filter_fields import Fields, Work
from gceshim.protocol.filter_grammar import FilterSyntaxError, Path
from gceshim.protocol.filter_values import Matcher, text_of


@dataclass(frozen=True, slots=True)
class Comparison:
    """One field against one literal; `operator` is of either dialect. `work` is that of the whole filter."""

    path: Path
    operator: str
    literal: str
    matcher: Matcher
    work: Work

    def matches(self, resource: Mapping[str, Any]) -> bool:
        """Whether a GCE body fits."""
        values = list(values_at(resource, self.path))
        self.work.check(self.path, values)
        return self.matcher.matches(values)


@dataclass(frozen=True, slots=True)
class Not:
    """What does not match the operand."""

    operand: "Node"

    def matches(self, resource: Mapping[str, Any]) -> bool:
        """Whether a GCE body fits."""
        return not self.operand.matches(resource)


@dataclass(frozen=True, slots=True)
class And:
    """What matches every operand."""

    operands: tuple["Node", ...]

    def matches(self, resource: Mapping[str, Any]) -> bool:
        """Whether a GCE body fits."""
        return all(operand.matches(resource) for operand in self.operands)


@dataclass(frozen=True, slots=True)
class Or:
    """What matches any operand."""

    operands: tuple["Node", ...]

    def matches(self, resource: Mapping[str, Any]) -> bool:
        """Whether a GCE body fits."""
        return any(operand.matches(resource) for operand in self.operands)


Node = Comparison | Not | And | Or


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter expression."""

    root: Node
    text: str

    @classmethod
    def parse(cls, text: str, document: Document | None = None, schema: str | None = None) -> "Filter":
        """
        Read an expression of either dialect.

        :param schema: name of the listed resource's schema; with it, a field that the schema lacks is an error, and an
            absent boolean is false, an absent number 0 and an absent text "", as in Google's messages.
        :raises InvalidParameter: GCE's "Invalid list filter expression.", what is wrong, and at which character.
        """
        try:
            return cls(_node(grammar.parse(text), Fields(document, schema), Work()), text)
        except FilterSyntaxError as exc:
            raise _refusal(text, exc) from exc

    def matches(self, resource: Mapping[str, Any]) -> bool:
        """
        Whether a GCE body passes the filter.

        :raises InvalidParameter: a text in it is too long to be looked through with a filter as large as this.
        """
        try:
            return self.root.matches(resource)
        except FilterSyntaxError as exc:
            raise _refusal(self.text, exc) from exc

    def equalities(self) -> dict[str, str]:
        """
        Fields of the resource itself that have to equal a text for anything to match: what a backend may narrow by.

        The filter has still to be applied: there may be more to it.
        """
        return {path[0]: text for path, text in self._texts() if len(path) == 1}

    def labels(self) -> dict[str, str]:
        """The same for labels, by their keys."""
        return {path[1]: text for path, text in self._texts() if len(path) == 2 and path[0] == "labels"}

    def allows(self, field: str, value: Any) -> bool:
        """
        Whether a resource with this value of a field can match: what it takes for a part of a list to be read at all.

        :param field: of the resource itself, as `zone`.
        """
        return all(term.matcher.matches([value]) for term in _conjoined(self.root) if term.path == (field,))

    def _texts(self) -> Iterator[tuple[Path, str]]:
        for term in _conjoined(self.root):
            text = text_of(term.operator, term.literal)
            if text is not None:
                yield term.path, text


def values_at(value: Any, path: Path) -> Iterator[Any]:
    """The values that a path leads to, through arrays; none when the field is absent."""
    if isinstance(value, list):
        for item in value:
            yield from values_at(item, path)
    elif not path:
        if value is not None:
            yield value
    elif isinstance(value, Mapping) and path[0] in value:
        yield from values_at(value[path[0]], path[1:])


def _refusal(text: str, error: FilterSyntaxError) -> InvalidParameter:
    where = "" if error.position is None else f" at character {error.position + 1}"
    why = f"Invalid list filter expression. {error.why[:1].upper()}{error.why[1:]}{where}."
    return InvalidParameter(invalid_value("filter", text, why), location="filter")


def _conjoined(node: Node) -> Iterator[Comparison]:
    """The comparisons all of which have to hold."""
    if isinstance(node, Comparison):
        yield node
    elif isinstance(node, And):
        for operand in node.operands:
            yield from _conjoined(operand)


def _node(syntax: grammar.Syntax, fields: Fields, work: Work) -> Node:
    """The expression that a syntax tree means; its depth is bounded by the grammar."""
    if isinstance(syntax, grammar.Term):
        return _comparison(syntax, fields, work)
    if isinstance(syntax, grammar.Negation):
        return Not(_node(syntax.operand, fields, work))
    operands = tuple(_node(operand, fields, work) for operand in syntax.operands)
    either = isinstance(syntax, grammar.Either) or (isinstance(syntax, grammar.Beside) and fields.dialect.loose)
    return Or(operands) if either else And(operands)


def _comparison(term: grammar.Term, fields: Fields, work: Work) -> Comparison:
    path = fields.spelt(term.path)
    try:
        kind = fields.type_of(path)
    except FilterSyntaxError as exc:
        raise FilterSyntaxError(exc.why, term.position) from exc
    try:
        matcher = Matcher.of(term.operator, term.literal, kind, loose=fields.dialect.loose)
        work.add(matcher.instructions)
    except ValueError as exc:
        raise FilterSyntaxError(str(exc), term.literal_position) from exc
    return Comparison(path, term.operator, term.literal, matcher, work)
