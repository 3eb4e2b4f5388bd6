"""What may be changed in a machine: names, details, size, keys, user data.

Source: UserVmManagerImpl.
"""

from gceshim.simulator import entities as model
from gceshim.simulator import errors, limits, scopes
from gceshim.simulator.call import Call, now
from gceshim.simulator.commands import vm_rules
from gceshim.simulator.commands.vms_list import vm_row
from gceshim.simulator.registry import Provenance, Row, command

SIZE_KEYS = frozenset({"cpunumber", "cpuspeed", "memory"})


@command("updateVirtualMachine", Provenance.DOCUMENTED, subject=model.Vm, event="VM.UPDATE")
def update_virtual_machine(call: Call) -> Row:
    args, vm = call.args, call.args.need("id", model.Vm)
    if vm.state in ("Error", "Expunging"):
        raise errors.invalid(f"The virtual machine {vm.uuid} is in state {vm.state} and cannot be updated")
    name = args.text("name")
    if name is not None:
        vm_rules.check_name(name)
        vm_rules.check_name_free(call.state, name, [nic.network for nic in vm.nics], besides=vm)
    details = args.details("details")
    vm_rules.check_detail_keys(details)
    if args.flag("haenable") and not vm.offering.offer_ha:
        raise errors.invalid("Can't enable HA for a virtual machine whose offering does not offer it")
    text = args.text("userdata")
    registered = args.one("userdataid", model.UserData)
    if text and registered is not None:
        raise errors.invalid("Both userdata and userdata ID inputs are not allowed, please provide only one")
    user_data = vm_rules.read_user_data(call, text) if text else None
    groups = _groups(call, vm)
    # Nothing is changed before everything is checked.
    if groups is not None:
        vm.groups = groups
    _apply(call, vm, details)
    if registered is not None:
        vm.registered_user_data, vm.user_data = registered, registered.content
    elif user_data is not None:
        vm.registered_user_data, vm.user_data = None, user_data
    vm.updated = now()
    return vm_row(call, vm)


def _groups(call: Call, vm: model.Vm) -> list[model.SecurityGroup] | None:
    if not (call.args.has("securitygroupids") or call.args.has("securitygroupnames")):
        return None
    if vm.state != "Stopped":
        raise errors.invalid("Virtual machine must be stopped prior to update security groups ")
    groups = call.args.many("securitygroupids", model.SecurityGroup)
    for name in call.args.texts("securitygroupnames"):
        found = [row for row in call.state.rows(model.SecurityGroup) if row.account is vm.account and row.name == name]
        if not found:
            raise errors.invalid(f"Unable to find group by name {name}")
        groups = [*groups, found[0]]
    return groups


def _apply(call: Call, vm: model.Vm, details: dict[str, str]) -> None:
    args = call.args
    kept = {key: value for key, value in vm.details.items() if key.casefold() in SIZE_KEYS}
    if args.flag("cleanupdetails"):
        vm.details = kept
    elif details:
        vm.details = {**kept, **{key: value for key, value in details.items() if key.casefold() not in SIZE_KEYS}}
    vm.name = args.text("name") or vm.name
    vm.display_name = args.text("displayname") or vm.display_name
    if args.has("group"):
        vm.group = args.text("group") or None
    vm.os_type = args.one("ostypeid", model.OsType) or vm.os_type
    for parameter, attribute in (
        ("haenable", "ha"),
        ("isdynamicallyscalable", "dynamic"),
        ("deleteprotection", "delete_protection"),
    ):
        if args.has(parameter):
            setattr(vm, attribute, bool(args.flag(parameter)))


@command("changeServiceForVirtualMachine", Provenance.DOCUMENTED, subject=model.Vm, event="VM.UPGRADE")
def change_service_for_virtual_machine(call: Call) -> Row:
    vm = call.args.need("id", model.Vm)
    if vm.state != "Stopped":
        raise errors.invalid(
            f"Unable to upgrade virtual machine {vm.uuid} in state {vm.state}; make sure the virtual machine is stopped"
        )
    _resize(call, vm, _new_sizes(call, vm))
    return vm_row(call, vm)


@command("scaleVirtualMachine", Provenance.DOCUMENTED, subject=model.Vm, java="vm.ScaleVMCmd", instance="VirtualMachine", event="VM.UPGRADE")  # fmt: skip  # noqa: E501
async def scale_virtual_machine(call: Call) -> Row:
    vm = call.args.need("id", model.Vm)
    if vm.state not in ("Running", "Stopped"):
        raise errors.invalid(f"Unable to scale virtual machine {vm.uuid} in state {vm.state}")
    new = _new_sizes(call, vm)
    if vm.state == "Running":
        if not call.settings.dynamic_scale_vm:
            raise errors.denied("Dynamically scaling virtual machines is disabled for this zone")
        if not vm.dynamic:
            raise errors.failed(f"Unable to scale VM [{vm.uuid}] as it is not dynamically scalable")
        if new[0] < vm.cpus or new[1] < vm.speed_mhz or new[2] < vm.memory_mib:
            raise errors.invalid(
                "While the VM is running, only scaling up it is supported: new sizes must not be less than the old"
            )
    _check_quota(call, vm, new)
    await call.work()
    _resize(call, vm, new)
    return vm_row(call, vm)


def _new_sizes(call: Call, vm: model.Vm) -> tuple[int, int, int]:
    offering = call.args.need("serviceofferingid", model.ServiceOffering)
    details = call.args.details("details")
    if offering.system:
        raise errors.invalid(f"Unable to find service offering: {offering.uuid}")
    if offering is vm.offering and not offering.custom:
        raise errors.invalid(f"Not upgrading vm {vm.uuid} since it already has the requested service offering")
    new = vm_rules.sizes(offering, details)
    if offering is vm.offering and new == (vm.cpus, vm.speed_mhz, vm.memory_mib):
        raise errors.invalid(f"Not upgrading vm {vm.uuid} since it already has the requested service offering")
    return new


def _check_quota(call: Call, vm: model.Vm, new: tuple[int, int, int]) -> None:
    wanted = {"cpu": new[0] - vm.cpus, "memory": new[2] - vm.memory_mib}
    limits.check(call.state, call.settings, vm.account, wanted)


def _resize(call: Call, vm: model.Vm, new: tuple[int, int, int]) -> None:
    _check_quota(call, vm, new)
    vm.offering = call.args.need("serviceofferingid", model.ServiceOffering)
    vm.cpus, vm.speed_mhz, vm.memory_mib = new
    kept = {key: value for key, value in vm.details.items() if key.casefold() not in SIZE_KEYS}
    sizes = {key: value for key, value in call.args.details("details").items() if key.casefold() in SIZE_KEYS}
    vm.details = {**kept, **sizes}
    vm.updated = now()


@command("resetSSHKeyForVirtualMachine", Provenance.RECORDED, subject=model.Vm, java="vm.ResetVMSSHKeyCmd", instance="VirtualMachine", event="VM.RESETSSHKEY")  # fmt: skip  # noqa: E501
async def reset_ssh_key_for_virtual_machine(call: Call) -> Row:
    vm = call.args.need("id", model.Vm)
    if vm.state != "Stopped":
        raise errors.invalid(f"Vm {vm.uuid} should be stopped to do SSH Key reset")
    names = vm_rules.find_key_pairs(call, vm.account)
    if not names:
        raise errors.invalid("At least one key pair name is needed")
    await call.work()
    vm.key_pairs = names
    vm.updated = now()
    return vm_row(call, vm)


@command("resetUserDataForVirtualMachine", Provenance.DOCUMENTED, subject=model.Vm, event="VM.RESETUSERDATA")
def reset_user_data_for_virtual_machine(call: Call) -> Row:
    vm = call.args.need("id", model.Vm)
    if vm.state != "Stopped":
        raise errors.invalid(f"Vm {vm.uuid} should be stopped to do UserData reset")
    text, registered = call.args.text("userdata"), call.args.one("userdataid", model.UserData)
    if text and registered is not None:
        raise errors.invalid("Both userdata and userdata ID inputs are not allowed, please provide only one")
    if not text and registered is None:
        raise errors.invalid("Either userdata or userdata ID is needed")
    if registered is not None:
        if not scopes.can_access(call.caller, registered.account):
            raise scopes.permission_error(call.caller, registered)
        vm.user_data, vm.registered_user_data = registered.content, registered
    else:
        vm.user_data, vm.registered_user_data = vm_rules.read_user_data(call, text or ""), None
    vm.updated = now()
    return vm_row(call, vm)
