"""
Durable operations: each is written to the store before it is begun, and carried through whatever process dies.

A process runs the operations whose lease it holds and renews the leases by heartbeats. Whoever finds a lapsed lease
takes the operation over and replays its workflow from the journal.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gceshim.drivers.base import Jobs
from gceshim.drivers.errors import DriverError, NotFound, Unavailable
from gceshim.drivers.fence import fenced
from gceshim.model import Tenant
from gceshim.operations.chronicle import Chronicle
from gceshim.operations.errors import OperationNotFound, OperationRunning, RequestIdReused, ShuttingDown
from gceshim.operations.journal import Journal
from gceshim.operations.ledger import Handover, LeaseLost, Ledger, Stopped
from gceshim.operations.poller import Poller
from gceshim.operations.record import (
    Failure,
    Operation,
    OperationWarning,
    from_record,
    new_id,
    new_name,
    to_record,
)
from gceshim.operations.settings import OperationsSettings
from gceshim.operations.waiters import Waiters
from gceshim.operations.workflows import Workflow, Workflows
from gceshim.stores.base import Store
from gceshim.stores.errors import Conflict, Duplicate, StoreError

LOG = logging.getLogger(__name__)

INTERNAL: Final = Failure("INTERNAL_ERROR", "Internal error. Please try again.", 500, "Internal error")


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True, eq=False)
class _Running:
    ledger: Ledger
    task: asyncio.Task[None] | None = None
    abandoned: bool = False
    """Cut off in the middle of a backend call: the lease is kept until it lapses, to give that call time to settle."""


class Engine:
    """
    Runs, resumes and reports operations.

    :param tenants: gives the tenant for a subject and a project, with the stored credentials of the subject.
    :param explain: puts a driver's error, of an operation, into the words of the API.
    :param now: the time, aware, in UTC.
    """

    def __init__(
        self,
        store: Store,
        jobs: Jobs,
        tenants: Callable[[str, str], Awaitable[Tenant]],
        explain: Callable[[DriverError, Operation], Failure],
        settings: OperationsSettings,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._tenants = tenants
        self._explain = explain
        self._settings = settings
        self._now = now
        self._holder = secrets.token_hex(8)
        self._workflows = Workflows()
        self._poller = Poller(jobs, settings)
        self._running: dict[str, _Running] = {}
        self._waiters = Waiters(store.operations, settings, self._running.__contains__)
        self._accepting: set[asyncio.Task[Operation]] = set()
        self._heartbeat: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._closing = False
        self.chronicle = Chronicle()

    @property
    def holder(self) -> str:
        """By which name it holds leases."""
        return self._holder

    def register(self, name: str, workflow: Workflow) -> None:
        """
        Make a workflow `async def workflow(steps, *arguments)` known, before `start`.

        Arguments are stored as JSON and rebuilt from the annotations of the parameters. The int attribute `id` of
        what it returns, if any, becomes the operation's `target_id`.
        :param name: stays the same from release to release: it is stored. :raises TypeError, ValueError: misuse.
        """
        self._workflows.register(name, workflow)

    async def start(self) -> None:
        """Take over operations whose lease has lapsed, and begin to give signs of life. :raises StoreError:"""
        await self.recover()
        self._heartbeat = self._every(self._settings.heartbeat_seconds, self._renew)
        self._sweeper = self._every(self._settings.sweep_seconds, self._sweep)

    async def close(self, seconds: float) -> None:
        """
        Accept nothing more, let what runs finish for up to `seconds`, and hand over the rest.

        A backend call that is under way then gets `handover_seconds` more, so that its job id is not lost.
        """
        self._closing = True
        await _cancel(self._sweeper)
        if self._accepting:
            await asyncio.wait(self._accepting)
        await self._finish_running(seconds)
        for running in self._running.values():
            running.ledger.stop(Handover("the server is closing"))
            _interrupt(running)
        await self._finish_running(self._settings.handover_seconds)
        for running in self._running.values():
            running.abandoned = running.ledger.acting > 0
            if running.task is not None:
                running.task.cancel()
        await self._finish_running(None)
        await _cancel(self._heartbeat)
        await self._waiters.close()
        await self._poller.close()

    def stop_waiting(self) -> None:
        """Answer all who wait for operations as these are now, and let nobody wait any more: the server is to close."""
        self._waiters.stop()

    @property
    def numbers(self) -> dict[str, int]:
        """Of this process, now: operations that it "runs", those that are "waited" for, "tenants" with pending jobs."""
        return {"runs": len(self._running), "waited": self._waiters.count, "tenants": self._poller.tenants}

    @property
    def rounds(self) -> dict[str, int]:
        """How often jobs were asked about: "sweep" (all of a tenant's at once) and "ask" (one)."""
        return dict(self._poller.rounds)

    async def begin(
        self,
        tenant: Tenant,
        workflow: str,
        arguments: tuple[Any, ...],
        *,
        type: str,  # noqa: A002  the word for it in the record
        scope_kind: str,
        scope: str,
        target: str,
        target_id: int | None = None,
        user: str = "",
        request_id: str = "",
        request_digest: str = "",
        group_id: str = "",
        warnings: Sequence[OperationWarning] = (),
        wait_seconds: float = 0.0,
    ) -> Operation:
        """
        Write an operation to the store and go on with it in the background.

        :param request_id: a second call of the same owner with the same id gets the first one's operation.
        :param request_digest: tells apart requests; a second call must have the same.
        :param wait_seconds: return it as it is when it has ended, or after this time.
        :raises RequestIdReused: the request id came with another digest before.
        :raises ShuttingDown: the server is closing. :raises StoreError: it could not be written.
        """
        if self._closing:
            raise ShuttingDown("The server is shutting down.")
        now = self._now()
        operation = Operation(
            name=new_name(now),
            id=new_id(),
            owner=tenant.owner,
            subject=tenant.subject,
            project=tenant.project,
            user=user,
            type=type,
            scope_kind=scope_kind,
            scope=scope,
            target=target,
            target_id=target_id,
            inserted=now,
            workflow=workflow,
            arguments=self._workflows.dump(workflow, arguments),
            client_request_id=request_id,
            request_digest=request_digest,
            group_id=group_id,
            warnings=tuple(warnings),
            lease_holder=self._holder,
            lease_until=now + self._lease,
        )
        # Shielded: a caller who goes away must not leave a record behind that nobody runs.
        accepting = asyncio.get_running_loop().create_task(self._accept(operation, tenant))
        self._accepting.add(accepting)
        accepting.add_done_callback(self._accepting.discard)
        accepted = await asyncio.shield(accepting)
        if wait_seconds > 0 and not accepted.done:
            return await self._wait(accepted, wait_seconds)
        return accepted

    async def begun(
        self, owner: str, request_id: str, request_digest: str, *, wait_seconds: float = 0.0
    ) -> Operation | None:
        """
        The operation that was begun for a request id; None for a new id. To be asked before anything is checked that
        the operation itself has changed: the name of what it made is no longer free.

        :param wait_seconds: as for `begin`. :raises RequestIdReused: it was for a request of another digest.
        """
        record = await self._store.operations.find_request(owner, request_id)
        if record is None:
            return None
        operation = _same_request(from_record(record), request_digest)
        if wait_seconds > 0 and not operation.done:
            return await self._wait(operation, wait_seconds)
        return operation

    async def get(self, owner: str, scope_kind: str, scope: str, name_or_id: str) -> Operation:
        """
        The owner's operation in this scope, by name or numeric id.

        :raises OperationNotFound: there is none, or it is another owner's, or of another scope.
        """
        if name_or_id.isdecimal() and name_or_id.isascii() and len(name_or_id) <= 19:
            record = await self._store.operations.find_id(owner, min(int(name_or_id), 2**63 - 1))
        else:
            record = await self._store.operations.get(name_or_id)
        if record is None or (record.owner, record.scope_kind, record.scope) != (owner, scope_kind, scope):
            raise OperationNotFound(f"There is no operation {name_or_id!r}.")
        return from_record(record)

    async def list(
        self,
        owner: str,
        scope_kind: str | None = None,
        scope: str | None = None,
        *,
        after: str = "",
        newest_first: bool = False,
        limit: int = 500,
    ) -> Sequence[Operation]:
        """
        The owner's operations by name, which is by time; of one scope, or (None) of all.

        :param after: the name that the page before ended with. :param limit: 1 to 1000; fewer come only at the end.
        """
        records = await self._store.operations.list(
            owner, scope_kind=scope_kind, scope=scope, after=after, newest_first=newest_first, limit=limit
        )
        return [from_record(record) for record in records]

    async def wait(self, owner: str, scope_kind: str, scope: str, name_or_id: str, seconds: float) -> Operation:
        """The operation as it is when it has ended, or after `seconds`. :raises OperationNotFound: as `get`."""
        operation = await self.get(owner, scope_kind, scope, name_or_id)
        return operation if operation.done or seconds <= 0 else await self._wait(operation, seconds)

    async def delete(self, owner: str, scope_kind: str, scope: str, name_or_id: str) -> None:
        """
        Remove the record of an operation that has ended.

        :raises OperationNotFound: as `get`. :raises OperationRunning: it has not ended.
        """
        operation = await self.get(owner, scope_kind, scope, name_or_id)
        if not operation.done:
            raise OperationRunning(f"The operation {operation.name!r} has not ended.")
        try:
            await self._store.operations.delete(operation.name, operation.version)
        except Conflict as exc:
            raise OperationNotFound(f"There is no operation {name_or_id!r}.") from exc

    async def recover(self) -> int:
        """Take over operations whose lease has lapsed, go on with them, and return how many. :raises StoreError:"""
        count = 0
        while not self._closing:
            now = self._now()
            lapsed = await self._store.operations.lapsed(now, limit=self._settings.sweep_batch)
            claimed = 0
            for record in lapsed:
                if record.name in self._running:
                    continue  # the heartbeat is late; nobody has taken it over yet
                taken = await self._store.operations.claim(record.name, self._holder, now=now, until=now + self._lease)
                if taken is not None and not self._closing:
                    self._start(from_record(taken), None)
                    claimed += 1
            count += claimed
            if claimed < self._settings.sweep_batch:
                break
        return count

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self._settings.lease_seconds)

    async def _accept(self, operation: Operation, tenant: Tenant) -> Operation:
        try:
            await self._store.operations.insert(to_record(operation))
        except Duplicate:
            record = None
            if operation.client_request_id:
                record = await self._store.operations.find_request(operation.owner, operation.client_request_id)
            if record is None:
                raise
            return _same_request(from_record(record), operation.request_digest)
        self._start(operation, tenant)
        return operation

    async def _wait(self, operation: Operation, seconds: float) -> Operation:
        ended = await self._waiters.wait(operation.name, seconds)
        return ended or await self.get(operation.owner, operation.scope_kind, operation.scope, operation.name)

    def _start(self, operation: Operation, tenant: Tenant | None) -> None:
        running = _Running(Ledger(operation, self._store.operations, self._settings, self._now))
        self._running[operation.name] = running
        running.task = asyncio.get_running_loop().create_task(self._run(running, tenant), name=operation.name)

    async def _run(self, running: _Running, tenant: Tenant | None) -> None:
        with self.chronicle.running(running.ledger.operation, taken_over=tenant is None):
            await self._run_told(running, tenant)

    async def _run_told(self, running: _Running, tenant: Tenant | None) -> None:
        """Run one operation to its end, or to where this process must let go of it."""
        ledger = running.ledger
        name = ledger.operation.name
        started = time.monotonic()
        ended: Operation | None = None
        try:
            ended = await self._carry_out(ledger, tenant)
            self.chronicle.ended(ended, started)
        except (Stopped, asyncio.CancelledError) as exc:
            if running.abandoned or (ledger.stopped is None and not isinstance(exc, Stopped)):
                raise
            self.chronicle.let_go(name, ledger.stopped or exc)
            if not isinstance(ledger.stopped, LeaseLost):
                await self._release(ledger)
        except StoreError as exc:
            self.chronicle.left(name, exc)
        finally:
            del self._running[name]
            if ended is not None:
                self._waiters.wake(name, ended)

    async def _carry_out(self, ledger: Ledger, tenant: Tenant | None) -> Operation:
        operation = ledger.operation
        failure: Failure | None = None
        result: Any = None
        try:
            try:
                tenant = tenant or await self._tenant(operation)
                journal = Journal(ledger, tenant, self._poller, self._settings)
                with fenced(ledger.hold):
                    result = await self._workflows.run(operation.workflow, journal, operation.arguments)
            except DriverError as exc:
                LOG.info("operation %s: failed: %s (%s)", operation.name, exc.message, exc.detail)
                failure = self._explain(exc, operation)
        except (Stopped, StoreError):
            raise
        except Exception:  # the edge of an operation
            LOG.exception("operation %s: internal error", operation.name)
            failure = INTERNAL
        target_id = getattr(result, "id", None)
        return await ledger.end(failure, target_id if isinstance(target_id, int) else None)

    async def _tenant(self, operation: Operation) -> Tenant:
        """The tenant of an operation that was taken over. :raises DriverError: it is gone. :raises Handover: later."""
        try:
            tenant = await self._tenants(operation.subject, operation.project)
        except Unavailable as exc:
            raise Handover("the backend does not answer") from exc
        if tenant.owner != operation.owner:
            raise NotFound("The project is not the one that the operation was begun in.", kind="project")
        return tenant

    async def _release(self, ledger: Ledger) -> None:
        try:
            await ledger.write()
            await self._store.operations.release(self._holder, [ledger.operation.name])
        except (LeaseLost, StoreError) as exc:
            LOG.info("operation %s: not released: %s", ledger.operation.name, exc)

    async def _renew(self) -> None:
        held = {name: running for name, running in self._running.items() if not running.ledger.operation.done}
        if not held:
            return
        renewed = await self._store.operations.renew(self._holder, held.keys(), self._now() + self._lease)
        for name in held.keys() - renewed:
            if self._running.get(name) is held[name] and not held[name].ledger.operation.done:
                held[name].ledger.stop(LeaseLost(f"operation {name} was taken over"))
                _interrupt(held[name])

    async def _sweep(self) -> None:
        await self.recover()
        await self._store.purge(self._now())

    async def _finish_running(self, seconds: float | None) -> None:
        tasks = [running.task for running in self._running.values() if running.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    def _every(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds)
                try:
                    await work()
                except StoreError as exc:
                    LOG.warning("operations: %s", exc)
                except Exception:  # the edge of a background task
                    LOG.exception("operations: internal error")

        return asyncio.get_running_loop().create_task(repeat(), name=f"operations {work.__name__}")


def _same_request(earlier: Operation, digest: str) -> Operation:
    if earlier.request_digest != digest:
        raise RequestIdReused("The request id was used before, for a different request.") from None
    return earlier


def _interrupt(running: _Running) -> None:
    """Cancel it unless a call is under way whose outcome must not be lost; after that it stops by itself."""
    if running.task is not None and not running.ledger.busy:
        running.task.cancel()


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
