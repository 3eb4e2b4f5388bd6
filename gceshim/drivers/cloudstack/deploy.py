"""The making and removal of machines, as workflows that can be replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from gceshim.drivers import errors
from gceshim.drivers.base import Steps, Submitted
from gceshim.drivers.cloudstack.attached import BOOT_AUTO_DELETE, BOOT_DEVICE, BOOT_DEVICE_NAME
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.default_network import DefaultNetwork
from gceshim.drivers.cloudstack.external import Addresses
from gceshim.drivers.cloudstack.firewall.force import Address
from gceshim.drivers.cloudstack.firewall.machines import MachineRules
from gceshim.drivers.cloudstack.instance_disks import InstanceDisks
from gceshim.drivers.cloudstack.jobs import job_about, submitted
from gceshim.drivers.cloudstack.machines import Machines
from gceshim.drivers.cloudstack.marks import set_tags
from gceshim.drivers.cloudstack.plan import Nic, Plan
from gceshim.drivers.cloudstack.rows import Row, age_key, flag, number, rows, tags, text
from gceshim.drivers.cloudstack.tags import encode
from gceshim.drivers.cloudstack.undo import Undo, insist, with_remains
from gceshim.drivers.cloudstack.userdata import build, encoded
from gceshim.drivers.cloudstack.vms import OPERATION_DETAIL, made_by
from gceshim.model import InstanceSpec, Tenant

_GOING: Final = frozenset({"Stopping", "Destroyed", "Expunging"})


class Deployer:
    """Workflows over one machine, made of the steps of its operation."""

    def __init__(
        self,
        backend: Backend,
        *,
        machines: Machines,
        addresses: Addresses,
        default_network: DefaultNetwork,
        rules: MachineRules,
        disks: InstanceDisks,
    ) -> None:
        self._backend = backend
        self._machines = machines
        self._addresses = addresses
        self._default_network = default_network
        self._rules = rules
        self._disks = disks

    async def create(self, steps: Steps, spec: InstanceSpec, plan: Plan) -> str:
        """
        Make a machine after a plan and return CloudStack's id for it.

        When a step fails, all that was made is removed again, but for a default network.
        """
        plan = await self._with_default_network(steps, plan)
        await steps.progress(10)
        async with Undo() as undo:
            # The firewall rules of its networks apply to a machine from its start.
            groups = await self._rules.prepare(steps, [nic.network_id for nic in plan.nics], spec.network_tags, undo)
            volume_ids = await self._disks.prepare(steps, plan.disks, undo)
            await steps.progress(20)
            with self._rules.entering(steps, groups):
                return await self._create(steps, spec, plan, groups, volume_ids, undo=undo)

    async def _create(
        self,
        steps: Steps,
        spec: InstanceSpec,
        plan: Plan,
        groups: Mapping[str, str],
        volume_ids: Sequence[str],
        *,
        undo: Undo,
    ) -> str:
        held: list[str] = []
        vm_id = ""
        try:
            vm_id = await self._deploy_into(steps, spec, plan, groups, undo)
            if await steps.run("name", lambda: self._is_taken(steps, spec, plan, vm_id)):
                raise _name_taken(spec)
            await steps.progress(70)
            await self._disks.attach(steps, volume_ids, vm_id)
            if spec.boot_disk_type:
                await self._disks.describe_boot(steps, vm_id, spec.boot_disk_type)
            external = await self._open(steps, plan, vm_id=vm_id, held=held)
            await steps.progress(85)
            await self._describe(steps, spec, vm_id, external)
            await steps.progress(90)
            await self._let_in(steps, spec, plan, external)
            await steps.progress(95)
        except errors.DriverError as exc:
            gone = bool(vm_id) and await self._is_gone(steps, vm_id)
            error = was_deleted(spec.name) if gone else exc
            left = await self._undo(steps, spec, plan, vm_id=vm_id, held=held)
            if left:
                raise with_remains(error, left) from exc
            if gone:
                raise error from exc
            raise
        return vm_id

    async def destroy(self, steps: Steps, vm_id: str, prefix: str = "") -> None:
        """Destroy and expunge a machine; one that is gone is a success. Data disks are kept."""
        tenant = steps.tenant
        left = await self._rules.belongings(steps, vm_id, prefix)

        async def find() -> Submitted | None:
            row = await self._machines.by_id(tenant, vm_id)
            if row is None:
                return Submitted("", vm_id)
            if text(row, "state") in _GOING and text(row, "jobid") and number(row, "jobstatus") == 0:
                return Submitted(text(row, "jobid"), vm_id)
            job_id = await job_about(self._backend, tenant, vm_id, "VirtualMachine", pending="DestroyVM")
            return Submitted(job_id, vm_id) if job_id else None

        async def submit(expunge: bool) -> Submitted:
            return submitted(
                await self._backend.call(tenant, "destroyVirtualMachine", id=vm_id, expunge=expunge or None)
            )

        async def expunge() -> Submitted:
            return await submit(True)

        async def keep() -> Submitted:
            return await submit(False)

        try:
            try:
                await steps.job(f"{prefix}destroy", expunge, find=find)
            except errors.Forbidden:
                # This cloud does not let its users expunge: it will be expunged after the operator's delay.
                await steps.job(f"{prefix}destroy-only", keep, find=find)
        except errors.DriverError:
            if await steps.run(f"{prefix}destroy-check", lambda: self._is_there(tenant, vm_id)):
                raise
        await self._rules.leave(steps, left, prefix)

    async def release(self, steps: Steps, vm_id: str, prefix: str = "", also: tuple[str, ...] = ()) -> list[str]:
        """Give back the machine's ephemeral addresses, and `also` these; returns those that cannot be."""
        tenant = steps.tenant
        marked = await steps.run(f"{prefix}addresses", lambda: self._addresses.of_machine(tenant, vm_id))
        left = []
        for address_id in sorted({*marked, *also}):
            try:
                await self._addresses.release(steps, f"{prefix}release-{address_id}", address_id, vm_id)
            except errors.DriverError:
                left.append(address_id)
        return left

    async def _with_default_network(self, steps: Steps, plan: Plan) -> Plan:
        nics: list[Nic] = []
        for nic in plan.nics:
            if not nic.network_id:
                made = await self._default_network.make(steps, plan.zone_id)
                nics.append(replace(nic, network_id=made))
                continue
            if nic.mark:
                await self._default_network.mark(steps, nic.network_id)
            nics.append(nic)
        return replace(plan, nics=tuple(nics))

    async def _deploy_into(
        self, steps: Steps, spec: InstanceSpec, plan: Plan, groups: Mapping[str, str], undo: Undo
    ) -> str:
        """
        Deploy the machine; once more where a security group has gone by then.

        Until it has a machine a group looks unused to other servers, and to operations that are taken up again sooner.
        """
        try:
            return await self._deploy(steps, spec, plan, list(groups.values()))
        except (errors.Invalid, errors.Failed, errors.NotFound):
            if not groups or await self._rules.are_there(steps, groups):
                raise
        again = steps.within("again")
        groups = await self._rules.prepare(again, [nic.network_id for nic in plan.nics], spec.network_tags, undo)
        with self._rules.entering(again, groups):
            return await self._deploy(again, spec, plan, list(groups.values()))

    async def _deploy(self, steps: Steps, spec: InstanceSpec, plan: Plan, groups: Sequence[str]) -> str:
        tenant = steps.tenant
        form = deploy_params(spec, plan, steps.operation, self._backend.settings.user_data_limit_bytes)
        if groups:
            form["securitygroupids"] = list(groups)

        async def submit() -> Submitted:
            return submitted(await self._backend.owned(tenant, "deployVirtualMachine", **form))

        async def find() -> Submitted | None:
            row = await self._made(steps, spec, plan)
            if row is None:
                return None
            vm_id = text(row, "id")
            if text(row, "jobid") and number(row, "jobstatus") == 0:
                return Submitted(text(row, "jobid"), vm_id)
            if text(row, "state") == "Running":
                return Submitted("", vm_id)
            # It has ended, badly or not yet begun; its job knows.
            return Submitted(await job_about(self._backend, tenant, vm_id, "VirtualMachine") or "", vm_id)

        try:
            result = await steps.job("deploy", submit, find=find)
        except (errors.Invalid, errors.Failed) as exc:
            # Within a network CloudStack itself refuses a name that is taken, with the code of any bad value.
            if await steps.run("deploy-name", lambda: self._is_taken(steps, spec, plan)):
                raise _name_taken(spec) from exc
            raise
        row = result.get("virtualmachine", result)
        vm_id = text(row, "id") if isinstance(row, Mapping) else ""
        if not vm_id:
            raise errors.Unavailable("CloudStack gave an answer that is not understood", detail="deployVirtualMachine")
        return vm_id

    async def _made(self, steps: Steps, spec: InstanceSpec, plan: Plan) -> Row | None:
        """The machine that this operation made, in whatever state."""
        found = await self._namesakes(steps, spec, plan)
        return next((row for row in found if made_by(row) == steps.operation), None)

    async def _is_taken(self, steps: Steps, spec: InstanceSpec, plan: Plan, vm_id: str = "") -> bool:
        """
        Whether the name is another machine's.

        CloudStack lets machines in different networks have one name, so of those that are made at once only one may
        stay: the oldest, or one that has its tags already and so found itself to be the oldest.
        :param vm_id: ours. "": there is none, so any other has the name.
        """
        found = await self._namesakes(steps, spec, plan)
        ours = next((age_key(row) for row in found if vm_id and text(row, "id") == vm_id), None)
        others = [row for row in found if made_by(row) != steps.operation]
        return any(ours is None or tags(row) or age_key(row) < ours for row in others)

    async def _namesakes(self, steps: Steps, spec: InstanceSpec, plan: Plan) -> list[Row]:
        """The machines of this name in the zone that are not gone."""
        reply = await self._backend.owned(
            steps.tenant, "listVirtualMachines", name=spec.name, zoneid=plan.zone_id, details="min"
        )
        same = [row for row in rows(reply, "virtualmachine") if text(row, "name") == spec.name]
        return [row for row in same if text(row, "state") not in ("Destroyed", "Expunging")]

    async def _open(self, steps: Steps, plan: Plan, vm_id: str, held: list[str]) -> dict[str, Any]:
        """The ways in from outside; what is to be noted of each. Ephemeral addresses are added to `held`."""
        noted: dict[str, Any] = {}
        for index, nic in enumerate(plan.nics):
            if nic.external is None:
                continue
            if nic.shared or plan.any_network:
                noted[str(index)] = {"name": nic.external, "shared": True}
                continue
            address_id, address = nic.public_id, nic.public_address
            if not address_id:
                taken = await self._addresses.acquire(steps, f"address-{index}", nic, vm_id, held)
                address_id, address = taken.backend_id, taken.address
            await self._addresses.point(steps, f"static-nat-{index}", address_id, nic, vm_id)
            noted[str(index)] = {
                "name": nic.external,
                "id": address_id,
                "address": address,
                "ephemeral": not nic.public_id,
            }
        return noted

    async def _describe(self, steps: Steps, spec: InstanceSpec, vm_id: str, external: Mapping[str, Any]) -> None:
        """Labels and all that CloudStack has no field for, as tags; and deletion protection."""
        tenant = steps.tenant
        wanted = instance_tags(spec, external)

        async def current() -> Mapping[str, str] | None:
            row = await self._machines.by_id(tenant, vm_id)
            return tags(row) if row is not None else None

        if not await set_tags(self._backend, steps, "tags", ("UserVm", vm_id), wanted=wanted, current=current):
            raise errors.Failed(f"Instance {spec.name!r} was given other labels while it was made", kind="instance")
        if spec.deletion_protection:
            await steps.run(
                "protect",
                lambda: self._backend.call(tenant, "updateVirtualMachine", id=vm_id, deleteprotection=True),
            )

    async def _let_in(self, steps: Steps, spec: InstanceSpec, plan: Plan, external: Mapping[str, Any]) -> None:
        """What firewall rules allow at the machine's public addresses; in a VPC they are no matter of addresses."""
        addresses = [
            Address(noted["id"], plan.nics[int(index)].network_id, noted["ephemeral"])
            for index, noted in external.items()
            if noted.get("id") and not plan.nics[int(index)].vpc_id
        ]
        await self._rules.open(steps, addresses, spec.network_tags)

    async def _undo(self, steps: Steps, spec: InstanceSpec, plan: Plan, *, vm_id: str, held: list[str]) -> list[str]:
        """Remove what the operation made; returns in words what is left."""
        tenant = steps.tenant

        async def look() -> str:
            row = await self._made(steps, spec, plan)
            return text(row, "id") if row else ""

        left = []
        try:
            found = await steps.run("undo-look", look)
            vm_id = vm_id or found
            if found:
                if spec.deletion_protection:
                    await steps.run("undo-protect", lambda: self._unprotect(tenant, vm_id))
                await insist(steps, lambda steps: self.destroy(steps, vm_id, "undo-"), f"machine {vm_id}")
        except errors.DriverError:
            left.append(f"virtual machine {spec.name}")
        try:
            lost = await self.release(steps, vm_id, "undo-", tuple(held)) if vm_id or held else []
        except errors.DriverError:
            lost = held
        return left + [f"public address {item}" for item in lost]

    async def _is_gone(self, steps: Steps, vm_id: str) -> bool:
        """Whether somebody has deleted the machine meanwhile, which is why the rest cannot be done."""
        tenant = steps.tenant
        try:
            return not await steps.run("still-there", lambda: self._is_there(tenant, vm_id))
        except errors.DriverError:
            return False  # it is not known

    async def _unprotect(self, tenant: Tenant, vm_id: str) -> bool:
        row = await self._machines.by_id(tenant, vm_id)
        if row is not None and flag(row, "deleteprotection"):
            await self._backend.call(tenant, "updateVirtualMachine", id=vm_id, deleteprotection=False)
        return True

    async def _is_there(self, tenant: Tenant, vm_id: str) -> bool:
        return await self._machines.by_id(tenant, vm_id) is not None


def was_deleted(name: str) -> errors.NotFound:
    """The error for a machine that somebody deleted before it was all made."""
    return errors.NotFound(f"Instance {name!r} was deleted while it was made", kind="instance")


def _name_taken(spec: InstanceSpec) -> errors.AlreadyExists:
    return errors.AlreadyExists(
        f"There is an instance {spec.name!r} in zone {spec.zone!r}", kind="instance", name=spec.name
    )


def deploy_params(spec: InstanceSpec, plan: Plan, operation: str, user_data_limit_bytes: int) -> dict[str, Any]:
    """The parameters of `deployVirtualMachine`. Root disk in GiB, memory in MiB, clock in MHz, user data in base 64."""
    details: dict[str, object] = {OPERATION_DETAIL: operation}
    if plan.vcpus is not None:
        details["cpuNumber"] = plan.vcpus
        details["memory"] = plan.memory_mib
    if plan.clock_mhz is not None:
        details["cpuSpeed"] = plan.clock_mhz
    if plan.root_gib is not None:
        details["rootdisksize"] = plan.root_gib
    form: dict[str, Any] = {
        "name": spec.name,
        "displayname": spec.name,
        "zoneid": plan.zone_id,
        "serviceofferingid": plan.offering_id,
        "templateid": plan.template_id,
        "overridediskofferingid": plan.root_offering_id or None,
        "startvm": True,
        **{f"details[{index}].{key}": value for index, (key, value) in enumerate(details.items())},
    }
    if any(nic.address for nic in plan.nics):
        for index, nic in enumerate(plan.nics):
            form[f"iptonetworklist[{index}].networkid"] = nic.network_id
            form[f"iptonetworklist[{index}].ip"] = nic.address or None
    elif not plan.any_network:
        form["networkids"] = [nic.network_id for nic in plan.nics]
    document = build(spec.metadata, spec.project_metadata, spec.hostname)
    if document:
        form["userdata"] = encoded(document, user_data_limit_bytes)
    return form


def instance_tags(spec: InstanceSpec, external: Mapping[str, Any]) -> dict[str, str]:
    """All tags of a new machine."""
    return encode(
        spec.labels,
        {
            "machine-type": spec.machine_type,
            "description": spec.description,
            "hostname": spec.hostname,
            "tags": list(spec.network_tags),
            "metadata": dict(spec.metadata),
            "kept": dict(spec.kept),
            BOOT_DEVICE_NAME: spec.boot_device_name if spec.boot_device_name != BOOT_DEVICE else "",
            BOOT_AUTO_DELETE: None if spec.boot_disk_auto_delete else False,
            "external": dict(external),
            "deletion-protection": spec.deletion_protection or None,
        },
    )
