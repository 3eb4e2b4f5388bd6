"""All of it, for one test class. Derive from a capability's own class to have that alone."""

from __future__ import annotations

from gceshim.testing.conformance.attachments import AttachmentsConformance
from gceshim.testing.conformance.catalogs import CatalogConformance, ImagesConformance
from gceshim.testing.conformance.creation import CreationConformance
from gceshim.testing.conformance.disks import DiskReplaysConformance, DisksConformance, DiskTypesConformance
from gceshim.testing.conformance.firewalls import FirewallsConformance
from gceshim.testing.conformance.identities import (
    DriverItself,
    IdentityConformance,
    JobsConformance,
    ProjectsConformance,
)
from gceshim.testing.conformance.instances import InstancesConformance
from gceshim.testing.conformance.outages import OutagesConformance
from gceshim.testing.conformance.places import LocationsConformance, NetworksConformance
from gceshim.testing.conformance.settings import InstanceSettingsConformance
from gceshim.testing.conformance.verbs import VerbsConformance


class DriverConformance:
    """The tests of all capabilities, each under its name; those of a capability that the driver lacks are skipped."""

    TestItself = DriverItself
    TestIdentity = IdentityConformance
    TestProjects = ProjectsConformance
    TestJobs = JobsConformance
    TestLocations = LocationsConformance
    TestCatalog = CatalogConformance
    TestImages = ImagesConformance
    TestNetworks = NetworksConformance
    TestInstances = InstancesConformance
    TestCreation = CreationConformance
    TestVerbs = VerbsConformance
    TestInstanceSettings = InstanceSettingsConformance
    TestDiskTypes = DiskTypesConformance
    TestDisks = DisksConformance
    TestDiskReplays = DiskReplaysConformance
    TestAttachments = AttachmentsConformance
    TestFirewalls = FirewallsConformance
    TestOutages = OutagesConformance
