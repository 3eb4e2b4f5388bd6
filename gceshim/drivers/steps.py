"""The journal of one mutation, as drivers see it."""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gceshim.model import Tenant

Json = Any


@dataclass(frozen=True, slots=True)
class Submitted:
    """A backend call that went on as a job. `object_id`: what it will have made, where the backend tells at once."""

    job_id: str
    object_id: str = ""


class Steps(abc.ABC):
    """
    The journal of one mutation, given to the driver by the operations engine.

    A workflow calls `run` and `job` in an order that depends on its arguments and on earlier results only, each with
    a name that is unique in the workflow. On replay a finished step returns its journalled result without calling
    anything; a step that was cut short calls `find` first and repeats only when that gives None.
    """

    tenant: Tenant
    operation: str
    """Name of the operation: a marker, unique for ever, that may be put on what is made."""

    @abc.abstractmethod
    async def run(
        self,
        name: str,
        action: Callable[[], Awaitable[Json]],
        *,
        find: Callable[[], Awaitable[Json | None]] | None = None,
    ) -> Json:
        """
        Do a synchronous backend call once and return its JSON result.

        :param action: makes the call; its result must be JSON.
        :param find: looks for what a lost earlier try may have made; None when there is nothing. Left out for calls
            that may be repeated without harm.
        :raises DriverError: as raised by `action`; the failure is journalled and raised again on replay.
        """

    @abc.abstractmethod
    async def job(
        self,
        name: str,
        submit: Callable[[], Awaitable[Submitted]],
        *,
        find: Callable[[], Awaitable[Submitted | None]] | None = None,
    ) -> Mapping[str, Json]:
        """
        Submit a backend job once, wait for its end and return its result (`Job.result`).

        The job id is journalled as soon as it is known, and a replay waits for that job. A `Submitted` from `find`
        whose `job_id` is "" stands for a job that has ended well: the result is then `{"id": object_id}`.
        :raises DriverError: as raised by `submit`, or what the failed job stands for.
        """

    @abc.abstractmethod
    async def progress(self, percent: int) -> None:
        """Tell how far the mutation is, 0 to 100; never goes back."""

    @abc.abstractmethod
    def warn(self, code: str, message: str, **data: str) -> None:
        """Add a warning to the operation: GCE's warning code, a sentence, and key/value data."""

    def within(self, part: str) -> Steps:
        """The same journal for one part of a workflow: its steps' names begin with `part`, so parts do not meet."""
        return _Part(self, part)


class _Part(Steps):
    """Steps whose names have a prefix."""

    def __init__(self, whole: Steps, part: str) -> None:
        self.tenant = whole.tenant
        self.operation = whole.operation
        self._whole = whole
        self._part = part

    async def run(
        self,
        name: str,
        action: Callable[[], Awaitable[Json]],
        *,
        find: Callable[[], Awaitable[Json | None]] | None = None,
    ) -> Json:
        return await self._whole.run(f"{self._part}.{name}", action, find=find)

    async def job(
        self,
        name: str,
        submit: Callable[[], Awaitable[Submitted]],
        *,
        find: Callable[[], Awaitable[Submitted | None]] | None = None,
    ) -> Mapping[str, Json]:
        return await self._whole.job(f"{self._part}.{name}", submit, find=find)

    async def progress(self, percent: int) -> None:
        await self._whole.progress(percent)

    def warn(self, code: str, message: str, **data: str) -> None:
        self._whole.warn(code, message, **data)
