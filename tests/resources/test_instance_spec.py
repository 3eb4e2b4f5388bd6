"""The body of instances.insert: nothing a caller sends is dropped in silence."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gceshim.model import GIB, Credentials, DiskOfInstance, DiskSpec, ImageRef, InterfaceSpec, Tenant, stable_id
from gceshim.protocol.errors import ApiError, Invalid, Required
from gceshim.protocol.links import Links
from gceshim.resources.base import document
from gceshim.resources.call import Call
from gceshim.resources.instance_spec import COMPUTED, KEPT, OVERRIDDEN, REFUSED, from_gce
from tests.resources.recording import Recording, covered, leaves

BODY: dict[str, Any] = {
    "name": "vm-1",
    "description": "first",
    "machineType": "zones/z1-a/machineTypes/small",
    "hostname": "vm-1.example.org",
    "labels": {"env": "test"},
    "tags": {"items": ["web", "db"]},
    "metadata": {"items": [{"key": "startup-script", "value": "#!/bin/sh"}]},
    "deletionProtection": True,
    "scheduling": {"automaticRestart": True},
    "serviceAccounts": [{"email": "default", "scopes": []}],
    "disks": [
        {
            "boot": True,
            "autoDelete": True,
            "mode": "READ_WRITE",
            "type": "PERSISTENT",
            "deviceName": "boot",
            "initializeParams": {
                "sourceImage": "projects/debian-cloud/global/images/family/debian-12",
                "diskSizeGb": "20",
                "diskName": "vm-1",
                "diskType": "zones/z1-a/diskTypes/pd-ssd",
            },
        },
        {
            "autoDelete": True,
            "deviceName": "scratch",
            "initializeParams": {
                "diskName": "d-1",
                "diskSizeGb": "5",
                "diskType": "pd-standard",
                "description": "more",
                "labels": {"a": "b"},
            },
        },
        {"source": "zones/z1-a/disks/d-2"},
    ],
    "networkInterfaces": [
        {
            "network": "global/networks/default",
            "subnetwork": "regions/z1/subnetworks/default",
            "networkIP": "10.1.1.9",
            "stackType": "IPV4_ONLY",
            "accessConfigs": [{"name": "external-nat", "type": "ONE_TO_ONE_NAT"}],
        }
    ],
}


def call_with(body: dict[str, Any]) -> Call:
    wire = SimpleNamespace(body=body, project="p1", zone="z1-a", links=Links("http://h", "p1"))
    tenant = Tenant("me", Credentials("", ""), "p1", "id-of-p1", project_id="id-of-p1")
    return Call(wire, tenant, zone="z1-a")  # type: ignore[arg-type]


def changed(**members: Any) -> dict[str, Any]:
    return {**BODY, **members}


def test_every_field_is_honoured_kept_overridden_or_refused() -> None:
    """A field of the document that nobody declares would be dropped in silence."""
    read: set[str] = set()
    from_gce(call_with(Recording(BODY, read)), {})
    declared = read | set(KEPT) | set(REFUSED) | set(OVERRIDDEN) | set(COMPUTED)
    holders = {"disks", "disks[].initializeParams", "networkInterfaces", "networkInterfaces[].accessConfigs"}
    holders |= {"metadata", "tags"}

    silent = [path for path in leaves(document(), "Instance") if not covered(path, declared - holders)]

    assert silent == []


def test_declared_fields_are_in_the_document() -> None:
    """A misspelt declaration would refuse nothing."""
    known = {path for leaf in leaves(document(), "Instance") for path in _prefixes(leaf)}
    assert [path for path in (*REFUSED, *OVERRIDDEN, *COMPUTED, *KEPT) if path not in known] == []


def _prefixes(leaf: str) -> set[str]:
    parts = leaf.split(".")
    joined = {".".join(parts[: end + 1]) for end in range(len(parts))}
    return joined | {path.removesuffix("[]") for path in joined}


def test_what_is_asked_for_arrives() -> None:
    """The spec holds names and bytes, no URLs and no gigabytes."""
    spec = from_gce(call_with(BODY), {"ssh-keys": "me:ssh-rsa AAAA"})

    assert spec.machine_type == "small"
    assert spec.image == ImageRef("debian-cloud", family="debian-12")
    assert (spec.boot_disk_size_bytes, spec.boot_disk_type, spec.boot_disk_auto_delete) == (20 * GIB, "pd-ssd", True)
    assert spec.disks == (
        DiskOfInstance(True, "scratch", create=DiskSpec("d-1", "z1-a", "pd-standard", 5 * GIB, "more", {"a": "b"})),
        DiskOfInstance(False, attach="d-2"),
    )
    assert spec.interfaces == (InterfaceSpec("default", "default", "z1", "10.1.1.9", "external-nat"),)
    assert spec.network_tags == ("db", "web")
    assert spec.metadata == {"startup-script": "#!/bin/sh"}
    assert spec.project_metadata == {"ssh-keys": "me:ssh-rsa AAAA"}
    assert spec.kept == {name: BODY[name] for name in ("scheduling", "serviceAccounts")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h/compute/v1/projects/debian-cloud/zones/-/imageFamilyViews/debian-12", "family"),
        ("projects/debian-cloud/global/images/family/debian-12", "family"),
        ("https://www.googleapis.com/compute/v1/projects/debian-cloud/global/images/debian-12-x", "name"),
        ("global/images/mine", "name"),
        ("mine", "name"),
    ],
)
def test_each_form_of_an_image_is_understood(text: str, expected: str) -> None:
    """gcloud, Terraform and people each name images in another way."""
    disk = {"boot": True, "initializeParams": {"sourceImage": text}}
    image = from_gce(call_with(changed(disks=[disk])), {}).image

    assert (bool(image.family), bool(image.name)) == (expected == "family", expected == "name")
    assert image.project == ("debian-cloud" if "debian-cloud" in text else "p1")


@pytest.mark.parametrize("project", ["p1", "id-of-p1", str(stable_id("id-of-p1"))])
def test_the_project_may_be_written_in_each_way(project: str) -> None:
    """By name, id and number: tools keep whichever they were told."""
    disk = {"boot": True, "initializeParams": {"sourceImage": f"projects/{project}/global/images/mine"}}
    spec = from_gce(
        call_with(
            changed(
                disks=[disk],
                machineType=f"projects/{project}/zones/z1-a/machineTypes/small",
                networkInterfaces=[{"network": f"https://h/compute/v1/projects/{project}/global/networks/n1"}],
            )
        ),
        {},
    )
    assert (spec.machine_type, spec.image.project, spec.interfaces[0].network) == ("small", "p1", "n1")


def test_a_machine_may_have_as_many_disks_and_interfaces_as_on_gce() -> None:
    """Each is looked up in CloudStack, and a body has room for thousands."""
    disks = [*BODY["disks"], *[{"source": f"d{n}"} for n in range(125)]]
    spec = from_gce(call_with(changed(disks=disks, networkInterfaces=[{"network": f"n{n}"} for n in range(10)])), {})

    assert (len(spec.disks), len(spec.interfaces)) == (127, 10)


@pytest.mark.parametrize(
    ("members", "error", "words"),
    [
        ({"machineType": ""}, Required, "'resource.machineType'"),
        ({"disks": []}, Required, "'resource.disks'"),
        ({"networkInterfaces": []}, Required, "'resource.networkInterfaces'"),
        ({"machineType": "zones/z2-a/machineTypes/small"}, Invalid, "'resource.machineType'"),
        ({"machineType": "http://h/nonsense"}, Invalid, "'resource.machineType'"),
        ({"machineType": "regions/z1/machineTypes/small"}, Invalid, "'resource.machineType'"),
        ({"machineType": "global/machineTypes/small"}, Invalid, "'resource.machineType'"),
        ({"machineType": "projects/p2/zones/z1-a/machineTypes/small"}, Invalid, "in project 'p2'"),
        ({"machineType": "projects/12345/zones/z1-a/machineTypes/small"}, Invalid, "in project '12345'"),
        ({"networkInterfaces": [{"network": "zones/z1-a/networks/n"}]}, Invalid, "networkInterfaces[0].network'"),
        ({"networkInterfaces": [{"network": "projects/9/global/networks/n"}]}, Invalid, "in project '9'"),
        ({"networkInterfaces": [{"subnetwork": "global/subnetworks/n"}]}, Invalid, "networkInterfaces[0].subnetwork'"),
        ({"disks": [*BODY["disks"], *BODY["disks"]]}, Invalid, "'resource.disks[3].boot'"),
        ({"disks": [*BODY["disks"], {"mode": "READ_ONLY"}]}, Invalid, "'resource.disks[3].mode'"),
        ({"disks": [*BODY["disks"], {}]}, Invalid, "'resource.disks[3]'"),
        ({"disks": [*BODY["disks"], {"source": "d", "initializeParams": {}}]}, Invalid, "'resource.disks[3]'"),
        ({"disks": [{"source": "zones/z1-a/disks/d"}]}, Invalid, "'resource.disks[0].source'"),
        ({"disks": [{"boot": True}]}, Required, "'resource.disks[0].initializeParams.sourceImage'"),
        (
            {"disks": [*BODY["disks"], *[{"source": f"d{n}"} for n in range(126)]]},
            Invalid,
            "'resource.disks': '129 items'",
        ),
        ({"networkInterfaces": [{}] * 11}, Invalid, "'resource.networkInterfaces': '11 items'"),
        ({"labels": {"Upper": "x"}}, Invalid, "'resource.labels'"),
        ({"labels": {"k": "v" * 64}}, Invalid, "'resource.labels'"),
        ({"labels": {f"k{n}": "v" for n in range(65)}}, Invalid, "65 labels"),
        ({"tags": {"items": ["ok", "Not_ok"]}}, Invalid, "'resource.tags.items[1]'"),
        ({"metadata": {"items": [{"key": "a", "value": ""}] * 2}}, Invalid, "duplicate"),
        ({"metadata": {"items": [{"key": "a b", "value": ""}]}}, Invalid, "'resource.metadata.items[0].key'"),
        ({"metadata": {"items": [{"key": "a", "value": "x" * 300_000}]}}, Invalid, "too large"),
        ({"description": "x" * 2049}, Invalid, "'resource.description'"),
        ({"hostname": "no-domain"}, Invalid, "'resource.hostname'"),
        ({"networkInterfaces": [{"stackType": "IPV4_IPV6"}]}, Invalid, "stackType"),
        ({"networkInterfaces": [{"accessConfigs": [{}, {}]}]}, Invalid, "At most one"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(members: dict[str, Any], error: type[ApiError], words: str) -> None:
    """An error that does not name its field sends the user searching."""
    with pytest.raises(error) as raised:
        from_gce(call_with(changed(**members)), {})
    assert words in raised.value.message
