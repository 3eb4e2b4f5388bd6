"""
libcloud's GCE driver with a service account's key, over TLS.

The driver has no setting for where the API is: a subclass of its connection says host and port. The rest is its own,
its login included: no `kid`, base64 with padding, links that must begin with https.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import libcloud.security
import pytest
from libcloud.common.google import InvalidRequestError, ResourceExistsError, ResourceNotFoundError
from libcloud.compute.drivers.gce import GCEConnection, GCENodeDriver
from libcloud.compute.types import NodeState

from tests.clients.secure import PROJECT, ZONE, Secure

SIZE = "n1-standard-1"
IMAGE = "debian-12"


@pytest.fixture
def driver(secure: Secure, monkeypatch: pytest.MonkeyPatch) -> GCENodeDriver:
    """Logged in as the service account."""
    monkeypatch.setattr(libcloud.security, "CA_CERTS_PATH", str(secure.authority))
    return logged_in(secure, str(secure.key_file))


def logged_in(secure: Secure, key: str) -> GCENodeDriver:
    at = urlsplit(secure.url)

    class HereConnection(GCEConnection):
        """Says where the API is, and keeps its token out of the home folder."""

        host = str(at.hostname)
        poll_interval = 0.1

        def __init__(self, *args: Any, **more: Any) -> None:
            more["credential_file"] = str(secure.home / "libcloud.token")
            super().__init__(*args, host=self.host, port=at.port, **more)

    class HereDriver(GCENodeDriver):
        """The driver with that connection."""

        connectionCls = HereConnection  # noqa: N815 libcloud's name

    return HereDriver(secure.email, key, datacenter=ZONE, project=PROJECT)


@pytest.fixture
def nothing_left(secure: Secure) -> Iterator[None]:
    """The test's end: not one machine, volume or rule more than before."""
    before = secure.cloud.holdings()
    yield
    assert secure.cloud.holdings() == before


def test_a_driver_logs_in_by_the_key_file(driver: GCENodeDriver, secure: Secure) -> None:
    """Its path of the token endpoint and its form of an assertion; the token is good for the API."""
    (secure.home / "libcloud.token").unlink(missing_ok=True)
    before = secure.calls()
    logged_in(secure, str(secure.key_file))
    assert secure.calls_since(before, "compute.regions.list") == [
        "oauth.token",
        "compute.zones.list",
        "compute.regions.list",
    ]


def test_places_sizes_images_and_networks_are_found(driver: GCENodeDriver) -> None:
    """What a program looks around for before it makes anything."""
    assert [place.name for place in driver.list_locations()] == ["sandbox-1-a", "sandbox-sg-a"]
    assert [region.name for region in driver.ex_list_regions()] == ["sandbox-1", "sandbox-sg"]
    assert driver.ex_get_zone(ZONE).status == "UP"
    assert driver.ex_get_size(SIZE).ram == 3840
    assert "medium-instance" in {size.name for size in driver.list_sizes()}
    assert IMAGE in {image.name for image in driver.list_images()}
    assert driver.ex_get_image(IMAGE).extra["family"] == IMAGE
    assert driver.ex_get_image_from_family(IMAGE, ex_project_list=["debian-cloud"]).name == IMAGE
    assert driver.ex_get_network("default").mode == "auto"
    assert "default" in {network.name for network in driver.ex_list_networks()}
    assert driver.ex_get_project().name == PROJECT


@pytest.mark.usefixtures("nothing_left")
def test_a_machine_and_its_disk_live_and_die(
    driver: GCENodeDriver, secure: Secure, fresh_name: Callable[[], str]
) -> None:
    """Each step waited for by the operation's own link, and looked at with CloudStack's eyes."""
    name = fresh_name()
    node = driver.create_node(name, SIZE, IMAGE, ex_network="default", ex_metadata={"a": "b"}, ex_tags=["web"])
    assert (node.state, node.extra["zone"].name, node.size) == (NodeState.RUNNING, ZONE, SIZE)
    assert node.public_ips and node.private_ips[0].startswith("10.1.1.")
    assert [found.name for found in driver.list_nodes() if found.name == name] == [name]
    assert driver.reboot_node(node) and driver.stop_node(node)
    assert secure.cloud.states(name) == ["Stopped"]
    assert driver.start_node(node)
    assert secure.cloud.states(name) == ["Running"]
    assert driver.ex_set_node_labels(node, {"tier": "web"})
    assert driver.ex_set_node_tags(driver.ex_get_node(name), ["db"])
    assert driver.ex_get_node(name).extra["tags"] == ["db"]

    volume = driver.create_volume(10, f"{name}-data")
    assert volume.size == "10"
    assert driver.attach_volume(driver.ex_get_node(name), volume)
    assert secure.cloud.volumes()[f"{name}-data"]["vmname"] == name
    with pytest.raises(InvalidRequestError, match="already being used"):
        driver.destroy_volume(volume)
    assert driver.detach_volume(volume, ex_node=node)
    assert "vmname" not in secure.cloud.volumes()[f"{name}-data"]
    assert f"{name}-data" in {found.name for found in driver.list_volumes()}
    assert driver.destroy_volume(volume)

    with pytest.raises(ResourceExistsError):
        driver.create_node(name, SIZE, IMAGE)
    assert driver.destroy_node(node)
    assert secure.cloud.states(name) == [None]


@pytest.mark.usefixtures("nothing_left")
def test_a_firewall_rule_is_made_listed_and_removed(driver: GCENodeDriver, fresh_name: Callable[[], str]) -> None:
    """With the nulls that the driver sends for what it was not told."""
    name = f"rule-{fresh_name()}"
    made = driver.ex_create_firewall(name, [{"IPProtocol": "tcp", "ports": ["80"]}], source_ranges=["10.0.0.0/8"])
    assert (made.name, made.network.name, made.source_ranges) == (name, "default", ["10.0.0.0/8"])
    assert name in {found.name for found in driver.ex_list_firewalls()}
    assert driver.ex_destroy_firewall(made)
    with pytest.raises(ResourceNotFoundError):
        driver.ex_get_firewall(name)


def test_errors_are_libclouds_own(driver: GCENodeDriver) -> None:
    """By status and reason."""
    with pytest.raises(ResourceNotFoundError):
        driver.ex_get_node("nosuch")
    with pytest.raises(InvalidRequestError, match="Bad_Name"):
        driver.create_node("Bad_Name", SIZE, IMAGE)
