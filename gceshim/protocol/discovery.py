"""
The discovery document: the contract from which routes, parameters, bodies and answers are read.

Source: `compute-v1.json`, Google's compute v1 document reduced to facts by `tools/build_discovery.py`, and
`patches.json`, what that document gets wrong. `cloudresourcemanager-v1.json` is of the same kind and holds the few
methods of that API that the clients of Compute Engine call too.
"""

import contextlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, NamedTuple

Json = dict[str, Any]

COMPUTE: Final = "compute"
RESOURCE_MANAGER: Final = "cloudresourcemanager"
SERVICE_PATH: Final = "compute/v1/"
BATCH_PATH: Final = "batch/compute/v1"
DIRECTORY_PATH: Final = "discovery/v1/apis"


class DiscoveryError(Exception):
    """The document lacks what code of ours names: a mistake of ours, found when things are put together."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One path or query parameter. `minimum` and `maximum` are inclusive."""

    name: str
    location: str
    type: str
    format: str
    required: bool
    repeated: bool
    default: str | None
    enum: frozenset[str]
    pattern: str
    minimum: int | None
    maximum: int | None


class Capture(NamedTuple):
    """Which path segments, from `start` up to `stop`, make up the path parameter `name`."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Method:
    """
    One method of the API.

    `segments` is the path after the document's service path (`compute/v1/`), split at slashes, with None where a
    parameter stands. A verb behind a parameter, as in `projects/{resource}:testIamPermissions`, is a segment too, with
    its colon. `request` and `response` are schema names, None where there is no body. A token needs one of the
    `scopes`.
    """

    id: str
    collection: str
    name: str
    http_method: str
    path: str
    segments: tuple[str | None, ...]
    captures: tuple[Capture, ...]
    parameters: Mapping[str, Parameter]
    request: str | None
    response: str | None
    scopes: frozenset[str] = frozenset()

    def supports(self, parameter: str) -> bool:
        """Whether the method has a parameter of this name, `filter` or `requestId` for instance."""
        return parameter in self.parameters

    @property
    def last_parameter(self) -> str | None:
        """Name of the last path parameter, `instance` in compute.instances.get."""
        return self.captures[-1].name if self.captures else None

    @property
    def scope(self) -> str:
        """`zone`, `region` or `global`: where what the method touches lives, by its path."""
        names = {capture.name for capture in self.captures}
        return next((kind for kind in ("zone", "region") if kind in names), "global")


class Document:
    """
    The document, patched and indexed. Nothing of it may be changed by a caller.

    Construction reads about 1.5 MB of package data for Compute Engine, some 30 ms; little for another API.

    :param name: of the API, which begins the ids of its methods: `compute` or `cloudresourcemanager`.
    """

    def __init__(self, name: str = COMPUTE) -> None:
        package = resources.files(__package__)
        raw: Json = json.loads(package.joinpath(f"{name}-v1.json").read_bytes())
        for patch in json.loads(package.joinpath("patches.json").read_bytes()):
            if patch.get("api", COMPUTE) == name:
                apply_patch(raw, patch)
        self._raw = raw
        self.name: str = raw["name"]
        self.service_path: str = raw["servicePath"]
        self.rest_path = f"{DIRECTORY_PATH}/{self.name}/{raw['version']}/rest"
        self._methods = {
            method.id: method
            for collection, body in raw["resources"].items()
            for method in _methods(collection, body["methods"])
        }
        self.standard_parameters: Mapping[str, Parameter] = {
            name: _parameter(name, facts) for name, facts in raw["parameters"].items()
        }

    @property
    def methods(self) -> Collection[Method]:
        """Every method of the API, implemented here or not."""
        return self._methods.values()

    @property
    def scopes(self) -> Collection[str]:
        """The OAuth2 scopes that the API knows."""
        scopes: Mapping[str, Any] = self._raw["auth"]["oauth2"]["scopes"]
        return scopes.keys()

    def method(self, method_id: str) -> Method:
        """
        The method of this id, such as `compute.instances.insert`.

        :raises DiscoveryError: the API has no such method.
        """
        try:
            return self._methods[method_id]
        except KeyError as exc:
            raise DiscoveryError(f"the {self.name} v1 API has no method {method_id!r}") from exc

    def schema(self, name: str) -> Json:
        """
        The schema of this name, as it stands in the document; not to be changed.

        :raises DiscoveryError: the API has no such schema.
        """
        try:
            found: Json = self._raw["schemas"][name]
        except KeyError as exc:
            raise DiscoveryError(f"the {self.name} v1 API has no schema {name!r}") from exc
        return found

    def kind_of(self, schema: str) -> str | None:
        """The value of `kind` for objects of a schema: `compute#instance` for Instance; None when it has none."""
        default: str | None = self.schema(schema).get("properties", {}).get("kind", {}).get("default")
        return default

    def item_schema(self, method: Method) -> str | None:
        """
        The schema of what a list method lists: Instance for instances.list and instances.aggregatedList.

        Newer APIs name the list for what is in it, `projects`. None when the method's response holds no list.
        """
        if method.response is None:
            return None
        properties = self.schema(method.response).get("properties", {})
        items = properties.get("items") or properties.get(method.collection, {})
        if "additionalProperties" in items:
            scoped = self.schema(items["additionalProperties"]["$ref"])["properties"]
            items = next((part for part in scoped.values() if part.get("type") == "array"), {})
        reference: str | None = items.get("items", {}).get("$ref")
        return reference

    def served(self, implemented: Collection[str], root_url: str) -> Json:
        """
        The discovery document of just the methods of these ids, and the schemas that they reach.

        :param root_url: absolute URL, ending in a slash, under which the server is reached.
        :raises DiscoveryError: an id that is not in the document.

        Source: google-api-python-client and gcutil follow `rootUrl`, `servicePath` and `batchPath` blindly; the
        scopes stay, as google-auth asks for them all.
        """
        chosen = [self.method(method_id) for method_id in sorted(implemented)]
        tree: Json = {}
        for method in chosen:
            facts = self._raw["resources"][method.collection]["methods"][method.name]
            tree.setdefault(method.collection, {"methods": {}})["methods"][method.name] = facts
        roots = {name for method in chosen for name in (method.request, method.response) if name}
        reached = self._reach(roots)
        return {
            **self._raw,
            "rootUrl": root_url,
            "baseUrl": root_url + self.service_path,
            "resources": tree,
            "schemas": {name: facts for name, facts in self._raw["schemas"].items() if name in reached},
        }

    def directory_item(self, root_url: str) -> Json:
        """
        The API in the list of those that are served.

        Source: discovery.apis.list of the Google API Discovery Service.
        """
        return {
            "kind": "discovery#directoryItem",
            "id": self._raw["id"],
            "name": self.name,
            "version": self._raw["version"],
            "title": self._raw["title"],
            "discoveryRestUrl": root_url + self.rest_path,
            "discoveryLink": f"./apis{self.rest_path.removeprefix(DIRECTORY_PATH)}",
            "preferred": True,
        }

    def _reach(self, roots: Iterable[str]) -> set[str]:
        reached: set[str] = set()
        waiting = list(roots)
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting.extend(_references(self.schema(name)))
        return reached


def apply_patch(document: Json, patch: Mapping[str, Any]) -> None:
    """
    Apply one JSON patch (RFC 6902: add, replace, remove; objects only) in place.

    A part of the path that is `*` stands for all members in which the path goes on.
    :raises DiscoveryError: the patch has no `why`, an unknown `op`, or its place is not in the document.
    """
    op, path = patch.get("op"), str(patch.get("path", ""))
    if not patch.get("why") or op not in ("add", "replace", "remove"):
        raise DiscoveryError(f"patch {path}: needs a why, and an op of add, replace or remove")
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    try:
        for node in _places(document, parents):
            if op != "add":
                del node[last]
            if op != "remove":
                node[last] = patch["value"]
    except (KeyError, TypeError) as exc:
        raise DiscoveryError(f"patch {path}: no such place in the document") from exc


def _places(node: Any, path: Sequence[str]) -> list[Any]:
    """Where a path leads to; at least one place. :raises KeyError, TypeError: it leads nowhere."""
    for index, part in enumerate(path):
        if part == "*":
            found = []
            for child in node.values():
                with contextlib.suppress(KeyError, TypeError):
                    found += _places(child, path[index + 1 :])
            if not found:
                raise KeyError("*")
            return found
        node = node[part]
    return [node]


def _methods(collection: str, methods: Mapping[str, Json]) -> Iterable[Method]:
    for name, facts in methods.items():
        segments, captures = _shape(facts["path"], facts.get("flatPath") or facts["path"])
        yield Method(
            id=facts["id"],
            collection=collection,
            name=name,
            http_method=facts["httpMethod"],
            path=facts["path"],
            segments=segments,
            captures=captures,
            parameters={key: _parameter(key, value) for key, value in facts.get("parameters", {}).items()},
            request=facts.get("request", {}).get("$ref"),
            response=facts.get("response", {}).get("$ref"),
            scopes=frozenset(facts.get("scopes", [])),
        )


def _shape(path: str, flat_path: str) -> tuple[tuple[str | None, ...], tuple[Capture, ...]]:
    """`{+parent}` stands for several segments; `flatPath` spells them out, so it has that many more."""
    flat = flat_path.replace("}:", "}/:").split("/")
    parts = path.replace("}:", "}/:").split("/")
    captures = []
    position = 0
    for part in parts:
        width = 1 + len(flat) - len(parts) if part.startswith("{+") else 1
        if part.startswith("{"):
            captures.append(Capture(part.strip("{+}"), position, position + width))
        position += width
    segments = tuple(None if segment.startswith("{") else segment for segment in flat)
    return segments, tuple(captures)


def _parameter(name: str, facts: Mapping[str, Any]) -> Parameter:
    return Parameter(
        name=name,
        location=facts["location"],
        type=facts["type"],
        format=facts.get("format", ""),
        required=facts.get("required", False),
        repeated=facts.get("repeated", False),
        default=facts.get("default"),
        enum=frozenset(facts.get("enum", ())),
        pattern=facts.get("pattern", ""),
        minimum=int(facts["minimum"]) if "minimum" in facts else None,
        maximum=int(facts["maximum"]) if "maximum" in facts else None,
    )


def _references(node: Mapping[str, Any]) -> Iterable[str]:
    if "$ref" in node:
        yield node["$ref"]
    for child in node.get("properties", {}).values():
        yield from _references(child)
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from _references(node[key])
