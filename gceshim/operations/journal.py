"""
The journal of a running operation as workflows see it: `Steps`, kept in the operation's `Ledger`.

To save writes, the end of a step goes to the store with the next write that must be made: the start of the next
step, a job id, or the end of the operation. If it is lost, the replay finds a started step, as it would after a
crash a moment earlier.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from gceshim.drivers.base import Json, Steps, Submitted
from gceshim.drivers.errors import BY_NAME, DriverError, Failed, Overloaded, Timeout, Unavailable, from_job
from gceshim.model import JobState, Tenant
from gceshim.operations.ledger import Ledger
from gceshim.operations.poller import Poller
from gceshim.operations.record import OperationWarning, Step, StepError, StepState, error_name
from gceshim.operations.settings import OperationsSettings

LOG = logging.getLogger(__name__)

T = TypeVar("T")

FIND_PAUSE_SECONDS: Final = 0.2
CALL_TRIES: Final = 5


class Journal(Steps):
    """The steps of one operation whose lease this process holds."""

    def __init__(self, ledger: Ledger, tenant: Tenant, poller: Poller, settings: OperationsSettings) -> None:
        self.tenant = tenant
        self.operation = ledger.operation.name
        self._ledger = ledger
        self._poller = poller
        self._settings = settings
        self._entered: set[str] = set()

    async def run(
        self,
        name: str,
        action: Callable[[], Awaitable[Json]],
        *,
        find: Callable[[], Awaitable[Json | None]] | None = None,
    ) -> Json:
        step = self._enter(name)
        if step is not None and step.state is not StepState.STARTED:
            return _outcome(step)
        try:
            result = await self._do(name, action, find)
        except DriverError as exc:
            self._failed(name, exc)
            raise
        return self._finished(name, result)

    async def job(
        self,
        name: str,
        submit: Callable[[], Awaitable[Submitted]],
        *,
        find: Callable[[], Awaitable[Submitted | None]] | None = None,
    ) -> Mapping[str, Json]:
        step = self._enter(name)
        if step is not None and step.state is not StepState.STARTED:
            outcome: Mapping[str, Json] = _outcome(step)
            return outcome
        try:
            if step is not None and step.job_id:
                submitted = Submitted(step.job_id, step.object_id)
            else:
                submitted = await self._do(name, submit, find, keep=self._keep_job)
            result = await self._follow(submitted, find)
        except DriverError as exc:
            self._failed(name, exc)
            raise
        finished: Mapping[str, Json] = self._finished(name, result)
        return finished

    async def progress(self, percent: int) -> None:
        self._ledger.set_progress(percent)

    def warn(self, code: str, message: str, **data: str) -> None:
        self._ledger.add_warning(OperationWarning(code, message, data))

    def _enter(self, name: str) -> Step | None:
        if name in self._entered:
            raise ValueError(f"the workflow has two steps named {name!r}")
        self._entered.add(name)
        self._ledger.check()
        return self._ledger.steps.get(name)

    async def _do(
        self,
        name: str,
        action: Callable[[], Awaitable[T]],
        find: Callable[[], Awaitable[T | None]] | None,
        *,
        keep: Callable[[str, T], Awaitable[None]] | None = None,
    ) -> T:
        """
        Find what an earlier try made, if there was one; else call `action`.

        :param keep: writes the result down before anything else may happen.
        """
        if name in self._ledger.steps and find is not None:
            found = await self._find(find)
            if found is None:
                # Its process is dead, but the backend may have the call in hand still.
                await asyncio.sleep(self._settings.orphan_seconds)
                found = await self._find(find)
            if found is not None:
                if keep is not None:
                    await keep(name, found)
                return found
        repeated = name in self._ledger.steps
        # Also before repeating: this is what tells that the lease is still ours.
        await self._ledger.start(name)
        with self._ledger.act():
            result = await self._call(action, find, repeated=repeated)
            if keep is not None:
                await keep(name, result)
        return result

    async def _call(
        self,
        action: Callable[[], Awaitable[T]],
        find: Callable[[], Awaitable[T | None]] | None,
        *,
        repeated: bool,
    ) -> T:
        """
        Call, and when there is no answer, look whether it took effect all the same, and if not, call again.

        An orphan is worse than a wait. A call that timed out is looked for longer, and not repeated: the backend may
        have it in hand still. One that may be repeated without harm, or that was not even begun, is, for as long as the
        backend's silence is borne. The former is so some times too where the backend failed: most of them only read,
        which is no reason to give up what was done.

        A repeated call that is refused may be so for what the first one made, later than it was looked for.
        :param repeated: it was called in another life.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._settings.unavailable_seconds
        pause = min(FIND_PAUSE_SECONDS, self._settings.poll_max_seconds)
        tries = 1
        while True:
            try:
                return await action()
            except Unavailable as exc:
                begun = not isinstance(exc, Overloaded)
                found = await self._look(find, late=isinstance(exc, Timeout)) if find is not None and begun else None
                if found is not None:
                    LOG.info("operation %s: found what a call without answer made: %s", self.operation, exc.message)
                    return found
                harmless = find is None or not begun
                again = loop.time() + pause <= give_up if harmless else tries < CALL_TRIES
                if not again or (find is not None and isinstance(exc, Timeout)):
                    raise
                LOG.info("operation %s: a call without answer is repeated: %s", self.operation, exc.message)
            except DriverError as exc:
                if find is not None or not isinstance(exc, Failed) or tries >= CALL_TRIES:
                    late = await self._find(find) if find is not None and (repeated or tries > 1) else None
                    if late is None:
                        raise
                    LOG.info("operation %s: found what an earlier call made: %s", self.operation, exc.message)
                    return late
                LOG.info("operation %s: a call that failed is repeated: %s", self.operation, exc.message)
            tries += 1
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._settings.poll_max_seconds)
            await self._ledger.write()  # this is what tells that the lease is still ours

    async def _look(self, find: Callable[[], Awaitable[T | None]], *, late: bool) -> T | None:
        """As `_find`; `late`: again and again for a while, until something is there."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + (self._settings.late_seconds if late else 0.0)
        pause = min(FIND_PAUSE_SECONDS, self._settings.poll_max_seconds)
        while True:
            found = await self._find(find)
            if found is not None or loop.time() + pause > give_up:
                return found
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._settings.poll_max_seconds)

    async def _find(self, find: Callable[[], Awaitable[T | None]]) -> T | None:
        """Look, for as long as the backend's silence is borne with. :raises DriverError: as `find`."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._settings.unavailable_seconds
        pause = min(FIND_PAUSE_SECONDS, self._settings.poll_max_seconds)
        tries = 1
        while True:
            self._ledger.check()
            try:
                return await find()
            except Unavailable:
                if loop.time() + pause > give_up:
                    raise
            except Failed:
                if tries >= CALL_TRIES:
                    raise
            tries += 1
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._settings.poll_max_seconds)

    async def _keep_job(self, name: str, submitted: Submitted) -> None:
        if submitted.job_id:
            step = self._ledger.steps[name]
            self._ledger.steps[name] = replace(step, job_id=submitted.job_id, object_id=submitted.object_id)
            await self._ledger.write()

    async def _follow(
        self, submitted: Submitted, find: Callable[[], Awaitable[Submitted | None]] | None
    ) -> Mapping[str, Json]:
        self._ledger.check()
        if not submitted.job_id:
            return {"id": submitted.object_id}
        job = await self._poller.wait(self.tenant, submitted.job_id)
        if job is None:
            # Backends forget jobs after a time; what the job made may still be there.
            found = None if find is None else await self._find(find)
            if found is None or found.job_id:
                raise Failed("The backend no longer knows the job.", detail=f"job {submitted.job_id}")
            return {"id": found.object_id}
        if job.state is JobState.FAILED:
            raise from_job(job.error, job.message, job.detail)
        return job.result

    def _finished(self, name: str, result: Any) -> Any:
        # Through JSON now, so that the first run sees what a replay would see, and a result that is no JSON fails.
        result = json.loads(json.dumps(result, default=_plain, allow_nan=False))
        self._ledger.steps[name] = replace(self._ledger.steps[name], state=StepState.FINISHED, result=result)
        return result

    def _failed(self, name: str, exc: DriverError) -> None:
        LOG.info("operation %s: step %s failed: %s (%s)", self.operation, name, exc.message, exc.detail)
        error = StepError(error_name(exc), exc.message, exc.detail, exc.kind, exc.name, exc.field)
        self._ledger.steps[name] = replace(self._ledger.steps[name], state=StepState.FAILED, error=error)


def _outcome(step: Step) -> Any:
    """What an ended step returned. :raises DriverError: what it raised."""
    if step.error is None:
        return step.result
    error = step.error
    raise BY_NAME[error.error](error.message, detail=error.detail, kind=error.kind, name=error.name, field=error.field)


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a step's result must be JSON, not {type(value).__name__}")
