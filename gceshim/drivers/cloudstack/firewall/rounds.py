"""
Bringing CloudStack's rules to what they are to be, as steps of an operation: look, change what differs, look again.

What there was before the first change is kept in the journal, so that a failure puts it back.
"""

from __future__ import annotations

import abc
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from gceshim.drivers import errors
from gceshim.drivers.base import Json, Steps, Submitted
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.jobs import settle, submitted
from gceshim.model import Tenant

log = logging.getLogger(__name__)

_MOST_ROUNDS: Final = 8


@dataclass(frozen=True, slots=True)
class Change:
    """
    One call. `job`: it answers with a job. `owned`: it names the tenant's project.

    `optional`: when it fails, what is left harms nobody. `about`: what it changes, in words for the log.
    """

    command: str
    params: Mapping[str, Json]
    about: str
    job: bool = True
    owned: bool = False
    optional: bool = False

    def to_json(self) -> dict[str, Json]:
        """For the journal."""
        return {**asdict(self), "params": dict(self.params)}


class Ground(abc.ABC):
    """One place where CloudStack keeps rules. Its states are JSON."""

    name: str

    @abc.abstractmethod
    async def read(self) -> Json:
        """What is there."""

    @abc.abstractmethod
    def changes(self, actual: Json, before: Json, *, restore: bool) -> Sequence[Change]:
        """
        What can be done now to come from what is there to what the rules want or, to `restore`, to `before`.

        What can only be done after these comes out when it is called again.
        """


Survey = Callable[[], Awaitable[Sequence[Ground]]]


class Rounds:
    """Carries out changes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def look(self, steps: Steps, prefix: str, survey: Survey) -> tuple[Json, Sequence[Json]]:
        """
        What there is, by place, and what the rules want changed of it; both kept in the journal.

        :param prefix: begins the names of the steps.
        """

        async def read() -> Json:
            states: dict[str, Json] = {}
            changes: list[Json] = []
            for ground in await survey():
                states[ground.name] = state = await ground.read()
                changes += [change.to_json() for change in ground.changes(state, state, restore=False)]
            return {"states": states, "changes": changes}

        found = await steps.run(f"{prefix}before", read)
        return found["states"], found["changes"]

    async def apply(
        self,
        steps: Steps,
        prefix: str,
        survey: Survey,
        before: Json,
        *,
        first: Sequence[Json] | None = None,
        restore: bool = False,
    ) -> None:
        """
        Make it as the rules want it or, to `restore`, as it was before.

        :param survey: the places, with the rules as they are now. :param before: as `look` gave it.
        :param first: the changes to begin with, as `look` gave them; None: they are looked for.
        :raises Failed: it is not so after several rounds, as somebody else is changing it too.
        """
        tried: list[Json] = []
        for number in range(1, _MOST_ROUNDS + 1):

            async def look() -> Json:
                return [change.to_json() for change in await self._needed(survey, before, restore=restore)]

            changes = first if number == 1 else None
            if changes is None:
                changes = await steps.run(f"{prefix}look-{number}", look)
            changes = [change for change in changes if not (change["optional"] and change in tried)]
            if not changes:
                return
            for index, change in enumerate(changes):
                await self._one(steps, f"{prefix}{number}-{index}", survey, before, change, restore=restore)
            tried += changes
        raise errors.Failed("The firewall is being changed by somebody else at the same time", kind="firewall")

    async def _needed(self, survey: Survey, before: Json, *, restore: bool) -> list[Change]:
        found: list[Change] = []
        for ground in await survey():
            if not restore or ground.name in before:
                found += ground.changes(await ground.read(), before.get(ground.name), restore=restore)
        return found

    async def _one(self, steps: Steps, name: str, survey: Survey, before: Json, change: Json, *, restore: bool) -> None:
        tenant = steps.tenant

        async def is_needed() -> bool:
            wanted = (change["command"], change["params"])
            found = await self._needed(survey, before, restore=restore)
            return any((other.command, dict(other.params)) == wanted for other in found)

        async def submit() -> Submitted:
            return submitted(await self._call(tenant, change))

        async def find() -> Submitted | None:
            await settle(self._backend, tenant, change["command"][:1].upper() + change["command"][1:])
            return None if await is_needed() else Submitted("", "")

        async def call() -> bool:
            await self._call(tenant, change)
            return True

        async def find_called() -> bool | None:
            return None if await is_needed() else True

        try:
            if change["job"]:
                await steps.job(name, submit, find=find)
            else:
                await steps.run(name, call, find=find_called)
        except errors.DriverError as exc:
            if change["optional"]:
                log.info("%s could not be done: %s", change["about"], exc.message)
            elif await steps.run(f"{name}-check", is_needed):  # else somebody else has done it
                raise

    async def _call(self, tenant: Tenant, change: Json) -> dict[str, Any]:
        call = self._backend.owned if change["owned"] else self._backend.call
        return await call(tenant, change["command"], **change["params"])
