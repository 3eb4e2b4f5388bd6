"""Many mutations in flight while the servers that carry them out are killed, or stand still."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gceshim.app import make_store
from gceshim.simulator import SimulatorSettings
from gceshim.stores.base import OperationRecord, Store
from gceshim.testing.gce import Answer, Body, NoAnswer
from tests.lab.estate import differences, found, with_openings
from tests.lab.mutations import Mix, Mutation
from tests.lab.servers import Laboratory, Server
from tests.stores.running import until

#: CloudStack calls between two kills, at least and at most.
CALLS_BETWEEN = (20, 600)
KILLS = (3, 6)
#: Of several servers one may stand still instead, for longer than it takes another to take its operations over.
PAUSE_SHARE = 0.3
PAUSE_SECONDS = 5.0
#: A disk or machine in the error of an operation that could not remove it.
LEFT_BEHIND = re.compile(r"(?:disk|virtual machine) ([-a-z0-9]+)(?=[,)])")
#: What else such an error names, and how the lines about it begin.
LEFT_IN_WORDS = {"firewall rules in CloudStack": "opening to ", "public address": "address of nothing"}
END_SECONDS = 240.0


@dataclass
class Outcome:
    """How a run ended. `problems`: whatever is not as it should be, in words; empty for a good run."""

    seed: int
    kills: int = 0
    pauses: int = 0
    failed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        what = f"{self.kills} kills, {self.pauses} pauses, {len(self.failed)} failed, {len(self.problems)} problems"
        lines = [f"seed {self.seed}: {what}"]
        lines += self.problems[:40]
        lines += [f"(failed: {line})" for line in self.failed if self.problems]
        return "\n  ".join(lines)


class Clients:
    """Those who ask for mutations: each goes on, at whichever server there is, until its operation has ended."""

    def __init__(self, laboratory: Laboratory, seed: int) -> None:
        self._laboratory = laboratory
        self._random = random.Random(seed)
        self.ended: dict[str, Body] = {}
        self.refused: dict[str, Body] = {}

    async def carry_out(self, mutation: Mutation) -> None:
        """Ask for it and wait for its end. It is asked for again, by its request id, when the answer did not come."""
        answer = await self._until_answered(mutation.method, requestId=mutation.request_id, **mutation.arguments)
        if answer.status >= 400:
            self.refused[mutation.name] = answer.body["error"]
            return
        operation = answer.body
        while operation["status"] != "DONE":
            zone = {"zone": operation["zone"].rpartition("/")[2]} if "zone" in operation else {}
            method = f"compute.{'zone' if zone else 'global'}Operations.wait"
            project = mutation.arguments["project"]
            answer = await self._until_answered(method, project=project, operation=operation["name"], **zone)
            if answer.status >= 400:
                self.refused[mutation.name] = answer.body["error"]
                return
            operation = answer.body
        self.ended[mutation.name] = operation

    def failures(self) -> list[str]:
        """The operations that ended with an error, and which."""
        return [f"{name}: {body['error']['errors']}" for name, body in self.ended.items() if "error" in body]

    async def _until_answered(self, method: str, **arguments: Any) -> Answer:
        while True:
            server = self._random.choice(self._laboratory.servers)
            with contextlib.suppress(NoAnswer):
                if not server.listens:
                    raise NoAnswer(server.url)
                answer = await self._laboratory.gce(server).answer(method, **arguments)
                if answer.status < 500 and answer.status != 429:
                    return answer
            await asyncio.sleep(0.05)


async def kills(
    folder: Path, seed: int, *, count: int = 200, servers: int = 1, settings: Mapping[str, Any] | None = None
) -> Outcome:
    """
    A run in which servers die at random points and are started again; several may stand still for a while, too.

    :param count: mutations in flight. :param settings: of the servers, by key.
    """
    outcome = Outcome(seed)
    chance = random.Random(seed)
    mix = Mix(seed, count)
    cloud = SimulatorSettings(seed=seed, machines=mix.machines, limits={"volume": -1}, remembered_calls=100_000)
    async with Laboratory(folder, cloud, settings, servers=servers) as laboratory:
        mutations = await mix.prepare(laboratory.cloudstack, laboratory.gce(laboratory.servers[0]))
        before = found(laboratory.cloudstack)
        clients = Clients(laboratory, seed)
        async with asyncio.TaskGroup() as group:
            reaper = group.create_task(_reap(laboratory, chance, outcome))
            asked = [group.create_task(clients.carry_out(mutation)) for mutation in mutations]
            _, late = await asyncio.wait(asked, timeout=END_SECONDS)
            reaper.cancel()
            outcome.problems += [
                f"not done: {m.name}" for m, task in zip(mutations, asked, strict=True) if task in late
            ]
            for task in late:
                task.cancel()
        await revive(laboratory)
        outcome.problems += await judged(laboratory, mutations, clients, before)
        outcome.failed += clients.failures()
        outcome.problems += [f"failed: {line}" for line in outcome.failed]
    return outcome


async def revive(laboratory: Laboratory) -> None:
    """Start those that are dead."""
    await asyncio.gather(*(server.start() for server in laboratory.servers if not server.alive))


async def judged(
    laboratory: Laboratory, mutations: Sequence[Mutation], clients: Clients, before: Counter[str]
) -> list[str]:
    """What the operations say, compared with what the cloud and the store hold."""
    problems = [f"refused: {name}: {error['message']}" for name, error in clients.refused.items()]
    expected = Counter(before)
    for mutation in mutations:
        ended = clients.ended.get(mutation.name)
        if ended is not None and "error" not in ended:
            expected.subtract(mutation.gone)
            expected.update(mutation.come)
    problems += [f"gone twice: {line}" for line, times in expected.items() if times < 0]
    differing = differences(_settled(found(laboratory.cloudstack)), _settled(with_openings(+expected)))
    passed_over = _named(mutations, clients)
    problems += [line for line in differing if not any(what in line for what in passed_over)]
    async with opened(laboratory) as store:
        problems += await _recorded(store, mutations, clients)
    return problems + laboratory.mistakes()


def _named(mutations: Sequence[Mutation], clients: Clients) -> list[str]:
    """What operations that failed have said they could not remove or put back."""
    named = []
    for mutation in mutations:
        error = str(clients.ended.get(mutation.name, {}).get("error", ""))
        if "left behind" in error:
            named += [*mutation.come, *mutation.gone, *(f" {name}" for name in LEFT_BEHIND.findall(error))]
            named += [line for words, line in LEFT_IN_WORDS.items() if words in error]
    return named


@contextlib.asynccontextmanager
async def opened(laboratory: Laboratory) -> AsyncIterator[Store]:
    """The store of the servers, as one more process sees it."""
    store = make_store(laboratory.settings)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def _recorded(store: Store, mutations: Sequence[Mutation], clients: Clients) -> list[str]:
    problems = []
    left = await store.operations.lapsed(datetime.now(UTC) + timedelta(days=1), limit=1000)
    problems += [f"a lease is left over: {record.name} of {record.lease_holder!r}, {_place(record)}" for record in left]
    owners = {record.owner for record in left}
    for mutation in mutations:
        ended = clients.ended.get(mutation.name)
        if ended is None:
            continue
        record = await store.operations.get(ended["name"])
        if record is None or not record.done or record.lease_holder or record.request_id != mutation.request_id:
            problems.append(f"not as it was told in the store: {mutation.name}")
        else:
            owners.add(record.owner)
    for owner in owners:
        records = await store.operations.list(owner, limit=1000)
        known = {mutation.request_id for mutation in mutations}
        counts = Counter(record.request_id for record in records if record.request_id in known)
        problems += [f"{times} operations of one request" for times in counts.values() if times != 1]
    return problems


def _place(record: OperationRecord) -> str:
    """How far an operation is that has not ended."""
    steps = record.body.get("journal") or [{"name": "the beginning"}]
    return f"{record.body['type']} of {record.body['target']} at {steps[-1]['name']}"


async def _reap(laboratory: Laboratory, chance: random.Random, outcome: Outcome) -> None:
    """Kill or halt a server after a random number of calls to CloudStack, have it go on, and so on."""
    calls = laboratory.cloudstack.call_counts
    async with asyncio.TaskGroup() as halted:
        for _ in range(chance.randint(*KILLS)):
            goal = calls.total() + chance.randint(*CALLS_BETWEEN)
            await until(lambda: calls.total() >= goal, END_SECONDS)  # noqa: B023 - it is awaited before the next
            server: Server = chance.choice(laboratory.servers)
            if len(laboratory.servers) > 1 and chance.random() < PAUSE_SHARE:
                outcome.pauses += 1
                halted.create_task(server.pause(PAUSE_SECONDS))
                continue
            await server.kill()
            outcome.kills += 1
            await server.start()


def _settled(estate: Counter[str]) -> Counter[str]:
    """Without what appears, once, with the first machine or rule, whichever it is."""
    passing = ("network default", "way out", "SecurityGroup")
    return Counter(
        {line: times for line, times in estate.items() if not line.startswith(passing) or _twice(line, times)}
    )


def _twice(line: str, times: int) -> bool:
    return line == "network default" and times > 1
