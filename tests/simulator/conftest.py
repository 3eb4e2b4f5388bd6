"""A simulator per test, in a thread of its own; each test ends with the claim that the simulator did not fail."""

from collections.abc import Callable, Iterator

import pytest

from gceshim.simulator import SimulatorSettings
from tests.simulator.api import World


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    """Starts simulators with settings of the test's choice; job_seconds is short unless given."""
    made: list[World] = []

    def make(**settings: object) -> World:
        found = World(SimulatorSettings(**{"job_seconds": 0.005, **settings}))  # type: ignore[arg-type]
        made.append(found)
        return found

    yield make
    for found in made:
        found.stop()
        assert list(found.sim.bugs) == []


@pytest.fixture
def cloud(make_world: Callable[..., World]) -> World:
    """A simulator with the default data set."""
    return make_world()


@pytest.fixture
def furnished(make_world: Callable[..., World]) -> World:
    """A simulator with some of everything in it, and jobs that take no time."""
    world = make_world(job_seconds=0.0)
    world.machine("web-1", diskofferingid=world.disk_offering("Small"))
    world.machine("web-2", by="other", startvm="false")
    world.machine("sg", zoneid=world.sg_zone)
    world.tier(world.vpc(), "t1")
    network = world.network("spare")
    ip = world.demo.run("associateIpAddress", networkid=network)["ipaddress"]["id"]
    world.demo.run("createFirewallRule", ipaddressid=ip, protocol="tcp", startport=80)
    world.demo.run("createEgressFirewallRule", networkid=network, protocol="all")
    world.demo.run("createNetworkACL", networkid=world.uuid("listNetworks", "t1", listall="true"), protocol="all")
    world.demo.run("authorizeSecurityGroupIngress", securitygroupname="default", cidrlist="10.0.0.0/8")
    world.demo.call("createSSHKeyPair", name="k")
    world.demo.call("registerUserData", name="u", userdata="eHh4eA==")
    tags = {"tags[0].key": "a", "tags[0].value": "1"}
    world.demo.run("createTags", resourceids=world.sim.vm("web-1").uuid, resourcetype="UserVm", **tags)
    return world
