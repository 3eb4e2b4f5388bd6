"""compute.instances: disks of a machine, from its making to its end."""

from __future__ import annotations

from typing import Any

import pytest

from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.testing.gce import Body, Gce
from tests.resources.holdings import Holdings, NothingChanged
from tests.resources.requests import HERE, IMAGE, PROJECT, ZONE, changed, disk_made, failed, insert_body, machine, made

pytestmark = pytest.mark.gen_test

GIB = 1024**3
SG_HERE = {"project": PROJECT, "zone": "sandbox-sg-a"}
FLAGS: Body = {"type": "PERSISTENT", "mode": "READ_WRITE"}


def link(disk: str, zone: str = ZONE) -> str:
    """How clients name a disk in a body."""
    return f"projects/{PROJECT}/zones/{zone}/disks/{disk}"


def disks_of(vm: Body) -> dict[str, tuple[str, bool, bool]]:
    """The disks of a machine: device name, whether it boots from it, and whether it goes with the machine."""
    return {
        disk["source"].rpartition("/")[2]: (disk["deviceName"], disk["boot"], disk["autoDelete"])
        for disk in vm["disks"]
    }


async def attach(gce: Gce, vm: str, disk: str, **members: Any) -> Body:
    """Attach as gcloud does."""
    body = {**FLAGS, "source": link(disk), **members}
    return await changed(gce, "compute.instances.attachDisk", instance=vm, body=body)


async def test_a_disk_is_attached_and_detached(gce: Gce, cloudstack: Simulator) -> None:
    """Machine and disk tell of each other, and CloudStack has it so."""
    await made(gce, insert_body("vm-1"))
    await disk_made(gce, "data-1", labels={"a": "b"})
    kept = Holdings(cloudstack)
    operation = await attach(gce, "vm-1", "data-1")
    vm = await machine(gce, "vm-1")
    disk = await gce.call("compute.disks.get", **HERE, disk="data-1")

    assert (operation["operationType"], operation["targetLink"]) == ("attachDisk", vm["selfLink"])
    assert disks_of(vm) == {
        "vm-1": ("persistent-disk-0", True, True),
        "data-1": ("persistent-disk-1", False, False),
    }
    assert [found["index"] for found in vm["disks"]] == [0, 1]
    assert (vm["disks"][1]["diskSizeGb"], vm["disks"][1]["mode"], vm["disks"][1]["type"]) == (
        "10",
        "READ_WRITE",
        "PERSISTENT",
    )
    assert (disk["users"], disk["labels"], "lastAttachTimestamp" in disk) == ([vm["selfLink"]], {"a": "b"}, True)
    assert cloudstack.volume("data-1").vm is cloudstack.vm("vm-1")
    listed = await gce.call("compute.instances.list", **HERE)
    assert disks_of(listed["items"][0]) == disks_of(vm)

    operation = await changed(gce, "compute.instances.detachDisk", instance="vm-1", deviceName="persistent-disk-1")
    assert operation["operationType"] == "detachDisk"
    assert list(disks_of(await machine(gce, "vm-1"))) == ["vm-1"]
    assert "users" not in await gce.call("compute.disks.get", **HERE, disk="data-1")
    assert kept.changes() == []


async def test_a_device_name_of_ones_own(gce: Gce) -> None:
    """Or one that was made up: it is the disk's for as long as it is attached, whatever others come and go."""
    await made(gce, insert_body("vm-1"))
    for name in ("data-1", "data-2", "data-3"):
        await disk_made(gce, name)
    await attach(gce, "vm-1", "data-1", deviceName="db", autoDelete=True)
    await attach(gce, "vm-1", "data-2")
    await attach(gce, "vm-1", "data-3")

    before = disks_of(await machine(gce, "vm-1"))
    assert before["data-1"] == ("db", False, True)
    made_up = [before[name][0] for name in ("vm-1", "data-2", "data-3")]
    assert len({name for name in made_up if name.startswith("persistent-disk-")}) == 3
    for name in ("db", before["data-2"][0]):
        await changed(gce, "compute.instances.detachDisk", instance="vm-1", deviceName=name)
    assert disks_of(await machine(gce, "vm-1")) == {name: before[name] for name in ("vm-1", "data-3")}


async def test_a_disk_that_is_attached_again_has_nothing_of_the_first_time(gce: Gce) -> None:
    """Neither device name nor `autoDelete`: a disk that was kept on purpose must not go with the next machine."""
    await made(gce, insert_body("vm-1"))
    await disk_made(gce, "data-1")
    await attach(gce, "vm-1", "data-1", deviceName="db", autoDelete=True)
    await changed(gce, "compute.instances.detachDisk", instance="vm-1", deviceName="db")
    await attach(gce, "vm-1", "data-1")

    assert disks_of(await machine(gce, "vm-1"))["data-1"] == ("persistent-disk-1", False, False)


async def test_a_stopped_machine_takes_disks_too(gce: Gce) -> None:
    """Whatever its state, the disk is there when it starts."""
    await made(gce, insert_body("vm-1"))
    await disk_made(gce, "data-1")
    await changed(gce, "compute.instances.stop", instance="vm-1")
    await attach(gce, "vm-1", "data-1")
    await changed(gce, "compute.instances.start", instance="vm-1")

    assert list(disks_of(await machine(gce, "vm-1"))) == ["vm-1", "data-1"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "'resource.source' not specified"),
        ({"source": link("nope")}, 404, "disks/nope' was not found"),
        ({"source": f"zones/{ZONE}/instances/vm-1"}, 400, "'resource.source'"),
        ({"source": link("data-1", "sandbox-sg-a")}, 400, "'resource.source'"),
        ({"source": f"projects/somebody/zones/{ZONE}/disks/data-1"}, 400, "'resource.source'"),
        ({"source": link("data-1"), "mode": "READ_ONLY"}, 400, "'resource.mode'"),
        ({"source": link("data-1"), "type": "SCRATCH"}, 400, "'resource.type'"),
        ({"source": link("data-1"), "deviceName": "taken"}, 400, "'resource.deviceName'"),
        ({"source": link("data-1"), "boot": True}, 400, "'resource.boot'"),
        ({"source": link("data-1"), "forceAttach": True}, 400, "'resource.forceAttach'"),
        ({"initializeParams": {"diskSizeGb": "5"}}, 400, "'resource.initializeParams"),
    ],
)
async def test_what_cannot_be_attached_is_refused(
    gce: Gce, cloudstack: Simulator, body: Body, status: int, words: str
) -> None:
    """With the field at fault, before anything is done."""
    await made(gce, insert_body("vm-1"))
    await disk_made(gce, "data-1")
    await disk_made(gce, "data-2")
    await attach(gce, "vm-1", "data-2", deviceName="taken")
    with NothingChanged(cloudstack):
        error = await gce.error("compute.instances.attachDisk", **HERE, instance="vm-1", body=body)

    assert (error["code"], words in error["message"]) == (status, True), error["message"]


async def test_a_disk_has_one_machine(gce: Gce, cloudstack: Simulator) -> None:
    """The second is told which has it."""
    for name in ("vm-1", "vm-2"):
        await made(gce, insert_body(name))
    await disk_made(gce, "data-1")
    await attach(gce, "vm-1", "data-1")
    for vm in ("vm-1", "vm-2"):
        with NothingChanged(cloudstack):
            answer = await gce.answer(
                "compute.instances.attachDisk", **HERE, instance=vm, body={"source": link("data-1")}
            )
            if answer.status == 200:
                operation = await gce.done(answer.body)
                [error] = operation["error"]["errors"]
                assert (error["code"], operation["httpErrorStatusCode"]) == (
                    "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE",
                    400,
                )
            else:
                error = answer.body["error"]
                assert (error["code"], error["errors"][0]["reason"]) == (400, "resourceInUseByAnotherResource")
            assert "vm-1" in error["message"]
    error = await gce.error("compute.disks.delete", **HERE, disk="data-1")
    assert (error["code"], error["errors"][0]["reason"]) == (400, "resourceInUseByAnotherResource")


@pytest.mark.parametrize("verb", ["detachDisk", "setDiskAutoDelete"])
async def test_an_unknown_device_is_told_with_those_that_are_there(gce: Gce, cloudstack: Simulator, verb: str) -> None:
    """Users take disk names for device names."""
    await made(gce, insert_body("vm-1"))
    more = {"autoDelete": True} if verb == "setDiskAutoDelete" else {}
    with NothingChanged(cloudstack):
        error = await gce.error(f"compute.instances.{verb}", **HERE, instance="vm-1", deviceName="nope", **more)

    assert (error["code"], "'deviceName': 'nope'" in error["message"]) == (400, True)
    assert "persistent-disk-0" in error["message"]


async def test_the_boot_disk_of_a_running_machine_stays(gce: Gce, cloudstack: Simulator) -> None:
    """CloudStack takes it from a stopped machine only."""
    await made(gce, insert_body("vm-1"))
    with NothingChanged(cloudstack):
        operation = await failed(gce, "compute.instances.detachDisk", instance="vm-1", deviceName="persistent-disk-0")

    assert operation["error"]["errors"][0]["code"] == "RESOURCE_NOT_READY"
    assert "stop" in operation["error"]["errors"][0]["message"].lower()


async def test_auto_delete_is_kept_exactly(gce: Gce, cloudstack: Simulator) -> None:
    """What is marked goes with the machine, what is not stays, the boot disk as any other."""
    await made(gce, insert_body("vm-1"))
    for name in ("data-1", "data-2"):
        await disk_made(gce, name)
        await attach(gce, "vm-1", name, deviceName=name)
    for device, wanted in (("data-1", True), ("data-2", True), ("data-2", False), ("persistent-disk-0", False)):
        operation = await changed(
            gce, "compute.instances.setDiskAutoDelete", instance="vm-1", deviceName=device, autoDelete=wanted
        )
        assert operation["operationType"] == "setDiskAutoDelete"
    marks = {name: auto_delete for name, (_, _, auto_delete) in disks_of(await machine(gce, "vm-1")).items()}
    assert marks == {"vm-1": False, "data-1": True, "data-2": False}

    await changed(gce, "compute.instances.delete", instance="vm-1")
    left = await gce.call("compute.disks.list", **HERE)
    assert sorted(item["name"] for item in left["items"]) == ["data-2", "vm-1"]
    assert all("users" not in item for item in left["items"])
    assert cloudstack.vms("demo") == []
    boot = await gce.call("compute.disks.get", **HERE, disk="vm-1")
    assert (boot["status"], boot["sizeGb"]) == ("READY", "10")
    for name in ("vm-1", "data-2"):
        await changed(gce, "compute.disks.delete", disk=name)
    assert cloudstack.volumes() == []


async def test_a_boot_disk_that_was_kept_can_be_attached_elsewhere(gce: Gce) -> None:
    """To save what is on it."""
    body = insert_body("vm-1")
    body["disks"][0]["autoDelete"] = False
    await made(gce, body)
    await changed(gce, "compute.instances.delete", instance="vm-1")
    await made(gce, insert_body("vm-2"))
    await attach(gce, "vm-2", "vm-1")

    assert disks_of(await machine(gce, "vm-2")) == {
        "vm-2": ("persistent-disk-0", True, True),
        "vm-1": ("persistent-disk-1", False, False),
    }


def several_disks() -> list[Body]:
    """A boot disk, a new one, a new one of which nothing is said, and one that is there."""
    boot = {"sourceImage": IMAGE, "diskSizeGb": "25", "diskType": f"zones/{ZONE}/diskTypes/pd-ssd"}
    new = {"diskName": "new-1", "diskSizeGb": "7", "diskType": f"zones/{ZONE}/diskTypes/pd-balanced"}
    new |= {"labels": {"of": "new-1"}, "description": "made with vm-1"}
    return [
        {**FLAGS, "boot": True, "autoDelete": True, "deviceName": "root", "initializeParams": boot},
        {**FLAGS, "autoDelete": True, "deviceName": "fresh", "initializeParams": new},
        {**FLAGS, "initializeParams": {}},
        {**FLAGS, "source": link("data-1"), "deviceName": "old"},
    ]


async def test_a_machine_is_made_with_several_disks(gce: Gce, cloudstack: Simulator) -> None:
    """New ones, with size, type and labels, and one that is there; each goes or stays as it was said."""
    await disk_made(gce, "data-1", sizeGb="3")
    kept = Holdings(cloudstack)
    await made(gce, insert_body("vm-1", disks=several_disks()))
    vm = await machine(gce, "vm-1")

    assert disks_of(vm) == {
        "vm-1": ("root", True, True),
        "new-1": ("fresh", False, True),
        "vm-1-2": ("persistent-disk-2", False, False),
        "data-1": ("old", False, False),
    }
    assert [disk["diskSizeGb"] for disk in vm["disks"]] == ["25", "7", "10", "3"]
    boot = await gce.call("compute.disks.get", **HERE, disk="vm-1")
    new = await gce.call("compute.disks.get", **HERE, disk="new-1")
    assert (boot["sizeGb"], boot["type"].rpartition("/")[2]) == ("25", "pd-ssd")
    assert (new["sizeGb"], new["type"].rpartition("/")[2], new["labels"], new["description"]) == (
        "7",
        "pd-balanced",
        {"of": "new-1"},
        "made with vm-1",
    )
    assert {volume.vm for volume in cloudstack.volumes()} == {cloudstack.vm("vm-1")}

    await changed(gce, "compute.instances.delete", instance="vm-1")
    left = await gce.call("compute.disks.list", **HERE)
    assert sorted(item["name"] for item in left["items"]) == ["data-1", "vm-1-2"]
    await changed(gce, "compute.disks.delete", disk="vm-1-2")
    assert [line for line in kept.changes() if "network" not in line and "address" not in line] == []


@pytest.mark.parametrize(
    ("disk", "status", "words"),
    [
        ({"source": link("nope")}, 400, "'resource.disks[1].source'"),
        ({"source": link("data-1", "sandbox-sg-a")}, 400, "'resource.disks[1].source'"),
        ({"source": link("busy")}, 400, "busy"),
        ({"source": link("data-1"), "initializeParams": {}}, 400, "'resource.disks[1]'"),
        ({}, 400, "'resource.disks[1]'"),
        ({"initializeParams": {"diskSizeGb": "0"}, "boot": True}, 400, "'resource.disks[1].boot'"),
        ({"initializeParams": {"diskSizeGb": "-3"}}, 400, "'resource.disks[1].initializeParams.diskSizeGb'"),
        ({"initializeParams": {"diskSizeGb": "5000"}}, 400, "'resource.disks[1].initializeParams.diskSizeGb'"),
        ({"initializeParams": {"diskType": "diskTypes/x"}}, 400, "'resource.disks[1].initializeParams.diskType'"),
        (
            {"initializeParams": {"diskType": f"zones/{ZONE}/diskTypes/nope"}},
            400,
            "'resource.disks[1].initializeParams.diskType'",
        ),
        ({"initializeParams": {"sourceImage": IMAGE}}, 400, "'resource.disks[1].initializeParams.sourceImage'"),
        ({"initializeParams": {"diskName": "data-1"}}, 409, "disks/data-1' already exists"),
        ({"initializeParams": {"diskName": "vm-1"}}, 400, "'resource.disks[1].initializeParams.diskName'"),
        ({"initializeParams": {"diskName": "Bad"}}, 400, "diskName"),
        ({"initializeParams": {}, "mode": "READ_ONLY"}, 400, "'resource.disks[1].mode'"),
        ({"initializeParams": {}, "type": "SCRATCH"}, 400, "'resource.disks[1].type'"),
        ({"initializeParams": {}, "deviceName": "root"}, 400, "'resource.disks[1].deviceName'"),
    ],
)
async def test_disks_that_cannot_be_are_refused_before_anything_is_made(
    gce: Gce, cloudstack: Simulator, disk: Body, status: int, words: str
) -> None:
    """No machine, no disk, and no operation but those before."""
    await made(gce, insert_body("vm-0"))
    for name in ("data-1", "busy"):
        await disk_made(gce, name)
    await attach(gce, "vm-0", "busy")
    body = insert_body("vm-1")
    body["disks"][0]["deviceName"] = "root"
    body["disks"].append(disk)
    with NothingChanged(cloudstack):
        error = await gce.error("compute.instances.insert", **HERE, body=body)

    assert (error["code"], words in error["message"]) == (status, True), error["message"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (
            {"initializeParams": {"sourceImage": IMAGE, "diskSizeGb": "5"}},
            "'resource.disks[0].initializeParams.diskSizeGb'",
        ),
        (
            {"initializeParams": {"sourceImage": IMAGE, "diskName": "x"}},
            "'resource.disks[0].initializeParams.diskName'",
        ),
        (
            {"initializeParams": {"sourceImage": IMAGE, "diskType": f"zones/{ZONE}/diskTypes/nope"}},
            "'resource.disks[0].initializeParams.diskType'",
        ),
        ({"source": link("data-1"), "initializeParams": None}, "'resource.disks[0].source'"),
        ({"boot": False}, "'resource.disks[0].boot'"),
        ({"mode": "READ_ONLY"}, "'resource.disks[0].mode'"),
    ],
)
async def test_a_boot_disk_that_cannot_be_is_refused(
    gce: Gce, cloudstack: Simulator, members: Body, words: str
) -> None:
    """CloudStack makes it from an image, of its size at least."""
    await disk_made(gce, "data-1")
    body = insert_body("vm-1")
    body["disks"][0].update(members)
    body["disks"][0] = {name: value for name, value in body["disks"][0].items() if value is not None}
    with NothingChanged(cloudstack):
        error = await gce.error("compute.instances.insert", **HERE, body=body)

    assert (error["code"], words in error["message"]) == (400, True), error["message"]


async def test_a_machine_is_made_with_the_disk_that_another_left(gce: Gce) -> None:
    """Data outlive machines."""
    body = insert_body("vm-1")
    body["disks"].append({**FLAGS, "initializeParams": {"diskName": "data-1"}, "autoDelete": False})
    await made(gce, body)
    await changed(gce, "compute.instances.delete", instance="vm-1")
    body = insert_body("vm-2")
    body["disks"].append({**FLAGS, "source": link("data-1"), "autoDelete": True})
    await made(gce, body)

    assert disks_of(await machine(gce, "vm-2"))["data-1"] == ("persistent-disk-1", False, True)
    await changed(gce, "compute.instances.delete", instance="vm-2")
    assert "items" not in await gce.call("compute.disks.list", **HERE)


async def test_disks_where_networks_have_security_groups(gce: Gce, cloudstack: Simulator) -> None:
    """Disks do not care for the kind of network."""
    kept = Holdings(cloudstack)
    body = insert_body("vm-1", zone="sandbox-sg-a")
    body["disks"].append({**FLAGS, "initializeParams": {"diskName": "data-1"}, "autoDelete": True})
    await changed(gce, "compute.instances.insert", at=SG_HERE, body=body)
    vm = await gce.call("compute.instances.get", **SG_HERE, instance="vm-1")

    assert disks_of(vm)["data-1"] == ("persistent-disk-1", False, True)
    await changed(gce, "compute.instances.delete", at=SG_HERE, instance="vm-1")
    assert [line for line in kept.changes() if not line.startswith("+ group default")] == []


async def test_a_machine_takes_only_so_many_disks(gce: Gce, cloudstack: Simulator) -> None:
    """CloudStack's limit, told in the operation; the disk stays as it was."""
    body = insert_body("vm-1")
    body["disks"] += [{**FLAGS, "initializeParams": {}} for _ in range(14)]
    await made(gce, body)
    await disk_made(gce, "data-1")
    with NothingChanged(cloudstack):
        operation = await failed(
            gce, "compute.instances.attachDisk", instance="vm-1", body={"source": link("data-1"), "deviceName": "more"}
        )

    assert operation["httpErrorStatusCode"] == 400
    assert "maximum" in operation["error"]["errors"][0]["message"]


class TestLimits:
    @pytest.fixture
    def cloudstack_settings(self) -> SimulatorSettings:
        return SimulatorSettings(limits={"volume": 3})

    async def test_a_machine_whose_disks_are_too_many_is_not_made(self, gce: Gce, cloudstack: Simulator) -> None:
        """Neither it nor those of its disks that there was room for."""
        await made(gce, insert_body("vm-0"))
        body = insert_body("vm-1")
        body["disks"] += [{**FLAGS, "initializeParams": {}} for _ in range(2)]
        with NothingChanged(cloudstack):
            operation = await failed(gce, "compute.instances.insert", body=body)

        [problem] = operation["error"]["errors"]
        assert (problem["code"], operation["httpErrorStatusCode"]) == ("QUOTA_EXCEEDED", 403)
