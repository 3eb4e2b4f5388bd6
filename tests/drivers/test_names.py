"""Every CloudStack object has one GCE name, and no two in a scope have the same."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gceshim.drivers.cloudstack.names import is_label, shown, slug, split, suffixed

ID1 = "0a1b2c3d-0000-4000-8000-000000000001"
ID2 = "ffffffff-0000-4000-8000-000000000002"


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("web-1", "web-1"),
        ("Web Server_1", "web-server-1"),
        ("Medium Instance", "medium-instance"),
        ("2 vCPU", "x-2-vcpu"),
        ("Zürich", "zurich"),
        ("---", "x"),
        ("", "x"),
        ("日本", "x"),
        ("a" * 80, "a" * 63),
        ("VM-0a1b2c3d", "vm-0a1b2c3d"),
    ],
)
def test_a_name_is_made_from_any_text(name, made):
    """A valid name stays; the rest is made readable."""
    assert slug(name) == made


@given(st.text())
def test_what_is_made_is_valid_and_stays_the_same(name):
    """Clients check names against the pattern; and a name must not move when it is made anew."""
    made = slug(name)
    assert is_label(made)
    assert slug(made) == made


@given(st.lists(st.tuples(st.uuids(), st.sampled_from(["web", "Web", "WEB!", "a" * 70, "a" * 63, ""]))))
def test_names_in_a_scope_are_different_and_valid(pairs):
    """Also where an operator uses one name for everything."""
    rows = [{"id": str(key), "name": name} for key, name in dict(pairs).items()]
    names = shown(rows)
    assert len(set(names.values())) == len(rows)
    assert all(is_label(name) for name in names.values())


def test_the_younger_of_two_carries_the_suffix():
    """The older was there first, and somebody may know it by its name."""
    rows = [
        {"id": ID2, "name": "Web 1", "created": "2024-01-02T00:00:00+0000"},
        {"id": ID1, "name": "Web_1", "created": "2024-01-01T00:00:00+0000"},
    ]
    assert shown(rows) == {ID1: "web-1", ID2: "web-1-ffffffff"}


def test_a_valid_name_is_used_as_it_is():
    """Also if something older comes out the same: what is called so in CloudStack is called so here."""
    rows = [
        {"id": ID2, "name": "web-1", "created": "2024-01-02T00:00:00+0000"},
        {"id": ID1, "name": "Web 1", "created": "2024-01-01T00:00:00+0000"},
    ]
    assert shown(rows) == {ID1: "web-1-0a1b2c3d", ID2: "web-1"}


@given(st.text(max_size=80), st.uuids())
def test_a_suffix_can_be_read_back(name, key):
    """That is how such a name is looked up without reading everything."""
    full = suffixed(slug(name), str(key))
    base, digits = split(full)
    assert slug(name).startswith(base)
    assert uuid.UUID(str(key)).hex.startswith(digits)
    assert is_label(full)
