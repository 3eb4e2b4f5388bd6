"""Public addresses, static NAT and port forwarding.

Source: NetworkServiceImpl, RulesManagerImpl, IpAddressManagerImpl.
"""

from gceshim.simulator import entities as model
from gceshim.simulator import errors, fabric, limits, scopes
from gceshim.simulator.call import Call, prune, wire_date
from gceshim.simulator.commands.rule_values import overlaps, read_cidrs
from gceshim.simulator.commands.tag_rows import tag_rows
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Created, Listing, Provenance, Row, command


@command("listPublicIpAddresses", Provenance.RECORDED, subject=model.PublicIp)
def list_public_ip_addresses(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.PublicIp)).ids(model.PublicIp)
    rows.same("ipaddress", lambda ip: ip.address).like("keyword", lambda ip: ip.address)
    rows.same("zoneid", lambda ip: ip.zone).same("vpcid", lambda ip: ip.vpc)
    rows.same("associatednetworkid", lambda ip: ip.network).same("state", lambda ip: ip.state)
    rows.flag("issourcenat", lambda ip: ip.source_nat).flag("isstaticnat", lambda ip: ip.static_nat_vm is not None)
    rows.flag("forloadbalancing", lambda ip: False).tags().owned()
    return Listing(rows.found, lambda ip: address_row(call, ip))


def address_row(call: Call, ip: model.PublicIp) -> Row:
    rules = any(rule.ip is ip for rule in call.state.rows(model.PortForwardingRule))
    row: Row = {
        "id": ip.uuid,
        "ipaddress": ip.address,
        "allocated": wire_date(ip.created),
        "zoneid": ip.zone.uuid,
        "zonename": ip.zone.name,
        "issourcenat": ip.source_nat,
        "isstaticnat": ip.static_nat_vm is not None,
        "state": ip.state,
        "forvirtualnetwork": True,
        "issystem": False,
        "isportable": False,
        "fordisplay": True,
        "hasannotations": False,
        "hasrules": rules or any(rule.ip is ip for rule in call.state.rows(model.FirewallRule)),
        **scopes.owner_fields(ip.account),
        "tags": tag_rows(call, ip),
    }
    if ip.network is not None:
        row.update(associatednetworkid=ip.network.uuid, associatednetworkname=ip.network.name)
    if ip.vpc is not None:
        row.update(vpcid=ip.vpc.uuid, vpcname=ip.vpc.name)
    vm = ip.static_nat_vm
    if vm is not None:
        row.update(
            virtualmachineid=vm.uuid,
            virtualmachinename=vm.name,
            virtualmachinedisplayname=vm.display_name,
            vmipaddress=ip.static_nat_address,
        )
    return prune(row)


@command("associateIpAddress", Provenance.RECORDED, java="address.AssociateIPAddrCmd", instance="IpAddress", event="NET.IPASSIGN")  # fmt: skip  # noqa: E501
def associate_ip_address(call: Call) -> Created:
    args = call.args
    owner = scopes.owner_for_new(call)
    network, vpc = args.one("networkid", model.Network), args.one("vpcid", model.Vpc)
    zone: model.Zone | None = None
    if network is not None and network.vpc is not None:
        vpc, network = network.vpc, None
    if vpc is not None:
        owner, zone = vpc.account, vpc.zone
    elif network is None:
        network = _only_network(call, owner)
    if network is not None:
        owner, zone = network.account, network.zone
        if "SourceNat" not in network.offering.services:
            raise errors.invalid("The given network does not have public addresses")
    if zone is None:
        raise errors.invalid("Unable to figure out zone to assign ip to")
    limits.check(call.state, call.settings, owner, {"public_ip": 1})
    ip = fabric.acquire(call.state, owner, zone, network=network, vpc=vpc, wanted=args.text("ipaddress"))
    ip.state = "Allocating"
    return Created(ip, lambda running: _finish_associate(running, ip))


def _only_network(call: Call, owner: model.Account) -> model.Network:
    zone = call.args.one("zoneid", model.Zone)
    if zone is None:
        raise errors.invalid("Unable to figure out zone to assign ip to")
    own = [
        row
        for row in call.state.rows(model.Network)
        if row.account is owner and row.zone is zone and row.vpc is None and row.offering.guest_type == "Isolated"
    ]
    if not own:
        raise errors.invalid(f"Account {owner.name} doesn't have virtual networks in zone={zone.uuid}")
    if len(own) > 1:
        raise errors.invalid("Account has more than one isolated network in the zone")
    return own[0]


async def _finish_associate(call: Call, ip: model.PublicIp) -> Row:
    try:
        await call.work()
        if ip.network is not None:
            fabric.implement(call.state, ip.network)
    except errors.ApiError:
        fabric.release(call.state, ip)
        raise
    row = address_row(call, ip)
    ip.state = "Allocated"
    return row


@command("disassociateIpAddress", Provenance.DOCUMENTED, subject=model.PublicIp, java="address.DisassociateIPAddrCmd", instance="IpAddress", event="NET.IPRELEASE")  # fmt: skip  # noqa: E501
async def disassociate_ip_address(call: Call) -> None:
    ip, text = call.args.one("id", model.PublicIp), call.args.text("ipaddress")
    if ip is None:
        found = [row for row in call.state.rows(model.PublicIp) if row.address == text]
        if not found:
            raise errors.invalid("Unable to find ip address by id")
        ip = found[0]
        if not scopes.can_access(call.caller, ip.account):
            raise scopes.permission_error(call.caller, ip)
    if ip.source_nat:
        raise errors.failed("ip address is used for source nat purposes and can not be disassociated.")
    ip.state = "Releasing"
    try:
        await call.work()
    except errors.ApiError:
        ip.state = "Allocated"
        raise
    fabric.release(call.state, ip)


def _nic_for(call: Call, ip: model.PublicIp, vm: model.Vm) -> model.Nic:
    network = ip.network
    if ip.vpc is not None:
        network = call.args.one("networkid", model.Network)
        if network is None or network.vpc is not ip.vpc:
            raise errors.invalid("The network of a VPC tier is needed for an address of the VPC")
    nic = next((nic for nic in vm.nics if nic.network is network), None)
    if nic is None:
        raise errors.invalid("Vm doesn't belong to network associated with ipAddress")
    return nic


def _guest_address(call: Call, nic: model.Nic) -> str | None:
    wanted = call.args.text("vmguestip")
    if wanted is not None and wanted != nic.address and wanted not in nic.secondary.values():
        raise errors.invalid(f"Vm ip {wanted} is not in the nic {nic.uuid}")
    return wanted or nic.address


@command("enableStaticNat", Provenance.DOCUMENTED)
def enable_static_nat(call: Call) -> None:
    ip, vm = call.args.need("ipaddressid", model.PublicIp), call.args.need("virtualmachineid", model.Vm)
    if ip.source_nat:
        raise errors.invalid("Can't enable static, ip address is a sourceNat ip address")
    nic = _nic_for(call, ip, vm)
    if any(rule.ip is ip for rule in call.state.rows(model.PortForwardingRule)):
        raise errors.conflict(
            f"Failed to enable static NAT: address {ip.uuid} already has PortForwarding rules assigned"
        )
    if ip.static_nat_vm is vm:
        return
    if ip.static_nat_vm is not None:
        raise errors.conflict(f"Failed to enable static NAT: address {ip.uuid} is already assigned to another vm")
    for row in call.state.rows(model.PublicIp):
        if row.static_nat_vm is vm and row.static_nat_address == nic.address:
            raise errors.invalid(f"Failed to enable static nat: vm {vm.uuid} has a static nat address already")
    ip.static_nat_vm, ip.static_nat_address = vm, _guest_address(call, nic)
    if ip.vpc is not None:
        ip.network = nic.network


@command("disableStaticNat", Provenance.DOCUMENTED, java="nat.DisableStaticNatCmd", instance="IpAddress", event="STATICNAT.DISABLE")  # fmt: skip  # noqa: E501
async def disable_static_nat(call: Call) -> None:
    ip = call.args.need("ipaddressid", model.PublicIp)
    if ip.static_nat_vm is None:
        raise errors.invalid(f"Specified ipAddress id is not static nat enabled: {ip.uuid}")
    await call.work()
    ip.static_nat_vm = ip.static_nat_address = None
    if ip.vpc is not None:
        ip.network = None


@command("createPortForwardingRule", Provenance.RECORDED, java="firewall.CreatePortForwardingRuleCmd", instance="FirewallRule", event="NET.RULEADD")  # fmt: skip  # noqa: E501
def create_port_forwarding_rule(call: Call) -> Created:
    args = call.args
    ip, vm = args.need("ipaddressid", model.PublicIp), args.need("virtualmachineid", model.Vm)
    protocol = args.need_text("protocol").lower()
    if protocol not in ("tcp", "udp"):
        raise errors.invalid(f"Invalid protocol: {protocol}")
    if ip.static_nat_vm is not None:
        raise errors.invalid(f"Can't create port forwarding rule: address {ip.uuid} has static nat enabled")
    nic = _nic_for(call, ip, vm)
    public, private = args.number("publicport") or 0, args.number("privateport") or 0
    public_end, private_end = args.number("publicendport") or public, args.number("privateendport") or private
    for low, high in ((public, public_end), (private, private_end)):
        if not 1 <= low <= high <= 65_535:
            raise errors.invalid(f"Invalid port range {low}-{high}")
    if public_end - public != private_end - private:
        raise errors.invalid("Source port and destination port ranges should be of equal sizes.")
    if public_end > public and public != private:
        raise errors.invalid("Public port range must be equal to the private port range")
    for row in call.state.rows(model.PortForwardingRule):
        if (
            row.ip is ip
            and row.protocol == protocol
            and overlaps((row.public_port, row.public_end_port), (public, public_end))
        ):
            raise errors.conflict(f"The range specified, {public}-{public_end}, conflicts with rule {row.uuid} which has {row.public_port}-{row.public_end_port}")  # fmt: skip  # noqa: E501
    cidrs = read_cidrs(call, "cidrlist", ["0.0.0.0/0"])
    rule = call.state.new(
        model.PortForwardingRule,
        account=ip.account,
        ip=ip,
        network=nic.network,
        vm=vm,
        protocol=protocol,
        public_port=public,
        public_end_port=public_end,
        private_port=private,
        private_end_port=private_end,
        guest_address=_guest_address(call, nic),
        state="Add",
    )
    if ip.vpc is None and args.flag("openfirewall") is not False:
        call.state.new(
            model.FirewallRule,
            account=ip.account,
            network=nic.network,
            protocol=protocol,
            cidrs=cidrs,
            ip=ip,
            start_port=public,
            end_port=public_end,
        )
    return Created(rule, lambda running: _finish_rule(running, rule))


async def _finish_rule(call: Call, rule: model.PortForwardingRule) -> Row:
    try:
        await call.work()
    except errors.ApiError:
        call.state.remove(rule)
        raise
    rule.state = "Active"
    return forwarding_row(call, rule)


@command("deletePortForwardingRule", Provenance.DOCUMENTED, subject=model.PortForwardingRule, java="firewall.DeletePortForwardingRuleCmd", instance="FirewallRule", event="NET.RULEDELETE")  # fmt: skip  # noqa: E501
async def delete_port_forwarding_rule(call: Call) -> None:
    rule = call.args.need("id", model.PortForwardingRule)
    rule.state = "Deleting"
    await call.work()
    for row in call.state.snapshot(model.FirewallRule):
        if row.ip is rule.ip and (row.protocol, row.start_port) == (rule.protocol, rule.public_port):
            call.state.remove(row)
    call.state.remove(rule)


@command("listPortForwardingRules", Provenance.RECORDED, subject=model.PortForwardingRule)
def list_port_forwarding_rules(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.PortForwardingRule)).ids(model.PortForwardingRule)
    rows.same("ipaddressid", lambda rule: rule.ip).same("networkid", lambda rule: rule.network).tags().owned()
    return Listing(rows.found, lambda rule: forwarding_row(call, rule))


def forwarding_row(call: Call, rule: model.PortForwardingRule) -> Row:
    return prune(
        {
            "id": rule.uuid,
            "protocol": rule.protocol,
            "publicport": str(rule.public_port),
            "publicendport": str(rule.public_end_port),
            "privateport": str(rule.private_port),
            "privateendport": str(rule.private_end_port),
            "virtualmachineid": rule.vm.uuid,
            "virtualmachinename": rule.vm.name,
            "virtualmachinedisplayname": rule.vm.display_name,
            "vmguestip": rule.guest_address,
            "ipaddressid": rule.ip.uuid,
            "ipaddress": rule.ip.address,
            "networkid": rule.network.uuid,
            "state": rule.state,
            "cidrlist": "",
            "fordisplay": True,
            "tags": tag_rows(call, rule),
        }
    )


@command("listIpForwardingRules", Provenance.ASSUMED)
def list_ip_forwarding_rules(call: Call) -> Listing:
    scopes.list_scope(call, by_id=False)
    # Legacy static NAT rules cannot be made here, so there are none to list.
    return Listing([], lambda row: row)
