"""What gcloud's --filter comes to where gcloud leaves it to the server: lists of a zone, and global ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.clients.demo import Demo
from tests.clients.gcloud import Gcloud
from tests.clients.plain import Plain

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_terms_of_all_kinds_are_understood(
    gcloud: Gcloud, plain: Plain, demo: Demo, fresh_name: Callable[[], str]
) -> None:
    """Alone, two, and three, which gcloud nests."""
    one, two = fresh_name(), fresh_name()
    three, four = fresh_name(), fresh_name()
    for name in (one, two, three, four):
        plain.machine(name, description="hello world")
    gcloud.done("instances", "stop", two)
    rest = sorted((three, four))
    expected = {
        f"name={one}": [one],
        f"name:{one}": [one],
        f"name~^{one}$": [one],
        f"name!={one} AND name!={two}": rest,
        f"NOT name={one} AND -name={two}": rest,
        f"name:vm* AND status=RUNNING AND machineType:small-instance AND NOT name={three}": [one, four],
        f"zone:{demo.zone} AND status=TERMINATED AND name!~^{one}$": [two],
        "zone~sandbox AND description:hello* AND status=TERMINATED": [two],
        "deletionProtection=false AND status=TERMINATED": [two],
        "creationTimestamp=2001-01-01T00:00:00Z": [],
        f"network:default OR name={one}": [one],
        f"status=TERMINATED OR name={one}": sorted((one, two)),
        f"name=({one} {two})": sorted((one, two)),
    }
    zone = f"--zones={demo.zone}"
    found = {
        text: sorted(
            name
            for [name, *_] in gcloud.done("instances", "list", zone, f"--filter={text}").table
            if name.startswith("vm-")
        )
        for text in expected
    }
    plain.no_machine(one, two, three, four)

    assert found == {text: sorted(names) for text, names in expected.items()}
