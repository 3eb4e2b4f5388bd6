"""Asynchronous jobs."""

from __future__ import annotations

import asyncio
import math
import re
import time
from dataclasses import dataclass
from typing import Final

from gceshim.drivers import base, errors
from gceshim.drivers.base import Submitted
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.failures import failure
from gceshim.drivers.cloudstack.rows import Row, number, rows, text
from gceshim.model import Job, JobState, Tenant

_MOST_PAGES: Final = 4
_SETTLE_SECONDS: Final = 10.0
_SETTLE_PAUSE_SECONDS: Final = 0.1
_SETTLE_LONGEST_PAUSE_SECONDS: Final = 1.0
_COMMAND: Final = re.compile(r"(\w+?)(?:CmdByAdmin|Cmd)?$")
_SWEPT: Final = "jobs that have not ended"


@dataclass(frozen=True, slots=True)
class _Swept:
    """
    What a look through the jobs of an account found.

    :param first_page: with the oldest that had not ended; where none had, the last page.
    :param newest: when the youngest job that was seen was made, as CloudStack writes it.
    """

    pending: frozenset[str]
    first_page: int
    newest: str


class Jobs(base.Jobs):
    """
    Implements `base.Jobs`.

    CloudStack lists the jobs of a day or more, ended ones too, with all that they made, by the order in which they
    began. A look begins at the page where the look before found the oldest that had not ended, and so reads little
    else. (`startdate` would not do: CloudStack reads the day in it, and no time. Source: ParamProcessWorker.) As old
    jobs are forgotten the others move towards the first page, and out of sight: whoever asks about one brings it back.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def get(self, tenant: Tenant, job_id: str) -> Job:
        """The job by its id. Source: `queryAsyncJobResult`."""
        try:
            reply = await self._backend.call(tenant, "queryAsyncJobResult", jobid=job_id)
        except errors.Invalid as exc:
            raise errors.NotFound(
                f"CloudStack does not know job {job_id}", detail=exc.detail, kind="job", name=job_id
            ) from exc
        except errors.Failed as exc:  # of asking, not of the job
            raise errors.Unavailable(exc.message, detail=exc.detail) from exc
        job = job_of(job_id, reply)
        if job.state is JobState.PENDING:
            self._correct(tenant, job_id, text(reply, "created"))
        return job

    async def pending(self, tenant: Tenant) -> frozenset[str] | None:
        """The ids of jobs that have not ended, but for those of too many pages. Source: `listAsyncJobs`."""
        before: _Swept | None = self._backend.held(tenant.credentials, _SWEPT)
        swept = await self._sweep(tenant, before.first_page if before is not None else 1)
        self._backend.remember(tenant.credentials, _SWEPT, swept)
        return swept.pending

    async def _sweep(self, tenant: Tenant, page: int) -> _Swept:
        """Read from a page on, and where that would be too many, the last ones."""
        size = self._backend.settings.page_size
        pending: set[str] = set()
        first_page = 0
        newest = ""
        pages_read = 0
        while True:
            reply = await self._backend.call(tenant, "listAsyncJobs", page=page, pagesize=size)
            part = rows(reply, "asyncjobs")
            if not part and page > 1 and not pages_read:
                page = 1
                continue
            pages_read += 1
            found = {text(row, "jobid") for row in part if number(row, "jobstatus") == 0}
            pending |= found
            first_page = first_page or (page if found else 0)
            newest = max([newest, *(text(row, "created") for row in part)])
            count = number(reply, "count")
            last_page = page + 1 if count is None else math.ceil(count / size)
            if len(part) < size or page >= last_page or pages_read == _MOST_PAGES:
                return _Swept(frozenset(pending), first_page or page, newest)
            page = max(page + 1, last_page - _MOST_PAGES + pages_read + 1)

    def _correct(self, tenant: Tenant, job_id: str, created: str) -> None:
        """A job has not ended: if the last look should have seen it and did not, the next one begins anew."""
        before: _Swept | None = self._backend.held(tenant.credentials, _SWEPT)
        if before is not None and job_id not in before.pending and created <= before.newest:
            self._backend.forget(tenant.credentials, _SWEPT)


def job_of(job_id: str, row: Row) -> Job:
    """The job in a reply of `queryAsyncJobResult`."""
    status = number(row, "jobstatus")
    result = row.get("jobresult")
    result = result if isinstance(result, dict) else {}
    if status == 0:
        return Job(job_id, JobState.PENDING)
    if status == 1:
        return Job(job_id, JobState.DONE, result=result)
    if status != 2:
        raise errors.Unavailable("CloudStack gave an answer that is not understood", detail=f"job status {status!r}")
    code = number(result, "errorcode") or number(row, "jobresultcode") or 530
    failed = failure(code, text(result, "errortext"), command=f"job {job_id} ({command_of(row) or 'unknown'})")
    return Job(job_id, JobState.FAILED, error=type(failed).__name__, message=failed.message, detail=failed.detail)


def submitted(reply: Row) -> Submitted:
    """What an asynchronous command answered."""
    job_id = text(reply, "jobid")
    if not job_id:
        raise errors.Unavailable("CloudStack gave an answer that is not understood", detail="no jobid")
    return Submitted(job_id, text(reply, "id"))


async def job_about(backend: Backend, tenant: Tenant, object_id: str, kind: str, *, pending: str = "") -> str | None:
    """
    The id of the latest job about an object, or None. Source: `listAsyncJobs`.

    :param pending: only of jobs of this command that have not ended, as `StopVM`.
    """
    mine = await _about(backend, tenant, object_id, kind)
    if pending:
        mine = [row for row in mine if number(row, "jobstatus") == 0 and command_of(row) == pending]
    return text(mine[-1], "jobid") if mine else None


async def jobs_about(backend: Backend, tenant: Tenant, object_id: str, kind: str, command: str) -> list[str]:
    """The ids of the jobs of a command about an object, the latest last. Source: `listAsyncJobs`."""
    return [text(row, "jobid") for row in await _about(backend, tenant, object_id, kind) if command_of(row) == command]


async def _about(backend: Backend, tenant: Tenant, object_id: str, kind: str) -> list[Row]:
    """The jobs about an object in the order in which they began, as far as that is told by the second."""
    found: list[Row] = []
    async for page in backend.pages(
        tenant.credentials, "listAsyncJobs", "asyncjobs", resourceid=object_id, resourcetype=kind
    ):
        found += [row for row in page if text(row, "jobinstanceid") == object_id]
    return sorted(found, key=lambda row: text(row, "created"))


async def settle(backend: Backend, tenant: Tenant, command: str) -> None:
    """
    Wait until none of the tenant's jobs of a command that are under way now is so any more, or for some seconds.

    For who looks whether a call took effect whose answer was lost: its job may not have come to it yet. Jobs that
    others begin meanwhile are none of it. Answers are lost where CloudStack has too much to do already: it is looked
    less and less often.
    """
    deadline = time.monotonic() + _SETTLE_SECONDS
    pause_seconds = _SETTLE_PAUSE_SECONDS
    waited_for: set[str] | None = None
    while time.monotonic() < deadline:
        busy: set[str] = set()
        async for page in backend.pages(tenant.credentials, "listAsyncJobs", "asyncjobs"):
            busy |= {text(row, "jobid") for row in page if number(row, "jobstatus") == 0 and command_of(row) == command}
        waited_for = busy if waited_for is None else waited_for & busy
        if not waited_for:
            return
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, _SETTLE_LONGEST_PAUSE_SECONDS)


def command_of(row: Row) -> str:
    """The command of a job, from the name of CloudStack's class for it: `CreateTags`."""
    match = _COMMAND.search(text(row, "cmd"))
    return match[1] if match else ""


def first(reply: Row, key: str) -> Row | None:
    """The first row of a list reply."""
    found = rows(reply, key)
    return found[0] if found else None
