"""Volumes: creation, attachment, growth and removal."""

import pytest

GIB = 1024**3


def volume(cloud, name="v", size=10, **params):
    """A custom-size volume of demo."""
    values = {"zoneid": cloud.zone, "diskofferingid": cloud.disk_offering("Custom"), "size": size, "name": name}
    return cloud.demo.run("createVolume", **{**values, **params})["volume"]


def test_a_new_volume_is_allocated_until_it_is_attached(cloud):
    """It has no backing store before; afterwards it is Ready, attached or not."""
    made = volume(cloud)
    assert (made["state"], made["size"], made["type"]) == ("Allocated", 10 * GIB, "DATADISK")
    vm = cloud.machine("a")["id"]
    row = cloud.demo.run("attachVolume", id=made["id"], virtualmachineid=vm)["volume"]
    assert (row["state"], row["deviceid"], row["vmname"], row["vmstate"]) == ("Ready", 1, "a", "Running")
    assert "attached" in row
    row = cloud.demo.run("detachVolume", id=made["id"])["volume"]
    assert (row["state"], "virtualmachineid" in row, "deviceid" in row) == ("Ready", False, False)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"size": None}, "requires a custom size"),
        ({"size": 0}, "out of allowed range"),
        ({"size": 1025}, "out of allowed range"),
        ({"diskofferingid": "SMALL"}, "does not allow custom size"),
        ({"diskofferingid": None}, "disk Offering ID or snapshot ID must be passed"),
        ({"zoneid": None}, "zone ID is needed"),
        ({"account": "demo", "projectid": "PROJECT"}, "can't be specified together"),
    ],
)
def test_a_bad_creation_is_refused_at_once(cloud, params, text):
    """createVolume is a create command."""
    words = {"SMALL": cloud.disk_offering("Small"), "PROJECT": cloud.demo.one("listProjects")["id"]}
    values = {"zoneid": cloud.zone, "diskofferingid": cloud.disk_offering("Custom"), "size": 10}
    sent = {**values, **{name: words.get(value, value) for name, value in params.items()}}
    failure = cloud.demo.refusal("createVolume", **sent)
    assert (failure.status, text in failure.body["errortext"]) == (431, True)


def test_volumes_count_against_the_quota(make_world):
    """Number and GiB, at once."""
    world = make_world(limits={"volume": 1, "primary_storage": 50})
    values = {"zoneid": world.zone, "diskofferingid": world.disk_offering("Custom")}
    assert world.demo.refusal("createVolume", **values, size=51).status == 535
    world.demo.run("createVolume", **values, size=50)
    assert world.demo.refusal("createVolume", **values, size=1).status == 535


def test_attaching_is_checked_in_the_job(cloud):
    """Attached already, another zone, a taken or reserved device."""
    made, vm = volume(cloud), cloud.machine("a")["id"]
    elsewhere = cloud.machine("b", zoneid=cloud.sg_zone)["id"]
    assert cloud.demo.job_refusal("attachVolume", id=made["id"], virtualmachineid=elsewhere).status == 431
    for device in (0, 3, 99):
        call = {"id": made["id"], "virtualmachineid": vm, "deviceid": device}
        assert cloud.demo.job_refusal("attachVolume", **call).status == 431
    cloud.demo.run("attachVolume", id=made["id"], virtualmachineid=vm, deviceid=5)
    failure = cloud.demo.job_refusal("attachVolume", id=made["id"], virtualmachineid=vm)
    assert failure.body["errortext"] == "Please specify a volume that is not attached to any VM."
    assert cloud.other.refusal("attachVolume", id=made["id"], virtualmachineid=vm).status == 531


def test_detaching_by_volume_or_by_device(cloud):
    """One of the two; the root disk only from a stopped machine."""
    made, vm = volume(cloud), cloud.machine("a")["id"]
    cloud.demo.run("attachVolume", id=made["id"], virtualmachineid=vm, deviceid=2)
    for params in ({}, {"deviceid": 2}, {"id": made["id"], "deviceid": 2, "virtualmachineid": vm}):
        assert cloud.demo.job_refusal("detachVolume", **params).status == 431
    assert cloud.demo.run("detachVolume", deviceid=2, virtualmachineid=vm)["volume"]["id"] == made["id"]
    assert cloud.demo.job_refusal("detachVolume", id=made["id"]).status == 431
    root = cloud.demo.one("listVolumes", type="ROOT")["id"]
    assert cloud.demo.job_refusal("detachVolume", id=root).status == 431
    cloud.demo.run("stopVirtualMachine", id=vm)
    cloud.demo.run("detachVolume", id=root)


def test_deleting_is_synchronous_and_final(cloud):
    """Attached or protected volumes are a 431 at once."""
    made, vm = volume(cloud), cloud.machine("a")["id"]
    cloud.demo.run("attachVolume", id=made["id"], virtualmachineid=vm)
    assert cloud.demo.refusal("deleteVolume", id=made["id"]).status == 431
    cloud.demo.run("detachVolume", id=made["id"])
    cloud.demo.run("updateVolume", id=made["id"], deleteprotection="true", name="kept")
    failure = cloud.demo.refusal("deleteVolume", id=made["id"])
    assert "delete protection" in failure.body["errortext"]
    cloud.demo.run("updateVolume", id=made["id"], deleteprotection="false")
    assert cloud.demo.call("deleteVolume", id=made["id"]) == {"success": True}
    assert cloud.demo.rows("listVolumes", name="kept") == []
    assert cloud.demo.call("listVolumes", id=made["id"]) == {}
    assert cloud.demo.refusal("deleteVolume", id=made["id"]).status == 431


def test_destroying_keeps_the_row_unless_it_is_expunged(cloud):
    """State Destroy first."""
    made = volume(cloud)
    assert cloud.demo.run("destroyVolume", id=made["id"])["volume"]["state"] == "Destroy"
    assert cloud.demo.one("listVolumes")["state"] == "Destroy"
    cloud.demo.run("destroyVolume", id=made["id"], expunge="true")
    assert cloud.demo.call("listVolumes") == {}


def test_volumes_grow_and_shrink_only_on_request(cloud):
    """Shrinking needs shrinkok and is refused for QCOW2; fixed offerings do not resize by size alone."""
    made, vm = volume(cloud), cloud.machine("a")["id"]
    assert cloud.demo.run("resizeVolume", id=made["id"], size=20)["volume"]["size"] == 20 * GIB
    assert cloud.demo.job_refusal("resizeVolume", id=made["id"], size=5).status == 431
    assert cloud.demo.run("resizeVolume", id=made["id"], size=5, shrinkok="true")["volume"]["size"] == 5 * GIB
    cloud.demo.run("attachVolume", id=made["id"], virtualmachineid=vm)
    assert cloud.demo.job_refusal("resizeVolume", id=made["id"], size=4, shrinkok="true").status == 431
    assert cloud.demo.run("resizeVolume", id=made["id"], size=30)["volume"]["size"] == 30 * GIB
    medium = cloud.disk_offering("Large")
    assert cloud.demo.run("resizeVolume", id=made["id"], diskofferingid=medium)["volume"]["size"] == 100 * GIB
    assert cloud.demo.job_refusal("resizeVolume", id=made["id"], size=200).status == 431
    cloud.admin.call("updateResourceLimit", account="demo", resourcetype=10, max=120)
    root = cloud.demo.one("listVolumes", type="ROOT")["id"]
    assert cloud.demo.job_refusal("resizeVolume", id=root, size=200).status == 535


def test_a_root_disk_that_is_detached_is_a_data_disk_until_it_is_root_again(cloud):
    """Its place on the machine decides; device 0 is for a stopped machine without one."""
    vm = cloud.machine("a")["id"]
    root = cloud.demo.one("listVolumes", type="ROOT")["id"]
    cloud.demo.run("stopVirtualMachine", id=vm)
    assert cloud.demo.run("detachVolume", id=root)["volume"]["type"] == "DATADISK"
    cloud.demo.run("startVirtualMachine", id=vm)
    assert cloud.demo.job_refusal("attachVolume", id=root, virtualmachineid=vm, deviceid=0).status == 431
    cloud.demo.run("stopVirtualMachine", id=vm)
    row = cloud.demo.run("attachVolume", id=root, virtualmachineid=vm, deviceid=0)["volume"]
    assert (row["type"], row["deviceid"]) == ("ROOT", 0)


def test_root_storage_from_a_disk_offering(cloud):
    """A fixed one decides the size, a custom one has to be told."""
    medium, custom = cloud.disk_offering("Medium"), cloud.disk_offering("Custom")
    cloud.machine("a", overridediskofferingid=medium)
    row = cloud.demo.one("listVolumes", type="ROOT")
    assert (row["size"], row["diskofferingname"]) == (20 * GIB, "Medium")
    cloud.machine("b", **{"overridediskofferingid": custom, "details[0].rootdisksize": 30})
    assert {row["size"] for row in cloud.demo.rows("listVolumes")} == {20 * GIB, 30 * GIB}
    zone = {"zoneid": cloud.zone, "overridediskofferingid": cloud.disk_offering("Small")}
    like = cloud.demo.rows("listVirtualMachines")[0]
    same = {"templateid": like["templateid"], "serviceofferingid": like["serviceofferingid"]}
    assert cloud.demo.refusal("deployVirtualMachine", **zone, **same).status == 431
    zone["overridediskofferingid"] = custom
    assert cloud.demo.refusal("deployVirtualMachine", **zone, **same).status == 431
