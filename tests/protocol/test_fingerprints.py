"""Fingerprints: who has not seen what is there may not replace it. Every setter that the document gives one."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from gceshim.testing.gce import Body, Gce
from gceshim.testing.world import World
from tests.protocol.harness import DOCUMENT
from tests.resources.requests import HERE, PROJECT, changed, insert_body, made

pytestmark = pytest.mark.gen_test

STALE: Final = "c3RhbGUhISE="


@dataclass(frozen=True)
class Setter:
    """
    A method that wants a fingerprint.

    :param read: the method that shows it. :param shown: where in the answer it is. :param member: where in the body.
    :param body: the rest of the body. :param needed: without one it is refused too.
    """

    read: str
    shown: str
    member: str = "fingerprint"
    at: Mapping[str, Any] = field(default_factory=lambda: {**HERE, "instance": "vm-1"})
    body: Mapping[str, Any] = field(default_factory=dict)
    needed: bool = True


DISK = {**HERE, "disk": "data-1"}
SETTERS: Final[Mapping[str, Setter]] = {
    "compute.instances.setLabels": Setter(
        "compute.instances.get", "labelFingerprint", "labelFingerprint", body={"labels": {"a": "b"}}
    ),
    "compute.instances.setMetadata": Setter(
        "compute.instances.get", "metadata.fingerprint", body={"items": [{"key": "k", "value": "v"}]}
    ),
    "compute.instances.setTags": Setter("compute.instances.get", "tags.fingerprint", body={"items": ["web"]}),
    "compute.instances.update": Setter("compute.instances.get", "fingerprint"),
    "compute.disks.setLabels": Setter(
        "compute.disks.get", "labelFingerprint", "labelFingerprint", DISK, {"labels": {"a": "b"}}
    ),
    # gcutil sets metadata without one when it is told to.
    "compute.projects.setCommonInstanceMetadata": Setter(
        "compute.projects.get",
        "commonInstanceMetadata.fingerprint",
        at={"project": PROJECT},
        body={"items": [{"key": "k", "value": "v"}]},
        needed=False,
    ),
}
#: The schema has a fingerprint, and the method does not replace what it is of.
OTHERS: Final[Mapping[str, str]] = {
    "compute.disks.update": "changes the size alone; labels in it are refused",
}


def wanting(world: World) -> set[str]:
    """The methods of the server whose request has a fingerprint of something that is there already."""
    found = set()
    for method_id in world.shim.service.implemented:
        if not method_id.startswith("compute."):
            continue
        method = DOCUMENT.method(method_id)
        members = DOCUMENT.schema(method.request)["properties"] if method.request else {}
        own = {name for name in members if name in ("fingerprint", "labelFingerprint")}
        if own and not method.name.lower().endswith("insert"):
            found.add(method_id)
    return found


async def test_each_method_with_a_fingerprint_is_tried(world: World) -> None:
    """A new one goes into the table; those that set labels are all alike and are looked for below."""
    tried = SETTERS.keys() | OTHERS.keys()
    assert {name for name in wanting(world) if not name.endswith(".setLabels")} - tried == set()
    assert tried <= wanting(world)


async def test_a_stale_fingerprint_is_a_412_and_a_fresh_one_is_taken(gce: Gce) -> None:
    """In either alphabet of base64, with its padding or without."""
    await made(gce, insert_body("vm-1"))
    await changed(gce, "compute.disks.insert", body={"name": "data-1", "sizeGb": "10"})
    for method_id, setter in SETTERS.items():
        where = dict(setter.at)
        if "disk" in where:
            where["resource"] = where.pop("disk")
        shown = await gce.call(setter.read, **setter.at)
        body = dict(setter.body) if method_id != "compute.instances.update" else without(shown, "fingerprint")
        for sent in (STALE, STALE.rstrip("=")):
            refused = await gce.error(method_id, **where, body={**body, setter.member: sent})
            assert (refused["code"], refused["errors"][0]["reason"]) == (412, "conditionNotMet"), method_id
        if setter.needed:
            refused = await gce.error(method_id, **where, body=body)
            assert refused["code"] == 412, method_id
        assert await gce.call(setter.read, **setter.at) == shown, method_id

        raw = base64.b64decode(at(shown, setter.shown))
        current = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        await changed(gce, method_id, at=where, body={**body, setter.member: current})
        after = await gce.call(setter.read, **setter.at)
        if setter.body:
            assert at(after, setter.shown) != at(shown, setter.shown), method_id
            refused = await gce.error(method_id, **where, body={**body, setter.member: current})
            assert refused["code"] == 412, method_id


async def test_whatever_has_labels_guards_them(gce: Gce, world: World) -> None:
    """Each setLabels of the server, on the first of what its list holds."""
    await made(gce, insert_body("vm-1"))
    tried = set()
    for method_id in sorted(world.shim.service.implemented):
        collection, _, verb = method_id.rpartition(".")
        method = DOCUMENT.method(method_id) if method_id.startswith("compute.") else None
        if verb != "setLabels" or method is None:
            continue
        where = {name: value for name, value in (*HERE.items(), ("region", "sandbox-1")) if name in method.parameters}
        listed = await gce.call(f"{collection}.list", **where)
        for item in listed.get("items", ())[:1]:
            target = {**where, str(method.last_parameter): item["name"]}
            body = {"labels": {"a": "b"}, "labelFingerprint": STALE}
            refused = await gce.error(method_id, **target, body=body)
            assert (refused["code"], refused["errors"][0]["reason"]) == (412, "conditionNotMet"), method_id
            tried.add(method_id)
    assert {"compute.instances.setLabels", "compute.disks.setLabels"} <= tried


def at(body: Body, path: str) -> Any:
    for name in path.split("."):
        body = body[name]
    return body


def without(body: Body, name: str) -> Body:
    return {key: value for key, value in body.items() if key != name}
