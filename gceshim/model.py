"""
The narrow waist: what resources and drivers hand each other, free of GCE's and CloudStack's wire forms.

All objects are frozen. References between objects are names as the GCE side shows them; `backend_id` is the
backend's own identifier, opaque to everything but the driver. Numbers carry their unit in the name; times are
aware datetimes in UTC.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

GIB: Final = 1024**3
DEFAULT_NETWORK: Final = "default"


def stable_id(backend_id: str) -> int:
    """The numeric id shown for a backend object: a stable, non-zero 63-bit hash of its backend id."""
    digest = hashlib.sha256(backend_id.encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 1) or 1


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list. `more`: the backend has at least one further page of the same size."""

    items: Sequence[T]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """A backend key pair. Its repr shows no secret."""

    api_key: str = field(repr=False)
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tenant:
    """
    On whose behalf a call is made: the caller's backend credentials, and the project they act in.

    `subject` names the stored credentials (so that an operation can be resumed with them); `project` is the project
    as the caller wrote it; `owner` identifies the backend account or project itself, is the same however the project
    was written, and is what separates one tenant's records from another's. `project_id` is None for the caller's
    own account.
    """

    subject: str
    credentials: Credentials
    project: str
    owner: str
    project_id: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """Whose credentials these are, as the backend tells."""

    backend_id: str
    name: str
    domain: str
    user: str
    email: str


class QuotaKind(enum.Enum):
    """What a backend limits, of what the API above can show."""

    INSTANCES = "instances"
    VCPUS = "vcpus"
    MEMORY_MIB = "memory_mib"
    ADDRESSES = "addresses"
    DISKS = "disks"
    DISK_GIB = "disk_gib"
    SNAPSHOTS = "snapshots"
    IMAGES = "images"
    NETWORKS = "networks"
    VPCS = "vpcs"


@dataclass(frozen=True, slots=True)
class Quota:
    """One limit of the tenant. `limit` None: unlimited. `usage` None: the backend does not tell."""

    kind: QuotaKind
    limit: int | None
    usage: int | None


@dataclass(frozen=True, slots=True)
class Project:
    """
    A project or the caller's own account (`backend_id` of whichever it is).

    `active` is false for one that is there but cannot be worked in, as its owner or the operator has suspended it.
    """

    id: int
    backend_id: str
    name: str
    description: str = ""
    created: datetime | None = None
    active: bool = True


@dataclass(frozen=True, slots=True)
class Zone:
    id: int
    backend_id: str
    name: str
    region: str
    description: str
    up: bool
    security_groups: bool = False


@dataclass(frozen=True, slots=True)
class Region:
    id: int
    name: str
    description: str
    up: bool
    zones: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MachineType:
    """`custom`: sizes chosen by the caller (`custom-<vcpus>-<MiB>`), on a backend offering that allows it."""

    id: int
    backend_id: str
    name: str
    zone: str
    description: str
    vcpus: int
    memory_mib: int
    created: datetime | None = None
    custom: bool = False


class ImageState(enum.Enum):
    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Image:
    """`project`: the image project that shows it, or the caller's own. Sizes are None where not known yet."""

    id: int
    backend_id: str
    name: str
    project: str
    family: str
    description: str
    state: ImageState
    disk_size_bytes: int | None
    archive_size_bytes: int | None
    created: datetime | None
    architecture: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    own: bool = False


@dataclass(frozen=True, slots=True)
class Subnetwork:
    """
    A range of one network in one region. `cidr` and `gateway` are "" where the backend has not given them.

    `shared`: owned by the operator, several tenants use it, and its addresses are reachable as they are.
    """

    id: int
    backend_id: str
    name: str
    region: str
    network: str
    cidr: str
    gateway: str
    description: str = ""
    created: datetime | None = None
    shared: bool = False


class NetworkKind(enum.Enum):
    """`FLAT`: one range in each of its regions, made by the backend. `VPC`: ranges that the caller chooses."""

    FLAT = "flat"
    VPC = "vpc"


@dataclass(frozen=True, slots=True)
class Network:
    """A network and its ranges in all regions. `cidr` is the supernet of a VPC, else ""."""

    id: int
    name: str
    kind: NetworkKind
    subnetworks: tuple[Subnetwork, ...]
    description: str = ""
    created: datetime | None = None
    mtu: int | None = None


class InstanceState(enum.Enum):
    PROVISIONING = "provisioning"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DELETING = "deleting"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ExternalAccess:
    """The way in from outside to one interface. `address` None: none is assigned (yet)."""

    name: str
    address: str | None
    ephemeral: bool = True


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    name: str
    network: str
    subnetwork: str
    region: str
    address: str | None
    external: ExternalAccess | None = None


@dataclass(frozen=True, slots=True)
class AttachedDisk:
    """`size_bytes` None: not told by this read. `index` is the position, 0 for the boot disk."""

    name: str
    device_name: str
    index: int
    boot: bool
    auto_delete: bool
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """
    A machine. `kept` holds what the API above asked to be kept with it, as it gave it (JSON values).

    `labels` in the order of their keys; `metadata` values are what the caller set, whole.
    """

    id: int
    backend_id: str
    name: str
    zone: str
    state: InstanceState
    machine_type: str
    vcpus: int
    memory_mib: int
    created: datetime | None
    description: str = ""
    hostname: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    network_tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    interfaces: tuple[NetworkInterface, ...] = ()
    disks: tuple[AttachedDisk, ...] = ()
    deletion_protection: bool = False
    kept: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image asked for: `name`, or the newest of `family`, in `project`. Exactly one of the two is not ""."""

    project: str
    name: str = ""
    family: str = ""


@dataclass(frozen=True, slots=True)
class InterfaceSpec:
    """
    One interface asked for; `network` "" and `subnetwork` "" both: the default network.

    `address` "": any free one. `external_name` None: no way in from outside. `external_address` "": an ephemeral one.
    """

    network: str
    subnetwork: str = ""
    region: str = ""
    address: str = ""
    external_name: str | None = None
    external_address: str = ""


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """
    A machine asked for.

    `boot_disk_size_bytes` None: as large as the image. `boot_disk_type` "": the storage that the offering of the
    machine type names. `disks`: those beside the boot disk.
    """

    name: str
    zone: str
    machine_type: str
    image: ImageRef
    interfaces: tuple[InterfaceSpec, ...]
    boot_disk_size_bytes: int | None = None
    boot_device_name: str = ""
    boot_disk_type: str = ""
    boot_disk_auto_delete: bool = True
    disks: tuple[DiskOfInstance, ...] = ()
    description: str = ""
    hostname: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    network_tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    project_metadata: Mapping[str, str] = field(default_factory=dict)
    deletion_protection: bool = False
    kept: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InstanceRef:
    """An instance that was there when a mutation was accepted."""

    name: str
    zone: str
    backend_id: str


@dataclass(frozen=True, slots=True)
class DiskType:
    """A kind of disk. Sizes that may be asked for; `minimum_bytes` equals `maximum_bytes` for a fixed size."""

    id: int
    backend_id: str
    name: str
    zone: str
    description: str
    default_size_bytes: int
    minimum_bytes: int
    maximum_bytes: int
    created: datetime | None = None


class DiskState(enum.Enum):
    CREATING = "creating"
    READY = "ready"
    DELETING = "deleting"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Disk:
    """
    A disk. `users`: the names of the machines that have it. `image`: project and name of what it was made from.

    `type` is "" for a boot disk whose storage the machine type decides. `boot`: made with a machine.
    """

    id: int
    backend_id: str
    name: str
    zone: str
    state: DiskState
    size_bytes: int
    type: str
    created: datetime | None
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    users: tuple[str, ...] = ()
    image: ImageRef | None = None
    image_id: int | None = None
    boot: bool = False
    attached: datetime | None = None


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """A disk asked for. `type` "": the default. `size_bytes` None: the type's own, else the default size."""

    name: str
    zone: str
    type: str = ""
    size_bytes: int | None = None
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DiskRef:
    """A disk that was there when a mutation was accepted."""

    name: str
    zone: str
    backend_id: str


@dataclass(frozen=True, slots=True)
class AttachmentSpec:
    """A disk to be attached. `device_name` "": one is made up, `persistent-disk-<n>`."""

    disk: str
    device_name: str = ""
    auto_delete: bool = False


@dataclass(frozen=True, slots=True)
class DiskOfInstance:
    """One more disk of a machine asked for: an existing one (`attach`), or a new one (`create`); one of the two."""

    auto_delete: bool
    device_name: str = ""
    attach: str = ""
    create: DiskSpec | None = None


class Direction(enum.Enum):
    INGRESS = "ingress"
    EGRESS = "egress"


@dataclass(frozen=True, slots=True)
class Protocol:
    """
    A protocol and ports. `name`: `tcp`, `udp`, `icmp`, `all`, another name, or a number as text, as authored.

    `ports`: inclusive ranges as authored, `22` or `8000-8080`; none: all ports.
    """

    name: str
    ports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Firewall:
    """
    A firewall rule as authored. `priority` 0 (first) to 65535. Ranges are CIDRs; none of them and no source tags: any.

    `allow`: what matches is let through, else dropped. `id` is 0 and `created` None for a rule asked for.
    """

    name: str
    network: str
    direction: Direction
    priority: int
    allow: bool
    protocols: tuple[Protocol, ...]
    source_ranges: tuple[str, ...] = ()
    destination_ranges: tuple[str, ...] = ()
    source_tags: tuple[str, ...] = ()
    target_tags: tuple[str, ...] = ()
    description: str = ""
    disabled: bool = False
    id: int = 0
    created: datetime | None = None


class JobState(enum.Enum):
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """
    A backend job. `result` (DONE): the backend's own JSON, for the driver that submitted it.

    `error` (FAILED): the driver error it stands for, by class name, and its texts.
    """

    id: str
    state: JobState
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    message: str = ""
    detail: str = ""
