"""Whatever is sent, the answer is below 500, in GCE's form, and soon."""

import asyncio
import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gceshim.protocol.discovery import Method
from gceshim.protocol.dispatch import dispatch
from gceshim.protocol.errors import InvalidParameter
from gceshim.protocol.fields import Mask
from gceshim.protocol.filter import Filter
from gceshim.protocol.schema import validate_error
from gceshim.protocol.service import Service
from gceshim.protocol.wire import WireRequest

from .harness import DOCUMENT, ZONE, KnownTokens, Table, serving

pytestmark = pytest.mark.filterwarnings("error")

FAST = settings(deadline=2_000, max_examples=150)
NASTY = st.text(max_size=60) | st.sampled_from(
    ["..", "a1", "%", "A" * 5_000, "\x00", "\r\nX: 1", "é", "0", "-1", "null"]
)
SEGMENT = st.sampled_from(
    [
        "compute",
        "v1",
        "projects",
        "p1",
        "zones",
        "z1",
        "global",
        "images",
        "family",
        "instances",
        "vm1",
        "%2F",
        "%ff",
        "",
    ]
) | st.text(string.printable.replace("?", "").replace("#", ""), max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


async def echo(call):
    """Every method, implemented as an answer of what it got: nothing else can fail."""
    json.dumps([dict(call.params), call.body, call.resource_name, call.resource_path, call.links.url("x")])
    return {"name": "x"}


ALL = Service(DOCUMENT, {method.id: echo for method in DOCUMENT.methods}, KnownTokens())
METHODS = sorted(DOCUMENT.methods, key=lambda method: method.id)


def answer(request):
    reply = asyncio.run(asyncio.wait_for(dispatch(ALL, request), 60))
    assert reply.status < 500
    for name, value in reply.headers.items():
        assert "\n" not in name + value
        assert "\r" not in name + value
    if reply.status >= 400 and "Content-Encoding" not in reply.headers:
        assert validate_error(json.loads(reply.body)) == []
    return reply


def request(method, path, **more):
    headers = {"authorization": "Bearer good", "host": "h"} | more.pop("headers", {})
    return WireRequest(method, path, headers=headers, host="h", **more)


@FAST
@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "X" * 30]),
    st.lists(SEGMENT, max_size=12),
    NASTY,
)
def test_any_path(method, segments, query):
    """Most are nobody's."""
    answer(request(method, "/" + "/".join(segments), query=query))


def path_of(method: Method, values: list[str]) -> str:
    filled = iter(values)
    return "/compute/v1/" + "/".join(segment or next(filled, "a1") for segment in method.segments)


@FAST
@given(st.sampled_from(METHODS), st.lists(SEGMENT, max_size=4), st.data())
def test_any_parameters_of_any_method(method, values, data):
    """Each of the 1,025, with values of every kind for what it declares."""
    names = st.sampled_from([*method.parameters, "fields", "alt", "prettyPrint", "access_token", "$alt", "callback"])
    pairs = data.draw(st.lists(st.tuples(names, NASTY), max_size=5))
    query = "&".join(f"{name}={value}" for name, value in pairs)
    answer(request(method.http_method, path_of(method, values), query=query, body=b"{}"))


def from_schema(draw, schema, depth=0):
    """A body that is mostly right, so that it gets far."""
    if draw(st.integers(0, 12)) == 0:
        return draw(JSON)
    if "$ref" in schema:
        schema = DOCUMENT.schema(schema["$ref"])
    kind = schema.get("type")
    if kind == "object":
        properties = schema.get("properties", {})
        names = draw(st.lists(st.sampled_from([*properties, "other"]), max_size=3)) if depth < 4 else []
        return {name: from_schema(draw, properties.get(name, {"type": "string"}), depth + 1) for name in names}
    if kind == "array":
        return [from_schema(draw, schema["items"], depth + 1) for _ in range(draw(st.integers(0, 2)))]
    simple = {"integer": st.integers(), "number": st.floats(), "boolean": st.booleans()}
    return draw(simple.get(kind, st.text(max_size=10) | st.sampled_from(schema.get("enum", ["a1", "10", "AA=="]))))


@FAST
@given(st.sampled_from([method for method in METHODS if method.request]), st.data())
def test_any_body_of_any_method(method, data):
    """Right in part, wrong in part."""
    body = json.dumps(from_schema(data.draw, {"$ref": method.request})).encode()
    answer(request(method.http_method, path_of(method, []), body=body))


@FAST
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()), st.text(max_size=40))
def test_any_bytes_as_a_body(body, content_type):
    """With any Content-Type."""
    reply = answer(request("POST", f"{ZONE}/instances", body=body, headers={"content-type": content_type}))
    assert reply.status in (200, 400, 415)


@FAST
@given(
    st.dictionaries(
        st.sampled_from(
            ["authorization", "prefer", "x-http-method-override", "x-request-id", "accept-encoding", "content-type"]
        ),
        NASTY,
    ),
    NASTY,
)
def test_any_headers(headers, host):
    """None of them gets into the answer's headers."""
    base = request("POST", f"{ZONE}/instances", body=b'{"name": "a1"}', headers=headers)
    answer(base)
    answer(WireRequest("GET", f"{ZONE}/instances/vm1", headers=dict(base.headers), host=host))


FILTER_WORDS = st.sampled_from(
    ["name", "labels.a", "status", "eq", "ne", "=", "!=", ":", "<", ">=", "AND", "OR", "NOT", "-", "(", ")", '"', "'",
     "\\", "a", ".*", "[", "10", "true", "*", " ", "2024-01-01", "scheduling.automaticRestart", "disks.index"]
)  # fmt: skip
VM = {"name": "a", "status": "RUNNING", "labels": {"a": "b"}, "disks": [{"index": 1}], "scheduling": {}}


@settings(deadline=2_000, max_examples=500)
@given(
    st.lists(FILTER_WORDS, max_size=15).flatmap(lambda w: st.sampled_from(["", " "]).map(lambda s: s.join(w))) | NASTY
)
def test_any_filter(text):
    """It matches, or not, or is refused."""
    for schema in ("Instance", None):
        try:
            parsed = Filter.parse(text, DOCUMENT, schema)
        except InvalidParameter:
            continue
        assert parsed.matches(VM) in (True, False)
        assert all(isinstance(value, str) for value in parsed.equalities().values())


@settings(deadline=2_000, max_examples=300)
@given(
    st.lists(st.sampled_from(["items", "name", "labels", "*", "/", ",", "(", ")", " ", "x"]), max_size=15).map("".join)
)
def test_any_selector(text):
    """It selects or is refused, and what it selects is part of what there was."""
    try:
        mask = Mask.parse(text, DOCUMENT, "InstanceList")
    except InvalidParameter:
        return
    value = {"items": [{"name": "a", "labels": {"x": "y"}}], "id": "1"}
    assert mask.apply(value).keys() <= value.keys()


BATCH_PIECES = st.sampled_from(
    [
        b"--b", b"--b--", b"\r\n", b"\n", b"\n\n", b"Content-ID: <a + 1>", b"Content-Type: application/http",
        b"GET /compute/v1/projects/p1 HTTP/1.1", b"POST /batch HTTP/1.1", b"GET", b": x", b"\xff\x00", b"{}",
        b"Authorization: Bearer x", b"Content-ID: \x01", b" folded", b"GET http://[ HTTP/1.1",
    ]
)  # fmt: skip


@settings(deadline=3_000, max_examples=300)
@given(st.lists(BATCH_PIECES | st.binary(max_size=8), max_size=25).map(b"".join))
def test_any_batch(body):
    """Lines in any order, and bytes that are none."""
    reply = answer(request("POST", "/batch", body=body, headers={"content-type": "multipart/mixed; boundary=b"}))
    assert b"HTTP/1.1 5" not in reply.body


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.binary(max_size=60) | st.sampled_from([b"GET ", b"POST /compute/v1/", b" HTTP/1.1\r\n", b"Host: h\r\n"]),
        max_size=8,
    )
)
def test_any_bytes_on_the_socket(pieces):
    """The server answers or hangs up, and answers the next one."""

    async def main():
        async with serving(Table()) as gce:
            reader, writer = await asyncio.open_connection("127.0.0.1", gce.port)
            writer.write(b"".join(pieces) + b"\r\n\r\n")
            writer.write_eof()
            async with asyncio.timeout(10):
                status = (await reader.read(12))[9:12]
            writer.close()
            assert not status.startswith(b"5") or status == b"501"
            assert (await gce("GET", f"{ZONE}/instances/vm1")).status == 200

    asyncio.run(main())
