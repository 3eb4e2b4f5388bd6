"""
Rules of a VPC: one access list for all its tiers, with an item for each protocol, range of ports and set of ranges.

An item's number tells its place: `1 + 2000 * priority`, plus 1000 when it lets through, plus a count. So the order is
GCE's, denials go before permissions of one priority, and no item is ever numbered anew. What GCE implies of outgoing
traffic is the last item; of incoming traffic, it is CloudStack's own end of a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gceshim.drivers.base import Json
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.firewall.rounds import Change, Ground
from gceshim.drivers.cloudstack.firewall.statements import (
    IMPLIED_EGRESS,
    LAST_PORT,
    SCTP,
    Inexpressible,
    Service,
    Statement,
)
from gceshim.drivers.cloudstack.rows import Row, number, text
from gceshim.model import Tenant

LIST_NAME: Final = "gceshim"
_DESCRIPTION: Final = "Firewall rules of the GCE network, kept by gceshim"
_PER_PRIORITY: Final = 2000
_BLOCK: Final = 1000
#: CloudStack keeps the ranges of an item in one column of this many characters in all its releases.
_CIDRS_LIMIT: Final = 255
_DENY_NAME: Final = "default_deny"

#: An item but for its number: block, action, direction, protocol, first and last port, ranges.
Item = tuple[int, str, str, str, int, int, str]


@dataclass(frozen=True, slots=True)
class _Goal:
    """What is to be: whether there is a list, its items (with their rules, and their numbers if fixed), the tiers'."""

    keep: bool
    items: Mapping[Item, str]
    places: Mapping[Item, int]
    tiers: Mapping[str, str]


def items_of(statements: Iterable[Statement]) -> dict[Item, str]:
    """
    The items of an access list, each with the name of the rule that it is for.

    :raises Inexpressible: naming the rule.
    """
    found: dict[Item, str] = {}
    counts: dict[int, int] = {}
    for item in [*statements, IMPLIED_EGRESS]:
        if item.targets or item.sources:
            what = "target tags" if item.targets else "source tags"
            raise Inexpressible(f"rule {item.name!r} has {what}, and the rules of a VPC are about whole subnetworks")
        block = 1 + item.priority * _PER_PRIORITY + (_BLOCK if item.allow else 0)
        for service in item.services:
            if service.protocol == SCTP and (service.low, service.high) != (0, LAST_PORT):
                raise Inexpressible(f"rule {item.name!r} names ports of SCTP, which access lists do not have")
            for cidrs in _columns(sorted(map(str, item.cidrs))):
                action, direction = "Allow" if item.allow else "Deny", "Ingress" if item.ingress else "Egress"
                key = (block, action, direction, service.protocol, service.low, service.high, cidrs)
                if key not in found:
                    counts[block] = counts.get(block, 0) + 1
                found.setdefault(key, item.name)
        if counts.get(block, 0) > _BLOCK:
            raise Inexpressible(f"rule {item.name!r} is one of too many of priority {item.priority}")
    return found


def _columns(cidrs: Iterable[str]) -> list[str]:
    """The ranges, comma between, in as few pieces as fit."""
    found: list[str] = []
    for cidr in cidrs:
        if found and len(found[-1]) + 1 + len(cidr) <= _CIDRS_LIMIT:
            found[-1] += f",{cidr}"
        else:
            found.append(cidr)
    return found


class AccessList(Ground):
    """
    The access list of one VPC, and which tiers use it.

    :param statements: None for a VPC that no rule was ever about: it is left as it is.
    """

    def __init__(self, backend: Backend, tenant: Tenant, vpc_id: str, statements: Sequence[Statement] | None) -> None:
        self.name = f"vpc {vpc_id}"
        self._backend = backend
        self._tenant = tenant
        self._vpc_id = vpc_id
        self._statements = statements

    async def read(self) -> Json:
        """
        `list`: the id of ours, or ""; `items`: id, number, item; `tiers`: the list of each; `others`: names of other
        lists of the VPC by id; `deny`: the id of CloudStack's list that denies.
        """
        every = self._backend.every_owned
        lists = await every(self._tenant, "listNetworkACLLists", "networkacllist", vpcid=self._vpc_id)
        own = [row for row in lists if text(row, "vpcid") == self._vpc_id]
        ours = sorted(text(row, "id") for row in own if text(row, "name") == LIST_NAME)
        list_id = ours[0] if ours else ""
        items = await every(self._tenant, "listNetworkACLs", "networkacl", aclid=list_id) if list_id else []
        tiers = await every(self._tenant, "listNetworks", "network", vpcid=self._vpc_id)
        return {
            "list": list_id,
            "items": [[text(row, "id"), number(row, "number"), list(_item(row))] for row in items],
            "tiers": {text(row, "id"): text(row, "aclid") for row in tiers if text(row, "vpcid") == self._vpc_id},
            "others": {text(row, "id"): text(row, "name") for row in own if text(row, "id") != list_id},
            "deny": next((text(row, "id") for row in lists if text(row, "name") == _DENY_NAME), ""),
        }

    def changes(self, actual: Json, before: Json, *, restore: bool) -> Sequence[Change]:
        """First the list, then its items, the tiers, and last what is too much."""
        goal = self._goal(actual, before, restore=restore)
        if goal is None:
            return []
        list_id = actual["list"]
        if goal.keep and not list_id:
            form = {"name": LIST_NAME, "vpcid": self._vpc_id, "description": _DESCRIPTION}
            return [Change("createNetworkACLList", form, f"the access list of VPC {self._vpc_id}")]
        made, extra = _items_to_change(actual, goal)
        found = [
            Change("createNetworkACL", _form(list_id, place, key, rule), f"an item for rule {rule}")
            for place, key, rule in made
        ]
        for tier, acl in sorted(goal.tiers.items()):
            if acl and actual["tiers"][tier] != acl:
                form = {"aclid": acl, "networkid": tier}
                found.append(Change("replaceNetworkACLList", form, f"the access list of tier {tier}"))
        found += [Change("deleteNetworkACL", {"id": item_id}, f"item {item_id}") for item_id in extra]
        if list_id and not goal.keep:
            found.append(Change("deleteNetworkACLList", {"id": list_id}, f"access list {list_id}"))
        return found

    def _goal(self, actual: Json, before: Json, *, restore: bool) -> _Goal | None:
        list_id = actual["list"]
        if restore:
            # A tier without a list is as one with the list that denies; it cannot be put back to having none.
            tiers = {tier: acl or actual["deny"] for tier, acl in before["tiers"].items() if tier in actual["tiers"]}
            items = {tuple(item): "" for _, _, item in before["items"]}
            places = {tuple(item): place for _, place, item in before["items"]}
            return _Goal(bool(before["list"]), items, places, tiers)
        if self._statements is None and not list_id:
            return None
        # A list that somebody made for a tier is theirs.
        tiers = {tier: list_id for tier, acl in actual["tiers"].items() if acl not in actual["others"]}
        return _Goal(True, items_of(self._statements or ()), {}, tiers)


def _items_to_change(actual: Json, goal: _Goal) -> tuple[list[tuple[int, Item, str]], list[str]]:
    """What to make, each with its number and rule, and the ids of what is too much."""
    present: set[Item] = set()
    extra = []
    for item_id, _, item in actual["items"]:
        if tuple(item) in goal.items and tuple(item) not in present:
            present.add(tuple(item))
        else:
            extra.append(item_id)
    used = {place for _, place, _ in actual["items"]}
    made = []
    for key, rule in goal.items.items():
        if key in present:
            continue
        block = range(key[0], key[0] + _BLOCK)
        place = next((free for free in (goal.places.get(key), *block) if free and free not in used), 0)
        if place:  # else there is room when what is too much is gone
            used.add(place)
            made.append((place, key, rule))
    return made, extra


def _item(row: Row) -> Item:
    place = number(row, "number") or 1
    protocol = text(row, "protocol").lower()
    first, last = number(row, "startport"), number(row, "endport")
    if protocol == "icmp" and (number(row, "icmptype"), number(row, "icmpcode")) != (-1, -1):
        protocol = f"icmp {row.get('icmptype')}/{row.get('icmpcode')}"  # never one of ours
    cidrs = sorted(cidr.strip() for cidr in text(row, "cidrlist").split(",") if cidr.strip())
    return (
        (place - 1) // _BLOCK * _BLOCK + 1,
        text(row, "action").capitalize(),
        text(row, "traffictype").capitalize(),
        protocol,
        0 if first is None else first,
        LAST_PORT if last is None else last,
        ",".join(cidrs),
    )


def _form(list_id: str, place: int, key: Item, rule: str) -> dict[str, Json]:
    _, action, direction, protocol, low, high, cidrs = key
    return {
        "aclid": list_id,
        "number": place,
        "action": action,
        "traffictype": direction,
        "cidrlist": cidrs,
        "reason": f"GCE firewall rule {rule}" if rule else None,
        **service_form(Service(protocol, low, high)),
    }


def service_form(service: Service) -> dict[str, Json]:
    """The parameters for a protocol and its ports, as all of CloudStack's rules have them."""
    form: dict[str, Json] = {"protocol": service.protocol}
    if service.protocol in ("tcp", "udp"):
        form.update(startport=service.low, endport=service.high)
    if service.protocol == "icmp":
        form.update(icmptype=-1, icmpcode=-1)
    return form
