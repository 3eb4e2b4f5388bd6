"""
List filters: both of GCE's dialects, parsed to one kind of expression.

    legacy    name eq ".*\\bweb\\b.*"      (status eq RUNNING)(name ne 'x.*')
    AIP-160   name = web1 AND (labels.env = prod OR labels.env = test)      -status:STOPPED

Source: the text of the parameter `filter` in the discovery document, and AIP-160 (OR binds tighter than AND).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gceshim.protocol.discovery import Document
from gceshim.protocol.errors import InvalidParameter, invalid_value
from gceshim.protocol.filter_fields import Fields, FilterSyntaxError, Path
from gceshim.protocol.filter_values import Matcher, literal_of_pattern

_LONGEST: Final = 10_000
_DEEPEST: Final = 50
_OPERATORS: Final = ("!=", "<=", ">=", "=", "<", ">", ":")
_QUOTES: Final = "\"'"
_NAME_START: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_NAME: Final = _NAME_START | frozenset("0123456789-")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One field against one literal; `operator` is of either dialect."""

    path: Path
    operator: str
    literal: str
    matcher: Matcher

    def matches(self, resource: Mapping[str, Any]) -> bool:
        """Whether a GCE body fits."""
        return self.matcher.matches(list(values_at(resource, self.path)))


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

    @classmethod
    def parse(cls, text: str, document: Document | None = None, schema: str | None = None) -> "Filter":
        """
        Read an expression of either dialect.

        :param schema: name of the listed resource's schema; with it, a field that the schema lacks is an error, and an
            absent boolean is false and an absent number 0, as in Google's messages.
        :raises InvalidParameter: GCE's "Invalid list filter expression."
        """
        fields = Fields(document, schema)
        try:
            if len(text) > _LONGEST:
                raise FilterSyntaxError("too long")
            root = _LegacyParser(text, fields).parse() if _is_legacy(text) else _Parser(text, fields).parse()
        except FilterSyntaxError as exc:
            message = invalid_value("filter", text, "Invalid list filter expression.")
            raise InvalidParameter(message, location="filter", detail=str(exc)) from exc
        return cls(root)

    def matches(self, resource: Mapping[str, Any]) -> bool:
        """Whether a GCE body passes the filter."""
        return self.root.matches(resource)

    def equalities(self) -> dict[str, str]:
        """
        Fields (`name`, `labels.env`) that have to equal a text for anything to match: what a backend may narrow by.

        The filter has still to be applied: there may be more to it.
        """
        terms = self.root.operands if isinstance(self.root, And) else (self.root,)
        found: dict[str, str] = {}
        for term in terms:
            if not isinstance(term, Comparison) or not all(part.isidentifier() for part in term.path[:1]):
                continue
            literal = literal_of_pattern(term.literal) if term.operator == "eq" else term.literal
            if term.operator in ("eq", "=") and literal is not None:
                found.setdefault(".".join(term.path), literal)
        return found


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


def _is_legacy(text: str) -> bool:
    """An expression is legacy throughout or not at all; its first operator tells."""
    reader = _Reader(text)
    while reader.skip_blanks() and reader.peek() == "(":
        reader.position += 1
    try:
        reader.path()
    except FilterSyntaxError:
        return False
    blank = reader.peek().isspace()
    reader.skip_blanks()
    rest = text[reader.position : reader.position + 3]
    return blank and rest[:2] in ("eq", "ne") and (len(rest) == 2 or rest[2].isspace() or rest[2] in _QUOTES)


class _Reader:
    """A position in the text, and how names and literals are read from there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def skip_blanks(self) -> bool:
        """True when something is left."""
        while self.peek().isspace():
            self.position += 1
        return self.position < len(self.text)

    def take(self, wanted: str) -> bool:
        if self.text.startswith(wanted, self.position):
            self.position += len(wanted)
            return True
        return False

    def expect(self, wanted: str) -> None:
        self.skip_blanks()
        if not self.take(wanted):
            raise FilterSyntaxError(f"{wanted} expected at {self.position}")

    def path(self) -> Path:
        """`labels.env`, `labels."my.key"`, `scheduling.automaticRestart`."""
        parts: list[str] = []
        while True:
            if parts and self.peek() and self.peek() in _QUOTES:
                parts.append(self.quoted())
            else:
                start = self.position
                while self.peek() in _NAME and self.peek():
                    self.position += 1
                part = self.text[start : self.position]
                if not part or (not parts and part[0] not in _NAME_START):
                    raise FilterSyntaxError(f"a field expected at {start}")
                parts.append(part)
            if not self.take("."):
                return tuple(parts)

    def quoted(self) -> str:
        """A literal in quotes; a backslash is part of it, unless it escapes the quote or itself is doubled."""
        quote = self.peek()
        self.position += 1
        parts: list[str] = []
        while char := self.peek():
            self.position += 1
            if char == quote:
                return "".join(parts)
            if char == "\\" and self.peek():
                if self.peek() != quote:
                    parts.append(char)
                char = self.peek()
                self.position += 1
            parts.append(char)
        raise FilterSyntaxError("a quote is not closed")

    def bare(self, *, blanks: bool) -> str:
        """A literal without quotes, up to the parenthesis that is not its own, or to a blank unless `blanks`."""
        start, open_parentheses = self.position, 0
        while char := self.peek():
            if char == "\\" and self.position + 1 < len(self.text):
                self.position += 2
                continue
            if char == "(":
                open_parentheses += 1
            elif char == ")":
                if not open_parentheses:
                    break
                open_parentheses -= 1
            elif char.isspace() and not blanks:
                break
            self.position += 1
        return self.text[start : self.position].rstrip()


class _LegacyParser:
    """`FIELD eq|ne LITERAL` alone, or any number of them, each in parentheses, all of which have to match."""

    def __init__(self, text: str, fields: Fields) -> None:
        self._reader = _Reader(text)
        self._fields = fields

    def parse(self) -> Node:
        reader = self._reader
        reader.skip_blanks()
        terms: list[Node] = []
        if reader.peek() != "(":
            terms.append(self._term(inside=False))
        else:
            while reader.skip_blanks():
                if terms and reader.take("AND"):
                    reader.skip_blanks()
                reader.expect("(")
                terms.append(self._term(inside=True))
                reader.expect(")")
        if reader.skip_blanks():
            raise FilterSyntaxError("something follows the expression")
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _term(self, *, inside: bool) -> Comparison:
        reader = self._reader
        reader.skip_blanks()
        path = reader.path()
        reader.skip_blanks()
        operator = reader.text[reader.position : reader.position + 2]
        if operator not in ("eq", "ne"):
            raise FilterSyntaxError("eq or ne expected")
        reader.position += 2
        reader.skip_blanks()
        if reader.peek() and reader.peek() in _QUOTES:
            literal = reader.quoted()
        else:
            literal = reader.bare(blanks=True)
            if not literal or (not inside and reader.position != len(reader.text)):
                raise FilterSyntaxError("a literal expected")
        return _comparison(path, operator, literal, self._fields)


class _Parser:
    """
    AIP-160 by recursive descent.

        expression = factor *(["AND"] factor)     factor = term *("OR" term)     term = ["NOT" / "-"] simple
        simple = "(" expression ")" / field operator literal
    """

    def __init__(self, text: str, fields: Fields) -> None:
        self._reader = _Reader(text)
        self._fields = fields

    def parse(self) -> Node:
        node = self._expression(0)
        if self._reader.skip_blanks():
            raise FilterSyntaxError("a parenthesis is not open")
        return node

    def _expression(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise FilterSyntaxError("nested too deeply")
        factors = [self._factor(depth)]
        while self._reader.skip_blanks() and self._reader.peek() != ")":
            self._word("AND")
            factors.append(self._factor(depth))
        return factors[0] if len(factors) == 1 else And(tuple(factors))

    def _factor(self, depth: int) -> Node:
        terms = [self._term(depth)]
        while self._word("OR") or (self._fields.dialect.loose and self._another_follows()):
            terms.append(self._term(depth))
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _term(self, depth: int) -> Node:
        reader = self._reader
        reader.skip_blanks()
        if self._word("NOT") or reader.take("-"):
            return Not(self._simple(depth))
        return self._simple(depth)

    def _simple(self, depth: int) -> Node:
        reader = self._reader
        reader.skip_blanks()
        if reader.take("("):
            node = self._expression(depth + 1)
            reader.expect(")")
            return node
        path = reader.path()
        reader.skip_blanks()
        operator = next((sign for sign in _OPERATORS if reader.take(sign)), "")
        if not operator:
            raise FilterSyntaxError("an operator expected")
        reader.skip_blanks()
        quoted = bool(reader.peek()) and reader.peek() in _QUOTES
        literal = reader.quoted() if quoted else reader.bare(blanks=False)
        if not quoted and (not literal or literal[0] in "=<>!"):
            raise FilterSyntaxError("a literal expected")
        return _comparison(path, operator, literal, self._fields)

    def _another_follows(self) -> bool:
        """Whether the next term stands beside this one with nothing between them."""
        reader = self._reader
        if not reader.skip_blanks() or reader.peek() == ")":
            return False
        start = reader.position
        joined = self._word("AND")
        reader.position = start
        return not joined

    def _word(self, word: str) -> bool:
        """An operator in words, upper case, that is not the beginning of a longer name."""
        reader = self._reader
        reader.skip_blanks()
        after = reader.text[reader.position + len(word) : reader.position + len(word) + 1]
        return (not after or after.isspace() or after == "(") and reader.take(word)


def _comparison(path: Path, operator: str, literal: str, fields: Fields) -> Comparison:
    path = fields.spelt(path)
    if operator == ":" and literal == "*":
        fields.type_of(path)
        return Comparison(path, operator, literal, Matcher.of(operator, literal, ""))
    try:
        matcher = Matcher.of(operator, literal, fields.type_of(path), loose=fields.dialect.loose)
    except ValueError as exc:
        raise FilterSyntaxError(str(exc)) from exc
    return Comparison(path, operator, literal, matcher)
