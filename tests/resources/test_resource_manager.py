"""The few methods of Cloud Resource Manager that gcloud calls beside Compute Engine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from googleapiclient.discovery import build_from_document
from tornado.httpclient import AsyncHTTPClient

from gceshim.simulator import Simulator
from gceshim.testing.gce import Gce
from gceshim.testing.world import World

pytestmark = pytest.mark.gen_test

LIST = "cloudresourcemanager.projects.list"
GET = "cloudresourcemanager.projects.get"
TEST = "cloudresourcemanager.projects.testIamPermissions"


async def ids(gce: Gce, **arguments: Any) -> list[str]:
    """The ids of the projects that a list shows."""
    return [project["projectId"] for project in (await gce.call(LIST, **arguments)).get("projects", [])]


async def test_the_list_holds_the_account_and_its_projects(gce: Gce, world: World, cloudstack: Simulator) -> None:
    """What can be put behind `--project`, and no more; each is found by its id and by its number."""
    projects = (await gce.call(LIST))["projects"]

    assert [(item["projectId"], item["lifecycleState"]) for item in projects] == [
        ("demo", "ACTIVE"),
        ("team", "ACTIVE"),
    ]
    assert all(set(item) == {"projectId", "name", "projectNumber", "lifecycleState", "createTime"} for item in projects)
    for item in projects:
        assert await gce.call(GET, projectId=item["projectId"]) == item
        assert await gce.call(GET, projectId=item["projectNumber"]) == item
        compute = await gce.call("compute.projects.get", project=item["projectId"])
        assert (compute["id"], compute["name"]) == (item["projectNumber"], item["projectId"])
    assert await gce.call(GET, projectId="default") == projects[0]
    assert await ids(await world.gce("other")) == ["other"]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("lifecycleState:ACTIVE", ["demo", "team"]),
        ("lifecycleState:ACTIVE AND (id=demo)", ["demo"]),
        ("lifecycleState:ACTIVE AND (( id:demo OR id:team ))", ["demo", "team"]),
        ("lifecycleState:ACTIVE AND (NOT (id=demo))", ["team"]),
        ("LIFECYCLESTATE:active AND (ID:DEMO)", ["demo"]),
        ("projectId:te*", ["team"]),
        ("id:te", []),
        ("id:demo id:team", ["demo", "team"]),
        ("id:demo name:nothing AND lifecycleState:ACTIVE", ["demo"]),
        ("lifecycleState:DELETE_REQUESTED", []),
        ("labels.colour:*", []),
        ("parent.type:folder", []),
    ],
)
async def test_filters_are_read_as_google_reads_them(gce: Gce, expression: str, found: list[str]) -> None:
    """gcloud does not look again at what it has sent."""
    assert await ids(gce, filter=expression) == found


async def test_pages_are_as_large_as_asked_for(gce: Gce) -> None:
    """The last has no token; more than there can be is no mistake here."""
    first = await gce.call(LIST, pageSize=1)
    last = await gce.call(LIST, pageSize=1, pageToken=first["nextPageToken"])

    assert [item["projectId"] for item in first["projects"] + last["projects"]] == ["demo", "team"]
    assert "nextPageToken" not in last
    assert await ids(gce, pageSize=100_000) == await ids(gce, pageSize=0) == ["demo", "team"]
    assert await ids(gce, filter="id:team", pageSize=1) == ["team"]


async def test_permissions_are_those_of_a_member(gce: Gce) -> None:
    """The ADC login asks whether calls may be counted against the project."""
    asked = [
        "serviceusage.services.use",
        "compute.instances.list",
        "storage.buckets.list",
        "resourcemanager.projects.get",
    ]
    held = await gce.call(TEST, resource="team", body={"permissions": asked})

    assert held == {"permissions": [asked[0], asked[1], asked[3]]}
    assert await gce.call(TEST, resource="demo", body={"permissions": ["storage.buckets.list"]}) == {}


@pytest.mark.parametrize(
    ("call", "status", "word"),
    [
        ((GET, {"projectId": "nobodys"}), 404, "NOT_FOUND"),
        ((TEST, {"resource": "nobodys", "body": {}}), 404, "NOT_FOUND"),
        ((LIST, {"filter": "colour:red"}), 400, "INVALID_ARGUMENT"),
        ((LIST, {"pageSize": -1}), 400, "INVALID_ARGUMENT"),
        ((LIST, {"pageToken": "nonsense"}), 400, "INVALID_ARGUMENT"),
    ],
)
async def test_errors_have_the_form_of_newer_apis(gce: Gce, call: tuple[str, Any], status: int, word: str) -> None:
    """With Google's canonical code beside the HTTP status, and all that Compute Engine's have."""
    error = await gce.error(call[0], **call[1])

    assert (error["code"], error["status"]) == (status, word)
    assert error["errors"][0]["message"] == error["message"]


async def test_whoever_is_unknown_is_told_in_that_form_too(world: World) -> None:
    """And another verb or path is not a method."""
    stranger = world.anonymous()
    assert (await stranger.error(LIST))["status"] == "UNAUTHENTICATED"
    for verb, path, status in (
        ("DELETE", "/v1/projects/demo", 405),
        ("GET", "/v1/projects/demo:testIamPermissions", 405),
        ("POST", "/v1/projects/demo", 405),
        ("POST", "/v1/projects/demo:getIamPolicy", 405),
        ("GET", "/v1/organizations", 404),
        ("GET", "/v2/projects", 404),
    ):
        assert (await stranger.send(verb, path)).status == status, path


async def test_the_api_has_a_discovery_document_of_its_own(world: World, gce: Gce) -> None:
    """Listed beside Compute Engine's; Google's client library builds itself from it."""
    listed = await gce.send("GET", "/discovery/v1/apis")
    url = next(item["discoveryRestUrl"] for item in listed.body["items"] if item["name"] == "cloudresourcemanager")
    served = json.loads((await AsyncHTTPClient().fetch(url)).body)
    client = build_from_document(served, developerKey="k")

    assert [item["id"] for item in listed.body["items"]] == ["compute:v1", "cloudresourcemanager:v1"]
    assert client.projects().get(projectId="p").uri.startswith(f"{world.url}/v1/projects/p?")
    methods = {method["id"] for item in served["resources"].values() for method in item["methods"].values()}
    assert methods == {LIST, GET, TEST}


async def test_a_list_costs_one_call(gce: Gce, cloudstack: Simulator) -> None:
    """However the pages are cut."""
    await gce.call(LIST)
    before = len(cloudstack.calls)
    await gce.call(LIST, filter="lifecycleState:ACTIVE", pageSize=500)

    assert list(cloudstack.calls)[before:] == ["listProjects"]
