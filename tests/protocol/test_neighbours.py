"""A second API beside Compute Engine's, with a document, paths and errors of its own."""

from __future__ import annotations

import asyncio

import pytest

from gceshim.protocol import errors
from gceshim.protocol.apis import Apis
from gceshim.protocol.discovery import RESOURCE_MANAGER, DiscoveryError, Document
from gceshim.protocol.dispatch import is_ours
from gceshim.protocol.errors import InvalidParameter, MethodNotAllowed, NotFound
from gceshim.protocol.filter import Filter
from gceshim.protocol.router import MethodRouter, path_of, split_path
from gceshim.protocol.schema import validate_error

from .harness import DOCUMENT, serving

MANAGER = Document(RESOURCE_MANAGER)
ROUTER = MethodRouter(MANAGER.methods)


def test_a_verb_behind_a_parameter_is_a_method_of_its_own():
    """`projects/p:testIamPermissions`; any other colon is part of the name."""
    route = ROUTER.route("POST", split_path("/v1/projects/example.com%3Ap:testIamPermissions"))
    assert (route.method.name, route.path_values) == ("testIamPermissions", {"resource": "example.com:p"})
    route = ROUTER.route("GET", split_path("/v1/projects/example.com:p"))
    assert (route.method.name, route.path_values) == ("get", {"projectId": "example.com:p"})
    assert path_of(["v1", "projects", "p", ":testIamPermissions"]) == "v1/projects/p:testIamPermissions"
    with pytest.raises(MethodNotAllowed) as caught:
        ROUTER.route("GET", split_path("/v1/projects/p:testIamPermissions"))
    assert caught.value.headers == {"Allow": "POST"}


def test_a_path_belongs_to_one_api():
    """By its first segment."""
    apis = Apis([DOCUMENT, MANAGER], ["compute.zones.get", "cloudresourcemanager.projects.get"])
    assert apis.at(split_path("/compute/v1/projects/p")).document is DOCUMENT
    assert apis.at(split_path("/v1/projects/p")).document is MANAGER
    for path in ("/", "/v2/projects/p", "/projects/p"):
        with pytest.raises(NotFound):
            apis.at(split_path(path))
    with pytest.raises(NotFound):
        apis.at(["compute"]).route("GET", split_path("/compute/beta/projects/p"))


def test_a_method_of_no_api_is_a_mistake():
    """Found when things are put together."""
    for method_id in ("storage.buckets.get", "compute.nothing.get", "nonsense"):
        with pytest.raises(DiscoveryError):
            Apis([DOCUMENT, MANAGER], [method_id])
    with pytest.raises(DiscoveryError):
        Apis([DOCUMENT], ["cloudresourcemanager.projects.get"])


def test_a_server_without_neighbours_has_not_their_paths():
    """404, like any that nobody has."""

    async def main():
        async with serving() as gce:
            assert (await gce("GET", "/v1/projects/p")).status == 404

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("/compute/v1/projects/p", True),
        ("/v1/projects", True),
        ("//v1//projects/p:testIamPermissions", True),
        ("/%24discovery/rest", True),
        ("/v1/users", False),
        ("/v1", False),
        ("/v1/projectsx", False),
        ("/computer", False),
        ("/", False),
    ],
)
def test_of_a_shared_application_only_our_paths_are_taken(path, ours):
    """`/v1/` is a word that an embedder's own API may begin with."""
    assert is_ours(path) == ours


def test_every_status_has_a_canonical_code():
    """An error of any class can be answered in either form."""
    for cls in errors.ApiError.__subclasses__():
        error = cls("x")
        assert "status" not in error.reply()["error"]
        assert validate_error(error.reply()) == []
        reply = error.reply(canonical=True)
        assert reply["error"]["status"].isupper()
        assert validate_error(reply) == []
    reply["error"]["status"] = "OK"
    assert validate_error(reply) == ["error.status: is not the canonical code of the HTTP status"]


PROJECT = {"projectId": "web-1", "name": "Web Shop", "lifecycleState": "ACTIVE", "labels": {"tier": "Gold"}}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("id:web-1", True),
        ("id:WEB-1", True),
        ("id:web", False),
        ("id:web*", True),
        ("projectid=Web-1", True),
        ("projectId!=web-1", False),
        ('name:"web shop"', True),
        ("labels.tier:gold", True),
        ("labels.tier:*", True),
        ("labels.colour:*", False),
        ("id:x name:y", False),
        ("id:x id:web-1", True),
        ("(id:x id:web-1) AND lifecycleState:active", True),
        ("(id:x id:web-1) AND lifecycleState:DELETE_REQUESTED", False),
        ("-id:web-1", False),
    ],
)
def test_its_filters_are_loose(text, matches):
    """Case plays no part, a text means the whole of it, and terms side by side are alternatives."""
    assert Filter.parse(text, MANAGER, "Project").matches(PROJECT) == matches


def test_its_filters_name_fields_that_there_are():
    """A list that was not narrowed would be taken for one that was."""
    for text in ("colour:red", "id", "id:", "AND", "id:a AND", ""):
        with pytest.raises(InvalidParameter):
            Filter.parse(text, MANAGER, "Project")
