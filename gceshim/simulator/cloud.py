"""The simulated cloud without its HTTP server: dispatch of one call to its command."""

import datetime
import inspect
import logging
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from gceshim.simulator import dataset, errors, paging, scopes, signature
from gceshim.simulator.call import Call, Caller
from gceshim.simulator.catalogue import CommandSpec, check_row, load_catalogue
from gceshim.simulator.command_groups import all_handlers
from gceshim.simulator.entities import Record, User
from gceshim.simulator.faults import Fault, Faults
from gceshim.simulator.jobs import Jobs, record_event
from gceshim.simulator.params import Binder, unpack
from gceshim.simulator.registry import Created, Handler, Listing, Row
from gceshim.simulator.settings import SimulatorSettings
from gceshim.simulator.state import State

log = logging.getLogger(__name__)

LIST_PREFIXES = ("list", "get", "query")


class Cloud:
    """State, settings and commands of one simulated cloud.

    ``calls`` holds the latest commands received, ``call_counts`` the number of each; ``bugs`` the texts of failures of
    the simulator itself, which tests assert to be empty.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.catalogue = load_catalogue()
        self.handlers = all_handlers()
        self.faults = Faults(settings.seed)
        self.calls: deque[str] = deque(maxlen=settings.remembered_calls)
        self.call_counts: Counter[str] = Counter()
        self.bugs: deque[str] = deque(maxlen=100)
        self.jobs = Jobs(self)
        self.state = State(settings.seed)
        dataset.fill(self.state, settings)
        for fault in settings.faults:
            self.faults.add(
                fault.name,
                fault.command,
                fault.times,
                probability=fault.probability,
                seconds=fault.seconds,
                status=fault.status,
                text=fault.text,
                skip=fault.skip,
            )

    def report_bug(self, where: str, exc: Exception) -> None:
        """Keep and log a failure of the simulator itself."""
        self.bugs.append(f"{where}: {type(exc).__name__}: {exc}")
        log.error("simulator failed in %s", where, exc_info=exc)

    def spec(self, name: str) -> CommandSpec | None:
        """The catalogue's entry of a command, if the simulator has it."""
        return self.catalogue.commands.get(name) if name in self.handlers else None

    def verify_signature(self, raw: Mapping[str, str]) -> Caller:
        """The caller by API key and signature.

        :raises ApiError: 401, whatever is wrong.
        """
        by_name = {name.lower(): value for name, value in raw.items()}
        key, given = by_name.get("apikey"), by_name.get("signature")
        if not key or not given:
            raise errors.unauthorized()
        user = next((user for user in self.state.rows(User) if user.api_key == key), None)
        if user is None or not user.enabled or not user.api_key_access:
            raise errors.unauthorized()
        if by_name.get("signatureversion") == "3":
            expires = by_name.get("expires", "")
            if signature.is_expired(expires, datetime.datetime.now(datetime.UTC)):
                raise errors.unauthorized()
        if not signature.is_good(raw, given, user.secret_key):
            raise errors.unauthorized()
        return Caller(user)

    def execute(self, spec: CommandSpec, caller: Caller, raw: Mapping[str, str], method: str) -> Row:
        """Run one authenticated command; the result is what stands under the response name.

        :raises ApiError: the refusal to send.
        """
        handler = self.handlers[spec.name]
        if handler.admin_only and not caller.is_admin:
            raise errors.not_available(spec.name, caller.account.name)
        args = Binder(spec, handler, self.state).bind(unpack(raw), is_admin=caller.is_admin)
        call = Call(self, spec, handler, caller=caller, args=args, method=method)
        fault = self._fault_of(call)
        reads = spec.name.startswith(LIST_PREFIXES)
        if not reads:
            scopes.check_arguments(call)
        if handler.in_job:
            call.pending_fault = fault
            return {"jobid": self.jobs.submit(call, handler.run).uuid}
        if fault is not None and not (spec.is_async and fault.name in ("capacity", "failing_job")):
            call.pending_fault = fault
            call.raise_fault()
        if not reads:
            scopes.check_live(call)
        bounds = paging.page_bounds(args.number("page"), args.number("pagesize")) if "page" in spec.params else None
        outcome = handler.run(call)
        if isinstance(outcome, Created):
            call.pending_fault = fault
            job = self.jobs.submit(call, outcome.work, outcome.record)
            return {"id": outcome.record.uuid, "jobid": job.uuid}
        return self._reply(call, outcome, bounds)

    def _fault_of(self, call: Call) -> Fault | None:
        names = ["quota_full", "capacity", "error_rate"]
        if call.spec.is_async:
            names.append("failing_job")
        return self.faults.take(call.spec.name, *names)

    def _reply(self, call: Call, outcome: Any, bounds: tuple[int, int | None] | None) -> Row:
        spec = call.spec
        if isinstance(outcome, Listing):
            return self._list_reply(call, outcome, bounds)
        subject = call.args.one("id", Record)
        record_event(call, done=True, resource=subject.uuid if subject else None)
        if outcome is None:
            return {"success": True}
        check_row(outcome, spec.response, spec.name)
        return {spec.key: outcome} if spec.kind == "object" else outcome

    @staticmethod
    def _list_reply(call: Call, listing: Listing, bounds: tuple[int, int | None] | None) -> Row:
        count = len(listing.rows)
        if count == 0:
            return {}
        if call.args.flag("retrieveonlyresourcecount"):
            return {"count": count}
        rows = [listing.view(row) for row in paging.cut(listing.rows, bounds or (0, None))]
        for row in rows:
            check_row(row, call.spec.response, call.spec.name)
        return {"count": count, call.spec.key: rows} if rows else {"count": count}

    def check_declarations(self) -> None:
        """Verify that every handler fits its catalogue entry.

        :raises ValueError: naming the command that does not.
        """
        for name, handler in self.handlers.items():
            self._check_declaration(self.catalogue.commands[name], handler)

    @staticmethod
    def _check_declaration(spec: CommandSpec, handler: Handler) -> None:
        if inspect.iscoroutinefunction(handler.run) and not spec.is_async:
            raise ValueError(f"{spec.name} answers at once, its function must not be a coroutine")
        if spec.submit_id and handler.in_job:
            raise ValueError(f"{spec.name} creates, its function must return Created")
