"""A driver that calls a simulated cloud without sockets, and steps without a journal: for thousands of mutations."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gceshim.drivers import errors
from gceshim.drivers.base import Driver, Steps, Submitted
from gceshim.drivers.cloudstack.driver import CloudStackDriver
from gceshim.drivers.cloudstack.failures import failure
from gceshim.drivers.cloudstack.transport import Transport
from gceshim.model import Credentials, JobState, Tenant
from gceshim.simulator import Simulator
from gceshim.simulator import entities as model
from gceshim.simulator.call import Caller
from gceshim.simulator.errors import ApiError

_operations = itertools.count(1)


def driver_for(sim: Simulator, **settings: Any) -> CloudStackDriver:
    """The default driver, with another way to CloudStack: commands, parameters, rows and errors are as over HTTP."""

    class Direct(Transport):
        async def call(self, credentials: Credentials, command: str, /, **params: object) -> dict[str, Any]:
            user = next(row for row in sim.inspect.rows(model.User) if row.api_key == credentials.api_key)
            raw = {name: _text(value) for name, value in params.items() if value is not None}
            spec = sim.cloud.spec(command)
            assert spec is not None, command
            try:
                return sim.cloud.execute(spec, Caller(user), raw, "POST")
            except ApiError as exc:
                raise failure(exc.code, exc.text, command=command) from exc

    class DirectDriver(CloudStackDriver):
        transport_class = Direct

    return DirectDriver.create({"url": "http://127.0.0.1:1/client/api", **settings})


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


class PlainSteps(Steps):
    """Each step is just done."""

    def __init__(self, driver: Driver, tenant: Tenant) -> None:
        self.tenant = tenant
        self.operation = f"plain-{next(_operations)}"
        self._driver = driver

    async def run(
        self,
        name: str,
        action: Callable[[], Awaitable[Any]],
        *,
        find: Callable[[], Awaitable[Any | None]] | None = None,
    ) -> Any:
        return await action()

    async def job(
        self,
        name: str,
        submit: Callable[[], Awaitable[Submitted]],
        *,
        find: Callable[[], Awaitable[Submitted | None]] | None = None,
    ) -> Mapping[str, Any]:
        made = await submit()
        if not made.job_id:
            return {"id": made.object_id}
        while True:
            job = await self._driver.jobs.get(self.tenant, made.job_id)
            if job.state is JobState.DONE:
                return job.result
            if job.state is JobState.FAILED:
                raise errors.from_job(job.error, job.message, job.detail)
            await asyncio.sleep(0)

    async def progress(self, percent: int) -> None:
        pass

    def warn(self, code: str, message: str, **data: str) -> None:
        pass
