"""Machines' states: start, stop, reboot, destroy, recover, expunge.

Source: UserVmManagerImpl, VirtualMachine.State.
"""

import asyncio
import functools
import logging

from gceshim.simulator import entities as model
from gceshim.simulator import errors, fabric, limits
from gceshim.simulator.call import Call, now
from gceshim.simulator.commands.vms_deploy import bring_up, new_password
from gceshim.simulator.commands.vms_list import vm_row
from gceshim.simulator.registry import Provenance, Row, command
from gceshim.simulator.state import State

log = logging.getLogger(__name__)

GIB = 1024**3


@command(
    "startVirtualMachine",
    Provenance.RECORDED,
    subject=model.Vm,
    java="vm.StartVMCmd",
    instance="VirtualMachine",
    event="VM.START",
)
async def start_virtual_machine(call: Call) -> Row:
    vm = call.args.need("id", model.Vm)
    if vm.state == "Running":
        raise errors.invalid(f"The virtual machine {vm.uuid} ({vm.name}) is already running")
    if vm.state != "Stopped":
        raise errors.invalid(f"Unable to start the virtual machine {vm.uuid} in state {vm.state}")
    vm.state = "Starting"
    try:
        await call.work()
        bring_up(call, vm)
    except errors.ApiError:
        vm.state = "Stopped"
        raise
    fresh = "password" in vm.details
    if fresh:
        del vm.details["password"]
    return vm_row(call, vm, password=new_password(call) if fresh else None)


@command(
    "stopVirtualMachine",
    Provenance.RECORDED,
    subject=model.Vm,
    java="vm.StopVMCmd",
    instance="VirtualMachine",
    event="VM.STOP",
)
async def stop_virtual_machine(call: Call) -> Row:
    vm = call.args.need("id", model.Vm)
    if vm.state in ("Destroyed", "Expunging", "Error"):
        raise errors.invalid(f"Unable to stop the virtual machine {vm.uuid} in state {vm.state}")
    await _stop(call, vm)
    return vm_row(call, vm)


async def _stop(call: Call, vm: model.Vm) -> None:
    if vm.state != "Running":
        await call.work()
        return
    vm.state = "Stopping"
    try:
        await call.work()
    except errors.ApiError:
        vm.state = "Running"
        raise
    vm.state, vm.host, vm.updated = "Stopped", None, now()


@command(
    "rebootVirtualMachine",
    Provenance.DOCUMENTED,
    subject=model.Vm,
    java="vm.RebootVMCmd",
    instance="VirtualMachine",
    event="VM.REBOOT",
)
async def reboot_virtual_machine(call: Call) -> Row:
    vm = call.args.need("id", model.Vm)
    if vm.state != "Running":
        raise errors.invalid(f"Virtual machine {vm.uuid} is not running, unable to reboot it")
    await call.work()
    return vm_row(call, vm)


@command(
    "destroyVirtualMachine",
    Provenance.DOCUMENTED,
    subject=model.Vm,
    java="vm.DestroyVMCmd",
    instance="VirtualMachine",
    event="VM.DESTROY",
)
async def destroy_virtual_machine(call: Call) -> Row:
    vm = call.args.need("id", model.Vm)
    expunges = bool(call.args.flag("expunge"))
    if expunges:
        _check_may_expunge(call)
    if vm.state == "Expunging":
        raise errors.invalid(f"Unable to destroy the virtual machine {vm.uuid} in state {vm.state}")
    if vm.delete_protection:
        raise errors.invalid(
            f"Instance [id = {vm.uuid}, name = {vm.name}] has delete protection enabled and cannot be deleted."
        )
    doomed = call.args.many("volumeids", model.Volume)
    for volume in doomed:
        if volume.vm is not vm or volume.kind != "DATADISK":
            raise errors.invalid(f"Volume {volume.uuid} is not an attached data disk of the instance {vm.uuid}")
        if volume.delete_protection:
            raise errors.invalid(
                f"Volume [id = {volume.uuid}, name = {volume.name}] has delete protection enabled and cannot be deleted"
            )
    if vm.state in ("Destroyed", "Error"):
        await call.work()
        was_error = vm.state == "Error"
        vm.state = "Destroyed"
        if expunges or was_error:
            expunge(call.state, vm)
        return vm_row(call, vm)
    await _stop(call, vm)
    vm.state, vm.updated = "Destroyed", now()
    _drop_data_disks(call.state, vm, doomed)
    if expunges:
        expunge(call.state, vm)
    else:
        loop = asyncio.get_running_loop()
        loop.call_later(call.settings.expunge_delay_seconds, functools.partial(_expunge_late, call.state, vm, now()))
    return vm_row(call, vm)


def _check_may_expunge(call: Call) -> None:
    if not call.caller.is_admin and not call.settings.allow_user_expunge_recover_vm:
        raise errors.denied("Parameter expunge can be passed by Admin only. Or when the allow.user.expunge.recover.vm key is set.")  # fmt: skip  # noqa: E501


def _drop_data_disks(state: State, vm: model.Vm, doomed: list[model.Volume]) -> None:
    for volume in state.snapshot(model.Volume):
        if volume.vm is vm and volume.kind == "DATADISK":
            volume.vm = volume.device = volume.attached = None
            if volume in doomed:
                state.remove(volume)


def expunge(state: State, vm: model.Vm) -> None:
    """Take a destroyed machine away for good, with its root disk, addresses and rules. It shows state Expunging."""
    fabric.unmap(state, vm)
    for nic in list(vm.nics):
        fabric.remove_nic(state, nic)
    for volume in state.snapshot(model.Volume):
        if volume.vm is vm:
            volume.vm = None
            state.remove(volume)
    vm.state = "Expunging"
    vm.updated = now()
    state.remove(vm)


def _expunge_late(state: State, vm: model.Vm, destroyed: float) -> None:
    if not vm.removed and vm.state == "Destroyed" and (vm.updated or 0) <= destroyed:
        expunge(state, vm)


@command("recoverVirtualMachine", Provenance.DOCUMENTED, subject=model.Vm, event="VM.RECOVER")
def recover_virtual_machine(call: Call) -> Row:
    vm = call.args.need("id", model.Vm)
    if not call.caller.is_admin and not call.settings.allow_user_expunge_recover_vm:
        raise errors.denied("Recovering a vm can only be done by an Admin. Or when the allow.user.expunge.recover.vm key is set.")  # fmt: skip  # noqa: E501
    if vm.state != "Destroyed":
        raise errors.invalid(f"Vm with id {vm.uuid} is not in the right state")
    root_bytes = sum(row.size_bytes for row in call.state.rows(model.Volume) if row.vm is vm)
    limits.check(
        call.state,
        call.settings,
        vm.account,
        {"user_vm": 1, "cpu": vm.cpus, "memory": vm.memory_mib, "primary_storage": 0 * root_bytes},
    )
    vm.state, vm.updated = "Stopped", now()
    return vm_row(call, vm)


@command(
    "expungeVirtualMachine",
    Provenance.DOCUMENTED,
    subject=model.Vm,
    java="vm.ExpungeVMCmd",
    instance="VirtualMachine",
    event="VM.EXPUNGE",
)
async def expunge_virtual_machine(call: Call) -> None:
    vm = call.args.need("id", model.Vm)
    if not call.caller.is_admin and not call.settings.allow_user_expunge_recover_vm:
        raise errors.denied("Expunging a vm can only be done by an Admin. Or when the allow.user.expunge.recover.vm key is set.")  # fmt: skip  # noqa: E501
    if vm.state not in ("Destroyed", "Expunging", "Error"):
        raise errors.failed(f"Please destroy vm with specified vmId before expunge: {vm.uuid}")
    await call.work()
    expunge(call.state, vm)
