"""The body of instances.insert, read into what the driver is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gceshim.model import InstanceSpec, InterfaceSpec
from gceshim.protocol.errors import Invalid, invalid_value
from gceshim.resources import checks
from gceshim.resources.call import Call
from gceshim.resources.instance_disks import boot_disk, data_disk, disk_type, size_bytes, source_image

KEPT: Final = (
    "canIpForward",
    "displayDevice",
    "keyRevocationActionType",
    "reservationAffinity",
    "scheduling",
    "serviceAccounts",
    "shieldedInstanceConfig",
)
"""
Kept with the machine and echoed: they say nothing that CloudStack could act on, and clients compare them.

That a machine may be preempted is a leave that CloudStack never takes.
"""

_MOST_DISKS: Final = 128
_MOST_INTERFACES: Final = 10
_NOT_HERE: Final = "Not supported by this server."
_NO_IPV6: Final = "Only IPv4 is supported."
_NO_KEYS: Final = "Encryption keys of the caller's own are not supported."

REFUSED: Final[Mapping[str, str]] = {
    "advancedMachineFeatures": _NOT_HERE,
    "confidentialInstanceConfig": _NOT_HERE,
    "disks[].diskEncryptionKey": _NO_KEYS,
    "disks[].forceAttach": _NOT_HERE,
    "disks[].guestOsFeatures": _NOT_HERE,
    "disks[].initializeParams.architecture": _NOT_HERE,
    "disks[].initializeParams.enableConfidentialCompute": _NOT_HERE,
    "disks[].initializeParams.licenses": _NOT_HERE,
    "disks[].initializeParams.onUpdateAction": _NOT_HERE,
    "disks[].initializeParams.provisionedIops": _NOT_HERE,
    "disks[].initializeParams.provisionedThroughput": _NOT_HERE,
    "disks[].initializeParams.replicaZones": _NOT_HERE,
    "disks[].initializeParams.resourceManagerTags": _NOT_HERE,
    "disks[].initializeParams.resourcePolicies": _NOT_HERE,
    "disks[].initializeParams.sourceImageEncryptionKey": _NO_KEYS,
    "disks[].initializeParams.sourceSnapshot": "Machines are made from images; snapshots are not supported yet.",
    "disks[].initializeParams.sourceSnapshotEncryptionKey": _NO_KEYS,
    "disks[].initializeParams.storagePool": _NOT_HERE,
    "guestAccelerators": _NOT_HERE,
    "instanceEncryptionKey": _NO_KEYS,
    "localSsdEncryptionMode": _NOT_HERE,
    "networkInterfaces[].accessConfigs[].externalIpv6": _NO_IPV6,
    "networkInterfaces[].accessConfigs[].externalIpv6PrefixLength": _NO_IPV6,
    "networkInterfaces[].accessConfigs[].ipCollection": _NOT_HERE,
    "networkInterfaces[].accessConfigs[].natIP": "Reserved addresses are not supported yet; leave natIP out.",
    "networkInterfaces[].accessConfigs[].publicPtrDomainName": _NOT_HERE,
    "networkInterfaces[].accessConfigs[].securityPolicy": _NOT_HERE,
    "networkInterfaces[].accessConfigs[].setPublicPtr": _NOT_HERE,
    "networkInterfaces[].aliasIpRanges": _NOT_HERE,
    "networkInterfaces[].aliasIpv6Ranges": _NO_IPV6,
    "networkInterfaces[].enableVpcScopedDns": _NOT_HERE,
    "networkInterfaces[].igmpQuery": _NOT_HERE,
    "networkInterfaces[].internalIpv6PrefixLength": _NO_IPV6,
    "networkInterfaces[].ipv6AccessConfigs": _NO_IPV6,
    "networkInterfaces[].ipv6Address": _NO_IPV6,
    "networkInterfaces[].networkAttachment": _NOT_HERE,
    "networkInterfaces[].parentNicName": _NOT_HERE,
    "networkInterfaces[].serviceClassId": _NOT_HERE,
    "networkInterfaces[].vlan": _NOT_HERE,
    "networkPerformanceConfig": _NOT_HERE,
    "params": _NOT_HERE,
    "privateIpv6GoogleAccess": _NO_IPV6,
    "resourcePolicies": "Resource policies are not supported yet.",
    "shieldedInstanceIntegrityPolicy": _NOT_HERE,
    "sourceMachineImage": "Machine images are not supported.",
    "sourceMachineImageEncryptionKey": _NO_KEYS,
    "startRestricted": _NOT_HERE,
    "workloadIdentityConfig": _NOT_HERE,
}

OVERRIDDEN: Final[Mapping[str, str]] = {
    "disks[].interface": "The image decides the disk's interface.",
    "minCpuPlatform": "The hosts decide the processor.",
    "networkInterfaces[].accessConfigs[].networkTier": "There is one network tier.",
    "networkInterfaces[].nicType": "The image decides the interface's type.",
    "networkInterfaces[].queueCount": "The hypervisor decides the number of queues.",
}

COMPUTED: Final = (
    "cpuPlatform",
    "creationTimestamp",
    "disks[].architecture",
    "disks[].index",
    "disks[].kind",
    "disks[].licenses",
    "disks[].savedState",
    "disks[].shieldedInstanceInitialState",
    "fingerprint",
    "id",
    "kind",
    "labelFingerprint",
    "lastStartTimestamp",
    "lastStopTimestamp",
    "lastSuspendedTimestamp",
    "metadata.fingerprint",
    "metadata.kind",
    "networkInterfaces[].accessConfigs[].kind",
    "networkInterfaces[].fingerprint",
    "networkInterfaces[].ipv6AccessType",
    "networkInterfaces[].kind",
    "networkInterfaces[].name",
    "resourceStatus",
    "satisfiesPzi",
    "satisfiesPzs",
    "selfLink",
    "status",
    "statusMessage",
    "tags.fingerprint",
    "zone",
)
"""Set by the server; clients that send back what they have read may send them, and they mean nothing."""

FIELDS: Final[Mapping[str, str]] = {
    "boot_disk_size_bytes": "disks[0].initializeParams.diskSizeGb",
    "boot_disk_type": "disks[0].initializeParams.diskType",
    # The body's first disk is the boot disk, which the spec does not count.
    "disks[].attach": "disks[+1].source",
    "disks[].create.labels": "disks[+1].initializeParams.labels",
    "disks[].create.name": "disks[+1].initializeParams.diskName",
    "disks[].create.size_bytes": "disks[+1].initializeParams.diskSizeGb",
    "disks[].create.type": "disks[+1].initializeParams.diskType",
    "disks[].device_name": "disks[+1].deviceName",
    "hostname": "hostname",
    "image": "disks[0].initializeParams.sourceImage",
    "interfaces[].address": "networkInterfaces[].networkIP",
    "interfaces[].external_name": "networkInterfaces[].accessConfigs",
    "interfaces[].network": "networkInterfaces[].network",
    "interfaces[].subnetwork": "networkInterfaces[].subnetwork",
    "labels": "labels",
    "machine_type": "machineType",
    "metadata": "metadata",
    "name": "name",
    "network_tags": "tags.items",
}


def from_gce(call: Call, project_metadata: Mapping[str, str]) -> InstanceSpec:
    """
    What is asked for.

    :raises Invalid, Required: what is missing or makes no sense; the field is named.
    """
    body = call.body
    for name in ("name", "machineType"):
        if not body.get(name):
            raise call.missing(name)
    disks = _at_most(call, "disks", _MOST_DISKS)
    boot = boot_disk(call, disks)
    return InstanceSpec(
        name=body["name"],
        zone=call.zone,
        machine_type=machine_type(call, body["machineType"]),
        image=source_image(call, boot),
        interfaces=_interfaces(call, _at_most(call, "networkInterfaces", _MOST_INTERFACES)),
        boot_disk_size_bytes=size_bytes(call, boot, "disks[0]"),
        boot_disk_type=disk_type(call, boot, "disks[0]"),
        boot_device_name=boot.get("deviceName", ""),
        boot_disk_auto_delete=boot.get("autoDelete", False),
        disks=tuple(data_disk(call, disk, index, body["name"]) for index, disk in enumerate(disks) if index),
        description=checks.description(body.get("description", ""), call.field("description")),
        hostname=checks.hostname(body.get("hostname", ""), call.field("hostname")),
        labels=checks.labels(body.get("labels", {}), call.field("labels")),
        network_tags=checks.network_tags(body.get("tags", {}).get("items", ()), call.field("tags.items")),
        metadata=checks.metadata(body.get("metadata", {}), call.field("metadata")),
        project_metadata=project_metadata,
        deletion_protection=body.get("deletionProtection", False),
        kept={name: body[name] for name in KEPT if name in body},
    )


def _at_most(call: Call, field: str, most: int) -> Sequence[Mapping[str, Any]]:
    """Each is looked up in CloudStack before the request is answered. Source: GCE's limits of a machine."""
    items: Sequence[Mapping[str, Any]] = call.body.get(field, ())
    if len(items) > most:
        raise Invalid(invalid_value(call.field(field), f"{len(items)} items", f"At most {most} are allowed."))
    return items


def machine_type(call: Call, text: str) -> str:
    """The name of the machine type that a field refers to. :raises Invalid: no reference, or to another zone."""
    return call.zonal_name("machineTypes", text, "machineType")


def _interfaces(call: Call, items: Sequence[Mapping[str, Any]]) -> tuple[InterfaceSpec, ...]:
    if not items:
        raise call.missing("networkInterfaces")
    return tuple(_interface(call, item, f"networkInterfaces[{index}]") for index, item in enumerate(items))


def _interface(call: Call, item: Mapping[str, Any], field: str) -> InterfaceSpec:
    network = subnetwork = region = ""
    if item.get("network"):
        network = call.own("networks", item["network"], f"{field}.network").name
    if item.get("subnetwork"):
        reference = call.own("subnetworks", item["subnetwork"], f"{field}.subnetwork")
        subnetwork, region = reference.name, reference.scope or ""
    if (item.get("stackType") or "IPV4_ONLY") != "IPV4_ONLY":
        raise Invalid(invalid_value(call.field(f"{field}.stackType"), item["stackType"], _NO_IPV6))
    return InterfaceSpec(
        network=network,
        subnetwork=subnetwork,
        region=region,
        address=item.get("networkIP", ""),
        external_name=_external_name(item.get("accessConfigs", ()), call.field(f"{field}.accessConfigs")),
    )


def _external_name(configs: Sequence[Mapping[str, Any]], field: str) -> str | None:
    if not configs:
        return None
    if len(configs) > 1:
        raise Invalid(invalid_value(field, f"{len(configs)} items", "At most one access config is supported."))
    if (configs[0].get("type") or "ONE_TO_ONE_NAT") != "ONE_TO_ONE_NAT":
        raise Invalid(invalid_value(f"{field}[0].type", configs[0]["type"], "Only ONE_TO_ONE_NAT is supported."))
    name: str = configs[0].get("name", "") or "External NAT"
    return name
