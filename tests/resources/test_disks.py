"""compute.disks and compute.diskTypes over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.testing.gce import Gce
from gceshim.testing.world import World
from tests.resources.holdings import Holdings, NothingChanged
from tests.resources.requests import HERE, PROJECT, ZONE, changed, disk_made, failed, insert_body, made

pytestmark = pytest.mark.gen_test

GIB = 1024**3
PATH = f"projects/{PROJECT}/zones/{ZONE}/disks"


async def test_a_disk_is_made_and_told_as_it_is(gce: Gce, cloudstack: Simulator) -> None:
    """The whole of what was asked for comes back, and CloudStack has one volume of that size."""
    kept = Holdings(cloudstack)
    body = {
        "name": "data-1",
        "sizeGb": "20",
        "type": f"zones/{ZONE}/diskTypes/pd-ssd",
        "description": "for the database",
        "labels": {"env": "test", "empty": ""},
    }
    operation = await changed(gce, "compute.disks.insert", body=body)
    disk = await gce.call("compute.disks.get", **HERE, disk="data-1")

    assert (operation["operationType"], operation["targetId"]) == ("insert", disk["id"])
    assert operation["targetLink"] == disk["selfLink"]
    assert disk["selfLink"].endswith(f"/compute/v1/{PATH}/data-1")
    assert (disk["kind"], disk["status"], disk["sizeGb"]) == ("compute#disk", "READY", "20")
    assert (disk["description"], disk["labels"]) == (body["description"], body["labels"])
    assert disk["type"].endswith(f"/zones/{ZONE}/diskTypes/pd-ssd")
    assert "users" not in disk
    assert [line for line in kept.changes() if " tag " not in line] == ["+ volume data-1: 20 GiB"]
    assert "+ tag env=test on data-1" in kept.changes()


async def test_what_is_not_said_of_a_disk_has_a_default(gce: Gce) -> None:
    """gcloud sends neither size nor type unless they are given."""
    disk = await disk_made(gce, "data-1")

    assert (disk["sizeGb"], disk["type"].rpartition("/")[2]) == ("10", "pd-standard")
    assert "labels" not in disk
    assert "description" not in disk


async def test_lists_hold_what_gets_show(gce: Gce) -> None:
    """The same object in every answer about one thing; boot disks are among them."""
    await made(gce, insert_body("vm-1"))
    for name in ("data-1", "data-2"):
        await disk_made(gce, name, labels={"of": name})
    listed = await gce.call("compute.disks.list", **HERE)
    spread = await gce.call("compute.disks.aggregatedList", project=PROJECT)

    assert {item["name"] for item in listed["items"]} == {"vm-1", "data-1", "data-2"}
    assert spread["items"][f"zones/{ZONE}"]["disks"] == listed["items"]
    assert spread["items"]["zones/sandbox-sg-a"]["warning"]["code"] == "NO_RESULTS_ON_PAGE"
    for item in listed["items"]:
        assert await gce.call("compute.disks.get", **HERE, disk=item["name"]) == item
        assert await gce.call("compute.disks.get", **HERE, disk=item["id"]) == item


async def test_lists_come_in_pages_and_filtered(gce: Gce) -> None:
    """Each disk once, whatever the size of the pages."""
    for number in range(5):
        await disk_made(gce, f"data-{number}", labels={"odd": "yes" if number % 2 else "no"})
    names, token, pages = [], None, 0
    while pages == 0 or token:
        page = await gce.call("compute.disks.list", **HERE, maxResults=2, **({"pageToken": token} if token else {}))
        names += [item["name"] for item in page["items"]]
        token, pages = page.get("nextPageToken"), pages + 1
    odd = await gce.call("compute.disks.list", **HERE, filter="labels.odd=yes")

    assert (sorted(names), pages) == ([f"data-{number}" for number in range(5)], 3)
    assert sorted(item["name"] for item in odd["items"]) == ["data-1", "data-3"]
    assert "items" not in await gce.call("compute.disks.list", **HERE, filter="name eq data")


async def test_a_boot_disk_carries_its_machines_name(gce: Gce, cloudstack: Simulator) -> None:
    """As on GCE, where it is a disk like any other."""
    await made(gce, insert_body("vm-1"))
    disk = await gce.call("compute.disks.get", **HERE, disk="vm-1")
    vm = await gce.call("compute.instances.get", **HERE, instance="vm-1")

    assert (disk["status"], disk["sizeGb"], disk["users"]) == ("READY", "10", [vm["selfLink"]])
    assert vm["disks"][0]["source"] == disk["selfLink"]
    assert disk["sourceImage"].endswith("/projects/debian-cloud/global/images/debian-12")
    image = await gce.call("compute.images.get", project="debian-cloud", image="debian-12")
    assert disk["sourceImageId"] == image["id"]
    with NothingChanged(cloudstack):
        error = await gce.error("compute.disks.delete", **HERE, disk="vm-1")
        assert (error["code"], error["errors"][0]["reason"]) == (400, "resourceInUseByAnotherResource")
        assert f"'{PATH}/vm-1' is already being used by '" in error["message"]


@pytest.mark.parametrize(
    ("members", "status", "words"),
    [
        ({"name": ""}, 400, "'resource.name'"),
        ({"name": "Bad_Name"}, 400, "'resource.name'"),
        ({"name": "x" * 64}, 400, "'resource.name'"),
        ({"sizeGb": "-1"}, 400, "'resource.sizeGb'"),
        ({"sizeGb": "65537"}, 400, "'resource.sizeGb'"),
        ({"sizeGb": "5000"}, 400, "'resource.sizeGb'"),
        ({"sizeGb": "many"}, 400, "sizeGb"),
        ({"type": f"zones/{ZONE}/diskTypes/nope"}, 400, "'resource.type'"),
        ({"type": f"zones/{ZONE}/machineTypes/small-instance"}, 400, "'resource.type'"),
        ({"type": "zones/sandbox-sg-a/diskTypes/pd-ssd"}, 400, "'resource.type'"),
        ({"type": f"zones/{ZONE}/diskTypes/small", "sizeGb": "6"}, 400, "'resource.sizeGb'"),
        ({"labels": {"Bad": "x"}}, 400, "'resource.labels'"),
        ({"labels": {"a": "x" * 64}}, 400, "'resource.labels'"),
        ({"description": "x" * 2049}, 400, "'resource.description'"),
        ({"sourceImage": "projects/debian-cloud/global/images/family/debian-12"}, 400, "'resource.sourceImage'"),
        ({"sourceSnapshot": "global/snapshots/x"}, 400, "'resource.sourceSnapshot'"),
        ({"sourceDisk": f"zones/{ZONE}/disks/x"}, 400, "'resource.sourceDisk'"),
        ({"replicaZones": ["zones/a", "zones/b"]}, 400, "'resource.replicaZones"),
        ({"diskEncryptionKey": {"rawKey": "x"}}, 400, "'resource.diskEncryptionKey'"),
        ({"nmae": "x"}, 400, "nmae"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_made(
    gce: Gce, cloudstack: Simulator, members: dict[str, Any], status: int, words: str
) -> None:
    """An error that names the field, and no operation and no volume."""
    with NothingChanged(cloudstack):
        error = await gce.error("compute.disks.insert", **HERE, body={"name": "data-1", **members})
    operations = await gce.call("compute.zoneOperations.list", **HERE)

    assert (error["code"], "items" in operations) == (status, False)
    assert words in error["message"]


async def test_an_image_named_in_the_query_is_refused_too(gce: Gce, cloudstack: Simulator) -> None:
    """The old way to say it; an empty disk would not be what was asked for."""
    image = "projects/debian-cloud/global/images/debian-12"
    with NothingChanged(cloudstack):
        error = await gce.error("compute.disks.insert", **HERE, sourceImage=image, body={"name": "data-1"})

    assert (error["code"], "sourceImage" in error["message"]) == (400, True)


async def test_a_fixed_type_has_its_size(gce: Gce) -> None:
    """Asked for or not."""
    small = f"zones/{ZONE}/diskTypes/small"

    assert (await disk_made(gce, "data-1", type=small))["sizeGb"] == "5"
    assert (await disk_made(gce, "data-2", type=small, sizeGb="5"))["type"].endswith("/diskTypes/small")


async def test_a_name_is_taken_once(gce: Gce, cloudstack: Simulator) -> None:
    """By a disk made before, or by the boot disk of a machine."""
    await disk_made(gce, "data-1")
    await made(gce, insert_body("vm-1"))
    with NothingChanged(cloudstack):
        for name in ("data-1", "vm-1"):
            error = await gce.error("compute.disks.insert", **HERE, body={"name": name})
            assert (error["code"], error["errors"][0]["reason"]) == (409, "alreadyExists")
            assert error["message"] == f"The resource '{PATH}/{name}' already exists"


async def test_a_machine_cannot_have_a_boot_disk_of_a_name_that_is_taken(gce: Gce, cloudstack: Simulator) -> None:
    """Two disks of one name could not be told apart."""
    await disk_made(gce, "vm-1")
    with NothingChanged(cloudstack):
        error = await gce.error("compute.instances.insert", **HERE, body=insert_body("vm-1"))

    assert (error["code"], error["message"]) == (409, f"The resource '{PATH}/vm-1' already exists")


async def test_the_same_name_in_another_zone_is_another_disk(gce: Gce) -> None:
    """Disks are of one zone."""
    other = {"project": PROJECT, "zone": "sandbox-sg-a"}
    first = await disk_made(gce, "data-1")
    await changed(gce, "compute.disks.insert", at=other, body={"name": "data-1", "sizeGb": "3"})
    second = await gce.call("compute.disks.get", **other, disk="data-1")

    assert (first["sizeGb"], second["sizeGb"], first["id"] == second["id"]) == ("10", "3", False)


async def test_a_disk_grows(gce: Gce, cloudstack: Simulator) -> None:
    """By resize, and by update, which is what gcloud sends for `disks update --size`."""
    await disk_made(gce, "data-1", sizeGb="10", labels={"a": "b"})
    operation = await changed(gce, "compute.disks.resize", disk="data-1", body={"sizeGb": "12"})
    assert (operation["operationType"], cloudstack.volume("data-1").size_bytes) == ("resize", 12 * GIB)
    body = {"name": "data-1", "sizeGb": "15"}
    operation = await changed(gce, "compute.disks.update", disk="data-1", paths="sizeGb", body=body)
    assert (operation["operationType"], cloudstack.volume("data-1").size_bytes) == ("update", 15 * GIB)
    await changed(gce, "compute.disks.resize", disk="data-1", body={"sizeGb": "15"})
    disk = await gce.call("compute.disks.get", **HERE, disk="data-1")
    assert (disk["sizeGb"], disk["labels"]) == ("15", {"a": "b"})


async def test_a_boot_disk_grows_under_its_machine(gce: Gce) -> None:
    """The machine keeps running."""
    await made(gce, insert_body("vm-1"))
    await changed(gce, "compute.disks.resize", disk="vm-1", body={"sizeGb": "30"})
    vm = await gce.call("compute.instances.get", **HERE, instance="vm-1")

    assert (vm["status"], vm["disks"][0]["diskSizeGb"]) == ("RUNNING", "30")


@pytest.mark.parametrize(
    ("method", "arguments", "words"),
    [
        ("resize", {"body": {"sizeGb": "9"}}, "'resource.sizeGb'"),
        ("resize", {"body": {"sizeGb": "70000"}}, "'resource.sizeGb'"),
        ("resize", {"body": {}}, "'resource.sizeGb' not specified"),
        ("update", {"paths": "sizeGb", "body": {"name": "data-1", "sizeGb": "9"}}, "'resource.sizeGb'"),
        ("update", {"paths": "labels", "body": {"name": "data-1", "labels": {"a": "b"}}}, "labels"),
        ("update", {"body": {"name": "data-1", "description": "x"}}, "description"),
        ("update", {"body": {"name": "data-2", "sizeGb": "20"}}, "A change cannot rename 'data-1'."),
    ],
)
async def test_what_cannot_be_changed_stays(
    gce: Gce, cloudstack: Simulator, method: str, arguments: dict[str, Any], words: str
) -> None:
    """Nothing of it is done, and no operation is begun."""
    await disk_made(gce, "data-1")
    with NothingChanged(cloudstack):
        error = await gce.error(f"compute.disks.{method}", **HERE, disk="data-1", **arguments)

    assert (error["code"], words in error["message"]) == (400, True), error["message"]


async def test_a_disk_of_fixed_size_does_not_grow(gce: Gce, cloudstack: Simulator) -> None:
    """CloudStack would refuse it; the operation says why."""
    await disk_made(gce, "data-1", type=f"zones/{ZONE}/diskTypes/small")
    with NothingChanged(cloudstack):
        operation = await failed(gce, "compute.disks.resize", disk="data-1", body={"sizeGb": "6"})

    assert operation["httpErrorStatusCode"] == 400
    assert "5 GB" in operation["error"]["errors"][0]["message"]


async def test_labels_are_replaced(gce: Gce, cloudstack: Simulator) -> None:
    """Those that are not sent go; what gceshim notes beside them stays."""
    disk = await disk_made(gce, "data-1", description="mine", labels={"env": "test", "team": "blue"})
    wanted = {"env": "prod", "empty": ""}
    kept = Holdings(cloudstack)
    body = {"labelFingerprint": disk["labelFingerprint"], "labels": wanted}
    operation = await changed(gce, "compute.disks.setLabels", resource="data-1", body=body)
    after = await gce.call("compute.disks.get", **HERE, disk="data-1")

    assert operation["operationType"] == "setLabels"
    assert (after["labels"], after["description"]) == (wanted, "mine")
    assert after["labelFingerprint"] != disk["labelFingerprint"]
    assert kept.changes() == [
        "+ tag env=prod on data-1",
        '+ tag gce:empty-labels=["empty"] on data-1',
        "- tag env=test on data-1",
        "- tag team=blue on data-1",
    ]
    body = {"labelFingerprint": after["labelFingerprint"]}
    await changed(gce, "compute.disks.setLabels", resource="data-1", body=body)
    assert "labels" not in await gce.call("compute.disks.get", **HERE, disk="data-1")


async def test_labels_of_a_boot_disk_are_its_own(gce: Gce) -> None:
    """Not those of its machine."""
    await made(gce, insert_body("vm-1", labels={"of": "machine"}))
    disk = await gce.call("compute.disks.get", **HERE, disk="vm-1")
    body = {"labelFingerprint": disk["labelFingerprint"], "labels": {"of": "disk"}}
    await changed(gce, "compute.disks.setLabels", resource="vm-1", body=body)

    assert "labels" not in disk
    assert (await gce.call("compute.disks.get", **HERE, disk="vm-1"))["labels"] == {"of": "disk"}
    assert (await gce.call("compute.instances.get", **HERE, instance="vm-1"))["labels"] == {"of": "machine"}


@pytest.mark.parametrize("fingerprint", [None, "", "AAAAAAAAAAA="])
async def test_labels_are_not_replaced_unseen(gce: Gce, cloudstack: Simulator, fingerprint: str | None) -> None:
    """412, by which clients know that they have to read again."""
    await disk_made(gce, "data-1", labels={"env": "test"})
    body: dict[str, Any] = {"labels": {"env": "prod"}}
    if fingerprint is not None:
        body["labelFingerprint"] = fingerprint
    with NothingChanged(cloudstack):
        error = await gce.error("compute.disks.setLabels", **HERE, resource="data-1", body=body)

    assert (error["code"], error["errors"][0]["reason"]) == (412, "conditionNotMet")


async def test_a_disk_goes_whole(gce: Gce, cloudstack: Simulator) -> None:
    """With all that was noted of it."""
    kept = Holdings(cloudstack)
    disk = await disk_made(gce, "data-1", description="x" * 500, labels={"a": "b"})
    operation = await changed(gce, "compute.disks.delete", disk="data-1")
    error = await gce.error("compute.disks.get", **HERE, disk="data-1")

    assert (operation["operationType"], operation["targetId"]) == ("delete", disk["id"])
    assert kept.changes() == []
    assert (error["code"], error["message"]) == (404, f"The resource '{PATH}/data-1' was not found")


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get", {"disk": "nope"}),
        ("delete", {"disk": "nope"}),
        ("resize", {"disk": "nope", "body": {"sizeGb": "5"}}),
        ("update", {"disk": "nope", "paths": "sizeGb", "body": {"name": "nope", "sizeGb": "5"}}),
        ("setLabels", {"resource": "nope", "body": {"labels": {}}}),
        ("testIamPermissions", {"resource": "nope", "body": {"permissions": ["compute.disks.get"]}}),
    ],
)
async def test_unknown_disk_is_a_404_in_gce_form(gce: Gce, method: str, arguments: dict[str, Any]) -> None:
    """For each method that names one."""
    error = await gce.error(f"compute.disks.{method}", **HERE, **arguments)

    assert (error["code"], error["errors"][0]["reason"]) == (404, "notFound")
    assert error["message"] == f"The resource '{PATH}/nope' was not found"


async def test_permissions_are_those_that_there_is_a_method_for(gce: Gce) -> None:
    """Clients ask before they try."""
    await disk_made(gce, "data-1")
    asked = ["compute.disks.get", "compute.disks.delete", "compute.disks.fly", "compute.instances.get"]
    answer = await gce.call("compute.disks.testIamPermissions", **HERE, resource="data-1", body={"permissions": asked})

    assert answer["permissions"] == asked[:2]


async def test_one_tenant_does_not_see_anothers_disks(gce: Gce, world: World) -> None:
    """Not by name, not by number, not in lists."""
    disk = await disk_made(gce, "data-1")
    other = await world.gce("other")
    there = {"project": "other", "zone": ZONE}

    assert "items" not in await other.call("compute.disks.list", **there)
    for name in ("data-1", disk["id"]):
        error = await other.error("compute.disks.delete", **there, disk=name)
        assert error["code"] == 404
    await changed(other, "compute.disks.insert", at=there, body={"name": "data-1"})


async def test_a_read_costs_few_cloudstack_calls(gce: Gce, cloudstack: Simulator) -> None:
    """Once zones and offerings are known: one for a disk made here, and one for a list."""
    await disk_made(gce, "data-1")
    await gce.call("compute.disks.list", **HERE)
    before = sum(cloudstack.call_counts.values())
    await gce.call("compute.disks.get", **HERE, disk="data-1")
    middle = sum(cloudstack.call_counts.values())
    await gce.call("compute.disks.list", **HERE)

    assert (middle - before, sum(cloudstack.call_counts.values()) - middle) == (1, 1)


async def test_disk_types_are_offerings_and_gces_own(gce: Gce) -> None:
    """Each found again by its name, and by its id."""
    listed = await gce.call("compute.diskTypes.list", **HERE)
    spread = await gce.call("compute.diskTypes.aggregatedList", project=PROJECT)
    names = ["custom", "large", "medium", "pd-balanced", "pd-ssd", "pd-standard", "small"]

    assert [item["name"] for item in listed["items"]] == names
    assert spread["items"][f"zones/{ZONE}"]["diskTypes"] == listed["items"]
    assert [item["name"] for item in spread["items"]["zones/sandbox-sg-a"]["diskTypes"]] == names
    sizes = {item["name"]: (item["validDiskSize"], item["defaultDiskSizeGb"]) for item in listed["items"]}
    assert (sizes["small"], sizes["pd-ssd"]) == (("5GB-5GB", "5"), ("1GB-1024GB", "10"))
    assert len({item["id"] for item in listed["items"]}) == len(names)
    for item in listed["items"]:
        assert await gce.call("compute.diskTypes.get", **HERE, diskType=item["name"]) == item
        assert await gce.call("compute.diskTypes.get", **HERE, diskType=item["id"]) == item
    error = await gce.error("compute.diskTypes.get", **HERE, diskType="nope")
    assert (error["code"], error["message"]) == (
        404,
        f"The resource 'projects/{PROJECT}/zones/{ZONE}/diskTypes/nope' was not found",
    )


class TestLimits:
    @pytest.fixture
    def cloudstack_settings(self) -> SimulatorSettings:
        return SimulatorSettings(limits={"volume": 1})

    async def test_a_limit_is_told_in_the_operation(self, gce: Gce, cloudstack: Simulator) -> None:
        """By GCE's code, and in CloudStack's words."""
        await disk_made(gce, "data-1")
        with NothingChanged(cloudstack):
            operation = await failed(gce, "compute.disks.insert", body={"name": "data-2"})

        [problem] = operation["error"]["errors"]
        assert (problem["code"], operation["httpErrorStatusCode"]) == ("QUOTA_EXCEEDED", 403)
        assert "volume" in problem["message"]
