"""Firewall rules of public addresses and egress rules of networks.

Source: FirewallManagerImpl.
"""

from gceshim.simulator import entities as model
from gceshim.simulator import errors
from gceshim.simulator.call import Call, prune
from gceshim.simulator.commands.rule_values import RuleValues, overlaps, read_cidrs, read_rule
from gceshim.simulator.commands.tag_rows import tag_rows
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Created, Listing, Provenance, Row, command

PROTOCOLS = frozenset({"tcp", "udp", "icmp", "all"})


@command("createFirewallRule", Provenance.RECORDED, java="firewall.CreateFirewallRuleCmd", instance="FirewallRule", event="FIREWALL.OPEN")  # fmt: skip  # noqa: E501
def create_firewall_rule(call: Call) -> Created:
    ip = call.args.need("ipaddressid", model.PublicIp)
    values = read_rule(call, protocols=PROTOCOLS)
    cidrs = read_cidrs(call, "cidrlist", ["0.0.0.0/0"])
    if ip.vpc is not None:
        raise errors.invalid("Can't create firewall rules on an address of a VPC; use network ACLs")
    if ip.network is None:
        raise errors.invalid("Unable to create firewall rule; ip with specified ipaddressid is not associated with any network")  # fmt: skip  # noqa: E501
    peers = [rule for rule in call.state.rows(model.FirewallRule) if rule.ip is ip]
    return _create(call, ip.network, ip.account, values, cidrs=cidrs, ip=ip, peers=peers)


@command("createEgressFirewallRule", Provenance.RECORDED, java="firewall.CreateEgressFirewallRuleCmd", instance="FirewallRule", event="FIREWALL.EGRESS.OPEN")  # fmt: skip  # noqa: E501
def create_egress_firewall_rule(call: Call) -> Created:
    network = call.args.need("networkid", model.Network)
    values = read_rule(call, protocols=PROTOCOLS)
    if network.vpc is not None or network.offering.guest_type != "Isolated":
        raise errors.invalid(f"Egress firewall rules are not supported for network {network.uuid}")
    cidrs = read_cidrs(call, "cidrlist", [network.cidr or "0.0.0.0/0"])
    targets = read_cidrs(call, "destcidrlist", [])
    peers = [rule for rule in call.state.rows(model.FirewallRule) if rule.ip is None and rule.network is network]
    return _create(call, network, network.account, values, cidrs=cidrs, targets=targets, peers=peers)


def _create(
    call: Call,
    network: model.Network,
    owner: model.Account,
    values: RuleValues,
    *,
    cidrs: list[str],
    ip: model.PublicIp | None = None,
    targets: list[str] | None = None,
    peers: list[model.FirewallRule],
) -> Created:
    targets = targets or []
    for peer in peers:
        _check_conflict(peer, values, cidrs, targets)
    rule = call.state.new(
        model.FirewallRule,
        account=owner,
        network=network,
        protocol=values.protocol,
        cidrs=cidrs,
        dest_cidrs=targets,
        ip=ip,
        start_port=values.start_port,
        end_port=values.end_port,
        icmp_type=values.icmp_type,
        icmp_code=values.icmp_code,
        state="Add",
    )
    return Created(rule, lambda running: _finish(running, rule))


def _check_conflict(peer: model.FirewallRule, values: RuleValues, cidrs: list[str], targets: list[str]) -> None:
    if peer.protocol != values.protocol or not set(peer.cidrs) & set(cidrs) or peer.dest_cidrs != targets:
        return
    if values.protocol == "icmp":
        if (peer.icmp_type, peer.icmp_code) == (values.icmp_type, values.icmp_code):
            raise errors.invalid(f"New rule conflicts with existing rule: {peer.uuid}")
        return
    if overlaps((peer.start_port, peer.end_port), (values.start_port, values.end_port)):
        raise errors.conflict(
            f"The range specified, {values.start_port}-{values.end_port}, conflicts with rule {peer.uuid} which has"
            f" {peer.start_port}-{peer.end_port}"
        )


async def _finish(call: Call, rule: model.FirewallRule) -> Row:
    try:
        await call.work()
    except errors.ApiError:
        call.state.remove(rule)
        raise
    rule.state = "Active"
    return firewall_row(call, rule)


def firewall_row(call: Call, rule: model.FirewallRule) -> Row:
    row: Row = {
        "id": rule.uuid,
        "protocol": rule.protocol,
        "startport": rule.start_port,
        "endport": rule.end_port,
        "icmptype": rule.icmp_type,
        "icmpcode": rule.icmp_code,
        "cidrlist": ",".join(rule.cidrs),
        "destcidrlist": ",".join(rule.dest_cidrs),
        "networkid": rule.network.uuid,
        "state": rule.state,
        "traffictype": "Egress" if rule.ip is None else "Ingress",
        "fordisplay": True,
        "tags": tag_rows(call, rule),
    }
    if rule.ip is not None:
        row.update(ipaddressid=rule.ip.uuid, ipaddress=rule.ip.address)
    return prune(row)


@command("listFirewallRules", Provenance.RECORDED, subject=model.FirewallRule)
def list_firewall_rules(call: Call) -> Listing:
    return _listing(call, egress=False)


@command("listEgressFirewallRules", Provenance.RECORDED, subject=model.FirewallRule)
def list_egress_firewall_rules(call: Call) -> Listing:
    return _listing(call, egress=True)


def _listing(call: Call, *, egress: bool) -> Listing:
    rows = Rows(call, call.state.rows(model.FirewallRule)).where(lambda rule: (rule.ip is None) is egress)
    rows.ids(model.FirewallRule).same("ipaddressid", lambda rule: rule.ip)
    rows.same("networkid", lambda rule: rule.network).tags().owned()
    return Listing(rows.found, lambda rule: firewall_row(call, rule))


@command("deleteFirewallRule", Provenance.DOCUMENTED, subject=model.FirewallRule, java="firewall.DeleteFirewallRuleCmd", instance="FirewallRule", event="FIREWALL.CLOSE")  # fmt: skip  # noqa: E501
async def delete_firewall_rule(call: Call) -> None:
    await _delete(call, egress=False)


@command("deleteEgressFirewallRule", Provenance.DOCUMENTED, subject=model.FirewallRule, java="firewall.DeleteEgressFirewallRuleCmd", instance="FirewallRule", event="FIREWALL.EGRESS.CLOSE")  # fmt: skip  # noqa: E501
async def delete_egress_firewall_rule(call: Call) -> None:
    await _delete(call, egress=True)


async def _delete(call: Call, *, egress: bool) -> None:
    rule = call.args.need("id", model.FirewallRule)
    if (rule.ip is None) is not egress:
        raise errors.invalid(f"Unable to find {rule.uuid} having the right purpose")
    rule.state = "Deleting"
    await call.work()
    call.state.remove(rule)
