"""compute.firewalls: rules of a network; ACL items, security groups and IP firewalls underneath."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gceshim.drivers.base import Steps
from gceshim.model import DEFAULT_NETWORK, Direction, Firewall, Protocol
from gceshim.protocol import errors
from gceshim.protocol.patching import patched
from gceshim.resources import checks
from gceshim.resources.base import Body, Collection, method, pages, workflow
from gceshim.resources.call import Call
from gceshim.resources.values import timestamp

PRIORITY: Final = 1000
PRIORITY_MAX: Final = 65_535
ANYWHERE: Final = "0.0.0.0/0"
WITH_PORTS: Final = frozenset({"tcp", "udp", "sctp", "6", "17", "132"})
NAMES: Final = frozenset({"tcp", "udp", "icmp", "esp", "ah", "sctp", "ipip", "all"})
_NOT_HERE: Final = "Not supported by this server."
_ACCOUNTS: Final = "Machines have no service accounts that CloudStack knows; use tags."


class Firewalls(Collection, name="firewalls", scope="global", needs=("firewalls", "networks")):
    """What the zones of a network cannot express is refused before anything is changed."""

    refused = {
        "logConfig.enable": "CloudStack keeps no log of its rules.",
        "logConfig.metadata": "CloudStack keeps no log of its rules.",
        "params": _NOT_HERE,
        "sourceServiceAccounts": _ACCOUNTS,
        "targetServiceAccounts": _ACCOUNTS,
    }
    fields = {
        "allow": "denied",
        "destination_ranges": "destinationRanges",
        "direction": "direction",
        "name": "name",
        "network": "network",
        "priority": "priority",
        "protocols": "allowed",
        "source_ranges": "sourceRanges",
        "source_tags": "sourceTags",
        "target_tags": "targetTags",
    }

    @method
    async def get(self, call: Call) -> Body:
        return self._shown(call, await self._named(call))

    @method
    async def list(self, call: Call) -> Body:
        rules = await self.driver.firewalls.list(call.tenant)
        return await self.listing(call, pages(rules), lambda rule: self._shown(call, rule))

    @method
    async def insert(self, call: Call) -> Body:
        rule = from_gce(call, call.body)
        await self.driver.firewalls.check(call.tenant, rule)
        return await self.begin(call, self.create, rule, target=("global", "firewalls", rule.name))

    @method
    async def update(self, call: Call) -> Body:
        return await self._change(call, await self._named(call), call.body)

    @method
    async def patch(self, call: Call) -> Body:
        """The members sent replace those that are there, null takes away; `allowed` and `denied` replace each other."""
        current = await self._named(call)
        body = to_gce(call, current)
        if call.body.get("allowed") or call.body.get("denied"):
            body = {**body, "allowed": None, "denied": None}
        return await self._change(call, current, patched(body, call.body, call.cleared))

    @method
    async def delete(self, call: Call) -> Body:
        rule = await self._named(call)
        return await self.begin(
            call, self.remove, rule.name, target=("global", "firewalls", rule.name), target_id=rule.id
        )

    @workflow
    async def create(self, steps: Steps, rule: Firewall) -> Firewall:
        return await self.driver.firewalls.create(steps, rule)

    @workflow
    async def replace(self, steps: Steps, rule: Firewall, replaced: Firewall) -> None:
        await self.driver.firewalls.replace(steps, rule, replaced)

    @workflow
    async def remove(self, steps: Steps, name: str) -> None:
        await self.driver.firewalls.delete(steps, name)

    async def _named(self, call: Call) -> Firewall:
        return await self.driver.firewalls.get(call.tenant, call.name)

    async def _change(self, call: Call, current: Firewall, body: Mapping[str, Any]) -> Body:
        checks.same_name(body, current.name)
        rule = from_gce(call, {**body, "name": current.name})
        if (rule.network, rule.direction) != (current.network, current.direction):
            raise errors.Invalid("A firewall rule's network and direction cannot be changed.")
        await self.driver.firewalls.check(call.tenant, rule, current)
        target = ("global", "firewalls", rule.name)
        return await self.begin(call, self.replace, rule, current, target=target, target_id=current.id)

    def _shown(self, call: Call, rule: Firewall) -> Body:
        return self.show(call, "Firewall", ("global", "firewalls", rule.name), to_gce(call, rule))


def from_gce(call: Call, body: Mapping[str, Any]) -> Firewall:
    """
    The rule that a body describes, with GCE's defaults.

    :raises Invalid, Required: what GCE refuses; the field is named.
    """
    direction = Direction.EGRESS if body.get("direction") == "EGRESS" else Direction.INGRESS
    allowed, denied = body.get("allowed") or (), body.get("denied") or ()
    if bool(allowed) == bool(denied):
        raise errors.Invalid(
            errors.invalid_value("resource.allowed", "", "Exactly one of allowed and denied is needed.")
        )
    if not 0 <= body.get("priority", PRIORITY) <= PRIORITY_MAX:
        why = f"Must be from 0 to {PRIORITY_MAX}."
        raise errors.Invalid(errors.invalid_value("resource.priority", body["priority"], why))
    other_way = ("destinationRanges",) if direction is Direction.INGRESS else ("sourceRanges", "sourceTags")
    for name in other_way:
        if body.get(name):
            why = f"Not allowed in a rule of direction {direction.name}."
            raise errors.Invalid(errors.invalid_value(f"resource.{name}", body[name][0], why))
    sources, tags = _ranges(body, "sourceRanges"), body.get("sourceTags") or ()
    destinations = _ranges(body, "destinationRanges")
    network = body.get("network") or ""
    return Firewall(
        name=checks.resource_name(body.get("name", "")),
        network=call.own("networks", network, "network").name if network else DEFAULT_NETWORK,
        direction=direction,
        priority=body.get("priority", PRIORITY),
        allow=bool(allowed),
        protocols=_protocols(allowed or denied, "allowed" if allowed else "denied"),
        source_ranges=sources or ((ANYWHERE,) if direction is Direction.INGRESS and not tags else ()),
        destination_ranges=destinations or ((ANYWHERE,) if direction is Direction.EGRESS else ()),
        source_tags=_tags(tags, "sourceTags"),
        target_tags=_tags(body.get("targetTags") or (), "targetTags"),
        description=checks.description(body.get("description") or ""),
        disabled=body.get("disabled") or False,
    )


def _ranges(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = []
    for index, text in enumerate(body.get(name) or ()):
        field = f"resource.{name}[{index}]"
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError as exc:
            raise errors.Invalid(errors.invalid_value(field, text, "Must be a valid CIDR range.")) from exc
        if network.version != 4:
            raise errors.Invalid(errors.invalid_value(field, text, "Only IPv4 is supported."))
        found.append(str(network))
    return tuple(found)


def _tags(items: Sequence[str], name: str) -> tuple[str, ...]:
    checks.network_tags(items, f"resource.{name}")
    return tuple(items)


def _protocols(items: Sequence[Mapping[str, Any]], name: str) -> tuple[Protocol, ...]:
    return tuple(_protocol(item, f"resource.{name}[{index}]") for index, item in enumerate(items))


def _protocol(item: Mapping[str, Any], field: str) -> Protocol:
    name = item.get("IPProtocol", "").lower()
    if name not in NAMES and not (name.isascii() and name.isdecimal() and int(name) <= 255):
        raise errors.Invalid(errors.invalid_value(f"{field}.IPProtocol", name, "Unknown protocol."))
    ports = item.get("ports") or ()
    if ports and name not in WITH_PORTS:
        why = "Ports are for tcp, udp and sctp only."
        raise errors.Invalid(errors.invalid_value(f"{field}.ports[0]", ports[0], why))
    for index, port in enumerate(ports):
        first, _, last = port.partition("-")
        if not all(part.isascii() and part.isdecimal() and int(part) <= 65_535 for part in (first, last or first)):
            raise errors.Invalid(errors.invalid_value(f"{field}.ports[{index}]", port, "Must be a port or a range."))
        if int(first) > int(last or first):
            raise errors.Invalid(errors.invalid_value(f"{field}.ports[{index}]", port, "The range is reversed."))
    return Protocol(name, tuple(ports))


def to_gce(call: Call, rule: Firewall) -> Body:
    protocols = [
        {"IPProtocol": item.name, "ports": list(item.ports)} if item.ports else {"IPProtocol": item.name}
        for item in rule.protocols
    ]
    return {
        "id": str(rule.id),
        "name": rule.name,
        "description": rule.description or None,
        "network": call.url("global", "networks", rule.network),
        "direction": rule.direction.name,
        "priority": rule.priority,
        "allowed": protocols if rule.allow else None,
        "denied": None if rule.allow else protocols,
        "sourceRanges": list(rule.source_ranges) or None,
        "destinationRanges": list(rule.destination_ranges) or None,
        "sourceTags": list(rule.source_tags) or None,
        "targetTags": list(rule.target_tags) or None,
        "disabled": rule.disabled,
        "logConfig": {"enable": False},
        "creationTimestamp": timestamp(rule.created),
    }
