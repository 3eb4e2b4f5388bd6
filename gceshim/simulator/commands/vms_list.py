"""Machines as replies show them, and their list."""

from gceshim.simulator import entities as model
from gceshim.simulator import errors, scopes
from gceshim.simulator.call import Call, prune, wire_date
from gceshim.simulator.commands.infrastructure import check_hypervisor
from gceshim.simulator.commands.security_groups import group_row
from gceshim.simulator.commands.tag_rows import tag_rows
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Listing, Provenance, Row, command

DETAILS = (
    "all",
    "group",
    "nics",
    "stats",
    "secgrp",
    "tmpl",
    "servoff",
    "diskoff",
    "backoff",
    "iso",
    "volume",
    "min",
    "affgrp",
)
HIDDEN_STATES = frozenset({"Destroyed", "Expunging"})


@command("listVirtualMachines", Provenance.RECORDED, subject=model.Vm)
def list_virtual_machines(call: Call) -> Listing:
    args = call.args
    details = frozenset(args.texts("details") or ["all"])
    if not details <= set(DETAILS):
        raise errors.invalid(
            f"The details parameter contains a non permitted value. The allowed values are [{', '.join(DETAILS)}]"
        )
    check_hypervisor(args.text("hypervisor"))
    rows = Rows(call, call.state.rows(model.Vm)).ids(model.Vm).same("name", lambda vm: vm.name)
    if not (call.caller.is_admin or call.settings.allow_user_view_destroyed_vm):
        rows.where(lambda vm: vm.state not in HIDDEN_STATES)
    state = args.text("state")
    if state is not None and state.casefold() == "present":
        rows.where(lambda vm: vm.state not in HIDDEN_STATES)
    else:
        rows.same("state", lambda vm: vm.state)
    rows.same("zoneid", lambda vm: vm.zone).same("templateid", lambda vm: vm.template)
    rows.same("isoid", lambda vm: None).same("hostid", lambda vm: vm.host)
    rows.same("serviceofferingid", lambda vm: vm.offering).same("userid", lambda vm: vm.user)
    rows.same("userdataid", lambda vm: vm.registered_user_data).flag("haenable", lambda vm: vm.ha)
    rows.same("hypervisor", lambda vm: "KVM").same("arch", lambda vm: "x86_64")
    _by_network(call, rows)
    key_pair = args.text("keypair")
    if key_pair is not None:
        rows.where(lambda vm: key_pair in vm.key_pairs)
    group = args.one("securitygroupid", model.SecurityGroup)
    if group is not None:
        rows.where(lambda vm: group in vm.groups)
    if args.has("keyword"):
        rows.like("keyword", lambda vm: " ".join((vm.display_name, vm.name, vm.state, *addresses(vm))))
    rows.tags().owned()
    with_user_data = bool(args.flag("userdata"))
    return Listing(rows.found, lambda vm: vm_row(call, vm, details, with_user_data=with_user_data, in_list=True))


def _by_network(call: Call, rows: Rows[model.Vm]) -> None:
    network = call.args.one("networkid", model.Network)
    if network is not None:
        rows.where(lambda vm: any(nic.network is network for nic in vm.nics))
    vpc = call.args.one("vpcid", model.Vpc)
    if vpc is not None:
        rows.where(lambda vm: any(nic.network.vpc is vpc for nic in vm.nics))


def addresses(vm: model.Vm) -> list[str]:
    return [nic.address for nic in vm.nics if nic.address is not None]


def vm_row(
    call: Call,
    vm: model.Vm,
    details: frozenset[str] = frozenset({"all"}),
    *,
    with_user_data: bool = False,
    in_list: bool = False,
    password: str | None = None,
) -> Row:
    """A machine. ``details`` are the parts to show beside the base columns."""
    full = "all" in details
    row: Row = {
        "id": vm.uuid,
        "name": vm.name,
        "displayname": vm.display_name,
        **scopes.owner_fields(vm.account),
        "userid": vm.user.uuid,
        "username": vm.user.username,
        "created": wire_date(vm.created),
        "lastupdated": None if vm.updated is None else wire_date(vm.updated),
        "state": vm.state,
        "haenable": vm.ha,
        "zoneid": vm.zone.uuid,
        "zonename": vm.zone.name,
        "guestosid": vm.os_type.uuid,
        "ostypeid": vm.os_type.uuid,
        "osdisplayname": vm.os_type.description,
        "hypervisor": "KVM",
        "arch": "x86_64",
        "cpunumber": vm.cpus,
        "cpuspeed": vm.speed_mhz,
        "memory": vm.memory_mib,
        "passwordenabled": vm.template.password_enabled,
        "password": password,
        "rootdeviceid": 0,
        "rootdevicetype": "ROOT",
        "bootmode": "legacy",
        "boottype": "Bios",
        "isdynamicallyscalable": vm.dynamic,
        "deleteprotection": vm.delete_protection,
        "vmtype": "User",
        "hasannotations": False,
        "displayvm": True,
        "details": dict(vm.details),
        "tags": tag_rows(call, vm),
        "affinitygroup": [],
        "keypairs": ",".join(vm.key_pairs) or None,
        "group": vm.group,
        "userdata": vm.user_data if with_user_data else None,
    }
    if vm.registered_user_data is not None:
        row.update(userdataid=vm.registered_user_data.uuid, userdataname=vm.registered_user_data.name)
    if in_list and vm.job_uuid is not None:
        row.update(jobid=vm.job_uuid, jobstatus=0)
    if call.is_root:
        row["instancename"] = vm.instance_name
        if vm.host is not None:
            row.update(hostid=vm.host.uuid, hostname=vm.host.name)
    if full or "tmpl" in details:
        row.update(
            templateid=vm.template.uuid,
            templatename=vm.template.name,
            templatedisplaytext=vm.template.display_text,
            templatetype="USER",
            templateformat=vm.template.image_format,
        )
    if full or "servoff" in details:
        row.update(serviceofferingid=vm.offering.uuid, serviceofferingname=vm.offering.name)
    if full or "stats" in details:
        _add_stats(row, vm)
    if full or "nics" in details:
        row["nic"] = [nic_row(call, nic) for nic in vm.nics]
        _add_public_address(call, row, vm)
    if full or "secgrp" in details:
        row["securitygroup"] = [group_row(call, group, brief=True) for group in vm.groups]
    return prune(row)


def _add_stats(row: Row, vm: model.Vm) -> None:
    if vm.state == "Running":
        row.update(cpuused="1%", networkkbsread=0, networkkbswrite=0, diskkbsread=0, diskkbswrite=0)
        row.update(diskioread=0, diskiowrite=0, memorykbs=vm.memory_mib * 1024)


def _add_public_address(call: Call, row: Row, vm: model.Vm) -> None:
    nic = vm.default_nic
    if nic is not None:
        row["ipaddress"] = nic.address
    for ip in call.state.rows(model.PublicIp):
        if ip.static_nat_vm is vm:
            row.update(publicip=ip.address, publicipid=ip.uuid)
            return


def nic_row(call: Call, nic: model.Nic) -> Row:
    """One interface of a machine."""
    network = nic.network
    row: Row = {
        "id": nic.uuid,
        "networkid": network.uuid,
        "networkname": network.name,
        "netmask": netmask(network),
        "gateway": network.gateway,
        "ipaddress": nic.address,
        "traffictype": "Guest",
        "type": network.offering.guest_type,
        "isdefault": nic.default,
        "macaddress": nic.mac,
        "deviceid": str(nic.device),
        "secondaryip": [{"id": key, "ipaddress": value} for key, value in nic.secondary.items()],
        "extradhcpoption": [],
    }
    if network.vpc is not None:
        row.update(vpcid=network.vpc.uuid, vpcname=network.vpc.name)
    if call.is_root and network.vlan:
        row.update(broadcasturi=f"vlan://{network.vlan}", isolationuri=f"vlan://{network.vlan}")
    return prune(row)


def netmask(network: model.Network) -> str | None:
    """The dotted mask of a network's CIDR."""
    if network.cidr is None:
        return None
    bits = int(network.cidr.split("/")[1])
    number = (0xFFFFFFFF << (32 - bits)) & 0xFFFFFFFF
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


@command("getVirtualMachineUserData", Provenance.DOCUMENTED)
def get_virtual_machine_user_data(call: Call) -> Row:
    vm = call.args.need("virtualmachineid", model.Vm)
    if vm.removed:
        raise errors.invalid(f"Unable to find a virtual machine with id {vm.uuid}")
    if not scopes.can_access(call.caller, vm.account):
        raise scopes.permission_error(call.caller, vm)
    return prune({"virtualmachineid": vm.uuid, "userdata": vm.user_data})
