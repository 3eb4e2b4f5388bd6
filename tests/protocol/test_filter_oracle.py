"""Filters against a simple evaluator of the test's own, over expressions and resources that chance makes."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gceshim.protocol.filter import Filter
from tests.protocol import naive_filter as naive
from tests.protocol.harness import DOCUMENT

WORDS = ("", "web-1", "web-2", "web", "db", "WEB-1", "Hello World", "9", "10", "true")
PATTERNS = (*WORDS, "web*", "*1", "*e*", "*", "w*-*", "hello*", "o w")
REGEXES = ("web-1", "web.*", ".*1", "(web|db)(-1)?", "[a-z]+", "", "9|10", r"web\-\d", "(?:x|web)-1", "RUNNING")
MOMENTS = (
    "2024-05-01T00:00:00.000-07:00",
    "2024-05-01T07:00:00Z",
    "2024-05-01T07:00:01+00:00",
    "2023-01-01",
    "2030-01-01",
)

numbers = st.integers(0, 12)
words = st.sampled_from(WORDS)
resources = st.fixed_dictionaries(
    {},
    optional={
        "name": words,
        "status": st.sampled_from(("RUNNING", "STOPPED")),
        "description": words,
        "canIpForward": st.booleans(),
        "id": numbers.map(str),
        "creationTimestamp": st.sampled_from(MOMENTS[:3]),
        "labels": st.dictionaries(st.sampled_from(("env", "a-b")), words, max_size=2),
        "tags": st.fixed_dictionaries({}, optional={"items": st.lists(words, max_size=3)}),
        "scheduling": st.fixed_dictionaries({}, optional={"automaticRestart": st.booleans(), "minNodeCpus": numbers}),
        "disks": st.lists(
            st.fixed_dictionaries({}, optional={"boot": st.booleans(), "diskSizeGb": numbers.map(str)}), max_size=3
        ),
    },
)


def comparison(fields: tuple[str, ...], signs: str, literals: Any) -> st.SearchStrategy[Any]:
    return st.tuples(st.just("is"), st.sampled_from(fields), st.sampled_from(signs.split()), literals)


figures = st.one_of(numbers.map(str), st.sampled_from(("9.0", "-1", "1e1", "10.5")))
comparisons = st.one_of(
    comparison(naive.TEXTS + naive.KEYED + naive.REPEATED, "= != :", st.sampled_from(PATTERNS)),
    comparison(naive.TEXTS, "< <= > >=", st.sampled_from(("web-1", "m", "RUNNING", "Z"))),
    comparison(naive.NUMBERS + naive.REPEATED_NUMBERS, "= != : < <= > >=", figures),
    comparison(naive.BOOLEANS + naive.REPEATED_BOOLEANS, "= != :", st.sampled_from(("true", "false", "True"))),
    comparison(naive.TIMES, "= != < <= > >=", st.sampled_from(MOMENTS)),
    comparison((*naive.TEXTS, *naive.KEYED, *naive.NUMBERS, "disks", "labels", "scheduling"), ":", st.just("*")),
)
trees = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(("and", "or")), st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)
legacy_comparisons = st.one_of(
    comparison(naive.TEXTS + naive.KEYED + naive.REPEATED, "eq ne", st.sampled_from(REGEXES)),
    comparison(naive.NUMBERS + naive.REPEATED_NUMBERS, "eq ne", st.one_of(figures, st.sampled_from(("1.*", "[0-4]")))),
    comparison(naive.BOOLEANS, "eq ne", st.sampled_from(("true", "false"))),
)
legacy_trees = st.recursive(
    legacy_comparisons,
    lambda inner: st.tuples(st.just("and"), st.lists(inner, min_size=1, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=250)
@given(trees, st.lists(resources, min_size=1, max_size=4), st.integers(0, 2**32))
def test_expressions_of_aip_160_mean_what_their_trees_do(tree: Any, found: list[dict[str, Any]], seed: int) -> None:
    """Whatever blanks, quotes and parentheses they are written with."""
    text = naive.written(tree, random.Random(seed))
    parsed = Filter.parse(text, DOCUMENT, "Instance")

    assert [parsed.matches(resource) for resource in found] == [naive.holds(tree, resource) for resource in found], text


@settings(max_examples=150)
@given(legacy_trees, st.lists(resources, min_size=1, max_size=4), st.integers(0, 2**32))
def test_legacy_expressions_mean_what_their_trees_do(tree: Any, found: list[dict[str, Any]], seed: int) -> None:
    """Nested as gcloud nests them; patterns with and without quotes."""
    text = naive.written_legacy(tree, random.Random(seed))
    parsed = Filter.parse(text, DOCUMENT, "Instance")

    assert [parsed.matches(resource) for resource in found] == [naive.holds(tree, resource) for resource in found], text


@settings(max_examples=100)
@given(trees, resources, st.integers(0, 2**32))
def test_what_a_backend_may_narrow_by_leaves_nothing_out(tree: Any, resource: dict[str, Any], seed: int) -> None:
    """A resource that passes has each of the texts, and no value that is not allowed."""
    parsed = Filter.parse(naive.written(tree, random.Random(seed)), DOCUMENT, "Instance")
    if naive.holds(tree, resource):
        assert all(
            resource.get(field, "") == text for field, text in parsed.equalities().items() if field in naive.TEXTS
        )
        assert parsed.labels().items() <= resource.get("labels", {}).items()
        assert parsed.allows("name", resource.get("name", ""))
