"""
A server killed at each step of the mutations that have several: just before a call to CloudStack takes effect, and
just after, when its answer has not come yet.

The calls are held by faults of the simulator. As many operations as can be are brought to their points one after
another, each of them to another one; then the server is killed, and all go on in the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gceshim.simulator import SimulatorSettings
from gceshim.simulator.faults import Fault
from gceshim.simulator.settings import ZoneSettings
from tests.lab import estate
from tests.lab.mutations import PROJECT, Mutation, rule_body
from tests.lab.servers import Laboratory
from tests.lab.storm import Clients, Outcome, judged
from tests.resources.requests import HERE, insert_body

READS = ("list", "get", "query")
REACHED_SECONDS = 20.0
#: Calls during which others of the tenant wait: for a name to be taken, for the firewall, for news of jobs.
ALONE = ("createVolume", "FirewallRule", "queryAsyncJobResult")
FRONT = "front"
SCENARIOS = ("insert", "delete", "patch")


@dataclass(frozen=True)
class Point:
    """
    The call of an operation at which its server dies.

    :param how: "before" it took effect, "after" that, or "late": it takes effect when the server is dead already.
    """

    scenario: str
    command: str
    nth: int
    how: str

    def __str__(self) -> str:
        return f"{self.scenario}: {self.how} {self.command} {self.nth + 1}"

    @property
    def alone(self) -> bool:
        """Whether it keeps other operations of its tenant from going on, so that it is to be the last of a round."""
        return self.scenario == "patch" or self.command.endswith(ALONE)


class Scenarios:
    """Mutations with many steps, as many of each as one likes."""

    def __init__(self) -> None:
        self._serial = 0

    def insert(self, name: str, **members: Any) -> Mutation:
        """A machine with two disks and a public address, at which the rules are in force."""
        body = insert_body(name, external=True, labels={"made": "here"}, **members)
        come = [estate.machine(name), estate.boot_disk(name), estate.label("machine", name, "made", "here")]
        come.append(estate.address(name))
        for index in range(2):
            disk = f"{name}-{index}"
            body["disks"].append({"autoDelete": True, "initializeParams": {"diskName": disk, "diskSizeGb": "7"}})
            come.append(estate.disk(disk, 7, name))
        return Mutation(f"insert {name}", "compute.instances.insert", {**HERE, "body": body}, tuple(come))

    def delete(self, name: str) -> Mutation:
        """The same in reverse."""
        gone = self.insert(name).come
        return Mutation(f"delete {name}", "compute.instances.delete", {**HERE, "instance": name}, (), gone)

    def rule(self, name: str, port: int, target: str = "") -> Mutation:
        """A rule for all machines, or for those of a network tag."""
        arguments = {**PROJECT, "body": rule_body(name, port, target)}
        return Mutation(f"insert {name}", "compute.firewalls.insert", arguments, (estate.rule(name, port, "", target),))

    def patch(self, name: str, port: int, target: str) -> Mutation:
        """A rule that is to open another port."""
        body = {"allowed": [{"IPProtocol": "tcp", "ports": [str(port + 5)]}], "description": "patched"}
        arguments = {**PROJECT, "firewall": name, "body": body}
        come, gone = estate.rule(name, port + 5, "patched", target), estate.rule(name, port, "", target)
        return Mutation(f"patch {name}", "compute.firewalls.patch", arguments, (come,), (gone,))

    def first(self) -> list[Mutation]:
        """A machine that has a network tag, whose name is the tag too, and a rule for all machines."""
        return [self.insert(FRONT, tags={"items": [FRONT]}), self.rule("for-all", 4000)]

    def pair(self, scenario: str) -> tuple[list[Mutation], Mutation]:
        """What is to be done before, and the mutation itself, about something new."""
        self._serial += 1
        number = self._serial
        if scenario == "insert":
            return [], self.insert(f"new-{number}")
        if scenario == "delete":
            return [self.insert(f"old-{number}")], self.delete(f"old-{number}")
        name, port = f"rule-{number}", 5000 + 10 * number
        return [self.rule(name, port, FRONT)], self.patch(name, port, FRONT)


async def boundaries(folder: Path, scenario: str, *, side_by_side: int = 1, thorough: bool = False) -> Outcome:
    """
    All points of a scenario: "insert", "delete" or "patch".

    :param side_by_side: clouds, each with a part of the points. :param thorough: also while jobs are asked about, and
        calls that take effect late.
    """
    outcome = Outcome(0)

    async def part(number: int) -> None:
        # One zone: in others rules are other calls. No address of the account's is to be the last one.
        cloud = SimulatorSettings(
            zones=(ZoneSettings("Sandbox 1"),), limits={"public_ip": -1}, remembered_calls=100_000
        )
        place = folder / str(number)
        place.mkdir()
        # Dead servers are to be noticed soon; and a question that is held is not to be a list of all jobs.
        settings = {"operations.lease_seconds": 1.0, "operations.poll_few_jobs": 100}
        async with Laboratory(place, cloud, settings) as laboratory:
            run = _Run(laboratory, outcome)
            await run.prepare()
            for points in _rounds(await run.points(scenario, thorough=thorough))[number::side_by_side]:
                await run.round(points)
            outcome.problems += await judged(laboratory, run.mutations, run.clients, run.before)
            outcome.problems += [f"failed: {line}" for line in run.clients.failures()]

    await asyncio.gather(*(part(number) for number in range(side_by_side)))
    return outcome


class _Run:
    def __init__(self, laboratory: Laboratory, outcome: Outcome) -> None:
        self.clients = Clients(laboratory, 0)
        self.mutations: list[Mutation] = []
        self.before = estate.found(laboratory.cloudstack)
        self._laboratory = laboratory
        self._outcome = outcome
        self._scenarios = Scenarios()

    async def prepare(self) -> None:
        """Make what all scenarios need: the first machine brings the network."""
        for mutation in self._scenarios.first():
            await self._carry_out(mutation)

    async def points(self, scenario: str, *, thorough: bool) -> list[Point]:
        """Carry a scenario out undisturbed, and see where it can be disturbed."""
        sent = await self.undisturbed(scenario)
        hows = ("before", "after", "late") if thorough else ("before", "after")
        found = []
        for index, command in enumerate(sent):
            nth = sent[:index].count(command)
            if not command.startswith(READS):
                found += [Point(scenario, command, nth, how) for how in hows]
            elif thorough and command == "queryAsyncJobResult":
                found.append(Point(scenario, command, nth, "after"))
        return found

    async def undisturbed(self, scenario: str) -> list[str]:
        """Carry a scenario out; the commands that it sent."""
        cloudstack = self._laboratory.cloudstack
        mutation = await self._ready(scenario)
        count = cloudstack.call_counts.total()
        await self._carry_out(mutation)
        return list(cloudstack.calls)[count:]

    async def round(self, points: Sequence[Point]) -> None:
        """Bring an operation to each point, kill the server, and see them through."""
        [server] = self._laboratory.servers
        ready = [(point, await self._ready(point.scenario)) for point in points]
        held: list[tuple[Point, Fault]] = []
        asked: list[asyncio.Task[None]] = []
        for point, mutation in ready:
            name = "held_reply" if point.how == "after" else "held_request"
            fault = self._laboratory.cloudstack.faults.add(name, point.command, 1, skip=point.nth)
            asked.append(asyncio.ensure_future(self._carry_out(mutation)))
            try:
                await asyncio.wait_for(fault.reached.wait(), REACHED_SECONDS)
                held.append((point, fault))
            except TimeoutError:
                self._outcome.problems.append(f"never struck: {point}")
        await server.kill()
        self._outcome.kills += len(held)
        for point, fault in held:
            fault.release(lost=point.how == "before")
        self._laboratory.cloudstack.faults.clear()
        await server.start()
        await asyncio.gather(*asked)

    async def _ready(self, scenario: str) -> Mutation:
        before, mutation = self._scenarios.pair(scenario)
        for earlier in before:
            await self._carry_out(earlier)
        return mutation

    async def _carry_out(self, mutation: Mutation) -> None:
        self.mutations.append(mutation)
        await self.clients.carry_out(mutation)


def _rounds(points: Iterable[Point]) -> list[list[Point]]:
    """The points in as few rounds as can be; in each, one at most that keeps others out, and that last."""
    points = list(points)
    last = [[point] for point in points if point.alone] or [[]]
    rounds: list[list[Point]] = [[] for _ in last]
    for index, point in enumerate(point for point in points if not point.alone):
        rounds[index % len(rounds)].append(point)
    return [first + end for first, end in zip(rounds, last, strict=True)]
