"""google-cloud-compute: what there is, the project, operations, and a machine of which everything is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import google.api_core.exceptions
import pytest
from google.cloud import compute_v1
from google.oauth2.credentials import Credentials

from tests.clients.demo import Cloud, Demo
from tests.clients.test_google_cloud_compute_changes import Clients, machine

pytestmark = pytest.mark.usefixtures("nothing_left")

GIB = 1024**3


class Catalogue(Clients):
    """The clients of the collections that are read here, too."""

    def __init__(self, demo: Demo) -> None:
        super().__init__(demo)
        options: dict[str, Any] = {"credentials": Credentials(demo.token), "client_options": {"api_endpoint": demo.url}}
        self.machine_types = compute_v1.MachineTypesClient(**options)
        self.networks = compute_v1.NetworksClient(**options)
        self.projects = compute_v1.ProjectsClient(**options)
        self.regions = compute_v1.RegionsClient(**options)
        self.zones = compute_v1.ZonesClient(**options)


@pytest.fixture
def clients(demo: Demo) -> Iterator[Catalogue]:
    """Clients of the demo's own account."""
    clients = Catalogue(demo)
    yield clients
    clients.close()


@pytest.fixture
def here(demo: Demo) -> dict[str, str]:
    """Where machines are made."""
    return {"project": demo.project, "zone": demo.zone}


def test_regions_and_their_zones(clients: Catalogue, demo: Demo, cloud: Cloud) -> None:
    """Each leads to the other; quotas are CloudStack's limits."""
    project = {"project": demo.project}
    regions, zones = list(clients.regions.list(**project)), list(clients.zones.list(**project))
    limits = {row["resourcetypename"]: row["max"] for row in cloud.rows("listResourceLimits", account=demo.project)}

    assert [(region.name, region.status) for region in regions] == [("sandbox-1", "UP"), ("sandbox-sg", "UP")]
    assert [list(region.zones) for region in regions] == [[zone.self_link] for zone in zones]
    assert [zone.region for zone in zones] == [region.self_link for region in regions]
    for region in regions:
        read = clients.regions.get(region=region.name, **project)
        quotas = {quota.metric: quota.limit for quota in read.quotas}
        assert (read.id, read.description, list(read.zones)) == (region.id, region.description, list(region.zones))
        assert (quotas["CPUS"], quotas["DISKS_TOTAL_GB"]) == (limits["cpu"], limits["primary_storage"])


def test_machine_types(clients: Catalogue, here: dict[str, str], cloud: Cloud) -> None:
    """CloudStack's fixed offerings, in one zone, in all, and one of a chosen size."""
    fixed = [row for row in cloud.rows("listServiceOfferings") if not row["iscustomized"]]
    expected = sorted((row["name"].lower().replace(" ", "-"), row["cpunumber"], row["memory"]) for row in fixed)
    listed = list(clients.machine_types.list(**here))
    spread = dict(clients.machine_types.aggregated_list(project=here["project"]))
    custom = clients.machine_types.get(machine_type="custom-2-4096", **here)

    assert sorted((item.name, item.guest_cpus, item.memory_mb) for item in listed) == expected
    assert list(spread[f"zones/{here['zone']}"].machine_types) == listed
    assert {item.zone for item in spread["zones/sandbox-sg-a"].machine_types} == {"sandbox-sg-a"}
    assert [clients.machine_types.get(machine_type=item.name, **here) for item in listed] == listed
    assert (custom.guest_cpus, custom.memory_mb) == (2, 4096)


def test_networks(clients: Catalogue, demo: Demo) -> None:
    """`default` among them, which most programs name."""
    listed = {network.name: network for network in clients.networks.list(project=demo.project)}

    assert clients.networks.get(project=demo.project, network="default") == listed["default"]
    assert listed["default"].auto_create_subnetworks


def test_metadata_of_the_project(clients: Catalogue, demo: Demo) -> None:
    """Read, changed with the fingerprint that was read, refused with an old one, and put back."""
    project, projects = {"project": demo.project}, clients.projects
    before = projects.get(**project)
    kept = before.common_instance_metadata
    more = [*kept.items, compute_v1.Items(key="typed-colour", value="blue")]
    changed = compute_v1.Metadata(fingerprint=kept.fingerprint, items=more)
    clients.done(projects.set_common_instance_metadata_unary(metadata_resource=changed, **project))
    with pytest.raises(google.api_core.exceptions.PreconditionFailed):
        projects.set_common_instance_metadata_unary(metadata_resource=changed, **project)
    after = projects.get(**project).common_instance_metadata
    back = compute_v1.Metadata(fingerprint=after.fingerprint, items=kept.items)
    clients.done(projects.set_common_instance_metadata_unary(metadata_resource=back, **project))

    assert (before.name, before.self_link) == (demo.project, f"{demo.url}/compute/v1/projects/{demo.project}")
    assert {item.key: item.value for item in after.items}["typed-colour"] == "blue"
    assert projects.get(**project).common_instance_metadata == kept


def test_operations_are_found_and_read(clients: Catalogue, here: dict[str, str], fresh_name: Callable[[], str]) -> None:
    """
    In their zone and among all.

    To delete one ends in an error of google-cloud-compute 1.57, which reads GCE's empty answer as JSON.
    """
    name = fresh_name()
    project = here["project"]
    begun = clients.done(clients.disks.insert_unary(disk_resource=compute_v1.Disk(name=name, size_gb=1), **here))
    clients.done(clients.disks.delete_unary(disk=name, **here))
    expression = f'targetLink eq ".*/disks/{name}"'
    listed = list(clients.operations.list(request={**here, "filter": expression}))
    request = {"project": project, "filter": expression}
    spread = dict(clients.global_operations.aggregated_list(request=request))
    read = clients.operations.get(operation=begun.name, **here)

    assert [item.operation_type for item in listed] == ["insert", "delete"]
    assert list(spread[f"zones/{here['zone']}"].operations) == listed
    assert read == listed[0]
    assert (read.progress, read.target_id, read.target_link) == (100, begun.target_id, begun.target_link)
    assert read.insert_time <= read.start_time <= read.end_time


def test_a_machine_of_which_everything_is_said(
    clients: Catalogue, here: dict[str, str], cloud: Cloud, fresh_name: Callable[[], str]
) -> None:
    """Boot disk, a disk that is there, protection, a script, an address; at its end each goes or stays."""
    name, old = fresh_name(), fresh_name()
    clients.done(clients.disks.insert_unary(disk_resource=compute_v1.Disk(name=old, size_gb=3), **here))
    source = compute_v1.AttachedDisk(source=f"zones/{here['zone']}/disks/{old}", device_name="old", auto_delete=True)
    script = compute_v1.Items(key="startup-script", value="#!/bin/sh\necho typed\n")
    wanted = machine(name, here["zone"], source, deletion_protection=True)
    wanted.metadata = compute_v1.Metadata(items=[script])
    wanted.network_interfaces[0].access_configs = [compute_v1.AccessConfig(name="nat", type_="ONE_TO_ONE_NAT")]
    boot = wanted.disks[0]
    boot.auto_delete = False
    boot.initialize_params.disk_size_gb = 25
    boot.initialize_params.disk_type = f"zones/{here['zone']}/diskTypes/pd-ssd"
    clients.done(clients.instances.insert_unary(instance_resource=wanted, **here))
    row = cloud.machines()[name]
    sizes = sorted(volume["size"] for volume in cloud.rows("listVolumes", virtualmachineid=row["id"]))
    shown = clients.instances.get(instance=name, **here)

    assert (sizes, row["deleteprotection"]) == ([3 * GIB, 25 * GIB], True)
    assert b"echo typed" in cloud.user_data(row)
    assert shown.network_interfaces[0].access_configs[0].nat_i_p == row["publicip"]
    assert [(disk.boot, disk.auto_delete, disk.disk_size_gb) for disk in shown.disks] == [
        (True, False, 25),
        (False, True, 3),
    ]
    assert clients.disks.get(disk=name, **here).type_.rpartition("/")[2] == "pd-ssd"
    protection = compute_v1.SetDeletionProtectionInstanceRequest(resource=name, deletion_protection=False, **here)
    clients.done(clients.instances.set_deletion_protection_unary(protection))
    clients.done(clients.instances.delete_unary(instance=name, **here))
    assert {disk for disk in (name, old) if disk in cloud.volumes()} == {name}
    clients.done(clients.disks.delete_unary(disk=name, **here))
