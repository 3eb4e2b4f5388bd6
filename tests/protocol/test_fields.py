"""Partial answers."""

import asyncio
import time

import pytest

from gceshim.protocol.errors import InvalidParameter
from gceshim.protocol.fields import Mask

from .harness import DOCUMENT, ZONE, serving

VALUE = {
    "kind": "compute#instanceList",
    "items": [
        {"id": "1", "name": "a", "labels": {"x": "1", "y": "2"}, "disks": [{"index": 0, "mode": "READ_WRITE"}]},
        {"id": "2", "name": "b"},
    ],
    "nextPageToken": "t",
}
AGGREGATED = {"items": {"zones/a": {"instances": [{"name": "a", "id": "1"}]}, "zones/b": {}}, "id": "i"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("nextPageToken", {"nextPageToken": "t"}),
        ("items/name", {"items": [{"name": "a"}, {"name": "b"}]}),
        (
            "items(id,name),nextPageToken",
            {"items": [{"id": "1", "name": "a"}, {"id": "2", "name": "b"}], "nextPageToken": "t"},
        ),
        ("items/id, items/name", {"items": [{"id": "1", "name": "a"}, {"id": "2", "name": "b"}]}),
        ("items/labels/x", {"items": [{"labels": {"x": "1"}}, {}]}),
        (
            "items.labels.x,items.disks(mode)",
            {"items": [{"labels": {"x": "1"}, "disks": [{"mode": "READ_WRITE"}]}, {}]},
        ),
        ("items/labels/*", {"items": [{"labels": {"x": "1", "y": "2"}}, {}]}),
        ("items(disks(mode))", {"items": [{"disks": [{"mode": "READ_WRITE"}]}, {}]}),
        ("items/disks/index,items", {"items": VALUE["items"]}),
        ("*", VALUE),
    ],
)
def test_a_selector_picks_members_through_arrays(fields, expected):
    """Commas, paths, sub-selections, wildcards."""
    assert Mask.parse(fields, DOCUMENT, "InstanceList").apply(VALUE) == expected


def test_a_wildcard_goes_through_maps():
    """The scopes of an aggregated list have names that cannot be written in a selector."""
    mask = Mask.parse("items/*/instances/name", DOCUMENT, "InstanceAggregatedList")
    assert mask.apply(AGGREGATED) == {"items": {"zones/a": {"instances": [{"name": "a"}]}, "zones/b": {}}}


@pytest.mark.parametrize(
    "fields",
    [
        ",",
        "a,",
        "items(",
        "items)",
        "items()",
        "/name",
        "items//name",
        "items name",
        "nothing",
        "items/nothing",
        "(",
        "items/name/x",
        "items.",
        ".items",
        "items./name",
    ],
)
def test_a_malformed_selector_is_refused(fields):
    """Or one that names what the answer cannot have."""
    with pytest.raises(InvalidParameter):
        Mask.parse(fields, DOCUMENT, "InstanceList")


@pytest.mark.parametrize("fields", ["a/" * 20_000 + "a", "items(" * 1_500, "*/" * 40 + "x", " " * 9_990 + "items("])
def test_a_selector_without_end_is_refused(fields):
    """Depth, length and time are bounded."""
    started = time.thread_time()
    with pytest.raises(InvalidParameter):
        Mask.parse(fields, DOCUMENT, "InstanceList")
    assert time.thread_time() - started < 0.5


def test_fields_apply_to_answers_and_not_to_errors():
    """An error without its members would be unreadable."""

    async def main():
        async with serving() as gce:
            assert (await gce("GET", f"{ZONE}/instances/vm1?fields=name,tags/items")).value == {
                "name": "vm1",
                "tags": {"items": ["web", "vm1"]},
            }
            bad = await gce("GET", f"{ZONE}/instances/vm1?fields=nothing")
            assert (bad.status, bad.reason) == (400, "invalidParameter")
            assert (await gce("GET", f"{ZONE}/disks/d?fields=name")).status == 404

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("items(name", "')' expected at character 11"),
        ("items(name))", "',' or the end expected at character 12"),
        ("items/", "a field expected at character 7"),
        ("items name", "',' or the end expected at character 7"),
        ("items(id,nothing)", "'items/nothing': there is no such field"),
        ("items/tags/*/nothing", "'items/tags/*/nothing': there is no such field"),
        ("*/nothing", "there is no such field"),
    ],
)
def test_a_refusal_tells_what_is_wrong_where(fields, told):
    """Names are looked at below wildcards too."""
    with pytest.raises(InvalidParameter) as caught:
        Mask.parse(fields, DOCUMENT, "InstanceList")
    assert told in caught.value.message
