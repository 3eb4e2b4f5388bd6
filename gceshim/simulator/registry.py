"""How a command of the simulator is declared, and what its function may return."""

import enum
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gceshim.simulator.entities import Record

if TYPE_CHECKING:
    from gceshim.simulator.call import Call

Row = dict[str, Any]
Work = Callable[["Call"], Awaitable[Row | None]]


class Provenance(enum.Enum):
    """Where a command's behaviour is known from."""

    RECORDED = "recorded"  # a recorded reply of a real server
    DOCUMENTED = "documented"  # the server's source or documentation
    ASSUMED = "assumed"  # author knowledge


@dataclass(frozen=True)
class Listing:
    """The result of a list command: the matching rows, and the view that shows one."""

    rows: Sequence[Any]
    view: Callable[[Any], Row]


@dataclass(frozen=True)
class Created:
    """The result of the first part of an asynchronous create command: the new record, and the rest of the work."""

    record: Record
    work: Work


@dataclass(frozen=True)
class Handler:
    """One declared command.

    A coroutine function is the work of a job: all that it refuses shows through the job. A plain function answers at
    once; for an asynchronous create command it returns ``Created``.
    """

    name: str
    provenance: Provenance
    run: Callable[["Call"], Any]
    subject: type[Record] | None = None
    entities: Mapping[str, type[Record] | None] = field(default_factory=dict)
    admin_only: bool = False
    java_class: str = ""
    instance_type: str | None = None
    event: str = ""

    @property
    def in_job(self) -> bool:
        return inspect.iscoroutinefunction(self.run)


def command(
    name: str,
    provenance: Provenance,
    *,
    subject: type[Record] | None = None,
    entities: Mapping[str, type[Record] | None] | None = None,
    admin_only: bool = False,
    java: str = "",
    instance: str | None = None,
    event: str = "",
) -> Callable[[Callable[["Call"], Any]], Handler]:
    """Declare the function below as the named command.

    ``subject`` is the kind of record that ``id`` and ``ids`` name; ``entities`` adds parameters that name records to
    those known for all commands (None: text after all); ``java`` is the class shown as ``cmd`` of its jobs,
    ``instance`` their ``jobinstancetype``; ``event`` the type of event that is recorded when it is done.
    """

    def declare(function: Callable[["Call"], Any]) -> Handler:
        shown = java or f"{name[0].upper()}{name[1:]}Cmd"
        return Handler(
            name=name,
            provenance=provenance,
            run=function,
            subject=subject,
            entities=entities or {},
            admin_only=admin_only,
            java_class=shown,
            instance_type=instance,
            event=event,
        )

    return declare


def collect(modules: Iterable[ModuleType]) -> dict[str, Handler]:
    """All commands declared in these modules, by name.

    :raises ValueError: if two have one name.
    """
    found: dict[str, Handler] = {}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, Handler):
                if value.name in found and found[value.name] is not value:
                    raise ValueError(f"command {value.name} is declared twice")
                found[value.name] = value
    return found
