"""JSON as bytes: whatever a value holds, there is an answer."""

from __future__ import annotations

import json

import pytest

from gceshim.protocol import encoding


@pytest.mark.parametrize("value", [{"b": 1, "a": ["ä", None, True]}, {"n": 2**70}, {}])
def test_every_value_comes_back_as_it_was(value: object) -> None:
    """Integers of any size are among what clients send, and errors echo it."""
    assert json.loads(encoding.compact(value)) == value
    assert json.loads(encoding.pretty(value)) == value


def test_half_a_surrogate_pair_breaks_no_answer() -> None:
    """A client can send one, as `\\ud800`, and the error that names it must still be sent."""
    assert json.loads(encoding.compact({"a": "x\ud800"})) == {"a": "x?"}
    assert json.loads(encoding.pretty({"a": "x\ud800"})) == {"a": "x?"}


def test_equal_values_have_equal_bytes_when_sorted() -> None:
    """Fingerprints are made of them."""
    assert encoding.compact({"b": 1, "a": 2}, sort_keys=True) == encoding.compact({"a": 2, "b": 1}, sort_keys=True)
