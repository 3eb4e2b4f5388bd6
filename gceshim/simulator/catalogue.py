"""The catalogue of commands: what each takes, what it answers, and the check that replies keep to it."""

import functools
import json
import pathlib
from dataclasses import dataclass
from typing import Any

Shape = dict[str, Any]

CATALOGUE_FILE = pathlib.Path(__file__).with_name("catalogue.json")

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int": (int,),
    "long": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "list<map>": (list,),
    "map": (dict,),
    "object": (object,),
}


class CatalogueError(Exception):
    """A reply holds a field that the catalogue does not know, or one of the wrong type: a fault of the simulator."""


@dataclass(frozen=True)
class Parameter:
    """One parameter. ``kind`` is string, int, long, float, bool, list, map or list<map>."""

    name: str
    kind: str
    required: bool


@dataclass(frozen=True)
class CommandSpec:
    """One command: ``kind`` is the form of its reply (list, object, success or unwrapped), ``key`` its name there."""

    name: str
    is_async: bool
    kind: str
    key: str
    submit_id: bool
    params: dict[str, Parameter]
    response: Shape

    @property
    def response_name(self) -> str:
        return f"{self.name.lower()}response"


class Catalogue:
    """All commands the simulator knows, from ``catalogue.json``."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.commands: dict[str, CommandSpec] = {}
        for name, entry in content["commands"].items():
            params = {
                wire.lower(): Parameter(wire.lower(), param["type"], bool(param.get("required")))
                for wire, param in entry["params"].items()
            }
            self.commands[name] = CommandSpec(
                name=name,
                is_async=entry["async"],
                kind=entry["kind"],
                key=entry["key"] or "",
                submit_id=entry.get("submit_id", False),
                params=params,
                response=entry["response"] or {},
            )


@functools.cache
def load_catalogue() -> Catalogue:
    """Read the packaged catalogue, once a process."""
    return Catalogue(json.loads(CATALOGUE_FILE.read_text()))


def check_row(row: dict[str, Any], shape: Shape, where: str) -> None:
    """Verify one object of a reply.

    :raises CatalogueError: naming the first field that is unknown, null or of another type.
    """
    for name, value in row.items():
        if name not in shape:
            raise CatalogueError(f"{where}.{name} is not in the catalogue")
        declared = shape[name]
        if isinstance(declared, list):
            if not isinstance(value, list):
                raise CatalogueError(f"{where}.{name} is not a list")
            for item in value:
                check_row(item, declared[0], f"{where}.{name}")
        elif isinstance(declared, dict):
            check_row(value, declared, f"{where}.{name}")
        elif value is None or not isinstance(value, _TYPES[declared]):
            raise CatalogueError(f"{where}.{name} is {value!r}, not {declared}")
        elif isinstance(value, bool) and declared not in ("bool", "object"):
            raise CatalogueError(f"{where}.{name} is a boolean, not {declared}")
