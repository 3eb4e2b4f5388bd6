"""A driver that is not for CloudStack: machines in a dictionary. Where a driver is free, it is otherwise than ours."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from gceshim.drivers import base, errors
from gceshim.model import (
    Account,
    AttachedDisk,
    Instance,
    InstanceState,
    MachineType,
    NetworkInterface,
    Page,
    Region,
    Tenant,
    Zone,
    stable_id,
)

ZONES = ["toy-1-a", "toy-1-b"]
TYPES = {"large": (4, 8192), "small": (1, 1024)}
ACCOUNTS = {"alice": "alices-secret", "bob": "bobs-secret"}


@dataclass
class Machine:
    """One machine; `operation` marks who made it."""

    owner: str
    operation: str
    shown: Instance


@dataclass
class Backend:
    """What there is. `away`: nobody answers."""

    away: bool = False
    machines: dict[str, Machine] = field(default_factory=dict)
    numbers: itertools.count = field(default_factory=lambda: itertools.count(1))

    async def reach(self):
        """Stands for a call over the network."""
        await asyncio.sleep(0)
        if self.away:
            raise errors.Unavailable("Nobody answers")


class Identity(base.Identity):
    def __init__(self, backend):
        self.backend = backend

    async def whoami(self, credentials):
        await self.backend.reach()
        if ACCOUNTS.get(credentials.api_key) != credentials.secret_key:
            raise errors.Unauthenticated("The credentials are not accepted")
        name = credentials.api_key
        return Account(f"id-of-{name}", name, "toy", name, f"{name}@example.org")

    async def sign_in(self, username, password, domain):
        await self.backend.reach()
        raise errors.Unsupported("There are no passwords here, only keys")

    async def tenant(self, subject, credentials, project):
        account = await self.whoami(credentials)
        if project not in ("default", account.name, account.backend_id):
            raise errors.NotFound("There is no such project", kind="project", name=project)
        return Tenant(subject, credentials, project, account.backend_id)


class Jobs(base.Jobs):
    """Nothing takes long here, so there are none."""

    def __init__(self, backend):
        self.backend = backend

    async def get(self, tenant, job_id):
        await self.backend.reach()
        raise errors.NotFound("There is no such job", kind="job", name=job_id)

    async def pending(self, tenant):
        await self.backend.reach()


class Locations(base.Locations):
    """As a driver has them whose zones are in its settings."""

    async def zones(self, tenant):
        return [Zone(stable_id(name), name, name, "toy-1", "", True) for name in ZONES]

    async def zone(self, tenant, name):
        for zone in await self.zones(tenant):
            if name in (zone.name, str(zone.id)):
                return zone
        raise errors.NotFound("There is no such zone", kind="zone", name=name, field="zone")

    async def regions(self, tenant):
        return [Region(stable_id("toy-1"), "toy-1", "", True, tuple(ZONES))]

    async def region(self, tenant, name):
        (region,) = await self.regions(tenant)
        if name not in (region.name, str(region.id)):
            raise errors.NotFound("There is no such region", kind="region", name=name)
        return region


class Catalog(base.Catalog):
    def __init__(self, locations):
        self.locations = locations

    async def machine_types(self, tenant, zone):
        where = await self.locations.zone(tenant, zone)
        return [
            MachineType(stable_id(f"{where.name}/{name}"), name, name, where.name, "", vcpus, memory_mib)
            for name, (vcpus, memory_mib) in TYPES.items()
        ]

    async def machine_type(self, tenant, zone, name):
        for item in await self.machine_types(tenant, zone):
            if name in (item.name, str(item.id)):
                return item
        raise errors.NotFound("There is no such type", kind="machine_type", name=name, field="machine_type")


class Machines:
    """What reading and changing have in common."""

    def __init__(self, backend, locations, catalog):
        self.backend = backend
        self.locations = locations
        self.catalog = catalog

    async def of(self, tenant: Tenant) -> list[Instance]:
        """The tenant's, but for those that are on their way out."""
        await self.backend.reach()
        mine = [row.shown for row in self.backend.machines.values() if row.owner == tenant.owner]
        return [item for item in mine if item.state is not InstanceState.DELETING]

    async def change(self, steps, instance, change) -> None:
        """In one step, which may be repeated. `change` gives the attributes that are new."""

        async def act():
            for item in await self.of(steps.tenant):
                if item.backend_id == instance.backend_id:
                    self.backend.machines[item.backend_id].shown = replace(item, **await change(item))
                    return
            raise errors.NotFound("There is no such machine", kind="instance", name=instance.name)

        await steps.run("change", act)


class Instances(base.Instances):
    def __init__(self, machines):
        self.machines = machines
        self.backend = machines.backend

    async def get(self, tenant, zone, name):
        where = await self.machines.locations.zone(tenant, zone)
        await self.backend.reach()
        mine = [row.shown for row in self.backend.machines.values() if row.owner == tenant.owner]
        for item in mine:
            there = item.state is not InstanceState.DELETING and item.name == name
            if item.zone == where.name and (there or str(item.id) == name):
                return item
        raise errors.NotFound("There is no such machine", kind="instance", name=name)

    async def list(self, tenant, zone, *, page, page_size, name=None, labels=None):
        where = None if zone is None else (await self.machines.locations.zone(tenant, zone)).name
        found = [item for item in await self.machines.of(tenant) if where in (None, item.zone)]
        found = [item for item in found if name in (None, item.name)]
        start = (page - 1) * page_size
        return Page(found[start : start + page_size], more=len(found) > start + page_size)

    async def check(self, tenant, spec):
        await self.machines.locations.zone(tenant, spec.zone)
        await self.machines.catalog.machine_type(tenant, spec.zone, spec.machine_type)
        if (spec.image.project, spec.image.family) != ("toys", "bear"):
            kind = "image" if spec.image.name else "image_family"
            wanted = spec.image.name or spec.image.family
            raise errors.NotFound("There is no such image", kind=kind, name=wanted, field="image")
        for number, nic in enumerate(spec.interfaces):
            if nic.network != "default":
                where = f"interfaces[{number}].network"
                raise errors.NotFound("There is no such network", kind="network", name=nic.network, field=where)
            if nic.external_name is not None:
                raise errors.Unsupported("There is no way in from outside")
        if spec.deletion_protection:
            raise errors.Unsupported("Nothing is protected here")
        if spec.name in [item.name for item in await self.machines.of(tenant) if item.zone == spec.zone]:
            raise errors.AlreadyExists("There is such a machine")

    async def create(self, steps, spec):
        async def find():
            await self.backend.reach()
            return next((key for key, row in self.backend.machines.items() if row.operation == steps.operation), None)

        async def make():
            number = next(self.backend.numbers)
            kind = await self.machines.catalog.machine_type(steps.tenant, spec.zone, spec.machine_type)
            shown = Instance(
                id=stable_id(f"machine {number}"),
                backend_id=f"machine {number}",
                name=spec.name,
                zone=spec.zone,
                state=InstanceState.STOPPED,
                machine_type=kind.name,
                vcpus=kind.vcpus,
                memory_mib=kind.memory_mib,
                created=datetime.now(UTC),
                description=spec.description,
                labels=dict(sorted(spec.labels.items())),
                network_tags=spec.network_tags,
                metadata=spec.metadata,
                interfaces=(NetworkInterface("nic0", "default", "default", "toy-1", f"10.0.0.{number}"),),
                disks=(AttachedDisk(spec.name, spec.boot_device_name or "boot", 0, True, True),),
                kept=json.loads(json.dumps(spec.kept)),
            )
            self.backend.machines[shown.backend_id] = Machine(steps.tenant.owner, steps.operation, shown)
            return shown.backend_id

        await steps.run("check", lambda: self.check(steps.tenant, spec))
        backend_id = await steps.run("make", make, find=find)
        await steps.progress(50)
        await self.machines.change(
            steps, self.backend.machines[backend_id].shown, changing(state=InstanceState.RUNNING)
        )
        return self.backend.machines[backend_id].shown

    async def delete(self, steps, instance):
        try:
            await self.machines.change(steps, instance, changing(state=InstanceState.DELETING))
        except errors.NotFound:
            return

    async def start(self, steps, instance):
        await self.machines.change(steps, instance, changing(state=InstanceState.RUNNING))

    async def stop(self, steps, instance):
        await self.machines.change(steps, instance, changing(state=InstanceState.STOPPED))

    async def reset(self, steps, instance):
        async def reset(item):
            if item.state is not InstanceState.RUNNING:
                raise errors.NotReady("It does not run")
            return {}

        await self.machines.change(steps, instance, reset)


class InstanceSettings(base.InstanceSettings):
    def __init__(self, machines):
        self.machines = machines

    async def set_labels(self, steps, instance, labels):
        await self.machines.change(steps, instance, changing(labels=labels))

    async def set_network_tags(self, steps, instance, network_tags):
        await self.machines.change(steps, instance, changing(stopped=True, network_tags=network_tags))

    async def set_metadata(self, steps, instance, metadata, project_metadata):
        await self.machines.change(steps, instance, changing(metadata=metadata))

    async def set_machine_type(self, steps, instance, machine_type):
        async def resize(item):
            need_stopped(item)
            kind = await self.machines.catalog.machine_type(steps.tenant, item.zone, machine_type)
            return {"machine_type": kind.name, "vcpus": kind.vcpus, "memory_mib": kind.memory_mib}

        await self.machines.change(steps, instance, resize)

    async def set_deletion_protection(self, steps, instance, protected):
        if protected:
            raise errors.Unsupported("Nothing is protected here")
        await self.machines.change(steps, instance, changing())

    async def set_kept(self, steps, instance, kept):
        await self.machines.change(steps, instance, changing(kept=kept))

    async def set_description(self, steps, instance, description):
        await self.machines.change(steps, instance, changing(description=description))

    async def rename(self, steps, instance, name):
        async def rename(item):
            need_stopped(item)
            others = [other for other in await self.machines.of(steps.tenant) if other.backend_id != item.backend_id]
            if name in [other.name for other in others]:
                raise errors.AlreadyExists("There is such a machine")
            return {"name": name, "disks": (replace(item.disks[0], name=name),)}

        await self.machines.change(steps, instance, rename)


def need_stopped(item: Instance) -> None:
    """:raises NotReady: it runs."""
    if item.state is not InstanceState.STOPPED:
        raise errors.NotReady("It runs")


def changing(*, stopped: bool = False, **attributes):
    """A change to these attributes, of a stopped machine maybe."""

    async def change(item):
        if stopped:
            need_stopped(item)
        return attributes

    return change


class ToyDriver(base.Driver):
    """Machines, and what belongs to them."""

    def __init__(self, backend: Backend) -> None:
        self.jobs = Jobs(backend)
        self.identity = Identity(backend)
        self.locations = Locations()
        self.catalog = Catalog(self.locations)
        machines = Machines(backend, self.locations, self.catalog)
        self.instances = Instances(machines)
        self.instance_settings = InstanceSettings(machines)

    @classmethod
    def create(cls, settings: Mapping[str, object]) -> ToyDriver:
        if settings:
            raise ValueError(f"unknown settings: {', '.join(settings)}")
        return cls(Backend())

    async def close(self) -> None:
        """Nothing is held."""
