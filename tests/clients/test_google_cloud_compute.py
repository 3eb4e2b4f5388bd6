"""google-cloud-compute: machines by typed messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import google.api_core.exceptions
import google.auth.exceptions
import pytest
from google.cloud import compute_v1
from google.oauth2.credentials import Credentials

from tests.clients.demo import Cloud, Demo

pytestmark = pytest.mark.usefixtures("nothing_left")


class Clients:
    """The client of each collection, made with the same endpoint and token."""

    def __init__(self, url: str, token: str) -> None:
        options: dict[str, Any] = {"credentials": Credentials(token), "client_options": {"api_endpoint": url}}
        self.images = compute_v1.ImagesClient(**options)
        self.instances = compute_v1.InstancesClient(**options)
        self.operations = compute_v1.ZoneOperationsClient(**options)
        self.zones = compute_v1.ZonesClient(**options)

    def close(self) -> None:
        """Give back the connections."""
        for client in (self.images, self.instances, self.operations, self.zones):
            client.transport.close()


@pytest.fixture
def clients(demo: Demo) -> Iterator[Clients]:
    """Clients of the demo's own account."""
    clients = Clients(demo.url, demo.token)
    yield clients
    clients.close()


@pytest.fixture
def here(demo: Demo) -> dict[str, str]:
    """Where machines are made."""
    return {"project": demo.project, "zone": demo.zone}


def machine(name: str, zone: str, **fields: Any) -> compute_v1.Instance:
    """A machine of one processor with Debian on it."""
    parameters = compute_v1.AttachedDiskInitializeParams(
        source_image="projects/debian-cloud/global/images/family/debian-12"
    )
    return compute_v1.Instance(
        name=name,
        machine_type=f"zones/{zone}/machineTypes/small-instance",
        disks=[compute_v1.AttachedDisk(boot=True, auto_delete=True, initialize_params=parameters)],
        network_interfaces=[compute_v1.NetworkInterface(network="global/networks/default")],
        **fields,
    )


def ended(clients: Clients, here: dict[str, str], operation: compute_v1.Operation) -> compute_v1.Operation:
    """An operation once it is done."""
    while operation.status != compute_v1.Operation.Status.DONE:
        operation = clients.operations.wait(operation=operation.name, **here)
    return operation


def made(clients: Clients, here: dict[str, str], name: str) -> None:
    """Make a machine."""
    operation = clients.instances.insert_unary(instance_resource=machine(name, here["zone"]), **here)
    assert ended(clients, here, operation).http_error_status_code == 0


def deleted(clients: Clients, here: dict[str, str], name: str) -> None:
    """Delete a machine."""
    operation = clients.instances.delete_unary(instance=name, **here)
    assert ended(clients, here, operation).http_error_status_code == 0


def test_a_machine_is_made_found_and_deleted(
    clients: Clients, here: dict[str, str], cloud: Cloud, fresh_name: Callable[[], str]
) -> None:
    """The unary calls, and operations waited for by a client of one's own."""
    name = fresh_name()
    wanted = machine(name, here["zone"], labels={"env": "test"}, tags=compute_v1.Tags(items=["web"]))
    operation = ended(clients, here, clients.instances.insert_unary(instance_resource=wanted, **here))
    found = clients.instances.get(instance=name, **here)
    listed = list(clients.instances.list(**here))
    everywhere = {"project": here["project"], "include_all_scopes": True}
    spread = dict(clients.instances.aggregated_list(request=everywhere))

    assert (operation.http_error_status_code, operation.target_id) == (0, found.id)
    assert (found.name, found.status, dict(found.labels), list(found.tags.items)) == (
        name,
        "RUNNING",
        {"env": "test"},
        ["web"],
    )
    assert found in listed
    assert found in spread[f"zones/{here['zone']}"].instances
    assert "zones/sandbox-sg-a" in spread
    assert found.network_interfaces[0].network_i_p == cloud.machines()[name]["nic"][0]["ipaddress"]
    assert cloud.states(name) == ["Running"]
    deleted(clients, here, name)
    assert cloud.states(name) == [None]
    with pytest.raises(google.api_core.exceptions.NotFound) as raised:
        clients.instances.get(instance=name, **here)
    path = f"projects/{here['project']}/zones/{here['zone']}/instances/{name}"
    assert f"The resource '{path}' was not found" in raised.value.message


def test_results_are_there_without_a_poll(
    clients: Clients, here: dict[str, str], cloud: Cloud, fresh_name: Callable[[], str]
) -> None:
    """
    The sentences of the client's own examples: `.insert(...).result()`, and so on.

    google-cloud-compute 1.57 polls at compute.googleapis.com, whatever `api_endpoint` says; a demo's answer lingers
    until the operation is done, so that no poll is needed.
    """
    name = fresh_name()
    clients.instances.insert(instance_resource=machine(name, here["zone"]), **here).result(timeout=60)
    assert cloud.states(name) == ["Running"]
    clients.instances.stop(instance=name, **here).result(timeout=60)
    assert (clients.instances.get(instance=name, **here).status, cloud.states(name)) == ("TERMINATED", ["Stopped"])
    clients.instances.start(instance=name, **here).result(timeout=60)
    clients.instances.reset(instance=name, **here).result(timeout=60)
    assert cloud.states(name) == ["Running"]
    clients.instances.delete(instance=name, **here).result(timeout=60)
    assert cloud.states(name) == [None]


def test_an_operation_that_failed_raises_what_it_says(
    clients: Clients, here: dict[str, str], cloud: Cloud, fresh_name: Callable[[], str]
) -> None:
    """The client reads `httpErrorStatusCode` and `httpErrorMessage`, and calls all else a success."""
    name = fresh_name()
    made(clients, here, name)
    ended(clients, here, clients.instances.stop_unary(instance=name, **here))
    with pytest.raises(google.api_core.exceptions.BadRequest) as raised:
        clients.instances.reset(instance=name, **here).result(timeout=60)
    failed = ended(clients, here, clients.instances.reset_unary(instance=name, **here))

    assert (failed.http_error_status_code, failed.error.errors[0].code) == (400, "RESOURCE_NOT_READY")
    assert failed.http_error_message in raised.value.message
    assert cloud.states(name) == ["Stopped"]
    deleted(clients, here, name)


def test_refusals_are_the_exceptions_of_their_status(
    demo: Demo, clients: Clients, here: dict[str, str], cloud: Cloud, fresh_name: Callable[[], str]
) -> None:
    """Programs catch Conflict, BadRequest and Forbidden; each with the server's message."""
    name = fresh_name()
    before = cloud.machines().keys()
    with pytest.raises(google.api_core.exceptions.BadRequest) as raised:
        wanted = machine(name, here["zone"])
        wanted.machine_type = f"zones/{here['zone']}/machineTypes/e9-vast"
        clients.instances.insert_unary(instance_resource=wanted, **here)
    assert "'resource.machineType'" in raised.value.message
    with pytest.raises(google.api_core.exceptions.NotFound, match="Failed to find project nobodys"):
        clients.instances.list(project="nobodys", zone=here["zone"])
    assert cloud.machines().keys() == before

    made(clients, here, name)
    with pytest.raises(google.api_core.exceptions.Conflict, match="already exists"):
        clients.instances.insert_unary(instance_resource=machine(name, here["zone"]), **here)
    deleted(clients, here, name)

    strangers = Clients(demo.url, "no.such.token")
    # The client meets a 401 with an attempt at a new token, for which plain credentials have nothing to show.
    with pytest.raises(google.auth.exceptions.RefreshError):
        strangers.instances.list(**here)
    strangers.close()


def test_zones_and_images_are_read(clients: Clients, here: dict[str, str], cloud: Cloud) -> None:
    """What a program asks for before it makes a machine."""
    zones = list(clients.zones.list(project=here["project"]))
    image = clients.images.get_from_family(project="debian-cloud", family="debian-12")
    images = {
        item.name for item in clients.images.list(request={"project": "debian-cloud", "filter": "family=debian-12"})
    }

    assert [zone.description for zone in zones] == sorted(row["name"] for row in cloud.rows("listZones"))
    assert clients.zones.get(project=here["project"], zone=here["zone"]) == zones[0]
    assert (image.name, image.status, image.disk_size_gb) == ("debian-12", "READY", 10)
    assert images == {"debian-12"}


def test_lists_are_read_page_by_page(
    clients: Clients, here: dict[str, str], cloud: Cloud, fresh_name: Callable[[], str]
) -> None:
    """Pages of one machine each, and a filter that the server applies."""
    names = [fresh_name(), fresh_name(), fresh_name()]
    for name in names:
        made(clients, here, name)
    pages = clients.instances.list(
        request={**here, "max_results": 1, "filter": " OR ".join(f"name={name}" for name in names)}
    ).pages
    read = [[item.name for item in page.items] for page in pages if page.items]
    assert sorted(read) == [[name] for name in sorted(names)]  # by name within a page alone
    assert cloud.states(*names) == ["Running"] * 3
    for name in names:
        deleted(clients, here, name)
    assert cloud.states(*names) == [None] * 3
