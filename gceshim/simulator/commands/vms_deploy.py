"""deployVirtualMachine: what is refused at once, what the job does.

Source: DeployVMCmd, BaseDeployVMCmd, UserVmManagerImpl.
"""

from dataclasses import dataclass, field

from gceshim.simulator import entities as model
from gceshim.simulator import errors, fabric, limits, scopes
from gceshim.simulator.call import Call, now
from gceshim.simulator.commands import vm_rules
from gceshim.simulator.commands.networks import new_network
from gceshim.simulator.commands.security_groups import default_group
from gceshim.simulator.commands.vms_list import vm_row
from gceshim.simulator.commands.volumes import data_disk_bytes
from gceshim.simulator.registry import Created, Provenance, Row, command

GIB = 1024**3


@dataclass
class Plan:
    """What a deployment has been found to need."""

    owner: model.Account
    zone: model.Zone
    template: model.Template
    offering: model.ServiceOffering
    cpus: int
    speed_mhz: int
    memory_mib: int
    root_bytes: int
    details: dict[str, str]
    root_offering: model.DiskOffering | None = None
    data_offering: model.DiskOffering | None = None
    data_bytes: int = 0
    networks: list[model.Network] = field(default_factory=list)
    addresses: dict[model.Network, str] = field(default_factory=dict)
    macs: dict[model.Network, str] = field(default_factory=dict)
    groups: list[model.SecurityGroup] = field(default_factory=list)


@command(
    "deployVirtualMachine",
    Provenance.RECORDED,
    java="vm.DeployVMCmd",
    instance="VirtualMachine",
    event="VM.CREATE",
)
def deploy_virtual_machine(call: Call) -> Created:
    plan = _plan(call)
    key_pairs = vm_rules.find_key_pairs(call, plan.owner)
    user_data, registered = _user_data(call, plan.owner)
    _choose_networks(call, plan)
    needs_user_data = user_data is not None or key_pairs or plan.template.password_enabled
    if needs_user_data and plan.networks and not any("UserData" in row.offering.services for row in plan.networks):
        raise errors.invalid("Unable to deploy VM as UserData is provided while deploying the VM, but there is no support for UserData service in the default network")  # fmt: skip  # noqa: E501
    _check_quota(call, plan)
    if not plan.networks:
        plan.networks = [_implied_network(call, plan)]
    vm = _create(call, plan)
    vm.key_pairs = key_pairs
    vm.user_data = user_data
    vm.registered_user_data = registered
    return Created(vm, lambda running: _start_new(running, vm))


def _plan(call: Call) -> Plan:
    args = call.args
    zone = args.need("zoneid", model.Zone)
    owner = scopes.owner_for_new(call)
    if not zone.enabled and not call.is_root:
        raise errors.denied(f"Cannot perform this operation, Zone is currently disabled: {zone.name}")
    offering = args.need("serviceofferingid", model.ServiceOffering)
    if offering.system:
        raise errors.invalid(f"Unable to find service offering: {offering.uuid}")
    template = args.one("templateid", model.Template)
    if template is None:
        raise errors.invalid(
            "Please provide only one of the following parameters - template ID, volume ID or snapshot ID"
        )
    if zone not in template.zones:
        raise errors.invalid(f"The template {template.uuid} is not available for use")
    if not template.ready:
        raise errors.invalid(f"Unable to use template {template.uuid}")
    hypervisor = args.text("hypervisor")
    if hypervisor is not None and not template.iso and hypervisor.casefold() != template.hypervisor.casefold():
        raise errors.invalid(f"Hypervisor passed to the deployVm call, is different from the hypervisor type of the template {template.uuid}")  # fmt: skip  # noqa: E501
    details = args.details("details")
    vm_rules.check_detail_keys(details)
    cpus, speed_mhz, memory_mib = vm_rules.sizes(offering, details)
    plan = Plan(owner, zone, template, offering, cpus, speed_mhz, memory_mib, 0, details)
    _plan_disks(call, plan)
    name = args.text("name")
    if name is not None:
        vm_rules.check_name(name)
    return plan


def _plan_disks(call: Call, plan: Plan) -> None:
    args = call.args
    disk = args.one("diskofferingid", model.DiskOffering)
    if plan.template.iso:
        if args.text("hypervisor") is None:
            raise errors.invalid("Hypervisor parameter is needed to deploy an instance from an ISO")
        if disk is None:
            raise errors.invalid("Installing from ISO requires a disk offering to be specified for the root disk.")
        plan.root_bytes = data_disk_bytes(disk, args.number("size"))
        return
    plan.root_bytes = plan.template.size_gib * GIB
    override = args.one("overridediskofferingid", model.DiskOffering)
    if override is not None:
        _override_root(plan, override)
    named = {key.casefold(): value for key, value in plan.details.items()}
    if "rootdisksize" in named:
        text = named["rootdisksize"]
        size_gib = int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0
        if size_gib <= 0:
            raise errors.invalid(f"Root disk size should be a positive number: {text}")
        if size_gib < plan.template.size_gib:
            raise errors.invalid(
                f"Root disk size {size_gib} GB is less than the size of the template, {plan.template.size_gib} GB"
            )
        plan.root_bytes = size_gib * GIB
    if disk is not None:
        plan.data_offering = disk
        plan.data_bytes = data_disk_bytes(disk, args.number("size"))


def _override_root(plan: Plan, offering: model.DiskOffering) -> None:
    """Root storage from a disk offering instead of the compute offering's own."""
    sized = any(key.casefold() == "rootdisksize" for key in plan.details)
    if offering.custom and not sized:
        raise errors.invalid("This disk offering requires a custom size specified")
    if not offering.custom:
        if sized:
            raise errors.invalid("This disk offering does not allow custom size")
        if offering.size_gib < plan.template.size_gib:
            raise errors.invalid(f"Root disk size {offering.size_gib} GB is less than the size of the template")
        plan.root_bytes = offering.size_gib * GIB
    plan.root_offering = offering


def _user_data(call: Call, owner: model.Account) -> tuple[str | None, model.UserData | None]:
    text, registered = call.args.text("userdata"), call.args.one("userdataid", model.UserData)
    if text and registered is not None:
        raise errors.invalid("Both userdata and userdata ID inputs are not allowed, please provide only one")
    if registered is not None:
        if not scopes.can_access(call.caller, registered.account) and registered.account is not owner:
            raise scopes.permission_error(call.caller, registered)
        return registered.content, registered
    return (vm_rules.read_user_data(call, text) if text else None), None


def _choose_networks(call: Call, plan: Plan) -> None:
    args = call.args
    given = args.many("networkids", model.Network)
    entries = args.maps("iptonetworklist")
    if entries:
        if given or args.has("ipaddress"):
            raise errors.invalid("ipToNetworkMap can't be specified along with networkIds or ipAddress")
        given = [_network_of_entry(call, plan, entry) for entry in entries]
    plan.networks = list(dict.fromkeys(given))
    _choose_groups(call, plan)
    if plan.zone.security_groups:
        _use_security_group_zone(call, plan)
    elif not plan.networks:
        own = [
            row
            for row in call.state.rows(model.Network)
            if row.account is plan.owner
            and row.zone is plan.zone
            and row.offering.guest_type == "Isolated"
            and row.vpc is None
            and "SourceNat" in row.offering.services
        ]
        if len(own) > 1:
            raise errors.invalid(
                f"More than 1 default Isolated networks are found for account {plan.owner.name};"
                " please specify networkIds"
            )
        plan.networks = own
    _check_networks(call, plan)


def _network_of_entry(call: Call, plan: Plan, entry: dict[str, str]) -> model.Network:
    network = call.state.find(model.Network, entry.get("networkid", "").lower())
    if network is None or network.removed:
        raise errors.invalid(f"Unable to translate and find entity with networkId: {entry.get('networkid')}")
    if not (scopes.can_access(call.caller, network.account) or scopes.is_open(network)):
        raise scopes.permission_error(call.caller, network)
    if "ip" in entry:
        plan.addresses[network] = entry["ip"]
    if "mac" in entry:
        plan.macs[network] = entry["mac"]
    return network


def _choose_groups(call: Call, plan: Plan) -> None:
    args = call.args
    by_id, names = args.many("securitygroupids", model.SecurityGroup), args.texts("securitygroupnames")
    if by_id and names:
        raise errors.invalid("securitygroupids parameter is mutually exclusive with securitygroupnames parameter")
    for name in names:
        group = next(
            (row for row in call.state.rows(model.SecurityGroup) if row.account is plan.owner and row.name == name),
            None,
        )
        if group is None and name == "default":
            group = default_group(call.state, plan.owner)
        if group is None:
            raise errors.invalid(f"Unable to find group by name {name}")
        by_id.append(group)
    if by_id and not plan.zone.security_groups:
        raise errors.invalid("Can't create vm with security groups; security group feature is not enabled per zone")
    plan.groups = by_id


def _use_security_group_zone(call: Call, plan: Plan) -> None:
    if not plan.networks:
        open_networks = [row for row in call.state.rows(model.Network) if row.zone is plan.zone and row.security_groups]
        if not open_networks:
            raise errors.invalid(f"No network with security enabled is found in zone id={plan.zone.uuid}")
        plan.networks = open_networks[:1]
    for network in plan.networks:
        if plan.groups and not network.security_groups:
            raise errors.invalid(f"Network is not security group enabled: {network.name}")
        if network.offering.guest_type != "Shared":
            raise errors.invalid("Can specify only Shared Guest networks when deploy vm in Advance Security Group enabled zone")  # fmt: skip  # noqa: E501
    if not plan.groups and any(row.security_groups for row in plan.networks):
        plan.groups = [default_group(call.state, plan.owner)]


def _check_networks(call: Call, plan: Plan) -> None:
    args = call.args
    vpcs = {network.vpc.uuid for network in plan.networks if network.vpc is not None}
    if len(vpcs) > 1:
        raise errors.invalid("Vm can't be in more than one VPC")
    for network in plan.networks:
        if network.zone is not plan.zone:
            raise errors.invalid(f"Network {network.uuid} doesn't belong to the zone {plan.zone.uuid}")
        if network.removed:
            raise errors.invalid(f"Unable to find network by id {network.uuid}")
        if network.acl_type == "Account" and network.account is not plan.owner:
            raise errors.denied(f"Unable to use network with id= {network.uuid}, permission denied")
        if network in plan.addresses:
            fabric.check_guest_address(network, plan.addresses[network])
    address, mac = args.text("ipaddress"), args.text("macaddress")
    if plan.networks:
        first = plan.networks[0]
        if address is not None:
            fabric.check_guest_address(first, address)
            plan.addresses[first] = address
        if mac is not None:
            plan.macs[first] = mac
        name = args.text("name")
        if name is not None:
            vm_rules.check_name_free(call.state, name, plan.networks)


def _implied_network(call: Call, plan: Plan) -> model.Network:
    offering = call.state.required_isolated_offering()
    if offering is None:
        raise errors.invalid(f"Unable to find network offering with availability=Required in zone {plan.zone.uuid}")
    name = f"{plan.owner.name}-network"
    return new_network(call, plan.owner, plan.zone, offering, name=name, text=name)


def _check_quota(call: Call, plan: Plan) -> None:
    disks_gib = (plan.root_bytes + plan.data_bytes) // GIB
    wanted = {
        "user_vm": 1,
        "cpu": plan.cpus,
        "memory": plan.memory_mib,
        "volume": 2 if plan.data_offering else 1,
        "primary_storage": disks_gib,
    }
    if not plan.networks:
        wanted["network"] = 1
    limits.check(call.state, call.settings, plan.owner, wanted)


def _create(call: Call, plan: Plan) -> model.Vm:
    args, state = call.args, call.state
    name = args.text("name")
    vm = state.new(
        model.Vm,
        name=name or "",
        display_name=args.text("displayname") or name or "",
        account=plan.owner,
        user=call.caller.user,
        zone=plan.zone,
        offering=plan.offering,
        template=plan.template,
        cpus=plan.cpus,
        speed_mhz=plan.speed_mhz,
        memory_mib=plan.memory_mib,
        os_type=plan.template.os_type,
        details=plan.details,
        groups=plan.groups,
        group=args.text("group"),
        ha=plan.offering.offer_ha,
        dynamic=bool(args.flag("dynamicscalingenabled")),
    )
    vm.name = vm.name or f"VM-{vm.uuid}"
    vm.display_name = vm.display_name or vm.name
    for network in plan.networks:
        fabric.add_nic(state, vm, network, address=plan.addresses.get(network), mac=plan.macs.get(network))
    state.new(
        model.Volume,
        name=f"ROOT-{vm.number}",
        account=plan.owner,
        zone=plan.zone,
        kind="ROOT",
        size_bytes=plan.root_bytes,
        template=plan.template,
        offering=plan.root_offering,
        vm=vm,
        device=0,
        attached=vm.created,
    )
    if plan.data_offering is not None:
        state.new(
            model.Volume,
            name=f"DATA-{vm.number}",
            account=plan.owner,
            zone=plan.zone,
            kind="DATADISK",
            size_bytes=plan.data_bytes,
            offering=plan.data_offering,
            vm=vm,
            device=1,
            attached=vm.created,
        )
    return vm


async def _start_new(call: Call, vm: model.Vm) -> Row:
    starts = call.args.flag("startvm") is not False
    if starts:
        vm.state = "Starting"
    try:
        await call.work()
        if starts:
            bring_up(call, vm)
    except errors.ApiError:
        vm.state = "Error"
        for volume in call.state.snapshot(model.Volume):
            if volume.vm is vm and volume.kind == "DATADISK":
                volume.vm = volume.device = volume.attached = None
        raise
    password = new_password(call) if starts and vm.template.password_enabled else None
    return vm_row(call, vm, password=password)


def bring_up(call: Call, vm: model.Vm) -> None:
    """What a start does beside changing the state: host, networks, disks.

    :raises ApiError: 533 if there is no host or no public address.
    """
    hosts = [host for host in call.state.hosts if host.zone is vm.zone]
    if not hosts:
        raise errors.no_capacity(f"Unable to create a deployment for {vm.instance_name}: no host in the zone")
    for nic in vm.nics:
        fabric.implement(call.state, nic.network)
    vm.host = vm.last_host = hosts[vm.number % len(hosts)]
    vm.state = "Running"
    vm.updated = now()
    for volume in call.state.rows(model.Volume):
        if volume.vm is vm and volume.state == "Allocated":
            volume.state = "Ready"


def new_password(call: Call) -> str:
    """A password of six letters and digits, as the server makes them."""
    return "".join(call.state.random.choices("abcdefghijkmnpqrstuvwxyz23456789", k=6))
