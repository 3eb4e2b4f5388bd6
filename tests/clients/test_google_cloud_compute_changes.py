"""google-cloud-compute: disks, rules, and what can be changed about a machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import google.api_core.exceptions
import pytest
from google.cloud import compute_v1
from google.oauth2.credentials import Credentials

from tests.clients.demo import IMPLIED, Cloud, Demo

pytestmark = pytest.mark.usefixtures("nothing_left")

GIB = 1024**3
NETWORK = "typed-rules"


class Clients:
    """The clients of the collections, and waits for what they begin."""

    def __init__(self, demo: Demo) -> None:
        options: dict[str, Any] = {"credentials": Credentials(demo.token), "client_options": {"api_endpoint": demo.url}}
        self.disk_types = compute_v1.DiskTypesClient(**options)
        self.disks = compute_v1.DisksClient(**options)
        self.firewalls = compute_v1.FirewallsClient(**options)
        self.global_operations = compute_v1.GlobalOperationsClient(**options)
        self.instances = compute_v1.InstancesClient(**options)
        self.operations = compute_v1.ZoneOperationsClient(**options)
        self._here = {"project": demo.project, "zone": demo.zone}

    def ended(self, operation: compute_v1.Operation) -> compute_v1.Operation:
        """An operation once it is done."""
        while operation.status != compute_v1.Operation.Status.DONE:
            if operation.zone:
                operation = self.operations.wait(operation=operation.name, **self._here)
            else:
                operation = self.global_operations.wait(operation=operation.name, project=self._here["project"])
        return operation

    def done(self, operation: compute_v1.Operation) -> compute_v1.Operation:
        """The same, and it has gone well."""
        operation = self.ended(operation)
        assert (operation.http_error_status_code, operation.http_error_message) == (0, "")
        return operation

    def close(self) -> None:
        """Give back the connections."""
        for client in vars(self).values():
            if hasattr(client, "transport"):
                client.transport.close()


@pytest.fixture
def clients(demo: Demo) -> Iterator[Clients]:
    """Clients of the demo's own account."""
    clients = Clients(demo)
    yield clients
    clients.close()


@pytest.fixture
def here(demo: Demo) -> dict[str, str]:
    """Where machines are made."""
    return {"project": demo.project, "zone": demo.zone}


def machine(name: str, zone: str, *disks: compute_v1.AttachedDisk, **fields: Any) -> compute_v1.Instance:
    """A machine of one processor with Debian on it, and more disks."""
    parameters = compute_v1.AttachedDiskInitializeParams(
        source_image="projects/debian-cloud/global/images/family/debian-12", disk_size_gb=15
    )
    return compute_v1.Instance(
        name=name,
        machine_type=f"zones/{zone}/machineTypes/small-instance",
        disks=[compute_v1.AttachedDisk(boot=True, auto_delete=True, initialize_params=parameters), *disks],
        network_interfaces=[compute_v1.NetworkInterface(network="global/networks/default")],
        **fields,
    )


def test_the_life_of_a_disk(
    clients: Clients, here: dict[str, str], cloud: Cloud, fresh_name: Callable[[], str]
) -> None:
    """Made, found everywhere, labelled, made larger, and deleted."""
    name = fresh_name()
    kind = f"zones/{here['zone']}/diskTypes/pd-ssd"
    wanted = compute_v1.Disk(name=name, size_gb=12, type_=kind, labels={"env": "test"}, description="mine")
    operation = clients.done(clients.disks.insert_unary(disk_resource=wanted, **here))
    disk = clients.disks.get(disk=name, **here)
    assert (operation.target_id, disk.status, disk.size_gb, disk.description) == (disk.id, "READY", 12, "mine")
    assert (cloud.volumes()[name]["size"], cloud.tags(cloud.volumes()[name])) == (12 * GIB, {"env": "test"})
    assert disk in list(clients.disks.list(**here))
    spread = dict(clients.disks.aggregated_list(project=here["project"]))
    assert disk in spread[f"zones/{here['zone']}"].disks

    labels = compute_v1.ZoneSetLabelsRequest(label_fingerprint=disk.label_fingerprint, labels={"env": "prod"})
    clients.done(clients.disks.set_labels_unary(resource=name, zone_set_labels_request_resource=labels, **here))
    with pytest.raises(google.api_core.exceptions.PreconditionFailed):
        clients.disks.set_labels_unary(resource=name, zone_set_labels_request_resource=labels, **here)
    size = compute_v1.DisksResizeRequest(size_gb=20)
    clients.done(clients.disks.resize_unary(disk=name, disks_resize_request_resource=size, **here))
    assert (cloud.volumes()[name]["size"], cloud.tags(cloud.volumes()[name])) == (20 * GIB, {"env": "prod"})
    larger = compute_v1.UpdateDiskRequest(
        disk=name, disk_resource=compute_v1.Disk(name=name, size_gb=25), paths="sizeGb", **here
    )
    clients.done(clients.disks.update_unary(larger))
    assert clients.disks.get(disk=name, **here).size_gb == 25
    with pytest.raises(google.api_core.exceptions.BadRequest, match="larger"):
        clients.disks.resize_unary(disk=name, disks_resize_request_resource=size, **here)
    with pytest.raises(google.api_core.exceptions.Conflict, match="already exists"):
        clients.disks.insert_unary(disk_resource=wanted, **here)
    clients.done(clients.disks.delete_unary(disk=name, **here))
    with pytest.raises(google.api_core.exceptions.NotFound, match=f"/disks/{name}' was not found"):
        clients.disks.get(disk=name, **here)


def test_disk_types_are_read(clients: Clients, here: dict[str, str]) -> None:
    """GCE's own beside CloudStack's offerings."""
    listed = {item.name: item for item in clients.disk_types.list(**here)}

    assert {"pd-standard", "pd-balanced", "pd-ssd", "custom", "small"} <= listed.keys()
    assert clients.disk_types.get(disk_type="small", **here) == listed["small"]
    assert listed["small"].valid_disk_size == "5GB-5GB"
    assert f"zones/{here['zone']}" in dict(clients.disk_types.aggregated_list(project=here["project"]))


def test_disks_of_a_machine(
    clients: Clients, here: dict[str, str], cloud: Cloud, fresh_name: Callable[[], str]
) -> None:
    """Made with it, attached, marked and detached; each goes or stays at its end."""
    name, new, old = fresh_name(), fresh_name(), fresh_name()
    clients.done(clients.disks.insert_unary(disk_resource=compute_v1.Disk(name=old, size_gb=3), **here))
    parameters = compute_v1.AttachedDiskInitializeParams(disk_name=new, disk_size_gb=7)
    disk = compute_v1.AttachedDisk(auto_delete=True, device_name="new", initialize_params=parameters)
    wanted = machine(name, here["zone"], disk)
    clients.done(clients.instances.insert_unary(instance_resource=wanted, **here))
    source = compute_v1.AttachedDisk(source=f"zones/{here['zone']}/disks/{old}", device_name="old")
    clients.done(clients.instances.attach_disk_unary(instance=name, attached_disk_resource=source, **here))
    shown = clients.instances.get(instance=name, **here)
    assert [(item.source.rpartition("/")[2], item.auto_delete, item.disk_size_gb) for item in shown.disks] == [
        (name, True, 15),
        (new, True, 7),
        (old, False, 3),
    ]
    assert [cloud.volumes()[item]["vmname"] for item in (new, old)] == [name, name]
    assert list(clients.disks.get(disk=old, **here).users) == [shown.self_link]
    with pytest.raises(google.api_core.exceptions.BadRequest, match="is already being used by"):
        clients.disks.delete_unary(disk=old, **here)
    clients.done(
        clients.instances.set_disk_auto_delete_unary(instance=name, device_name="new", auto_delete=False, **here)
    )
    clients.done(clients.instances.detach_disk_unary(instance=name, device_name="old", **here))
    assert [cloud.volumes()[item].get("vmname") for item in (new, old)] == [name, None]
    clients.done(clients.instances.delete_unary(instance=name, **here))
    assert {item for item in (name, new, old) if item in cloud.volumes()} == {new, old}
    for item in (new, old):
        clients.done(clients.disks.delete_unary(disk=item, **here))


def test_a_machine_is_changed(
    clients: Clients, here: dict[str, str], cloud: Cloud, fresh_name: Callable[[], str]
) -> None:
    """Labels, metadata, tags, scheduling, protection and size, each by its method; then as a whole."""
    name = fresh_name()
    instances, at = clients.instances, {**here, "instance": name}
    clients.done(instances.insert_unary(instance_resource=machine(name, here["zone"]), **here))
    shown = instances.get(**at)
    labels = compute_v1.InstancesSetLabelsRequest(label_fingerprint=shown.label_fingerprint, labels={"env": "test"})
    clients.done(instances.set_labels_unary(instances_set_labels_request_resource=labels, **at))
    with pytest.raises(google.api_core.exceptions.PreconditionFailed):
        instances.set_labels_unary(instances_set_labels_request_resource=labels, **at)
    script = compute_v1.Items(key="startup-script", value="#!/bin/sh\necho hello\n")
    metadata = compute_v1.Metadata(fingerprint=shown.metadata.fingerprint, items=[script])
    clients.done(instances.set_metadata_unary(metadata_resource=metadata, **at))
    tags = compute_v1.Tags(fingerprint=shown.tags.fingerprint, items=["web"])
    clients.done(instances.set_tags_unary(tags_resource=tags, **at))
    scheduling = compute_v1.Scheduling(automatic_restart=False)
    clients.done(instances.set_scheduling_unary(scheduling_resource=scheduling, **at))
    account = compute_v1.InstancesSetServiceAccountRequest(email="me@example.org", scopes=["x"])
    clients.done(instances.set_service_account_unary(instances_set_service_account_request_resource=account, **at))
    protection = compute_v1.SetDeletionProtectionInstanceRequest(resource=name, deletion_protection=True, **here)
    clients.done(instances.set_deletion_protection_unary(protection))
    shown = instances.get(**at)
    assert (dict(shown.labels), list(shown.tags.items), shown.scheduling.automatic_restart) == (
        {"env": "test"},
        ["web"],
        False,
    )
    assert [item.key for item in shown.metadata.items] == ["startup-script"]
    assert [item.email for item in shown.service_accounts] == ["me@example.org"]
    row = cloud.machines()[name]
    assert (cloud.tags(row), row["deleteprotection"], b"echo hello" in cloud.user_data(row)) == (
        {"env": "test"},
        True,
        True,
    )
    with pytest.raises(google.api_core.exceptions.BadRequest, match="protected against deletion"):
        instances.delete_unary(**at)

    shown.deletion_protection = False
    shown.labels = {"env": "prod"}
    shown.description = "second"
    clients.done(instances.update_unary(instance_resource=shown, **at))
    after = instances.get(**at)
    assert (after.deletion_protection, dict(after.labels), after.description) == (False, {"env": "prod"}, "second")

    size = compute_v1.InstancesSetMachineTypeRequest(machine_type=f"zones/{here['zone']}/machineTypes/medium-instance")
    refused = clients.ended(instances.set_machine_type_unary(instances_set_machine_type_request_resource=size, **at))
    assert (refused.http_error_status_code, refused.error.errors[0].code) == (400, "RESOURCE_NOT_READY")
    clients.done(instances.stop_unary(**at))
    clients.done(instances.set_machine_type_unary(instances_set_machine_type_request_resource=size, **at))
    assert cloud.machines()[name]["serviceofferingname"] == "Medium Instance"
    other = fresh_name()
    rename = compute_v1.InstancesSetNameRequest(current_name=name, name=other)
    clients.done(instances.set_name_unary(instances_set_name_request_resource=rename, **at))
    assert cloud.states(name, other) == [None, "Stopped"]
    held = instances.test_iam_permissions(
        resource=other,
        test_permissions_request_resource=compute_v1.TestPermissionsRequest(
            permissions=["compute.instances.get", "compute.instances.fly"]
        ),
        **here,
    )
    assert list(held.permissions) == ["compute.instances.get"]
    for call in (instances.suspend_unary, instances.get_serial_port_output):
        with pytest.raises(google.api_core.exceptions.BadRequest, match="CloudStack"):
            call(instance=other, **here)
    clients.done(instances.delete_unary(instance=other, **here))


def test_many_machines_at_once(
    clients: Clients, here: dict[str, str], cloud: Cloud, fresh_name: Callable[[], str]
) -> None:
    """One operation for all, and one for each in its group."""
    base = fresh_name()
    properties = compute_v1.InstanceProperties(
        machine_type="small-instance",
        disks=machine("x", here["zone"]).disks,
        network_interfaces=[compute_v1.NetworkInterface(network="global/networks/default")],
    )
    wanted = compute_v1.BulkInsertInstanceResource(count=2, name_pattern=f"{base}-##", instance_properties=properties)
    operation = clients.done(clients.instances.bulk_insert_unary(bulk_insert_instance_resource_resource=wanted, **here))
    names = [f"{base}-01", f"{base}-02"]
    assert cloud.states(*names) == ["Running", "Running"]
    group = {"filter": f"operationGroupId={operation.operation_group_id}"}
    found = [item for item in clients.operations.list(request={**here, **group}) if item.operation_type == "insert"]
    assert sorted(item.target_link.rpartition("/")[2] for item in found) == names
    for name in names:
        clients.done(clients.instances.delete_unary(instance=name, **here))


@pytest.fixture(scope="module")
def network(cloud: Cloud) -> str:
    """A network in a VPC."""
    cloud.vpc_made(NETWORK)
    return f"global/networks/{NETWORK}"


def test_firewall_rules(clients: Clients, demo: Demo, cloud: Cloud, network: str) -> None:
    """Made, listed, patched, replaced and deleted; CloudStack's list follows."""
    project, firewalls = {"project": demo.project}, clients.firewalls
    name = "typed-web"
    first = compute_v1.Firewall(name="typed-first", network=network, allowed=[compute_v1.Allowed(I_p_protocol="tcp")])
    clients.done(firewalls.insert_unary(firewall_resource=first, **project))
    wanted = compute_v1.Firewall(
        name=name,
        network=network,
        priority=900,
        source_ranges=["192.0.2.0/24"],
        allowed=[compute_v1.Allowed(I_p_protocol="tcp", ports=["80", "443"]), compute_v1.Allowed(I_p_protocol="icmp")],
    )
    clients.done(firewalls.insert_unary(firewall_resource=wanted, **project))
    shown = firewalls.get(firewall=name, **project)
    assert (shown.priority, list(shown.source_ranges), shown.direction) == (900, ["192.0.2.0/24"], "INGRESS")
    assert [(item.I_p_protocol, list(item.ports)) for item in shown.allowed] == [("tcp", ["80", "443"]), ("icmp", [])]
    assert [item.name for item in firewalls.list(**project) if item.name.startswith("typed-")] == ["typed-first", name]
    assert sorted(item[2] for item in cloud.items(NETWORK) if item[3] == "192.0.2.0/24") == [
        "icmp",
        "tcp:443-443",
        "tcp:80-80",
    ]
    denied = compute_v1.Firewall(denied=[compute_v1.Denied(I_p_protocol="udp", ports=["53"])], priority=10)
    clients.done(firewalls.patch_unary(firewall=name, firewall_resource=denied, **project))
    assert cloud.items(NETWORK)[0] == ("Deny", "Ingress", "udp:53-53", "192.0.2.0/24")
    clients.done(firewalls.update_unary(firewall=name, firewall_resource=wanted, **project))
    assert firewalls.get(firewall=name, **project).priority == 900
    with pytest.raises(google.api_core.exceptions.BadRequest, match="tags"):
        tagged = compute_v1.Firewall(target_tags=["web"])
        firewalls.patch_unary(firewall=name, firewall_resource=tagged, **project)
    for rule in (name, "typed-first"):
        clients.done(firewalls.delete_unary(firewall=rule, **project))
    with pytest.raises(google.api_core.exceptions.NotFound):
        firewalls.get(firewall=name, **project)
    assert cloud.items(NETWORK) == [IMPLIED]
