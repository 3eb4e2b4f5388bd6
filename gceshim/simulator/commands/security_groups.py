"""Security groups and their rules.

Source: SecurityGroupManagerImpl, AuthorizeSecurityGroupIngressCmd.
"""

from gceshim.simulator import entities as model
from gceshim.simulator import errors, scopes
from gceshim.simulator.call import Call, prune
from gceshim.simulator.commands.rule_values import RuleValues, read_cidrs, read_rule
from gceshim.simulator.commands.tag_rows import tag_rows
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Listing, Provenance, Row, command
from gceshim.simulator.state import State

DEFAULT = "default"
PROTOCOLS = frozenset({"tcp", "udp", "icmp", "all"})


def default_group(state: State, owner: model.Account) -> model.SecurityGroup:
    """The group ``default`` of an account, made when first asked for."""
    for group in state.rows(model.SecurityGroup):
        if group.account is owner and group.name == DEFAULT:
            return group
    return state.new(model.SecurityGroup, name=DEFAULT, description="Default Security Group", account=owner)


@command("createSecurityGroup", Provenance.RECORDED)
def create_security_group(call: Call) -> Row:
    owner, name = scopes.owner_for_new(call), call.args.need_text("name")
    if not name:
        raise errors.invalid("Name of the security group must not be empty")
    default_group(call.state, owner)
    if any(row.name.casefold() == name.casefold() for row in _groups_of(call, owner)):
        raise errors.invalid(f"Unable to create security group, a group with name {name} already exists.")
    group = call.state.new(
        model.SecurityGroup, name=name, description=call.args.text("description") or "", account=owner
    )
    return group_row(call, group)


def _groups_of(call: Call, owner: model.Account) -> list[model.SecurityGroup]:
    return [row for row in call.state.rows(model.SecurityGroup) if row.account is owner]


@command("listSecurityGroups", Provenance.RECORDED, subject=model.SecurityGroup)
def list_security_groups(call: Call) -> Listing:
    if not call.args.has("id"):
        default_group(call.state, call.caller.account)
    rows = Rows(call, call.state.rows(model.SecurityGroup)).ids(model.SecurityGroup)
    rows.same("securitygroupname", lambda row: row.name)
    rows.like("keyword", lambda row: row.name, lambda row: row.description)
    vm = call.args.one("virtualmachineid", model.Vm)
    if vm is not None:
        rows.where(lambda row: row in vm.groups)
    rows.tags().owned()
    return Listing(rows.found, lambda row: group_row(call, row))


def group_row(call: Call, group: model.SecurityGroup, *, brief: bool = False) -> Row:
    """A group; within a machine (``brief``) without its members and rules."""
    row: Row = {
        "id": group.uuid,
        "name": group.name,
        "description": group.description,
        **scopes.owner_fields(group.account),
        "ingressrule": [],
        "egressrule": [],
        "tags": tag_rows(call, group),
    }
    if brief:
        return row
    rules = [rule for rule in call.state.rows(model.SecurityGroupRule) if rule.group is group]
    members = [vm.uuid for vm in call.state.rows(model.Vm) if group in vm.groups]
    row["ingressrule"] = [rule_row(call, rule) for rule in rules if rule.ingress]
    row["egressrule"] = [rule_row(call, rule) for rule in rules if not rule.ingress]
    row.update(virtualmachinecount=len(members), virtualmachineids=members)
    return row


def rule_row(call: Call, rule: model.SecurityGroupRule) -> Row:
    source = rule.source
    return prune(
        {
            "ruleid": rule.uuid,
            "protocol": rule.protocol,
            "startport": rule.start_port,
            "endport": rule.end_port,
            "icmptype": rule.icmp_type,
            "icmpcode": rule.icmp_code,
            "cidr": rule.cidr,
            "securitygroupname": source.name if source else None,
            "account": source.account.name if source else None,
            "tags": tag_rows(call, rule),
        }
    )


@command("deleteSecurityGroup", Provenance.DOCUMENTED, subject=model.SecurityGroup)
def delete_security_group(call: Call) -> None:
    group, name = call.args.one("id", model.SecurityGroup), call.args.text("name")
    if (group is None) == (name is None):
        raise errors.invalid("Either group id or group name is needed, but not both")
    if group is None:
        owner = scopes.owner_for_new(call)
        found = [row for row in _groups_of(call, owner) if row.name == name]
        if not found:
            raise errors.invalid(f"Unable to find security group with name {name}")
        group = found[0]
    if group.name == DEFAULT:
        raise errors.invalid("The network group default is reserved")
    if any(group in vm.groups for vm in call.state.rows(model.Vm)):
        raise errors.in_use("Cannot delete group when it's in use by virtual machines")
    rules = call.state.snapshot(model.SecurityGroupRule)
    if any(rule.source is group and rule.group is not group for rule in rules):
        raise errors.in_use("Cannot delete group when there are security rules in other groups that refer to it")
    for rule in rules:
        if rule.group is group:
            call.state.remove(rule)
    call.state.remove(group)


@command("authorizeSecurityGroupIngress", Provenance.RECORDED, java="securitygroup.AuthorizeSecurityGroupIngressCmd", instance="SecurityGroup", event="SG.AUTH.INGRESS")  # fmt: skip  # noqa: E501
async def authorize_security_group_ingress(call: Call) -> Row:
    return await _authorize(call, ingress=True)


@command("authorizeSecurityGroupEgress", Provenance.DOCUMENTED, java="securitygroup.AuthorizeSecurityGroupEgressCmd", instance="SecurityGroup", event="SG.AUTH.EGRESS")  # fmt: skip  # noqa: E501
async def authorize_security_group_egress(call: Call) -> Row:
    return await _authorize(call, ingress=False)


async def _authorize(call: Call, *, ingress: bool) -> Row:
    group = _group_to_change(call)
    values = _rule_values(call)
    sources = [_source_group(call, item) for item in call.args.maps("usersecuritygrouplist")]
    cidrs = read_cidrs(call, "cidrlist", [])
    if not cidrs and not sources:
        raise errors.invalid("At least one cidr or at least one security group needs to be specified")
    await call.work()
    present = {_key(rule) for rule in call.state.rows(model.SecurityGroupRule) if rule.group is group}
    made = []
    wanted: list[tuple[str | None, model.SecurityGroup | None]] = [(cidr, None) for cidr in cidrs]
    wanted.extend((None, source) for source in sources)
    for cidr, source in wanted:
        key = (ingress, values, cidr, source)
        if key in present:
            continue
        present.add(key)
        made.append(
            call.state.new(
                model.SecurityGroupRule,
                group=group,
                account=group.account,
                ingress=ingress,
                protocol=values.protocol,
                start_port=values.start_port,
                end_port=values.end_port,
                icmp_type=values.icmp_type,
                icmp_code=values.icmp_code,
                cidr=cidr,
                source=source,
            )
        )
    if not made:
        raise errors.failed(f"Failed to authorize security group {'ingress' if ingress else 'egress'} rule(s)")
    rules = [rule_row(call, rule) for rule in made]
    return {**group_row(call, group, brief=True), ("ingressrule" if ingress else "egressrule"): rules}


def _key(
    rule: model.SecurityGroupRule,
) -> tuple[bool, RuleValues, str | None, model.SecurityGroup | None]:
    values = RuleValues(rule.protocol, rule.start_port, rule.end_port, rule.icmp_type, rule.icmp_code)
    return rule.ingress, values, rule.cidr, rule.source


def _group_to_change(call: Call) -> model.SecurityGroup:
    group, name = call.args.one("securitygroupid", model.SecurityGroup), call.args.text("securitygroupname")
    if (group is None) == (name is None):
        raise errors.invalid("Either securityGroupId or securityGroupName is required, but not both")
    if group is not None:
        return group
    owner = scopes.owner_for_new(call)
    default_group(call.state, owner)
    found = [row for row in _groups_of(call, owner) if row.name == name]
    if not found:
        raise errors.invalid(f"Unable to find security group {name} for account {owner.name}")
    return found[0]


def _rule_values(call: Call) -> RuleValues:
    values = read_rule(call, protocols=PROTOCOLS, numbers=True, default="all")
    if values.protocol in ("tcp", "udp"):
        if values.start_port is None:
            raise errors.invalid(f"Start and end port are needed for protocol {values.protocol}")
        if (values.start_port, values.end_port) == (0, 0):
            return RuleValues(values.protocol, 0, 65_535, None, None)
    if values.protocol == "icmp" and (values.icmp_type is None or values.icmp_code is None):
        raise errors.invalid("Icmp type and code are needed for protocol icmp")
    return values


def _source_group(call: Call, item: dict[str, str]) -> model.SecurityGroup:
    account, name = item.get("account"), item.get("group")
    for row in call.state.rows(model.SecurityGroup):
        if row.account.name == account and row.name == name:
            return row
    raise errors.invalid(f"Unable to find security group {name} for account {account}")


@command("revokeSecurityGroupIngress", Provenance.DOCUMENTED, subject=model.SecurityGroupRule, java="securitygroup.RevokeSecurityGroupIngressCmd", instance="SecurityGroup", event="SG.REVOKE.INGRESS")  # fmt: skip  # noqa: E501
async def revoke_security_group_ingress(call: Call) -> None:
    await _revoke(call, ingress=True)


@command("revokeSecurityGroupEgress", Provenance.DOCUMENTED, subject=model.SecurityGroupRule, java="securitygroup.RevokeSecurityGroupEgressCmd", instance="SecurityGroup", event="SG.REVOKE.EGRESS")  # fmt: skip  # noqa: E501
async def revoke_security_group_egress(call: Call) -> None:
    await _revoke(call, ingress=False)


async def _revoke(call: Call, *, ingress: bool) -> None:
    rule = call.args.need("id", model.SecurityGroupRule)
    if rule.ingress is not ingress:
        raise errors.invalid(f"Unable to find security rule with id {rule.uuid}")
    await call.work()
    call.state.remove(rule)
