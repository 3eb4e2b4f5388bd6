"""PATCH: what is absent stays, null takes away, arrays are replaced."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gceshim.protocol.errors import InvalidParameter
from gceshim.protocol.patching import nulls, patched, update_mask
from gceshim.testing.gce import Gce
from gceshim.testing.world import World
from tests.protocol.harness import DOCUMENT
from tests.resources.requests import HERE, PROJECT, changed
from tests.resources.vpcs import vpc_made

GLOBAL = {"project": PROJECT}

keys = st.sampled_from(("a", "b", "c.d"))
leaves = st.one_of(st.integers(0, 3), st.text(max_size=2), st.lists(st.integers(0, 3), max_size=2))
objects = st.recursive(st.dictionaries(keys, leaves), lambda inner: st.dictionaries(keys, st.one_of(leaves, inner)))
patches = st.recursive(
    st.dictionaries(keys, st.one_of(leaves, st.none())),
    lambda inner: st.dictionaries(keys, st.one_of(leaves, st.none(), inner)),
)


def rfc_7396(target: Any, patch: Any) -> Any:
    """The pseudo-code of the RFC."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = rfc_7396(target.get(name), value)
    return target


def without_nulls(value: Any) -> Any:
    """As bodies are read."""
    if not isinstance(value, dict):
        return value
    return {name: without_nulls(member) for name, member in value.items() if member is not None}


@given(objects, patches)
def test_a_patch_is_merged_as_the_rfc_has_it(current: dict[str, Any], patch: dict[str, Any]) -> None:
    """Whatever it is nested in."""
    before = json.dumps(current)

    assert patched(current, without_nulls(patch), frozenset(nulls(patch))) == rfc_7396(current, patch)
    assert json.dumps(current) == before


def test_a_mask_is_read_in_both_spellings() -> None:
    """gcloud sends `paths`, SDKs `updateMask`, some of them as protocol buffers spell it."""
    assert update_mask({"updateMask": "size_gb,labels"}, DOCUMENT, "Disk") == {"sizeGb", "labels"}
    assert update_mask({"paths": ["sizeGb", "labels,description"]}, DOCUMENT, "Disk") == {
        "sizeGb",
        "labels",
        "description",
    }
    assert update_mask({"updateMask": "params.resourceManagerTags"}, DOCUMENT, "Disk") == {"params.resourceManagerTags"}
    assert update_mask({}, DOCUMENT, "Disk") == frozenset()
    for params in ({"updateMask": "nothing"}, {"paths": ["sizeGb", "no.thing"]}):
        with pytest.raises(InvalidParameter):
            update_mask(params, DOCUMENT, "Disk")


@pytest.mark.gen_test
async def test_null_takes_a_member_of_a_rule_away(gce: Gce, world: World) -> None:
    """GCE's default is in its place then; what is not named stays, and arrays are replaced whole."""
    await vpc_made(world, "vpc", "front")
    rule = {
        "name": "in",
        "network": "global/networks/vpc",
        "description": "mine",
        "priority": 900,
        "sourceRanges": ["10.0.0.0/8", "192.0.2.0/24"],
        "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}],
    }
    await changed(gce, "compute.firewalls.insert", at=GLOBAL, body=rule)
    body: dict[str, Any] = {"priority": None, "description": None, "sourceRanges": ["198.51.100.0/24"]}
    await changed(gce, "compute.firewalls.patch", at=GLOBAL, firewall="in", body=body)
    after = await gce.call("compute.firewalls.get", **GLOBAL, firewall="in")

    assert (after["priority"], after.get("description")) == (1000, None)
    assert after["sourceRanges"] == ["198.51.100.0/24"]
    assert after["allowed"] == rule["allowed"]

    await changed(gce, "compute.firewalls.patch", at=GLOBAL, firewall="in", body={"sourceRanges": None})
    after = await gce.call("compute.firewalls.get", **GLOBAL, firewall="in")
    assert after["sourceRanges"] == ["0.0.0.0/0"]
    nothing = await gce.error("compute.firewalls.patch", **GLOBAL, firewall="in", body={"allowed": None})
    assert (nothing["code"], "allowed and denied" in nothing["message"]) == (400, True)


@pytest.mark.gen_test
async def test_a_mask_says_what_of_a_disk_is_changed(gce: Gce) -> None:
    """What is in the body and not in the mask stays; what is in the mask has to be what can be changed."""
    await changed(gce, "compute.disks.insert", body={"name": "data-1", "sizeGb": "10"})
    whole = {"name": "data-1", "description": "other", "sizeGb": "20"}
    await changed(gce, "compute.disks.update", disk="data-1", updateMask="size_gb", body=whole)
    disk = await gce.call("compute.disks.get", **HERE, disk="data-1")
    assert (disk["sizeGb"], "description" in disk) == ("20", False)
    for parameters, body in (
        ({"updateMask": "nothing"}, whole),
        ({"updateMask": "description"}, whole),
        ({}, whole),
        ({}, {"name": "data-1", "labels": None}),
        ({"paths": "sizeGb"}, {"name": "data-1", "sizeGb": None}),
    ):
        error = await gce.error("compute.disks.update", **HERE, disk="data-1", **parameters, body=body)
        assert error["code"] == 400, (parameters, body)
