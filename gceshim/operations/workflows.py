"""The workflows that the engine can run, by name, and their arguments as JSON and back."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cattrs.preconf.json import make_converter

from gceshim.drivers.base import Steps

Workflow = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class _Entry:
    run: Workflow
    types: tuple[Any, ...]


class Workflows:
    """
    A registry of coroutine functions `workflow(steps, *arguments)`.

    Arguments are stored as JSON and rebuilt from the annotations of the workflow's parameters: frozen dataclasses,
    tuples, mappings, enums, datetimes, optional ones, and what JSON has itself.
    """

    def __init__(self) -> None:
        self._converter = make_converter()
        self._entries: dict[str, _Entry] = {}

    def register(self, name: str, workflow: Workflow) -> None:
        """
        Make a workflow known under a name that stays the same from release to release.

        :raises TypeError: a parameter has no annotation, or is not positional.
        :raises ValueError: the name is taken.
        """
        if name in self._entries:
            raise ValueError(f"workflow {name} is registered twice")
        hints = typing.get_type_hints(workflow)
        parameters = list(inspect.signature(workflow).parameters.values())
        if any(p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters) or not parameters:
            raise TypeError(f"workflow {name} must take the steps and positional parameters only")
        missing = [p.name for p in parameters[1:] if p.name not in hints]
        if missing:
            raise TypeError(f"workflow {name} has parameters without annotation: {', '.join(missing)}")
        self._entries[name] = _Entry(workflow, tuple(hints[p.name] for p in parameters[1:]))

    def dump(self, name: str, arguments: Sequence[Any]) -> tuple[Any, ...]:
        """
        The arguments as JSON values.

        :raises KeyError: no such workflow. :raises TypeError: not as many as it takes.
        """
        types = self._entries[name].types
        if len(types) != len(arguments):
            raise TypeError(f"workflow {name} takes {len(types)} arguments, {len(arguments)} given")
        return tuple(
            self._converter.unstructure(value, unstructure_as=kind)
            for kind, value in zip(types, arguments, strict=True)
        )

    async def run(self, name: str, steps: Steps, arguments: Sequence[Any]) -> Any:
        """Run a workflow with arguments as `dump` gave them. :raises KeyError: no such workflow."""
        entry = self._entries[name]
        values = [self._converter.structure(value, kind) for kind, value in zip(entry.types, arguments, strict=True)]
        return await entry.run(steps, *values)
