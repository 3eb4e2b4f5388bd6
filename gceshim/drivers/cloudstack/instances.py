"""Instances: virtual machines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gceshim.drivers import base, errors
from gceshim.drivers.base import Steps, Submitted
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.catalog import Catalog, Offering
from gceshim.drivers.cloudstack.deploy import Deployer, was_deleted
from gceshim.drivers.cloudstack.instance_disks import InstanceDisks
from gceshim.drivers.cloudstack.jobs import job_about, jobs_about, submitted
from gceshim.drivers.cloudstack.locations import Locations
from gceshim.drivers.cloudstack.machines import Machines
from gceshim.drivers.cloudstack.names import split
from gceshim.drivers.cloudstack.networks import Networks
from gceshim.drivers.cloudstack.plan import Foreseen, Plan, Planner
from gceshim.drivers.cloudstack.rows import Row, text
from gceshim.drivers.cloudstack.vms import Surroundings, by_machine, instance_of, is_protected, network_ids
from gceshim.drivers.cloudstack.volumes import Volumes, is_boot
from gceshim.model import Instance, InstanceRef, InstanceSpec, Page, Tenant, Zone


@dataclass(frozen=True, slots=True)
class Verb:
    """A change of state: its command, how that is called in lists of jobs, and CloudStack's state when it is done."""

    name: str
    command: str
    job: str
    done: str


START = Verb("start", "startVirtualMachine", "StartVM", "Running")
STOP = Verb("stop", "stopVirtualMachine", "StopVM", "Stopped")


class Instances(base.Instances):
    """Implements `base.Instances`."""

    def __init__(
        self,
        backend: Backend,
        *,
        locations: Locations,
        catalog: Catalog,
        networks: Networks,
        machines: Machines,
        volumes: Volumes,
        disks: InstanceDisks,
        planner: Planner,
        deployer: Deployer,
    ) -> None:
        self._backend = backend
        self._locations = locations
        self._catalog = catalog
        self._networks = networks
        self._machines = machines
        self._volumes = volumes
        self._disks = disks
        self._planner = planner
        self._deployer = deployer
        self._foreseen = Foreseen()

    async def get(self, tenant: Tenant, zone: str, name: str) -> Instance:
        """By name or numeric id: two calls, for what is asked often. Source: `listVirtualMachines`, `listVolumes`."""
        where = await self._locations.zone(tenant, zone)
        row = await self._machines.by_name(tenant, where, name)
        if row is None:
            raise _no_instance(name, where.name)
        volumes = await self._volumes.of_machine(tenant, text(row, "id"))
        if name.isdigit():
            name = (await self._machines.names(tenant, [row]))[text(row, "id")]
        return (await self._instances(tenant, [(row, name)], volumes))[0]

    async def list(
        self,
        tenant: Tenant,
        zone: str | None,
        *,
        page: int,
        page_size: int,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Page[Instance]:
        """In the order of making: two calls for a page. Source: `listVirtualMachines`, `listVolumes`."""
        where = await self._locations.zone(tenant, zone) if zone is not None else None
        if name is not None:
            named = await self._named(tenant, where, name)
            start = (page - 1) * page_size
            chosen, more = named[start : start + page_size], len(named) > start + page_size
            if len(chosen) == 1:
                volumes = await self._volumes.of_machine(tenant, text(chosen[0][0], "id"))
                return Page(await self._instances(tenant, chosen, volumes), more=more)
            volumes = await self._volumes.beside(tenant, where) if chosen else []
        else:
            (found, more), volumes = await asyncio.gather(
                self._machines.page(tenant, where, page=page, page_size=page_size, labels=labels),
                self._volumes.beside(tenant, where, start=(page - 1) * page_size),
            )
            simple = await self._networks.simple_zones(tenant, {text(row, "zoneid") for row in found})
            await self._backend.pace.turn(found)
            whole = page == 1 and not more and not labels
            names = await self._machines.names(tenant, found, whole=whole, simple=simple)
            chosen = [(row, names[text(row, "id")]) for row in found]
        return Page(await self._instances(tenant, chosen, volumes, whole=True), more=more)

    async def check(self, tenant: Tenant, spec: InstanceSpec) -> None:
        """Plan it, and look whether the name is free. Source: the lists of `plan`, `listVirtualMachines`."""
        self._foreseen.keep(tenant, spec, await self._plan(tenant, spec))

    async def create(self, steps: Steps, spec: InstanceSpec) -> Instance:
        """Make and start it. Source: `deployVirtualMachine`, `createTags`, `associateIpAddress`, `enableStaticNat`."""
        tenant = steps.tenant

        async def resolve() -> dict[str, Any]:
            plan = self._foreseen.take(tenant, spec) or await self._plan(tenant, spec)
            return plan.to_json()

        plan = Plan.from_json(await steps.run("resolve", resolve))
        await steps.progress(5)
        vm_id = await self._deployer.create(steps, spec, plan)
        made: list[Instance] = []

        async def look() -> bool:
            row = await self._machines.by_id(tenant, vm_id)
            if row is not None:
                volumes = await self._volumes.of_machine(tenant, vm_id)
                made.extend(await self._instances(tenant, [(row, spec.name)], volumes))
            return row is not None

        # A step, so that a machine that is there is not called a failure for an answer that was lost.
        if not await steps.run("look", look):
            raise was_deleted(spec.name)
        return made[0] if made else await self.get(tenant, spec.zone, spec.name)

    async def delete(self, steps: Steps, instance: InstanceRef) -> None:
        """
        Remove it with its addresses and the disks that go with it; the others are kept.

        Source: `destroyVirtualMachine`, `disassociateIpAddress`, `deleteVolume`; `detachVolume` for a boot disk that is
        kept.
        """
        tenant = steps.tenant

        async def look() -> dict[str, Any]:
            row = await self._machines.by_id(tenant, instance.backend_id)
            return {
                "there": row is not None,
                "protected": row is not None and is_protected(row),
                "disks": await self._disks.of_machine(tenant, row, instance.name) if row else [],
            }

        found = await steps.run("look", look)
        if found["protected"]:
            raise errors.InUse(
                f"Instance {instance.name!r} has deletion protection on", kind="instance", name=instance.name
            )
        disks = found.get("disks", ())
        if found["there"]:
            await self._disks.before_deletion(steps, disks, instance.backend_id)
            await self._deployer.destroy(steps, instance.backend_id)
            await steps.progress(70)
        kept = await self._disks.after_deletion(steps, disks)
        left = await self._deployer.release(steps, instance.backend_id)
        parts = ["its address could not be given back"] if left else []
        parts += [f"these disks could not be removed: {', '.join(kept)}"] if kept else []
        if parts:
            raise errors.Failed(
                f"Instance {instance.name!r} is gone, but {' and '.join(parts)}",
                detail=f"public addresses {', '.join(left)}" if left else "",
            )

    async def start(self, steps: Steps, instance: InstanceRef) -> None:
        """Start it. Source: `startVirtualMachine`."""
        await self._change(steps, instance, START)

    async def stop(self, steps: Steps, instance: InstanceRef) -> None:
        """Stop it. Source: `stopVirtualMachine`."""
        await self._change(steps, instance, STOP)

    async def reset(self, steps: Steps, instance: InstanceRef) -> None:
        """Restart it hard. Source: `rebootVirtualMachine`, `listAsyncJobs`."""
        tenant = steps.tenant
        if await steps.run("state", self._state(tenant, instance)) != "Running":
            raise _not_running(instance)

        async def restarts() -> list[str]:
            try:
                return await jobs_about(self._backend, tenant, instance.backend_id, "VirtualMachine", "RebootVM")
            except errors.Forbidden:
                return []  # by the caller's role: what is lost is done again then

        async def submit() -> Submitted:
            return submitted(await self._backend.call(tenant, "rebootVirtualMachine", id=instance.backend_id))

        async def find() -> Submitted | None:
            # Nothing about the machine tells, once it has restarted.
            made = [job_id for job_id in await restarts() if job_id not in before]
            return Submitted(made[-1], instance.backend_id) if made else None

        before = await steps.run("restarts", restarts)
        try:
            await steps.job("reset", submit, find=find)
        except (errors.Invalid, errors.Failed) as exc:
            if await steps.run("state-after", self._state(tenant, instance)) != "Running":
                raise _not_running(instance) from exc
            raise

    async def _plan(self, tenant: Tenant, spec: InstanceSpec) -> Plan:
        zone = await self._locations.zone(tenant, spec.zone)
        taken, plan = await asyncio.gather(
            self._machines.is_taken(tenant, zone, spec.name), self._planner.plan(tenant, spec)
        )
        if taken:
            raise errors.AlreadyExists(
                f"There is an instance {spec.name!r} in zone {zone.name!r}", kind="instance", name=spec.name
            )
        return plan

    async def _change(self, steps: Steps, instance: InstanceRef, verb: Verb) -> None:
        tenant = steps.tenant
        if await steps.run("state", self._state(tenant, instance)) == verb.done:
            return

        async def submit() -> Submitted:
            return submitted(await self._backend.call(tenant, verb.command, id=instance.backend_id))

        async def find() -> Submitted | None:
            job_id = await job_about(self._backend, tenant, instance.backend_id, "VirtualMachine", pending=verb.job)
            if job_id:
                return Submitted(job_id, instance.backend_id)
            row = await self._machines.by_id(tenant, instance.backend_id)
            return Submitted("", instance.backend_id) if row and text(row, "state") == verb.done else None

        try:
            await steps.job(verb.name, submit, find=find)
        except (errors.Invalid, errors.Failed):
            # Somebody else may have been faster.
            if await steps.run("state-after", self._state(tenant, instance)) != verb.done:
                raise

    def _state(self, tenant: Tenant, instance: InstanceRef) -> Callable[[], Awaitable[str]]:
        """Reads CloudStack's word for the machine's state."""

        async def read() -> str:
            row = await self._machines.by_id(tenant, instance.backend_id)
            if row is None:
                raise _no_instance(instance.name, instance.zone)
            return text(row, "state")

        return read

    async def _named(self, tenant: Tenant, where: Zone | None, name: str) -> Sequence[tuple[Row, str]]:
        """The machines that a list shows by this name. A get takes former ones too."""
        if where is None:
            found = await self._machines.everywhere(tenant, name)
        else:
            row = await self._machines.by_name(tenant, where, name)
            found = [(row, name)] if row is not None else []
        if split(name) is None:
            return found
        names = await self._machines.names(tenant, [row for row, _ in found if text(row, "name") != name])
        return [(row, name) for row, _ in found if names.get(text(row, "id"), name) == name]

    async def _instances(
        self, tenant: Tenant, found: Sequence[tuple[Row, str]], volumes: Sequence[Row], *, whole: bool = False
    ) -> Sequence[Instance]:
        """
        The rows as instances.

        :param volumes: of these machines. :param whole: all data volumes of their zones are among them.
        """
        if not found:
            return []
        await self._backend.pace.turn(found)  # many may have waited for the same names
        ids = {text(row, "id") for row, _ in found}
        attached = [row for row in volumes if text(row, "virtualmachineid") in ids and not is_boot(row)]
        around, disk_names, boot_names = await asyncio.gather(
            self._around(tenant, [row for row, _ in found]),
            self._volumes.names(tenant, attached),
            self._volumes.boot_names(tenant, found, volumes, whole=whole),
        )
        around = replace(around, disk_names=disk_names, boot_names=boot_names)
        volumes_of = by_machine(volumes)

        def convert(pair: tuple[Row, str]) -> Instance:
            row, name = pair
            return instance_of(row, name, volumes_of.get(text(row, "id"), ()), around)

        return await self._backend.pace.map(convert, found)

    async def _around(self, tenant: Tenant, found: Sequence[Row]) -> Surroundings:
        """What the rows refer to, from memory where it is there."""
        zones = {zone.backend_id: zone for zone in await self._locations.zones(tenant)}
        used = [zone_id for zone_id in {text(row, "zoneid") for row in found} if zone_id in zones]
        networks: set[str] = set().union(*(network_ids(row) for row in found))
        layout, offerings = await asyncio.gather(
            self._networks.layout_with(tenant, networks),
            asyncio.gather(*(self._catalog.offerings(tenant, zones[zone_id]) for zone_id in used)),
        )
        by_zone: dict[str, Sequence[Offering]] = dict(zip(used, offerings, strict=True))
        return Surroundings(zones, by_zone, self._backend.settings.machine_types, layout)


def _no_instance(name: str, zone: str) -> errors.NotFound:
    return errors.NotFound(f"There is no instance {name!r} in zone {zone!r}", kind="instance", name=name)


def _not_running(instance: InstanceRef) -> errors.NotReady:
    return errors.NotReady(f"Instance {instance.name!r} is not running", kind="instance", name=instance.name)
