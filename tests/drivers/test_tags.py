"""What GCE knows and CloudStack does not is kept as tags, and comes back as it was."""

from __future__ import annotations

import random
import string

from hypothesis import given
from hypothesis import strategies as st

from gceshim.drivers.cloudstack.tags import LIMIT, PREFIX, decode, encode, params

LABELS = st.dictionaries(
    st.text(string.ascii_lowercase + string.digits + "-_é", min_size=1, max_size=63), st.text(max_size=63), max_size=8
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=10,
)
KEYS = st.text(string.ascii_lowercase + "-", min_size=1, max_size=20)


@given(LABELS, st.dictionaries(KEYS, JSON, max_size=4))
def test_everything_comes_back(labels, reserved):
    """Nothing a caller sends is dropped."""
    tags = encode(labels, reserved)
    found_labels, found = decode(tags)
    assert found_labels == labels
    assert list(found_labels) == sorted(labels)
    kept = {key: value for key, value in reserved.items() if value is not None and value not in ("", [], {})}
    kept.pop("empty-labels", None)
    assert found == kept


@given(LABELS, st.dictionaries(KEYS, JSON, max_size=4))
def test_cloudstack_takes_every_tag(labels, reserved):
    """It has no empty value and 255 characters; and JSON escapes keep control characters out."""
    for key, value in encode(labels, reserved).items():
        assert 0 < len(value) <= LIMIT
        assert len(key) <= LIMIT
        if key.startswith(PREFIX):
            assert value.isascii()
            assert value.isprintable()


def test_a_long_value_is_cut_into_pieces():
    """A start-up script is longer than a tag."""
    noise = "".join(random.Random(1).choices(string.printable, k=20_000))
    tags = encode({}, {"metadata": {"startup-script": noise}})
    assert {"gce:metadata.0", "gce:metadata.1", "gce:metadata.60"} <= tags.keys()
    assert decode(tags) == ({}, {"metadata": {"startup-script": noise}})


def test_a_damaged_value_is_left_out(caplog):
    """Tags can be changed by anybody with CloudStack's own tools."""
    noise = "".join(random.Random(2).choices(string.printable, k=2_000))
    tags = encode({"a": "b"}, {"metadata": {"k": noise}, "tags": ["web"]})
    del tags["gce:metadata.1"]
    tags["gce:kept"] = "{"
    assert decode(tags) == ({"a": "b"}, {"tags": ["web"]})
    assert "gce:metadata.0" in caplog.text
    assert "gce:kept" in caplog.text


@given(st.dictionaries(st.text(max_size=30).map(lambda name: f"gce:{name}"), st.text(max_size=300), max_size=6))
def test_any_tags_can_be_read(tags):
    """Whatever stands there, a machine can be listed."""
    decode(tags)


def test_the_parameters_are_numbered():
    """CloudStack's form of a map."""
    assert params({"a": "1", "b": "2"}) == {
        "tags[0].key": "a",
        "tags[0].value": "1",
        "tags[1].key": "b",
        "tags[1].value": "2",
    }
