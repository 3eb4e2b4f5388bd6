"""
The grammar of list filters, both of GCE's dialects: from a text to a syntax tree.

    legacy    name eq ".*\\bweb\\b.*"      ((status eq RUNNING)(name ne 'x.*'))(zone eq .*a)
    AIP-160   name = web1 AND (labels.env = prod OR labels.env = test)      -status:STOPPED

One grammar for the two: an expression is of one of them throughout. Source: the text of the parameter `filter` in the
discovery document; what gcloud writes, which nests the parentheses of the legacy dialect where it joins three terms;
and AIP-160, where OR binds tighter than AND.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedToken

Path = tuple[str, ...]

_LONGEST: Final = 10_000
_DEEPEST: Final = 50

# Blanks are left out between terminals. Within a pattern without quotes they are part of it, so MORE, which may begin
# with one, goes before WS. A character class is taken whole, as it may hold a parenthesis. The first name of a path is
# the document's; those after it may be keys of labels, which have letters of any script.
_GRAMMAR: Final = r"""
?start: groups | restriction | every

?groups: group (_AND? group)*
?group: "(" (restriction | groups) ")"
restriction: PATH EQ (QUOTED | pattern)
pattern: FIRST (nested MORE?)* | (nested MORE?)+
nested: LPAR MORE? (nested MORE?)* RPAR

?every: beside (_AND beside)*
?beside: either+
?either: term (_OR term)*
?term: simple | (_NOT | _MINUS) simple -> negation
?simple: comparison | "(" every ")"
comparison: PATH COMPARATOR (QUOTED | VALUE)

LPAR: "("
RPAR: ")"
_MINUS: "-"
_AND.3: /AND(?=[\s(]|$)/
_OR.3: /OR(?=[\s(]|$)/
_NOT.3: /NOT(?=[\s(]|$)/
PATH: /[A-Za-z_][A-Za-z0-9_-]*(?:\.(?:[\w-]+|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))*/s
EQ.3: /(?:eq|ne)(?=[\s"']|$)/
COMPARATOR: /!=|<=|>=|=|<|>|:/
QUOTED: /"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/s
VALUE: /(?![=<>!:"'])(?:\\.|[^\s(),\\])+/s
FIRST: /(?![\s"'])(?:\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[^()\\\[])+/s
MORE.2: /(?:\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[^()\\\[])+/s
WS: /\s+/
%ignore WS
"""
_EXPECTED: Final = {
    "PATH": "a field",
    "EQ": "eq or ne",
    "COMPARATOR": "one of = != < <= > >= :",
    "QUOTED": "a value",
    "VALUE": "a value",
    "FIRST": "a value",
    "MORE": "a value",
    "RPAR": "')'",
    "$END": "the end",
}
_PARENTHESES: Final = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\.|[()]""", re.DOTALL)
_PART: Final = re.compile(r"""[^."']+|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""", re.DOTALL)
_OPERATOR: Final = re.compile(r"(?:eq|ne)(?=[\s\"'])|!=|<=|>=|[=<>:]")
# A pattern without quotes in which there is a further expression.
_JOINED: Final = re.compile(
    r"""\s(?:AND|OR)\s+(?:NOT\s+|-)?\(?[A-Za-z_][\w.-]*\s*[=<>:!]|[\s(][A-Za-z_][\w.-]*\s+(?:eq|ne)[\s"']"""
)
_DIALECTS: Final = "the dialects of eq and ne and of = and its like cannot be mixed"


class FilterSyntaxError(Exception):
    """
    The expression cannot be read.

    :param why: what is wrong, for the caller.
    :param position: where, 0-based; None when it is the expression as a whole.
    """

    def __init__(self, why: str, position: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.position = position


@dataclass(frozen=True, slots=True)
class Term:
    """One field against one literal, its quotes gone. `operator` tells the dialect; positions are 0-based."""

    path: Path
    operator: str
    literal: str
    position: int
    literal_position: int


@dataclass(frozen=True, slots=True)
class Negation:
    """What does not match the operand."""

    operand: "Syntax"


@dataclass(frozen=True, slots=True)
class Every:
    """Operands joined by AND."""

    operands: Sequence["Syntax"]


@dataclass(frozen=True, slots=True)
class Beside:
    """Operands with nothing between them: Compute Engine reads AND there, other APIs OR."""

    operands: Sequence["Syntax"]


@dataclass(frozen=True, slots=True)
class Either:
    """Operands joined by OR."""

    operands: Sequence["Syntax"]


Syntax = Term | Negation | Every | Beside | Either


def parse(text: str) -> Syntax:
    """
    The tree of an expression of either dialect; at most 50 deep.

    :raises FilterSyntaxError: it is not one, or is too long or too deep.
    """
    if len(text) > _LONGEST:
        raise FilterSyntaxError(f"it is longer than {_LONGEST} characters")
    _check_depth(text)
    try:
        return cast("Syntax", _grammar().parse(text))
    except UnexpectedToken as exc:
        end = exc.token.type == "$END"
        raise _unexpected(text, len(text) if end else exc.pos_in_stream or 0, exc.expected) from exc
    except UnexpectedCharacters as exc:
        raise _unexpected(text, exc.pos_in_stream or 0, exc.allowed or set()) from exc


@functools.cache
def _grammar() -> Lark:
    """Built when the first filter comes, in some 20 ms."""
    return Lark(_GRAMMAR, parser="lalr", maybe_placeholders=False, transformer=_Builder())


class _Builder(Transformer[Token, Syntax]):
    """Makes the nodes while the text is parsed; each method has the name of a rule, and its children."""

    def restriction(self, children: list[Token]) -> Term:
        path, operator, literal = children
        if isinstance(literal, Token) and literal.type == "QUOTED":
            quote = literal[0]
            return _term(path, operator, literal[1:-1].replace(f"\\{quote}", quote), literal.start_pos or 0)
        joined = _JOINED.search(literal)
        if joined is not None:
            raise FilterSyntaxError("several expressions have to be in parentheses each", path.start_pos)
        return _term(path, operator, literal.rstrip(), operator.end_pos or 0)

    def pattern(self, children: list[str]) -> str:
        return "".join(children)

    nested = pattern

    def comparison(self, children: list[Token]) -> Term:
        path, operator, literal = children
        text = _unquoted(literal) if literal.type == "QUOTED" else str(literal)
        return _term(path, operator, text, literal.start_pos or 0)

    def groups(self, children: list[Syntax]) -> Every:
        return Every(children)

    def every(self, children: list[Syntax]) -> Every:
        return Every(children)

    def beside(self, children: list[Syntax]) -> Beside:
        return Beside(children)

    def either(self, children: list[Syntax]) -> Either:
        return Either(children)

    def negation(self, children: list[Syntax]) -> Negation:
        return Negation(children[0])


def _term(path: Token, operator: Token, literal: str, literal_position: int) -> Term:
    parts = tuple(_unquoted(part) if part[0] in "\"'" else part for part in _PART.findall(path))
    return Term(parts, str(operator), literal, path.start_pos or 0, literal_position)


def _unquoted(text: str) -> str:
    """Without the quotes; a backslash before a quote goes, any other is for whoever reads the literal."""
    return text[1:-1].replace('\\"', '"').replace("\\'", "'")


def _check_depth(text: str) -> None:
    depth = 0
    for match in _PARENTHESES.finditer(text):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth > _DEEPEST:
            raise FilterSyntaxError(f"it is nested more than {_DEEPEST} deep", match.start())


def _unexpected(text: str, position: int, expected: set[str]) -> FilterSyntaxError:
    if _OPERATOR.match(text, position) and expected & {"EQ", "COMPARATOR"}:
        return FilterSyntaxError(_DIALECTS, position)
    words = sorted({_EXPECTED[name] for name in expected if name in _EXPECTED})
    return FilterSyntaxError(f"{' or '.join(words)} expected" if words else "it cannot go on like this", position)
