"""From path and verb to a method of the discovery document."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from gceshim.protocol.discovery import Method
from gceshim.protocol.errors import BadRequest, MethodNotAllowed, NotFound, shown

_LONGEST_PATH: Final = 8_192
_MOST_SEGMENTS: Final = 40


@dataclass(frozen=True, slots=True)
class Route:
    """The method that a path and a verb mean, and the path parameters, decoded but not checked."""

    method: Method
    path_values: Mapping[str, str]


@dataclass(slots=True)
class _Node:
    fixed: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    methods: dict[str, Method] = field(default_factory=dict)


class MethodRouter:
    """
    A tree of path segments over all methods of the API.

    A fixed segment wins over a parameter (`images/family` over `images/{image}`), unless only the parameter leads to a
    method of this verb. An empty segment counts for nothing: some clients send `//compute/v1/...`.

    :param service_path: `compute/v1/`, what stands before the methods' paths; for the text of an error.
    """

    def __init__(self, methods: Iterable[Method], service_path: str = "") -> None:
        self._root = _Node()
        self._service_path = service_path
        self._verbs: set[str] = set()
        for method in methods:
            if (last := method.segments[-1]) and last.startswith(":"):
                self._verbs.add(last)
            node = self._root
            for segment in method.segments:
                if segment is not None:
                    if segment not in node.fixed:
                        node.fixed[segment] = _Node()
                    node = node.fixed[segment]
                else:
                    node.parameter = node.parameter or _Node()
                    node = node.parameter
            node.methods.setdefault(method.http_method, method)

    def route(self, verb: str, segments: Sequence[str]) -> Route:
        """
        The method called by `verb` on the path below the service path.

        :param segments: as `split_path` gives them.
        :raises NotFound: no method has this path.
        :raises MethodNotAllowed: methods have this path, with other verbs; they are in the error's Allow header.
        """
        allowed: set[str] = set()
        segments = self._with_verb(segments)
        for node in _ends(self._root, segments, 0):
            method = node.methods.get(verb)
            if method is not None:
                values = {capture.name: "/".join(segments[capture.start : capture.stop]) for capture in method.captures}
                return Route(method, values)
            allowed |= node.methods.keys()
        if not allowed:
            raise unknown_path(f"/{self._service_path}{path_of(segments)}")
        verbs = ", ".join(sorted(allowed))
        raise MethodNotAllowed(
            f"HTTP method {shown(verb)} is not allowed here; this path has {verbs}.", headers={"Allow": verbs}
        )

    def _with_verb(self, segments: Sequence[str]) -> Sequence[str]:
        """A verb of the API at the end, `demo:testIamPermissions`, in a segment of its own."""
        head, colon, verb = segments[-1].rpartition(":") if segments else ("", "", "")
        return [*segments[:-1], head, colon + verb] if head and colon + verb in self._verbs else segments


def path_of(segments: Iterable[str]) -> str:
    """The path that segments came from."""
    return "/".join(segments).replace("/:", ":")


def split_path(path: str) -> list[str]:
    """
    The segments of a percent-encoded path, decoded; slashes that are encoded stay inside their segment.

    :param path: one character for each byte, as HTTP gives it.
    :raises BadRequest: it is too long, or does not decode to text.
    """
    if len(path) > _LONGEST_PATH:
        raise BadRequest(f"The path is longer than {_LONGEST_PATH} characters.")
    parts = [part for part in path.split("/") if part]
    if len(parts) > _MOST_SEGMENTS:
        raise NotFound("The requested URL was not found on this server.")
    try:
        return [unquote_to_bytes(part.encode("latin-1")).decode("utf-8") for part in parts]
    except UnicodeError as exc:
        raise BadRequest("The path is not UTF-8 text.") from exc


def unknown_path(path: str) -> NotFound:
    """The 404 for a path that no part of the API has."""
    return NotFound(f"The requested URL {shown(path)} was not found on this server.")


def _ends(node: _Node, segments: Sequence[str], index: int) -> Iterator[_Node]:
    """
    Every place where the segments can end, the best first.

    Both ways are tried at each step, but the tree is the API's: no path has more than a few ends.
    """
    if index == len(segments):
        if node.methods:
            yield node
        return
    fixed = node.fixed.get(segments[index])
    if fixed is not None:
        yield from _ends(fixed, segments, index + 1)
    if node.parameter is not None:
        yield from _ends(node.parameter, segments, index + 1)
