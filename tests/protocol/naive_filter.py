"""
Filters the simple way: expressions as trees of tuples, evaluated over plain dicts, and written out as text.

    ("is", field, operator, literal)    ("not", tree)    ("and", [tree, ...])    ("or", [tree, ...])

Nothing of the server's is used, so that the two can be compared.
"""

from __future__ import annotations

import operator
import random
import re
from datetime import UTC, datetime
from typing import Any, Final

Tree = Any

TEXTS: Final = ("name", "status", "description")
KEYED: Final = ("labels.env", "labels.a-b", "labels.none")
REPEATED: Final = ("tags.items",)
NUMBERS: Final = ("id", "scheduling.minNodeCpus")
REPEATED_NUMBERS: Final = ("disks.diskSizeGb",)
BOOLEANS: Final = ("canIpForward", "scheduling.automaticRestart")
REPEATED_BOOLEANS: Final = ("disks.boot",)
TIMES: Final = ("creationTimestamp",)

_ORDER: Final = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def holds(tree: Tree, resource: dict[str, Any]) -> bool:
    """Whether a resource passes."""
    kind, *rest = tree
    if kind == "not":
        return not holds(rest[0], resource)
    if kind == "and":
        return all(holds(each, resource) for each in rest[0])
    if kind == "or":
        return any(holds(each, resource) for each in rest[0])
    field, sign, literal = rest
    found = reach([resource], field.split("."))
    if sign in ("!=", "ne"):
        return not holds(("is", field, "=" if sign == "!=" else "eq", literal), resource)
    if not found and sign in ("=", "eq"):
        found = unset(field)
    return any(passes(field, sign, literal, value) for value in found)


def reach(values: list[Any], names: list[str]) -> list[Any]:
    """The values of a field, whatever arrays are on the way."""
    flat: list[Any] = []
    for value in values:
        flat += value if isinstance(value, list) else [value]
    if not names:
        return flat
    return reach([value[names[0]] for value in flat if isinstance(value, dict) and names[0] in value], names[1:])


def unset(field: str) -> list[Any]:
    """What a field that is not there counts as."""
    if field in NUMBERS:
        return [0]
    if field in BOOLEANS:
        return [False]
    return [""] if field in TEXTS else []


def passes(field: str, sign: str, literal: str, value: Any) -> bool:
    """One value against one literal."""
    if sign == ":" and literal == "*":
        return True
    if field in BOOLEANS + REPEATED_BOOLEANS:
        return value == (literal.lower() == "true")
    if field in NUMBERS + REPEATED_NUMBERS:
        if sign == "eq" and re.fullmatch(literal, str(value)):
            return True
        number = as_number(literal)
        return number is not None and _ORDER.get(sign, operator.eq)(float(value), number)
    if sign == "eq":
        return re.fullmatch(literal, value) is not None
    if field in TIMES:
        return _ORDER.get(sign, operator.eq)(instant(value), instant(literal))
    if sign in _ORDER:
        return _ORDER[sign](value, literal)
    if sign == ":" and field in TEXTS:
        value, literal = value.lower(), literal.lower()
        literal = literal if "*" in literal else f"*{literal}*"
    return glob(literal, value)


def glob(pattern: str, text: str) -> bool:
    """`*` stands for anything."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(glob(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] == text[0] and glob(pattern[1:], text[1:])


def as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def written(tree: Tree, chance: random.Random, inside: str = "") -> str:
    """An expression of AIP-160 for a tree, with blanks, quotes and parentheses as chance has it."""
    kind, *rest = tree
    blank = chance.choice((" ", "  ", " \t"))
    if kind == "is":
        field, sign, literal = rest
        gap = chance.choice(("", " "))
        text = f"{field}{gap}{sign}{gap}{quoted(literal, chance)}"
        return f"({text})" if chance.random() < 0.2 else text
    if kind == "not":
        inner = written(rest[0], chance, "not")
        text = f"-{inner}" if chance.random() < 0.5 else f"NOT{'' if inner.startswith('(') else ' '}{inner}"
        return f"({text})" if inside == "not" else text
    joints = ("AND", "") if kind == "and" else ("OR",)
    parts = [written(each, chance, kind) for each in rest[0]]
    text = parts[0]
    for part in parts[1:]:
        text += f"{blank}{chance.choice(joints)}{blank}{part}"
    bare = not inside or (kind == "or" and inside == "and") or (len(parts) == 1 and inside != "not")
    return text if bare and chance.random() < 0.8 else f"({text})"


def written_legacy(tree: Tree, chance: random.Random) -> str:
    """The same in the other dialect: a tree of `and`s and comparisons by eq and ne."""
    kind, *rest = tree
    if kind == "is":
        field, sign, literal = rest
        quote = chance.choice(('"', "'", ""))
        return f"{field} {sign} {quote}{literal}{quote}" if literal else f"{field} {sign} ''"
    joint = chance.choice(("", " ", " AND "))
    return joint.join(f"({written_legacy(each, chance)})" for each in rest[0])


def quoted(literal: str, chance: random.Random) -> str:
    if re.fullmatch(r"[^\s()\"'=<>!:\\]+", literal) and chance.random() < 0.6:
        return literal
    quote = chance.choice("\"'")
    return f"{quote}{literal}{quote}"
