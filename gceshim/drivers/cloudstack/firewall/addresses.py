"""
Rules of an isolated network: what may come in, at each public address that leads to a machine; and what may go out.

CloudStack's rules for addresses let through, and no two of one protocol and range of addresses may share a port. Its
rules for outgoing traffic do what the network does not do by itself: let through, or hold back. What others have made
there is told by the lack of our tag, and left as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from gceshim.drivers.base import Json
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.firewall.acls import service_form
from gceshim.drivers.cloudstack.firewall.pieces import Pieces, fitted, pieces_of
from gceshim.drivers.cloudstack.firewall.rounds import Change, Ground
from gceshim.drivers.cloudstack.firewall.statements import (
    EVERYTHING,
    EVERYWHERE,
    IMPLIED_EGRESS,
    LAST_PORT,
    Box,
    Inexpressible,
    Service,
    Statement,
    in_order,
)
from gceshim.drivers.cloudstack.firewall.traffic import (
    absorbed,
    clashes,
    decided,
    for_machine,
    is_everything,
    less,
    minus,
)
from gceshim.drivers.cloudstack.rows import Row, number, tags, text
from gceshim.drivers.cloudstack.tags import encode, params
from gceshim.model import Tenant

_PROTOCOLS: Final = frozenset({"tcp", "udp", "icmp", "all"})
#: The reserved tag of what gceshim made among rules that others may make too.
MARK: Final = encode({}, {"firewall": True})
_EVERYWHERE: Final = str(EVERYWHERE)


def check(statements: Sequence[Statement], *, egress_allowed: bool) -> None:
    """
    Whether rules can be carried out, whatever network tags machines have.

    :param egress_allowed: what the network does with outgoing traffic that no rule is about.
    :raises Inexpressible: naming the rule.
    """
    order = in_order(statements, ingress=True)
    for item in order:
        if item.sources:
            raise Inexpressible(f"rule {item.name!r} has source tags, and an isolated network filters addresses alone")
    found = decided(order, allow=True)
    for one in found:
        _check_protocols(one.statement.name, one.boxes)
    for cutter, one in clashes(order, found, allow=True):
        # What is left is not of interest, but that there is a form for it.
        less(one.boxes, one.statement, cutter.boxes(), cutter)
    egress_of(statements, egress_allowed=egress_allowed)


def ingress_of(statements: Iterable[Statement], network_tags: Iterable[str]) -> list[Box]:
    """What may come in to a machine with these tags. :raises Inexpressible: as `check`."""
    order = in_order(statements, ingress=True)
    return for_machine(order, decided(order, allow=True), network_tags, allow=True)


def egress_of(statements: Iterable[Statement], *, egress_allowed: bool) -> list[Box]:
    """
    What the network's rules for outgoing traffic are about: what is held back if it is allowed by itself, else what
    is let through.

    :raises Inexpressible: naming the rule.
    """
    order = [*in_order(statements, ingress=False), IMPLIED_EGRESS]
    allow = not egress_allowed
    found = decided(order, allow=allow)
    boxes = [box for item in found if not item.statement.targets for box in item.boxes]
    for item in found:
        if item.statement.targets and not _is_within(item.boxes, boxes):
            raise _for_all(item.statement)
    for cutter, _ in clashes(order, found, allow=allow):
        raise _for_all(cutter)
    boxes = [EVERYTHING] if is_everything(boxes) else absorbed(boxes)
    _check_protocols("", boxes)
    return boxes


def _is_within(boxes: Iterable[Box], others: Sequence[Box]) -> bool:
    try:
        return not minus(boxes, others)
    except Inexpressible:
        return False


def _for_all(item: Statement) -> Inexpressible:
    return Inexpressible(
        f"rule {item.name!r} has target tags, and an isolated network's rules for outgoing traffic are for all machines"
    )


def _check_protocols(name: str, boxes: Iterable[Box]) -> None:
    for box in boxes:
        if box.protocol not in _PROTOCOLS:
            whose = f"rule {name!r} is" if name else "a rule for outgoing traffic is"
            raise Inexpressible(
                f"{whose} about protocol {box.protocol}, and an isolated network knows tcp, udp, icmp and all"
            )


class AddressRules(Ground):
    """
    The rules of one kind in one isolated network: of all public addresses given, or for outgoing traffic.

    :param wanted: boxes by the id of the address or, for outgoing traffic, of the network. What has rules of ours and
        is not named is left without. :param idle: there is nothing to carry out where nothing of ours is yet.
        :param whole: addresses and networks that were made by gceshim, so that all rules there are its own.
    """

    def __init__(
        self,
        backend: Backend,
        tenant: Tenant,
        *,
        network_id: str,
        wanted: Mapping[str, Sequence[Box]],
        egress: bool = False,
        address_id: str = "",
        idle: bool = False,
        whole: Collection[str] = (),
    ) -> None:
        self.name = f"{'egress' if egress else 'addresses'} {address_id or network_id}"
        self._backend = backend
        self._tenant = tenant
        self._network_id = network_id
        self._wanted = wanted
        self._egress = egress
        self._address_id = address_id
        self._idle = idle
        self._whole = whole

    async def read(self) -> Json:
        """Rows: id, target, whether it is ours, protocol, first and last port, ranges."""
        command = "listEgressFirewallRules" if self._egress else "listFirewallRules"
        where = {"ipaddressid": self._address_id} if self._address_id else {"networkid": self._network_id}
        found = await self._backend.every_owned(self._tenant, command, "firewallrule", **where)
        return [self._rule(row) for row in found]

    def changes(self, actual: Json, before: Json, *, restore: bool) -> Sequence[Change]:
        """First what is missing, then what is too much; where the two share ports, the other way round."""
        theirs = {row[0] for row in before or () if not row[2]}
        ours = [row for row in actual if row[0] not in theirs]
        if self._idle and not ours and not restore:
            return []
        wanted = _as_before(before) if restore else {key: pieces_of(boxes) for key, boxes in self._wanted.items()}
        found = []
        dropped: set[str] = set()
        targets = {row[1] for row in ours} | wanted.keys()
        for target in sorted(targets):
            fit = fitted(
                [(row[0], *row[3:]) for row in ours if row[1] == target],
                [(row[0], *row[3:]) for row in actual if row[1] == target and row[0] in theirs],
                wanted.get(target, {}),
            )
            found += [self._make(target, *item) for item in fit.first]
            found += [self._drop(rule_id) for rule_id in fit.dropped]
            found += [self._make(target, *item) for item in fit.last]
            dropped.update(fit.dropped)
        unmarked = [row[0] for row in ours if not row[2] and row[0] not in dropped]
        if unmarked:
            form = {"resourceids": ",".join(unmarked), "resourcetype": "FirewallRule", **params(MARK)}
            found.append(Change("createTags", form, "tags of firewall rules"))
        return found

    def _rule(self, row: Row) -> Json:
        target = self._network_id if self._egress else text(row, "ipaddressid")
        return _rule(row, target, ours=target in self._whole)

    def _make(self, target: str, protocol: str, interval: tuple[int, int], cidrs: Sequence[str]) -> Change:
        form = service_form(Service(protocol, *interval))
        if self._egress:
            form["networkid"] = target
            form["destcidrlist"] = None if list(cidrs) == [_EVERYWHERE] else ",".join(cidrs)
            return Change("createEgressFirewallRule", form, f"rules for outgoing traffic of network {target}")
        form.update(ipaddressid=target, cidrlist=",".join(cidrs))
        return Change("createFirewallRule", form, f"rules of address {target}")

    def _drop(self, rule_id: str) -> Change:
        command = "deleteEgressFirewallRule" if self._egress else "deleteFirewallRule"
        return Change(command, {"id": rule_id}, f"firewall rule {rule_id}")


def _rule(row: Row, target: str, *, ours: bool) -> Json:
    protocol = text(row, "protocol").lower()
    if protocol == "icmp" and number(row, "icmptype") not in (None, -1):
        protocol = f"icmp {number(row, 'icmptype')}"  # never one of ours
    low, high = number(row, "startport"), number(row, "endport")
    field = "destcidrlist" if text(row, "traffictype").lower() == "egress" else "cidrlist"
    cidrs = sorted(cidr.strip() for cidr in text(row, field).split(",") if cidr.strip()) or [_EVERYWHERE]
    return [
        text(row, "id"),
        target,
        ours or MARK.items() <= tags(row).items(),
        protocol,
        0 if low is None else low,
        LAST_PORT if high is None else high,
        cidrs,
    ]


def _as_before(before: Json) -> dict[str, Pieces]:
    found: dict[str, Pieces] = {}
    for _, target, ours, protocol, low, high, cidrs in before or ():
        if ours:
            for cidr in cidrs:
                found.setdefault(target, {}).setdefault((protocol, cidr), []).append((low, high))
    return found
