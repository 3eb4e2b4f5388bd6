"""Guest networks: isolated, L2, shared, and the tiers of VPCs.

Source: NetworkServiceImpl, NetworkOrchestrator, VpcManagerImpl.
"""

import ipaddress
import re

from gceshim.simulator import entities as model
from gceshim.simulator import errors, fabric, limits, scopes
from gceshim.simulator.call import Call, prune, wire_date
from gceshim.simulator.commands.offerings import check_enabled, service_rows
from gceshim.simulator.commands.tag_rows import tag_rows
from gceshim.simulator.commands.vms_list import netmask
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Listing, Provenance, Row, command

NETWORK_FILTERS = frozenset({"account", "domain", "accountdomain", "shared", "all"})
_DOMAIN = re.compile(r"(?=.{1,190}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


@command("createNetwork", Provenance.RECORDED, event="NETWORK.CREATE")
def create_network(call: Call) -> Row:
    args = call.args
    zone = args.need("zoneid", model.Zone)
    offering = args.need("networkofferingid", model.NetworkOffering)
    owner = scopes.owner_for_new(call)
    vpc = args.one("vpcid", model.Vpc)
    check_enabled(offering)
    if not zone.enabled and not call.is_root:
        raise errors.denied(f"Cannot perform this operation, Zone is currently disabled: {zone.name}")
    if args.has("vlan") and not call.is_root:
        raise errors.invalid("Only ROOT admin is allowed to specify vlanId")
    if offering.guest_type == "Shared" and not call.is_root:
        raise errors.denied("Only ROOT admin can create Shared networks from an offering that specifies the vlan")
    if offering.specify_vlan and not args.has("vlan"):
        raise errors.invalid("Network offering requires the vlan to be specified")
    if zone.security_groups and offering.guest_type == "Isolated":
        raise errors.invalid("Can create Isolated networks with source NAT only in zones without security groups")
    if vpc is not None:
        owner = vpc.account
    _check_vpc_use(offering, vpc)
    name = args.need_text("name")
    if not call.settings.allow_duplicate_network_name and any(
        row.name == name and row.account is owner for row in call.state.rows(model.Network)
    ):
        raise errors.invalid(f"The network with name {name} already exists")
    addressing = _addressing(call, offering, zone, vpc)
    acl = _tier_acl(call, vpc)
    domain = args.text("networkdomain")
    if domain is not None and not _DOMAIN.fullmatch(domain):
        raise errors.invalid("Invalid network domain. Total length shouldn't exceed 190 chars")
    limits.check(call.state, call.settings, owner, {"network": 1})
    text = args.text("displaytext") or name
    network = new_network(call, owner, zone, offering, name=name, text=text, addressing=addressing)
    network.vpc, network.acl = vpc, acl
    if domain is not None:
        network.network_domain = domain
    elif vpc is not None:
        network.network_domain = vpc.network_domain
    network.range_start, network.range_end = args.text("startip"), args.text("endip")
    if offering.guest_type == "Shared" and args.text("acltype") != "account":
        network.acl_type = "Domain"
    if offering.persistent:
        fabric.implement(call.state, network)
    return network_row(call, network)


def new_network(
    call: Call,
    owner: model.Account,
    zone: model.Zone,
    offering: model.NetworkOffering,
    *,
    name: str,
    text: str,
    addressing: tuple[str | None, str | None] = (None, None),
) -> model.Network:
    """Enter a network; an isolated one without addressing gets the zone's default."""
    cidr, gateway = addressing
    if offering.guest_type == "Isolated" and cidr is None:
        pool = ipaddress.ip_network(zone.guest_cidr)
        cidr, gateway = zone.guest_cidr, str(pool[1])
    network = call.state.new(
        model.Network,
        name=name,
        display_text=text,
        account=owner,
        zone=zone,
        offering=offering,
        network_domain="",
        cidr=cidr,
        gateway=gateway,
        state="Allocated" if offering.guest_type == "Isolated" else "Setup",
    )
    network.network_domain = f"cs{owner.number:x}cloud{network.number}.internal"
    return network


def _check_vpc_use(offering: model.NetworkOffering, vpc: model.Vpc | None) -> None:
    if vpc is not None and not offering.for_vpc:
        raise errors.invalid("Network offering can't be used for VPC networks")
    if vpc is None and offering.for_vpc:
        raise errors.invalid("Network offering can be used for VPC networks only")


def _addressing(
    call: Call, offering: model.NetworkOffering, zone: model.Zone, vpc: model.Vpc | None
) -> tuple[str | None, str | None]:
    args = call.args
    gateway, mask = args.text("gateway"), args.text("netmask")
    if vpc is not None and (gateway is None or mask is None):
        raise errors.invalid("Gateway/netmask are required when create network for VPC")
    if (args.has("startip") or args.has("endip")) and (gateway is None or mask is None):
        raise errors.invalid("Gateway and netmask should be defined when startIP/endIP are passed in")
    if (gateway is None) != (mask is None):
        raise errors.invalid("gateway and netmask must be passed in together")
    if gateway is None:
        return None, None
    if offering.guest_type == "L2":
        raise errors.invalid("L2 networks have no gateway and netmask")
    try:
        interface = ipaddress.IPv4Interface(f"{gateway}/{mask}")
    except ValueError as exc:
        raise errors.invalid(f"Invalid gateway {gateway} or netmask {mask}") from exc
    pool = interface.network
    if not 8 <= pool.prefixlen <= 30:
        raise errors.invalid(f"Invalid netmask {mask}")
    if vpc is not None:
        _check_tier_cidr(call, vpc, pool)
    for name in ("startip", "endip"):
        if args.has(name):
            _check_in_pool(args.need_text(name), pool)
    return str(pool), gateway


def _check_in_pool(address: str, pool: ipaddress.IPv4Network) -> None:
    try:
        inside = ipaddress.IPv4Address(address) in pool
    except ValueError:
        inside = False
    if not inside:
        raise errors.invalid(f"Invalid IP address {address}: it is not within {pool}")


def _check_tier_cidr(call: Call, vpc: model.Vpc, pool: ipaddress.IPv4Network) -> None:
    if not pool.subnet_of(ipaddress.IPv4Network(vpc.cidr)):
        raise errors.invalid(f"Network cidr {pool} is not within vpc cidr range {vpc.cidr}")
    tiers = call.state.tiers(vpc.uuid)
    for tier in tiers:
        if tier.cidr is not None and pool.overlaps(ipaddress.IPv4Network(tier.cidr)):
            raise errors.invalid(f"Network cidr {pool} crosses other network cidr {tier.cidr} in vpc {vpc.uuid}")
    if len(tiers) >= call.settings.vpc_max_networks:
        raise errors.failed(
            f"Number of networks per VPC can't surpass {call.settings.vpc_max_networks} for [{vpc.name}]"
        )


def _tier_acl(call: Call, vpc: model.Vpc | None) -> model.AclList | None:
    acl = call.args.one("aclid", model.AclList)
    if acl is None:
        return None
    if vpc is None:
        raise errors.invalid("Cannot apply NetworkACL to a network which does not belong to a VPC")
    if acl.vpc is not None and acl.vpc is not vpc:
        raise errors.invalid(f"ACL: {acl.uuid} do not belong to the VPC")
    return acl


@command("listNetworks", Provenance.RECORDED, subject=model.Network)
def list_networks(call: Call) -> Listing:
    args = call.args
    shown = (args.text("networkfilter") or "all").casefold()
    if shown not in NETWORK_FILTERS:
        raise errors.invalid(f"Invalid networkfilter {args.text('networkfilter')}")
    rows = Rows(call, call.state.rows(model.Network)).ids(model.Network).same("name", lambda row: row.name)
    rows.like("keyword", lambda row: row.name, lambda row: row.display_text).same("zoneid", lambda row: row.zone)
    rows.same("type", lambda row: row.offering.guest_type).same("vpcid", lambda row: row.vpc)
    rows.same("networkofferingid", lambda row: row.offering).same("acltype", lambda row: row.acl_type)
    rows.same("traffictype", lambda row: "Guest").flag("issystem", lambda row: False)
    rows.flag("forvpc", lambda row: row.vpc is not None).flag("restartrequired", lambda row: False)
    rows.flag("specifyipranges", lambda row: row.offering.guest_type == "Shared").tags()
    wanted = {name.casefold() for name in args.texts("supportedservices")}
    rows.where(lambda row: wanted <= {name.casefold() for name in row.offering.services})
    open_too = shown != "account" and not args.has("account") and not args.has("projectid")
    own = scopes.list_scope(call, by_id=args.has("id"))
    rows.where(lambda row: (own(row.account) and shown != "shared") or (open_too and row.acl_type == "Domain"))
    if shown == "domain":
        rows.where(lambda row: row.acl_type == "Domain")
    return Listing(rows.found, lambda row: network_row(call, row))


def network_row(call: Call, network: model.Network) -> Row:
    offering = network.offering
    row: Row = {
        "id": network.uuid,
        "name": network.name,
        "displaytext": network.display_text,
        **scopes.owner_fields(network.account),
        "zoneid": network.zone.uuid,
        "zonename": network.zone.name,
        "created": wire_date(network.created),
        "state": network.state,
        "type": offering.guest_type,
        "traffictype": "Guest",
        "acltype": network.acl_type,
        "cidr": network.cidr,
        "gateway": network.gateway,
        "netmask": netmask(network),
        "networkdomain": network.network_domain,
        "dns1": "192.168.100.2",
        "networkofferingid": offering.uuid,
        "networkofferingname": offering.name,
        "networkofferingdisplaytext": offering.name,
        "networkofferingavailability": offering.availability,
        "networkofferingconservemode": offering.conserve_mode,
        "egressdefaultpolicy": None if network.vpc or offering.guest_type != "Isolated" else offering.egress_allow,
        "service": service_rows(offering.services, "VpcVirtualRouter" if network.vpc else "VirtualRouter"),
        "canusefordeploy": True,
        "restartrequired": False,
        "redundantrouter": False,
        "related": network.uuid,
        "issystem": False,
        "ispersistent": offering.persistent,
        "specifyipranges": offering.guest_type == "Shared",
        "specifyvlan": offering.specify_vlan,
        "strechedl2subnet": False,
        "supportsvmautoscaling": "Lb" in offering.services,
        "displaynetwork": True,
        "hasannotations": False,
        "broadcastdomaintype": "Vlan",
        "subdomainaccess": True if network.acl_type == "Domain" else None,
        "tags": tag_rows(call, network),
    }
    if network.vpc is not None:
        row.update(vpcid=network.vpc.uuid, vpcname=network.vpc.name)
    if network.acl is not None:
        row.update(aclid=network.acl.uuid, aclname=network.acl.name)
    if call.is_root and network.vlan:
        row.update(vlan=str(network.vlan), broadcasturi=f"vlan://{network.vlan}")
    if network.acl_type == "Domain":
        row.pop("account", None)
    return prune(row)


@command("updateNetwork", Provenance.DOCUMENTED, subject=model.Network, java="network.UpdateNetworkCmd", instance="Network", event="NETWORK.UPDATE")  # fmt: skip  # noqa: E501
async def update_network(call: Call) -> Row:
    network, args = call.args.need("id", model.Network), call.args
    domain = args.text("networkdomain")
    if domain is not None:
        if not _DOMAIN.fullmatch(domain):
            raise errors.invalid("Invalid network domain. Total length shouldn't exceed 190 chars")
        if any(nic.vm.state == "Running" for nic in network.taken.values()):
            raise errors.invalid("Cannot update the network domain while instances are running on the network")
    offering = args.one("networkofferingid", model.NetworkOffering)
    if offering is not None and (offering.guest_type, offering.for_vpc) != (
        network.offering.guest_type,
        network.offering.for_vpc,
    ):
        raise errors.invalid(f"Can't upgrade from network offering {network.offering.uuid} to {offering.uuid}")
    await call.work()
    network.name = args.text("name") or network.name
    network.display_text = args.text("displaytext") or network.display_text
    network.network_domain = domain or network.network_domain
    network.offering = offering or network.offering
    return network_row(call, network)


@command("restartNetwork", Provenance.DOCUMENTED, subject=model.Network, java="network.RestartNetworkCmd", instance="Network", event="NETWORK.RESTART")  # fmt: skip  # noqa: E501
async def restart_network(call: Call) -> None:
    network = call.args.need("id", model.Network)
    if network.state not in fabric.IMPLEMENTED:
        raise errors.invalid(
            "Network is not in the right state to be restarted. Correct states are: Implemented, Setup"
        )
    if network.vpc is not None and call.args.flag("cleanup"):
        raise errors.invalid("Cannot restart a VPC tier with cleanup, please restart the whole VPC")
    await call.work()


@command("deleteNetwork", Provenance.DOCUMENTED, subject=model.Network, java="network.DeleteNetworkCmd", instance="Network", event="NETWORK.DELETE")  # fmt: skip  # noqa: E501
async def delete_network(call: Call) -> None:
    network = call.args.need("id", model.Network)
    await call.work()
    if any(nic.network is network for nic in call.state.rows(model.Nic)):
        raise errors.failed("Failed to delete network")
    for ip in call.state.snapshot(model.PublicIp):
        if ip.network is network:
            fabric.release(call.state, ip)
    for rule in call.state.snapshot(model.FirewallRule):
        if rule.network is network:
            call.state.remove(rule)
    network.state = "Destroy"
    call.state.remove(network)
