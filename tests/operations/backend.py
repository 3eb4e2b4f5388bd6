"""
A backend in memory for workflows to act on, and processes that die.

`Backend` keeps count of what was made and asked. `Life` is one server process: it may be given a number of points
(before and after each write to the store and each act on the backend) after which it stops dead, in that it never
comes back from that point.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gceshim.drivers import errors
from gceshim.drivers.base import Jobs, Steps, Submitted
from gceshim.model import Credentials, Job, JobState, Tenant
from gceshim.operations.engine import Engine
from gceshim.operations.record import Failure, Operation
from gceshim.operations.settings import OperationsSettings
from gceshim.stores.base import OperationRecord, OperationStore, Store
from gceshim.stores.sqlite import SqliteStore

FAST = OperationsSettings(
    poll_min_seconds=0.001,
    poll_max_seconds=0.005,
    poll_sweep_seconds=0.002,
    late_seconds=0.01,
    orphan_seconds=0.01,
    heartbeat_seconds=1000.0,
    sweep_seconds=1000.0,
    reread_seconds=0.002,
    handover_seconds=0.05,
)


def tenant(owner: str = "owner", subject: str = "subject") -> Tenant:
    return Tenant(subject, Credentials("key", "very-secret"), "project", owner)


class Clock:
    """The time of day, which stands still until it is told to go on."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Life:
    """One process, from its start to its sudden end after a number of points; None: it lives on."""

    def __init__(self, points: int | None = None) -> None:
        self.points = points
        self.over = asyncio.Event()

    async def point(self) -> None:
        if self.points is not None:
            self.points -= 1
            if self.points < 0:
                self.over.set()
        if self.over.is_set():
            await asyncio.get_running_loop().create_future()


class MortalOperations(OperationStore):
    """The operations of a store, as one process reaches them: no more once it is dead."""

    def __init__(self, inner: OperationStore, life: Life) -> None:
        self._inner = inner
        self._life = life
        self.writes = 0

    async def _write(self, call: Any) -> Any:
        self.writes += 1
        try:
            await self._life.point()
        except asyncio.CancelledError:
            call.close()
            raise
        result = await call
        await self._life.point()
        return result

    async def insert(self, record: OperationRecord) -> None:
        await self._write(self._inner.insert(record))

    async def get(self, name: str) -> OperationRecord | None:
        return await self._inner.get(name)

    async def find_id(self, owner: str, operation_id: int) -> OperationRecord | None:
        return await self._inner.find_id(owner, operation_id)

    async def find_request(self, owner: str, request_id: str) -> OperationRecord | None:
        return await self._inner.find_request(owner, request_id)

    async def list(self, owner: str, **options: Any) -> Sequence[OperationRecord]:
        return await self._inner.list(owner, **options)

    async def update(self, record: OperationRecord) -> OperationRecord:
        stored: OperationRecord = await self._write(self._inner.update(record))
        return stored

    async def delete(self, name: str, version: int) -> None:
        await self._write(self._inner.delete(name, version))

    async def lapsed(self, now: datetime, *, limit: int = 100) -> Sequence[OperationRecord]:
        return await self._inner.lapsed(now, limit=limit)

    async def claim(self, name: str, holder: str, *, now: datetime, until: datetime) -> OperationRecord | None:
        claimed: OperationRecord | None = await self._write(self._inner.claim(name, holder, now=now, until=until))
        return claimed

    async def renew(self, holder: str, names: Collection[str], until: datetime) -> frozenset[str]:
        return await self._inner.renew(holder, names, until)

    async def release(self, holder: str, names: Collection[str]) -> None:
        await self._inner.release(holder, names)

    async def unfinished(self, names: Collection[str]) -> frozenset[str]:
        return await self._inner.unfinished(names)


class MortalStore(Store):
    """A store as one process reaches it. Opening and closing are the owner's business."""

    def __init__(self, inner: Store, life: Life) -> None:
        self._inner = inner
        self.mortal = MortalOperations(inner.operations, life)
        self.operations = self.mortal
        self.credentials = inner.credentials
        self.tokens = inner.tokens
        self.documents = inner.documents

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def ping(self) -> None:
        await self._inner.ping()

    async def schema_version(self) -> int:
        return await self._inner.schema_version()

    async def purge(self, now: datetime, *, limit: int = 1000) -> int:
        return await self._inner.purge(now, limit=limit)


class How(enum.Enum):
    """What becomes of a call."""

    WORKS = "works"
    REFUSED = "refused"  # nothing is made
    LOST = "lost"  # it is made, but the answer never comes
    JOB_FAILS = "job fails"  # nothing is made in the end


@dataclass(frozen=True, slots=True)
class Act:
    """One step of a planned workflow; `rounds`: how often its job is asked about before it has ended."""

    job: bool
    how: How = How.WORKS
    rounds: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    acts: tuple[Act, ...]
    wait_for: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """What a workflow returns."""

    id: int


@dataclass
class Backend(Jobs):
    """`made`: how often each thing was made, by "<operation>/<step>"."""

    life: Life = field(default_factory=Life)
    made: Counter[str] = field(default_factory=Counter)
    jobs: dict[str, Job] = field(default_factory=dict)
    rounds: Counter[str] = field(default_factory=Counter)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    gets: int = 0
    sweeps: int = 0
    sweeping: bool = True
    trouble: Exception | None = None
    """Raised by all questions about jobs while it is set."""
    silent: bool = False
    """Whether workflows find the backend gone when they are resumed."""

    async def get(self, tenant: Tenant, job_id: str) -> Job:
        self.gets += 1
        if self.trouble is not None:
            raise self.trouble
        if job_id not in self.jobs:
            raise errors.NotFound("no such job")
        self.rounds[job_id] -= 1
        if self.rounds[job_id] > 0:
            return Job(job_id, JobState.PENDING)
        return self.jobs[job_id]

    async def pending(self, tenant: Tenant) -> frozenset[str] | None:
        self.sweeps += 1
        if self.trouble is not None:
            raise self.trouble
        if not self.sweeping:
            return None
        for job_id in self.jobs:
            self.rounds[job_id] -= 1
        return frozenset(job_id for job_id in self.jobs if self.rounds[job_id] > 0)

    def begin_job(self, job_id: str, *, rounds: int = 1, fails: bool = False) -> None:
        self.rounds[job_id] = rounds
        self.jobs[job_id] = (
            Job(job_id, JobState.FAILED, error="CapacityExhausted", message="no room", detail="host h")
            if fails
            else Job(job_id, JobState.DONE, result={"job": job_id})
        )

    async def carry_out(self, steps: Steps, plan: Plan) -> Made:
        """A workflow: its acts in order; after a failed one, one more that undoes it."""
        if plan.wait_for:
            await self.gates[plan.wait_for].wait()
        for number, act in enumerate(plan.acts):
            try:
                await self._step(steps, f"step {number}", act)
            except errors.DriverError:
                steps.warn("UNDONE", "What was made is removed again.", step=str(number))
                await self._step(steps, "undo", Act(job=False))
                raise
            await steps.progress(number + 1)
        return Made(42)

    async def _step(self, steps: Steps, name: str, act: Act) -> None:
        key = f"{steps.operation}/{name}"

        async def action() -> Any:
            await self.life.point()
            if act.how is How.REFUSED:
                raise errors.QuotaExceeded("too many", detail="limit 3", kind="instance", name="n")
            self.made[key] += 1
            if act.job:
                self.begin_job(key, rounds=act.rounds, fails=act.how is How.JOB_FAILS)
            await self.life.point()
            if act.how is How.LOST:
                raise errors.Timeout("no answer")
            return {"made": key}

        async def submit() -> Submitted:
            await action()
            return Submitted(key, "object")

        async def find() -> Any:
            await self.life.point()
            if not self.made[key]:
                return None
            return Submitted(key) if act.job else {"made": key}

        if act.job:
            await steps.job(name, submit, find=find)
        else:
            await steps.run(name, action, find=find)


def explain(error: errors.DriverError, operation: Operation) -> Failure:
    return Failure(type(error).__name__.upper(), error.message, 403, f"HTTP {type(error).__name__}")


def make_engine(
    store: Store,
    backend: Backend,
    *,
    clock: Callable[[], datetime] | None = None,
    settings: OperationsSettings = FAST,
) -> Engine:
    async def tenants(subject: str, project: str) -> Tenant:
        if backend.silent:
            raise errors.Unavailable("the backend is away")
        if subject == "removed":
            raise errors.Unauthenticated("the credentials are gone")
        return replace(tenant(), subject=subject, project=project)

    engine = Engine(store, backend, tenants, explain, settings, now=clock or Clock())
    engine.register("carry out", backend.carry_out)
    return engine


@contextlib.asynccontextmanager
async def in_memory() -> AsyncIterator[Store]:
    store = SqliteStore(":memory:")
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def started(engine: Engine) -> AsyncIterator[Engine]:
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close(0)


async def bury() -> None:
    """End all that a dead process left behind in this loop."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


async def begin(
    engine: Engine, *acts: Act, owner: str = "owner", subject: str = "subject", **options: Any
) -> Operation:
    """Begin the workflow of these acts, by default in zone z."""
    plan = Plan(acts, options.pop("wait_for", ""))
    place = {"type": "insert", "scope_kind": "zone", "scope": "z", "target": "projects/project/zones/z/instances/n"}
    return await engine.begin(tenant(owner, subject), "carry out", (plan,), **(place | options))


async def done(engine: Engine, operation: Operation, seconds: float = 10.0) -> Operation:
    """The operation at its end."""
    ended = await engine.wait(operation.owner, operation.scope_kind, operation.scope, operation.name, seconds)
    assert ended.done
    return ended
