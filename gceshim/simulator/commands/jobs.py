"""Asynchronous jobs and events.

Source: AsyncJobManagerImpl, AsyncJobResponse, QueryManagerImpl, ParamProcessWorker.
"""

import datetime
import re

from gceshim.simulator import entities as model
from gceshim.simulator import errors, scopes
from gceshim.simulator.call import Call, prune, wire_date
from gceshim.simulator.filters import Rows
from gceshim.simulator.jobs import job_row
from gceshim.simulator.registry import Listing, Provenance, Row, command

DAY_SECONDS = 86_400.0
DAY = re.compile(r"(\d{1,4})-(\d{1,2})-(\d{1,2})")
MOMENT = re.compile(r"\d+-\d+-\d+ \d+:\d+:\d+")


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
    since = read_day(call, "startdate")
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
    start, end = read_moment(call, "startdate"), read_moment(call, "enddate", whole_day=True)
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


def read_day(call: Call, name: str) -> float | None:
    """A date parameter of most commands: the beginning of a day, as seconds since the epoch. What follows is ignored.

    :raises ApiError: 431 unless it begins with ``yyyy-MM-dd``.
    """
    text = call.args.text(name)
    if text is None:
        return None
    match = DAY.match(text)
    if match is not None:
        try:
            year, month, day = map(int, match.groups())
            return datetime.datetime(year, month, day, tzinfo=datetime.UTC).timestamp()
        except ValueError:
            pass
    raise errors.bad_parameter(
        f"Unable to parse date {text} for command {call.spec.name.lower()}, please pass dates in the format"
        " yyyy-MM-dd or yyyy-MM-dd HH:mm:ss"
    )


def read_moment(call: Call, name: str, *, whole_day: bool = False) -> float | None:
    """A date parameter of the commands about events, which may say the time too, as seconds since the epoch.

    ``whole_day``: a date without a time is the end of that day, not its beginning.

    :raises ApiError: 431 unless it is ``yyyy-MM-dd`` or ``yyyy-MM-dd HH:mm:ss``.
    """
    day = read_day(call, name)
    text = call.args.text(name)
    if day is None or text is None:
        return None
    if MOMENT.fullmatch(text):
        hours, minutes, seconds = (int(part) for part in text.partition(" ")[2].split(":"))
        return day + 3600.0 * hours + 60.0 * minutes + seconds
    return day + DAY_SECONDS - 1 if whole_day else day
