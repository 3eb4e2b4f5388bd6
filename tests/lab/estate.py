"""What a simulated cloud holds for `demo`, a line for each thing: two of the same are two lines, an orphan is one."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterator

from gceshim.drivers.cloudstack.tags import PREFIX, decode
from gceshim.simulator import Simulator
from gceshim.simulator import entities as model

GIB = 1024**3
OWNER = "demo"
#: In the user data of machines whose metadata is changed.
MARK = re.compile(rb"mark-[0-9]+")
RULE = re.compile(r"rule (\S+): tcp ([0-9]+) at (\S+)")
ADDRESS = re.compile(r"address of (\S+),")

Estate = Counter[str]


def found(cloudstack: Simulator) -> Estate:
    """What is there now."""
    return Counter(_lines(cloudstack))


def with_openings(estate: Estate) -> Estate:
    """
    The estate with what its rules open at its addresses.

    All rules are of the network that has the addresses; they are for all its machines or for the one that has the name
    of the network tag.
    """
    machines = [match[1] for line in estate.elements() if (match := ADDRESS.match(line))]
    rules = [match for line in estate.elements() if (match := RULE.match(line))]
    return Counter(line for line in estate.elements() if not line.startswith("opening to ")) + Counter(
        f"opening to {name}: tcp {match[2]}-{match[2]}"
        for name in machines
        for match in rules
        if match[3] in ("all", name)
    )


def differences(actual: Estate, expected: Estate) -> list[str]:
    """What is there and should not be, and what should be and is not."""
    more = [f"too much: {line}" for line in (actual - expected).elements()]
    return more + [f"missing: {line}" for line in (expected - actual).elements()]


def machine(name: str, state: str = "Running", size: str = "Small Instance") -> str:
    return f"machine {name}: {state}, {size}"


def boot_disk(name: str) -> str:
    return f"boot disk of {name}"


def disk(name: str, gib: int, user: str = "nothing") -> str:
    return f"disk {name}: {gib} GiB at {user}"


def label(kind: str, name: str, key: str, value: str) -> str:
    return f"label of {kind} {name}: {key}={value}"


def metadata(name: str, mark: str) -> list[str]:
    return [f"metadata of machine {name}: {mark}", f"user data of machine {name}: {mark}"]


def address(name: str) -> str:
    return f"address of {name}, marked {name}"


def rule(name: str, port: int, description: str = "", target: str = "all") -> str:
    return f"rule {name}: tcp {port} at {target or 'all'} {description}"


def _lines(cloudstack: Simulator) -> Iterator[str]:
    rows = cloudstack.inspect.rows
    names = {vm.uuid: vm.name for vm in rows(model.Vm)}
    for vm in rows(model.Vm):
        tags = cloudstack.tags(vm.uuid)
        yield machine(vm.name, vm.state, vm.offering.name)
        yield from _labels("machine", vm.name, tags)
        kept = decode(tags)[1].get("metadata", {})
        yield from (f"metadata of machine {vm.name}: {mark.decode()}" for mark in MARK.findall(repr(kept).encode()))
        data = base64.b64decode(vm.user_data or "")
        yield from (f"user data of machine {vm.name}: {mark.decode()}" for mark in set(MARK.findall(data)))
    for volume in rows(model.Volume):
        user = volume.vm.name if volume.vm else "nothing"
        if volume.kind == "ROOT":
            yield boot_disk(user)
        else:
            yield disk(volume.name, volume.size_bytes // GIB, user)
            yield from _labels("disk", volume.name, cloudstack.tags(volume.uuid))
    for ip in rows(model.PublicIp):
        if not ip.source_nat:
            mark = decode(cloudstack.tags(ip.uuid))[1].get("ephemeral", "")
            yield f"address of {_goal(ip)}, marked {names.get(mark, mark)}"
    for network in rows(model.Network):
        yield f"network {network.name}"
    for kind in (model.Vpc, model.SecurityGroup, model.SecurityGroupRule, model.AclList, model.PortForwardingRule):
        yield from (f"{kind.__name__}" for row in rows(kind) if getattr(row, "account", None) is not None)
    for opening in rows(model.FirewallRule):
        where = (
            opening.ip.static_nat_vm.name if opening.ip and opening.ip.static_nat_vm else "all" if opening.ip else ""
        )
        ports = f"{opening.protocol} {opening.start_port}-{opening.end_port}"
        yield f"opening to {where}: {ports}" if where else f"way out: {ports}"
    yield from _authored(cloudstack)


def _goal(ip: model.PublicIp) -> str:
    return ip.static_nat_vm.name if ip.static_nat_vm else "nothing"


def _labels(kind: str, name: str, tags: dict[str, str]) -> Iterator[str]:
    return (label(kind, name, key, value) for key, value in tags.items() if not key.startswith(PREFIX))


def _authored(cloudstack: Simulator) -> Iterator[str]:
    """The firewall rules that are written down, each version of each, and claims that belong to none."""
    [account] = [row for row in cloudstack.inspect.rows(model.Account) if row.name == OWNER]
    reserved = decode(cloudstack.tags(account.uuid))[1]
    for key, body in reserved.items():
        kind, _, rest = key.partition("/")
        name, _, number = rest.partition("/")
        if kind == "firewall":
            port, [target] = body.get("protocols", [["", "0"]])[0][1], body.get("target-tags", ["all"])
            yield rule(name, int(port), body.get("description", ""), target)
        elif f"firewall/{name}/{number}" not in reserved:
            yield f"{kind} of {name} without anything"
