"""compute.instances.update: the whole machine as it is to be."""

from __future__ import annotations

from typing import Any

import pytest

from gceshim.simulator import Simulator
from gceshim.testing.gce import Gce
from tests.resources.holdings import Holdings, NothingChanged
from tests.resources.requests import HERE, ZONE, changed, insert_body, machine, made

pytestmark = pytest.mark.gen_test


async def test_a_machine_is_changed_as_a_whole(gce: Gce) -> None:
    """What is sent back as it was read stays, what differs is changed."""
    await made(gce, insert_body("vm-1", description="first", labels={"a": "b"}, tags={"items": ["web"]}))
    body = await machine(gce, "vm-1")
    change: dict[str, Any] = {
        "description": "second",
        "labels": {"a": "c", "d": ""},
        "tags": {"items": ["db"]},
        "metadata": {"items": [{"key": "colour", "value": "blue"}]},
        "deletionProtection": True,
        "scheduling": {"automaticRestart": False},
    }
    operation = await changed(gce, "compute.instances.update", instance="vm-1", body={**body, **change})
    after = await machine(gce, "vm-1")

    assert (operation["operationType"], operation["targetLink"]) == ("update", after["selfLink"])
    assert (after["description"], after["labels"], after["deletionProtection"]) == ("second", {"a": "c", "d": ""}, True)
    assert (after["tags"]["items"], after["scheduling"]) == (["db"], {"automaticRestart": False})
    assert after["metadata"]["items"] == [{"key": "colour", "value": "blue"}]
    assert {name for name in after if after[name] != body.get(name)} == {
        *change,
        "fingerprint",
        "labelFingerprint",
    }


async def test_what_is_left_out_is_taken_away(gce: Gce) -> None:
    """The body is the whole machine."""
    await made(gce, insert_body("vm-1", description="first", labels={"a": "b"}, tags={"items": ["web"]}))
    body = await machine(gce, "vm-1")
    for name in ("description", "labels", "tags", "metadata"):
        del body[name]
    await changed(gce, "compute.instances.update", instance="vm-1", body=body)
    after = await machine(gce, "vm-1")

    assert ("description" in after, "labels" in after, "items" in after["tags"]) == (False, False, False)


async def test_nothing_new_changes_nothing(gce: Gce, cloudstack: Simulator) -> None:
    """Not one call that changes anything."""
    await made(gce, insert_body("vm-1", labels={"a": "b"}, metadata={"items": [{"key": "x", "value": "y"}]}))
    kept = Holdings(cloudstack)
    count = cloudstack.call_counts.total()
    body = await machine(gce, "vm-1")
    await changed(gce, "compute.instances.update", instance="vm-1", body=body)
    sent = list(cloudstack.calls)[-(cloudstack.call_counts.total() - count) :]

    assert kept.changes() == []
    assert [command for command in sent if not command.startswith(("list", "get", "query"))] == []
    assert await machine(gce, "vm-1") == body


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"machineType": f"zones/{ZONE}/machineTypes/medium-instance"}, "'resource.machineType'"),
        ({"name": "vm-2"}, "'resource.name'"),
        ({"hostname": "x.example.org"}, "'resource.hostname'"),
        ({"disks": []}, "'resource.disks'"),
        ({"networkInterfaces": []}, "'resource.networkInterfaces'"),
        ({"labels": {"Bad": "x"}}, "'resource.labels'"),
        ({"tags": {"items": ["Bad"]}}, "'resource.tags"),
        ({"description": "x" * 2049}, "'resource.description'"),
    ],
)
async def test_what_has_a_verb_of_its_own_is_refused(
    gce: Gce, cloudstack: Simulator, change: dict[str, Any], words: str
) -> None:
    """An update that did half of what it says would be worse than none."""
    await made(gce, insert_body("vm-1"))
    body = {**await machine(gce, "vm-1"), "description": "second", **change}
    with NothingChanged(cloudstack):
        error = await gce.error("compute.instances.update", **HERE, instance="vm-1", body=body)

    assert (error["code"], words in error["message"]) == (400, True), error["message"]
