"""compute.instances: labels, metadata, tags, size, protection and the rest of what can be changed."""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest

from gceshim.simulator import Simulator
from gceshim.testing.gce import Body, Gce
from tests.resources.holdings import Holdings, NothingChanged
from tests.resources.requests import HERE, PROJECT, ZONE, changed, failed, insert_body, machine, made

pytestmark = pytest.mark.gen_test

SG_HERE = {"project": PROJECT, "zone": "sandbox-sg-a"}
PATH = f"projects/{PROJECT}/zones/{ZONE}/instances"
STALE = "AAAAAAAAAAA="
KEY = "ann:ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ ann@example.org"


def user_data(cloudstack: Simulator, name: str) -> str:
    """What the machine reads when it next starts."""
    return base64.b64decode(cloudstack.vm(name).user_data or "").decode()


async def test_labels_are_replaced(gce: Gce, cloudstack: Simulator) -> None:
    """Those that are not sent go; all else about the machine stays."""
    await made(gce, insert_body("vm-1", description="first", labels={"env": "test", "team": "blue"}))
    before = await machine(gce, "vm-1")
    kept = Holdings(cloudstack)
    wanted = {"env": "prod", "empty": ""}
    body = {"labelFingerprint": before["labelFingerprint"], "labels": wanted}
    operation = await changed(gce, "compute.instances.setLabels", instance="vm-1", body=body)
    after = await machine(gce, "vm-1")

    assert (operation["operationType"], operation["targetLink"]) == ("setLabels", after["selfLink"])
    assert (operation["targetId"], after["labels"]) == (after["id"], wanted)
    assert {name for name in after if after[name] != before.get(name)} == {
        "fingerprint",
        "labelFingerprint",
        "labels",
    }
    assert kept.changes() == [
        "+ tag env=prod on vm-1",
        '+ tag gce:empty-labels=["empty"] on vm-1',
        "- tag env=test on vm-1",
        "- tag team=blue on vm-1",
    ]
    body = {"labelFingerprint": after["labelFingerprint"], "labels": {}}
    await changed(gce, "compute.instances.setLabels", instance="vm-1", body=body)
    assert "labels" not in await machine(gce, "vm-1")


async def test_metadata_are_replaced_and_become_user_data(gce: Gce, cloudstack: Simulator) -> None:
    """The machine reads them when it next starts."""
    await made(gce, insert_body("vm-1", metadata={"items": [{"key": "colour", "value": "blue"}]}))
    before = await machine(gce, "vm-1")
    items = [{"key": "ssh-keys", "value": KEY}, {"key": "startup-script", "value": "#!/bin/sh\necho hello\n"}]
    body = {"fingerprint": before["metadata"]["fingerprint"], "items": items}
    operation = await changed(gce, "compute.instances.setMetadata", instance="vm-1", body=body)
    after = await machine(gce, "vm-1")

    assert (operation["operationType"], after["metadata"]["items"]) == ("setMetadata", items)
    assert {name for name in after if after[name] != before.get(name)} == {"fingerprint", "metadata"}
    assert "echo hello" in user_data(cloudstack, "vm-1")
    assert KEY.partition(":")[2] in user_data(cloudstack, "vm-1")
    body = {"fingerprint": after["metadata"]["fingerprint"]}
    await changed(gce, "compute.instances.setMetadata", instance="vm-1", body=body)
    assert "items" not in (await machine(gce, "vm-1"))["metadata"]
    assert "echo hello" not in user_data(cloudstack, "vm-1")


async def test_long_metadata_come_back_whole(gce: Gce) -> None:
    """CloudStack's tags have 255 characters."""
    await made(gce, insert_body("vm-1"))
    items = [{"key": f"key-{number}", "value": f"value {number} ü " * 200} for number in range(5)]
    body = {"fingerprint": (await machine(gce, "vm-1"))["metadata"]["fingerprint"], "items": items}
    await changed(gce, "compute.instances.setMetadata", instance="vm-1", body=body)

    assert (await machine(gce, "vm-1"))["metadata"]["items"] == items


async def test_keys_of_the_project_reach_a_machine_whose_metadata_change(gce: Gce, cloudstack: Simulator) -> None:
    """As they do when it is made."""
    project = await gce.call("compute.projects.get", project=PROJECT)
    body: Body = {"fingerprint": project["commonInstanceMetadata"]["fingerprint"]}
    body["items"] = [{"key": "ssh-keys", "value": KEY}]
    await changed(gce, "compute.projects.setCommonInstanceMetadata", at={"project": PROJECT}, body=body)
    await made(gce, insert_body("vm-1"))
    assert KEY.partition(":")[2] in user_data(cloudstack, "vm-1")
    body = {
        "fingerprint": (await machine(gce, "vm-1"))["metadata"]["fingerprint"],
        "items": [{"key": "colour", "value": "blue"}],
    }
    await changed(gce, "compute.instances.setMetadata", instance="vm-1", body=body)
    assert KEY.partition(":")[2] in user_data(cloudstack, "vm-1")


async def test_tags_are_replaced(gce: Gce, cloudstack: Simulator) -> None:
    """And with them what rules apply."""
    await made(gce, insert_body("vm-1", tags={"items": ["web", "db"]}))
    before = await machine(gce, "vm-1")
    kept = Holdings(cloudstack)
    body = {"fingerprint": before["tags"]["fingerprint"], "items": ["mail", "web"]}
    operation = await changed(gce, "compute.instances.setTags", instance="vm-1", body=body)
    after = await machine(gce, "vm-1")

    assert (operation["operationType"], after["tags"]["items"]) == ("setTags", ["mail", "web"])
    assert {name for name in after if after[name] != before.get(name)} == {"fingerprint", "tags"}
    assert kept.changes() == ['+ tag gce:tags=["mail","web"] on vm-1', '- tag gce:tags=["db","web"] on vm-1']
    await changed(gce, "compute.instances.setTags", instance="vm-1", body={"fingerprint": after["tags"]["fingerprint"]})
    assert "items" not in (await machine(gce, "vm-1"))["tags"]


async def test_tags_of_a_stopped_machine_with_security_groups(gce: Gce) -> None:
    """There CloudStack changes groups of stopped machines only."""
    await changed(gce, "compute.instances.insert", at=SG_HERE, body=insert_body("vm-1", zone="sandbox-sg-a"))
    await changed(gce, "compute.instances.stop", at=SG_HERE, instance="vm-1")
    vm = await gce.call("compute.instances.get", **SG_HERE, instance="vm-1")
    body = {"fingerprint": vm["tags"]["fingerprint"], "items": ["web"]}
    await changed(gce, "compute.instances.setTags", at=SG_HERE, instance="vm-1", body=body)
    await changed(gce, "compute.instances.start", at=SG_HERE, instance="vm-1")
    vm = await gce.call("compute.instances.get", **SG_HERE, instance="vm-1")

    assert (vm["tags"]["items"], vm["status"]) == (["web"], "RUNNING")


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("setLabels", {"labels": {"env": "prod"}}),
        ("setMetadata", {"items": [{"key": "colour", "value": "red"}]}),
        ("setTags", {"items": ["web"]}),
        ("update", {"name": "vm-1", "description": "other"}),
    ],
)
@pytest.mark.parametrize("fingerprint", [None, "", STALE])
async def test_nothing_is_replaced_unseen(
    gce: Gce, cloudstack: Simulator, method: str, change: Body, fingerprint: str | None
) -> None:
    """412, by which clients know that they have to read again."""
    await made(gce, insert_body("vm-1", labels={"env": "test"}))
    field = "labelFingerprint" if method == "setLabels" else "fingerprint"
    body = change if fingerprint is None else {**change, field: fingerprint}
    with NothingChanged(cloudstack):
        error = await gce.error(f"compute.instances.{method}", **HERE, instance="vm-1", body=body)

    assert (error["code"], error["errors"][0]["reason"]) == (412, "conditionNotMet")


async def test_a_fingerprint_is_good_once(gce: Gce) -> None:
    """Two clients that read the same: the second is told."""
    await made(gce, insert_body("vm-1"))
    seen = (await machine(gce, "vm-1"))["labelFingerprint"]
    first = {"labelFingerprint": seen, "labels": {"by": "first"}}
    await changed(gce, "compute.instances.setLabels", instance="vm-1", body=first)
    error = await gce.error(
        "compute.instances.setLabels", **HERE, instance="vm-1", body={**first, "labels": {"by": "second"}}
    )

    assert (error["code"], (await machine(gce, "vm-1"))["labels"]) == (412, {"by": "first"})


async def test_fingerprints_come_back_in_the_other_alphabet(gce: Gce) -> None:
    """gcloud decodes them and sends them in the alphabet for URLs."""
    await made(gce, insert_body("vm-1"))
    for number in range(12):
        seen = (await machine(gce, "vm-1"))["labelFingerprint"]
        sent = seen.replace("+", "-").replace("/", "_")
        body = {"labelFingerprint": sent, "labels": {"n": str(number)}}
        await changed(gce, "compute.instances.setLabels", instance="vm-1", body=body)


async def test_the_size_of_a_stopped_machine_is_changed(gce: Gce, cloudstack: Simulator) -> None:
    """To an offering, to one of GCE's own types, and to a size of one's own; the name asked for is shown."""
    await made(gce, insert_body("vm-1"))
    await changed(gce, "compute.instances.stop", instance="vm-1")
    for name, size in (("medium-instance", (1, 2048)), ("e2-medium", (2, 4096)), ("custom-4-8192", (4, 8192))):
        body = {"machineType": f"zones/{ZONE}/machineTypes/{name}"}
        operation = await changed(gce, "compute.instances.setMachineType", instance="vm-1", body=body)
        shown = (await machine(gce, "vm-1"))["machineType"].rpartition("/")[2]
        vm = cloudstack.vm("vm-1")
        assert (operation["operationType"], shown, (vm.cpus, vm.memory_mib)) == ("setMachineType", name, size)
    await changed(gce, "compute.instances.start", instance="vm-1")
    assert (await machine(gce, "vm-1"))["status"] == "RUNNING"


async def test_the_size_of_a_running_machine_stays(gce: Gce, cloudstack: Simulator) -> None:
    """As on GCE."""
    await made(gce, insert_body("vm-1"))
    body = {"machineType": f"zones/{ZONE}/machineTypes/medium-instance"}
    with NothingChanged(cloudstack):
        operation = await failed(gce, "compute.instances.setMachineType", instance="vm-1", body=body)

    assert operation["error"]["errors"][0]["code"] == "RESOURCE_NOT_READY"
    assert "stop" in operation["error"]["errors"][0]["message"].lower()


@pytest.mark.parametrize(
    ("method", "arguments", "words"),
    [
        ("setMachineType", {"body": {"machineType": f"zones/{ZONE}/machineTypes/nope"}}, "'resource.machineType'"),
        ("setMachineType", {"body": {"machineType": f"zones/{ZONE}/disks/x"}}, "'resource.machineType'"),
        (
            "setMachineType",
            {"body": {"machineType": "zones/sandbox-sg-a/machineTypes/small-instance"}},
            "'resource.machineType'",
        ),
        ("setMachineType", {"body": {}}, "'resource.machineType' not specified"),
        ("setLabels", {"body": {"labelFingerprint": "{labels}", "labels": {"Bad": "x"}}}, "'resource.labels'"),
        ("setLabels", {"body": {"labelFingerprint": "{labels}", "labels": {"a": "x" * 64}}}, "'resource.labels'"),
        ("setMetadata", {"body": {"fingerprint": "{metadata}", "items": [{"value": "x"}]}}, "'resource.items"),
        ("setMetadata", {"body": {"fingerprint": "{metadata}", "items": [{"key": "a b"}]}}, "'resource.items"),
        (
            "setMetadata",
            {"body": {"fingerprint": "{metadata}", "items": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]}},
            "'resource.items",
        ),
        ("setTags", {"body": {"fingerprint": "{tags}", "items": ["Bad"]}}, "'resource.items"),
        ("setName", {"body": {"currentName": "vm-1", "name": "Bad"}}, "'resource.name'"),
        ("setName", {"body": {"currentName": "vm-1"}}, "'resource.name'"),
        ("setName", {"body": {"currentName": "vm-0", "name": "vm-2"}}, "'resource.currentName'"),
        ("setScheduling", {"body": {"onHostMaintenance": "DANCE"}}, "onHostMaintenance"),
    ],
)
async def test_what_cannot_be_set_is_refused(
    gce: Gce, cloudstack: Simulator, method: str, arguments: dict[str, Any], words: str
) -> None:
    """A 400 that names the field, and nothing is begun."""
    await made(gce, insert_body("vm-1"))
    vm = await machine(gce, "vm-1")
    seen = {
        "{labels}": vm["labelFingerprint"],
        "{metadata}": vm["metadata"]["fingerprint"],
        "{tags}": vm["tags"]["fingerprint"],
    }
    if "body" in arguments:
        sent = arguments["body"].items()
        body = {name: seen.get(value, value) if isinstance(value, str) else value for name, value in sent}
        arguments = {**arguments, "body": body}
    with NothingChanged(cloudstack):
        error = await gce.error(f"compute.instances.{method}", **HERE, instance="vm-1", **arguments)
    operations = await gce.call("compute.zoneOperations.list", **HERE)

    assert (error["code"], words in error["message"]) == (400, True), error["message"]
    assert [item["operationType"] for item in operations["items"]] == ["insert"]


async def test_user_data_that_are_too_long_are_refused(gce: Gce, cloudstack: Simulator) -> None:
    """Before or in the operation, and all stays as it is."""
    await made(gce, insert_body("vm-1"))
    noise = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=100_000))
    body = {
        "fingerprint": (await machine(gce, "vm-1"))["metadata"]["fingerprint"],
        "items": [{"key": "startup-script", "value": noise}],
    }
    with NothingChanged(cloudstack):
        answer = await gce.answer("compute.instances.setMetadata", **HERE, instance="vm-1", body=body)
        if answer.status == 200:
            operation = await gce.done(answer.body)
            assert operation["httpErrorStatusCode"] == 400
            assert "user data" in operation["error"]["errors"][0]["message"]
        else:
            assert (answer.status, "user data" in answer.body["error"]["message"]) == (400, True)


async def test_deletion_protection_is_switched(gce: Gce, cloudstack: Simulator) -> None:
    """On, and then the machine stays; off, and then it goes. Without a word it is switched on, as GCE has it."""
    await made(gce, insert_body("vm-1"))
    operation = await changed(gce, "compute.instances.setDeletionProtection", at={**HERE, "resource": "vm-1"})
    assert (operation["operationType"], (await machine(gce, "vm-1"))["deletionProtection"]) == (
        "setDeletionProtection",
        True,
    )
    assert cloudstack.vm("vm-1").delete_protection
    error = await gce.error("compute.instances.delete", **HERE, instance="vm-1")
    assert (error["code"], "protected against deletion" in error["message"]) == (400, True)
    await changed(
        gce, "compute.instances.setDeletionProtection", at={**HERE, "resource": "vm-1"}, deletionProtection=False
    )
    assert (await machine(gce, "vm-1"))["deletionProtection"] is False
    await changed(gce, "compute.instances.delete", instance="vm-1")
    assert cloudstack.vms("demo") == []


async def test_scheduling_is_kept_member_by_member(gce: Gce, cloudstack: Simulator) -> None:
    """Clients send what changes; the rest stays."""
    await made(gce, insert_body("vm-1", scheduling={"automaticRestart": True, "onHostMaintenance": "MIGRATE"}))
    operation = await changed(gce, "compute.instances.setScheduling", instance="vm-1", body={"automaticRestart": False})
    vm = await machine(gce, "vm-1")

    assert operation["operationType"] == "setScheduling"
    assert vm["scheduling"] == {"automaticRestart": False, "onHostMaintenance": "MIGRATE"}
    await changed(gce, "compute.instances.setScheduling", instance="vm-1", body={"onHostMaintenance": "TERMINATE"})
    assert (await machine(gce, "vm-1"))["scheduling"] == {"automaticRestart": False, "onHostMaintenance": "TERMINATE"}
    assert cloudstack.vm("vm-1").state == "Running"


async def test_leave_to_preempt_is_kept_and_never_taken(gce: Gce) -> None:
    """GCE may preempt such a machine and need not; what is kept is shown, without a word of having been changed."""
    scheduling = {"preemptible": True, "provisioningModel": "SPOT"}
    operation = await made(gce, insert_body("vm-1", scheduling=scheduling))
    changes = await changed(gce, "compute.instances.setScheduling", instance="vm-1", body={"preemptible": True})

    assert ("warnings" in operation, "warnings" in changes) == (False, False)
    assert (await machine(gce, "vm-1"))["scheduling"] == scheduling


async def test_service_accounts_are_kept(gce: Gce) -> None:
    """CloudStack has none; they are echoed, and an empty body takes them away."""
    await made(gce, insert_body("vm-1"))
    account = {"email": "me@example.org", "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}
    operation = await changed(gce, "compute.instances.setServiceAccount", instance="vm-1", body=account)
    assert (operation["operationType"], (await machine(gce, "vm-1"))["serviceAccounts"]) == (
        "setServiceAccount",
        [account],
    )
    await changed(gce, "compute.instances.setServiceAccount", instance="vm-1", body={})
    assert (await machine(gce, "vm-1")).get("serviceAccounts", []) == []


async def test_a_stopped_machine_gets_another_name(gce: Gce, cloudstack: Simulator) -> None:
    """Its boot disk along with it; under the old one nothing is found."""
    await made(gce, insert_body("vm-1", labels={"a": "b"}))
    before = await machine(gce, "vm-1")
    await changed(gce, "compute.instances.stop", instance="vm-1")
    operation = await changed(
        gce, "compute.instances.setName", instance="vm-1", body={"currentName": "vm-1", "name": "vm-2"}
    )
    after = await machine(gce, "vm-2")

    assert operation["operationType"] == "setName"
    assert (after["id"], after["labels"], after["name"]) == (before["id"], {"a": "b"}, "vm-2")
    assert after["disks"][0]["source"].endswith("/disks/vm-2")
    assert (await gce.call("compute.disks.get", **HERE, disk="vm-2"))["users"] == [after["selfLink"]]
    assert [vm.name for vm in cloudstack.vms("demo")] == ["vm-2"]
    for method, names in (("instances", {"instance": "vm-1"}), ("disks", {"disk": "vm-1"})):
        assert (await gce.error(f"compute.{method}.get", **HERE, **names))["code"] == 404
    await changed(gce, "compute.instances.start", instance="vm-2")
    await made(gce, insert_body("vm-1"))


async def test_a_name_that_is_taken_is_not_given_again(gce: Gce, cloudstack: Simulator) -> None:
    """Neither another machine's, nor to a machine that runs."""
    for name in ("vm-1", "vm-2"):
        await made(gce, insert_body(name))
    with NothingChanged(cloudstack):
        operation = await failed(gce, "compute.instances.setName", instance="vm-1", body={"name": "vm-3"})
        assert operation["error"]["errors"][0]["code"] == "RESOURCE_NOT_READY"
    await changed(gce, "compute.instances.stop", instance="vm-1")
    with NothingChanged(cloudstack):
        operation = await failed(gce, "compute.instances.setName", instance="vm-1", body={"name": "vm-2"})
        assert (operation["error"]["errors"][0]["code"], operation["httpErrorStatusCode"]) == (
            "RESOURCE_ALREADY_EXISTS",
            409,
        )


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("attachDisk", {"instance": "nope", "body": {"source": "disks/x"}}),
        ("detachDisk", {"instance": "nope", "deviceName": "x"}),
        ("getSerialPortOutput", {"instance": "nope"}),
        ("resume", {"instance": "nope"}),
        ("setDeletionProtection", {"resource": "nope"}),
        ("setDiskAutoDelete", {"instance": "nope", "deviceName": "x", "autoDelete": True}),
        ("setLabels", {"instance": "nope", "body": {"labels": {}}}),
        ("setMachineType", {"instance": "nope", "body": {"machineType": "small-instance"}}),
        ("setMetadata", {"instance": "nope", "body": {"items": []}}),
        ("setName", {"instance": "nope", "body": {"name": "x"}}),
        ("setScheduling", {"instance": "nope", "body": {}}),
        ("setServiceAccount", {"instance": "nope", "body": {}}),
        ("setTags", {"instance": "nope", "body": {"items": []}}),
        ("simulateMaintenanceEvent", {"instance": "nope"}),
        ("suspend", {"instance": "nope"}),
        ("testIamPermissions", {"resource": "nope", "body": {"permissions": []}}),
        ("update", {"instance": "nope", "body": {"name": "nope"}}),
    ],
)
async def test_unknown_machine_is_a_404_in_gce_form(gce: Gce, method: str, arguments: dict[str, Any]) -> None:
    """For each verb, those that are always refused too."""
    error = await gce.error(f"compute.instances.{method}", **HERE, **arguments)

    assert (error["code"], error["errors"][0]["reason"]) == (404, "notFound")
    assert error["message"] == f"The resource '{PATH}/nope' was not found"


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("suspend", "stop it instead"),
        ("resume", "start it instead"),
        ("getSerialPortOutput", "serial port"),
        ("simulateMaintenanceEvent", "administrators"),
    ],
)
async def test_what_cloudstack_cannot_do_is_refused_with_the_reason(
    gce: Gce, cloudstack: Simulator, method: str, words: str
) -> None:
    """A 400: gcloud would try a 501 again for half a minute."""
    await made(gce, insert_body("vm-1"))
    with NothingChanged(cloudstack):
        error = await gce.error(f"compute.instances.{method}", **HERE, instance="vm-1")

    assert (error["code"], words in error["message"]) == (400, True)


async def test_permissions_are_those_that_there_is_a_method_for(gce: Gce) -> None:
    """Clients ask before they try."""
    await made(gce, insert_body("vm-1"))
    asked = ["compute.instances.setLabels", "compute.instances.fly", "compute.disks.get"]
    answer = await gce.call(
        "compute.instances.testIamPermissions", **HERE, resource="vm-1", body={"permissions": asked}
    )

    assert answer["permissions"] == asked[:1]


async def test_a_changed_machine_goes_as_whole_as_any_other(gce: Gce, cloudstack: Simulator) -> None:
    """Whatever was set on it, nothing is left."""
    await made(gce, insert_body("vm-0"))
    kept = Holdings(cloudstack)
    await made(gce, insert_body("vm-1", external=True))
    vm = await machine(gce, "vm-1")
    for method, body in (
        ("setLabels", {"labelFingerprint": vm["labelFingerprint"], "labels": {"a": "b"}}),
        ("setTags", {"fingerprint": vm["tags"]["fingerprint"], "items": ["web"]}),
        ("setScheduling", {"automaticRestart": False}),
        (
            "setMetadata",
            {"fingerprint": vm["metadata"]["fingerprint"], "items": [{"key": "ssh-keys", "value": KEY * 20}]},
        ),
    ):
        await changed(gce, f"compute.instances.{method}", instance="vm-1", body=body)
    await changed(gce, "compute.instances.delete", instance="vm-1")

    assert kept.changes() == []


async def test_nothing_refers_to_a_machine(gce: Gce) -> None:
    """There are no groups: an empty list, and a 404 for a machine that is not there."""
    await made(gce, insert_body("vm-1"))
    listed = await gce.call("compute.instances.listReferrers", **HERE, instance="vm-1")
    error = await gce.error("compute.instances.listReferrers", **HERE, instance="nope")

    assert ("items" in listed, error["code"]) == (False, 404)
