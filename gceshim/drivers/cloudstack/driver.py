"""The default driver: CloudStack, reached through libcloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from gceshim.drivers import base
from gceshim.drivers.cloudstack.attachments import Attachments
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.catalog import Catalog
from gceshim.drivers.cloudstack.default_network import DefaultNetwork
from gceshim.drivers.cloudstack.deploy import Deployer
from gceshim.drivers.cloudstack.disk_types import DiskTypes
from gceshim.drivers.cloudstack.disks import Disks
from gceshim.drivers.cloudstack.external import Addresses
from gceshim.drivers.cloudstack.firewall.authored import Authored
from gceshim.drivers.cloudstack.firewall.force import Force
from gceshim.drivers.cloudstack.firewall.machines import MachineRules
from gceshim.drivers.cloudstack.firewall.terrain import Terrains
from gceshim.drivers.cloudstack.firewalls import Firewalls
from gceshim.drivers.cloudstack.identity import Identity
from gceshim.drivers.cloudstack.images import Images
from gceshim.drivers.cloudstack.instance_disks import InstanceDisks
from gceshim.drivers.cloudstack.instance_settings import InstanceSettings
from gceshim.drivers.cloudstack.instances import Instances
from gceshim.drivers.cloudstack.jobs import Jobs
from gceshim.drivers.cloudstack.locations import Locations
from gceshim.drivers.cloudstack.machine_disks import MachineDisks
from gceshim.drivers.cloudstack.machines import Machines
from gceshim.drivers.cloudstack.networks import Networks
from gceshim.drivers.cloudstack.new_disks import NewDisks
from gceshim.drivers.cloudstack.plan import Planner
from gceshim.drivers.cloudstack.projects import Projects
from gceshim.drivers.cloudstack.settings import Settings, parse
from gceshim.drivers.cloudstack.transport import Transport
from gceshim.drivers.cloudstack.volumes import Volumes
from gceshim.drivers.observing import BackendLoad, Watcher


class CloudStackDriver(base.Driver):
    """
    Puts the capabilities together.

    A driver that reaches CloudStack another way is a subclass with another `transport_class`; one that maps
    something otherwise replaces that capability after `super().__init__`.
    """

    transport_class: ClassVar[type[Transport]] = Transport

    def __init__(self, settings: Settings) -> None:
        """No call is made."""
        self.backend = Backend(settings, self.transport_class(settings))
        self.jobs = Jobs(self.backend)
        self.identity = Identity(self.backend)
        self.projects = Projects(self.backend)
        self.locations = locations = Locations(self.backend)
        self.catalog = catalog = Catalog(self.backend, locations)
        self.images = images = Images(self.backend)
        self.networks = networks = Networks(self.backend, locations)
        machines = Machines(self.backend)
        disk_types = DiskTypes(self.backend)
        volumes = Volumes(self.backend, machines, networks)
        new_disks = NewDisks(self.backend, volumes)
        self.disks = Disks(
            self.backend,
            locations=locations,
            disk_types=disk_types,
            images=images,
            volumes=volumes,
            new_disks=new_disks,
        )
        machine_disks = MachineDisks(self.backend, machines, volumes)
        self.attachments = Attachments(
            locations=locations, machines=machines, volumes=volumes, machine_disks=machine_disks
        )
        instance_disks = InstanceDisks(
            self.backend,
            machines=machines,
            volumes=volumes,
            disk_types=disk_types,
            new_disks=new_disks,
            machine_disks=machine_disks,
        )
        planner = Planner(
            self.backend,
            locations=locations,
            catalog=catalog,
            images=images,
            networks=networks,
            disks=instance_disks,
        )
        default_network = DefaultNetwork(self.backend, locations, networks)
        terrains = Terrains(self.backend, locations, networks, default_network)
        authored = Authored(self.backend)
        force = Force(self.backend, authored, terrains)
        self.firewalls = Firewalls(authored, terrains, force)
        self.machine_rules = MachineRules(self.backend, networks, machines, force)
        deployer = Deployer(
            self.backend,
            machines=machines,
            addresses=Addresses(self.backend),
            default_network=default_network,
            rules=self.machine_rules,
            disks=instance_disks,
        )
        self.instances = Instances(
            self.backend,
            locations=locations,
            catalog=catalog,
            networks=networks,
            machines=machines,
            volumes=volumes,
            disks=instance_disks,
            planner=planner,
            deployer=deployer,
        )

        self.instance_settings = InstanceSettings(
            self.backend,
            locations=locations,
            catalog=catalog,
            machines=machines,
            volumes=volumes,
            rules=self.machine_rules,
        )

    @classmethod
    def create(cls, settings: Mapping[str, Any]) -> CloudStackDriver:
        """Build it from the table `[driver.cloudstack]`."""
        return cls(parse(settings))

    def watch(self, seen: Watcher) -> None:
        """Every call to CloudStack, tries that are repeated one by one."""
        self.backend.transport.watch(seen)

    @property
    def load(self) -> BackendLoad:
        """Calls that run, and that wait for their turn."""
        return self.backend.transport.load

    async def close(self) -> None:
        """Give back threads and connections."""
        await self.backend.close()
