"""docs/support.md: what it calls working was called over HTTP and worked."""

from __future__ import annotations

import re

import pytest

from gceshim.protocol.discovery import Document
from gceshim.testing.gce import Gce
from tests.docs.tour import Tour
from tools.gen_support import PAGE, ROOT, State, neighbours, support


def methods(state: State) -> set[str]:
    """The ids of the methods in a state."""
    return {item.method for item in support().values() if item.state is state}


def all_that_work() -> set[str]:
    """With those of other APIs."""
    return methods(State.WORKS) | {item.method for item in neighbours().values() if item.state is State.WORKS}


def test_what_works_was_called_over_http_and_worked(tour: Tour) -> None:
    """That a method exists does not say that it does anything."""
    assert sorted(tour.worked) == sorted(all_that_work())


def test_what_is_refused_is_refused_with_the_words_of_the_page(tour: Tour) -> None:
    """A reader who plans around the reason has to get that very reason."""
    told = {name: (error["code"], error["message"]) for name, error in tour.errors.items()}
    assert told == {item.method: (400, item.reason) for item in support().values() if item.state is State.REFUSED}


@pytest.mark.gen_test
async def test_what_is_not_implemented_answers_501_and_names_itself(gce: Gce, discovery: Document) -> None:
    """A client is told which method it misses, and never a wrong path."""
    other = []
    for method_id in sorted(methods(State.ABSENT)):
        method = discovery.method(method_id)
        names = {
            capture.name: "/".join(segment or "x" for segment in method.segments[capture.start : capture.stop])
            for capture in method.captures
        }
        error = await gce.error(method_id, **names)
        if error["code"] != 501 or method_id not in error["message"]:
            other.append((method_id, error["message"]))
    assert other == []


def test_every_method_of_the_api_stands_on_the_page_once(discovery: Document) -> None:
    """A page that leaves a method out leaves its reader guessing."""
    found: list[str] = []
    section = ""
    for line in (ROOT / PAGE).read_text().splitlines():
        section = line.removeprefix("## ") if line.startswith("## ") else section
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            name = cells[0].strip("`")
            found.append(name if "." in name else f"compute.{section}.{name}")
        elif line.startswith("| ") and "`" in line:
            found += [f"compute.{cells[0]}.{name}" for name in re.findall(r"`(\w+)`", cells[1])]
    assert sorted(found) == sorted([*(method.id for method in discovery.methods), *neighbours()])
