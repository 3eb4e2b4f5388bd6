"""Zones, hosts, hypervisors, regions and operating systems."""

from typing import cast

from gceshim.simulator import entities as model
from gceshim.simulator import errors
from gceshim.simulator.call import Call, prune, wire_date
from gceshim.simulator.commands.tag_rows import tag_rows
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Listing, Provenance, Row, command

HYPERVISORS = ("KVM",)


@command("listZones", Provenance.DOCUMENTED, subject=model.Zone)
def list_zones(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.Zone)).ids(model.Zone)
    rows.same("name", lambda zone: zone.name).like("keyword", lambda zone: zone.name)
    rows.same("networktype", lambda zone: "Advanced").tags()
    if not call.caller.is_root or call.args.flag("available"):
        rows.where(lambda zone: zone.enabled)
    return Listing(rows.found, lambda zone: zone_row(call, zone))


def zone_row(call: Call, zone: model.Zone) -> Row:
    row: Row = {
        "id": zone.uuid,
        "name": zone.name,
        "description": zone.name,
        "networktype": "Advanced",
        "securitygroupsenabled": zone.security_groups,
        "allocationstate": "Enabled" if zone.enabled else "Disabled",
        "localstorageenabled": False,
        "dhcpprovider": "VirtualRouter",
        "zonetoken": zone.uuid.replace("-", ""),
        "guestcidraddress": None if zone.security_groups else zone.guest_cidr,
        "type": "Core",
        "ismultiarch": False,
        "hasannotations": False,
        "tags": tag_rows(call, zone),
    }
    if call.is_root:
        row.update(dns1="192.168.100.2", internaldns1="192.168.100.2")
    return prune(row)


@command("listHosts", Provenance.DOCUMENTED, subject=model.Host, admin_only=True)
def list_hosts(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.Host)).ids(model.Host)
    rows.same("name", lambda host: host.name).like("keyword", lambda host: host.name)
    rows.same("zoneid", lambda host: host.zone).same("type", lambda host: "Routing")
    rows.same("state", lambda host: "Up").same("resourcestate", lambda host: "Enabled")
    rows.same("hypervisor", lambda host: "KVM")
    machine = call.args.one("virtualmachineid", model.Vm)
    if machine is not None:
        rows.where(lambda host: host.zone is machine.zone)
    return Listing(rows.found, host_row)


def host_row(host: model.Host) -> Row:
    return {
        "id": host.uuid,
        "name": host.name,
        "state": "Up",
        "resourcestate": "Enabled",
        "type": "Routing",
        "hypervisor": "KVM",
        "zoneid": host.zone.uuid,
        "zonename": host.zone.name,
        "cpunumber": 32,
        "cpuspeed": 2600,
        "memorytotal": 274877906944,
        "created": wire_date(host.created),
    }


@command("listHypervisors", Provenance.DOCUMENTED)
def list_hypervisors(call: Call) -> Listing:
    return Listing(HYPERVISORS, lambda name: {"name": name})


@command("listRegions", Provenance.RECORDED)
def list_regions(call: Call) -> Listing:
    row = {
        "id": 1,
        "name": "Local",
        "endpoint": "http://localhost:8080/client/",
        "gslbserviceenabled": True,
        "portableipserviceenabled": False,
    }
    name, number = call.args.text("name"), call.args.number("id")
    keyword = (call.args.text("keyword") or "").casefold()
    matches = number in (None, 1) and (name or "local").casefold() == "local" and keyword in "local"
    return Listing([row] if matches else [], lambda item: cast(Row, item))


@command("listOsTypes", Provenance.DOCUMENTED, subject=model.OsType)
def list_os_types(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.OsType)).ids(model.OsType)
    rows.same("description", lambda kind: kind.description).same("oscategoryid", lambda kind: kind.category)
    rows.like("keyword", lambda kind: kind.description)
    return Listing(rows.found, os_type_row)


def os_type_row(kind: model.OsType) -> Row:
    return {
        "id": kind.uuid,
        "description": kind.description,
        "name": kind.description,
        "oscategoryid": kind.category.uuid,
        "oscategoryname": kind.category.name,
        "isuserdefined": False,
    }


@command("listOsCategories", Provenance.DOCUMENTED, subject=model.OsCategory)
def list_os_categories(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.OsCategory)).ids(model.OsCategory)
    rows.same("name", lambda item: item.name).like("keyword", lambda item: item.name)
    return Listing(rows.found, lambda item: {"id": item.uuid, "name": item.name})


def check_hypervisor(name: str | None) -> None:
    """Refuse a hypervisor that CloudStack does not have.

    :raises ApiError: 431.
    """
    if name is not None and name.casefold() not in {item.casefold() for item in HYPERVISORS}:
        raise errors.invalid(f"Unable to find hypervisor: {name}")
