"""compute.instances over HTTP: a machine's life, and what is left of it in CloudStack."""

from __future__ import annotations

from typing import Any

import pytest

from gceshim.simulator import Simulator
from gceshim.simulator.entities import PublicIp
from gceshim.testing.gce import Gce
from gceshim.testing.world import World
from tests.resources.holdings import Holdings
from tests.resources.requests import HERE, PROJECT, ZONE, changed, disk_made, insert_body, made

pytestmark = pytest.mark.gen_test


async def test_a_machine_is_made_running_and_told_as_it_is(gce: Gce, cloudstack: Simulator) -> None:
    """The whole of what was asked for comes back, and CloudStack has one machine."""
    body = insert_body(
        "vm-1",
        description="first",
        labels={"env": "test", "empty": ""},
        tags={"items": ["web", "db"]},
        metadata={"items": [{"key": "colour", "value": "blue" * 200}]},
        hostname="vm-1.example.org",
        scheduling={"automaticRestart": True, "onHostMaintenance": "MIGRATE"},
        serviceAccounts=[{"email": "me@example.org", "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}],
    )
    operation = await gce.done(await gce.call("compute.instances.insert", **HERE, body=body))

    assert operation.get("error") is None
    assert operation["operationType"] == "insert"
    assert operation["targetLink"].endswith(f"/projects/{PROJECT}/zones/{ZONE}/instances/vm-1")
    vm = await gce.call("compute.instances.get", **HERE, instance="vm-1")
    assert (vm["status"], vm["description"], vm["hostname"]) == ("RUNNING", "first", "vm-1.example.org")
    assert vm["labels"] == {"env": "test", "empty": ""}
    assert vm["tags"]["items"] == ["db", "web"]
    assert vm["metadata"]["items"] == body["metadata"]["items"]
    assert vm["scheduling"] == body["scheduling"]
    assert vm["serviceAccounts"] == body["serviceAccounts"]
    assert vm["machineType"].endswith("/machineTypes/small-instance")
    assert vm["disks"][0]["source"].endswith("/disks/vm-1")
    assert operation["targetId"] == vm["id"]
    assert [machine.name for machine in cloudstack.vms("demo")] == ["vm-1"]
    assert cloudstack.vm("vm-1").state == "Running"


async def test_a_machine_is_all_that_is_new_and_nothing_stays_of_it(gce: Gce, cloudstack: Simulator) -> None:
    """To the last tag: with an address, a rule that applies to it, a disk of its own, and one that is there."""
    await made(gce, insert_body("first"))  # and with it the default network
    await changed(gce, "compute.instances.delete", instance="first")
    await disk_made(gce, "old", sizeGb="3")
    rule = {"name": "web", "targetTags": ["web"], "allowed": [{"IPProtocol": "tcp", "ports": ["80"]}]}
    await changed(gce, "compute.firewalls.insert", at={"project": PROJECT}, body=rule)
    kept = Holdings(cloudstack)
    body = insert_body("vm-1", external=True, labels={"env": "test"}, tags={"items": ["web"]}, description="mine")
    body["disks"].append({"initializeParams": {"diskName": "new", "diskSizeGb": "7"}, "autoDelete": True})
    body["disks"].append({"source": f"zones/{ZONE}/disks/old", "deviceName": "old"})
    await made(gce, body)

    assert kept.changes() == [
        "+ address in Sandbox 1: source NAT False, to vm-1",
        "+ interface of vm-1 in default",
        "+ machine vm-1: Running, Small Instance 1 x 1024, user data none, protected False, groups [], keys []",
        "+ rule of network: to vm-1 tcp 80-80 ['0.0.0.0/0']",
        "+ tag env=test on vm-1",
        "+ tag gce:auto-delete=... on new",
        '+ tag gce:description="mine" on vm-1',
        '+ tag gce:device-name="old" on old',
        '+ tag gce:device-name="persistent-disk-1" on new',
        '+ tag gce:disk-name="new" on new',
        '+ tag gce:disk-type="pd-standard" on new',
        f'+ tag gce:ephemeral="{cloudstack.vm("vm-1").uuid}" on address',
        "+ tag gce:external=... on vm-1",
        '+ tag gce:machine-type="small-instance" on vm-1',
        "+ tag gce:operation=... on new",
        '+ tag gce:tags=["web"] on vm-1',
        "+ volume boot of vm-1: 10 GiB at vm-1:0",
        "+ volume new: 7 GiB at vm-1:1",
        "+ volume old: 3 GiB at vm-1:2",
        "- volume old: 3 GiB",
    ]
    await changed(gce, "compute.instances.delete", instance="vm-1")
    assert kept.changes() == []


async def test_an_external_address_comes_and_goes_with_its_machine(gce: Gce, cloudstack: Simulator) -> None:
    """An ephemeral address that outlives its machine would be paid for for ever."""
    body = insert_body("vm-1", external=True)
    await made(gce, body)
    vm = await gce.call("compute.instances.get", **HERE, instance="vm-1")
    address = vm["networkInterfaces"][0]["accessConfigs"][0]["natIP"]

    assert address != vm["networkInterfaces"][0]["networkIP"]
    assert vm["networkInterfaces"][0]["accessConfigs"][0]["name"] == "external-nat"
    await gce.done(await gce.call("compute.instances.delete", **HERE, instance="vm-1"))
    error = await gce.error("compute.instances.get", **HERE, instance="vm-1")
    assert error["message"] == f"The resource 'projects/{PROJECT}/zones/{ZONE}/instances/vm-1' was not found"
    assert cloudstack.vms("demo") == []
    assert cloudstack.volumes() == []
    assert address not in held_addresses(cloudstack)


def held_addresses(cloudstack: Simulator) -> list[str]:
    """Public addresses that somebody asked for."""
    return [item.address for item in cloudstack.inspect.rows(PublicIp) if not item.source_nat]


async def test_stop_start_and_reset(gce: Gce, cloudstack: Simulator) -> None:
    """The three verbs, and that doing one twice is no error."""
    await made(gce, insert_body("vm-1"))
    for verb, status, state in (
        ("stop", "TERMINATED", "Stopped"),
        ("stop", "TERMINATED", "Stopped"),
        ("start", "RUNNING", "Running"),
        ("start", "RUNNING", "Running"),
        ("reset", "RUNNING", "Running"),
    ):
        operation = await gce.done(await gce.call(f"compute.instances.{verb}", **HERE, instance="vm-1"))
        vm = await gce.call("compute.instances.get", **HERE, instance="vm-1")
        assert (operation["operationType"], operation.get("error"), vm["status"]) == (verb, None, status)
        assert cloudstack.vm("vm-1").state == state


async def test_reset_of_a_stopped_machine_fails_and_says_so(gce: Gce) -> None:
    """GCE resets running machines only; clients read both forms of the error."""
    await made(gce, insert_body("vm-1"))
    await gce.done(await gce.call("compute.instances.stop", **HERE, instance="vm-1"))
    operation = await gce.done(await gce.call("compute.instances.reset", **HERE, instance="vm-1"))

    assert operation["error"]["errors"][0]["code"] == "RESOURCE_NOT_READY"
    assert (operation["httpErrorStatusCode"], bool(operation["httpErrorMessage"])) == (400, True)


async def test_lists_hold_what_gets_show(gce: Gce) -> None:
    """The same object in every answer about one thing."""
    for name in ("vm-1", "vm-2"):
        await made(gce, insert_body(name))
    listed = await gce.call("compute.instances.list", **HERE)
    spread = await gce.call("compute.instances.aggregatedList", project=PROJECT)
    everywhere = await gce.call("compute.instances.aggregatedList", project=PROJECT, includeAllScopes=True)

    assert [item["name"] for item in listed["items"]] == ["vm-1", "vm-2"]
    assert [item["name"] for item in spread["items"][f"zones/{ZONE}"]["instances"]] == ["vm-1", "vm-2"]
    assert spread["items"]["zones/sandbox-sg-a"]["warning"]["code"] == "NO_RESULTS_ON_PAGE"
    assert everywhere["items"].keys() - spread["items"].keys() == {
        "global",
        "regions/sandbox-1",
        "regions/sandbox-sg",
    }
    one = await gce.call("compute.instances.get", **HERE, instance="vm-2")
    assert listed["items"][1] == one
    assert (await gce.call("compute.instances.get", **HERE, instance=one["id"]))["name"] == "vm-2"


async def test_what_is_in_one_page_is_by_name(gce: Gce) -> None:
    """GCE's order where nothing else is asked for; from page to page it is CloudStack's."""
    for name in ("vm-b", "vm-c", "vm-a"):
        await made(gce, insert_body(name))

    async def names(method: str, **params: Any) -> list[str]:
        return [item["name"] for item in (await gce.call(f"compute.{method}.list", **HERE, **params))["items"]]

    for method in ("instances", "disks"):
        assert await names(method) == ["vm-a", "vm-b", "vm-c"]
        assert await names(method, filter="name ne vm-b") == ["vm-a", "vm-c"]
    assert await names("instances", maxResults=2) == ["vm-b", "vm-c"]
    spread = await gce.call("compute.instances.aggregatedList", project=PROJECT)
    assert [item["name"] for item in spread["items"][f"zones/{ZONE}"]["instances"]] == ["vm-a", "vm-b", "vm-c"]


async def test_lists_come_in_pages(gce: Gce) -> None:
    """`maxResults` and `pageToken`, until there are no more."""
    for number in range(5):
        await made(gce, insert_body(f"vm-{number}"))
    names, token, pages = [], None, 0
    while pages == 0 or token:
        page = await gce.call("compute.instances.list", **HERE, maxResults=2, **({"pageToken": token} if token else {}))
        names += [item["name"] for item in page["items"]]
        token, pages = page.get("nextPageToken"), pages + 1

    assert (sorted(names), pages) == ([f"vm-{number}" for number in range(5)], 3)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("name eq ^vm-1$", ["vm-1"]),
        ('name eq ".*\\bvm\\-2\\b.*"', ["vm-2"]),
        ("name ne vm-1", ["vm-2"]),
        ("status eq RUNNING", ["vm-1", "vm-2"]),
        ("(status eq RUNNING)(name eq vm-2)", ["vm-2"]),
        ("name=vm-1", ["vm-1"]),
        ("labels.env=one", ["vm-1"]),
        ("name eq vm", []),
    ],
)
async def test_lists_are_filtered(gce: Gce, expression: str, expected: list[str]) -> None:
    """gcloud trusts the server's filter and does not look again."""
    await made(gce, insert_body("vm-1", labels={"env": "one"}))
    await made(gce, insert_body("vm-2"))
    listed = await gce.call("compute.instances.list", **HERE, filter=expression)

    assert [item["name"] for item in listed.get("items", [])] == expected


async def test_a_read_costs_few_cloudstack_calls(gce: Gce, cloudstack: Simulator) -> None:
    """Once zones and offerings are known: the machine and its volumes, and no more."""
    await made(gce, insert_body("vm-1"))
    await gce.call("compute.instances.get", **HERE, instance="vm-1")
    before = sum(cloudstack.call_counts.values())
    await gce.call("compute.instances.get", **HERE, instance="vm-1")
    middle = sum(cloudstack.call_counts.values())
    await gce.call("compute.instances.list", **HERE)

    assert middle - before <= 2
    assert sum(cloudstack.call_counts.values()) - middle <= 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"machineType": "zones/sandbox-1-a/machineTypes/nope"}, "'resource.machineType'"),
        ({"machineType": "zones/sandbox-1-a/machineTypes/custom-3-100"}, "'resource.machineType'"),
        ({"image": "projects/debian-cloud/global/images/family/debian-99"}, "sourceImage'"),
        ({"image": "projects/nobodys-cloud/global/images/x"}, "sourceImage'"),
        ({"image": "projects/other/global/images/demo-golden"}, "sourceImage'"),
        ({"network": "global/networks/nope"}, "'resource.networkInterfaces[0].network'"),
        ({"network": "projects/other/global/networks/default"}, "It is in project 'other'"),
        ({"name": "Bad_Name"}, "'resource.name'"),
        ({"name": "x" * 64}, "'resource.name'"),
        ({"guestAccelerators": [{"acceleratorCount": 1}]}, "'resource.guestAccelerators'"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_made(
    gce: Gce, cloudstack: Simulator, changes: dict[str, Any], words: str
) -> None:
    """A 400 that names the field, and no operation, no machine, no network."""
    body = insert_body(changes.pop("name", "vm-1"), **changes)
    error = await gce.error("compute.instances.insert", **HERE, body=body)

    assert error["code"] == 400
    assert words in error["message"]
    assert (cloudstack.vms("demo"), (await gce.call("compute.zoneOperations.list", **HERE)).get("items")) == ([], None)


async def test_a_name_is_taken_once(gce: Gce, cloudstack: Simulator) -> None:
    """409, as clients tell a repeat from a failure by it."""
    await made(gce, insert_body("vm-1"))
    error = await gce.error("compute.instances.insert", **HERE, body=insert_body("vm-1"))

    assert (error["code"], error["errors"][0]["reason"]) == (409, "alreadyExists")
    assert error["message"] == f"The resource 'projects/{PROJECT}/zones/{ZONE}/instances/vm-1' already exists"
    assert len(cloudstack.vms("demo")) == 1


async def test_deletion_protection_protects(gce: Gce, cloudstack: Simulator) -> None:
    """Asked for at the beginning, it holds to the end."""
    await made(gce, insert_body("vm-1", deletionProtection=True))
    error = await gce.error("compute.instances.delete", **HERE, instance="vm-1")

    assert (error["code"], "protected against deletion" in error["message"]) == (400, True)
    assert cloudstack.vm("vm-1").state == "Running"


async def test_overridden_fields_are_told_in_the_operation(gce: Gce) -> None:
    """What is accepted and not done has to be said."""
    operation = await made(gce, insert_body("vm-1", minCpuPlatform="Intel Haswell"))

    assert [warning["code"] for warning in operation["warnings"]] == ["FIELD_VALUE_OVERRIDEN"]
    assert "minCpuPlatform" in operation["warnings"][0]["message"]


async def test_a_machine_where_networks_have_security_groups(gce: Gce, cloudstack: Simulator) -> None:
    """The zone's shared network is the default one there, and its addresses are reachable as they are."""
    zone = "sandbox-sg-a"
    body = insert_body("vm-1", zone=zone, external=True)
    operation = await gce.done(await gce.call("compute.instances.insert", project=PROJECT, zone=zone, body=body))
    vm = await gce.call("compute.instances.get", project=PROJECT, zone=zone, instance="vm-1")
    interface = vm["networkInterfaces"][0]

    assert operation.get("error") is None
    assert interface["accessConfigs"][0]["natIP"] == interface["networkIP"]
    assert held_addresses(cloudstack) == []


async def test_custom_and_predefined_machine_types(gce: Gce, cloudstack: Simulator) -> None:
    """The name that was asked for is the name that is shown: Terraform compares them."""
    await made(gce, insert_body("vm-1", machineType=f"zones/{ZONE}/machineTypes/custom-2-4096"))
    await made(gce, insert_body("vm-2", machineType=f"zones/{ZONE}/machineTypes/e2-medium"))
    shown = {
        item["name"]: item["machineType"].rpartition("/")[2]
        for item in (await gce.call("compute.instances.list", **HERE))["items"]
    }

    assert shown == {"vm-1": "custom-2-4096", "vm-2": "e2-medium"}
    assert (cloudstack.vm("vm-1").cpus, cloudstack.vm("vm-1").memory_mib) == (2, 4096)
    assert (cloudstack.vm("vm-2").cpus, cloudstack.vm("vm-2").memory_mib) == (2, 4096)


async def test_one_tenant_does_not_see_another(gce: Gce, world: World) -> None:
    """Neither machines nor operations nor the project itself."""
    operation = await made(gce, insert_body("vm-1"))
    other = await world.gce("other")

    for method, names in (
        ("compute.instances.list", {"zone": ZONE}),
        ("compute.projects.get", {}),
        ("compute.zoneOperations.get", {"zone": ZONE, "operation": operation["name"]}),
    ):
        error = await other.error(method, project="demo", **names)
        assert (error["code"], error["errors"][0]["reason"]) == (404, "notFound")
    assert (await other.call("compute.instances.list", project="other", zone=ZONE)).get("items") is None
    error = await other.error("compute.zoneOperations.get", project="other", zone=ZONE, operation=operation["name"])
    assert error["code"] == 404


async def test_the_same_request_id_is_the_same_operation(gce: Gce, cloudstack: Simulator) -> None:
    """A client that lost the answer asks again."""
    request_id = "11111111-2222-3333-4444-555555555555"
    first = await gce.call("compute.instances.insert", **HERE, requestId=request_id, body=insert_body("vm-1"))
    again = await gce.call("compute.instances.insert", **HERE, requestId=request_id, body=insert_body("vm-1"))
    error = await gce.error("compute.instances.insert", **HERE, requestId=request_id, body=insert_body("vm-2"))
    await gce.done(first)

    assert first["name"] == again["name"]
    assert (error["code"], len(cloudstack.vms("demo"))) == (400, 1)
