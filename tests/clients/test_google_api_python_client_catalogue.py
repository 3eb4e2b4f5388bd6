"""google-api-python-client: what there is, the project, operations, projects, and the verbs that gcloud has too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from tests.clients.demo import Cloud, Demo
from tests.clients.test_google_api_python_client import machine, status_and_error
from tests.clients.test_google_api_python_client_changes import Compute

pytestmark = pytest.mark.usefixtures("nothing_left")

GIB = 1024**3


@pytest.fixture
def compute(demo: Demo) -> Iterator[Compute]:
    """The client of the demo's own account."""
    compute = Compute(demo)
    yield compute
    compute.http.close()


def test_regions_and_their_zones(compute: Compute, cloud: Cloud) -> None:
    """Each leads to the other; quotas are CloudStack's limits."""
    project = {"project": compute.here["project"]}
    regions = compute.api.regions().list(**project).execute()["items"]
    zones = compute.api.zones().list(**project).execute()["items"]
    rows = cloud.rows("listResourceLimits", account=project["project"])
    limits = {row["resourcetypename"]: row["max"] for row in rows}

    assert [(region["name"], region["status"]) for region in regions] == [("sandbox-1", "UP"), ("sandbox-sg", "UP")]
    assert [region["zones"] for region in regions] == [[zone["selfLink"]] for zone in zones]
    assert [zone["region"] for zone in zones] == [region["selfLink"] for region in regions]
    for region in regions:
        read = compute.api.regions().get(**project, region=region["name"]).execute()
        quotas = {quota["metric"]: quota["limit"] for quota in read["quotas"]}
        assert (read["kind"], read["id"], read["zones"]) == ("compute#region", region["id"], region["zones"])
        assert (quotas["CPUS"], quotas["DISKS_TOTAL_GB"]) == (limits["cpu"], limits["primary_storage"])


def test_machine_types(compute: Compute, cloud: Cloud) -> None:
    """CloudStack's fixed offerings, in one zone, in all, and one of a chosen size."""
    here, kinds = compute.here, compute.api.machineTypes()
    fixed = [row for row in cloud.rows("listServiceOfferings") if not row["iscustomized"]]
    expected = sorted((row["name"].lower().replace(" ", "-"), row["cpunumber"], row["memory"]) for row in fixed)
    listed = kinds.list(**here).execute()["items"]
    spread = kinds.aggregatedList(project=here["project"]).execute()["items"]
    custom = kinds.get(**here, machineType="custom-2-4096").execute()

    assert sorted((item["name"], item["guestCpus"], item["memoryMb"]) for item in listed) == expected
    assert spread[f"zones/{here['zone']}"]["machineTypes"] == listed
    assert {item["zone"] for item in spread["zones/sandbox-sg-a"]["machineTypes"]} == {"sandbox-sg-a"}
    assert [kinds.get(**here, machineType=item["name"]).execute() for item in listed] == listed
    assert (custom["guestCpus"], custom["memoryMb"]) == (2, 4096)


def test_networks_and_images(compute: Compute) -> None:
    """`default`, and the newest image of a family; of one's own images each by itself."""
    project, networks, images = {"project": compute.here["project"]}, compute.api.networks(), compute.api.images()
    listed = {network["name"]: network for network in networks.list(**project).execute()["items"]}
    newest = images.getFromFamily(project="debian-cloud", family="debian-12").execute()
    found = images.list(project="debian-cloud", filter="family=debian-12").execute()["items"]

    assert networks.get(**project, network="default").execute() == listed["default"]
    assert listed["default"]["autoCreateSubnetworks"] is True
    assert (newest["name"], newest["status"], newest["diskSizeGb"]) == ("debian-12", "READY", "10")
    assert found == [newest]
    [own] = images.list(**project).execute()["items"]
    assert (own["name"], images.get(**project, image="demo-golden").execute()) == ("demo-golden", own)


def test_metadata_of_the_project(compute: Compute) -> None:
    """Read, changed with the fingerprint that was read, refused with an old one, and put back."""
    project, projects = {"project": compute.here["project"]}, compute.api.projects()
    before = projects.get(**project).execute()["commonInstanceMetadata"]
    items = [*before.get("items", []), {"key": "plain-colour", "value": "blue"}]
    body = {"fingerprint": before["fingerprint"], "items": items}
    compute.done(projects.setCommonInstanceMetadata(**project, body=body))
    with pytest.raises(HttpError) as raised:
        projects.setCommonInstanceMetadata(**project, body=body).execute()
    after = projects.get(**project).execute()["commonInstanceMetadata"]
    back = {"fingerprint": after["fingerprint"], "items": before.get("items", [])}
    compute.done(projects.setCommonInstanceMetadata(**project, body=back))

    assert status_and_error(raised)[:2] == (412, "conditionNotMet")
    assert {"key": "plain-colour", "value": "blue"} in after["items"]
    assert projects.get(**project).execute()["commonInstanceMetadata"] == before


def test_operations_are_found_read_and_deleted(compute: Compute, fresh_name: Callable[[], str]) -> None:
    """In their zone and among all."""
    name, here = fresh_name(), compute.here
    begun = compute.done(compute.api.disks().insert(**here, body={"name": name, "sizeGb": "1"}))
    compute.done(compute.api.disks().delete(**here, disk=name))
    expression, operations = f'targetLink eq ".*/disks/{name}"', compute.api.zoneOperations()
    listed = operations.list(**here, filter=expression).execute()["items"]
    of_all = compute.api.globalOperations().aggregatedList(project=here["project"], filter=expression).execute()
    read = operations.get(**here, operation=begun["name"]).execute()

    assert [item["operationType"] for item in listed] == ["insert", "delete"]
    assert of_all["items"][f"zones/{here['zone']}"]["operations"] == listed
    assert read == listed[0] == begun
    assert (read["kind"], read["progress"], read["targetLink"]) == ("compute#operation", 100, begun["targetLink"])
    assert operations.delete(**here, operation=begun["name"]).execute() == ""
    with pytest.raises(HttpError) as raised:
        operations.get(**here, operation=begun["name"]).execute()
    assert status_and_error(raised)[:2] == (404, "notFound")


def test_projects_are_listed_and_described(compute: Compute, demo: Demo) -> None:
    """By Cloud Resource Manager, of which the server has a document too."""
    manager = build(
        "cloudresourcemanager",
        "v1",
        http=compute.http,
        discoveryServiceUrl=f"{demo.url}/discovery/v1/apis/{{api}}/{{apiVersion}}/rest",
        static_discovery=False,
        cache_discovery=False,
    ).projects()
    listed = manager.list().execute()["projects"]

    assert [project["projectId"] for project in listed] == [demo.project, "team"]
    assert {project["lifecycleState"] for project in listed} == {"ACTIVE"}
    assert [manager.get(projectId=project["projectId"]).execute() for project in listed] == listed
    assert manager.list(filter="projectId=team").execute()["projects"] == listed[1:]
    with pytest.raises(HttpError) as raised:
        manager.get(projectId="nobodys").execute()
    assert raised.value.status_code in (403, 404)


def test_a_machine_of_which_everything_is_said(compute: Compute, cloud: Cloud, fresh_name: Callable[[], str]) -> None:
    """Boot disk, a disk that is there, protection, a script, an address; at its end each goes or stays."""
    name, old, here = fresh_name(), fresh_name(), compute.here
    instances, disks = compute.api.instances(), compute.api.disks()
    compute.done(disks.insert(**here, body={"name": old, "sizeGb": "3"}))
    body: Any = machine(name, here["zone"]) | {"deletionProtection": True}
    body["metadata"] = {"items": [{"key": "startup-script", "value": "#!/bin/sh\necho plain\n"}]}
    body["networkInterfaces"][0]["accessConfigs"] = [{"name": "nat", "type": "ONE_TO_ONE_NAT"}]
    body["disks"][0]["autoDelete"] = False
    more = {"diskSizeGb": "25", "diskType": f"zones/{here['zone']}/diskTypes/pd-ssd"}
    body["disks"][0]["initializeParams"] |= more
    source = {"source": f"zones/{here['zone']}/disks/{old}", "deviceName": "old", "autoDelete": True}
    body["disks"].append(source)
    compute.done(instances.insert(**here, body=body))
    row = cloud.machines()[name]
    sizes = sorted(volume["size"] for volume in cloud.rows("listVolumes", virtualmachineid=row["id"]))
    shown = instances.get(**here, instance=name).execute()

    assert (sizes, row["deleteprotection"]) == ([3 * GIB, 25 * GIB], True)
    assert b"echo plain" in cloud.user_data(row)
    assert shown["networkInterfaces"][0]["accessConfigs"][0]["natIP"] == row["publicip"]
    assert [(disk["boot"], disk["autoDelete"], disk["diskSizeGb"]) for disk in shown["disks"]] == [
        (True, False, "25"),
        (False, True, "3"),
    ]
    assert disks.get(**here, disk=name).execute()["type"].rpartition("/")[2] == "pd-ssd"
    compute.done(instances.setDeletionProtection(**here, resource=name, deletionProtection=False))
    compute.done(instances.delete(**here, instance=name))
    assert {disk for disk in (name, old) if disk in cloud.volumes()} == {name}
    compute.done(disks.update(**here, disk=name, paths="sizeGb", body={"name": name, "sizeGb": "30"}))
    assert cloud.volumes()[name]["size"] == 30 * GIB
    compute.done(disks.delete(**here, disk=name))


def test_verbs_with_one_argument(compute: Compute, cloud: Cloud, fresh_name: Callable[[], str]) -> None:
    """A disk's fate, a service account and another name are set; what CloudStack cannot do is refused."""
    name, other, here = fresh_name(), fresh_name(), compute.here
    instances = compute.api.instances()
    at = {**here, "instance": name}
    compute.done(instances.insert(**here, body=machine(name, here["zone"])))
    boot = instances.get(**at).execute()["disks"][0]["deviceName"]
    compute.done(instances.setDiskAutoDelete(**at, deviceName=boot, autoDelete=False))
    account = {"email": "me@example.org", "scopes": ["x"]}
    compute.done(instances.setServiceAccount(**at, body=account))
    shown = instances.get(**at).execute()
    assert (shown["disks"][0]["autoDelete"], shown["serviceAccounts"]) == (False, [account])
    for call in (instances.suspend, instances.getSerialPortOutput):
        with pytest.raises(HttpError, match="CloudStack") as raised:
            call(**at).execute()
        assert raised.value.status_code == 400
    compute.done(instances.setDiskAutoDelete(**at, deviceName=boot, autoDelete=True))
    compute.done(instances.stop(**at))
    compute.done(instances.setName(**at, body={"currentName": name, "name": other}))
    assert cloud.states(name, other) == [None, "Stopped"]
    compute.done(instances.delete(**here, instance=other))
    assert {name, other}.isdisjoint(cloud.volumes())
