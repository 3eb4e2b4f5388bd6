"""Network ACLs: lists and items.

Source: NetworkACLServiceImpl, NetworkACLManagerImpl.
"""

from collections.abc import Iterable

from gceshim.simulator import entities as model
from gceshim.simulator import errors, scopes
from gceshim.simulator.call import Call, prune
from gceshim.simulator.commands.rule_values import read_cidrs, read_rule
from gceshim.simulator.commands.tag_rows import tag_rows
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Created, Listing, Provenance, Row, command

PROTOCOLS = frozenset({"tcp", "udp", "icmp", "all"})


@command("createNetworkACLList", Provenance.DOCUMENTED, java="network.CreateNetworkACLListCmd", instance="NetworkAcl", event="NETWORK.ACL.CREATE")  # fmt: skip  # noqa: E501
def create_network_acl_list(call: Call) -> Created:
    vpc = call.args.need("vpcid", model.Vpc)
    acl = _new_list(call, vpc, call.args.need_text("name"), call.args.text("description") or "")

    async def finish(running: Call) -> Row:
        await running.work()
        return list_row(acl)

    return Created(acl, finish)


def _new_list(call: Call, vpc: model.Vpc, name: str, description: str) -> model.AclList:
    return call.state.new(model.AclList, name=name, description=description, vpc=vpc, account=vpc.account)


@command("listNetworkACLLists", Provenance.DOCUMENTED, subject=model.AclList)
def list_network_acl_lists(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.AclList)).ids(model.AclList).same("name", lambda row: row.name)
    rows.like("keyword", lambda row: row.name, lambda row: row.description)
    vpc, network = call.args.one("vpcid", model.Vpc), call.args.one("networkid", model.Network)
    if vpc is not None:
        rows.where(lambda row: row.vpc in (vpc, None))
    if network is not None:
        rows.where(lambda row: row is network.acl)
    _own_or_default(call, rows)
    return Listing(rows.found, list_row)


def _own_or_default(call: Call, rows: Rows[model.AclList]) -> None:
    scope = scopes.list_scope(call, by_id=call.args.has("id"))
    rows.where(lambda row: row.account is None or scope(row.account))


def list_row(acl: model.AclList) -> Row:
    row: Row = {"id": acl.uuid, "name": acl.name, "description": acl.description, "fordisplay": True}
    if acl.vpc is not None:
        row.update(vpcid=acl.vpc.uuid, vpcname=acl.vpc.name)
    return row


@command("deleteNetworkACLList", Provenance.DOCUMENTED, subject=model.AclList, java="network.DeleteNetworkACLListCmd", instance="NetworkAcl", event="NETWORK.ACL.DELETE")  # fmt: skip  # noqa: E501
async def delete_network_acl_list(call: Call) -> None:
    acl, state = call.args.need("id", model.AclList), call.state
    if acl.vpc is None:
        raise errors.invalid("Default ACL cannot be removed")
    if any(network.acl is acl for network in state.rows(model.Network)):
        raise errors.invalid(f"ACL is still associated with networks: {acl.uuid}")
    await call.work()
    for item in state.snapshot(model.AclItem):
        if item.acl is acl:
            state.remove(item)
    state.remove(acl)


@command("createNetworkACL", Provenance.RECORDED, java="network.CreateNetworkACLCmd", instance="NetworkAcl", event="NETWORK.ACL.ITEM.CREATE")  # fmt: skip  # noqa: E501
def create_network_acl(call: Call) -> Created:
    args = call.args
    network = args.one("networkid", model.Network)
    values = read_rule(call, protocols=PROTOCOLS, numbers=True)
    if values.protocol == "icmp" and (values.icmp_type is None or values.icmp_code is None):
        raise errors.invalid("icmpType and icmpCode are needed for protocol icmp")
    cidrs = read_cidrs(call, "cidrlist", ["0.0.0.0/0"])
    action = (args.text("action") or "Allow").capitalize()
    if action not in ("Allow", "Deny"):
        raise errors.invalid(f"Invalid action {action}. Supported actions are Allow and Deny")
    traffic = (args.text("traffictype") or "Ingress").capitalize()
    if traffic not in ("Ingress", "Egress"):
        raise errors.invalid(f"Invalid traffic type {traffic}. Supported types are Ingress and Egress")
    position = args.number("number")
    if position is not None and position < 1:
        raise errors.invalid("Invalid number. Number cannot be < 1")
    acl = args.one("aclid", model.AclList) or _list_of(call, network)
    if acl.vpc is None:
        raise errors.invalid("Default ACL cannot be modified")
    items = [item for item in call.state.rows(model.AclItem) if item.acl is acl]
    if any(item.position == position for item in items):
        raise errors.invalid(f"ACL item with number {position} already exists in ACL: {acl.uuid}")
    item = call.state.new(
        model.AclItem,
        acl=acl,
        account=acl.account,
        position=position or 1 + max((row.position for row in items), default=0),
        protocol=values.protocol,
        action=action,
        traffic_type=traffic,
        cidrs=cidrs,
        start_port=values.start_port,
        end_port=values.end_port,
        icmp_type=values.icmp_type,
        icmp_code=values.icmp_code,
        reason=args.text("reason"),
        state="Add",
    )
    return Created(item, lambda running: _finish_item(running, item))


def _list_of(call: Call, network: model.Network | None) -> model.AclList:
    if network is None:
        raise errors.invalid("Cannot create Network ACL Item. ACL Id or network Id is required")
    vpc = network.vpc
    if vpc is None:
        raise errors.invalid(f"Network: {network.uuid} does not belong to VPC")
    if network.acl is None:
        name = f"VPC_{vpc.name}_Tier_{network.name}_ACL_{network.uuid}"
        network.acl = _new_list(call, vpc, name, f"ACL for {name}")
    return network.acl


async def _finish_item(call: Call, item: model.AclItem) -> Row:
    try:
        await call.work()
    except errors.ApiError:
        call.state.remove(item)
        raise
    item.state = "Active"
    return item_row(call, item)


@command("listNetworkACLs", Provenance.RECORDED, subject=model.AclItem)
def list_network_acls(call: Call) -> Listing:
    scope = scopes.list_scope(call, by_id=call.args.has("id"))
    every: Iterable[model.AclItem] = call.state.rows(model.AclItem)
    rows = Rows(call, every).ids(model.AclItem).same("aclid", lambda item: item.acl)
    network = call.args.one("networkid", model.Network)
    if network is not None:
        rows.where(lambda item: item.acl is network.acl)
    rows.same("protocol", lambda item: item.protocol).same("action", lambda item: item.action)
    rows.same("traffictype", lambda item: item.traffic_type).like("keyword", lambda item: item.protocol).tags()
    rows.where(lambda item: item.account is None or scope(item.account))
    rows.found.sort(key=lambda item: -item.number)
    return Listing(rows.found, lambda item: item_row(call, item))


def item_row(call: Call, item: model.AclItem) -> Row:
    return prune(
        {
            "id": item.uuid,
            "aclid": item.acl.uuid,
            "aclname": item.acl.name,
            "number": item.position,
            "protocol": item.protocol,
            "action": item.action,
            "traffictype": item.traffic_type,
            "cidrlist": ",".join(item.cidrs),
            "startport": None if item.start_port is None else str(item.start_port),
            "endport": None if item.end_port is None else str(item.end_port),
            "icmptype": item.icmp_type,
            "icmpcode": item.icmp_code,
            "reason": item.reason,
            "state": item.state,
            "fordisplay": True,
            "tags": tag_rows(call, item),
        }
    )


@command("deleteNetworkACL", Provenance.DOCUMENTED, subject=model.AclItem, java="network.DeleteNetworkACLCmd", instance="NetworkAcl", event="NETWORK.ACL.ITEM.DELETE")  # fmt: skip  # noqa: E501
async def delete_network_acl(call: Call) -> None:
    item = call.args.need("id", model.AclItem)
    if item.acl.vpc is None:
        raise errors.invalid("Default ACL cannot be modified")
    item.state = "Deleting"
    await call.work()
    call.state.remove(item)


@command("replaceNetworkACLList", Provenance.DOCUMENTED, java="network.ReplaceNetworkACLListCmd", instance="Network", event="NETWORK.ACL.REPLACE")  # fmt: skip  # noqa: E501
async def replace_network_acl_list(call: Call) -> None:
    acl, network = call.args.need("aclid", model.AclList), call.args.one("networkid", model.Network)
    if network is None:
        raise errors.invalid("Network id and gateway id can't be both null or passed at the same time")
    if network.vpc is None:
        raise errors.invalid(f"Network {network.uuid} is not part of a VPC")
    if acl.vpc is not None and acl.vpc is not network.vpc:
        raise errors.invalid(f"ACL: {acl.uuid} do not belong to the VPC")
    await call.work()
    network.acl = acl
