"""
The driver interface: small capabilities, each an abstract class of coroutines.

A driver is a subclass of `Driver` named by an entry point of the namespace `gceshim.drivers`. It sets the
capabilities that it has; one that it lacks is not set, and the methods that need it are answered 501 and left out
of the served discovery document. Drivers speak `gceshim.model` and raise `gceshim.drivers.errors`, nothing else.

Reads take a `Tenant`; mutations take `Steps`, which carries the tenant, journals each backend call and waits for
backend jobs, so that a mutation that was cut short can be replayed.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gceshim.drivers.disks import Attachments, Disks
from gceshim.drivers.firewalls import Firewalls
from gceshim.drivers.instances import InstanceSettings
from gceshim.drivers.observing import BackendLoad, Watcher
from gceshim.drivers.steps import Json, Steps, Submitted
from gceshim.model import (
    Account,
    Credentials,
    Image,
    Instance,
    InstanceRef,
    InstanceSpec,
    Job,
    MachineType,
    Network,
    Page,
    Project,
    Quota,
    Region,
    Subnetwork,
    Tenant,
    Zone,
)

__all__ = [
    "Attachments",
    "Catalog",
    "Disks",
    "Driver",
    "Firewalls",
    "Identity",
    "Images",
    "InstanceSettings",
    "Instances",
    "Jobs",
    "Json",
    "Locations",
    "Networks",
    "Projects",
    "Steps",
    "Submitted",
]


class Jobs(abc.ABC):
    """Backend jobs, for the operations engine's poller."""

    @abc.abstractmethod
    async def get(self, tenant: Tenant, job_id: str) -> Job:
        """
        The job as it is now. Quick; may be repeated.

        :raises NotFound: the backend does not know the job (any more).
        :raises Unavailable: no sensible answer; try again later.

        Source: CloudStack `queryAsyncJobResult`.
        """

    @abc.abstractmethod
    async def pending(self, tenant: Tenant) -> frozenset[str] | None:
        """
        The ids of the tenant's jobs that have not ended, or None where the backend cannot tell them cheaply.

        One that is missing costs a `get` and nothing else; one that has ended is waited for while it is among them.
        :raises Unavailable: no sensible answer; try again later.

        Source: CloudStack `listAsyncJobs`.
        """


class Identity(abc.ABC):
    """Who a caller is and in which projects they may act."""

    @abc.abstractmethod
    async def whoami(self, credentials: Credentials) -> Account:
        """
        The account that these credentials belong to.

        :raises Unauthenticated: the backend does not accept them.
        :raises Unavailable: no sensible answer.

        Source: CloudStack `listUsers` / `listAccounts` with the caller's own key.
        """

    @abc.abstractmethod
    async def sign_in(self, username: str, password: str, domain: str) -> Credentials:
        """
        The key pair of the user of this name and password, made anew if they have none.

        Keys that they have stay as they are. The password is sent to the backend once, not again where that fails, and
        is in no error and no log.
        :param domain: where the backend keeps the user, as `research/physics`; empty: where it keeps the first ones.
        :raises Unauthenticated: there is no such user with this password, or they may not sign in.
        :raises Forbidden: they may sign in, but have no use of keys.
        :raises Unsupported: this needs more than a password, as a second factor, or the backend has no passwords.
        :raises Unavailable: no sensible answer.

        Source: CloudStack `login`, `getUserKeys`, `registerUserKeys`, `logout`.
        """

    @abc.abstractmethod
    async def tenant(self, subject: str, credentials: Credentials, project: str) -> Tenant:
        """
        The tenant for `project`, by name or backend id; `default` and the account's own name mean the account.

        Answered from memory for a short time.
        :raises NotFound: no such project, or the caller is no member of it (the two are not told apart).
        :raises Unauthenticated: the backend does not accept the credentials.

        Source: CloudStack `listProjects`, `listAccounts`.
        """


class Projects(abc.ABC):
    """The project itself, as an object."""

    @abc.abstractmethod
    async def get(self, tenant: Tenant) -> Project:
        """The project of the tenant. Source: GCE `compute.projects.get`; CloudStack `listProjects`, `listAccounts`."""

    @abc.abstractmethod
    async def list(self, tenant: Tenant) -> Sequence[Project]:
        """
        Where the tenant's caller may act: their own account, then the projects they are a member of, by name.

        Each name leads back to it through `Identity.tenant`. Asked anew each time; bounded by the driver at 5,000.
        :raises Unavailable: no sensible answer.

        Source: Cloud Resource Manager `projects.list`; CloudStack `listProjects`, `listAccounts`.
        """

    @abc.abstractmethod
    async def quotas(self, tenant: Tenant) -> Sequence[Quota]:
        """
        The tenant's limits and what is used of them.

        Source: GCE `quotas` of projects and regions; CloudStack `*limit` and `*total` of `listAccounts`/`listProjects`.
        """


class Locations(abc.ABC):
    """Regions and zones. Answered from memory for a short time; the lists are short and whole."""

    @abc.abstractmethod
    async def zones(self, tenant: Tenant) -> Sequence[Zone]:
        """All zones, by name. Source: GCE `compute.zones.list`; CloudStack `listZones`."""

    @abc.abstractmethod
    async def zone(self, tenant: Tenant, name: str) -> Zone:
        """
        One zone by its name, its numeric id or the backend's own name for it.

        :raises NotFound: no such zone (`kind` "zone").
        """

    @abc.abstractmethod
    async def regions(self, tenant: Tenant) -> Sequence[Region]:
        """All regions, by name. Source: GCE `compute.regions.list`."""

    @abc.abstractmethod
    async def region(self, tenant: Tenant, name: str) -> Region:
        """
        One region by its name or numeric id.

        :raises NotFound: no such region (`kind` "region").
        """


class Catalog(abc.ABC):
    """Machine types. Answered from memory for a short time."""

    @abc.abstractmethod
    async def machine_types(self, tenant: Tenant, zone: str) -> Sequence[MachineType]:
        """
        What the zone offers, by name, configured aliases included; custom sizes are not listed.

        :raises NotFound: no such zone.

        Source: GCE `compute.machineTypes.list`; CloudStack `listServiceOfferings`.
        """

    @abc.abstractmethod
    async def machine_type(self, tenant: Tenant, zone: str, name: str) -> MachineType:
        """
        One machine type by name (also `custom-<vcpus>-<MiB>` and GCE's predefined names) or numeric id.

        :raises NotFound: no such machine type in the zone (`kind` "machine_type").
        :raises Invalid: custom sizes outside what the backend allows, with the range in the message.

        Source: GCE `compute.machineTypes.get`.
        """


class Images(abc.ABC):
    """Boot images: the tenant's own, and the public ones in the image projects of their systems."""

    @abc.abstractmethod
    def is_public_project(self, project: str) -> bool:
        """Whether the name is one of the public image projects (`debian-cloud`, ...), with images in it or not."""

    @abc.abstractmethod
    async def get(self, tenant: Tenant, project: str, name: str) -> Image:
        """
        One image by name or numeric id; `project` is a public image project or the tenant's own.

        :raises NotFound: no such image (`kind` "image").

        Source: GCE `compute.images.get`; CloudStack `listTemplates`.
        """

    @abc.abstractmethod
    async def newest(self, tenant: Tenant, project: str, family: str) -> Image:
        """
        The newest ready image of a family.

        :raises NotFound: no image of that family (`kind` "image_family").

        Source: GCE `compute.images.getFromFamily`.
        """

    @abc.abstractmethod
    async def list(self, tenant: Tenant, project: str, *, page: int, page_size: int) -> Page[Image]:
        """
        The images of a project, in a stable order.

        :param page: 1-based. :param page_size: 1 to 500.

        Source: GCE `compute.images.list`; CloudStack `listTemplates` (own, featured and community).
        """


class Networks(abc.ABC):
    """Networks and their subnetworks."""

    @abc.abstractmethod
    async def get(self, tenant: Tenant, name: str) -> Network:
        """
        One network by name or numeric id. `default` is always there; it has no range in a region until first used.

        :raises NotFound: no such network (`kind` "network").

        Source: GCE `compute.networks.get`; CloudStack `listNetworks`, `listVPCs`.
        """

    @abc.abstractmethod
    async def list(self, tenant: Tenant) -> Sequence[Network]:
        """All networks of the tenant, by name. Bounded by the tenant's quota, and by the driver at 5,000."""

    @abc.abstractmethod
    async def subnetwork(self, tenant: Tenant, region: str, name: str) -> Subnetwork:
        """
        One subnetwork by name or numeric id.

        :raises NotFound: no such subnetwork (`kind` "subnetwork"), or no such region.

        Source: GCE `compute.subnetworks.get`.
        """

    @abc.abstractmethod
    async def subnetworks(self, tenant: Tenant, region: str | None) -> Sequence[Subnetwork]:
        """The subnetworks of a region, or of all, by name. Source: GCE `compute.subnetworks.list`, `aggregatedList`."""


class Instances(abc.ABC):
    """Machines."""

    @abc.abstractmethod
    async def get(self, tenant: Tenant, zone: str, name: str) -> Instance:
        """
        One instance by name or numeric id.

        :raises NotFound: no such instance (`kind` "instance") or zone (`kind` "zone").

        Source: GCE `compute.instances.get`; CloudStack `listVirtualMachines`, `listVolumes`.
        """

    @abc.abstractmethod
    async def list(
        self,
        tenant: Tenant,
        zone: str | None,
        *,
        page: int,
        page_size: int,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Page[Instance]:
        """
        The instances of one zone, or of all, in the order of their making.

        :param name: only the instances of exactly this name. :param labels: only those that have all of these, as far
            as the backend can tell them from others; more may be among them.
        :param page: 1-based. :param page_size: 1 to 500. :raises NotFound: no such zone.

        Source: GCE `compute.instances.list`, `aggregatedList`; CloudStack `listVirtualMachines`.
        """

    @abc.abstractmethod
    async def check(self, tenant: Tenant, spec: InstanceSpec) -> None:
        """
        Tell what can be told before anything is made. Reads only; quick.

        :raises AlreadyExists: the tenant has an instance of this name in the zone.
        :raises NotFound: zone, machine type, image or network is not there; `kind`, `name` and `field` say which.
        :raises Invalid: a value that the backend cannot take, `field` says which.
        """

    @abc.abstractmethod
    async def create(self, steps: Steps, spec: InstanceSpec) -> Instance:
        """
        Make and start an instance and return it once the backend reports it running.

        Seconds to minutes. Replayable. What was made on the way is removed again when a later step fails; what
        could not be removed is named in the error.
        :raises AlreadyExists, NotFound, Invalid: as `check`, if things changed since.
        :raises QuotaExceeded: the tenant's limits. :raises CapacityExhausted: no host, storage or address is free.
        :raises Unavailable: no sensible answer from the backend.

        Source: GCE `compute.instances.insert`; CloudStack `deployVirtualMachine`, `createTags`,
        `associateIpAddress`, `enableStaticNat`.
        """

    @abc.abstractmethod
    async def delete(self, steps: Steps, instance: InstanceRef) -> None:
        """
        Stop and remove the instance, its boot disk and its ephemeral addresses; an absent one is a success.

        :raises InUse: deletion protection is on.

        Source: GCE `compute.instances.delete`; CloudStack `destroyVirtualMachine` with expunge,
        `disassociateIpAddress`.
        """

    @abc.abstractmethod
    async def start(self, steps: Steps, instance: InstanceRef) -> None:
        """
        Start it; a running one is left as it is.

        :raises CapacityExhausted: no host has room. Source: GCE `compute.instances.start`; CloudStack
        `startVirtualMachine`.
        """

    @abc.abstractmethod
    async def stop(self, steps: Steps, instance: InstanceRef) -> None:
        """Stop it; a stopped one is left as it is. Source: GCE `compute.instances.stop`; `stopVirtualMachine`."""

    @abc.abstractmethod
    async def reset(self, steps: Steps, instance: InstanceRef) -> None:
        """
        Restart it hard.

        :raises NotReady: it is not running. Source: GCE `compute.instances.reset`; CloudStack `rebootVirtualMachine`.
        """


class Driver(abc.ABC):
    """
    A way to a backend. Built once per server from its own settings; closed when the server stops.

    A capability that it lacks is an attribute that is not set; which it has is known before any call. `jobs` and
    `identity` every driver has.
    """

    CAPABILITIES: ClassVar[tuple[str, ...]] = (
        "jobs",
        "identity",
        "projects",
        "locations",
        "catalog",
        "images",
        "networks",
        "instances",
        "instance_settings",
        "disks",
        "attachments",
        "firewalls",
    )

    jobs: Jobs
    identity: Identity
    projects: Projects
    locations: Locations
    catalog: Catalog
    images: Images
    networks: Networks
    instances: Instances
    instance_settings: InstanceSettings
    disks: Disks
    attachments: Attachments
    firewalls: Firewalls

    @classmethod
    @abc.abstractmethod
    def create(cls, settings: Mapping[str, Any]) -> Driver:
        """
        Build the driver; no backend is called.

        :param settings: the driver's own table of the settings file (`[driver.<name>]`), as read from TOML.
        :raises ValueError: a setting that is unknown, of the wrong type or out of bounds; the message names it.
        """

    @abc.abstractmethod
    async def close(self) -> None:
        """Give back threads and connections. The driver is not used after."""

    def watch(self, seen: Watcher) -> None:
        """
        Tell `seen` of each call to the backend from now on, on the event loop, once it has ended.

        To be implemented by a driver whose calls are to be seen in the metrics; this does nothing.
        """
        return

    @property
    def load(self) -> BackendLoad:
        """What is under way to the backend; nothing, where a driver does not tell."""
        return BackendLoad()

    def capabilities(self) -> frozenset[str]:
        """The names of the capabilities that this driver has."""
        return frozenset(name for name in self.CAPABILITIES if getattr(self, name, None) is not None)
