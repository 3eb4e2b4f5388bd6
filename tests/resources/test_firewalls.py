"""compute.firewalls over HTTP: on a VPC, which can express nearly all of it, and on `default`, which cannot."""

from __future__ import annotations

from typing import Any

import pytest
from tornado.ioloop import IOLoop

from gceshim.simulator import Simulator
from gceshim.simulator.entities import AclItem, FirewallRule, SecurityGroupRule
from gceshim.testing.gce import Body, Gce
from gceshim.testing.world import World
from tests.resources.holdings import Holdings, NothingChanged
from tests.resources.requests import HERE, PROJECT, changed, insert_body, made
from tests.resources.vpcs import vpc_made

pytestmark = pytest.mark.gen_test

GLOBAL = {"project": PROJECT}
SG_HERE = {"project": PROJECT, "zone": "sandbox-sg-a"}
PATH = f"projects/{PROJECT}/global/firewalls"


@pytest.fixture
def prod(world: World, io_loop: IOLoop) -> str:
    """A network in a VPC with two tiers."""
    io_loop.run_sync(lambda: vpc_made(world, "prod", "web", "db"), timeout=120)
    return "global/networks/prod"


def rule(name: str, network: str = "global/networks/default", **members: Any) -> Body:
    """A rule that lets SSH in, unless it says otherwise."""
    allowed = (
        {} if "allowed" in members or "denied" in members else {"allowed": [{"IPProtocol": "tcp", "ports": ["22"]}]}
    )
    return {"name": name, "network": network, **allowed, **members}


async def inserted(gce: Gce, body: Body) -> Body:
    """Make a rule, and give it as it is shown."""
    await changed(gce, "compute.firewalls.insert", at=GLOBAL, body=body)
    return await gce.call("compute.firewalls.get", **GLOBAL, firewall=body["name"])


async def test_a_rule_comes_back_as_it_was_written(gce: Gce, prod: str, cloudstack: Simulator) -> None:
    """Every member of it, and CloudStack's list has an item for each of its parts."""
    kept = Holdings(cloudstack)
    body = rule(
        "web",
        prod,
        description="from the world",
        direction="INGRESS",
        priority=900,
        allowed=[
            {"IPProtocol": "tcp", "ports": ["80", "8000-8080"]},
            {"IPProtocol": "udp"},
            {"IPProtocol": "icmp"},
        ],
        sourceRanges=["192.0.2.0/24", "198.51.100.7/32"],
        disabled=False,
    )
    operation = await changed(gce, "compute.firewalls.insert", at=GLOBAL, body=body)
    shown = await gce.call("compute.firewalls.get", **GLOBAL, firewall="web")

    assert (operation["operationType"], operation["targetLink"]) == ("insert", shown["selfLink"])
    assert (operation["targetId"], "zone" in operation, "region" in operation) == (shown["id"], False, False)
    assert shown["selfLink"].endswith(f"/compute/v1/{PATH}/web")
    assert (shown["kind"], shown["network"].endswith("/global/networks/prod")) == ("compute#firewall", True)
    assert {name: shown[name] for name in body if name not in ("network", "name")} == {
        name: value for name, value in body.items() if name not in ("network", "name")
    }
    assert (shown["logConfig"], "creationTimestamp" in shown) == ({"enable": False}, True)
    items = [line for line in kept.changes() if line.startswith("+ item")]
    ranges = "['192.0.2.0/24', '198.51.100.7/32']"
    wanted = {
        f"Allow Ingress {what} {ranges}" for what in ("tcp 80-80", "tcp 8000-8080", "udp 0-65535", "icmp None-None")
    }
    assert {line.partition(": ")[2] for line in items} == {*wanted, "Allow Egress all None-None ['0.0.0.0/0']"}


async def test_what_is_not_said_of_a_rule_has_gces_default(gce: Gce, prod: str) -> None:
    """gcloud prints what the server fills in."""
    shown = await inserted(gce, rule("in", prod))
    assert (shown["direction"], shown["priority"], shown["sourceRanges"]) == ("INGRESS", 1000, ["0.0.0.0/0"])
    assert (shown["disabled"], "destinationRanges" in shown, "denied" in shown) == (False, False, False)
    shown = await inserted(gce, rule("out", prod, direction="EGRESS", denied=[{"IPProtocol": "all"}]))
    assert (shown["destinationRanges"], shown["denied"]) == (["0.0.0.0/0"], [{"IPProtocol": "all"}])
    assert ("sourceRanges" in shown, "allowed" in shown) == (False, False)
    body = rule("plain", prod)
    del body["network"]
    assert (await inserted(gce, body))["network"].endswith("/global/networks/default")


async def test_priorities_decide_and_denials_go_first(gce: Gce, prod: str, cloudstack: Simulator) -> None:
    """The numbers of the items are in GCE's order, whatever the order of making."""
    everything = [{"IPProtocol": "all"}]
    for name, priority, members in (
        ("allow-late", 2000, {"allowed": everything}),
        ("deny-first", 10, {"denied": everything, "sourceRanges": ["203.0.113.0/24"]}),
        ("allow-middle", 1000, {"allowed": [{"IPProtocol": "tcp", "ports": ["443"]}]}),
        ("deny-middle", 1000, {"denied": [{"IPProtocol": "tcp"}]}),
        ("deny-out", 500, {"denied": [{"IPProtocol": "udp", "ports": ["53"]}], "direction": "EGRESS"}),
    ):
        await inserted(gce, rule(name, prod, priority=priority, **members))
    ours = [item for item in cloudstack.inspect.rows(AclItem) if item.acl.name == "gceshim"]
    order = [(item.action, item.traffic_type, item.protocol) for item in sorted(ours, key=lambda item: item.position)]

    assert order == [
        ("Deny", "Ingress", "all"),
        ("Deny", "Egress", "udp"),
        ("Deny", "Ingress", "tcp"),
        ("Allow", "Ingress", "tcp"),
        ("Allow", "Ingress", "all"),
        ("Allow", "Egress", "all"),
    ]
    assert {network.name: network.acl.name for network in cloudstack.networks() if network.vpc and network.acl} == {
        "web": "gceshim",
        "db": "gceshim",
    }


async def test_lists_hold_what_gets_show(gce: Gce, prod: str) -> None:
    """By name; pages and filters too."""
    for name in ("b", "a", "c"):
        await inserted(gce, rule(name, prod, priority=100 + ord(name)))
    listed = await gce.call("compute.firewalls.list", **GLOBAL)

    assert [item["name"] for item in listed["items"]] == ["a", "b", "c"]
    for item in listed["items"]:
        assert await gce.call("compute.firewalls.get", **GLOBAL, firewall=item["name"]) == item
        assert await gce.call("compute.firewalls.get", **GLOBAL, firewall=item["id"]) == item
    for expression, names in (
        ("name eq a", ["a"]),
        ('network eq ".*\\bprod\\b.*"', ["a", "b", "c"]),
        ("priority=198", ["b"]),
        ("direction eq EGRESS", []),
    ):
        found = await gce.call("compute.firewalls.list", **GLOBAL, filter=expression)
        assert [item["name"] for item in found.get("items", [])] == names, expression
    page = await gce.call("compute.firewalls.list", **GLOBAL, maxResults=2)
    rest = await gce.call("compute.firewalls.list", **GLOBAL, maxResults=2, pageToken=page["nextPageToken"])
    assert [item["name"] for item in page["items"] + rest["items"]] == ["a", "b", "c"]


async def test_a_rule_goes_with_all_that_it_put_in_force(gce: Gce, prod: str, cloudstack: Simulator) -> None:
    """What GCE implies stays in the list; nothing of the rule does."""
    await inserted(gce, rule("first", prod))
    await changed(gce, "compute.firewalls.delete", at=GLOBAL, firewall="first")
    kept = Holdings(cloudstack)
    shown = await inserted(gce, rule("second", prod, description="x" * 600))
    assert kept.changes() != []
    operation = await changed(gce, "compute.firewalls.delete", at=GLOBAL, firewall="second")

    assert (operation["operationType"], operation["targetId"]) == ("delete", shown["id"])
    assert kept.changes() == []
    error = await gce.error("compute.firewalls.get", **GLOBAL, firewall="second")
    assert (error["code"], error["message"]) == (404, f"The resource '{PATH}/second' was not found")


async def test_a_patch_changes_what_it_names(gce: Gce, prod: str, cloudstack: Simulator) -> None:
    """The rest stays; `denied` takes the place of `allowed`."""
    before = await inserted(gce, rule("in", prod, description="mine", sourceRanges=["192.0.2.0/24"]))
    kept = Holdings(cloudstack)
    operation = await changed(gce, "compute.firewalls.patch", at=GLOBAL, firewall="in", body={"priority": 5})
    after = await gce.call("compute.firewalls.get", **GLOBAL, firewall="in")
    assert (operation["operationType"], after) == ("patch", {**before, "priority": 5})
    assert len([line for line in kept.changes() if line.startswith("+ item")]) == 1
    assert len([line for line in kept.changes() if line.startswith("- item")]) == 1
    body = {"denied": [{"IPProtocol": "tcp", "ports": ["22", "23"]}]}
    await changed(gce, "compute.firewalls.patch", at=GLOBAL, firewall="in", body=body)
    after = await gce.call("compute.firewalls.get", **GLOBAL, firewall="in")
    assert (after["denied"], "allowed" in after, after["description"]) == (body["denied"], False, "mine")


async def test_a_patch_of_the_whole_rule_as_gcloud_sends_it(gce: Gce, prod: str) -> None:
    """With what only the server sets in it, as it was read."""
    before = await inserted(gce, rule("in", prod))
    body = {**before, "sourceRanges": ["192.0.2.0/24"]}
    await changed(gce, "compute.firewalls.patch", at=GLOBAL, firewall="in", body=body)

    assert await gce.call("compute.firewalls.get", **GLOBAL, firewall="in") == body


@pytest.mark.parametrize("verb", ["patch", "update"])
async def test_a_change_does_not_rename(gce: Gce, prod: str, verb: str) -> None:
    """A name that is another is refused, and not dropped."""
    before = await inserted(gce, rule("in", prod))
    error = await gce.error(f"compute.firewalls.{verb}", **GLOBAL, firewall="in", body={**before, "name": "out"})

    assert (error["code"], "'resource.name': 'out'" in error["message"]) == (400, True)
    assert await gce.call("compute.firewalls.get", **GLOBAL, firewall="in") == before


async def test_an_update_replaces_the_whole(gce: Gce, prod: str) -> None:
    """What it does not say has its default again."""
    before = await inserted(gce, rule("in", prod, description="mine", priority=5, sourceRanges=["192.0.2.0/24"]))
    operation = await changed(gce, "compute.firewalls.update", at=GLOBAL, firewall="in", body=rule("in", prod))
    after = await gce.call("compute.firewalls.get", **GLOBAL, firewall="in")

    assert operation["operationType"] == "update"
    assert (after["id"], after["creationTimestamp"]) == (before["id"], before["creationTimestamp"])
    assert ("description" in after, after["priority"], after["sourceRanges"]) == (False, 1000, ["0.0.0.0/0"])


async def test_a_disabled_rule_is_kept_and_not_in_force(gce: Gce, prod: str, cloudstack: Simulator) -> None:
    """Until it is enabled."""
    await inserted(gce, rule("other", prod, priority=1))
    kept = Holdings(cloudstack)
    shown = await inserted(gce, rule("in", prod, disabled=True))
    assert (shown["disabled"], [line for line in kept.changes() if "item" in line]) == (True, [])
    await changed(gce, "compute.firewalls.patch", at=GLOBAL, firewall="in", body={"disabled": False})
    assert len([line for line in kept.changes() if "+ item" in line]) == 1
    await changed(gce, "compute.firewalls.patch", at=GLOBAL, firewall="in", body={"disabled": True})
    assert [line for line in kept.changes() if "item" in line] == []


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"name": "Bad_Name"}, "'resource.name'"),
        ({"name": ""}, "'resource.name'"),
        ({"network": "global/networks/nope"}, "'resource.network'"),
        ({"allowed": []}, "'resource.allowed'"),
        ({"denied": [{"IPProtocol": "udp"}], "allowed": [{"IPProtocol": "tcp"}]}, "'resource.allowed'"),
        ({"allowed": [{"IPProtocol": "nope"}]}, "'resource.allowed[0].IPProtocol'"),
        ({"allowed": [{"IPProtocol": "256"}]}, "'resource.allowed[0].IPProtocol'"),
        ({"allowed": [{"ports": ["22"]}]}, "'resource.allowed[0].IPProtocol'"),
        ({"allowed": [{"IPProtocol": "icmp", "ports": ["22"]}]}, "'resource.allowed[0].ports[0]'"),
        ({"allowed": [{"IPProtocol": "tcp", "ports": ["22", "x"]}]}, "'resource.allowed[0].ports[1]'"),
        ({"allowed": [{"IPProtocol": "tcp", "ports": ["9-8"]}]}, "'resource.allowed[0].ports[0]'"),
        ({"allowed": [{"IPProtocol": "tcp", "ports": ["65536"]}]}, "'resource.allowed[0].ports[0]'"),
        ({"allowed": [{"IPProtocol": "tcp", "ports": ["1-2-3"]}]}, "'resource.allowed[0].ports[0]'"),
        ({"allowed": [{"IPProtocol": "tcp", "ports": ["-5"]}]}, "'resource.allowed[0].ports[0]'"),
        ({"priority": -1}, "'resource.priority'"),
        ({"priority": 65536}, "'resource.priority'"),
        ({"direction": "SIDEWAYS"}, "direction"),
        ({"sourceRanges": ["10.0.0.0/33"]}, "'resource.sourceRanges[0]'"),
        ({"sourceRanges": ["10.0.0.0/8", "::/0"]}, "'resource.sourceRanges[1]'"),
        ({"destinationRanges": ["10.0.0.0/8"]}, "'resource.destinationRanges'"),
        ({"direction": "EGRESS", "sourceRanges": ["10.0.0.0/8"]}, "'resource.sourceRanges'"),
        ({"direction": "EGRESS", "sourceTags": ["web"]}, "'resource.sourceTags'"),
        ({"targetTags": ["Bad"]}, "'resource.targetTags"),
        ({"sourceServiceAccounts": ["me@example.org"]}, "'resource.sourceServiceAccounts"),
        ({"targetServiceAccounts": ["me@example.org"]}, "'resource.targetServiceAccounts"),
        ({"logConfig": {"enable": True}}, "'resource.logConfig.enable'"),
        ({"description": "x" * 2049}, "'resource.description'"),
        ({"nmae": "x"}, "nmae"),
    ],
)
async def test_what_is_no_rule_is_refused(gce: Gce, cloudstack: Simulator, members: Body, words: str) -> None:
    """With the field at fault; nothing is written down or put in force."""
    with NothingChanged(cloudstack):
        error = await gce.error("compute.firewalls.insert", **GLOBAL, body={**rule("in"), **members})
    operations = await gce.call("compute.globalOperations.list", **GLOBAL)

    assert (error["code"], words in error["message"], "items" in operations) == (400, True, False), error["message"]


@pytest.mark.parametrize(
    ("members", "zone", "words"),
    [
        ({"sourceTags": ["web"]}, "sandbox-1-a", "source tags"),
        ({"allowed": [{"IPProtocol": "esp"}]}, "sandbox-1-a", "protocol 50"),
        (
            {"direction": "EGRESS", "denied": [{"IPProtocol": "tcp"}], "targetTags": ["web"]},
            "sandbox-1-a",
            "target tags",
        ),
    ],
)
async def test_what_a_zone_cannot_express_is_refused_with_the_reason(
    gce: Gce, cloudstack: Simulator, members: Body, zone: str, words: str
) -> None:
    """Before anything is done anywhere: the other zone could have done it."""
    with NothingChanged(cloudstack):
        error = await gce.error("compute.firewalls.insert", **GLOBAL, body=rule("in", **members))

    assert (error["code"], zone in error["message"]) == (400, True), error["message"]
    assert (words in error["message"], "'in'" in error["message"]) == (True, True), error["message"]


async def test_a_vpc_has_no_tags(gce: Gce, prod: str, cloudstack: Simulator) -> None:
    """Its lists are for whole subnetworks."""
    for members in ({"targetTags": ["web"]}, {"sourceTags": ["web"]}):
        with NothingChanged(cloudstack):
            error = await gce.error("compute.firewalls.insert", **GLOBAL, body=rule("in", prod, **members))
        assert (error["code"], "tags" in error["message"]) == (400, True)


async def test_a_patch_that_cannot_be_expressed_leaves_the_old_rule(gce: Gce, prod: str, cloudstack: Simulator) -> None:
    """In force and as authored."""
    before = await inserted(gce, rule("in", prod))
    for body in (
        {"targetTags": ["web"]},
        {"network": "global/networks/default"},
        {"direction": "EGRESS", "sourceRanges": [], "destinationRanges": ["10.0.0.0/8"]},
        {"priority": 70000},
    ):
        with NothingChanged(cloudstack):
            error = await gce.error("compute.firewalls.patch", **GLOBAL, firewall="in", body=body)
        assert error["code"] == 400
    assert await gce.call("compute.firewalls.get", **GLOBAL, firewall="in") == before


async def test_a_name_is_taken_once(gce: Gce, prod: str, cloudstack: Simulator) -> None:
    """In the whole project, whatever the network."""
    await inserted(gce, rule("in", prod))
    with NothingChanged(cloudstack):
        error = await gce.error("compute.firewalls.insert", **GLOBAL, body=rule("in"))

    assert (error["code"], error["errors"][0]["reason"]) == (409, "alreadyExists")
    assert error["message"] == f"The resource '{PATH}/in' already exists"


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get", {"firewall": "nope"}),
        ("delete", {"firewall": "nope"}),
        ("patch", {"firewall": "nope", "body": {"priority": 5}}),
        ("update", {"firewall": "nope", "body": rule("nope")}),
        ("testIamPermissions", {"resource": "nope", "body": {"permissions": []}}),
    ],
)
async def test_unknown_rule_is_a_404_in_gce_form(gce: Gce, method: str, arguments: dict[str, Any]) -> None:
    """For each method that names one."""
    error = await gce.error(f"compute.firewalls.{method}", **GLOBAL, **arguments)

    assert (error["code"], error["errors"][0]["reason"]) == (404, "notFound")
    assert error["message"] == f"The resource '{PATH}/nope' was not found"


def openings(cloudstack: Simulator) -> list[tuple[str, int | None, int | None, str]]:
    """What the public addresses of machines let in: protocol, ports and the machine."""
    found = [row for row in cloudstack.inspect.rows(FirewallRule) if row.ip is not None and row.ip.static_nat_vm]
    return sorted((row.protocol, row.start_port, row.end_port, row.ip.static_nat_vm.name) for row in found)  # type: ignore[union-attr]


def group_openings(cloudstack: Simulator) -> list[tuple[str, str, int | None, int | None]]:
    """What groups let in: name, protocol and ports."""
    found = [row for row in cloudstack.inspect.rows(SecurityGroupRule) if row.ingress and row.account.name == "demo"]
    return sorted((row.group.name, row.protocol, row.start_port, row.end_port) for row in found)


async def test_rules_of_the_default_network_are_in_force_in_both_kinds_of_zone(gce: Gce, cloudstack: Simulator) -> None:
    """At the machines' public addresses in one, in security groups in the other; before and after they are made."""
    first = Holdings(cloudstack)
    await inserted(gce, rule("ssh"))
    await made(gce, insert_body("vm-1", external=True))
    await changed(gce, "compute.instances.insert", at=SG_HERE, body=insert_body("vm-2", zone="sandbox-sg-a"))
    assert openings(cloudstack) == [("tcp", 22, 22, "vm-1")]
    assert ("tcp", 22, 22) in [item[1:] for item in group_openings(cloudstack)]
    await inserted(gce, rule("web", allowed=[{"IPProtocol": "tcp", "ports": ["80", "443"]}]))
    assert openings(cloudstack) == [("tcp", port, port, "vm-1") for port in (22, 80, 443)]
    assert {item[2] for item in group_openings(cloudstack)} == {22, 80, 443}
    await changed(gce, "compute.firewalls.delete", at=GLOBAL, firewall="ssh")
    assert openings(cloudstack) == [("tcp", port, port, "vm-1") for port in (80, 443)]
    assert {item[2] for item in group_openings(cloudstack)} == {80, 443}

    await changed(gce, "compute.instances.delete", instance="vm-1")
    await changed(gce, "compute.instances.delete", at=SG_HERE, instance="vm-2")
    await changed(gce, "compute.firewalls.delete", at=GLOBAL, firewall="web")
    assert (openings(cloudstack), group_openings(cloudstack)) == ([], [])
    # The network and its own address are CloudStack's for the next machine, as its group `default` is.
    own = ("network", "source NAT True", "group default")
    assert [line for line in first.changes() if not any(word in line for word in own)] == []


async def test_target_tags_choose_machines(gce: Gce, cloudstack: Simulator) -> None:
    """A machine that gets a tag gets its rules, and loses them with it."""
    await inserted(gce, rule("web", allowed=[{"IPProtocol": "tcp", "ports": ["80"]}], targetTags=["web"]))
    await made(gce, insert_body("vm-1", external=True, tags={"items": ["web"]}))
    await made(gce, insert_body("vm-2", external=True))
    assert openings(cloudstack) == [("tcp", 80, 80, "vm-1")]
    for name, tags, expected in (
        ("vm-2", ["web", "db"], ["vm-1", "vm-2"]),
        ("vm-1", [], ["vm-2"]),
        ("vm-1", ["db"], ["vm-2"]),
        ("vm-1", ["web"], ["vm-1", "vm-2"]),
    ):
        vm = await gce.call("compute.instances.get", **HERE, instance=name)
        body = {"fingerprint": vm["tags"]["fingerprint"], "items": tags}
        await changed(gce, "compute.instances.setTags", instance=name, body=body)
        assert openings(cloudstack) == [("tcp", 80, 80, machine) for machine in expected]


async def test_denials_on_the_default_network_cut_out_of_what_is_allowed(gce: Gce, cloudstack: Simulator) -> None:
    """Where CloudStack can only let through, less is let through."""
    await made(gce, insert_body("vm-1", external=True))
    await inserted(gce, rule("many", allowed=[{"IPProtocol": "tcp", "ports": ["20-30"]}]))
    await inserted(gce, rule("not-smtp", priority=10, denied=[{"IPProtocol": "tcp", "ports": ["25"]}]))

    assert openings(cloudstack) == [("tcp", 20, 24, "vm-1"), ("tcp", 26, 30, "vm-1")]
    await changed(gce, "compute.firewalls.delete", at=GLOBAL, firewall="not-smtp")
    ports = {port for _, low, high, _ in openings(cloudstack) for port in range(low or 0, (high or 0) + 1)}
    assert ports == set(range(20, 31))


async def test_one_tenant_does_not_see_anothers_rules(gce: Gce, world: World) -> None:
    """Nor touch them; names are each tenant's own."""
    shown = await inserted(gce, rule("in"))
    other = await world.gce("other")

    assert "items" not in await other.call("compute.firewalls.list", project="other")
    for name in ("in", shown["id"]):
        error = await other.error("compute.firewalls.delete", project="other", firewall=name)
        assert error["code"] == 404
    await changed(other, "compute.firewalls.insert", at={"project": "other"}, body=rule("in"))
    assert await gce.call("compute.firewalls.get", **GLOBAL, firewall="in") == shown


async def test_a_read_costs_one_cloudstack_call(gce: Gce, prod: str, cloudstack: Simulator) -> None:
    """However many rules there are."""
    for name in ("a", "b"):
        await inserted(gce, rule(name, prod))
    before = cloudstack.call_counts.total()
    await gce.call("compute.firewalls.get", **GLOBAL, firewall="a")
    await gce.call("compute.firewalls.list", **GLOBAL)

    assert cloudstack.call_counts.total() - before == 2
