"""Virtual machines as instances: pure conversions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gceshim.drivers.cloudstack.attached import attached_disks, devices
from gceshim.drivers.cloudstack.catalog import Offering, name_of
from gceshim.drivers.cloudstack.layout import Layout
from gceshim.drivers.cloudstack.names import slug
from gceshim.drivers.cloudstack.predefined import custom_name
from gceshim.drivers.cloudstack.rows import Row, flag, number, rows, tags, text, time
from gceshim.drivers.cloudstack.tags import decode
from gceshim.model import ExternalAccess, Instance, InstanceState, NetworkInterface, Zone, stable_id

log = logging.getLogger(__name__)

#: The key among a machine's details that names the operation which made it.
OPERATION_DETAIL: Final = "gceoperation"

STATES: Final[Mapping[str, InstanceState]] = {
    "Starting": InstanceState.STARTING,
    "Running": InstanceState.RUNNING,
    "Migrating": InstanceState.RUNNING,
    "Stopping": InstanceState.STOPPING,
    "Stopped": InstanceState.STOPPED,
    "Shutdown": InstanceState.STOPPED,
    "Restoring": InstanceState.STOPPED,
    "Destroyed": InstanceState.DELETING,
    "Expunging": InstanceState.DELETING,
    "Error": InstanceState.FAILED,
    "Unknown": InstanceState.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What a machine's row refers to by id.

    `disk_names`: the names of data disks. `boot_names`: those of boot disks that have not their machine's, by the
    machine's id.
    """

    zones: Mapping[str, Zone]
    offerings: Mapping[str, Sequence[Offering]]
    aliases: Mapping[str, str]
    layout: Layout
    disk_names: Mapping[str, str] = field(default_factory=dict)
    boot_names: Mapping[str, str] = field(default_factory=dict)


def instance_of(row: Row, name: str, volumes: Sequence[Row], around: Surroundings) -> Instance:
    """
    A row of `listVirtualMachines` (with its NICs and offering) as an instance.

    :param name: as it is shown. :param volumes: rows of `listVolumes`, of any machine; the root may be missing.
    """
    backend_id, zone_id = text(row, "id"), text(row, "zoneid")
    labels, reserved = decode(tags(row))
    vcpus, memory_mib = number(row, "cpunumber") or 0, number(row, "memory") or 0
    zone = around.zones.get(zone_id)
    kept = reserved.get("kept")
    metadata = reserved.get("metadata")
    network_tags = reserved.get("tags")
    return Instance(
        id=stable_id(backend_id),
        backend_id=backend_id,
        name=name,
        zone=zone.name if zone else slug(text(row, "zonename")),
        state=state_of(row),
        machine_type=_machine_type(row, reserved, around, vcpus, memory_mib),
        vcpus=vcpus,
        memory_mib=memory_mib,
        created=time(row, "created"),
        description=_text(reserved, "description"),
        hostname=_text(reserved, "hostname"),
        labels=labels,
        network_tags=tuple(str(item) for item in network_tags) if isinstance(network_tags, list) else (),
        metadata={key: str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {},
        interfaces=tuple(_interfaces(row, reserved, around)),
        disks=attached_disks(
            devices(backend_id, made_by(row), reserved, volumes),
            around.boot_names.get(backend_id, name),
            around.disk_names,
        ),
        deletion_protection=_protected(row, reserved),
        kept=kept if isinstance(kept, dict) else {},
    )


def state_of(row: Row) -> InstanceState:
    """The state; total. One that is not known is logged."""
    word = text(row, "state")
    if word == "Stopped" and number(row, "jobstatus") == 0 and row.get("jobid"):
        made = OPERATION_DETAIL in _details(row) and not row.get("tags")
        return InstanceState.PROVISIONING if made else InstanceState.STARTING
    if word not in STATES:
        log.warning("unknown state %r of virtual machine %s", word[:40], text(row, "id"))
    return STATES.get(word, InstanceState.UNKNOWN)


def is_protected(row: Row) -> bool:
    """Whether deletion protection is on, in CloudStack or, where that has none, by our mark."""
    return _protected(row, decode(tags(row))[1])


def made_by(row: Row) -> str:
    """The operation that made the machine, or ""."""
    return text(_details(row), OPERATION_DETAIL)


def by_machine(volumes: Sequence[Row]) -> Mapping[str, Sequence[Row]]:
    """Volume rows by the id of the machine they are attached to."""
    found: dict[str, list[Row]] = {}
    for volume in volumes:
        found.setdefault(text(volume, "virtualmachineid"), []).append(volume)
    return found


def network_ids(row: Row) -> set[str]:
    """The CloudStack networks of the machine's interfaces."""
    return {text(nic, "networkid") for nic in rows(row, "nic")}


def external_of(index: int, nic: Row, row: Row, kept: Mapping[str, Any]) -> ExternalAccess | None:
    """
    The way in to one interface.

    :param kept: what was noted when it was set up: `name`, `ephemeral`, `shared` (the interface's own address is
        reachable), `id` and `address` of the public address. Empty: nothing was.
    """
    public = text(row, "publicip")
    if not kept:
        # Static NAT that was set up in CloudStack itself.
        return ExternalAccess("External NAT", public, ephemeral=False) if public and index == 0 else None
    address: str | None
    if kept.get("shared"):
        address = text(nic, "ipaddress") or None
    elif not public or kept.get("id") in (None, text(row, "publicipid")):
        address = public or None
    else:  # the row tells of one public address only, and this interface has another
        address = str(kept.get("address") or "") or None
    return ExternalAccess(str(kept.get("name") or ""), address, ephemeral=bool(kept.get("ephemeral", True)))


def _protected(row: Row, reserved: Row) -> bool:
    return flag(row, "deleteprotection") or reserved.get("deletion-protection") is True


def _machine_type(row: Row, reserved: Row, around: Surroundings, vcpus: int, memory_mib: int) -> str:
    offerings = around.offerings.get(text(row, "zoneid"), ())
    offering_id = text(row, "serviceofferingid")
    asked = _text(reserved, "machine-type")
    found = name_of(offerings, around.aliases, asked, backend_id=offering_id, vcpus=vcpus, memory_mib=memory_mib)
    if found:
        return found
    own = text(row, "serviceofferingname")
    return slug(own) if own else custom_name(vcpus, memory_mib)


def _interfaces(row: Row, reserved: Row, around: Surroundings) -> list[NetworkInterface]:
    external = reserved.get("external")
    external = external if isinstance(external, dict) else {}
    zone = around.zones.get(text(row, "zoneid"))
    found = []
    nics = rows(row, "nic")
    if len(nics) > 1:
        nics.sort(key=lambda nic: (not flag(nic, "isdefault"), number(nic, "deviceid") or 0))
    for index, nic in enumerate(nics):
        place = around.layout.places.get(text(nic, "networkid"))
        own = "" if place else slug(text(nic, "networkname"))
        kept = external.get(str(index))
        found.append(
            NetworkInterface(
                name=f"nic{index}",
                network=place.network if place else own,
                subnetwork=place.subnetwork.name if place else own,
                region=place.subnetwork.region if place else (zone.region if zone else ""),
                address=text(nic, "ipaddress") or None,
                external=external_of(index, nic, row, kept if isinstance(kept, dict) else {}),
            )
        )
    return found


def _details(row: Row) -> Row:
    details = row.get("details")
    return details if isinstance(details, dict) else {}


def _text(values: Row, key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""
