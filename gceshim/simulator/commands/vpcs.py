"""VPCs.

Source: VpcManagerImpl.
"""

import ipaddress

from gceshim.simulator import entities as model
from gceshim.simulator import errors, fabric, limits, scopes
from gceshim.simulator.call import Call, prune, wire_date
from gceshim.simulator.commands.networks import network_row
from gceshim.simulator.commands.offerings import VPC_SERVICES, service_rows
from gceshim.simulator.commands.tag_rows import tag_rows
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Created, Listing, Provenance, Row, command


@command("createVPC", Provenance.DOCUMENTED, java="vpc.CreateVPCCmd", instance="Vpc", event="VPC.CREATE")
def create_vpc(call: Call) -> Created:
    args = call.args
    zone, offering = args.need("zoneid", model.Zone), args.need("vpcofferingid", model.VpcOffering)
    owner = scopes.owner_for_new(call)
    if not offering.enabled:
        raise errors.invalid(f"Unable to find VPC offering by id {offering.uuid} in Enabled state")
    if not zone.enabled and not call.is_root:
        raise errors.denied(f"Cannot perform this operation, Zone is currently disabled: {zone.name}")
    if zone.security_groups:
        raise errors.invalid("Can't create VPC in a zone with security groups")
    cidr = args.text("cidr")
    if cidr is None:
        raise errors.invalid("VPC cidr or cidr size must be specified")
    try:
        pool = ipaddress.IPv4Network(cidr)
    except ValueError as exc:
        raise errors.invalid(f"Invalid CIDR specified {cidr}") from exc
    if not pool.is_private:
        raise errors.invalid(f"Guest Cidr {cidr} is not RFC 1918 or 6598 compliant")
    limits.check(call.state, call.settings, owner, {"vpc": 1})
    name = args.need_text("name")
    vpc = call.state.new(
        model.Vpc,
        name=name,
        display_text=args.text("displaytext") or name,
        account=owner,
        zone=zone,
        offering=offering,
        cidr=str(pool),
        network_domain=args.text("networkdomain") or "",
    )
    vpc.network_domain = vpc.network_domain or f"cs{owner.number:x}v{vpc.number}cloud.internal"
    return Created(vpc, lambda running: _start(running, vpc))


async def _start(call: Call, vpc: model.Vpc) -> Row:
    try:
        await call.work()
        if call.args.flag("start") is not False:
            fabric.ensure_source_nat(call.state, vpc.account, vpc.zone, None, vpc)
            vpc.started = True
    except errors.ApiError:
        call.state.remove(vpc)
        raise
    return vpc_row(call, vpc)


@command("listVPCs", Provenance.DOCUMENTED, subject=model.Vpc)
def list_vpcs(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.Vpc)).ids(model.Vpc).like("name", lambda row: row.name)
    rows.like("displaytext", lambda row: row.display_text)
    rows.like("keyword", lambda row: row.name, lambda row: row.display_text).same("zoneid", lambda row: row.zone)
    rows.same("cidr", lambda row: row.cidr).same("state", lambda row: row.state)
    rows.same("vpcofferingid", lambda row: row.offering).flag("restartrequired", lambda row: False)
    wanted = {name.casefold() for name in call.args.texts("supportedservices")}
    rows.where(lambda row: wanted <= {name.casefold() for name in VPC_SERVICES}).tags().owned()
    return Listing(rows.found, lambda row: vpc_row(call, row))


def vpc_row(call: Call, vpc: model.Vpc) -> Row:
    return prune(
        {
            "id": vpc.uuid,
            "name": vpc.name,
            "displaytext": vpc.display_text,
            **scopes.owner_fields(vpc.account),
            "zoneid": vpc.zone.uuid,
            "zonename": vpc.zone.name,
            "created": wire_date(vpc.created),
            "state": vpc.state,
            "cidr": vpc.cidr,
            "networkdomain": vpc.network_domain,
            "vpcofferingid": vpc.offering.uuid,
            "vpcofferingname": vpc.offering.name,
            "restartrequired": False,
            "distributedvpcrouter": False,
            "redundantvpcrouter": vpc.offering.redundant,
            "regionlevelvpc": False,
            "fordisplay": True,
            "hasannotations": False,
            "network": [network_row(call, tier) for tier in call.state.tiers(vpc.uuid)],
            "service": service_rows(VPC_SERVICES, "VpcVirtualRouter"),
            "tags": tag_rows(call, vpc),
        }
    )


@command("deleteVPC", Provenance.DOCUMENTED, subject=model.Vpc, java="vpc.DeleteVPCCmd", instance="Vpc", event="VPC.DELETE")  # fmt: skip  # noqa: E501
async def delete_vpc(call: Call) -> None:
    vpc, state = call.args.need("id", model.Vpc), call.state
    tiers = state.tiers(vpc.uuid)
    if tiers:
        raise errors.invalid(f"Can't delete VPC [{vpc.uuid}] as its used by {len(tiers)} networks")
    await call.work()
    for ip in state.snapshot(model.PublicIp):
        if ip.vpc is vpc:
            fabric.release(state, ip)
    for acl in state.snapshot(model.AclList):
        if acl.vpc is vpc:
            for item in state.snapshot(model.AclItem):
                if item.acl is acl:
                    state.remove(item)
            state.remove(acl)
    vpc.state = "Inactive"
    state.remove(vpc)
