"""The journal: what a workflow does once is done once, wherever its processes die."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gceshim.drivers import errors
from gceshim.drivers.base import Steps, Submitted
from gceshim.operations.engine import Engine
from gceshim.operations.journal import CALL_TRIES
from gceshim.operations.record import Operation, StepState
from gceshim.stores.base import Store
from tests.stores.running import LIMIT_SECONDS, in_loop, until

from .backend import (
    FAST,
    Act,
    Backend,
    Clock,
    How,
    Life,
    MortalStore,
    begin,
    bury,
    done,
    in_memory,
    make_engine,
    started,
    tenant,
)

ACTS = st.builds(Act, job=st.booleans(), how=st.sampled_from(How), rounds=st.integers(1, 3))
LIVES = st.lists(st.integers(0, 40), max_size=4)


def ends_it(act: Act) -> bool:
    return act.how is How.REFUSED or (act.how is How.JOB_FAILS and act.job)


def expected(acts: tuple[Act, ...], name: str) -> tuple[Counter[str], list[str]]:
    """What is made, and with which error it ends, if nothing dies."""
    made: Counter[str] = Counter()
    for number, act in enumerate(acts):
        if act.how is not How.REFUSED:
            made[f"{name}/step {number}"] = 1
        if ends_it(act):
            made[f"{name}/undo"] = 1
            return made, ["QUOTAEXCEEDED" if act.how is How.REFUSED else "CAPACITYEXHAUSTED"]
    return made, []


async def live(store: Store, backend: Backend, clock: Clock, life: Life, acts: tuple[Act, ...]) -> Operation | None:
    """One process: take over what is there, or begin; to its sudden end (None) or that of the operation."""
    backend.life = life
    engine = make_engine(MortalStore(store, life), backend, clock=clock)

    async def work() -> Operation:
        await engine.start()
        operations = await engine.list("owner")
        operation = operations[0] if operations else await begin(engine, *acts)
        return await done(engine, operation, LIMIT_SECONDS)

    working = asyncio.ensure_future(work())
    dying = asyncio.ensure_future(life.over.wait())
    await asyncio.wait([working, dying], return_when=asyncio.FIRST_COMPLETED)
    if not life.over.is_set():
        dying.cancel()
        await engine.close(0)
        return working.result()
    await bury()
    clock.advance(1000)
    return None


@settings(max_examples=300, deadline=None)
@given(acts=st.lists(ACTS, max_size=4).map(tuple), deaths=LIVES)
def test_each_side_effect_happens_once_wherever_processes_die(acts: tuple[Act, ...], deaths: list[int]) -> None:
    """The promise of the journal, for any workflow and any points of sudden death."""

    async def go() -> None:
        async with asyncio.timeout(LIMIT_SECONDS), in_memory() as store:
            backend, clock = Backend(), Clock()
            ended = None
            for points in [*deaths, None]:
                ended = ended or await live(store, backend, clock, Life(points), acts)
            assert ended is not None
            made, codes = expected(acts, ended.name)
            # A record that was lost before it was acknowledged has made nothing.
            assert +backend.made == made
            assert [error.code for error in ended.errors] == codes
            assert len(ended.warnings) == len(codes)
            assert (ended.progress, ended.lease_holder) == (100, "")

    asyncio.run(go())


async def with_steps(engine: Engine, workflow: Any, name: str = "test") -> Operation:
    """Run a workflow without arguments to its end."""
    engine.register(name, workflow)
    operation = await engine.begin(
        tenant(), name, (), type="insert", scope_kind="global", scope="", target="projects/p/global/x/y"
    )
    return await done(engine, operation)


@in_loop
async def test_results_come_back_as_json() -> None:
    """A tuple that becomes a list only after a crash would be a trap."""
    seen: list[Any] = []

    async def workflow(steps: Steps) -> None:
        async def action() -> Any:
            return {"list": (1, 2), 3: None}

        seen.append(await steps.run("a", action))

    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        await with_steps(engine, workflow)
    assert seen == [{"list": [1, 2], "3": None}]


@in_loop
async def test_a_step_name_used_twice_is_a_mistake_of_the_workflow(caplog: pytest.LogCaptureFixture) -> None:
    """Otherwise the second step would silently get the first one's result."""

    async def workflow(steps: Steps) -> None:
        for _ in range(2):
            await steps.run("same", nothing)

    async def nothing() -> None:
        return None

    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        operation = await with_steps(engine, workflow)
    assert [error.code for error in operation.errors] == ["INTERNAL_ERROR"]
    assert operation.name in caplog.text


@in_loop
async def test_a_journalled_failure_is_raised_again_whole() -> None:
    """A replayed workflow must take the same way as the first run: same class, same texts."""
    raised: list[errors.DriverError] = []
    crash = asyncio.Event()

    async def workflow(steps: Steps) -> None:
        async def refuse() -> Any:
            raise errors.QuotaExceeded("m", detail="d", kind="k", name="n", field="f")

        async def other() -> Any:
            if len(raised) == 1:
                crash.set()
                await asyncio.Event().wait()

        try:
            await steps.run("a", refuse)
        except errors.DriverError as exc:
            raised.append(exc)
        await steps.run("b", other)

    clock = Clock()
    async with in_memory() as store:
        engine = make_engine(store, Backend(), clock=clock)
        first = asyncio.ensure_future(with_steps(engine, workflow))
        await crash.wait()
        await bury()
        assert first.cancelled()
        clock.advance(1000)
        second = make_engine(store, Backend(), clock=clock)
        second.register("test", workflow)
        async with started(second):
            (operation,) = await second.list("owner")
            assert (await done(second, operation)).errors == ()
    first_error, second_error = raised
    assert first_error is not second_error
    assert type(first_error) is type(second_error)
    assert vars(first_error) == vars(second_error)


@in_loop
async def test_a_job_that_the_backend_forgot_is_looked_for() -> None:
    """Backends forget jobs; what they made is still there."""
    found: list[Submitted | None] = [Submitted("", "object-7"), None]
    results: list[Any] = []

    async def workflow(steps: Steps) -> None:
        async def submit() -> Submitted:
            return Submitted("forgotten")

        for number, answer in enumerate(found):

            async def find(answer: Submitted | None = answer) -> Submitted | None:
                return answer

            results.append(await steps.job(f"step {number}", submit, find=find))

    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        operation = await with_steps(engine, workflow)
    assert results == [{"id": "object-7"}]
    assert [error.code for error in operation.errors] == ["FAILED"]


@in_loop
async def test_a_call_that_was_cut_off_and_made_nothing_is_made_again() -> None:
    """A backend that starts anew cuts off what it is asked just then; it will have nothing of it in hand."""
    calls: list[str] = []

    async def workflow(steps: Steps) -> None:
        async def action() -> Any:
            calls.append("action")
            if len(calls) < 5:
                raise errors.Unavailable("cut off")
            return 1

        async def find() -> None:
            calls.append("find")

        await steps.run("a", action, find=find)
        await steps.run("b", action)

    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        operation = await with_steps(engine, workflow)
    assert calls == ["action", "find", "action", "find", "action", "action"]
    assert operation.errors == ()


@in_loop
async def test_a_backend_that_cuts_off_each_call_fails_the_operation() -> None:
    """Although it answers when it is looked at: that goes on for some calls only."""
    calls = 0

    async def workflow(steps: Steps) -> None:
        async def action() -> Any:
            nonlocal calls
            calls += 1
            raise errors.Unavailable("cut off")

        async def find() -> None:
            return None

        await steps.run("a", action, find=find)

    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        operation = await with_steps(engine, workflow)
    assert calls == CALL_TRIES
    assert [error.code for error in operation.errors] == ["UNAVAILABLE"]


@in_loop
async def test_a_look_that_fails_is_made_again() -> None:
    """An error of the backend while it is only looked at is no outcome of what was done; but it may be for good."""
    tries: Counter[str] = Counter()

    async def workflow(steps: Steps) -> None:
        async def look() -> str:
            tries["look"] += 1
            if tries["look"] < CALL_TRIES:
                raise errors.Failed("a bad moment")
            return "seen"

        async def make() -> str:
            tries["make"] += 1
            raise errors.Unavailable("cut off")

        async def find() -> str:
            tries["find"] += 1
            if tries["find"] == 1:
                raise errors.Failed("a bad moment")
            return "made"

        async def never() -> str:
            tries["never"] += 1
            raise errors.Failed("broken")

        assert await steps.run("look", look) == "seen"
        assert await steps.run("make", make, find=find) == "made"
        await steps.run("never", never)

    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        operation = await with_steps(engine, workflow)
    assert tries == {"look": CALL_TRIES, "make": 1, "find": 2, "never": CALL_TRIES}
    assert [error.message for error in operation.errors] == ["broken"]


@in_loop
async def test_a_repeated_call_that_is_refused_for_what_the_first_one_made_has_gone_well() -> None:
    """The first one took effect late: after it was looked for, and before it was made again."""
    calls: list[str] = []

    async def workflow(steps: Steps) -> None:
        async def action() -> Any:
            calls.append("action")
            if calls.count("action") == 1:
                raise errors.Unavailable("cut off")
            raise errors.AlreadyExists("the name is taken")

        async def find() -> Any:
            calls.append("find")
            return "made" if calls.count("find") > 1 else None

        assert await steps.run("a", action, find=find) == "made"

    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        operation = await with_steps(engine, workflow)
    assert calls == ["action", "find", "action", "find"]
    assert operation.errors == ()


@in_loop
async def test_what_a_call_made_that_was_not_answered_in_time_is_found_later() -> None:
    """The backend had it in hand still when it was looked at first."""
    looks = 0

    async def workflow(steps: Steps) -> None:
        async def action() -> Any:
            raise errors.Timeout("no answer")

        async def find() -> int | None:
            nonlocal looks
            looks += 1
            return 7 if looks == 3 else None

        assert await steps.run("a", action, find=find) == 7

    patient = dataclasses.replace(FAST, late_seconds=10.0)
    async with in_memory() as store, started(make_engine(store, Backend(), settings=patient)) as engine:
        operation = await with_steps(engine, workflow)
    assert operation.errors == ()


@in_loop
async def test_what_a_process_asked_for_that_died_is_found_later() -> None:
    """The backend had it in hand still when the operation was taken over: no reason to ask for it again."""
    asked, looks = asyncio.Event(), 0

    async def workflow(steps: Steps) -> None:
        async def action() -> Any:
            assert not asked.is_set()
            asked.set()
            await asyncio.Event().wait()

        async def find() -> int | None:
            nonlocal looks
            looks += 1
            return 7 if looks == 2 else None

        assert await steps.run("a", action, find=find) == 7

    clock = Clock()
    async with in_memory() as store:
        first = asyncio.ensure_future(with_steps(make_engine(store, Backend(), clock=clock), workflow))
        await asked.wait()
        await bury()
        assert first.cancelled()
        clock.advance(1000)
        second = make_engine(store, Backend(), clock=clock)
        second.register("test", workflow)
        async with started(second):
            (operation,) = await second.list("owner")
            assert (await done(second, operation)).errors == ()


@in_loop
async def test_a_call_without_answer_that_made_nothing_fails() -> None:
    """One that timed out is not repeated: the backend may have it in hand still."""
    calls = 0

    async def workflow(steps: Steps) -> None:
        async def action() -> Any:
            nonlocal calls
            calls += 1
            raise errors.Timeout("no answer")

        async def find() -> None:
            return None

        await steps.run("a", action, find=find)

    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        operation = await with_steps(engine, workflow)
    assert calls == 1
    assert [error.code for error in operation.errors] == ["TIMEOUT"]


@in_loop
async def test_a_job_costs_two_writes() -> None:
    """Insert, then start and job id of each job, then the end: every write is a flush to disk."""
    async with in_memory() as store:
        mortal = MortalStore(store, Life())
        async with started(make_engine(mortal, Backend())) as engine:
            await done(engine, await begin(engine, Act(job=True), Act(job=True), Act(job=False)))
        assert mortal.mortal.writes == 1 + 2 + 2 + 1 + 1


@in_loop
async def test_progress_never_goes_back() -> None:
    """Also when a workflow says otherwise."""
    seen: list[int] = []

    async with in_memory() as store:

        async def workflow(steps: Steps) -> None:
            async def look() -> None:
                (record,) = await engine.list("owner")
                seen.append(record.progress)

            for percent in (30, 10, 60, 1000):
                await steps.progress(percent)
                await steps.run(f"at {percent}", look)

        async with started(make_engine(store, Backend())) as engine:
            await with_steps(engine, workflow)
    assert seen == [30, 30, 60, 100]


@in_loop
async def test_what_was_journalled_is_dropped_at_the_end() -> None:
    """Arguments and results may hold passwords; only names, states and job ids are kept."""
    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        operation = await done(engine, await begin(engine, Act(job=True)))
        record = await store.operations.get(operation.name)
    assert record is not None
    assert operation.arguments == ()
    assert [(step.state, step.result) for step in operation.journal] == [(StepState.FINISHED, None)]
    assert "arguments" not in record.body


@in_loop
async def test_the_first_write_says_running() -> None:
    """A reader sees PENDING until work begins, and RUNNING until it ends."""
    backend = Backend(gates={"go": asyncio.Event()})
    async with in_memory() as store, started(make_engine(store, backend)) as engine:
        operation = await begin(engine, Act(job=True, rounds=10**9), wait_for="go")
        assert (operation.status.value, operation.started) == ("PENDING", None)
        backend.gates["go"].set()
        await until(lambda: bool(backend.jobs))

        async def is_running() -> bool:
            current = await engine.get("owner", "zone", "z", operation.name)
            return current.status.value == "RUNNING" and current.started is not None

        await until(is_running)
