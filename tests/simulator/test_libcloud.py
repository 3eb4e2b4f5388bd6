"""libcloud's CloudStack driver, unmodified, over a socket: the library that the default driver stands on."""

import pytest
from libcloud.common.types import InvalidCredsError
from libcloud.compute.drivers.cloudstack import CloudStackNodeDriver
from libcloud.compute.types import NodeState


@pytest.fixture
def connect(make_world):
    """Makes drivers of an account on a new simulator without custom offerings, which list_sizes cannot read."""
    world = make_world(custom_offerings=False)
    drivers = []

    def make(account="demo", secret=None):
        key, good = world.sim.keys(account)
        host, port = world.endpoint.removeprefix("http://").split("/")[0].split(":")
        driver = CloudStackNodeDriver(key, secret or good, secure=False, host=host, port=int(port), path="/client/api")
        driver.connection.poll_interval = 0.02
        drivers.append(driver)
        return driver

    make.world = world
    yield make
    for driver in drivers:
        if driver.connection.connection is not None:
            driver.connection.connection.session.close()


def test_catalogues(connect):
    """Zones, offerings and templates, read by a client that indexes without looking."""
    driver = connect()
    assert [place.name for place in driver.list_locations()] == ["Sandbox 1", "Sandbox SG"]
    sizes = {size.name: (size.extra["cpu"], size.ram) for size in driver.list_sizes()}
    assert sizes["Standard 2"] == (2, 7680)
    images = {image.name for image in driver.list_images()}
    assert {"Debian 12", "demo-golden", "Community Alpine"} <= images
    assert {offering.name for offering in driver.ex_list_disk_offerings()} == {"Small", "Medium", "Large", "Custom"}
    assert len(driver.ex_list_network_offerings()) == 4


def test_a_nodes_life(connect):
    """Create, stop, start, reboot, destroy; the states are libcloud's."""
    driver = connect()
    values = {"size": driver.list_sizes()[0], "image": driver.list_images()[0], "location": driver.list_locations()[0]}
    node = driver.create_node(name="web-1", ex_start_vm=True, **values)
    assert (node.name, node.state, node.private_ips) == ("web-1", NodeState.RUNNING, ["10.1.1.2"])
    for act, state in (
        (driver.ex_stop, NodeState.STOPPED),
        (driver.ex_start, NodeState.RUNNING),
        (driver.reboot_node, NodeState.RUNNING),
    ):
        act(node)
        [node] = driver.list_nodes()
        assert node.state == state
    assert driver.destroy_node(node, ex_expunge=True) is True
    assert driver.list_nodes() == []
    assert driver.create_node(name="idle", **values).state == NodeState.STOPPED


def test_volumes(connect):
    """Create, attach, detach, destroy."""
    driver = connect()
    place = driver.list_locations()[0]
    node = driver.create_node(
        name="a", size=driver.list_sizes()[0], image=driver.list_images()[0], location=place, ex_start_vm=True
    )
    volume = driver.create_volume(size=10, name="data", location=place)
    assert volume.name == "data"
    assert driver.attach_volume(node, volume) is True
    [found] = [item for item in driver.list_volumes() if item.name == "data"]
    assert found.extra["instance_id"] == node.id
    assert driver.detach_volume(found) is True
    assert driver.destroy_volume(found) is True
    assert [item.name for item in driver.list_volumes()] == ["ROOT-1"]


def test_keys_networks_and_tags(connect):
    """The rest of what the driver above uses."""
    driver = connect()
    pair = driver.create_key_pair("k")
    assert pair.private_key.startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert [item.name for item in driver.list_key_pairs()] == ["k"]
    assert driver.get_key_pair("k").fingerprint == pair.fingerprint
    # libcloud 3.x compares success with the text "true", which servers stopped sending: it answers False here too.
    driver.delete_key_pair(pair)
    assert driver.list_key_pairs() == []
    place = driver.list_locations()[0]
    offering = next(item for item in driver.ex_list_network_offerings() if "SourceNat" in item.name)
    network = driver.ex_create_network("a network", "net", offering, place)
    assert "net" in {item.name for item in driver.ex_list_networks()}
    node = driver.create_node(
        name="a",
        size=driver.list_sizes()[0],
        image=driver.list_images()[0],
        location=place,
        networks=[network],
        ex_start_vm=True,
    )
    assert driver.ex_create_tags([node.id], "UserVm", {"colour": "red"}) is True
    assert connect.world.sim.tags(node.id) == {"colour": "red"}
    assert driver.list_nodes()[0].extra["tags"] == {"colour": "red"}
    assert driver.ex_delete_tags([node.id], "UserVm", ["colour"]) is True
    assert driver.destroy_node(node, ex_expunge=True) is True
    assert driver.ex_delete_network(network) is True
    assert "net" not in {item.name for item in driver.ex_list_networks()}
    limits = driver.ex_limits()
    assert limits["max_instances"] == 100


def test_errors_reach_the_caller(connect):
    """Wrong secrets are told apart from refusals; a failed job raises its text."""
    with pytest.raises(InvalidCredsError):
        connect(secret="wrong").list_locations()
    driver = connect()
    values = {"size": driver.list_sizes()[0], "image": driver.list_images()[0], "location": driver.list_locations()[0]}
    with pytest.raises(Exception, match="Invalid name"):
        driver.create_node(name="-bad-", **values)
    connect.world.sim.faults.add("failing_job", "deployVirtualMachine", 1, text="no luck")
    with pytest.raises(Exception, match="no luck"):
        driver.create_node(name="good", ex_start_vm=True, **values)
