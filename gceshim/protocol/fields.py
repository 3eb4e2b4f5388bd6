"""
Partial answers: the `fields` parameter.

    fields = item *("," item)      item = name *(("/" / ".") name) ["(" fields ")"]

Arrays are looked through; `*` takes every member of an object or every key of a map. Source: "Partial response" of
Google's API pages, and "System parameters", where the names of a path have dots between them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gceshim.protocol.discovery import Document
from gceshim.protocol.errors import InvalidParameter, shown

_TOKEN: Final = re.compile(r"([,/.()]|[^,/.() \t]+)|[ \t]+")
_LONGEST: Final = 10_000
_DEEPEST: Final = 32

# What is selected of each member: None is all of it.
Tree = dict[str, "Tree | None"]


class Mask:
    """A parsed selector."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    @classmethod
    def parse(cls, text: str, document: Document, schema: str | None) -> "Mask":
        """
        Read a selector, and check its names against what is selected from.

        :param schema: name of the answer's schema; None for an answer without a body.
        :raises InvalidParameter: the selector is malformed or names a member that the schema has not.
        """
        if len(text) > _LONGEST:
            raise InvalidParameter(f"Invalid field selection: longer than {_LONGEST} characters", location="fields")
        reader = _Reader(text)
        tree = reader.read()
        if schema is not None:
            _check(document, {"$ref": schema}, tree)
        return cls(tree)

    def apply(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """The selected part of an answer, itself unchanged."""
        selected: dict[str, Any] = _select(self._tree, value)
        return selected


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [(match[1], match.start()) for match in _TOKEN.finditer(text) if match[1]]
        self._position = 0

    def read(self) -> Tree:
        tree = self._list(0)
        if self._position != len(self._tokens):
            raise self._unexpected("',' or the end")
        return tree

    def _next(self) -> str:
        return self._tokens[self._position][0] if self._position < len(self._tokens) else ""

    def _unexpected(self, wanted: str) -> InvalidParameter:
        at_end = self._position == len(self._tokens)
        place = len(self._text) if at_end else self._tokens[self._position][1]
        return _bad(self._text, f"{wanted} expected at character {place + 1}")

    def _list(self, depth: int) -> Tree:
        if depth > _DEEPEST:
            raise _bad(self._text, f"nested more than {_DEEPEST} deep")
        tree: Tree = {}
        while True:
            self._item(tree, depth)
            if self._next() != ",":
                return tree
            self._position += 1

    def _item(self, tree: Tree, depth: int) -> None:
        names = [self._name()]
        while self._next() in ("/", "."):
            self._position += 1
            names.append(self._name())
        if len(names) > _DEEPEST:
            raise _bad(self._text, f"nested more than {_DEEPEST} deep")
        branch: Tree | None = None
        if self._next() == "(":
            self._position += 1
            branch = self._list(depth + len(names))
            if self._next() != ")":
                raise self._unexpected("')'")
            self._position += 1
        for name in reversed(names[1:]):
            branch = {name: branch}
        _merge(tree, names[0], branch)

    def _name(self) -> str:
        name = self._next()
        if not name or name in ",/.()":
            raise self._unexpected("a field")
        self._position += 1
        return name


def _merge(tree: Tree, name: str, branch: Tree | None) -> None:
    """`a/b,a/c` selects both; `a,a/b` selects all of a."""
    if name not in tree:
        tree[name] = branch
        return
    present = tree[name]
    if present is None or branch is None:
        tree[name] = None
        return
    for key, value in branch.items():
        _merge(present, key, value)


def _select(tree: Tree, value: Any) -> Any:
    if isinstance(value, list):
        return [_select(tree, item) for item in value]
    if not isinstance(value, Mapping):
        return value
    selected = {}
    for name, member in value.items():
        if name in tree:
            branch = tree[name]
        elif "*" in tree:
            branch = tree["*"]
        else:
            continue
        if branch is None:
            selected[name] = member
        elif isinstance(member, Mapping | list):
            selected[name] = _select(branch, member)
    return selected


def _check(document: Document, schema: Mapping[str, Any], tree: Tree, path: str = "") -> None:
    while True:
        if "$ref" in schema:
            schema = document.schema(schema["$ref"])
        elif schema["type"] == "array":
            schema = schema["items"]
        else:
            break
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties")
    for name, branch in tree.items():
        if name == "*":
            _check_any(document, [*properties.values(), *([others] if others else [])], branch, f"{path}*")
            continue
        facts = properties.get(name, others)
        if facts is None:
            raise _bad(f"{path}{name}", "there is no such field")
        if branch is not None:
            _check(document, facts, branch, f"{path}{name}/")


def _check_any(document: Document, members: Sequence[Mapping[str, Any]], branch: Tree | None, path: str) -> None:
    """What stands below a `*`: one member at least has to have it."""
    if not members:
        raise _bad(path, "there are no fields")
    for number, facts in enumerate(members if branch is not None else (), start=1):
        try:
            _check(document, facts, branch or {}, f"{path}/")
        except InvalidParameter:
            if number == len(members):
                raise
        else:
            return


def _bad(text: str, why: str) -> InvalidParameter:
    return InvalidParameter(f"Invalid field selection '{shown(text)}': {why}.", location="fields")
