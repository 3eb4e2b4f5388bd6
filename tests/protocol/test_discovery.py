"""The document: what is read from it, what is served of it, and how paths find its methods."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from googleapiclient.discovery import build_from_document

from gceshim.protocol.discovery import DiscoveryError, Document, apply_patch
from gceshim.protocol.errors import MethodNotAllowed, NotFound
from gceshim.protocol.router import MethodRouter, split_path

from .harness import DOCUMENT, Table, serving

ROOT = Path(__file__).parents[2]
ROUTER = MethodRouter(DOCUMENT.methods)


def test_the_reduced_document_is_what_the_tool_writes():
    """The file is generated, and a change by hand would be lost."""
    tool = ROOT / "tools" / "build_discovery.py"
    result = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_document_loads_quickly():
    """`gceshim demo` starts in two seconds, all parts together."""
    started = time.process_time()
    Document()
    assert time.process_time() - started < 0.5


def test_every_method_is_found_by_its_own_path_and_verb():
    """All of the API, so that a fixed segment never hides a parameter."""
    for method in DOCUMENT.methods:
        path = "/".join(segment or "a1" for segment in method.segments)
        route = ROUTER.route(method.http_method, split_path(path))
        same_path = (route.method.http_method, route.method.segments) == (method.http_method, method.segments)
        assert route.method.id == method.id or same_path, method.id
        assert route.path_values.keys() == {p.name for p in route.method.parameters.values() if p.location == "path"}


@pytest.mark.parametrize(
    ("verb", "path", "method_id", "values"),
    [
        ("GET", "projects/p/global/images/family/f", "getFromFamily", {"project": "p", "family": "f"}),
        ("GET", "projects/p/global/images/family", "get", {"project": "p", "image": "family"}),
        ("POST", "projects/p/global/images/family/setLabels", "setLabels", {"project": "p", "resource": "family"}),
    ],
)
def test_a_fixed_segment_wins_unless_it_leads_nowhere(verb, path, method_id, values):
    """`family` is a word of the path and may be an image's name as well."""
    route = ROUTER.route(verb, split_path(path))
    assert (route.method.id, route.path_values) == (f"compute.images.{method_id}", values)


def test_a_parameter_of_several_segments_is_taken_whole():
    """`{+parentName}` stands for four of them."""
    route = ROUTER.route(
        "GET", split_path("projects/p/zones/z/reservations/r/reservationBlocks/b/reservationSubBlocks/s")
    )
    assert route.path_values["parentName"] == "reservations/r/reservationBlocks/b"
    assert route.path_values["reservationSubBlock"] == "s"


def test_an_encoded_slash_does_not_split_a_segment():
    """Decoding comes after splitting."""
    route = ROUTER.route("GET", split_path("locations/global/firewallPolicies/firewallPolicies%2F12"))
    assert route.path_values == {"firewallPolicy": "firewallPolicies/12"}


def test_unknown_paths_and_verbs_are_told_apart():
    """404 for the one, 405 with the verbs for the other."""
    with pytest.raises(NotFound):
        ROUTER.route("GET", ["projects"])
    with pytest.raises(NotFound):
        split_path("/a" * 100)
    with pytest.raises(MethodNotAllowed) as caught:
        ROUTER.route("PATCH", split_path("projects/p/zones/z/instances"))
    assert caught.value.headers == {"Allow": "GET, POST"}


def test_methods_and_schemas_are_known_by_name_only():
    """A name that is not in the document is a mistake in the program."""
    insert = DOCUMENT.method("compute.instances.insert")
    assert (insert.collection, insert.name, insert.http_method) == ("instances", "insert", "POST")
    assert (insert.request, insert.response, insert.scope) == ("Instance", "Operation", "zone")
    assert insert.supports("requestId")
    assert not insert.supports("filter")
    assert DOCUMENT.kind_of("Instance") == "compute#instance"
    assert DOCUMENT.kind_of("InstancesScopedList") is None
    assert DOCUMENT.item_schema(DOCUMENT.method("compute.instances.aggregatedList")) == "Instance"
    assert DOCUMENT.item_schema(DOCUMENT.method("compute.zones.list")) == "Zone"
    assert DOCUMENT.item_schema(insert) is None
    for lookup in (DOCUMENT.method, DOCUMENT.schema):
        with pytest.raises(DiscoveryError):
            lookup("compute.nothing")


def test_a_patch_needs_a_reason_and_a_place():
    """What the document gets wrong is written down with why."""
    document = {"schemas": {"A": {"x": 1}}}
    apply_patch(document, {"why": "w", "op": "replace", "path": "/schemas/A/x", "value": 2})
    apply_patch(document, {"why": "w", "op": "add", "path": "/schemas/B", "value": {}})
    assert document == {"schemas": {"A": {"x": 2}, "B": {}}}
    apply_patch(document, {"why": "w", "op": "add", "path": "/schemas/*/y", "value": 3})
    assert document["schemas"] == {"A": {"x": 2, "y": 3}, "B": {"y": 3}}
    for patch in (
        {"why": "w", "op": "add", "path": "/schemas/*/nowhere/y", "value": 3},
        {"op": "remove", "path": "/schemas/A"},
        {"why": "w", "op": "remove", "path": "/schemas/C"},
        {"why": "w", "op": "move", "path": "/schemas/A"},
    ):
        with pytest.raises(DiscoveryError):
            apply_patch(document, patch)
    firewall = DOCUMENT.schema("Firewall")["properties"]["name"]
    assert firewall["annotations"]["required"] == ["compute.firewalls.insert"]


@pytest.mark.parametrize(
    "path",
    ["/discovery/v1/apis/compute/v1/rest", "/$discovery/rest?version=v1", "/%24discovery/rest", "/$discovery/rest"],
)
def test_the_served_document_holds_what_is_implemented_with_our_urls(path):
    """A client built from it calls only what works, and calls it here; asked for with and without a token."""

    async def main():
        async with serving() as gce:
            for headers in ({}, None):
                reply = await gce("GET", path, headers=headers)
                root = f"http://127.0.0.1:{gce.port}/"
                document = reply.value
                assert (document["rootUrl"], document["servicePath"]) == (root, "compute/v1/")
                assert (document["baseUrl"], document["batchPath"]) == (f"{root}compute/v1/", "batch/compute/v1")
                served = {m["id"] for c in document["resources"].values() for m in c["methods"].values()}
                assert served == set(Table().methods())
                assert "https://www.googleapis.com/auth/compute" in document["auth"]["oauth2"]["scopes"]
                assert "Instance" in document["schemas"]
                assert "Autoscaler" not in document["schemas"]
                text = json.dumps(document["schemas"])
                references = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
                assert references <= document["schemas"].keys()
            other = await gce("GET", path, headers={"Host": "gce.example.org"})
            assert other.value["rootUrl"] == "http://gce.example.org/"

    asyncio.run(main())


def test_discovery_is_listed_and_refuses_what_it_has_not():
    """discovery.apis.list; another version or verb is an error in GCE's form."""

    async def main():
        async with serving() as gce:
            listed = (await gce("GET", "/discovery/v1/apis", headers={})).value
            assert [item["id"] for item in listed["items"]] == ["compute:v1"]
            assert listed["items"][0]["discoveryRestUrl"].endswith("/discovery/v1/apis/compute/v1/rest")
            assert (await gce("GET", "/$discovery/rest?version=v2", headers={})).status == 404
            assert (await gce("POST", "/discovery/v1/apis", headers={})).status == 405
            assert (await gce("GET", "/discovery/v1/apis/storage/v1/rest", headers={})).status == 404
            for number in range(100):
                assert (await gce("GET", "/$discovery/rest", headers={"Host": f"h{number}"})).status == 200

    asyncio.run(main())


def test_google_api_python_client_builds_from_the_served_document():
    """It reads patterns, schemas and paths, and stops at what it does not understand."""
    served = DOCUMENT.served([method.id for method in DOCUMENT.methods], "http://127.0.0.1:1/")
    compute = build_from_document(json.dumps(served), developerKey="k")
    request = compute.instances().list(project="p1", zone="z1", maxResults=5)
    assert request.uri.startswith("http://127.0.0.1:1/compute/v1/projects/p1/zones/z1/instances?")
