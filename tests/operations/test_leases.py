"""Several processes, leases, taking over and handing over."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gceshim.drivers.base import Steps
from gceshim.drivers.fence import pass_fence
from gceshim.operations.engine import Engine
from gceshim.operations.record import Operation
from gceshim.stores.base import EPOCH, Store
from gceshim.stores.sqlite import SqliteStore
from tests.stores.running import in_loop, until

from .backend import (
    FAST,
    Act,
    Backend,
    Clock,
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

HOLDS_STILL = Act(job=True, rounds=10**9)
LIVELY = replace(FAST, heartbeat_seconds=0.002, sweep_seconds=0.002)


async def abandoned(store: Store, backend: Backend, clock: Clock, subject: str = "subject") -> Operation:
    """An operation whose process died while its job ran."""
    engine = make_engine(store, backend, clock=clock)
    await engine.start()
    operation = await begin(engine, HOLDS_STILL, subject=subject)
    await until(lambda: bool(backend.gets))
    await bury()
    return operation


def finish_jobs(backend: Backend) -> None:
    for job_id in backend.jobs:
        backend.rounds[job_id] = 0


@in_loop
async def test_a_lapsed_operation_is_taken_over_at_the_start() -> None:
    """A restarted server goes on with the job, and submits no second one."""
    backend, clock = Backend(), Clock()
    async with in_memory() as store:
        operation = await abandoned(store, backend, clock)
        clock.advance(FAST.lease_seconds)
        async with started(make_engine(store, backend, clock=clock)) as engine:
            finish_jobs(backend)
            assert (await done(engine, operation)).errors == ()
    assert backend.made.total() == 1


@in_loop
async def test_a_lapsed_operation_is_taken_over_by_the_sweeper() -> None:
    """Any process that lives finishes what another began."""
    backend, clock = Backend(), Clock()
    async with in_memory() as store:
        operation = await abandoned(store, backend, clock)
        async with started(make_engine(store, backend, clock=clock, settings=LIVELY)) as engine:
            finish_jobs(backend)
            assert not (await engine.wait("owner", "zone", "z", operation.name, 0.05)).done
            clock.advance(FAST.lease_seconds)
            assert (await done(engine, operation)).errors == ()
    assert backend.made.total() == 1


@in_loop
async def test_heartbeats_keep_an_operation_from_being_taken_over() -> None:
    """A long job is no reason for a second process to come in."""
    backend, clock = Backend(), Clock()
    async with in_memory() as store, started(make_engine(store, backend, clock=clock, settings=LIVELY)) as engine:
        operation = await begin(engine, HOLDS_STILL)
        other = make_engine(store, backend, clock=clock)
        for _ in range(5):
            clock.advance(FAST.lease_seconds * 0.9)
            fresh = clock()

            async def renewed(fresh=fresh) -> bool:  # type: ignore[no-untyped-def]
                record = await store.operations.get(operation.name)
                return record is not None and record.lease_until > fresh

            await until(renewed)
            assert await other.recover() == 0
        finish_jobs(backend)
        assert (await done(engine, operation)).errors == ()


@in_loop
async def test_what_runs_here_is_not_begun_again_by_a_late_heartbeat() -> None:
    """A process that was held up finds its own leases lapsed: nobody else has taken them, and nor must it."""
    backend, clock = Backend(), Clock()
    async with in_memory() as store, started(make_engine(store, backend, clock=clock)) as engine:
        operation = await begin(engine, HOLDS_STILL)
        await until(lambda: bool(backend.gets))
        clock.advance(2 * FAST.lease_seconds)
        assert await engine.recover() == 0
        finish_jobs(backend)
        assert (await done(engine, operation)).errors == ()
        assert (engine.chronicle.counts["taken over"], engine.chronicle.counts["let go"]) == (0, 0)
    assert backend.made.total() == 1


@in_loop
async def test_a_holder_that_lost_its_lease_stops() -> None:
    """At its next write at the latest, which comes before its next act; the new holder ends the operation."""
    backend, clock = Backend(), Clock()
    async with in_memory() as store:
        old, new = make_engine(store, backend, clock=clock), make_engine(store, backend, clock=clock)
        async with started(old), started(new):
            operation = await begin(old, HOLDS_STILL, Act(job=False), HOLDS_STILL)
            await until(lambda: bool(backend.gets))
            clock.advance(FAST.lease_seconds)
            assert await new.recover() == 1
            await until(lambda: len(backend.jobs) == 1 and backend.gets > 3)
            finish_jobs(backend)
            await until(lambda: len(backend.jobs) == 2)
            finish_jobs(backend)
            assert (await done(new, operation)).errors == ()
            assert (await done(old, operation)).errors == ()
    assert set(backend.made.values()) == {1}
    assert len(backend.made) == 3


@pytest.mark.parametrize("taken", [True, False])
@in_loop
async def test_a_process_that_stood_still_sends_nothing_that_is_anothers(taken: bool) -> None:
    """It was just about to; the lease lapsed meanwhile. Where nobody took it, it is had again."""
    clock = Clock()
    sent: list[str] = []

    async with in_memory() as store:
        engine = make_engine(store, Backend(), clock=clock)

        async def workflow(steps: Steps) -> None:
            async def action() -> None:
                clock.advance(FAST.lease_seconds)
                if taken:
                    later = clock.time.replace(year=2099)
                    assert await store.operations.claim(steps.operation, "other", now=clock(), until=later)
                await pass_fence()
                sent.append("change")

            await steps.run("a", action)

        engine.register("stand still", workflow)
        async with started(engine):
            operation = await engine.begin(
                tenant(), "stand still", (), type="insert", scope_kind="zone", scope="z", target="t"
            )
            await until(lambda: operation.name not in {task.get_name() for task in asyncio.all_tasks()})
            record = await store.operations.get(operation.name)
    assert record is not None
    assert (sent, record.done, record.lease_holder) == (([], False, "other") if taken else (["change"], True, ""))


@in_loop
async def test_a_heartbeat_stops_an_operation_that_was_taken_over() -> None:
    """A process need not wait for its job to end to learn that it is not its own any more."""
    backend, clock = Backend(), Clock()
    async with in_memory() as store:
        old = make_engine(store, backend, clock=clock, settings=replace(FAST, heartbeat_seconds=0.002))
        async with started(old):
            operation = await begin(old, HOLDS_STILL)
            await until(lambda: bool(backend.gets))
            clock.advance(FAST.lease_seconds)
            taken = None

            async def take() -> bool:
                nonlocal taken
                clock.advance(FAST.lease_seconds)
                until_ = clock.time.replace(year=2099)
                taken = await store.operations.claim(operation.name, "thief", now=clock(), until=until_)
                return taken is not None

            await until(take)
            assert taken is not None
            await until(lambda: operation.name not in {task.get_name() for task in asyncio.all_tasks()})
            assert await store.operations.get(operation.name) == taken
            gets = backend.gets
            await asyncio.sleep(0)
            assert backend.gets == gets


@in_loop
async def test_closing_lets_running_operations_finish() -> None:
    """A restart under light load is not noticed."""
    backend = Backend()
    async with in_memory() as store:
        engine = make_engine(store, backend)
        await engine.start()
        operation = await begin(engine, Act(job=True, rounds=20))
        await engine.close(10)
        record = await store.operations.get(operation.name)
    assert record is not None
    assert record.done


@in_loop
async def test_closing_hands_over_what_does_not_finish() -> None:
    """The next process goes on at once, without waiting for a lease to lapse; nobody is left waiting."""
    backend, clock = Backend(), Clock()
    async with in_memory() as store:
        engine = make_engine(store, backend, clock=clock)
        await engine.start()
        operation = await begin(engine, Act(job=False), HOLDS_STILL)
        await until(lambda: bool(backend.gets))
        waiting = asyncio.ensure_future(engine.wait("owner", "zone", "z", operation.name, 100))
        await asyncio.sleep(0)
        await engine.close(0.01)
        assert not (await waiting).done
        record = await store.operations.get(operation.name)
        assert record is not None
        assert (record.done, record.lease_holder, record.lease_until) == (False, "", EPOCH)
        async with started(make_engine(store, backend, clock=clock)) as successor:
            finish_jobs(backend)
            assert (await done(successor, operation)).errors == ()
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert set(backend.made.values()) == {1}


@in_loop
async def test_closing_waits_for_a_call_whose_job_id_is_not_known_yet() -> None:
    """A handover in the middle of a call would leave its successor guessing."""
    backend, clock, life = Backend(), Clock(), Life()
    entered, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Life):
        async def point(self) -> None:
            entered.set()
            await go_on.wait()

    backend.life = Slow()
    async with in_memory() as store:
        engine = make_engine(store, backend, clock=clock, settings=replace(FAST, handover_seconds=10.0))
        await engine.start()
        operation = await begin(engine, HOLDS_STILL)
        await entered.wait()
        closing = asyncio.ensure_future(engine.close(0))
        await asyncio.sleep(0)
        assert not closing.done()
        go_on.set()
        await closing
        backend.life = life
        record = await store.operations.get(operation.name)
        assert record is not None
        assert record.body["journal"][0]["job_id"] == f"{operation.name}/step 0"
        assert record.lease_until == EPOCH


@in_loop
async def test_what_was_not_asked_for_before_a_handover_is_not_looked_for() -> None:
    """A look for nothing is a wait for nothing: as long as for what a dead process asked for."""
    backend, writing = Backend(), asyncio.Event()
    handed_over = asyncio.Event()

    class Slow(Life):
        async def point(self) -> None:
            if backend.gates["go"].is_set():
                writing.set()
                await handed_over.wait()

    async with in_memory() as store:
        backend.gates["go"] = asyncio.Event()
        engine = make_engine(MortalStore(store, Slow()), backend, settings=replace(FAST, handover_seconds=10.0))
        await engine.start()
        operation = await begin(engine, HOLDS_STILL, wait_for="go")
        backend.gates["go"].set()
        await writing.wait()
        closing = asyncio.ensure_future(engine.close(0))
        for _ in range(20):  # until it is told to let go
            await asyncio.sleep(0)
        handed_over.set()
        await closing
        record = await store.operations.get(operation.name)
        assert record is not None
        assert (record.body.get("journal", []), record.lease_until) == ([], EPOCH)
    assert not backend.made


@in_loop
async def test_a_call_that_outlasts_the_handover_keeps_its_lease() -> None:
    """Whoever comes next must not look for the result of a call that is still on its way."""
    backend = Backend(life=Life(0))
    async with in_memory() as store:
        engine = make_engine(store, backend)
        await engine.start()
        operation = await begin(engine, HOLDS_STILL)
        await backend.life.over.wait()
        await engine.close(0)
        record = await store.operations.get(operation.name)
        assert record is not None
        assert record.lease_until > Clock()()
        assert asyncio.all_tasks() == {asyncio.current_task()}


@in_loop
async def test_a_store_that_fails_in_the_middle_leaves_the_operation_for_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An outage of the store ends no operation with a wrong outcome."""
    backend, clock = Backend(), Clock()
    async with in_memory() as store:
        broken = SqliteStore(":memory:")
        mortal = MortalStore(store, Life())
        engine = make_engine(mortal, backend, clock=clock)
        await engine.start()
        operation = await begin(engine, Act(job=True, rounds=30))
        await until(lambda: bool(backend.gets))
        mortal.mortal._inner = broken.operations
        await until(lambda: operation.name not in {task.get_name() for task in asyncio.all_tasks()})
        mortal.mortal._inner = store.operations
        assert "left until its lease lapses" in caplog.text
        clock.advance(FAST.lease_seconds)
        assert await engine.recover() == 1
        assert (await done(engine, operation)).errors == ()
        await engine.close(0)
    assert set(backend.made.values()) == {1}


@in_loop
async def test_credentials_that_are_gone_end_a_resumed_operation() -> None:
    """It cannot be carried through, so it is reported failed."""
    backend, clock = Backend(), Clock()
    async with in_memory() as store:
        operation = await abandoned(store, backend, clock, subject="removed")
        clock.advance(FAST.lease_seconds)
        async with started(make_engine(store, backend, clock=clock)) as engine:
            ended = await done(engine, operation)
    assert [error.code for error in ended.errors] == ["UNAUTHENTICATED"]


@in_loop
async def test_a_silent_backend_puts_a_resumed_operation_off() -> None:
    """An outage during a restart is no failure of the operation."""
    backend, clock = Backend(), Clock()
    async with in_memory() as store:
        operation = await abandoned(store, backend, clock)
        clock.advance(FAST.lease_seconds)
        backend.silent = True
        async with started(make_engine(store, backend, clock=clock, settings=LIVELY)) as engine:
            assert not (await engine.wait("owner", "zone", "z", operation.name, 0.05)).done
            backend.silent = False
            finish_jobs(backend)
            assert (await done(engine, operation)).errors == ()


@in_loop
async def test_more_lapsed_operations_than_one_look_takes_are_all_taken_over() -> None:
    """After a crash under load there are many."""
    backend, clock = Backend(), Clock()
    async with in_memory() as store:
        first = make_engine(store, backend, clock=clock)
        await first.start()
        operations = await asyncio.gather(*(begin(first, HOLDS_STILL) for _ in range(50)))
        await until(lambda: len(backend.jobs) == 50)
        await bury()
        clock.advance(FAST.lease_seconds)
        second = make_engine(store, backend, clock=clock, settings=replace(FAST, sweep_batch=7))
        async with started(second):
            finish_jobs(backend)
            await asyncio.gather(*(done(second, operation) for operation in operations))
    assert set(backend.made.values()) == {1}
    assert len(backend.made) == 50


@in_loop
async def test_two_processes_on_one_file_share_the_work(tmp_path: Path) -> None:
    """Each sees and waits for the other's operations, and what is left when one closes is finished by the other."""
    backend = Backend()
    stores = [SqliteStore(tmp_path / "store.sqlite") for _ in range(2)]
    for store in stores:
        await store.open()
    clock = Clock()
    engines: list[Engine] = [make_engine(store, backend, clock=clock, settings=LIVELY) for store in stores]
    for engine in engines:
        await engine.start()
    begun = await asyncio.gather(*(begin(engines[n % 2], Act(job=True), Act(job=True)) for n in range(20)))
    await asyncio.gather(*(done(engines[(n + 1) % 2], operation) for n, operation in enumerate(begun)))
    left = [await begin(engines[0], HOLDS_STILL) for _ in range(5)]
    await until(lambda: len(backend.jobs) == 45)
    await engines[0].close(0)
    finish_jobs(backend)
    for operation in left:
        assert (await done(engines[1], operation)).errors == ()
    await engines[1].close(0)
    for store in stores:
        await store.close()
    assert set(backend.made.values()) == {1}
    assert len(backend.made) == 45
