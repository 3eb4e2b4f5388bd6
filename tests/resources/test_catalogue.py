"""What is there before anything is made: project, zones, regions, machine types, images, networks."""

from __future__ import annotations

import pytest

from gceshim.simulator import Simulator
from gceshim.testing.gce import Gce
from gceshim.testing.world import World
from tests.resources.requests import HERE, PROJECT, ZONE, insert_body, made

pytestmark = pytest.mark.gen_test


async def test_zones_and_their_regions(gce: Gce) -> None:
    """A region is a zone's name less its last letter: clients cut it themselves."""
    zones = (await gce.call("compute.zones.list", project=PROJECT))["items"]
    regions = (await gce.call("compute.regions.list", project=PROJECT))["items"]

    assert [(zone["name"], zone["status"]) for zone in zones] == [("sandbox-1-a", "UP"), ("sandbox-sg-a", "UP")]
    assert [zone["region"].rpartition("/")[2] for zone in zones] == [region["name"] for region in regions]
    assert [zone["description"] for zone in zones] == ["Sandbox 1", "Sandbox SG"]
    assert regions[0]["zones"] == [zones[0]["selfLink"]]
    assert await gce.call("compute.zones.get", project=PROJECT, zone=zones[0]["id"]) == zones[0]
    assert await gce.call("compute.regions.get", project=PROJECT, region="sandbox-1") == regions[0]


async def test_the_project_tells_its_limits(gce: Gce) -> None:
    """CloudStack's limits in GCE's metrics, and what is used of them."""
    await made(gce, insert_body("vm-1", external=True))
    project = await gce.call("compute.projects.get", project=PROJECT)
    quotas = {quota["metric"]: (quota["limit"], quota["usage"]) for quota in project["quotas"]}

    assert project["name"] == PROJECT
    assert quotas["INSTANCES"][1] == 1.0
    assert quotas["CPUS"][1] == 1.0
    assert quotas["IN_USE_ADDRESSES"][1] >= 1.0


async def test_a_project_goes_by_several_names(gce: Gce) -> None:
    """`default` and the account's name are the account itself; a project is reached by its name."""
    own = await gce.call("compute.projects.get", project="default")
    same = await gce.call("compute.projects.get", project="demo")
    team = await gce.call("compute.projects.get", project="team")

    assert own["id"] == same["id"] != team["id"]
    error = await gce.error("compute.projects.get", project="nobodys")
    assert (error["code"], error["message"]) == (404, "Failed to find project nobodys")


async def test_machines_of_a_project_are_its_own(gce: Gce, world: World, cloudstack: Simulator) -> None:
    """What is made in a project is seen there, by its members, and not in the account."""
    operation = await gce.done(
        await gce.call("compute.instances.insert", project="team", zone=ZONE, body=insert_body("vm-1"))
    )
    other = await world.gce("other")

    assert operation.get("error") is None
    assert [vm["name"] for vm in (await gce.call("compute.instances.list", project="team", zone=ZONE))["items"]] == [
        "vm-1"
    ]
    assert (await gce.call("compute.instances.list", **HERE)).get("items") is None
    assert (await other.error("compute.instances.list", project="team", zone=ZONE))["code"] == 404
    assert cloudstack.vms("demo") == []


async def test_common_metadata_is_kept_and_guarded_by_its_fingerprint(gce: Gce) -> None:
    """A stale fingerprint is a 412; none at all is accepted, as gcutil sends none."""
    before = (await gce.call("compute.projects.get", project=PROJECT))["commonInstanceMetadata"]
    wanted = [{"key": "colour", "value": "blue"}]
    first = {"fingerprint": before["fingerprint"].replace("+", "-").replace("/", "_"), "items": wanted}
    set_metadata = "compute.projects.setCommonInstanceMetadata"
    operation = await gce.done(await gce.call(set_metadata, project=PROJECT, body=first))
    after = (await gce.call("compute.projects.get", project=PROJECT))["commonInstanceMetadata"]
    error = await gce.error(set_metadata, project=PROJECT, body={**first, "items": []})

    assert (operation.get("error"), after["items"]) == (None, wanted)
    assert (error["code"], error["errors"][0]["reason"]) == (412, "conditionNotMet")
    await gce.done(await gce.call(set_metadata, project=PROJECT, body={"items": []}))
    assert "items" not in (await gce.call("compute.projects.get", project=PROJECT))["commonInstanceMetadata"]


async def test_machine_types_listed_can_be_got(gce: Gce) -> None:
    """Each name that a list shows resolves in a get, to the same thing."""
    listed = (await gce.call("compute.machineTypes.list", **HERE))["items"]
    spread = await gce.call("compute.machineTypes.aggregatedList", project=PROJECT)

    assert "small-instance" in [item["name"] for item in listed]
    for item in listed:
        assert await gce.call("compute.machineTypes.get", **HERE, machineType=item["name"]) == item
    assert spread["items"][f"zones/{ZONE}"]["machineTypes"] == listed
    custom = await gce.call("compute.machineTypes.get", **HERE, machineType="custom-2-4096")
    assert (custom["guestCpus"], custom["memoryMb"]) == (2, 4096)
    named = await gce.call("compute.machineTypes.get", **HERE, machineType="n1-standard-1")
    assert (named["name"], named["guestCpus"], named["memoryMb"]) == ("n1-standard-1", 1, 3840)
    assert (await gce.error("compute.machineTypes.get", **HERE, machineType="nope"))["code"] == 404


async def test_public_images_are_in_the_projects_where_clients_look(gce: Gce) -> None:
    """An unmodified configuration names `debian-cloud` and a family."""
    debian = (await gce.call("compute.images.list", project="debian-cloud"))["items"]
    newest = await gce.call("compute.images.getFromFamily", project="debian-cloud", family="debian-12")
    view = await gce.call("compute.imageFamilyViews.get", project="debian-cloud", zone=ZONE, family="debian-12")

    assert {image["family"] for image in debian} == {"debian-11", "debian-12"}
    assert newest in debian
    assert view["image"]["selfLink"] == newest["selfLink"]
    assert await gce.call("compute.images.get", project="debian-cloud", image=newest["name"]) == newest
    assert (newest["status"], newest["diskSizeGb"]) == ("READY", "10")
    assert (await gce.call("compute.images.list", project="rhel-sap-cloud")).get("items") is None
    assert (await gce.error("compute.images.getFromFamily", project="debian-cloud", family="x"))["code"] == 404


async def test_own_images_are_in_the_own_project(gce: Gce, world: World) -> None:
    """And nobody else's."""
    own = (await gce.call("compute.images.list", project=PROJECT))["items"]
    other = await world.gce("other")

    assert [image["name"] for image in own] == ["demo-golden"]
    assert "demo-golden" not in [i["name"] for i in (await other.call("compute.images.list", project="other"))["items"]]


async def test_default_network_is_there_from_the_beginning(gce: Gce, cloudstack: Simulator) -> None:
    """gcloud asks for it by name; CloudStack's network of that name comes with the first machine."""
    before = await gce.call("compute.networks.get", project=PROJECT, network="default")
    await made(gce, insert_body("vm-1"))
    after = await gce.call("compute.networks.get", project=PROJECT, network="default")
    subnetwork = await gce.call("compute.subnetworks.get", project=PROJECT, region="sandbox-1", subnetwork="default")

    assert before["id"] == after["id"]
    assert subnetwork["selfLink"] in after["subnetworks"]
    assert (subnetwork["network"], subnetwork["ipCidrRange"]) == (after["selfLink"], "10.1.1.0/24")
    assert [network["name"] for network in (await gce.call("compute.networks.list", project=PROJECT))["items"]] == [
        "default"
    ]
    spread = await gce.call("compute.subnetworks.aggregatedList", project=PROJECT)
    assert subnetwork in spread["items"]["regions/sandbox-1"]["subnetworks"]
    assert len([network for network in cloudstack.networks() if network.name == "default"]) == 1
