"""
Mutations with a failure at each of their steps.

What a mutation needs is made once, and kept: all that the simulated cloud holds, and the files of the server. The
mutation is carried out in a copy of that without faults, and it is noted which commands it sent that change anything.
Then, for each of them and each way in which it can fail, the same is done in a copy where just that goes wrong. In
the end the cloud holds what it held before and the operation names the cause, or what it held after the first run.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gceshim.protocol.discovery import Document
from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.testing.gce import Body, Gce
from gceshim.testing.world import World
from tests import snapshots
from tests.resources.holdings import holdings

#: Answers with the operation that it began.
Mutation = Callable[[Gce], Awaitable[Body]]
Preparation = Callable[[World, Gce], Awaitable[object]]

CAUSE = "the storage is on fire"
READS = ("list", "get", "query")


@dataclass(frozen=True)
class Fault:
    """One way for a mutation to fail: the nth call of a command."""

    name: str
    command: str
    skip: int

    def __str__(self) -> str:
        return f"{self.name} at {self.command} {self.skip + 1}"


@dataclass
class Report:
    """What came of it: the faults that were survived, and those that failed, with the message."""

    survived: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Start:
    """A world that was prepared and is closed: the server's folder, and what the simulated cloud held."""

    document: Document
    settings: SimulatorSettings
    home: Path
    cloud: bytes
    state: Counter[str]

    @asynccontextmanager
    async def copy(self) -> AsyncIterator[tuple[World, Gce]]:
        """Another world that goes on from here, which has read all that there is, and a client of it."""
        home = _fresh(self.home.parent)
        shutil.copytree(self.home, home, dirs_exist_ok=True)
        world = World(home, self.document, self.settings)
        snapshots.put_back(world.cloudstack, self.cloud)
        async with world:
            gce = await world.gce()
            assert await _state(gce, world.cloudstack) == self.state
            yield world, gce


@dataclass
class Scenario:
    """
    A mutation and what it needs.

    :param prepare: makes what is there before. :param mutate: begins the operation.
    :param first: makes more before that.
    :param forward: it cannot be taken back: when it fails it is asked for again, and must then go well.
    """

    prepare: Preparation
    mutate: Mutation
    first: Preparation | None = None
    forward: bool = False
    settings: SimulatorSettings = field(default_factory=lambda: SimulatorSettings(job_seconds=0.002))

    async def run(self, document: Document, folder: Path) -> Report:
        """Without faults, then with each. :param folder: for the worlds' stores."""
        report = Report()
        start = await self._start(document, folder)
        async with start.copy() as (world, gce):
            count = world.cloudstack.call_counts.total()
            operation = await gce.done(await self.mutate(gce))
            assert "error" not in operation, operation["error"]
            after = await _state(gce, world.cloudstack)
            assert after != start.state
            sent = list(world.cloudstack.calls)[-(world.cloudstack.call_counts.total() - count) :]
            faults = list(_faults(world.cloudstack, sent))
        for fault in faults:
            async with start.copy() as (world, gce):
                await self._with(world, gce, fault, report, before=start.state, after=after)
        return report

    async def _start(self, document: Document, folder: Path) -> Start:
        home = _fresh(folder)
        async with World(home, document, self.settings) as world:
            gce = await world.gce()
            if self.first is not None:
                await self.first(world, gce)
            await self.prepare(world, gce)
            state = await _state(gce, world.cloudstack)
        return Start(document, self.settings, home, snapshots.taken(world.cloudstack), state)

    async def _with(
        self, world: World, gce: Gce, fault: Fault, report: Report, *, before: Counter[str], after: Counter[str]
    ) -> None:
        struck = world.cloudstack.faults.add(fault.name, fault.command, 1, skip=fault.skip, text=CAUSE, status=502)
        operation = await gce.done(await self.mutate(gce))
        world.cloudstack.faults.clear()
        state = await _state(gce, world.cloudstack)
        if not struck.hits:
            report.problems.append(f"{fault}: it never struck")
        elif "error" not in operation:
            report.survived.append(str(fault))
            report.problems += _differences(f"{fault}, survived", state, after)
        else:
            message = operation["error"]["errors"][0]["message"]
            report.failed[str(fault)] = message
            if self.forward and state != before:
                operation_again = await gce.done(await self.mutate(gce))
                assert "error" not in operation_again, operation_again["error"]
                state, before = await _state(gce, world.cloudstack), after
            report.problems += _differences(f"{fault}, failed ({message})", state, before)
            if not _names_cause(fault, operation):
                report.problems.append(f"{fault}: the cause is not named: {operation['error']}")
        if list(world.cloudstack.bugs):
            report.problems.append(f"{fault}: {list(world.cloudstack.bugs)}")


def _fresh(folder: Path) -> Path:
    made = folder / str(sum(1 for _ in folder.iterdir()))
    made.mkdir()
    return made


def _faults(cloudstack: Simulator, sent: list[str]) -> Iterator[Fault]:
    counts: Counter[str] = Counter()
    for command in sent:
        if command.startswith(READS):
            continue
        spec = cloudstack.cloud.spec(command)
        names = ("failing_job", "http_error", "lost_reply") if spec and spec.is_async else ("http_error", "lost_reply")
        for name in names:
            yield Fault(name, command, counts[command])
        counts[command] += 1


async def _state(gce: Gce, cloudstack: Simulator) -> Counter[str]:
    """What CloudStack holds, and what GCE shows of it."""
    shown: Counter[str] = Counter()
    for method, parameters in (
        ("compute.instances.aggregatedList", {}),
        ("compute.disks.aggregatedList", {}),
        ("compute.firewalls.list", {}),
    ):
        body = await gce.call(method, project="demo", **parameters)
        items: Any = body.get("items") or []
        if isinstance(items, Mapping):
            items = [item for scope in items.values() for found in scope.values() for item in found if "name" in item]
        shown.update(f"{method} shows {item['name']}: {_lasting(item)}" for item in items)
    return holdings(cloudstack) + shown


VARYING = {
    "creationTimestamp",
    "fingerprint",
    "id",
    "lastAttachTimestamp",
    "natIP",
    "networkIP",
    "selfLink",
    "source",
    "targetId",
    "users",
}


def _lasting(value: Any) -> Any:
    """A resource without what differs from run to run."""
    if isinstance(value, dict):
        return {name: _lasting(item) for name, item in sorted(value.items()) if name not in VARYING}
    if isinstance(value, list):
        return [_lasting(item) for item in value]
    return value.partition("/compute/v1/")[2] or value if isinstance(value, str) else value


def _differences(what: str, state: Counter[str], wanted: Counter[str]) -> list[str]:
    more = [f"{what}: + {line}" for line in (state - wanted).elements()]
    return more + [f"{what}: - {line}" for line in (wanted - state).elements()]


def _names_cause(fault: Fault, operation: Body) -> bool:
    """CloudStack's own words, or that it gave no sensible answer."""
    [problem, *_] = operation["error"]["errors"]
    if fault.name == "failing_job":
        return CAUSE in problem["message"]
    return "CloudStack" in problem["message"] and operation["httpErrorStatusCode"] in (503, 504)
