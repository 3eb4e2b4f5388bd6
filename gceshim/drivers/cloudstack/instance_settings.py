"""What can be changed about a virtual machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from gceshim.drivers import base, errors
from gceshim.drivers.base import Steps, Submitted
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.catalog import Catalog, Choice
from gceshim.drivers.cloudstack.firewall.machines import MachineRules
from gceshim.drivers.cloudstack.jobs import settle, submitted
from gceshim.drivers.cloudstack.locations import Locations
from gceshim.drivers.cloudstack.machines import Machines
from gceshim.drivers.cloudstack.marks import replace_tags
from gceshim.drivers.cloudstack.rows import Row, number, tags, text
from gceshim.drivers.cloudstack.tags import decode, with_labels, with_reserved
from gceshim.drivers.cloudstack.undo import Undo
from gceshim.drivers.cloudstack.userdata import build, encoded
from gceshim.drivers.cloudstack.volumes import Volumes
from gceshim.model import InstanceRef, Tenant

Tags = Mapping[str, str]

#: User data that does nothing: CloudStack cannot take user data away.
_NOTHING: Final = b"#cloud-config\n{}\n"


class InstanceSettings(base.InstanceSettings):
    """Implements `base.InstanceSettings`. What CloudStack has no field for is in tags, written before anything else."""

    def __init__(
        self,
        backend: Backend,
        *,
        locations: Locations,
        catalog: Catalog,
        machines: Machines,
        volumes: Volumes,
        rules: MachineRules,
    ) -> None:
        self._backend = backend
        self._locations = locations
        self._catalog = catalog
        self._machines = machines
        self._volumes = volumes
        self._rules = rules

    async def set_labels(self, steps: Steps, instance: InstanceRef, labels: Mapping[str, str]) -> None:
        """Replace the labels. Source: `deleteTags`, `createTags`."""
        async with Undo() as undo:
            await self._retag(steps, instance, lambda found: with_labels(found, labels), undo)

    async def set_network_tags(self, steps: Steps, instance: InstanceRef, network_tags: tuple[str, ...]) -> None:
        """Replace the network tags. Source: `createTags`; the firewall's commands for what applies to the machine."""
        async with Undo() as undo:
            left = await self._rules.retag(steps, instance.backend_id, network_tags, undo)
            await self._keep(steps, instance, {"tags": list(network_tags)}, undo)
        await self._rules.leave(steps, left)

    async def set_metadata(
        self,
        steps: Steps,
        instance: InstanceRef,
        metadata: Mapping[str, str],
        project_metadata: Mapping[str, str],
    ) -> None:
        """Replace the metadata and the user data made from it. Source: `createTags`, `updateVirtualMachine`."""
        tenant = steps.tenant

        async def look() -> dict[str, Any]:
            reserved = decode(tags(await self._row(tenant, instance)))[1]
            hostname = reserved.get("hostname")
            hostname = hostname if isinstance(hostname, str) else ""
            before = reserved.get("metadata")
            before = before if isinstance(before, dict) else {}
            limit_bytes = self._backend.settings.user_data_limit_bytes
            document = build(metadata, project_metadata, hostname)
            had = build({key: str(value) for key, value in before.items()}, project_metadata, hostname)
            if not document and not had:
                return {"new": "", "old": ""}  # a network without user data is no obstacle then
            return {"new": encoded(document or _NOTHING, limit_bytes), "old": encoded(had or _NOTHING, limit_bytes)}

        found = await steps.run("look", look)
        async with Undo() as undo:
            await self._keep(steps, instance, {"metadata": dict(metadata)}, undo)
            if not found["new"]:
                return
            try:
                await self._update(steps, "userdata", instance, {"userdata": found["new"]})
            except errors.Unavailable:
                old = {"userdata": found["old"]}

                async def back(steps: Steps) -> None:
                    await self._update(steps, "undo-userdata", instance, old)

                undo.add(steps, back, "user data of the instance")
                raise

    async def set_machine_type(self, steps: Steps, instance: InstanceRef, machine_type: str) -> None:
        """Change its size. Source: `scaleVirtualMachine`."""
        tenant = steps.tenant

        async def look() -> dict[str, Any]:
            row = await self._row(tenant, instance)
            zone = await self._locations.zone(tenant, instance.zone)
            choice = await self._catalog.choice(tenant, zone, machine_type)
            _require_stopped(row, instance, "to change its machine type")
            return {"same": _has(row, choice), **self._sizes(choice)}

        found = await steps.run("look", look)
        async with Undo() as undo:
            # While it means another offering than the machine has, nobody is shown it.
            await self._keep(steps, instance, {"machine-type": machine_type}, undo)
            if not found["same"]:
                await self._scale(steps, instance, found)

    async def set_deletion_protection(self, steps: Steps, instance: InstanceRef, protected: bool) -> None:
        """Switch it, and note it for releases that have none. Source: `updateVirtualMachine`, `createTags`."""
        async with Undo() as undo:
            await self._keep(steps, instance, {"deletion-protection": protected or None}, undo)
            await self._update(steps, "protect", instance, {"deleteprotection": protected})

    async def set_kept(self, steps: Steps, instance: InstanceRef, kept: Mapping[str, Any]) -> None:
        """Replace what is kept. Source: `deleteTags`, `createTags`."""
        async with Undo() as undo:
            await self._keep(steps, instance, {"kept": dict(kept)}, undo)

    async def set_description(self, steps: Steps, instance: InstanceRef, description: str) -> None:
        """Replace the description. Source: `deleteTags`, `createTags`."""
        async with Undo() as undo:
            await self._keep(steps, instance, {"description": description}, undo)

    async def rename(self, steps: Steps, instance: InstanceRef, name: str) -> None:
        """Rename it; its boot disk is called as it is. Source: `updateVirtualMachine`."""
        tenant = steps.tenant

        async def is_taken() -> bool:
            row = await self._row(tenant, instance)
            found = await self._machines.named(tenant, text(row, "zoneid"), name)
            return any(text(other, "id") != instance.backend_id for other in found)

        async def look() -> bool:
            row = await self._row(tenant, instance)
            if text(row, "name") == name:
                return True
            _require_stopped(row, instance, "to be renamed")
            if await is_taken():
                raise _taken("instance", name, instance.zone)
            if await self._volumes.is_taken(tenant, text(row, "zoneid"), name, boot_disks=False):
                raise _taken("disk", name, instance.zone)
            return False

        if await steps.run("look", look):
            return
        try:
            await self._update(steps, "rename", instance, {"name": name, "displayname": name})
        except errors.Invalid:
            if await steps.run("rename-check", is_taken):  # by somebody who was faster
                raise _taken("instance", name, instance.zone) from None
            raise

    async def _update(self, steps: Steps, name: str, instance: InstanceRef, values: Mapping[str, object]) -> None:
        """One `updateVirtualMachine`. The same again does no harm, so what may be lost is done again."""

        async def update() -> bool:
            await self._backend.call(steps.tenant, "updateVirtualMachine", id=instance.backend_id, **values)
            return True

        await steps.run(name, update, find=update)

    async def _scale(self, steps: Steps, instance: InstanceRef, wanted: Mapping[str, Any]) -> None:
        tenant = steps.tenant

        def is_scaled(row: Row) -> bool:
            return text(row, "serviceofferingid") == wanted["offering_id"] and all(
                number(row, field) == value for field, value in wanted["sizes"].items()
            )

        async def submit() -> Submitted:
            form = {f"details[{index}].{key}": value for index, (key, value) in enumerate(wanted["details"].items())}
            return submitted(
                await self._backend.call(
                    tenant,
                    "scaleVirtualMachine",
                    id=instance.backend_id,
                    serviceofferingid=wanted["offering_id"],
                    **form,
                )
            )

        async def find() -> Submitted | None:
            await settle(self._backend, tenant, "ScaleVM")
            return Submitted("", instance.backend_id) if is_scaled(await self._row(tenant, instance)) else None

        async def compare() -> dict[str, Any]:
            row = await self._row(tenant, instance)
            return {"done": is_scaled(row), "state": text(row, "state")}

        try:
            await steps.job("scale", submit, find=find)
        except (errors.Invalid, errors.Failed, errors.Forbidden) as exc:
            found = await steps.run("scale-check", compare)
            if found["done"]:
                return
            if found["state"] != "Stopped":  # somebody has started it
                raise errors.NotReady(
                    f"Instance {instance.name!r} must be stopped to change its machine type",
                    detail=exc.message,
                    kind="instance",
                ) from exc
            raise

    def _sizes(self, choice: Choice) -> dict[str, Any]:
        """What `scaleVirtualMachine` is to be told, and how the machine's row looks afterwards, as JSON."""
        details: dict[str, int] = {}
        if choice.offering.custom:
            details = {"cpuNumber": choice.vcpus, "memory": choice.memory_mib}
            if not choice.offering.clock_mhz:
                details["cpuSpeed"] = self._backend.settings.custom_cpu_mhz
        sizes = {"cpunumber": choice.vcpus, "memory": choice.memory_mib}
        return {"offering_id": choice.offering.backend_id, "details": details, "sizes": sizes}

    async def _keep(self, steps: Steps, instance: InstanceRef, values: Mapping[str, Any], undo: Undo) -> None:
        await self._retag(steps, instance, lambda found: with_reserved(found, values), undo)

    async def _retag(self, steps: Steps, instance: InstanceRef, change: Callable[[Tags], Tags], undo: Undo) -> None:
        await replace_tags(
            self._backend,
            steps,
            "tags",
            ("UserVm", instance.backend_id),
            change=change,
            current=self._current(steps.tenant, instance),
            undo=undo,
        )

    def _current(self, tenant: Tenant, instance: InstanceRef) -> Callable[[], Awaitable[Tags | None]]:
        async def current() -> Tags | None:
            return tags(await self._row(tenant, instance))

        return current

    async def _row(self, tenant: Tenant, instance: InstanceRef) -> Row:
        row = await self._machines.by_id(tenant, instance.backend_id)
        if row is None:
            raise errors.NotFound(
                f"There is no instance {instance.name!r} in zone {instance.zone!r}", kind="instance", name=instance.name
            )
        return row


def _has(row: Row, choice: Choice) -> bool:
    sizes = (text(row, "serviceofferingid"), number(row, "cpunumber"), number(row, "memory"))
    return sizes == (choice.offering.backend_id, choice.vcpus, choice.memory_mib)


def _require_stopped(row: Row, instance: InstanceRef, why: str) -> None:
    if text(row, "state") != "Stopped":
        raise errors.NotReady(
            f"Instance {instance.name!r} must be stopped {why}; it is {text(row, 'state').lower()}", kind="instance"
        )


def _taken(kind: str, name: str, zone: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(f"There is a {kind} {name!r} in zone {zone!r}", kind=kind, name=name, field="name")
