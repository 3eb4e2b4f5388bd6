"""One call of the API, as the functions of the commands see it."""

import asyncio
import datetime
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gceshim.simulator import errors
from gceshim.simulator.catalogue import CommandSpec
from gceshim.simulator.entities import Account, Job, User
from gceshim.simulator.faults import Fault
from gceshim.simulator.params import Arguments
from gceshim.simulator.registry import Handler
from gceshim.simulator.settings import SimulatorSettings
from gceshim.simulator.state import State

if TYPE_CHECKING:
    from gceshim.simulator.cloud import Cloud

ROOT_ADMIN = 1
DOMAIN_ADMIN = 2


@dataclass(frozen=True)
class Caller:
    """Who calls: a user, and the account it acts for."""

    user: User

    @property
    def account(self) -> Account:
        return self.user.account

    @property
    def is_root(self) -> bool:
        return self.account.kind == ROOT_ADMIN

    @property
    def is_domain_admin(self) -> bool:
        return self.account.kind == DOMAIN_ADMIN

    @property
    def is_admin(self) -> bool:
        return self.account.kind in (ROOT_ADMIN, DOMAIN_ADMIN)


class Call:
    """A command with its caller and arguments; in a job, also the job.

    ``method`` is the HTTP method, which decides how long user data may be.
    """

    def __init__(
        self, cloud: "Cloud", spec: CommandSpec, handler: Handler, *, caller: Caller, args: Arguments, method: str
    ) -> None:
        self.cloud = cloud
        self.spec = spec
        self.handler = handler
        self.caller = caller
        self.args = args
        self.method = method
        self.job: Job | None = None
        self.pending_fault: Fault | None = None

    @property
    def state(self) -> State:
        return self.cloud.state

    @property
    def settings(self) -> SimulatorSettings:
        return self.cloud.settings

    @property
    def is_root(self) -> bool:
        return self.caller.is_root

    async def work(self) -> None:
        """Take the time that the job takes, then fail if a fault was put on it.

        :raises ApiError: of the fault.
        """
        seconds = self.settings.job_seconds_by_command.get(self.spec.name, self.settings.job_seconds)
        slow = self.cloud.faults.take(self.spec.name, "slow_job")
        await asyncio.sleep(seconds + (slow.seconds if slow else 0.0))
        self.raise_fault()

    def raise_fault(self) -> None:
        """Raise the pending fault, once."""
        fault, self.pending_fault = self.pending_fault, None
        if fault is None:
            return
        if fault.name == "capacity":
            raise errors.no_capacity(fault.text or "Unable to create a deployment for the instance: out of capacity")
        if fault.name == "quota_full":
            raise errors.over_quota(fault.text or QUOTA_TEXT)
        raise errors.failed(fault.text or f"Failed to execute {self.spec.name.lower()}")


QUOTA_TEXT = "Maximum amount of resources of Type = 'user_vm' for the account is exceeded"


def wire_date(seconds: float) -> str:
    """Seconds since the epoch in the form of replies: ``2021-10-04T09:24:38+0000``."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S%z")


def prune(row: dict[str, Any]) -> dict[str, Any]:
    """The row without its null fields, which replies omit."""
    return {name: value for name, value in row.items() if value is not None}


def now() -> float:
    """Seconds since the epoch."""
    return time.time()
