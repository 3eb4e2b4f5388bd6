"""The body of instances.insert, read into what the driver is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gceshim.model import GIB, ImageRef, InstanceSpec, InterfaceSpec
from gceshim.protocol.errors import Invalid, Required, invalid_value
from gceshim.resources import checks
from gceshim.resources.call import Call

KEPT: Final = (
    "canIpForward",
    "displayDevice",
    "keyRevocationActionType",
    "reservationAffinity",
    "scheduling",
    "serviceAccounts",
    "shieldedInstanceConfig",
)
"""Kept with the machine and echoed: they say nothing that CloudStack could act on, and clients compare them."""

_NOT_HERE: Final = "Not supported by this server."
_NO_IPV6: Final = "Only IPv4 is supported."
_NO_KEYS: Final = "Encryption keys of the caller's own are not supported."
_BOOT_DISK_ONLY: Final = "Not supported for a boot disk."

REFUSED: Final[Mapping[str, str]] = {
    "advancedMachineFeatures": _NOT_HERE,
    "confidentialInstanceConfig": _NOT_HERE,
    "disks[].diskEncryptionKey": _NO_KEYS,
    "disks[].forceAttach": _NOT_HERE,
    "disks[].guestOsFeatures": _NOT_HERE,
    "disks[].initializeParams.architecture": _BOOT_DISK_ONLY,
    "disks[].initializeParams.description": _BOOT_DISK_ONLY,
    "disks[].initializeParams.enableConfidentialCompute": _NOT_HERE,
    "disks[].initializeParams.labels": _BOOT_DISK_ONLY,
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
    "disks[].source": "Machines are made from images; existing disks are not supported yet.",
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
    "disks[].initializeParams.diskType": "The boot disk lies on the storage that the machine type's offering names.",
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
            raise Required(f"Required field 'resource.{name}' not specified")
    disk = _boot_disk(body)
    return InstanceSpec(
        name=body["name"],
        zone=call.zone,
        machine_type=_machine_type(call, body["machineType"]),
        image=_image(call, disk),
        interfaces=_interfaces(call, body.get("networkInterfaces", ())),
        boot_disk_size_bytes=_disk_size_bytes(disk),
        boot_device_name=disk.get("deviceName", ""),
        description=checks.description(body.get("description", "")),
        hostname=checks.hostname(body.get("hostname", "")),
        labels=checks.labels(body.get("labels", {})),
        network_tags=checks.network_tags(body.get("tags", {}).get("items", ())),
        metadata=checks.metadata(body.get("metadata", {})),
        project_metadata=project_metadata,
        deletion_protection=body.get("deletionProtection", False),
        kept={name: body[name] for name in KEPT if name in body},
    )


def _boot_disk(body: Mapping[str, Any]) -> Mapping[str, Any]:
    disks: Sequence[Mapping[str, Any]] = body.get("disks", ())
    if not disks:
        raise Required("Required field 'resource.disks' not specified")
    if len(disks) > 1:
        raise Invalid(invalid_value("resource.disks[1]", "", "More disks than the boot disk are not supported yet."))
    disk = disks[0]
    expected = {"boot": True, "autoDelete": True, "mode": "READ_WRITE", "type": "PERSISTENT"}
    for name, value in expected.items():
        if disk.get(name, value) != value:
            why = f"A boot disk is made and removed with its machine: only '{value}' is supported."
            raise Invalid(invalid_value(f"resource.disks[0].{name}", disk[name], why))
    disk_name = disk.get("initializeParams", {}).get("diskName", body["name"])
    if disk_name != body["name"]:
        why = "A boot disk carries the name of its machine."
        raise Invalid(invalid_value("resource.disks[0].initializeParams.diskName", disk_name, why))
    return disk


def _image(call: Call, disk: Mapping[str, Any]) -> ImageRef:
    field = "disks[0].initializeParams.sourceImage"
    text = disk.get("initializeParams", {}).get("sourceImage", "")
    if not text:
        raise Required(f"Required field 'resource.{field}' not specified")
    found = call.reference("images", text, field)
    project = found.project or call.wire.project
    return ImageRef(project, family=found.name) if found.family else ImageRef(project, name=found.name)


def _disk_size_bytes(disk: Mapping[str, Any]) -> int | None:
    sizes = [size for size in (disk.get("diskSizeGb"), disk.get("initializeParams", {}).get("diskSizeGb")) if size]
    if not sizes:
        return None
    if not 1 <= int(sizes[-1]) <= 65_536:
        why = "Must be between 1 and 65536 GB."
        raise Invalid(invalid_value("resource.disks[0].initializeParams.diskSizeGb", sizes[-1], why))
    return int(sizes[-1]) * GIB


def _machine_type(call: Call, text: str) -> str:
    found = call.reference("machineTypes", text, "machineType")
    if found.scope and found.scope not in (call.zone, call.wire.zone):
        why = f"The machine type is in zone '{found.scope}', the instance in zone '{call.zone}'."
        raise Invalid(invalid_value("resource.machineType", text, why))
    return found.name


def _interfaces(call: Call, items: Sequence[Mapping[str, Any]]) -> tuple[InterfaceSpec, ...]:
    if not items:
        raise Required("Required field 'resource.networkInterfaces' not specified")
    return tuple(_interface(call, item, f"networkInterfaces[{index}]") for index, item in enumerate(items))


def _interface(call: Call, item: Mapping[str, Any], field: str) -> InterfaceSpec:
    network = subnetwork = region = ""
    if item.get("network"):
        network = call.reference("networks", item["network"], f"{field}.network").name
    if item.get("subnetwork"):
        reference = call.reference("subnetworks", item["subnetwork"], f"{field}.subnetwork")
        subnetwork, region = reference.name, reference.scope or ""
    if item.get("stackType", "IPV4_ONLY") != "IPV4_ONLY":
        raise Invalid(invalid_value(f"resource.{field}.stackType", item["stackType"], _NO_IPV6))
    return InterfaceSpec(
        network=network,
        subnetwork=subnetwork,
        region=region,
        address=item.get("networkIP", ""),
        external_name=_external_name(item.get("accessConfigs", ()), f"resource.{field}.accessConfigs"),
    )


def _external_name(configs: Sequence[Mapping[str, Any]], field: str) -> str | None:
    if not configs:
        return None
    if len(configs) > 1:
        raise Invalid(invalid_value(field, f"{len(configs)} items", "At most one access config is supported."))
    if configs[0].get("type", "ONE_TO_ONE_NAT") != "ONE_TO_ONE_NAT":
        raise Invalid(invalid_value(f"{field}[0].type", configs[0]["type"], "Only ONE_TO_ONE_NAT is supported."))
    name: str = configs[0].get("name", "") or "External NAT"
    return name
