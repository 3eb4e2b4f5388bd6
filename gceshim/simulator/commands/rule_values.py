"""Protocols, ports, ICMP types and CIDRs of firewall-like rules."""

import ipaddress
from dataclasses import dataclass

from gceshim.simulator import errors
from gceshim.simulator.call import Call

MAX_PORT = 65_535


@dataclass(frozen=True)
class RuleValues:
    """The part that all rules share; unused values are None."""

    protocol: str
    start_port: int | None
    end_port: int | None
    icmp_type: int | None
    icmp_code: int | None


def read_rule(
    call: Call, *, protocols: frozenset[str], numbers: bool = False, default: str | None = None
) -> RuleValues:
    """Protocol, ports and ICMP values of a call.

    :raises ApiError: 431 for what does not go together or is out of range.
    """
    args = call.args
    protocol = (args.text("protocol") or default or "").lower().strip()
    is_number = numbers and protocol.isascii() and protocol.isdigit() and len(protocol) < 4 and int(protocol) < 256
    if protocol not in protocols and not is_number:
        raise errors.invalid(f"Protocol {protocol} is not supported")
    start, end = args.number("startport"), args.number("endport")
    if end is None:
        end = start
    if start is None:
        start = end
    has_ports = start is not None
    icmp_type, icmp_code = args.number("icmptype"), args.number("icmpcode")
    for port in (start, end):
        if port is not None and not 0 <= port <= MAX_PORT:
            raise errors.invalid(f"Invalid port number: {port}")
    if start is not None and end is not None and start > end:
        raise errors.invalid(f"Start port can't be bigger than end port: {start}-{end}")
    if has_ports and protocol not in ("tcp", "udp", "6", "17"):
        raise errors.invalid(f"Can specify startPort/endPort only when protocol is tcp or udp, not {protocol}")
    if protocol in ("icmp", "1"):
        if icmp_type is not None and not -1 <= icmp_type <= 255:
            raise errors.invalid(f"Invalid icmp type; should belong to [0-255] range: {icmp_type}")
        if icmp_code is not None and not -1 <= icmp_code <= 16:
            raise errors.invalid(f"Invalid icmp code; should belong to [0-16] range: {icmp_code}")
    elif icmp_type is not None or icmp_code is not None:
        raise errors.invalid("Can specify icmpCode and icmpType for ICMP protocol only")
    return RuleValues(protocol, start, end, icmp_type, icmp_code)


def read_cidrs(call: Call, name: str, default: list[str]) -> list[str]:
    """A list of CIDRs.

    :raises ApiError: 431/9999 for one that is malformed.
    """
    cidrs = call.args.texts(name)
    for cidr in cidrs:
        try:
            ipaddress.ip_network(cidr, strict=False)
        except ValueError as exc:
            raise errors.bad_parameter(f"Source cidrs formatting error {cidr}") from exc
        if "/" not in cidr:
            raise errors.bad_parameter(f"Source cidrs formatting error {cidr}")
    return cidrs or default


def overlaps(first: tuple[int | None, int | None], second: tuple[int | None, int | None]) -> bool:
    """Whether two port ranges meet; no ports means all."""
    if first[0] is None or second[0] is None or first[1] is None or second[1] is None:
        return True
    return first[0] <= second[1] and second[0] <= first[1]
