"""Which collections there are, and the table of methods that a driver's capabilities make possible."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gceshim.protocol.call import Call
from gceshim.resources.attachments import Attachments
from gceshim.resources.base import Body, Collection, Services
from gceshim.resources.disk_types import DiskTypes
from gceshim.resources.disks import Disks
from gceshim.resources.firewalls import Firewalls
from gceshim.resources.images import ImageFamilyViews, Images
from gceshim.resources.instance_bulk import InstanceBulk
from gceshim.resources.instance_referrers import InstanceReferrers
from gceshim.resources.instance_refusals import InstanceRefusals
from gceshim.resources.instance_settings import InstanceSettings
from gceshim.resources.instance_update import InstanceUpdate
from gceshim.resources.instances import Instances
from gceshim.resources.machine_types import MachineTypes
from gceshim.resources.networks import Networks
from gceshim.resources.operations import GlobalOperations, RegionOperations, ZoneOperations
from gceshim.resources.permissions import DiskPermissions, FirewallPermissions, InstancePermissions
from gceshim.resources.projects import Projects
from gceshim.resources.regions import Regions
from gceshim.resources.resource_manager_projects import ResourceManagerProjects
from gceshim.resources.subnetworks import Subnetworks
from gceshim.resources.zones import Zones

COLLECTIONS: Final[tuple[type[Collection], ...]] = (
    Attachments,
    DiskPermissions,
    DiskTypes,
    Disks,
    FirewallPermissions,
    Firewalls,
    GlobalOperations,
    ImageFamilyViews,
    Images,
    InstanceBulk,
    InstancePermissions,
    InstanceReferrers,
    InstanceRefusals,
    InstanceSettings,
    InstanceUpdate,
    Instances,
    MachineTypes,
    Networks,
    Projects,
    RegionOperations,
    Regions,
    Subnetworks,
    ZoneOperations,
    Zones,
)

#: Of other APIs, which the clients of Compute Engine call at the same endpoint.
NEIGHBOURS: Final[tuple[type[Collection], ...]] = (ResourceManagerProjects,)


def method_table(services: Services) -> Mapping[str, Callable[[Call], Awaitable[Body | None]]]:
    """Method id to coroutine, for the collections whose needs the driver meets; workflows are registered on the way."""
    capabilities = services.driver.capabilities()
    table: dict[str, Callable[[Call], Awaitable[Body | None]]] = {}
    for collection in (*COLLECTIONS, *NEIGHBOURS):
        if capabilities.issuperset(collection.needs):
            table.update(collection(services).table())
    return table
