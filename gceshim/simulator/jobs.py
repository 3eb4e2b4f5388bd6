"""Asynchronous jobs: submission, one at a time per machine, and the frozen result.

Source: AsyncJobManagerImpl, ApiAsyncJobDispatcher, AsyncJobResponse.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from gceshim.simulator import errors, scopes
from gceshim.simulator.call import Call, now, prune, wire_date
from gceshim.simulator.catalogue import check_row
from gceshim.simulator.entities import Event, Job, Nic, Record, Vm, Volume
from gceshim.simulator.registry import Row, Work

if TYPE_CHECKING:
    from gceshim.simulator.cloud import Cloud

log = logging.getLogger(__name__)

DONE = 1
FAILED = 2
REMEMBERED_EVENTS = 10_000


class Jobs:
    """Runs jobs on the event loop. Jobs on one machine wait for each other, in the order of submission."""

    def __init__(self, cloud: "Cloud") -> None:
        self._cloud = cloud
        self._tasks: set[asyncio.Task[None]] = set()
        self._last: dict[str, asyncio.Task[None]] = {}

    def submit(self, call: Call, work: Work, created: Record | None = None) -> Job:
        """Enter a job and start it; it begins after the current turn of the loop."""
        state = self._cloud.state
        subject = created or call.args.one("id", Record)
        job = state.new(
            Job,
            account=call.caller.account,
            user=call.caller.user,
            command=call.spec.name,
            java_class=self._java_class(call),
            instance_type=call.handler.instance_type,
            instance_uuid=subject.uuid if subject is not None and call.handler.instance_type else None,
        )
        state.forget_oldest(Job, self._cloud.settings.remembered_jobs)
        call.job = job
        machine = self._machine(call, created)
        if machine is not None:
            machine.job_uuid = job.uuid
        before = self._last.get(machine.uuid) if machine else None
        task = asyncio.get_running_loop().create_task(self._run(call, job, work, machine, before))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if machine is not None:
            self._last[machine.uuid] = task
        return job

    @staticmethod
    def _java_class(call: Call) -> str:
        package, _, name = call.handler.java_class.rpartition(".")
        if call.is_root and package in ("vm", "volume", "network", "vpc", "address"):
            return f"org.apache.cloudstack.api.command.admin.{package}.{name}ByAdmin"
        return "org.apache.cloudstack.api.command.user." + (f"{package}.{name}" if package else name)

    @staticmethod
    def _machine(call: Call, created: Record | None) -> Vm | None:
        if isinstance(created, Vm):
            return created
        for name in ("virtualmachineid", "id"):
            record = call.args.one(name, Record)
            if isinstance(record, Nic | Volume):
                record = record.vm
            if isinstance(record, Vm):
                return record
        return None

    async def _run(
        self, call: Call, job: Job, work: Work, machine: Vm | None, before: "asyncio.Task[None] | None"
    ) -> None:
        if before is not None and not before.done():
            await asyncio.wait({before})
        result: Any
        try:
            if call.handler.in_job:
                scopes.check_live(call)
            row = await work(call)
            call.raise_fault()
            result, status, code = self._result(call, job, row), DONE, 0
        except errors.ApiError as exc:
            result, status, code = {"errorcode": exc.code, "errortext": exc.text}, FAILED, exc.code
        except Exception as exc:  # noqa: BLE001 - the outermost edge of a job
            self._cloud.report_bug(f"job of {call.spec.name}", exc)
            result, status, code = {"errorcode": 530, "errortext": errors.HIDDEN_TEXT}, FAILED, 530
        job.result, job.result_code, job.completed = result, code, now()
        job.status = status
        if machine is not None:
            if machine.job_uuid == job.uuid:
                machine.job_uuid = None
            if self._last.get(machine.uuid) is asyncio.current_task():
                del self._last[machine.uuid]
        record_event(call, done=job.status == DONE, resource=job.instance_uuid)

    @staticmethod
    def _result(call: Call, job: Job, row: Row | None) -> Row:
        spec = call.spec
        if spec.kind != "object":
            return {"success": True} if row is None else row
        shown = dict(row or {})
        if "jobid" in spec.response:
            shown.update(jobid=job.uuid, jobstatus=0)
        check_row(shown, spec.response, spec.name)
        return {spec.key: shown}

    async def stop(self) -> None:
        """Cancel what still runs, and wait for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._last.clear()


def record_event(call: Call, *, done: bool, resource: str | None) -> None:
    """Enter the event of a command that has one, when it is over."""
    handler, state = call.handler, call.state
    if not handler.event:
        return
    state.new(
        Event,
        account=call.caller.account,
        username=call.caller.user.username,
        kind=handler.event,
        level="INFO" if done else "ERROR",
        description=f"{'Successfully completed' if done else 'Error while'} {handler.name}",
        state="Completed",
        resource=resource,
        resource_type=handler.instance_type,
    )
    state.forget_oldest(Event, REMEMBERED_EVENTS)


def job_row(job: Job, *, with_result: bool = True) -> Row:
    """A job as queryAsyncJobResult and listAsyncJobs show it."""
    row = {
        "accountid": job.account.uuid,
        "account": job.account.name,
        "domainid": job.account.domain.uuid,
        "domainpath": job.account.domain.path,
        "userid": job.user.uuid,
        "cmd": job.java_class,
        "jobstatus": job.status,
        "jobprocstatus": 0,
        "jobresultcode": job.result_code,
        "jobinstancetype": job.instance_type,
        "jobinstanceid": job.instance_uuid,
        "created": wire_date(job.created),
        "jobid": job.uuid,
    }
    if job.status and with_result:
        row.update(jobresulttype="object", jobresult=job.result)
    if job.completed is not None:
        row["completed"] = wire_date(job.completed)
    return prune(row)
