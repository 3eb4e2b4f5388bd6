"""All that a simulated cloud holds for its users, in words, so that two moments can be compared."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from types import TracebackType

from gceshim.simulator import Simulator
from gceshim.simulator import entities as model

GIB = 1024**3
#: Tags whose values name addresses, ids or operations, or tell a time.
VARYING = ("gce:external", "gce:auto-delete", "gce:firewall/", "gce:firewall-claim/", "gce:operation")


def holdings(cloudstack: Simulator) -> Counter[str]:
    """A line for each thing, without ids, times and addresses, so that the same history makes the same lines."""
    return Counter(line for line in _lines(cloudstack))


class Holdings:
    """
    What has come and gone since this was made.

        kept = Holdings(cloudstack)
        ...
        assert kept.changes() == ["+ volume data-1: 20 GiB"]
    """

    def __init__(self, cloudstack: Simulator) -> None:
        self._cloudstack = cloudstack
        self._before = holdings(cloudstack)

    def changes(self) -> list[str]:
        """What there is more, with a plus, and less, with a minus; sorted."""
        now = holdings(self._cloudstack)
        more = [f"+ {line}" for line in (now - self._before).elements()]
        return sorted(more + [f"- {line}" for line in (self._before - now).elements()])


class NothingChanged(Holdings):
    """A block at whose end everything has to be as it was."""

    def __enter__(self) -> NothingChanged:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and (changes := self.changes()):
            raise AssertionError("\n".join(["something has changed:", *changes]))


def _lines(cloudstack: Simulator) -> Iterator[str]:
    rows = cloudstack.inspect.rows
    for vm in rows(model.Vm):
        data = hashlib.sha256((vm.user_data or "").encode()).hexdigest()[:8] if vm.user_data else "none"
        yield (
            f"machine {vm.name}: {vm.state}, {vm.offering.name} {vm.cpus} x {vm.memory_mib}, user data {data},"
            f" protected {vm.delete_protection}, groups {sorted(group.name for group in vm.groups)},"
            f" keys {vm.key_pairs}"
        )
        for nic in vm.nics:
            yield f"interface of {vm.name} in {nic.network.name}"
    for volume in rows(model.Volume):
        where = f" at {volume.vm.name}:{volume.device}" if volume.vm else ""
        # The first attachment gives a volume its place on storage, which it keeps: Allocated becomes Ready.
        state = "" if volume.state in ("Allocated", "Ready") else f", {volume.state}"
        yield f"volume {name(volume)}: {volume.size_bytes // GIB} GiB{state}{where}"
    for address in rows(model.PublicIp):
        goal = address.static_nat_vm.name if address.static_nat_vm else "nothing"
        yield f"address in {address.zone.name}: source NAT {address.source_nat}, to {goal}"
    for tag in rows(model.Tag):
        value = hashlib.sha256(tag.value.encode()).hexdigest()[:8] if len(tag.value) > 80 else tag.value
        shown = "..." if tag.key.startswith(VARYING) else value
        yield f"tag {tag.key}={shown} on {name(tag.resource)}"
    for network in rows(model.Network):
        yield f"network {network.name}, list {network.acl.name if network.acl else None}"
    for vpc in rows(model.Vpc):
        yield f"VPC {vpc.name}"
    for kind in (model.KeyPair, model.UserData, model.AclList):
        for row in rows(kind):
            yield f"{kind.__name__} {row.name}"
    yield from _rules(cloudstack)


def _rules(cloudstack: Simulator) -> Iterator[str]:
    rows = cloudstack.inspect.rows
    for item in rows(model.AclItem):
        what = f"{item.action} {item.traffic_type} {item.protocol} {item.start_port}-{item.end_port} {item.cidrs}"
        yield f"item {item.position} of {item.acl.name}: {what}"
    for group in rows(model.SecurityGroup):
        yield f"group {group.name} of {group.account.name}"
    for rule in rows(model.SecurityGroupRule):
        way = "in" if rule.ingress else "out"
        far = rule.cidr or (rule.source.name if rule.source else "")
        yield f"rule of group {rule.group.name}: {way} {rule.protocol} {rule.start_port}-{rule.end_port} {far}"
    for opening in rows(model.FirewallRule):
        way = f"to {opening.ip.static_nat_vm.name if opening.ip.static_nat_vm else 'NAT'}" if opening.ip else "out"
        ranges = opening.cidrs + opening.dest_cidrs
        yield f"rule of network: {way} {opening.protocol} {opening.start_port}-{opening.end_port} {ranges}"
    for forwarding in rows(model.PortForwardingRule):
        yield f"forwarding to {forwarding.vm.name}:{forwarding.private_port}"


def name(record: model.Record) -> str:
    """What a record is called; a boot volume by its machine, as its own name is a running number."""
    if isinstance(record, model.Volume) and record.kind == "ROOT":
        return f"boot of {record.vm.name}" if record.vm else "boot of no machine"
    if isinstance(record, model.FirewallRule):
        return f"rule {record.protocol} {record.start_port}-{record.end_port}"
    if isinstance(record, model.PublicIp):
        return "address"
    return str(getattr(record, "name", type(record).__name__))
