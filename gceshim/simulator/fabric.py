"""Networks underneath machines: addresses, network interfaces, and what happens when a network is first used.

Source: NetworkOrchestrator, IpAddressManagerImpl.
"""

import ipaddress
import itertools

from gceshim.simulator import entities as model
from gceshim.simulator import errors
from gceshim.simulator.state import State

IMPLEMENTED = frozenset({"Implemented", "Setup"})


def implement(state: State, network: model.Network) -> None:
    """Bring a network up: from Allocated to Implemented, with a source NAT address where its offering has that.

    :raises ApiError: 533 if the zone has no public address left.
    """
    if network.state in IMPLEMENTED:
        return
    if "SourceNat" in network.offering.services:
        ensure_source_nat(state, network.account, network.zone, network, network.vpc)
    if not network.vlan:
        network.vlan = 1000 + network.number
    network.state = "Implemented"


def ensure_source_nat(
    state: State,
    account: model.Account,
    zone: model.Zone,
    network: model.Network | None,
    vpc: model.Vpc | None,
) -> None:
    """Acquire the source NAT address of a network or, if given, of a VPC, unless it has one.

    :raises ApiError: 533 if the zone has no public address left.
    """
    for row in state.rows(model.PublicIp):
        if row.source_nat and (row.vpc is vpc if vpc is not None else row.network is network):
            return
    acquire(state, account, zone, network=None if vpc else network, vpc=vpc, source_nat=True)


def acquire(
    state: State,
    account: model.Account,
    zone: model.Zone,
    *,
    network: model.Network | None = None,
    vpc: model.Vpc | None = None,
    source_nat: bool = False,
    wanted: str | None = None,
) -> model.PublicIp:
    """Allocate a public address of a zone, the lowest free one or the one wanted.

    :raises ApiError: 533 if there is none, 431 if the wanted one is not free.
    """
    taken = state.addresses_taken
    pool = ipaddress.ip_network(zone.public_cidr)
    if wanted is not None:
        if wanted in taken or not _within(wanted, pool):
            raise errors.invalid(f"Unable to allocate IP address {wanted}: it is not free in zone {zone.name}")
        address = wanted
    else:
        # The first addresses of a range are the gateway's and the system machines'.
        found = next((str(ip) for index, ip in enumerate(pool.hosts()) if index >= 9 and str(ip) not in taken), None)
        if found is None:
            raise errors.ApiError(533, f"Insufficient address capacity in zone {zone.name}", 4320)
        address = found
    taken.add(address)
    return state.new(
        model.PublicIp,
        address=address,
        account=account,
        zone=zone,
        network=network,
        vpc=vpc,
        source_nat=source_nat,
    )


def _within(address: str, pool: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(address) in pool
    except ValueError:
        return False


def release(state: State, ip: model.PublicIp) -> None:
    """Give a public address back, with all rules on it."""
    rules: list[model.FirewallRule | model.PortForwardingRule] = [
        *state.rows(model.FirewallRule),
        *state.rows(model.PortForwardingRule),
    ]
    for rule in rules:
        if rule.ip is ip:
            state.remove(rule)
    state.addresses_taken.discard(ip.address)
    state.remove(ip)


def check_guest_address(network: model.Network, address: str) -> None:
    """Refuse an address that a machine cannot have in a network.

    :raises ApiError: 431.
    """
    pool = ipaddress.ip_network(network.cidr) if network.cidr else None
    if pool is None or not _within(address, pool) or address == network.gateway:
        raise errors.invalid(f"The IP address {address} is not within the range of network {network.uuid}")
    if address in network.taken:
        raise errors.invalid(f"The IP address {address} in network {network.uuid} is already allocated")
    edges = (str(pool.network_address), str(pool.broadcast_address))
    if address in edges:
        raise errors.invalid(f"The IP address {address} is reserved in network {network.uuid}")


def free_address(network: model.Network) -> str | None:
    """The lowest free guest address, or None for a network without addressing.

    :raises ApiError: 533 if none is left.
    """
    if network.cidr is None:
        return None
    pool = ipaddress.ip_network(network.cidr)
    start = int(ipaddress.ip_address(network.range_start)) if network.range_start else int(pool.network_address) + 2
    end = int(ipaddress.ip_address(network.range_end)) if network.range_end else int(pool.broadcast_address) - 1
    # A set of taken addresses grows from the bottom, so the search may begin at its size.
    first = start + (len(network.taken) if len(network.taken) > 64 else 0)
    for number in itertools.chain(range(first, end + 1), range(start, first)):
        address = str(ipaddress.IPv4Address(number))
        if address not in network.taken and address != network.gateway:
            return address
    raise errors.ApiError(533, f"Insufficient address capacity in network {network.uuid}", 4320)


def add_nic(
    state: State,
    vm: model.Vm,
    network: model.Network,
    *,
    address: str | None = None,
    mac: str | None = None,
) -> model.Nic:
    """Give a machine an interface in a network; its first one is the default.

    :raises ApiError: 431 for an address it cannot have, 533 if none is left.
    """
    if address is not None:
        check_guest_address(network, address)
    chosen = address or free_address(network)
    devices = {nic.device for nic in vm.nics}
    device = next(index for index in range(len(devices) + 1) if index not in devices)
    nic = state.new(
        model.Nic,
        network=network,
        mac=mac or _new_mac(state),
        address=chosen,
        default=not vm.nics,
        device=device,
        vm=vm,
    )
    vm.nics.append(nic)
    if chosen is not None:
        network.taken[chosen] = nic
    return nic


def _new_mac(state: State) -> str:
    number = state.random.getrandbits(32)
    return ":".join(["02", "01", *(f"{number >> shift & 255:02x}" for shift in (24, 16, 8, 0))])


def remove_nic(state: State, nic: model.Nic) -> None:
    """Take an interface away and free its address."""
    if nic.address is not None:
        nic.network.taken.pop(nic.address, None)
    for address in nic.secondary.values():
        nic.network.taken.pop(address, None)
    nic.vm.nics.remove(nic)
    state.remove(nic)


def unmap(state: State, vm: model.Vm, network: model.Network | None = None) -> None:
    """Drop static NAT and port forwarding to a machine (in one network)."""
    for ip in state.rows(model.PublicIp):
        if ip.static_nat_vm is vm and (network is None or ip.network is network):
            ip.static_nat_vm = ip.static_nat_address = None
    for rule in state.snapshot(model.PortForwardingRule):
        if rule.vm is vm and (network is None or rule.network is network):
            state.remove(rule)
