"""compute.instances.bulkInsert: many machines, one operation for each and one for all."""

from __future__ import annotations

from typing import Any

import pytest

from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.testing.gce import Body, Gce
from tests.resources.holdings import Holdings, NothingChanged
from tests.resources.requests import HERE, PROJECT, ZONE, changed, disk_made, failed, insert_body, made

pytestmark = pytest.mark.gen_test

INSERT = "compute.instances.bulkInsert"
INSIDE = ("disks", "guestAccelerators", "labels", "machineType", "networkInterfaces", "tags")


def bulk(count: int, **members: Any) -> Body:
    """What gcloud sends, with everything at its plainest."""
    properties = insert_body("x")
    del properties["name"]
    properties["machineType"] = "small-instance"
    return {"count": str(count), "namePattern": "vm-#", "instanceProperties": properties, **members}


async def children(gce: Gce, operation: Body) -> list[Body]:
    """The operations of the machines, as gcloud looks for them."""
    group = operation["operationGroupId"].replace("-", "\\-")
    expression = f'operationGroupId eq ".*\\b{group}\\b.*"'
    listed = await gce.call("compute.zoneOperations.list", **HERE, filter=expression)
    return [item for item in listed["items"] if item["operationType"] == "insert"]


async def names(gce: Gce) -> list[str]:
    """The machines that are there."""
    listed = await gce.call("compute.instances.list", **HERE)
    return sorted(item["name"] for item in listed.get("items", []))


async def test_many_machines_are_made(gce: Gce, cloudstack: Simulator) -> None:
    """One operation to wait for; the others are found by its group."""
    operation = await changed(gce, INSERT, body=bulk(3))
    found = await children(gce, operation)

    assert (operation["operationType"], operation["progress"]) == ("bulkInsert", 100)
    assert await names(gce) == ["vm-1", "vm-2", "vm-3"]
    assert {vm.state for vm in cloudstack.vms("demo")} == {"Running"}
    assert sorted(item["targetLink"].rpartition("/")[2] for item in found) == ["vm-1", "vm-2", "vm-3"]
    assert {(item["status"], item["user"], "error" in item) for item in found} == {("DONE", operation["user"], False)}
    assert {item["operationGroupId"] for item in found} == {operation["operationGroupId"]}
    assert all("targetId" in item for item in found)


async def test_numbers_go_on_where_they_ended(gce: Gce) -> None:
    """With as many digits as the pattern has, and words on both sides of them."""
    await changed(gce, INSERT, body=bulk(2))
    await changed(gce, INSERT, body=bulk(1))
    await changed(gce, INSERT, body=bulk(2, namePattern="web-###-x"))

    assert await names(gce) == ["vm-1", "vm-2", "vm-3", "web-001-x", "web-002-x"]


async def test_machines_get_names_of_their_own(gce: Gce) -> None:
    """`perInstanceProperties` names them, and may give host names."""
    own: Body = {"blue": {}, "red": {"hostname": "red.example.org"}}
    body = bulk(2, perInstanceProperties=own)
    del body["namePattern"]
    await changed(gce, INSERT, body=body)
    red = await gce.call("compute.instances.get", **HERE, instance="red")

    assert (await names(gce), red["hostname"]) == (["blue", "red"], "red.example.org")


async def test_properties_are_those_of_each_machine(gce: Gce) -> None:
    """Labels, tags, metadata and disks, as one insert for each would have them."""
    body = bulk(2)
    body["instanceProperties"] |= {"labels": {"a": "b"}, "tags": {"items": ["web"]}, "description": "many"}
    body["instanceProperties"]["disks"].append(
        {"initializeParams": {"diskSizeGb": "3"}, "autoDelete": True, "deviceName": "data"}
    )
    await changed(gce, INSERT, body=body)

    for name in ("vm-1", "vm-2"):
        vm = await gce.call("compute.instances.get", **HERE, instance=name)
        assert (vm["labels"], vm["tags"]["items"], vm["description"]) == ({"a": "b"}, ["web"], "many")
        assert [disk["source"].rpartition("/")[2] for disk in vm["disks"]] == [name, f"{name}-1"]
        assert vm["machineType"].endswith("/machineTypes/small-instance")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"count": None}, "'resource.count' not specified"),
        ({"count": "0"}, "'resource.count'"),
        ({"count": "-1"}, "'resource.count'"),
        ({"count": "101"}, "'resource.count'"),
        ({"count": "2", "minCount": "3"}, "'resource.minCount'"),
        ({"namePattern": None}, "'resource.namePattern'"),
        ({"namePattern": "vm"}, "'resource.namePattern'"),
        ({"namePattern": "Vm-#"}, "'resource.namePattern'"),
        ({"namePattern": "vm-#-#"}, "'resource.namePattern'"),
        ({"namePattern": "x" * 63 + "#"}, "name"),
        ({"perInstanceProperties": {"a": {}}}, "'resource.count'"),
        ({"perInstanceProperties": {"a": {}, "Bad": {}}}, "Bad"),
        ({"sourceInstanceTemplate": "global/instanceTemplates/x"}, "'resource.sourceInstanceTemplate'"),
        ({"locationPolicy": {"locations": {ZONE: {"preference": "ALLOW"}}}}, "'resource.locationPolicy"),
        ({"instanceProperties": None}, "machineType' not specified"),
        ({"machineType": None}, "'resource.instanceProperties.machineType' not specified"),
        ({"machineType": "nope"}, "'resource.instanceProperties.machineType'"),
        ({"machineType": "zones/elsewhere/machineTypes/x"}, "'resource.instanceProperties.machineType'"),
        ({"disks": []}, "'resource.instanceProperties.disks' not specified"),
        ({"disks": [{"boot": True}]}, "'resource.instanceProperties.disks[0].initializeParams.sourceImage'"),
        ({"labels": {"A": "b"}}, "'resource.instanceProperties.labels'"),
        ({"tags": {"items": ["Web"]}}, "'resource.instanceProperties.tags.items[0]'"),
        ({"networkInterfaces": [{"network": "nope"}]}, "'resource.instanceProperties.networkInterfaces[0].network'"),
        (
            {"count": "1", "namePattern": None, "perInstanceProperties": {"a": {"hostname": "-"}}},
            "'resource.perInstanceProperties.a.hostname'",
        ),
        ({"guestAccelerators": [{"acceleratorCount": 1}]}, "'resource.instanceProperties.guestAccelerators'"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_made(
    gce: Gce, cloudstack: Simulator, members: Body, words: str
) -> None:
    """A 400, and no operation at all."""
    body = bulk(2)
    for name, value in members.items():
        of = body["instanceProperties"] if name in INSIDE else body
        of[name] = value
    body = {name: value for name, value in body.items() if value is not None}
    with NothingChanged(cloudstack):
        error = await gce.error(INSERT, **HERE, body=body)
    operations = await gce.call("compute.zoneOperations.list", **HERE)

    assert (error["code"], words in error["message"], "items" in operations) == (400, True, False), error["message"]


async def test_a_disk_that_is_there_cannot_be_in_all_of_them(gce: Gce, cloudstack: Simulator) -> None:
    """One at most could have it; nor can each have a new one of the same name."""
    await disk_made(gce, "data-1")
    for disk, field in (
        ({"source": f"projects/{PROJECT}/zones/{ZONE}/disks/data-1"}, "source"),
        ({"initializeParams": {"diskName": "data-2"}}, "initializeParams.diskName"),
    ):
        body = bulk(2)
        body["instanceProperties"]["disks"].append(disk)
        with NothingChanged(cloudstack):
            error = await gce.error(INSERT, **HERE, body=body)
        assert error["code"] == 400
        assert f"'resource.instanceProperties.disks[1].{field}'" in error["message"]


async def test_a_name_that_is_taken_is_told_before(gce: Gce, cloudstack: Simulator) -> None:
    """And nothing is made, the others neither."""
    await made(gce, insert_body("red"))
    body = bulk(2, perInstanceProperties={"blue": {}, "red": {}})
    with NothingChanged(cloudstack):
        error = await gce.error(INSERT, **HERE, body=body)

    assert (error["code"], "instances/red' already exists" in error["message"]) == (409, True), error["message"]


class TestLimits:
    @pytest.fixture
    def cloudstack_settings(self) -> SimulatorSettings:
        return SimulatorSettings(limits={"user_vm": 3})

    async def test_fewer_than_wanted_are_none(self, gce: Gce, cloudstack: Simulator) -> None:
        """Without a smaller `minCount`, those that were made go again, and the cause is named."""
        await made(gce, insert_body("vm-0"))
        with NothingChanged(cloudstack):
            operation = await failed(gce, INSERT, body=bulk(3))
        found = await children(gce, operation)

        assert "3" in operation["error"]["errors"][0]["message"]
        assert "user_vm" in operation["error"]["errors"][0]["message"]
        assert sorted(item["error"]["errors"][0]["code"] for item in found if "error" in item) == ["QUOTA_EXCEEDED"]

    async def test_at_least_so_many_are_enough(self, gce: Gce, cloudstack: Simulator) -> None:
        """With `minCount` the operation ends well, and its children tell which failed."""
        await made(gce, insert_body("other"))
        kept = Holdings(cloudstack)
        operation = await changed(gce, INSERT, body=bulk(3, minCount="2"))
        found = await children(gce, operation)

        assert len([line for line in kept.changes() if line.startswith("+ machine")]) == 2
        assert len([item for item in found if "error" in item]) == 1


async def test_the_same_request_id_makes_them_once(gce: Gce, cloudstack: Simulator) -> None:
    """A client that lost the answer asks again."""
    request_id = "11111111-2222-3333-4444-555555555555"
    first = await changed(gce, INSERT, requestId=request_id, body=bulk(2))
    again = await changed(gce, INSERT, requestId=request_id, body=bulk(2))

    assert (first["name"], len(cloudstack.vms("demo"))) == (again["name"], 2)
