"""Partial answers against a simple way to pick them, over selectors and answers that chance makes."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gceshim.protocol.fields import Mask
from tests.protocol.harness import DOCUMENT

Path = tuple[str, ...]

PATHS: tuple[Path, ...] = (
    ("id",),
    ("items",),
    ("items", "*"),
    ("items", "*", "instances"),
    ("items", "*", "instances", "name"),
    ("items", "*", "instances", "labels", "env"),
    ("items", "*", "instances", "labels", "*"),
    ("items", "*", "instances", "disks", "deviceName"),
    ("items", "*", "instances", "disks", "*"),
    ("items", "*", "instances", "*"),
    ("items", "*", "warning", "code"),
    ("items", "*", "*", "message"),
    ("items", "zones-a", "instances", "name"),
    ("nextPageToken",),
    ("*",),
)

texts = st.sampled_from(("x", "y"))
disks = st.lists(st.fixed_dictionaries({"deviceName": texts}, optional={"boot": st.booleans()}), max_size=2)
instances = st.lists(
    st.fixed_dictionaries(
        {"name": texts}, optional={"labels": st.dictionaries(st.sampled_from(("env", "a")), texts), "disks": disks}
    ),
    max_size=2,
)
warnings = st.fixed_dictionaries({"code": texts}, optional={"message": texts})
scopes = st.fixed_dictionaries({}, optional={"instances": instances, "warning": warnings})
answers = st.fixed_dictionaries(
    {"items": st.dictionaries(st.sampled_from(("zones-a", "zones-b")), scopes)},
    optional={"id": texts, "nextPageToken": texts},
)


def picked(value: Any, paths: set[Path]) -> Any:
    """What of a value the paths lead to; all of it where one of them ends."""
    if () in paths:
        return value
    if isinstance(value, list):
        return [picked(item, paths) for item in value]
    found = {}
    for name, member in value.items():
        own = {path[1:] for path in paths if path[0] == name}
        # A name that is written goes before the wildcard that it would be among.
        below = own or {path[1:] for path in paths if path[0] == "*"}
        if below and (() in below or isinstance(member, dict | list)):
            found[name] = picked(member, below)
    return found


def written(paths: list[Path], chance: random.Random) -> str:
    """A selector for the paths, some of them put together."""
    parts = []
    left = list(paths)
    while left:
        first = left.pop(0)
        beside = [path for path in left if len(path) > 1 and path[0] == first[0]] if len(first) > 1 else []
        if beside and chance.random() < 0.6:
            left = [path for path in left if path not in beside]
            parts.append(f"{first[0]}({written([path[1:] for path in (first, *beside)], chance)})")
        elif len(first) > 1 and chance.random() < 0.3:
            parts.append(f"{first[0]}({written([first[1:]], chance)})")
        else:
            parts.append("/".join(first))
    return chance.choice((",", ", ")).join(parts)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(PATHS), min_size=1, max_size=4, unique=True), answers, st.integers(0, 2**32))
def test_a_selector_picks_what_its_paths_lead_to(paths: list[Path], answer: dict[str, Any], seed: int) -> None:
    """Whatever way it is written in."""
    text = written(paths, random.Random(seed))

    assert Mask.parse(text, DOCUMENT, "InstanceAggregatedList").apply(answer) == picked(answer, set(paths)), text
