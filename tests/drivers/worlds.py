"""A simulated CloudStack and the driver in front of it, in the test's own event loop."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from gceshim.drivers.cloudstack.driver import CloudStackDriver
from gceshim.model import (
    Credentials,
    Disk,
    DiskRef,
    ImageRef,
    Instance,
    InstanceRef,
    InstanceSpec,
    InterfaceSpec,
    Tenant,
)
from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.testing.journal import MemorySteps
from tests import snapshots

ZONE = "sandbox-1-a"
SG_ZONE = "sandbox-sg-a"
_operations = itertools.count(1)


def on_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs a coroutine test on a loop of its own, for five minutes at most: many times what any needs."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 300))

    return run


@dataclasses.dataclass
class Cloud:
    """The simulator, the driver, and the tenant that is the account `demo` itself."""

    sim: Simulator
    url: str
    driver: CloudStackDriver
    tenant: Tenant

    def credentials(self, account: str = "demo") -> Credentials:
        """The key pair of an account of the simulator."""
        return Credentials(*self.sim.keys(account))

    async def tenant_of(self, account: str, project: str = "default") -> Tenant:
        """A tenant by account and project."""
        return await self.driver.identity.tenant(account, self.credentials(account), project)

    def steps(self, tenant: Tenant | None = None) -> MemorySteps:
        """The journal of a new operation."""
        return MemorySteps(self.driver, tenant or self.tenant, f"operation-{next(_operations)}")

    async def create(self, spec: InstanceSpec, tenant: Tenant | None = None) -> Instance:
        """Make an instance in an operation of its own."""
        return await self.driver.instances.create(self.steps(tenant), spec)

    def commands_since(self, count: int) -> list[str]:
        """The commands that the simulator got after its first `count`, sorted."""
        return sorted(list(self.sim.calls)[count:])

    async def raw(self, command: str, account: str = "demo", **params: object) -> dict[str, Any]:
        """A command straight to CloudStack; a job is waited for and its result returned."""
        credentials = self.credentials(account)
        reply = await self.driver.backend.transport.call(credentials, command, **params)
        while "jobid" in reply and reply.get("jobstatus", 0) == 0:
            reply = await self.driver.backend.transport.call(credentials, "queryAsyncJobResult", jobid=reply["jobid"])
            await asyncio.sleep(0.002)
        assert reply.get("jobstatus") != 2, reply
        return reply.get("jobresult", reply)


@asynccontextmanager
async def cloud(
    simulator: SimulatorSettings | None = None, snapshot: bytes | None = None, **settings: Any
) -> AsyncIterator[Cloud]:
    """
    A simulator and a driver for it, both closed at the end; the simulator must not have failed.

    :param snapshot: what the simulator holds, if not just its data set.
    """
    sim = Simulator(simulator or SimulatorSettings(job_seconds=0.01))
    if snapshot is not None:
        snapshots.put_back(sim, snapshot)
    url = await sim.start()
    driver = CloudStackDriver.create({"url": url, **settings})
    try:
        tenant = await driver.identity.tenant("demo", Credentials(*sim.keys("demo")), "default")
        yield Cloud(sim, url, driver, tenant)
        assert list(sim.bugs) == []
    finally:
        await driver.close()
        await sim.stop()


def spec(name: str = "vm1", zone: str = ZONE, *, external: str | None = None, **values: Any) -> InstanceSpec:
    """A small Debian machine on the default network."""
    given = {
        "machine_type": "n1-standard-1",
        "image": ImageRef("debian-cloud", family="debian-12"),
        "interfaces": (InterfaceSpec("default", external_name=external),),
        **values,
    }
    return InstanceSpec(name=name, zone=zone, **given)


def ref(instance: Instance) -> InstanceRef:
    """What an operation on an instance carries."""
    return InstanceRef(instance.name, instance.zone, instance.backend_id)


def disk_ref(disk: Disk) -> DiskRef:
    """What an operation on a disk carries."""
    return DiskRef(disk.name, disk.zone, disk.backend_id)
