"""Asynchronous jobs and events.

Source: AsyncJobManagerImpl, AsyncJobResponse, QueryManagerImpl.
"""

import datetime

from gceshim.simulator import entities as model
from gceshim.simulator import errors, scopes
from gceshim.simulator.call import Call, prune, wire_date
from gceshim.simulator.filters import Rows
from gceshim.simulator.jobs import job_row
from gceshim.simulator.registry import Listing, Provenance, Row, command


@command("queryAsyncJobResult", Provenance.RECORDED, entities={"jobid": model.Job})
def query_async_job_result(call: Call) -> Row:
    job = call.args.one("jobid", model.Job)
    resource, kind = call.args.text("resourceid"), call.args.text("resourcetype")
    if job is None:
        if resource is None or kind is None:
            raise errors.invalid("Expected parameter job id or parameters resource type and resource id")
        matching = [
            row
            for row in call.state.rows(model.Job)
            if row.instance_uuid == resource and (row.instance_type or "").casefold() == kind.casefold()
        ]
        if not matching:
            raise errors.invalid("Unable to find job by the given resource")
        job = matching[-1]
    if not scopes.can_access(call.caller, job.account):
        raise errors.denied(f"Acct[{call.caller.account.uuid}] does not have permission to operate with job {job.uuid}")
    return job_row(job)


@command("listAsyncJobs", Provenance.DOCUMENTED)
def list_async_jobs(call: Call) -> Listing:
    since = read_date(call, "startdate")
    scope = scopes.list_scope(call, by_id=False)
    rows = Rows(call, call.state.rows(model.Job)).where(lambda job: scope(job.account))
    rows.like("keyword", lambda job: job.java_class).same("resourceid", lambda job: job.instance_uuid)
    rows.same("resourcetype", lambda job: job.instance_type)
    if since is not None:
        rows.where(lambda job: job.created >= since)
    return Listing(rows.found, job_row)


@command("listEvents", Provenance.DOCUMENTED)
def list_events(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.Event))
    identifier = call.args.text("id")
    if identifier is not None:
        rows.where(lambda event: event.uuid == identifier.lower())
    rows.same("type", lambda event: event.kind).same("level", lambda event: event.level)
    rows.same("state", lambda event: event.state).same("resourceid", lambda event: event.resource)
    rows.same("resourcetype", lambda event: event.resource_type)
    rows.like("keyword", lambda event: event.kind, lambda event: event.description, lambda event: event.username)
    start, end = read_date(call, "startdate"), read_date(call, "enddate")
    rows.where(lambda event: (start is None or event.created >= start) and (end is None or event.created <= end))
    rows.owned()
    rows.found.reverse()
    return Listing(rows.found, event_row)


def event_row(event: model.Event) -> Row:
    return prune(
        {
            "id": event.uuid,
            "type": event.kind,
            "level": event.level,
            "description": event.description,
            **scopes.owner_fields(event.account),
            "created": wire_date(event.created),
            "username": event.username,
            "state": event.state,
            "parentid": event.parent,
            "resourceid": event.resource,
            "resourcetype": event.resource_type,
            "archived": False,
        }
    )


def read_date(call: Call, name: str) -> float | None:
    """A date parameter, as seconds since the epoch.

    :raises ApiError: 431 unless it is ``yyyy-MM-dd`` or ``yyyy-MM-dd HH:mm:ss``.
    """
    text = call.args.text(name)
    if text is None:
        return None
    for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"):
        try:
            return datetime.datetime.strptime(text, form).replace(tzinfo=datetime.UTC).timestamp()
        except (ValueError, OverflowError):
            continue
    raise errors.bad_parameter(
        f"Unable to parse date {text} for command {call.spec.name.lower()}, please pass dates in the format"
        " yyyy-MM-dd or yyyy-MM-dd HH:mm:ss"
    )
