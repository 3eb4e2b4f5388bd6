"""Steps in memory: a journal that can be cut short between any two of its lines and taken up again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gceshim.drivers import errors
from gceshim.drivers.base import Driver, Steps, Submitted
from gceshim.model import JobState, Tenant


class Crash(BaseException):
    """The process ends here. No handler of the workflow may see it as a failure of a step."""


class MemorySteps(Steps):
    """
    Journals to a dictionary of JSON texts.

    `crash_at`: the number of the moment to crash at, counted from 1; `moments` is how many there were. The moments of
    a step: before it is begun; after the call was made and before its result is written; after that.
    """

    def __init__(self, driver: Driver, tenant: Tenant, operation: str, journal: dict[str, str] | None = None) -> None:
        self.tenant = tenant
        self.operation = operation
        self.journal = journal if journal is not None else {}
        self.crash_at = 0
        self.moments = 0
        self.percent: list[int] = []
        self.warnings: list[tuple[str, str]] = []
        self.names: list[str] = []
        self._driver = driver

    def replay(self) -> MemorySteps:
        """A new run over the same journal."""
        return MemorySteps(self._driver, self.tenant, self.operation, self.journal)

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
        self._fail_again(entry)
        self._moment()
        result = await find() if entry.get("state") == "started" and find is not None else None
        if result is None:
            self._write(name, state="started")
            try:
                result = await self._call(action, find)
            except errors.DriverError as exc:
                self._write_failure(name, exc)
                raise
        self._moment()
        self._write(name, state="done", result=result)
        self._moment()
        return json.loads(self.journal[name])["result"]

    async def job(
        self,
        name: str,
        submit: Callable[[], Awaitable[Submitted]],
        *,
        find: Callable[[], Awaitable[Submitted | None]] | None = None,
    ) -> Mapping[str, Any]:
        entry = self._enter(name)
        if entry.get("state") == "done":
            return entry["result"]
        self._fail_again(entry)
        self._moment()
        if entry.get("state") == "submitted":
            found: Submitted | None = Submitted(entry["job"], entry["object"])
        else:
            found = await find() if entry.get("state") == "started" and find is not None else None
        if found is None:
            self._write(name, state="started")
            try:
                found = await self._call(submit, find)
            except errors.DriverError as exc:
                self._write_failure(name, exc)
                raise
        self._moment()
        self._write(name, state="submitted", job=found.job_id, object=found.object_id)
        self._moment()
        if not found.job_id:
            result: Mapping[str, Any] = {"id": found.object_id}
        else:
            try:
                result = await self._ended(found.job_id)
            except errors.DriverError as exc:
                self._write_failure(name, exc)
                raise
        self._write(name, state="done", result=result)
        self._moment()
        return json.loads(self.journal[name])["result"]

    async def progress(self, percent: int) -> None:
        self.percent.append(percent)

    def warn(self, code: str, message: str, **data: str) -> None:
        self.warnings.append((code, message))

    def _enter(self, name: str) -> dict[str, Any]:
        assert name not in self.names, f"step {name} is run twice"
        self.names.append(name)
        return json.loads(self.journal.get(name, "{}"))

    async def _call(self, action: Callable[[], Awaitable[Any]], find: Callable[[], Awaitable[Any]] | None) -> Any:
        try:
            return await action()
        except errors.Unavailable:
            found = None if find is None else await find()
            if found is None:
                raise
            return found

    def _write(self, name: str, **entry: Any) -> None:
        self.journal[name] = json.dumps(entry)

    def _write_failure(self, name: str, exc: errors.DriverError) -> None:
        self._write(name, state="failed", error=type(exc).__name__, message=exc.message, detail=exc.detail)

    def _fail_again(self, entry: dict[str, Any]) -> None:
        if entry.get("state") == "failed":
            raise errors.from_job(entry["error"], entry["message"], entry["detail"])

    def _moment(self) -> None:
        self.moments += 1
        if self.moments == self.crash_at:
            raise Crash

    async def _ended(self, job_id: str) -> Mapping[str, Any]:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            job = await self._driver.jobs.get(self.tenant, job_id)
            if job.state is JobState.DONE:
                return job.result
            if job.state is JobState.FAILED:
                raise errors.from_job(job.error, job.message, job.detail)
            await asyncio.sleep(0.005)
        raise AssertionError(f"job {job_id} does not end")
