"""compute.*Operations: what a mutation answers with, and how it is followed."""

from __future__ import annotations

import asyncio

import pytest

from gceshim.simulator import Simulator
from gceshim.simulator.entities import PublicIp
from gceshim.testing.gce import Gce
from tests.resources.requests import HERE, PROJECT, insert_body, made

pytestmark = pytest.mark.gen_test


async def test_an_operation_is_found_by_name_and_by_number(gce: Gce) -> None:
    """Terraform falls back to the number."""
    operation = await made(gce, insert_body("vm-1"))
    by_name = await gce.call("compute.zoneOperations.get", **HERE, operation=operation["name"])
    by_number = await gce.call("compute.zoneOperations.get", **HERE, operation=operation["id"])

    assert by_name == by_number == operation
    assert (operation["progress"], operation["user"]) == (100, by_name["user"])
    assert operation["insertTime"] <= operation["startTime"] <= operation["endTime"]


async def test_operations_are_listed_by_scope_and_all_together(gce: Gce) -> None:
    """gcloud lists them over all scopes; other clients by zone."""
    machine = await made(gce, insert_body("vm-1"))
    project = await gce.done(
        await gce.call("compute.projects.setCommonInstanceMetadata", project=PROJECT, body={"items": []})
    )
    zonal = await gce.call("compute.zoneOperations.list", **HERE)
    of_project = await gce.call("compute.globalOperations.list", project=PROJECT)
    spread = await gce.call("compute.globalOperations.aggregatedList", project=PROJECT)
    filtered = await gce.call("compute.zoneOperations.list", **HERE, filter="operationType eq delete")

    assert [item["name"] for item in zonal["items"]] == [machine["name"]]
    assert [item["name"] for item in of_project["items"]] == [project["name"]]
    held = {scope: [item["name"] for item in found.get("operations", [])] for scope, found in spread["items"].items()}
    assert {scope: names for scope, names in held.items() if names} == {
        "zones/sandbox-1-a": [machine["name"]],
        "global": [project["name"]],
    }
    assert set(held) == {"global", "regions/sandbox-1", "regions/sandbox-sg", "zones/sandbox-1-a", "zones/sandbox-sg-a"}
    assert "items" not in filtered


async def test_an_operation_is_deleted_once_it_is_done(gce: Gce) -> None:
    """204 and gone; another scope does not have it."""
    operation = await made(gce, insert_body("vm-1"))
    elsewhere = await gce.error("compute.globalOperations.get", project=PROJECT, operation=operation["name"])
    answer = await gce.answer("compute.zoneOperations.delete", **HERE, operation=operation["name"])
    after = await gce.error("compute.zoneOperations.get", **HERE, operation=operation["name"])
    waited = await gce.error("compute.zoneOperations.wait", **HERE, operation=operation["name"])

    assert (elsewhere["code"], answer.status, after["code"]) == (404, 204, 404)
    assert waited == after
    assert after["message"].endswith(f"/operations/{operation['name']}' was not found")


async def test_a_mutation_is_answered_at_once_and_waited_for_elsewhere(gce: Gce, cloudstack: Simulator) -> None:
    """No request of a mutation waits for a CloudStack job; `wait` does."""
    cloudstack.faults.add("slow_job", command="deployVirtualMachine", times=1, seconds=0.5)
    operation = await gce.call("compute.instances.insert", **HERE, body=insert_body("vm-1"))
    waits = [gce.call("compute.zoneOperations.wait", **HERE, operation=operation["name"]) for _ in range(20)]
    ended = await asyncio.gather(*waits)

    assert operation["status"] in ("PENDING", "RUNNING")
    assert {item["status"] for item in ended} == {"DONE"}


async def test_prefer_wait_answers_with_what_is_done(gce: Gce) -> None:
    """For clients that cannot follow an operation at a custom endpoint."""
    operation = await gce.call(
        "compute.instances.insert", **HERE, body=insert_body("vm-1"), headers={"Prefer": "wait=30"}
    )
    assert (operation["status"], operation.get("error")) == ("DONE", None)


async def test_a_failed_job_is_a_failed_operation_with_cloudstacks_words(gce: Gce, cloudstack: Simulator) -> None:
    """Both forms of the error, GCE's code, and nothing left behind."""
    cloudstack.faults.add("capacity", command="deployVirtualMachine", times=1)
    operation = await gce.done(await gce.call("compute.instances.insert", **HERE, body=insert_body("vm-1")))

    assert operation["error"]["errors"][0]["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED"
    assert operation["httpErrorStatusCode"] == 503
    assert operation["httpErrorMessage"] == operation["error"]["errors"][0]["message"]
    assert cloudstack.vms("demo") == []


async def test_a_quota_is_a_quota(gce: Gce, cloudstack: Simulator) -> None:
    """gcloud prints the text; scripts look at the code."""
    cloudstack.faults.add("quota_full", command="deployVirtualMachine", times=1)
    operation = await gce.done(await gce.call("compute.instances.insert", **HERE, body=insert_body("vm-1")))

    assert operation["error"]["errors"][0]["code"] == "QUOTA_EXCEEDED"
    assert operation["httpErrorStatusCode"] == 403


@pytest.mark.parametrize("command", ["createTags", "associateIpAddress", "enableStaticNat"])
async def test_what_a_failed_insert_made_is_removed(gce: Gce, cloudstack: Simulator, command: str) -> None:
    """A machine without its labels or address is not what was asked for."""
    await made(gce, insert_body("vm-0"))
    cloudstack.faults.add("failing_job" if command != "enableStaticNat" else "capacity", command=command, times=1)
    body = insert_body("vm-1", external=command != "createTags", labels={"env": "test"})
    operation = await gce.done(await gce.call("compute.instances.insert", **HERE, body=body))

    assert operation["error"]["errors"][0]["message"]
    assert [vm.name for vm in cloudstack.vms("demo")] == ["vm-0"]
    assert len(cloudstack.volumes()) == 1
    assert [address for address in cloudstack.inspect.rows(PublicIp) if not address.source_nat] == []


async def test_operations_come_in_pages_while_more_are_begun(gce: Gce) -> None:
    """Paged by key: none twice, none missed of those that were there."""
    body = {"items": []}
    first = [
        (await gce.call("compute.projects.setCommonInstanceMetadata", project=PROJECT, body=body))["name"]
        for _ in range(5)
    ]
    seen: list[str] = []
    token: dict[str, str] = {}
    while not seen or token:
        page = await gce.call("compute.globalOperations.list", project=PROJECT, maxResults=2, **token)
        seen += [item["name"] for item in page["items"]]
        token = {"pageToken": page["nextPageToken"]} if "nextPageToken" in page and len(seen) < 20 else {}
        if len(seen) < 5:
            await gce.call("compute.projects.setCommonInstanceMetadata", project=PROJECT, body=body)

    assert len(seen) == len(set(seen))
    assert set(first) <= set(seen)
