"""Interfaces added to and taken from machines.

Source: UserVmManagerImpl.addNicToVirtualMachine, removeNicFromVirtualMachine.
"""

from gceshim.simulator import entities as model
from gceshim.simulator import errors, fabric
from gceshim.simulator.call import Call
from gceshim.simulator.commands import vm_rules
from gceshim.simulator.commands.vms_list import vm_row
from gceshim.simulator.registry import Provenance, Row, command


@command("addNicToVirtualMachine", Provenance.RECORDED, java="vm.AddNicToVMCmd", instance="VirtualMachine", event="NIC.CREATE")  # fmt: skip  # noqa: E501
async def add_nic_to_virtual_machine(call: Call) -> Row:
    vm, network = call.args.need("virtualmachineid", model.Vm), call.args.need("networkid", model.Network)
    if vm.state not in ("Running", "Stopped"):
        raise errors.invalid(f"Unable to add a NIC to the virtual machine {vm.uuid} in state {vm.state}")
    if network.zone is not vm.zone:
        raise errors.failed(f"{vm.uuid} is in zone {vm.zone.uuid} but {network.uuid} is in zone {network.zone.uuid}")
    if any(nic.network is network for nic in vm.nics):
        raise errors.failed(f"A NIC already exists for VM:{vm.instance_name} in network: {network.uuid}")
    if network.acl_type == "Account" and network.account is not vm.account:
        raise errors.denied(f"Unable to use network with id= {network.uuid}, permission denied")
    vpcs = {nic.network.vpc for nic in vm.nics if nic.network.vpc is not None}
    if network.vpc is not None and vpcs - {network.vpc}:
        raise errors.failed("An instance can have interfaces in the tiers of one VPC only")
    try:
        vm_rules.check_name_free(call.state, vm.name, [network], besides=vm)
    except errors.ApiError as exc:
        raise errors.failed(exc.text) from exc
    await call.work()
    fabric.add_nic(call.state, vm, network, address=call.args.text("ipaddress"), mac=call.args.text("macaddress"))
    if vm.state == "Running":
        fabric.implement(call.state, network)
    return vm_row(call, vm)


@command("removeNicFromVirtualMachine", Provenance.RECORDED, java="vm.RemoveNicFromVMCmd", instance="VirtualMachine", event="NIC.DELETE")  # fmt: skip  # noqa: E501
async def remove_nic_from_virtual_machine(call: Call) -> Row:
    vm, nic = call.args.need("virtualmachineid", model.Vm), call.args.need("nicid", model.Nic)
    if nic.vm is not vm:
        raise errors.invalid(f"{nic.uuid} is not a NIC on {vm.uuid}")
    if vm.state not in ("Running", "Stopped"):
        raise errors.invalid(f"Unable to remove a NIC from the virtual machine {vm.uuid} in state {vm.state}")
    if nic.default:
        raise errors.invalid(f"Unable to remove nic from {vm.instance_name} in {nic.network.uuid}, nic is default.")
    mapped = any(ip.static_nat_vm is vm and ip.network is nic.network for ip in call.state.rows(model.PublicIp)) or any(
        rule.vm is vm and rule.network is nic.network for rule in call.state.rows(model.PortForwardingRule)
    )
    if mapped:
        raise errors.invalid(f"Unable to remove nic from {vm.instance_name}, it has port forwarding or static NAT")
    await call.work()
    fabric.remove_nic(call.state, nic)
    return vm_row(call, vm)
