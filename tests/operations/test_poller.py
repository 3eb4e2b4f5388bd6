"""Following jobs, and those who wait: the cost grows with tenants and ended jobs, not with waiters."""

from __future__ import annotations

import asyncio
import statistics
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gceshim.drivers import errors
from gceshim.model import Job, JobState, Tenant
from gceshim.operations.poller import Poller
from gceshim.operations.record import Operation
from gceshim.operations.settings import OperationsSettings
from tests.stores.running import in_loop, until

from .backend import FAST, Act, Backend, begin, done, in_memory, make_engine, started, tenant


@asynccontextmanager
async def polling(backend: Backend, settings: OperationsSettings = FAST) -> AsyncIterator[Poller]:
    poller = Poller(backend, settings)
    try:
        yield poller
    finally:
        await poller.close()


@in_loop
async def test_many_waiters_for_one_job_cost_no_more_than_one() -> None:
    """Each round asks once, however many wait."""
    backend = Backend()
    backend.begin_job("j", rounds=5)
    async with polling(backend) as poller:
        jobs = await asyncio.gather(*(poller.wait(tenant(), "j") for _ in range(1000)))
    assert {job.state for job in jobs if job is not None} == {JobState.DONE}
    assert (backend.gets, backend.sweeps) == (5, 0)


@in_loop
async def test_many_jobs_are_swept_and_only_ended_ones_asked_about() -> None:
    """200 jobs in ten rounds are ten lists and 200 questions, not 2,000."""
    backend = Backend()
    for number in range(200):
        backend.begin_job(f"j{number}", rounds=10)
    async with polling(backend) as poller:
        await asyncio.gather(*(poller.wait(tenant(), f"j{number}") for number in range(200)))
    assert (backend.gets, backend.sweeps) == (200, 10)


@in_loop
async def test_a_backend_that_cannot_list_is_asked_one_by_one() -> None:
    """Slower, but right."""
    backend = Backend(sweeping=False)
    for number in range(20):
        backend.begin_job(f"j{number}", rounds=3)
    async with polling(backend) as poller:
        await asyncio.gather(*(poller.wait(tenant(), f"j{number}") for number in range(20)))
    assert backend.gets == 60


@in_loop
async def test_tenants_are_polled_apart() -> None:
    """Jobs are asked about with the credentials of whoever began them."""
    backend = Backend()
    async with polling(backend) as poller:
        for number in range(10):
            backend.begin_job(f"j{number}", rounds=2)
        await asyncio.gather(*(poller.wait(tenant(f"owner {n}"), f"j{n}") for n in range(10)))
    assert (backend.gets, backend.sweeps) == (20, 0)


@in_loop
async def test_a_tenant_with_many_slow_answers_does_not_hold_up_another() -> None:
    """All jobs of one may end at once, while the cloud is slow to tell: the next tenant has one job to be told of."""
    slow = asyncio.Event()

    class Slow(Backend):
        async def get(self, tenant: Tenant, job_id: str) -> Job:
            if tenant.owner == "many":
                await slow.wait()
            return await super().get(tenant, job_id)

    backend = Slow()
    for number in range(101):
        backend.begin_job(f"j{number}")
    async with polling(backend, replace(FAST, poll_concurrency=8)) as poller:
        many = [asyncio.ensure_future(poller.wait(tenant("many"), f"j{number}")) for number in range(100)]
        await until(lambda: backend.sweeps == 1)
        one = await asyncio.wait_for(poller.wait(tenant("one"), "j100"), 60)
        assert one is not None
        assert (one.state, any(wait.done() for wait in many)) == (JobState.DONE, False)
        slow.set()
        assert len(await asyncio.gather(*many)) == 100


@in_loop
async def test_an_unknown_job_is_told_apart_from_a_failed_one() -> None:
    """The journal may still find what it made."""
    async with polling(Backend()) as poller:
        assert await poller.wait(tenant(), "nope") is None


@pytest.mark.parametrize("trouble", [errors.Unavailable("away"), errors.Timeout("slow"), ValueError("garbage")])
@pytest.mark.parametrize("count", [1, 10])
@in_loop
async def test_silence_is_borne_with_and_then_given_up(
    trouble: Exception, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A short outage changes nothing; one past the deadline fails the job."""
    backend = Backend(trouble=trouble)
    for number in range(count):
        backend.begin_job(f"j{number}")
    async with polling(backend) as poller:
        waits = [asyncio.ensure_future(poller.wait(tenant(), f"j{number}")) for number in range(count)]
        await until(lambda: backend.gets + backend.sweeps > 5)
        backend.trouble = None
        assert {job.state for job in await asyncio.gather(*waits) if job} == {JobState.DONE}
    backend.trouble = trouble
    async with polling(backend, replace(FAST, unavailable_seconds=0.02)) as poller:
        job = await poller.wait(tenant(), "j0")
    assert job is not None
    assert (job.state, job.error in {"Unavailable", "Timeout"}) == (JobState.FAILED, True)


class _Odd(errors.Forbidden):
    """A driver's own kind of a known error."""


@in_loop
async def test_a_refusal_fails_the_job_by_its_known_name() -> None:
    """No use in asking again; and the name must be one that the journal can raise again."""
    async with polling(Backend(trouble=_Odd("no", detail="d"))) as poller:
        job = await poller.wait(tenant(), "j")
    assert job == Job("j", JobState.FAILED, error="Forbidden", message="no", detail="d")


@in_loop
async def test_a_job_that_never_ends_is_given_up() -> None:
    """No operation stays running for ever."""
    backend = Backend()
    backend.begin_job("j", rounds=10**9)
    async with polling(backend, replace(FAST, job_seconds=0.02)) as poller:
        job = await poller.wait(tenant(), "j")
    assert job is not None
    assert (job.state, job.error) == (JobState.FAILED, "Timeout")


@pytest.mark.parametrize("count", [1, 10])
@in_loop
async def test_answers_that_make_no_sense_are_borne_with_too(count: int, caplog: pytest.LogCaptureFixture) -> None:
    """A driver's mistake must not end the task that asks, or whoever waits would do so for ever."""

    class Odd(Backend):
        odd = True

        async def get(self, tenant: Tenant, job_id: str) -> Job:
            job = await super().get(tenant, job_id)
            return None if self.odd else job  # type: ignore[return-value]

        async def pending(self, tenant: Tenant) -> frozenset[str] | None:
            await super().pending(tenant)
            return 7 if self.odd else None  # type: ignore[return-value]

    backend = Odd()
    for number in range(count):
        backend.begin_job(f"j{number}")
    async with polling(backend) as poller:
        waits = [asyncio.ensure_future(poller.wait(tenant(), f"j{number}")) for number in range(count)]
        await until(lambda: backend.gets > 2 * count)
        backend.odd = False
        assert {job.state for job in await asyncio.gather(*waits) if job} == {JobState.DONE}
    told = [record.getMessage() for record in caplog.records if record.exc_info]
    assert len(told) == len(set(told)) > 0  # each once, however often it was asked


@in_loop
async def test_nothing_is_asked_when_nobody_waits() -> None:
    """A cancelled wait takes its job, and the last one the task, with it."""
    backend = Backend()
    backend.begin_job("j", rounds=10**9)
    async with polling(backend) as poller:
        waits = [asyncio.ensure_future(poller.wait(tenant(), "j")) for _ in range(2)]
        await until(lambda: backend.gets > 2)
        for wait in waits:
            wait.cancel()
        await until(lambda: len(asyncio.all_tasks()) == 1)
        backend.begin_job("k")
        job = await poller.wait(tenant(), "k")
    assert job is not None
    assert job.state is JobState.DONE


@in_loop
async def test_a_new_job_is_not_kept_waiting_by_an_old_one() -> None:
    """The interval follows the youngest job, so that quick ones end quickly."""
    settings = replace(FAST, poll_min_seconds=0.001, poll_max_seconds=1000.0)
    backend = Backend()
    backend.begin_job("old", rounds=10**9)
    async with polling(backend, settings) as poller:
        old = asyncio.ensure_future(poller.wait(tenant(), "old"))
        await until(lambda: backend.gets >= 15)  # by now a round comes every quarter of a tenth of a second or so
        backend.begin_job("new", rounds=3)
        started_at = asyncio.get_running_loop().time()
        await poller.wait(tenant(), "new")
        assert asyncio.get_running_loop().time() - started_at < 1.0
        old.cancel()


@in_loop
async def test_thousands_wait_for_one_operation_at_the_price_of_one() -> None:
    """No poll of the backend per waiter; all wake, and none is left behind."""
    backend = Backend()
    async with in_memory() as store, started(make_engine(store, backend)) as engine:
        operation = await begin(engine, Act(job=True, rounds=10**9))
        waits = [asyncio.ensure_future(engine.wait("owner", "zone", "z", operation.name, 100)) for _ in range(3000)]
        await until(lambda: backend.gets > 20)
        gets, rounds = backend.gets, 10**9 - backend.rounds[f"{operation.name}/step 0"]
        assert gets == rounds
        backend.rounds[f"{operation.name}/step 0"] = 1
        assert all(ended.done for ended in await asyncio.gather(*waits))


@in_loop
async def test_a_wait_ends_promptly_and_a_late_one_at_once() -> None:
    """Woken by the end itself, not by a look at the clock."""
    backend = Backend()
    settings = replace(FAST, reread_seconds=1000.0)
    async with in_memory() as store, started(make_engine(store, backend, settings=settings)) as engine:
        operation = await begin(engine, Act(job=True, rounds=5))
        assert (await done(engine, operation)).done
        assert (await done(engine, operation, 0)).done


@in_loop
async def test_a_wait_gives_the_state_when_its_time_is_up() -> None:
    """GCE answers after two minutes with whatever is true then."""
    backend = Backend()
    async with in_memory() as store, started(make_engine(store, backend)) as engine:
        operation = await begin(engine, Act(job=True, rounds=10**9))
        assert not (await engine.wait("owner", "zone", "z", operation.name, 0.01)).done
        assert not (await engine.wait("owner", "zone", "z", operation.name, 0)).done


@in_loop
async def test_those_who_wait_for_another_process_share_its_looks() -> None:
    """One call to the store per round, for all operations and all who wait."""
    backend = Backend()
    async with (
        in_memory() as store,
        started(make_engine(store, backend)) as runner,
        started(make_engine(store, backend)) as reader,
    ):
        operations = [await begin(runner, Act(job=True, rounds=20)) for _ in range(3)]
        ended = await asyncio.gather(*(done(reader, operations[number % 3]) for number in range(300)))
        assert {operation.name for operation in ended} == {operation.name for operation in operations}


@in_loop
async def test_two_thousand_who_wait_are_woken_by_the_look_that_saw_the_end() -> None:
    """Each within 100 ms of it, in the median; and nobody costs a thread."""
    seen: dict[str, float] = {}
    clock = asyncio.get_running_loop().time

    class Noting(Backend):
        async def get(self, tenant: Tenant, job_id: str) -> Job:
            job = await super().get(tenant, job_id)
            if job.state is not JobState.PENDING:
                seen[job_id.partition("/")[0]] = clock()
            return job

    async with in_memory() as store, started(make_engine(store, Noting())) as engine:
        operations = [await begin(engine, Act(job=True, rounds=40)) for _ in range(40)]
        threads = threading.active_count()

        async def delay(operation: Operation) -> float:
            await done(engine, operation)
            return clock() - seen[operation.name]

        delays = await asyncio.gather(*(delay(operation) for operation in operations for _ in range(50)))
        assert threading.active_count() == threads
    assert statistics.median(delays) <= 0.1


@in_loop
async def test_a_job_that_ends_soon_is_seen_soon_beside_many_long_ones() -> None:
    """The sweeps follow the youngest job; two after one another take no longer than their own time and some looks."""
    backend = Backend()
    settings = replace(FAST, poll_min_seconds=0.01, poll_sweep_seconds=0.02, poll_max_seconds=1000.0)
    for number in range(50):
        backend.begin_job(f"long {number}", rounds=10**9)
    async with polling(backend, settings) as poller:
        waits = [asyncio.ensure_future(poller.wait(tenant(), f"long {number}")) for number in range(50)]
        await until(lambda: backend.sweeps >= 15)  # by now they are far apart
        sweeps = backend.sweeps
        for number in range(2):
            backend.begin_job(f"short {number}", rounds=2)
            await poller.wait(tenant(), f"short {number}")
        assert backend.sweeps - sweeps <= 6
        for wait in waits:
            wait.cancel()


@in_loop
async def test_a_slow_backend_is_swept_less_often() -> None:
    """One sweep of a tenant at a time, and no more than a third of the time is spent with them."""
    sweeping, most = 0, 0

    class Slow(Backend):
        async def pending(self, tenant: Tenant) -> frozenset[str] | None:
            nonlocal sweeping, most
            sweeping += 1
            most = max(most, sweeping)
            await asyncio.sleep(0.05)
            sweeping -= 1
            return await super().pending(tenant)

    backend = Slow()
    loop = asyncio.get_running_loop()
    async with polling(backend, replace(FAST, poll_max_seconds=1000.0)) as poller:
        started_at = loop.time()
        waits = []
        for number in range(60):  # there is always a young one
            backend.begin_job(f"j{number}", rounds=10**9)
            waits.append(asyncio.ensure_future(poller.wait(tenant(), f"j{number}")))
            await asyncio.sleep(0.01)
        took = loop.time() - started_at
        for wait in waits:
            wait.cancel()
    assert most == 1
    assert backend.sweeps <= took / 0.15 + 2


@in_loop
async def test_a_backend_that_is_away_is_asked_less_and_less() -> None:
    """However young the jobs are that are waited for; and as before once it is back."""
    backend = Backend(trouble=errors.Unavailable("away"))
    loop = asyncio.get_running_loop()
    settings = replace(FAST, poll_min_seconds=0.01, poll_max_seconds=1000.0, poll_few_jobs=0)
    async with polling(backend, settings) as poller:
        started_at = loop.time()
        waits = []
        while loop.time() - started_at < 0.6:  # there is always a young one
            backend.begin_job(f"j{len(waits)}")
            waits.append(asyncio.ensure_future(poller.wait(tenant(), f"j{len(waits)}")))
            await asyncio.sleep(0.005)
        assert backend.sweeps <= 10
        backend.trouble = None
        assert {job.state for job in await asyncio.gather(*waits) if job} == {JobState.DONE}
