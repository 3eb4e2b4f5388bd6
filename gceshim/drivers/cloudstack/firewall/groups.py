"""
Rules in zones with security groups: one group for all machines of a network, and one for each network tag.

A machine's groups add up, and each only lets through. Group rules name ranges, or another group as the source.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from typing import Final

from gceshim.drivers.base import Json
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.firewall.acls import service_form
from gceshim.drivers.cloudstack.firewall.rounds import Change, Ground
from gceshim.drivers.cloudstack.firewall.statements import (
    ALL,
    EVERYWHERE,
    IMPLIED_EGRESS,
    LAST_PORT,
    SCTP,
    Box,
    Inexpressible,
    Service,
    Statement,
    in_order,
)
from gceshim.drivers.cloudstack.firewall.traffic import (
    Decided,
    absorbed,
    clashes,
    decided,
    is_everything,
    less,
    minus,
    unshadowed,
)
from gceshim.drivers.cloudstack.rows import Row, number, rows, text
from gceshim.model import Tenant

_PREFIX: Final = "gce-"
_DESCRIPTION: Final = "Kept by gceshim for the GCE network"
#: Where nothing may go out: a rule is needed for CloudStack to hold back the rest, and no traffic goes there.
_NOWHERE: Final = Box(ALL, 0, LAST_PORT, IPv4Network("127.0.0.1/32"))

#: A rule of a group: direction, protocol, first and last port, range, source group.
GroupRule = tuple[str, str, int, int, str, str]


def group_name(network: str, network_tag: str = "") -> str:
    """The group of all machines of a network, or of those with a tag. No name has a full stop in it."""
    return f"{_PREFIX}{network}.{network_tag}" if network_tag else f"{_PREFIX}{network}"


def is_group_of(name: str, network: str) -> bool:
    """Whether it is one of the groups of a network."""
    whole = group_name(network)
    return name == whole or name.startswith(f"{whole}.")


def group_rules(network: str, statements: Sequence[Statement], *, inside: Sequence[str]) -> dict[str, list[GroupRule]]:
    """
    The groups that rules need, with what is in each.

    :param inside: the ranges that machines of the network have their addresses in; "" for one that is not known.
    :raises Inexpressible: naming the rule.
    """
    found: dict[str, dict[GroupRule, None]] = {}
    for tag, boxes in [*_incoming(statements), *_outgoing(statements)]:
        for item in boxes:
            found.setdefault(group_name(network, tag), {})[item] = None
    for tag, sourced in _from_groups(network, statements, inside):
        found.setdefault(group_name(network, tag), {})[sourced] = None
        found.setdefault(sourced[-1], {})
    return {name: list(items) for name, items in found.items()}


def _incoming(statements: Sequence[Statement]) -> Iterable[tuple[str, list[GroupRule]]]:
    order = in_order(statements, ingress=True)
    found = decided(order, allow=True)
    for cutter, other in clashes(order, found, allow=True):
        raise Inexpressible(
            f"rule {cutter.name!r} has target tags and denies what {other.statement.name!r} allows, and security groups"
            " only let through"
        )
    for item in order:
        if not item.allow and item.sources:
            _check_source_denial(item, order, found)
    return _by_tag("ingress", found)


def _check_source_denial(item: Statement, order: Sequence[Statement], found: Sequence[Decided]) -> None:
    place = order.index(item)
    for other in found:
        if order.index(other.statement) > place and _share_service(item, other.statement):
            raise Inexpressible(
                f"rule {item.name!r} has source tags and denies what {other.statement.name!r} allows, and security"
                " groups only let through"
            )


def _share_service(one: Statement, other: Statement) -> bool:
    return any(_box(first).meets(_box(second)) for first in one.services for second in other.services)


def _box(service: Service) -> Box:
    return Box(service.protocol, service.low, service.high, EVERYWHERE)


def _by_tag(direction: str, found: Iterable[Decided]) -> list[tuple[str, list[GroupRule]]]:
    by_tag: dict[str, list[Box]] = {}
    for item in found:
        for tag in item.statement.targets or ("",):
            by_tag.setdefault(tag, []).extend(item.boxes)
    return [(tag, [_rule(direction, box) for box in absorbed(boxes)]) for tag, boxes in by_tag.items()]


def _rule(direction: str, box: Box) -> GroupRule:
    _check_ports(box)
    return (direction, box.protocol, box.low, box.high, str(box.cidr), "")


def _check_ports(box: Box) -> None:
    if box.protocol == SCTP and (box.low, box.high) != (0, LAST_PORT):
        raise Inexpressible("a rule names ports of SCTP, which security groups do not have")


def _outgoing(statements: Sequence[Statement]) -> list[tuple[str, list[GroupRule]]]:
    order = [*in_order(statements, ingress=False), IMPLIED_EGRESS]
    found = decided(order, allow=True)
    for cutter, _ in clashes(order, found, allow=True):
        raise Inexpressible(
            f"rule {cutter.name!r} has target tags and denies outgoing traffic, and security groups only let through"
        )
    base = [box for item in found if not item.statement.targets for box in item.boxes]
    if is_everything(base):
        return []  # as CloudStack does where no rule is
    more = []
    for item in found:
        if item.statement.targets:
            more.append(Decided(item.statement, tuple(_beyond(item.boxes, base))))
    return [("", [_rule("egress", box) for box in absorbed(base) or [_NOWHERE]]), *_by_tag("egress", more)]


def _beyond(boxes: Iterable[Box], base: Sequence[Box]) -> Iterable[Box]:
    for box in boxes:
        try:
            yield from minus([box], base)
        except Inexpressible:
            yield box  # what lies in both may be said twice


def _from_groups(
    network: str, statements: Sequence[Statement], inside: Sequence[str]
) -> Iterator[tuple[str, GroupRule]]:
    """What is allowed from machines with a tag, by the target tag; less what denials of their ranges cut out."""
    order = in_order(statements, ingress=True)
    near = [IPv4Network(cidr, strict=False) if cidr else EVERYWHERE for cidr in inside]
    found = decided(order, allow=True)
    for place, item in enumerate(order):
        if not item.allow or not item.sources:
            continue
        boxes: Sequence[Box] = [_box(service) for service in item.services]
        for index, cutter in enumerate(order[:place]):
            if not cutter.allow:
                before = [other for other in found if order.index(other.statement) < index]
                boxes = _less_near(boxes, item, unshadowed(cutter, before), cutter, near)
        for box in dict.fromkeys(boxes):
            _check_ports(box)
            for source in item.sources:
                rule = ("ingress", box.protocol, box.low, box.high, "", group_name(network, source))
                for tag in item.targets or ("",):
                    yield tag, rule


def _less_near(
    boxes: Sequence[Box], item: Statement, cuts: Iterable[Box], cutter: Statement, near: Sequence[IPv4Network]
) -> Sequence[Box]:
    """The services less those cut, where a cut takes all the addresses that machines may have, or none of them."""
    for cut in cuts:
        met = any(cut.meets(box) for box in boxes) and any(cut.cidr.overlaps(cidr) for cidr in near)
        if not met:
            continue
        if cutter.targets or not all(cidr.subnet_of(cut.cidr) for cidr in near):
            raise Inexpressible(
                f"rule {cutter.name!r} denies to some what {item.name!r} allows from source tags, and security groups"
                " only let through"
            )
        boxes = less(boxes, item, [Box(cut.protocol, cut.low, cut.high, EVERYWHERE)], cutter)
    return boxes


class Groups(Ground):
    """
    The security groups of one network.

    :param wanted: the groups that rules need, with their rules. :param needed: groups that must be there besides,
        because a machine is about to be put in them. :param awaited: groups that other operations are about to put
        machines in. All other groups are removed when no machine is in them.
    """

    def __init__(
        self,
        backend: Backend,
        tenant: Tenant,
        network: str,
        *,
        wanted: Mapping[str, Sequence[GroupRule]],
        needed: Collection[str] = (),
        awaited: Collection[str] = (),
    ) -> None:
        self.name = f"groups {network}"
        self._backend = backend
        self._tenant = tenant
        self._network = network
        self._wanted = wanted
        self._needed = needed
        self._awaited = awaited

    async def read(self) -> Json:
        """By group name: `id`, `account`, number of `members`, and `rules` (id, rule)."""
        whole = group_name(self._network)
        found = await self._backend.every_owned(self._tenant, "listSecurityGroups", "securitygroup", keyword=whole)
        return {
            text(row, "name"): {
                "id": text(row, "id"),
                "account": text(row, "account"),
                "members": number(row, "virtualmachinecount") or len(row.get("virtualmachineids") or ()),
                "rules": [
                    *([text(item, "ruleid"), list(_read("ingress", item))] for item in rows(row, "ingressrule")),
                    *([text(item, "ruleid"), list(_read("egress", item))] for item in rows(row, "egressrule")),
                ],
            }
            for row in found
            if is_group_of(text(row, "name"), self._network)
        }

    def changes(self, actual: Json, before: Json, *, restore: bool) -> Sequence[Change]:
        """First the groups, then their rules, and last the groups that nothing needs."""
        if restore:
            wanted = {name: [tuple(item) for _, item in group["rules"]] for name, group in (before or {}).items()}
            keep = set(wanted)
        else:
            wanted = {name: list(items) for name, items in self._wanted.items()}
            keep = {*wanted, *self._needed}
        keep.update(name for name, group in actual.items() if group["members"] or name in self._awaited)
        missing = sorted(keep - actual.keys())
        if missing:
            return [
                Change(
                    "createSecurityGroup",
                    {"name": name, "description": f"{_DESCRIPTION} {self._network}"},
                    f"security group {name}",
                    job=False,
                    owned=True,
                )
                for name in missing
            ]
        found: list[Change] = []
        revoked = []
        for name in sorted(keep):
            group = actual[name]
            present = {tuple(item): rule_id for rule_id, item in group["rules"]}
            found += self._authorize(name, actual, [item for item in wanted.get(name, ()) if item not in present])
            revoked += [_revoke(item, present[item]) for item in present if item not in wanted.get(name, ())]
        unused = sorted(actual.keys() - keep)
        for name in unused:
            # Rules that name a group as their source keep it from being removed.
            revoked += [_revoke(tuple(item), rule_id) for rule_id, item in actual[name]["rules"] if item[-1]]
        removed = [
            Change(
                "deleteSecurityGroup", {"id": actual[name]["id"]}, f"security group {name}", job=False, optional=True
            )
            for name in unused
        ]
        return [*found, *revoked, *removed]

    def _authorize(self, name: str, actual: Json, missing: Sequence[GroupRule]) -> list[Change]:
        """One call for all sources of one direction, protocol and range of ports."""
        together: dict[GroupRule, list[GroupRule]] = {}
        for item in missing:
            together.setdefault((*item[:4], "", ""), []).append(item)
        found = []
        for (direction, protocol, low, high, _, _), items in together.items():
            form: dict[str, Json] = {
                "securitygroupid": actual[name]["id"],
                **service_form(Service(protocol, low, high)),
            }
            cidrs = [item[4] for item in items if item[4]]
            if cidrs:
                form["cidrlist"] = ",".join(cidrs)
            for index, source in enumerate(item[5] for item in items if item[5]):
                form[f"usersecuritygrouplist[{index}].account"] = actual[source]["account"]
                form[f"usersecuritygrouplist[{index}].group"] = source
            command = f"authorizeSecurityGroup{direction.capitalize()}"
            found.append(Change(command, form, f"rules of security group {name}"))
        return found


def _revoke(item: GroupRule, rule_id: str) -> Change:
    return Change(f"revokeSecurityGroup{item[0].capitalize()}", {"id": rule_id}, f"rule {rule_id}")


def _read(direction: str, row: Row) -> GroupRule:
    protocol = text(row, "protocol").lower()
    low, high = number(row, "startport"), number(row, "endport")
    if protocol == "icmp" and (number(row, "icmptype"), number(row, "icmpcode")) != (-1, -1):
        protocol = f"icmp {row.get('icmptype')}/{row.get('icmpcode')}"  # never one of ours
    if protocol not in ("tcp", "udp"):
        low, high = 0, LAST_PORT
    return (
        direction,
        protocol,
        0 if low is None else low,
        LAST_PORT if high is None else high,
        text(row, "cidr"),
        text(row, "securitygroupname"),
    )
