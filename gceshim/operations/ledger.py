"""
The durable record of one operation that this process runs.

Each write replaces the whole record, if its version is still the one that this process wrote or claimed last. So a
process whose lease was taken over stops at its next write, which comes before its next backend call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from gceshim.operations.record import Failure, Operation, OperationError, OperationWarning, Status, Step, to_record
from gceshim.operations.settings import OperationsSettings
from gceshim.stores.base import EPOCH, OperationStore
from gceshim.stores.errors import Conflict


class Stopped(Exception):
    """The operation is to go no further in this process. Not a driver error, so no workflow handles it."""


class LeaseLost(Stopped):
    """Another process has taken the operation over; this one must touch nothing more."""


class Handover(Stopped):
    """The operation is to be let go, for this or another process to go on from the journal."""


class Ledger:
    """
    The record, and the one way to change it.

    :param operation: as inserted or claimed: its lease is this process's.
    """

    def __init__(
        self, operation: Operation, store: OperationStore, settings: OperationsSettings, now: Callable[[], datetime]
    ) -> None:
        self.operation = operation
        self.steps = {step.name: step for step in operation.journal}
        """By name, in the order in which they began. Changes are written with the next `write`."""
        self.acting = 0
        """Backend calls under way that may change something."""
        self.stopped: Stopped | None = None
        self._store = store
        self._settings = settings
        self._now = now
        self._writing = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether a backend call or a write is under way."""
        return self.acting > 0 or self._writing.locked()

    def set_progress(self, percent: int) -> None:
        """To be written with the next write; never goes back."""
        self.operation = replace(self.operation, progress=max(self.operation.progress, min(100, percent)))

    def add_warning(self, warning: OperationWarning) -> None:
        """To be written with the next write. Once is enough: a replay warns again."""
        if warning not in self.operation.warnings:
            self.operation = replace(self.operation, warnings=(*self.operation.warnings, warning))

    def stop(self, reason: Stopped) -> None:
        """Let no further step begin; and, if the lease is lost, write nothing more."""
        if not isinstance(self.stopped, LeaseLost):
            self.stopped = reason

    def check(self) -> None:
        """:raises Stopped: `stop` was called."""
        if self.stopped is not None:
            raise self.stopped

    @contextlib.contextmanager
    def act(self) -> Iterator[None]:
        """Around a backend call that may change something, and the write that records its outcome."""
        self.acting += 1
        try:
            yield
        finally:
            self.acting -= 1

    async def hold(self) -> None:
        """Make sure of the lease, by a write if it may have lapsed. :raises: as `write`."""
        if isinstance(self.stopped, LeaseLost):
            raise self.stopped
        if self._now() >= self.operation.lease_until:
            await self.write()

    async def start(self, name: str) -> None:
        """Write down that a step is begun. :raises: as `write`; then it is not begun."""
        repeated = name in self.steps
        self.steps.setdefault(name, Step(name))
        if self.operation.started is None:
            self.operation = replace(self.operation, status=Status.RUNNING, started=self._now())
        try:
            await self.write()
            self.check()
        except BaseException:
            # Whoever goes on is not to look for what nobody has asked for.
            if not repeated:
                del self.steps[name]
            raise

    async def end(self, failure: Failure | None, target_id: int | None) -> Operation:
        """
        Write the outcome and give up the lease. :raises: as `write`.

        Arguments and the steps' results are dropped: nothing needs them any more, and they may hold secrets.
        """
        now = self._now()
        self.operation = replace(
            self.operation,
            status=Status.DONE,
            progress=100,
            started=self.operation.started or now,
            ended=now,
            expires=now + timedelta(seconds=self._settings.keep_seconds),
            target_id=self.operation.target_id if target_id is None else target_id,
            arguments=(),
        )
        if failure is not None:
            self.operation = replace(
                self.operation,
                errors=(OperationError(failure.code, failure.message),),
                http_status=failure.http_status,
                http_message=failure.http_message,
            )
        self.steps = {name: replace(step, result=None) for name, step in self.steps.items()}
        await self.write()
        return replace(self.operation, journal=tuple(self.steps.values()))

    async def write(self) -> None:
        """
        Put the record into the store as it is now, with a fresh lease.

        :raises LeaseLost: the store has another version of it.
        :raises gceshim.stores.errors.Unavailable: it cannot be written.
        """
        async with self._writing:
            if isinstance(self.stopped, LeaseLost):
                raise self.stopped
            operation = replace(self.operation, journal=tuple(self.steps.values()))
            if operation.done:
                operation = replace(operation, lease_holder="", lease_until=EPOCH)
            else:
                lease = timedelta(seconds=self._settings.lease_seconds)
                operation = replace(operation, lease_until=self._now() + lease)
            try:
                stored = await self._store.update(to_record(operation))
            except Conflict as exc:
                lost = LeaseLost(f"operation {operation.name} was taken over")
                self.stop(lost)
                raise lost from exc
            # Only these: progress and warnings may have come while the store was writing.
            self.operation = replace(
                self.operation,
                version=stored.version,
                lease_holder=operation.lease_holder,
                lease_until=operation.lease_until,
            )
