"""Links that are built, references that are read."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gceshim.protocol.errors import Invalid
from gceshim.protocol.links import Links, Reference

P = "https://www.googleapis.com/compute/v1/projects/p"


def test_links_are_absolute_and_escaped():
    """A name that is not a GCE name still makes a valid URL."""
    links = Links("https://h/sub", "p1")
    assert links.url("zones", "z", "instances", "i") == "https://h/sub/compute/v1/projects/p1/zones/z/instances/i"
    assert links.url() == "https://h/sub/compute/v1/projects/p1"
    assert links.url("a b/c") == "https://h/sub/compute/v1/projects/p1/a%20b%2Fc"
    assert links.for_project("p2").url("global", "images", "i").endswith("/projects/p2/global/images/i")
    assert links.path("zones", "z") == "projects/p1/zones/z"


@pytest.mark.parametrize(
    ("text", "collection", "expected"),
    [
        ("n1", "networks", Reference("networks", "n1")),
        ("networks/n1", "networks", Reference("networks", "n1")),
        ("global/networks/n1", "networks", Reference("networks", "n1", None, "global")),
        ("/global/networks/n1", "networks", Reference("networks", "n1", None, "global")),
        ("projects/p/global/networks/n1", "networks", Reference("networks", "n1", "p", "global")),
        (f"{P}/global/networks/n1", "networks", Reference("networks", "n1", "p", "global")),
        (
            "http://h:1/compute/beta/projects/p/global/networks/n1",
            "networks",
            Reference("networks", "n1", "p", "global"),
        ),
        ("//h/compute/v1/projects/p/global/networks/n1", "networks", Reference("networks", "n1", "p", "global")),
        ("/compute/v1/projects/p/global/networks/n1", "networks", Reference("networks", "n1", "p", "global")),
        ("compute/v1/projects/p/global/networks/n1", "networks", Reference("networks", "n1", "p", "global")),
        ("http://h/sub/compute/v1/projects/p/global/networks/n", "networks", Reference("networks", "n", "p", "global")),
        ("zones/z/machineTypes/m", "machineTypes", Reference("machineTypes", "m", None, "zone", "z")),
        (f"{P}/zones/z/diskTypes/pd-ssd", "diskTypes", Reference("diskTypes", "pd-ssd", "p", "zone", "z")),
        ("regions/r/subnetworks/s", "subnetworks", Reference("subnetworks", "s", None, "region", "r")),
        (f"{P}/zones/z", "zones", Reference("zones", "z", "p")),
        ("zones/z", "zones", Reference("zones", "z")),
        ("projects/p", "projects", Reference("projects", "p")),
        (f"{P}//global//images/i", "images", Reference("images", "i", "p", "global")),
        ("family/f", "images", Reference("images", "f", family=True)),
        ("global/images/family/f", "images", Reference("images", "f", None, "global", family=True)),
        (
            "http://h/compute/v1/projects/debian-cloud/zones/-/imageFamilyViews/debian-12",
            "images",
            Reference("images", "debian-12", "debian-cloud", "zone", "-", family=True),
        ),
        ("zones/z/instances/a%20b", "instances", None),
        ("regions/r/machineTypes/m", "machineTypes", None),
        ("global/machineTypes/m", "machineTypes", None),
        ("regions/r/disks/d", "disks", None),
        ("zones/z/networks/n", "networks", None),
        ("global/subnetworks/s", "subnetworks", None),
        ("zones/z/subnetworks/s", "subnetworks", None),
        ("zones/z/images/i", "images", None),
        ("global/images/i", "networks", None),
        ("https://h/networks/n1", "networks", None),
        ("https://", "networks", None),
        ("", "networks", None),
        ("/", "networks", None),
        ("projects/p/n1", "networks", None),
        ("global/n1", "networks", None),
        ("a/b/c/d/e", "networks", None),
    ],
)
def test_references_are_read_in_every_form_that_clients_send(text, collection, expected):
    """Any host, any version, relative, bare; and nothing else."""
    if expected is not None:
        assert Reference.parse(text, collection) == expected
        return
    with pytest.raises(Invalid) as caught:
        Reference.parse(text, collection, field="resource.network")
    assert caught.value.message == f"Invalid value for field 'resource.network': '{text}'. The URL is malformed."


@given(st.text(max_size=200), st.sampled_from(["networks", "images", "projects", "zones"]))
def test_any_text_is_a_reference_or_a_400(text, collection):
    """A reference is a caller's text."""
    with contextlib.suppress(Invalid):
        assert Reference.parse(text, collection).collection == collection


@given(
    st.lists(
        st.sampled_from(["projects", "zones", "global", "images", "family", "x", "-", "compute", "v1", "http:", ""])
    )
)
def test_any_path_is_a_reference_or_a_400(parts):
    """The same with the words that have a meaning."""
    with contextlib.suppress(Invalid):
        assert Reference.parse("/".join(parts), "images").collection == "images"
