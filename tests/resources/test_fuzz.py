"""Property-based: malformed paths, parameters and bodies, at every method that is implemented."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from gceshim.protocol.discovery import Document, Method
from gceshim.resources.base import document
from gceshim.resources.table import COLLECTIONS, NEIGHBOURS
from gceshim.testing.gce import Gce
from tests.resources.requests import insert_body

IMPLEMENTED = sorted(method_id for collection in (*COLLECTIONS, *NEIGHBOURS) for method_id in collection.methods)
GOOD = {
    "project": "demo",
    "projectId": "demo",
    "zone": "sandbox-1-a",
    "region": "sandbox-1",
    "network": "default",
    "machineType": "small-instance",
}
TEXT = st.text(max_size=40) | st.text(alphabet="abz019-_.:/%\x00\n'\"(){}[]*$ ", max_size=80)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def document_of(method_id: str) -> Document:
    return document(method_id.partition(".")[0])


def values_for(method: Method, name: str) -> st.SearchStrategy[str]:
    good = GOOD.get(name, "vm-1")
    return st.sampled_from([good] * 9 + [""]).flatmap(lambda value: st.just(value) if value else TEXT)


@st.composite
def bodies(draw: st.DrawFn, schema: str | None) -> Any:
    """A good body with a few of its members, at any depth, replaced; or any JSON; or no JSON."""
    kind = draw(st.integers(0, 7))
    if kind == 0:
        return draw(st.binary(max_size=60))
    if kind == 1 or schema != "Instance":
        return json.dumps(draw(JSON))
    body = insert_body("vm-1", labels={"a": "b"}, metadata={"items": [{"key": "k", "value": "v"}]})
    for _ in range(draw(st.integers(0, 3))):
        place: Any = body
        for _ in range(draw(st.integers(0, 4))):
            inner = [item for item in (place.values() if isinstance(place, dict) else place) if item]
            inner = [item for item in inner if isinstance(item, dict | list)]
            if not inner:
                break
            place = draw(st.sampled_from(inner))
        key = draw(st.sampled_from(sorted(place)) | TEXT) if isinstance(place, dict) and place else None
        if isinstance(place, dict):
            place[key if key is not None else "x"] = draw(JSON)
        else:
            place.append(draw(JSON))
    return json.dumps(body)


@st.composite
def requests(draw: st.DrawFn, method: Method) -> tuple[str, str, Any]:
    path = method.path
    for capture in method.captures:
        value = draw(values_for(method, capture.name))
        path = path.replace(f"{{{capture.name}}}", quote(value, safe=draw(st.sampled_from(["", "/:"]))) or "x")
    known = [name for name, facts in method.parameters.items() if facts.location == "query"]
    names = st.sampled_from([*known, "fields", "alt", "prettyPrint", "callback", "access_token", "nope"])
    query = draw(st.just([]) | st.just([]) | st.lists(st.tuples(names, TEXT), max_size=3))
    body = draw(bodies(method.request)) if method.http_method != "GET" else None
    return (
        method.http_method,
        f"/{document_of(method.id).service_path}{path}?{urlencode(query, errors='replace')}",
        body,
    )


@pytest.mark.parametrize("method_id", IMPLEMENTED)
def test_nothing_that_is_sent_breaks_the_server(method_id: str, gce: Gce, io_loop: IOLoop) -> None:
    """No 5xx, no hang, and every error in GCE's form (which the client checks)."""

    @settings(
        max_examples=40,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(requests(document_of(method_id).method(method_id)))
    def probe(request: tuple[str, str, Any]) -> None:
        verb, path, body = request
        answer = io_loop.run_sync(lambda: gce.send(verb, path, body=body), timeout=120)
        assert answer.status < 500, (path, body, answer.body)

    probe()


def test_every_implemented_method_is_tried() -> None:
    """The list is made from the declarations; an empty one would try nothing."""
    assert {"compute.instances.insert", "compute.zones.list"} <= set(IMPLEMENTED)
    assert all(document_of(method_id).method(method_id) for method_id in IMPLEMENTED)
