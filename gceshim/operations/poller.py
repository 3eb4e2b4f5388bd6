"""
Following backend jobs: one task for each tenant that has any, however many wait.

Each round asks about a few jobs one by one, or, of many, first which are still pending and then about each that is
not. Rounds come soon after a new job and then more and more slowly, and never take more than a part of the time: the
cost grows with tenants and with jobs that end, not with jobs that are waited for, and falls when the backend is slow.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextvars import Context
from dataclasses import dataclass, field

from gceshim.drivers.base import Jobs
from gceshim.drivers.errors import DriverError, NotFound, Unavailable
from gceshim.model import Job, JobState, Tenant
from gceshim.operations.record import error_name
from gceshim.operations.settings import OperationsSettings

LOG = logging.getLogger(__name__)

AGE_TO_INTERVAL = 0.25
REST_TO_SWEEP = 2.0
"""A sweep is followed by a rest of so many times its own length."""
FAILURES_MAX_EXPONENT = 10


@dataclass(slots=True, eq=False)
class _Watch:
    """One job, and how many wait for it. Times are the loop's."""

    job_id: str
    since: float
    end: asyncio.Future[Job | None]
    waiters: int = 0
    silent_since: float | None = None


@dataclass(slots=True, eq=False)
class _Followed:
    """One tenant with jobs that are waited for."""

    tenant: Tenant
    turns: asyncio.Semaphore
    """Its share of the questions that can be under way."""
    watches: dict[str, _Watch] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    failures: int = 0
    sweep_seconds: float = 0.0
    """How long the last sweep took."""
    puzzled: bool = False
    """Whether the list of pending jobs made no sense before."""
    task: asyncio.Task[None] | None = None


class Poller:
    """Waits for jobs on behalf of workflows."""

    def __init__(self, jobs: Jobs, settings: OperationsSettings) -> None:
        self._jobs = jobs
        self._settings = settings
        self._followed: dict[tuple[str, str], _Followed] = {}
        self._turns = asyncio.Semaphore(settings.poll_concurrency)
        self._share = max(1, settings.poll_concurrency // 2)
        self.rounds: Counter[str] = Counter()
        """How often jobs were asked about: "sweep" (all of a tenant's at once) and "ask" (one)."""

    @property
    def tenants(self) -> int:
        """How many tenants have jobs that are waited for."""
        return len(self._followed)

    async def wait(self, tenant: Tenant, job_id: str) -> Job | None:
        """
        The job once it has ended, DONE or FAILED; None if the backend does not know it (any more).

        A job that is given up, because it or the backend's silence lasted too long, is returned as FAILED with the
        error "Timeout" or "Unavailable".
        """
        loop = asyncio.get_running_loop()
        key = (tenant.owner, tenant.subject)
        followed = self._followed.get(key)
        if followed is None:
            followed = self._followed[key] = _Followed(tenant, asyncio.Semaphore(self._share))
        followed.tenant = tenant
        watch = followed.watches.get(job_id)
        if watch is None:
            watch = followed.watches[job_id] = _Watch(job_id, loop.time(), loop.create_future())
            followed.news.set()
        if followed.task is None:
            # In a context of its own: it asks on behalf of all, not of the request that happened to be the first.
            followed.task = loop.create_task(
                self._follow(key, followed), name=f"poller {tenant.owner}", context=Context()
            )
        LOG.debug("job %s of %s is waited for", job_id, tenant.owner)
        watch.waiters += 1
        try:
            return await asyncio.shield(watch.end)
        finally:
            watch.waiters -= 1
            if not watch.waiters and followed.watches.get(job_id) is watch:
                del followed.watches[job_id]
                followed.news.set()

    async def close(self) -> None:
        """Stop all tasks. Those that still wait are left waiting: cancel them first."""
        tasks = [followed.task for followed in self._followed.values() if followed.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._followed.clear()

    async def _follow(self, key: tuple[str, str], followed: _Followed) -> None:
        last_round = asyncio.get_running_loop().time()
        while followed.watches:
            await self._pause(followed, last_round)
            if followed.watches:
                await self._round(followed)
                last_round = asyncio.get_running_loop().time()
        # Nothing is awaited between the last look at `watches` and this, so no job can slip in.
        del self._followed[key]

    async def _pause(self, followed: _Followed, last_round: float) -> None:
        """Sleep until the next round is due; a job that comes or goes changes when that is."""
        loop = asyncio.get_running_loop()
        while followed.watches:
            followed.news.clear()
            remaining = last_round + self._interval(followed, loop.time()) - loop.time()
            if remaining <= 0:
                return
            try:
                async with asyncio.timeout(remaining):
                    await followed.news.wait()
            except TimeoutError:
                return

    def _interval(self, followed: _Followed, now: float) -> float:
        settings = self._settings
        youngest = min(now - watch.since for watch in followed.watches.values())
        interval = max(settings.poll_min_seconds, youngest * AGE_TO_INTERVAL)
        if len(followed.watches) > settings.poll_few_jobs:
            interval = max(interval, settings.poll_sweep_seconds, REST_TO_SWEEP * followed.sweep_seconds)
        if followed.failures:
            backoff: float = settings.poll_min_seconds * 2 ** min(followed.failures, FAILURES_MAX_EXPONENT)
            interval = max(interval, backoff)
        return min(interval, settings.poll_max_seconds)

    async def _round(self, followed: _Followed) -> None:
        # One that has ended stays among them until those who wait for it have woken.
        ask = tuple(watch for watch in followed.watches.values() if not watch.end.done())
        if len(ask) > self._settings.poll_few_jobs:
            started = asyncio.get_running_loop().time()
            try:
                pending = await self._pending(followed)
            except Unavailable as exc:
                followed.failures += 1
                for watch in ask:
                    self._silent(watch, exc)
                return
            finally:
                followed.sweep_seconds = asyncio.get_running_loop().time() - started
            for watch in ask:
                if watch.job_id in pending:
                    self._still_pending(watch)
            ask = tuple(watch for watch in ask if watch.job_id not in pending)
        answered = await asyncio.gather(*(self._ask(followed, watch) for watch in ask))
        followed.failures = followed.failures + 1 if answered and not any(answered) else 0

    async def _pending(self, followed: _Followed) -> frozenset[str]:
        """The jobs that need no asking; none where the backend cannot tell. :raises Unavailable:"""
        tenant = followed.tenant
        self.rounds["sweep"] += 1
        try:
            return frozenset(await self._jobs.pending(tenant) or ())
        except Unavailable:
            raise
        except DriverError as exc:
            LOG.info("jobs of %s are asked about one by one: %s", tenant.owner, exc.message)
        except Exception:  # the edge of a background task
            if not followed.puzzled:
                LOG.exception("jobs of %s are asked about one by one", tenant.owner)
            followed.puzzled = True
        return frozenset()

    async def _ask(self, followed: _Followed, watch: _Watch) -> bool:
        """Ask about one job; False if there was no answer."""
        tenant = followed.tenant
        # The share first: who waits for that keeps no other tenant from asking.
        async with followed.turns, self._turns:
            self.rounds["ask"] += 1
            try:
                job = await self._jobs.get(tenant, watch.job_id)
                state = job.state
            except NotFound:
                _end(watch, None)
            except Unavailable as exc:
                self._silent(watch, exc)
                return False
            except DriverError as exc:
                _end(watch, _failed(watch, error_name(exc), exc.message, exc.detail))
            except Exception as exc:  # the edge of a background task
                if watch.silent_since is None:
                    LOG.exception("job %s cannot be read", watch.job_id)
                self._silent(watch, Unavailable("The backend gave an answer that cannot be read.", detail=repr(exc)))
                return False
            else:
                if state is JobState.PENDING:
                    self._still_pending(watch)
                else:
                    LOG.debug("job %s of %s: %s", watch.job_id, tenant.owner, state)
                    _end(watch, job)
        return True

    def _still_pending(self, watch: _Watch) -> None:
        watch.silent_since = None
        if asyncio.get_running_loop().time() - watch.since > self._settings.job_seconds:
            _end(watch, _failed(watch, "Timeout", "The backend did not finish the job in time.", ""))

    def _silent(self, watch: _Watch, error: Unavailable) -> None:
        now = asyncio.get_running_loop().time()
        if watch.silent_since is None:
            watch.silent_since = now
        if now - watch.silent_since >= self._settings.unavailable_seconds:
            _end(watch, _failed(watch, error_name(error), error.message, error.detail))


def _end(watch: _Watch, job: Job | None) -> None:
    if not watch.end.done():
        watch.end.set_result(job)


def _failed(watch: _Watch, error: str, message: str, detail: str) -> Job:
    return Job(watch.job_id, JobState.FAILED, error=error, message=message, detail=detail)
