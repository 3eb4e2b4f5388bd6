"""gcloud: firewall rules on a VPC network and on `default`, and what they are in CloudStack."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.clients.demo import IMPLIED, Cloud, Demo
from tests.clients.gcloud import Gcloud
from tests.clients.plain import Plain

pytestmark = pytest.mark.usefixtures("nothing_left")

NETWORK = "rules"


@pytest.fixture(scope="module")
def network(cloud: Cloud) -> str:
    """A VPC with one tier."""
    cloud.vpc_made(NETWORK)
    return NETWORK


def test_the_life_of_a_rule(gcloud: Gcloud, cloud: Cloud, demo: Demo, network: str) -> None:
    """Made of several protocols, found, read, changed, switched off and on, and deleted."""
    link = f"{demo.url}/compute/v1/projects/{demo.project}/global/firewalls/web"
    created = gcloud.done(
        *("firewall-rules", "create", "web", f"--network={network}", "--allow=tcp:80,tcp:8000-8080,icmp,udp"),
        *("--source-ranges=192.0.2.0/24,198.51.100.7", "--priority=900", "--description=from the world"),
    )
    ranges = "192.0.2.0/24,198.51.100.7/32"
    assert f"Created [{link}]." in created.errors
    assert created.table == [["web", network, "INGRESS", "900", "tcp:80,tcp:8000-8080,icmp,udp", "False"]]
    assert sorted(cloud.items(network)[:-1]) == [
        ("Allow", "Ingress", what, ranges) for what in ("icmp", "tcp:80-80", "tcp:8000-8080", "udp:0-65535")
    ]
    assert cloud.items(network)[-1] == IMPLIED

    assert [row[0] for row in gcloud.done("firewall-rules", "list", f"--filter=network={network}").table] == ["web"]
    assert gcloud.done("firewall-rules", "list", "--filter=direction=EGRESS").table == []
    shown = gcloud.shown("firewall-rules", "describe", "web")
    assert (shown["selfLink"], shown["description"], shown["priority"]) == (link, "from the world", 900)
    assert (shown["sourceRanges"], shown["direction"]) == (ranges.split(","), "INGRESS")

    updated = gcloud.done("firewall-rules", "update", "web", "--allow=tcp:443", "--priority=100", "--disabled")
    assert f"Updated [{link}]." in updated.errors
    assert cloud.items(network) == [IMPLIED]
    gcloud.done("firewall-rules", "update", "web", "--no-disabled", "--source-ranges=0.0.0.0/0")
    assert cloud.items(network) == [("Allow", "Ingress", "tcp:443-443", "0.0.0.0/0"), IMPLIED]
    assert f"Deleted [{link}]." in gcloud.done("firewall-rules", "delete", "web").errors
    assert cloud.items(network) == [IMPLIED]


def test_denials_and_outgoing_traffic(gcloud: Gcloud, cloud: Cloud, network: str) -> None:
    """In the order of their priorities, whatever the order of making."""
    gcloud.done("firewall-rules", "create", "in-all", f"--network={network}", "--allow=all", "--priority=2000")
    gcloud.done(
        *("firewall-rules", "create", "in-no-ssh", f"--network={network}", "--action=DENY", "--rules=tcp:22"),
        *("--priority=1000", "--source-ranges=203.0.113.0/24"),
    )
    gcloud.done(
        *("firewall-rules", "create", "out-no-mail", f"--network={network}", "--direction=EGRESS", "--action=DENY"),
        *("--rules=tcp:25", "--destination-ranges=198.51.100.0/24"),
    )
    assert cloud.items(network) == [
        ("Deny", "Ingress", "tcp:22-22", "203.0.113.0/24"),
        ("Deny", "Egress", "tcp:25-25", "198.51.100.0/24"),
        ("Allow", "Ingress", "all", "0.0.0.0/0"),
        IMPLIED,
    ]
    shown = gcloud.shown("firewall-rules", "list", f"--filter=network={network}", "--sort-by=priority,name")
    assert [(item["name"], item["direction"], "denied" in item) for item in shown] == [
        ("in-no-ssh", "INGRESS", True),
        ("out-no-mail", "EGRESS", True),
        ("in-all", "INGRESS", False),
    ]
    gcloud.done("firewall-rules", "delete", "in-all", "in-no-ssh", "out-no-mail")


def test_the_default_network_opens_machines(
    gcloud: Gcloud, cloud: Cloud, plain: Plain, fresh_name: Callable[[], str]
) -> None:
    """Those with the tag, at their public addresses, and in the zone with groups by a group."""
    name = fresh_name()
    gcloud.done("firewall-rules", "create", "in-web", "--allow=tcp:80,tcp:443", "--target-tags=web")
    gcloud.done("instances", "create", name, "--tags=web")
    found = cloud.rows("listFirewallRules")
    address = cloud.machines()[name]["publicip"]
    assert sorted((row["ipaddress"], row["protocol"], str(row["startport"])) for row in found) == [
        (address, "tcp", "443"),
        (address, "tcp", "80"),
    ]
    gcloud.done("instances", "remove-tags", name, "--tags=web")
    assert cloud.rows("listFirewallRules") == []
    gcloud.done("instances", "add-tags", name, "--tags=web")
    assert len(cloud.rows("listFirewallRules")) == 2
    gcloud.done("firewall-rules", "delete", "in-web")
    assert cloud.rows("listFirewallRules") == []
    plain.no_machine(name)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["create", "in-a", "--network=nope", "--allow=tcp"], "nope"),
        (["create", "in-a", "--allow=tcp:22", "--source-tags=web"], "source tags"),
        (["create", "in-a", f"--network={NETWORK}", "--allow=tcp:22", "--target-tags=web"], "target tags"),
        (["create", "in-a", f"--network={NETWORK}", "--allow=nonsense"], "IPProtocol"),
        (["delete", "in-a"], "/global/firewalls/in-a' was not found"),
    ],
)
@pytest.mark.usefixtures("network")
def test_what_cannot_be_is_told_in_the_servers_words(gcloud: Gcloud, words: list[str], expected: str) -> None:
    """And nothing of it is done."""
    assert expected in gcloud.refused("firewall-rules", *words)
