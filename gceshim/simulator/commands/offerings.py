"""Service, disk, network and VPC offerings."""

from collections.abc import Callable

from gceshim.simulator import entities as model
from gceshim.simulator import errors
from gceshim.simulator.call import Call, prune, wire_date
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Listing, Provenance, Row, command


@command("listServiceOfferings", Provenance.DOCUMENTED, subject=model.ServiceOffering)
def list_service_offerings(call: Call) -> Listing:
    args = call.args
    rows = Rows(call, call.state.rows(model.ServiceOffering)).ids(model.ServiceOffering)
    rows.same("name", lambda row: row.name).like("keyword", lambda row: row.name, lambda row: row.display_text)
    rows.same("state", lambda row: "Active")
    shows_system = bool(args.flag("issystem")) and call.is_root
    rows.where(lambda row: row.system is shows_system)
    _at_least(rows, args.number("cpunumber"), lambda row: row.cpus)
    _at_least(rows, args.number("cpuspeed"), lambda row: row.speed_mhz)
    _at_least(rows, args.number("memory"), lambda row: row.memory_mib)
    machine = args.one("virtualmachineid", model.Vm)
    if machine is not None:
        # The running offering is not among those a machine may change to; a custom one may get other values.
        rows.where(lambda row: row is not machine.offering or row.custom)
    return Listing(rows.found, lambda row: service_offering_row(call, row))


def _at_least(
    rows: Rows[model.ServiceOffering], least: int | None, get: Callable[[model.ServiceOffering], int | None]
) -> None:
    if least is not None:
        rows.where(lambda row: row.custom or (get(row) or 0) >= least)


def service_offering_row(call: Call, offering: model.ServiceOffering) -> Row:
    details = {}
    if offering.limits is not None:
        names = ("mincpunumber", "maxcpunumber", "minmemory", "maxmemory")
        details = {name: str(value) for name, value in zip(names, offering.limits, strict=True)}
    row: Row = {
        "id": offering.uuid,
        "name": offering.name,
        "displaytext": offering.display_text,
        "cpunumber": offering.cpus,
        "cpuspeed": offering.speed_mhz,
        "memory": offering.memory_mib,
        "created": wire_date(offering.created),
        "storagetype": "shared",
        "provisioningtype": "thin",
        "offerha": offering.offer_ha,
        "limitcpuuse": False,
        "isvolatile": False,
        "issystem": offering.system,
        "defaultuse": False,
        "iscustomized": offering.custom,
        "dynamicscalingenabled": offering.dynamic_scaling,
        "diskofferingstrictness": False,
        "encryptroot": False,
        "hasannotations": False,
        "state": "Active",
        "serviceofferingdetails": details or None,
    }
    if call.is_root:
        row["hosttags"] = ""
    return prune(row)


@command("listDiskOfferings", Provenance.DOCUMENTED, subject=model.DiskOffering)
def list_disk_offerings(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.DiskOffering)).ids(model.DiskOffering)
    rows.same("name", lambda row: row.name).like("keyword", lambda row: row.name, lambda row: row.display_text)
    rows.same("state", lambda row: "Active")
    return Listing(rows.found, disk_offering_row)


def disk_offering_row(offering: model.DiskOffering) -> Row:
    return {
        "id": offering.uuid,
        "name": offering.name,
        "displaytext": offering.display_text,
        "disksize": offering.size_gib,
        "iscustomized": offering.custom,
        "iscustomizediops": False,
        "created": wire_date(offering.created),
        "storagetype": "shared",
        "provisioningtype": "thin",
        "displayoffering": True,
        "disksizestrictness": False,
        "encrypt": False,
        "hasannotations": False,
        "state": "Active",
    }


@command("listNetworkOfferings", Provenance.DOCUMENTED, subject=model.NetworkOffering)
def list_network_offerings(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.NetworkOffering)).ids(model.NetworkOffering)
    rows.same("name", lambda row: row.name).like("keyword", lambda row: row.name)
    rows.same("displaytext", lambda row: row.name).same("guestiptype", lambda row: row.guest_type)
    rows.same("state", lambda row: "Enabled" if row.enabled else "Disabled").same(
        "availability", lambda row: row.availability
    )
    rows.flag("forvpc", lambda row: row.for_vpc).flag("isdefault", lambda row: True)
    rows.flag("specifyvlan", lambda row: row.specify_vlan).flag("sourcenatsupported", has_nat)
    rows.flag("specifyipranges", lambda row: row.guest_type == "Shared").flag("istagged", lambda row: False)
    rows.same("traffictype", lambda row: "Guest")
    wanted = {name.casefold() for name in call.args.texts("supportedservices")}
    rows.where(lambda row: wanted <= {name.casefold() for name in row.services})
    if not call.is_root:
        rows.where(lambda row: not row.specify_vlan)
    return Listing(rows.found, network_offering_row)


def has_nat(offering: model.NetworkOffering) -> bool:
    return "SourceNat" in offering.services


def service_rows(services: tuple[str, ...], provider: str) -> list[Row]:
    """The ``service`` array of networks, VPCs and their offerings."""
    return [{"name": name, "provider": [{"name": provider}]} for name in services]


def network_offering_row(offering: model.NetworkOffering) -> Row:
    return {
        "id": offering.uuid,
        "name": offering.name,
        "displaytext": offering.name,
        "guestiptype": offering.guest_type,
        "traffictype": "Guest",
        "availability": offering.availability,
        "state": "Enabled" if offering.enabled else "Disabled",
        "isdefault": True,
        "forvpc": offering.for_vpc,
        "specifyvlan": offering.specify_vlan,
        "specifyipranges": offering.guest_type == "Shared",
        "conservemode": offering.conserve_mode,
        "ispersistent": offering.persistent,
        "egressdefaultpolicy": offering.egress_allow,
        "supportspublicaccess": has_nat(offering),
        "created": wire_date(offering.created),
        "hasannotations": False,
        "networkrate": 200,
        "serviceofferingid": offering.router.uuid,
        "service": service_rows(offering.services, "VpcVirtualRouter" if offering.for_vpc else "VirtualRouter"),
    }


@command("listVPCOfferings", Provenance.DOCUMENTED, subject=model.VpcOffering)
def list_vpc_offerings(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.VpcOffering)).ids(model.VpcOffering)
    rows.like("name", lambda row: row.name).like("displaytext", lambda row: row.name)
    rows.like("keyword", lambda row: row.name).flag("isdefault", lambda row: not row.redundant)
    rows.same("state", lambda row: "Enabled" if row.enabled else "Disabled")
    return Listing(rows.found, vpc_offering_row)


VPC_SERVICES = ("Dhcp", "Dns", "Lb", "NetworkACL", "PortForwarding", "SourceNat", "StaticNat", "UserData", "Vpn")


def vpc_offering_row(offering: model.VpcOffering) -> Row:
    return {
        "id": offering.uuid,
        "name": offering.name,
        "displaytext": offering.name,
        "state": "Enabled" if offering.enabled else "Disabled",
        "isdefault": not offering.redundant,
        "created": wire_date(offering.created),
        "distributedvpcrouter": False,
        "service": service_rows(VPC_SERVICES, "VpcVirtualRouter"),
    }


def check_enabled(offering: model.NetworkOffering | model.VpcOffering) -> None:
    """:raises ApiError: 431 for an offering that is not enabled."""
    if not offering.enabled:
        raise errors.invalid(f"Network offering {offering.uuid} is not in Enabled state")
