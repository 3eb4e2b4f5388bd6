"""Bodies against their schema, both ways."""

import json

import pytest

from gceshim.protocol import errors
from gceshim.protocol.schema import BodyReader, validate_error, validate_response

from .harness import DOCUMENT

READER = BodyReader(DOCUMENT)


def read(body, method_id="compute.instances.insert"):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return READER.read(DOCUMENT.method(method_id), raw)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"disks": [{"diskSizeGb": 10}]}, {"disks": [{"diskSizeGb": "10"}]}),
        ({"disks": [{"diskSizeGb": "10"}]}, {"disks": [{"diskSizeGb": "10"}]}),
        ({"disks": [{"diskSizeGb": 10.0, "index": "3"}]}, {"disks": [{"diskSizeGb": "10", "index": 3}]}),
        ({"id": 2**64 - 1}, {"id": str(2**64 - 1)}),
        ({"canIpForward": "true", "deletionProtection": False}, {"canIpForward": True, "deletionProtection": False}),
        ({"fingerprint": "-_-_"}, {"fingerprint": "+/+/"}),
        ({"fingerprint": "42WmSpB8rSM"}, {"fingerprint": "42WmSpB8rSM="}),
        ({"scheduling": {"onHostMaintenance": "migrate"}}, {"scheduling": {"onHostMaintenance": "MIGRATE"}}),
        ({"labels": {"a": "b", "c": None}, "description": None}, {"labels": {"a": "b"}}),
        ({"labels": {}, "description": "", "tags": {"items": []}}, None),
        ({"kind": "compute#instance", "selfLink": "x", "creationTimestamp": "y"}, None),
        ({"metadata": {"kind": "compute#metadata", "items": [{"key": "k", "value": "v"}]}}, None),
    ],
)
def test_members_are_kept_in_canonical_form(sent, kept):
    """Clients write numbers as strings and the reverse; a resource reads one form only."""
    assert read({"name": "a1", **sent}) == {"name": "a1", **(sent if kept is None else kept)}


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (
            {"name": "A_"},
            "Invalid value for field 'resource.name': 'A_'. Must be a match of regex "
            "'(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'",
        ),
        (
            {"foo": 1},
            "Invalid JSON payload received. Unknown name \"foo\" at 'resource': Cannot find field.",
        ),
        (
            {"disks": [{}, {"initializeParams": {"x": 1}}]},
            "Invalid JSON payload received. Unknown name \"x\" at 'resource.disks[1].initializeParams': "
            "Cannot find field.",
        ),
        (
            {"disks": [{"initializeParams": {"diskSizeGb": "ten"}}]},
            "Invalid value for field 'resource.disks[0].initializeParams.diskSizeGb': 'ten'. "
            "It must be an integer from -9223372036854775808 to 9223372036854775807.",
        ),
        ({"machineType": 5}, "Invalid value for field 'resource.machineType': '5'. It must be a string."),
        ({"labels": {"a": 1}}, "Invalid value for field 'resource.labels.a': '1'. It must be a string."),
        ({"disks": {}}, "Invalid value for field 'resource.disks': '{}'. It must be an array."),
        ({"disks": [None]}, "Invalid value for field 'resource.disks[0]': 'null'. It must be an object."),
        ({"canIpForward": 1}, "Invalid value for field 'resource.canIpForward': '1'. It must be true or false."),
        ({"fingerprint": "a"}, "Invalid value for field 'resource.fingerprint': 'a'. It must be base64."),
        (
            {"scheduling": {"onHostMaintenance": "STAY"}},
            "Invalid value for field 'resource.scheduling.onHostMaintenance': 'STAY'. "
            "Must be one of: MIGRATE, TERMINATE.",
        ),
    ],
)
def test_a_member_that_does_not_fit_is_named_by_its_place(sent, message):
    """A body has dozens of members; the text has to say which."""
    with pytest.raises(errors.Invalid) as caught:
        read({"name": "a1", **sent})
    assert caught.value.message == message


@pytest.mark.parametrize("size", [True, 1.5, 2**63, -(2**63) - 1, "1e3", "0x10", " 1", "", [], {}, "٣", 1e300])
def test_what_is_no_int64_is_refused(size):
    """Booleans are integers in Python, and other digits are digits to Unicode."""
    with pytest.raises(errors.Invalid):
        read({"name": "a1", "disks": [{"diskSizeGb": size}]})


def test_required_members_depend_on_the_method():
    """The document's annotations say for which."""
    with pytest.raises(errors.Required) as caught:
        read({})
    assert caught.value.message == "Required field 'resource.name' not specified"
    assert read({"priority": 5}, "compute.firewalls.patch") == {"priority": 5}
    route = {"name": "r1", "network": "n", "destRange": "10.0.0.0/8"}
    assert read(route, "compute.routes.insert") == route


def test_very_long_arrays_and_deep_nesting_are_refused():
    """No work without bound for one request."""
    with pytest.raises(errors.Invalid):
        read({"name": "a1", "resourcePolicies": ["x"] * 10_001})
    with pytest.raises(errors.Invalid) as caught:
        read({"name": "a1", "networkInterfaces": [{"accessConfigs": [{}] * 4_000}] * 3})
    assert "'resource.networkInterfaces[2].accessConfigs': '4000 elements'" in caught.value.message
    read({"name": "a1", "networkInterfaces": [{"accessConfigs": [{}] * 4_000}] * 2})
    deep = {"a": 1}
    for _ in range(500):
        deep = {"metadata": deep}
    with pytest.raises(errors.ApiError):
        read(deep)
    with pytest.raises(errors.ParseError):
        read(b'{"name":' * 30_000)


def test_an_answer_that_is_right_has_no_problems():
    """The check of every answer in every test."""
    instance = {
        "kind": "compute#instance",
        "id": "123",
        "name": "a1",
        "selfLink": "http://h/compute/v1/projects/p/zones/z/instances/a1",
        "creationTimestamp": "2026-01-01T00:00:00.000-08:00",
        "canIpForward": False,
        "labels": {"a": "b"},
        "fingerprint": "42WmSpB8rSM=",
        "disks": [{"index": 0, "diskSizeGb": "10", "mode": "READ_WRITE"}],
    }
    assert validate_response(DOCUMENT, "Instance", instance) == []


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("kind", "compute#disk"),
        ("kind", None),
        ("id", 123),
        ("id", "-1"),
        ("id", "0123"),
        ("foo", 1),
        ("description", None),
        ("status", "ASLEEP"),
        ("canIpForward", "true"),
        ("fingerprint", "42WmSpB8rSM"),
        ("fingerprint", "?"),
        ("disks", {}),
        ("disks", [{"index": "0"}]),
        ("disks", [{"index": 2**31}]),
        ("disks", [{"index": True}]),
        ("disks", [{"diskSizeGb": 10}]),
        ("labels", {"a": 1}),
        ("labels", []),
        ("name", "Not A Name"),
        ("creationTimestamp", "2026-01-01 00:00:00"),
        ("selfLink", "/compute/v1/x"),
    ],
)
def test_an_answer_that_is_wrong_is_found(member, value):
    """Typed clients crash on these, each on another one."""
    assert validate_response(DOCUMENT, "Instance", {"kind": "compute#instance", member: value}) != []


def test_an_answer_without_its_kind_is_found():
    """gcutil dispatches on it; within lists too."""
    assert validate_response(DOCUMENT, "Instance", {}) != []
    items = {"kind": "compute#instanceList", "items": [{"name": "a1"}]}
    assert validate_response(DOCUMENT, "InstanceList", items) != []


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"error": "text"},
        {"error": {"code": 404, "message": "m"}},
        {"error": {"code": 200, "message": "m", "errors": [{"message": "m", "domain": "d", "reason": "r"}]}},
        {"error": {"code": 404, "message": "m", "errors": [{"message": "m", "reason": "r"}]}},
        {"error": {"code": 404, "message": "m", "errors": [{"message": "m", "domain": "d", "reason": ""}]}},
        {"error": {"code": 404, "message": "", "errors": [{"message": "m", "domain": "d", "reason": "r"}]}},
    ],
)
def test_an_error_in_another_form_is_found(value):
    """`"error": "text"` crashes gcloud."""
    assert validate_error(value) != []
