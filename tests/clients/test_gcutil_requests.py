"""
What gcutil 1.16.1 sends, as it sends it: each command's requests in raw HTTP, and what it demands of the replies.

gcutil needs Python 2, so it is not run here. Bodies carry `kind`, nulls and numbers as numbers; an empty string means
"not given"; every list asks for 500; every change is polled by GET, and then its target is fetched by the very link.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import pytest

from gceshim.simulator import Simulator
from gceshim.testing.gce import Answer, Body, Gce
from gceshim.testing.world import World

pytestmark = pytest.mark.gen_test

PROJECT: Final = "demo"
ZONE: Final = "sandbox-1-a"
REGION: Final = "sandbox-1"
MISSING: Final = {"name", "status", "operationType", "targetLink", "selfLink", "insertTime", "kind"}
IMAGE_PROJECTS: Final = ("centos", "debian", "rhel", "suse", "opensuse", "windows")


class Gcutil:
    """Its way with requests. `api` is what it was given as --api_host, with the path that it adds."""

    def __init__(self, gce: Gce) -> None:
        self.gce = gce
        self.api = f"{gce.url}/compute/v1/"

    async def send(self, verb: str, path: str, body: Any = None) -> Answer:
        """A request below the project, with the headers of its HTTP library."""
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate", "User-Agent": "google-compute-cmd"}
        return await self.gce.send(verb, f"/compute/v1/projects/{PROJECT}{path}", body=body, headers=headers)

    async def get(self, path: str, kind: str) -> Body:
        """What is there; of that kind."""
        answer = await self.send("GET", path)
        assert (answer.status, answer.body.get("kind")) == (200, kind), answer.body
        assert answer.body["selfLink"].startswith(f"{self.api}projects/"), answer.body["selfLink"]
        return answer.body

    async def follow(self, link: str) -> Answer:
        """A link of an answer, as it stands there."""
        assert link.startswith(self.gce.url)
        return await self.gce.send("GET", link.removeprefix(self.gce.url))

    async def change(self, verb: str, path: str, body: Any = None) -> tuple[Body, Body]:
        """The operation once it is done, and its target: {} after a deletion."""
        answer = await self.send(verb, path, body)
        assert answer.status == 200, answer.body
        operation, deadline = answer.body, time.monotonic() + 180
        while True:
            self.check(operation)
            if operation["status"] == "DONE":
                break
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
            operation = (await self.follow(operation["selfLink"])).body
        if verb == "DELETE" or "error" in operation:
            return operation, {}
        target = await self.follow(operation["targetLink"])
        assert (target.status, target.body.get("selfLink")) == (200, operation["targetLink"]), target.body
        return operation, target.body

    def check(self, operation: Body) -> None:
        """By the end of the kind it knows that it has to poll, and by these links where."""
        assert operation["kind"].endswith("#operation")
        assert operation.keys() >= MISSING, MISSING - operation.keys()
        for link in ("selfLink", "zone", "region", "targetLink"):
            assert operation.get(link, self.api).startswith(self.api), link
        scope = (
            "zone" if "/zones/" in operation["selfLink"] else "region" if "/regions/" in operation["selfLink"] else ""
        )
        assert {"zone", "region"} & operation.keys() == ({scope} if scope else set())


@pytest.fixture
def gcutil(gce: Gce) -> Gcutil:
    """As demo."""
    return Gcutil(gce)


def instance(name: str, api: str, **members: Any) -> Body:
    """What addinstance sends."""
    return {
        "kind": "compute#instance",
        "name": name,
        "description": "",
        "machineType": f"{api}projects/{PROJECT}/zones/{ZONE}/machineTypes/n1-standard-1",
        "tags": {"items": ["web"]},
        "metadata": {"kind": "compute#metadata", "items": [{"key": "k", "value": "v"}]},
        "disks": [
            {
                "deviceName": name,
                "boot": True,
                "type": "PERSISTENT",
                "mode": "READ_WRITE",
                "autoDelete": False,
                "initializeParams": {
                    "diskName": name,
                    "sourceImage": f"{api}projects/debian-cloud/global/images/debian-12",
                    "diskType": None,
                },
                "source": None,
            }
        ],
        "networkInterfaces": [
            {
                "network": f"{api}projects/{PROJECT}/global/networks/default",
                "accessConfigs": [{"name": "External NAT", "type": "ONE_TO_ONE_NAT"}],
                "networkIP": None,
            }
        ],
        "serviceAccounts": [{"email": "default", "scopes": ["https://www.googleapis.com/auth/devstorage.read_only"]}],
        "scheduling": None,
        "canIpForward": False,
        **members,
    }


def disk(name: str, api: str, **members: Any) -> Body:
    """What adddisk sends."""
    return {
        "kind": "compute#disk",
        "name": name,
        "description": "",
        "type": f"{api}projects/{PROJECT}/zones/{ZONE}/diskTypes/pd-standard",
        "sizeGb": 10,
        **members,
    }


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/zones", "compute#zoneList"),
        (f"/zones/{ZONE}", "compute#zone"),
        ("/regions", "compute#regionList"),
        ("", "compute#project"),
        ("/aggregated/machineTypes", "compute#machineTypeAggregatedList"),
        (f"/zones/{ZONE}/machineTypes", "compute#machineTypeList"),
        (f"/zones/{ZONE}/machineTypes/n1-standard-1", "compute#machineType"),
        ("/aggregated/diskTypes", "compute#diskTypeAggregatedList"),
        (f"/zones/{ZONE}/diskTypes", "compute#diskTypeList"),
        ("/aggregated/disks", "compute#diskAggregatedList"),
        (f"/zones/{ZONE}/disks", "compute#diskList"),
        ("/aggregated/instances", "compute#instanceAggregatedList"),
        (f"/zones/{ZONE}/instances", "compute#instanceList"),
        ("/aggregated/operations", "compute#operationAggregatedList"),
        ("/global/operations", "compute#operationList"),
        (f"/regions/{REGION}/operations", "compute#operationList"),
        (f"/zones/{ZONE}/operations", "compute#operationList"),
        ("/global/networks", "compute#networkList"),
        ("/global/networks/default", "compute#network"),
        ("/global/firewalls", "compute#firewallList"),
        ("/global/images", "compute#imageList"),
    ],
)
async def test_reads(gcutil: Gcutil, path: str, kind: str) -> None:
    """Kinds are how it knows what it has been given; `getproject` prints quotas and metadata of the project."""
    plural = kind.endswith("List")
    found = await gcutil.get(f"{path}?maxResults=500" if plural else path, kind)

    assert "nextPageToken" not in found
    items = found.get("items", [])
    groups = items.values() if "Aggregated" in kind else [{"items": items}]
    for group in groups:
        for item in next((value for value in group.values() if isinstance(value, list)), []):
            assert item["kind"] == kind.replace("AggregatedList", "").replace("List", "")
            assert item["selfLink"].startswith(gcutil.api)
    if path == "":
        assert {"name", "quotas", "commonInstanceMetadata"} <= found.keys()
        assert "fingerprint" in found["commonInstanceMetadata"]


async def test_images_of_seven_projects(gcutil: Gcutil) -> None:
    """One list after the other for each command that names an image; a 404 it bears, a 403 it does not."""
    found = [await gcutil.get("/global/images?maxResults=500", "compute#imageList")]
    for name in IMAGE_PROJECTS:
        answer = await gcutil.gce.send("GET", f"/compute/v1/projects/{name}-cloud/global/images?maxResults=500")
        assert answer.status in (200, 404)
        found.append(answer.body)
    names = [item["selfLink"] for body in found for item in body.get("items", [])]
    assert f"{gcutil.api}projects/debian-cloud/global/images/debian-12" in names


async def test_addinstance_and_deleteinstance(gcutil: Gcutil, cloudstack: Simulator) -> None:
    """Found without its zone by a filter; its boot disk goes when asked to."""
    operation, made = await gcutil.change("POST", f"/zones/{ZONE}/instances", instance("g1", gcutil.api))
    assert (operation["operationType"], made["kind"], made["status"]) == ("insert", "compute#instance", "RUNNING")
    assert (made["tags"]["items"], made["metadata"]["items"]) == (["web"], [{"key": "k", "value": "v"}])
    assert made["networkInterfaces"][0]["accessConfigs"][0]["natIP"]
    await gcutil.get(f"/zones/{ZONE}/operations/{operation['name']}", "compute#operation")

    found = await gcutil.get("/aggregated/instances?filter=name+eq+g1&maxResults=2", "compute#instanceAggregatedList")
    (there,) = found["items"][f"zones/{ZONE}"]["instances"]
    assert (there["name"], there["zone"]) == ("g1", f"{gcutil.api}projects/{PROJECT}/zones/{ZONE}")

    listed = await gcutil.get(f"/zones/{ZONE}/instances?filter=name+eq+g1&maxResults=2", "compute#instanceList")
    (boot,) = [item for item in listed["items"][0]["disks"] if item["boot"]]
    assert (boot["kind"], boot["autoDelete"], boot["deviceName"]) == ("compute#attachedDisk", False, "g1")
    auto_delete = f"/zones/{ZONE}/instances/g1/setDiskAutoDelete?deviceName=g1&autoDelete=true"
    _, marked = await gcutil.change("POST", auto_delete)
    assert marked["disks"][0]["autoDelete"] is True
    operation, _ = await gcutil.change("DELETE", f"/zones/{ZONE}/instances/g1")
    assert (operation["operationType"], cloudstack.vms("demo"), cloudstack.volumes()) == ("delete", [], [])


async def test_an_empty_text_is_nothing_given(gcutil: Gcutil) -> None:
    """Flags that were not set are sent as empty texts."""
    body = instance("g1", gcutil.api, hostname="", minCpuPlatform="", zone="")
    body["networkInterfaces"][0] |= {"networkIP": "", "subnetwork": "", "nicType": None}
    body["networkInterfaces"][0]["accessConfigs"][0] |= {"natIP": "", "kind": "compute#accessConfig"}
    body["disks"][0]["initializeParams"] |= {"diskType": "", "diskName": ""}
    body["disks"][0] |= {"source": "", "kind": "compute#attachedDisk"}
    operation, made = await gcutil.change("POST", f"/zones/{ZONE}/instances", body)
    assert ("warnings" in operation, made["disks"][0]["source"].rpartition("/")[2]) == (False, "g1")


async def test_deleteinstance_that_spares_the_boot_disk(gcutil: Gcutil) -> None:
    """`--nodelete_boot_pd` deletes at once; the disk that was made with it stays, and can be looked at."""
    await gcutil.change("POST", f"/zones/{ZONE}/instances", instance("g1", gcutil.api))
    await gcutil.change("DELETE", f"/zones/{ZONE}/instances/g1")
    found = await gcutil.get(f"/zones/{ZONE}/disks/g1", "compute#disk")
    assert found["sizeGb"] == "10"
    await gcutil.change("DELETE", f"/zones/{ZONE}/disks/g1")
    assert "items" not in await gcutil.get(f"/zones/{ZONE}/disks?maxResults=500", "compute#diskList")


async def test_changes_of_an_instance(gcutil: Gcutil, cloudstack: Simulator) -> None:
    """resetinstance, setscheduling, setinstancemetadata, setinstancetags, getserialportoutput."""
    at = f"/zones/{ZONE}/instances/g1"
    await gcutil.change(
        "POST",
        f"/zones/{ZONE}/instances",
        instance(
            "g1", gcutil.api, networkInterfaces=[{"network": f"{gcutil.api}projects/{PROJECT}/global/networks/default"}]
        ),
    )
    operation, _ = await gcutil.change("POST", f"{at}/reset")
    assert operation["operationType"] == "reset"

    _, there = await gcutil.change(
        "POST", f"{at}/setScheduling", {"kind": None, "onHostMaintenance": "migrate", "automaticRestart": None}
    )
    assert there["scheduling"]["onHostMaintenance"] == "MIGRATE"

    body = {
        "kind": "compute#metadata",
        "items": [{"key": "a", "value": ""}, {"key": "b", "value": "2"}],
        "fingerprint": there["metadata"]["fingerprint"],
    }
    _, there = await gcutil.change("POST", f"{at}/setMetadata", body)
    assert there["metadata"]["items"] == [{"key": "a", "value": ""}, {"key": "b", "value": "2"}]

    body = {"items": [], "fingerprint": there["tags"]["fingerprint"]}
    _, there = await gcutil.change("POST", f"{at}/setTags", body)
    assert "items" not in there["tags"]

    answer = await gcutil.send("GET", f"{at}/serialPort")
    assert answer.status in (200, 400), answer.body


async def test_disks(gcutil: Gcutil, cloudstack: Simulator) -> None:
    """adddisk, attachdisk, detachdisk, deletedisk."""
    await gcutil.change("POST", f"/zones/{ZONE}/instances", instance("g1", gcutil.api))
    _, made = await gcutil.change("POST", f"/zones/{ZONE}/disks", disk("d1", gcutil.api))
    assert (made["kind"], made["sizeGb"], made["status"]) == ("compute#disk", "10", "READY")
    body = {
        "kind": "compute#attachedDisk",
        "boot": False,
        "source": f"{gcutil.api}projects/{PROJECT}/zones/{ZONE}/disks/d1",
        "type": "PERSISTENT",
        "mode": "READ_WRITE",
        "deviceName": "d1",
    }
    _, there = await gcutil.change("POST", f"/zones/{ZONE}/instances/g1/attachDisk", body)
    assert [item["deviceName"] for item in there["disks"]] == ["g1", "d1"]
    _, there = await gcutil.change("POST", f"/zones/{ZONE}/instances/g1/detachDisk?deviceName=d1")
    assert [item["deviceName"] for item in there["disks"]] == ["g1"]
    await gcutil.change("DELETE", f"/zones/{ZONE}/disks/d1")
    assert [volume.kind for volume in cloudstack.volumes()] == ["ROOT"]


@pytest.mark.parametrize(
    ("query", "members", "field"),
    [
        ("?sourceImage=projects/debian-cloud/global/images/debian-12", {"sizeGb": None}, "sourceImage"),
        ("", {"sizeGb": None, "sourceSnapshot": "projects/demo/global/snapshots/s"}, "resource.sourceSnapshot"),
    ],
)
async def test_disks_that_are_not_made_empty_are_refused(
    gcutil: Gcutil, cloudstack: Simulator, query: str, members: Body, field: str
) -> None:
    """An empty disk in place of what was asked for would be found out late."""
    answer = await gcutil.send("POST", f"/zones/{ZONE}/disks{query}", disk("d1", gcutil.api, **members))
    assert (answer.status, cloudstack.volumes()) == (400, [])
    assert f"'{field}'" in answer.body["error"]["message"]


async def test_a_disk_of_no_stated_size(gcutil: Gcutil) -> None:
    """A null, or an empty text for a link, is as good as nothing."""
    _, made = await gcutil.change(
        "POST", f"/zones/{ZONE}/disks?sourceImage=", disk("d1", gcutil.api, sizeGb=None, type="", sourceSnapshot="")
    )
    assert made["type"] == f"{gcutil.api}projects/{PROJECT}/zones/{ZONE}/diskTypes/pd-standard"


async def test_firewalls(gcutil: Gcutil) -> None:
    """addfirewall sends protocol numbers as texts; they are shown as they were sent or by name."""
    await gcutil.change("POST", f"/zones/{ZONE}/instances", instance("g1", gcutil.api))
    body = {
        "kind": "compute#firewall",
        "name": "f1",
        "description": "",
        "network": f"{gcutil.api}projects/{PROJECT}/global/networks/default",
        "sourceRanges": ["0.0.0.0/0"],
        "sourceTags": None,
        "allowed": [{"IPProtocol": "6", "ports": ["22"]}, {"IPProtocol": "1"}],
    }
    _, made = await gcutil.change("POST", "/global/firewalls", body)
    shown = [(item["IPProtocol"], item.get("ports")) for item in made["allowed"]]
    assert shown in ([("6", ["22"]), ("1", None)], [("tcp", ["22"]), ("icmp", None)])
    listed = await gcutil.get("/global/firewalls?maxResults=500", "compute#firewallList")
    assert [item["name"] for item in listed["items"]] == ["f1"]
    await gcutil.get("/global/firewalls/f1", "compute#firewall")
    await gcutil.change("DELETE", "/global/firewalls/f1")


async def test_metadata_of_the_project(gcutil: Gcutil) -> None:
    """setcommoninstancemetadata with --force sends no fingerprint; without, the one that it has read."""
    body = {"kind": "compute#metadata", "items": [{"key": "sshKeys", "value": "me:ssh-rsa AAAA me@here"}]}
    operation, there = await gcutil.change("POST", "/setCommonInstanceMetadata", body)
    assert operation["targetLink"] == f"{gcutil.api}projects/{PROJECT}"
    assert there["commonInstanceMetadata"]["items"] == body["items"]
    body |= {"items": [], "fingerprint": there["commonInstanceMetadata"]["fingerprint"]}
    _, there = await gcutil.change("POST", "/setCommonInstanceMetadata", body)
    assert "items" not in there["commonInstanceMetadata"]
    stale = await gcutil.send(
        "POST", "/setCommonInstanceMetadata", {**body, "items": [{"key": "a", "value": "b"}], "fingerprint": "AAAA"}
    )
    assert stale.status == 412


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        (
            "POST",
            f"/zones/{ZONE}/disks/d1/createSnapshot",
            {"kind": "compute#snapshot", "name": "s", "description": ""},
        ),
        ("POST", "/global/networks", {"kind": "compute#network", "IPv4Range": "10.0.0.0/8", "name": "n"}),
        ("POST", f"/regions/{REGION}/addresses", {"kind": "compute#address", "name": "a", "description": ""}),
        ("POST", "/global/routes", {"kind": "compute#route", "name": "r", "tags": []}),
        ("GET", "/global/snapshots?maxResults=500", None),
    ],
)
async def test_what_there_is_not_is_said_in_gce_form(gcutil: Gcutil, verb: str, path: str, body: Any) -> None:
    """It prints the message; a body that is no error object it prints as a trace."""
    answer = await gcutil.send(verb, path, body)
    assert (answer.status, answer.body["error"]["errors"][0]["reason"]) == (501, "notImplemented")


async def test_an_operation_that_fails_names_its_cause(gcutil: Gcutil, world: World) -> None:
    """`ERROR: CODE: message` is all that it shows."""
    world.cloudstack.faults.add("capacity", "deployVirtualMachine")
    operation, _ = await gcutil.change("POST", f"/zones/{ZONE}/instances", instance("g1", gcutil.api))
    (error,) = operation["error"]["errors"]
    assert error["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED"
    assert error["message"]
