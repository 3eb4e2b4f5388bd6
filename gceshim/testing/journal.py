"""Steps in memory: a journal that can be cut short at any of its moments and taken up again, for tests of drivers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from gceshim.drivers import errors
from gceshim.drivers.base import Driver, Steps, Submitted
from gceshim.model import Job, JobState, Tenant

JOB_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.005

T = TypeVar("T")


class Crash(BaseException):
    """The process ends here. No handler of the workflow may see it as a failure of a step."""


class MemorySteps(Steps):
    """
    Journals to a dictionary of JSON texts.

    `crash_at`: the number of the moment to end at, counted from 1, by raising `crash`; `moments` is how many there
    were. The moments of a step: before it is begun; when it is written that it was begun, before the call; after the
    call was made and before its result is written; after that; and, for a job, after its end was written.

    `percent`, `warnings`, `names` and `jobs`: what was told, the steps entered and the ids of jobs waited for.
    """

    def __init__(
        self,
        driver: Driver,
        tenant: Tenant,
        operation: str,
        journal: dict[str, str] | None = None,
        job_seconds: float = JOB_SECONDS,
    ) -> None:
        """:param job_seconds: longest wait for the end of one job; past it the test fails."""
        self.tenant = tenant
        self.operation = operation
        self.journal = journal if journal is not None else {}
        self.crash_at = 0
        self.crash: type[BaseException] = Crash
        self.moments = 0
        self.percent: list[int] = []
        self.warnings: list[tuple[str, str]] = []
        self.names: list[str] = []
        self.jobs: list[str] = []
        self._driver = driver
        self._job_seconds = job_seconds

    def replay(self) -> MemorySteps:
        """A new run over the same journal."""
        return MemorySteps(self._driver, self.tenant, self.operation, self.journal, self._job_seconds)

    async def run(
        self,
        name: str,
        action: Callable[[], Awaitable[Any]],
        *,
        find: Callable[[], Awaitable[Any | None]] | None = None,
    ) -> Any:
        entry = self._enter(name)
        if entry.get("state") == "done":
            return entry["result"]
        self._moment()
        result = await find() if entry.get("state") == "started" and find is not None else None
        if result is None:
            result = await self._call(name, action, find)
        self._moment()
        return self._end(name, result)

    async def job(
        self,
        name: str,
        submit: Callable[[], Awaitable[Submitted]],
        *,
        find: Callable[[], Awaitable[Submitted | None]] | None = None,
    ) -> Mapping[str, Any]:
        entry = self._enter(name)
        if entry.get("state") == "done":
            done: Mapping[str, Any] = entry["result"]
            return done
        self._moment()
        found: Submitted | None = None
        if entry.get("state") == "submitted":
            found = Submitted(entry["job"], entry["object"])
        elif entry.get("state") == "started" and find is not None:
            found = await find()
        if found is None:
            found = await self._call(name, submit, find)
        self._moment()
        self._write(name, state="submitted", job=found.job_id, object=found.object_id)
        self._moment()
        try:
            result = await self._follow(found, find)
        except errors.DriverError as exc:
            self._write_failure(name, exc)
            raise
        ended: Mapping[str, Any] = self._end(name, result)
        return ended

    async def progress(self, percent: int) -> None:
        self.percent.append(percent)

    def warn(self, code: str, message: str, **data: str) -> None:
        self.warnings.append((code, message))

    def _enter(self, name: str) -> dict[str, Any]:
        """What the journal has of a step. :raises DriverError: what a failed one raised."""
        assert name not in self.names, f"step {name} is run twice"
        self.names.append(name)
        entry: dict[str, Any] = json.loads(self.journal.get(name, "{}"))
        if entry.get("state") == "failed":
            about = {key: entry[key] for key in ("detail", "kind", "name", "field")}
            raise errors.BY_NAME[entry["error"]](entry["message"], **about)
        return entry

    async def _call(
        self, name: str, action: Callable[[], Awaitable[T]], find: Callable[[], Awaitable[T | None]] | None
    ) -> T:
        self._write(name, state="started")
        self._moment()
        try:
            return await self._made(action, find)
        except errors.DriverError as exc:
            self._write_failure(name, exc)
            raise

    async def _made(self, action: Callable[[], Awaitable[T]], find: Callable[[], Awaitable[T | None]] | None) -> T:
        try:
            return await action()
        except errors.Unavailable:
            found = None if find is None else await find()
            if found is None:
                raise
            return found

    async def _follow(
        self, submitted: Submitted, find: Callable[[], Awaitable[Submitted | None]] | None
    ) -> Mapping[str, Any]:
        if not submitted.job_id:
            return {"id": submitted.object_id}
        self.jobs.append(submitted.job_id)
        job = await self._ended(submitted.job_id)
        if job is None:
            found = None if find is None else await find()
            if found is None or found.job_id:
                raise errors.Failed("The backend no longer knows the job.", detail=f"job {submitted.job_id}")
            return {"id": found.object_id}
        if job.state is JobState.FAILED:
            raise errors.from_job(job.error, job.message, job.detail)
        return job.result

    async def _ended(self, job_id: str) -> Job | None:
        """The job once it has ended; None when the backend does not know it (any more)."""
        deadline = time.monotonic() + self._job_seconds
        while time.monotonic() < deadline:
            try:
                job = await self._driver.jobs.get(self.tenant, job_id)
            except errors.NotFound:
                return None
            if job.state is not JobState.PENDING:
                return job
            await asyncio.sleep(_POLL_SECONDS)
        raise AssertionError(f"job {job_id} does not end")

    def _end(self, name: str, result: Any) -> Any:
        """Write the result down; it is handed on as a replay will have it."""
        self._write(name, state="done", result=result)
        self._moment()
        return json.loads(self.journal[name])["result"]

    def _write(self, step: str, /, **entry: Any) -> None:
        self.journal[step] = json.dumps(entry, allow_nan=False)

    def _write_failure(self, step: str, exc: errors.DriverError) -> None:
        about = {"message": exc.message, "detail": exc.detail, "kind": exc.kind, "name": exc.name, "field": exc.field}
        self._write(step, state="failed", error=type(exc).__name__, **about)

    def _moment(self) -> None:
        self.moments += 1
        if self.moments == self.crash_at:
            raise self.crash
