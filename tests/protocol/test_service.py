"""The pipeline of one request, over a real socket."""

import asyncio
import gzip
import json
import logging

import pytest

from gceshim.protocol import errors
from gceshim.protocol.discovery import DiscoveryError
from gceshim.protocol.service import Observation, Service

from .harness import BEARER, DOCUMENT, SECRET, ZONE, KnownTokens, Table, serving


def run(coroutine):
    return asyncio.run(coroutine)


def test_a_get_reaches_its_method_with_typed_parameters():
    """The path is the whole address of a method."""

    async def main():
        async with serving() as gce:
            reply = await gce("GET", f"{ZONE}/instances/vm1", schema="Instance")
            call = gce.table.calls[0]
            assert (reply.status, reply.value["name"]) == (200, "vm1")
            assert (call.project, call.zone, call.region, call.resource_name) == ("p1", "z1", None, "vm1")
            assert call.resource_path == "projects/p1/zones/z1/instances/vm1"
            assert reply.value["selfLink"] == f"http://127.0.0.1:{gce.port}{ZONE}/instances/vm1"

    run(main())


@pytest.mark.parametrize(
    "path",
    [
        f"/{ZONE}/instances/vm1",
        f"{ZONE}//instances/vm1",
        f"{ZONE}/instances/vm1?",
        f"{ZONE}/instances/vm1/",
        f"{ZONE}/instances/%76m1?alt=json",
        f"{ZONE}/instances/vm1?unknown=1&key=k&quotaUser=u&userIp=1&$.xgafv=2&$alt=json;enum-encoding=int",
    ],
)
def test_forms_of_a_path_that_clients_send_mean_the_same(path):
    """Trailing-slash endpoints give `//`, Node leaves a bare `?`, new clients send unknown parameters."""

    async def main():
        async with serving() as gce:
            assert (await gce("GET", path)).value["name"] == "vm1"

    run(main())


def test_errors_of_addressing_come_in_gce_form():
    """404 for a path nobody has, 405 with Allow, 501 that names its method, 401 before all that is about a method."""

    async def main():
        async with serving() as gce:
            cases = {
                ("GET", "/nothing"): (404, "notFound"),
                ("GET", "/compute/v1/projects/p1/nothing/x"): (404, "notFound"),
                ("GET", "/compute/v2/projects/p1"): (404, "notFound"),
                ("PUT", f"{ZONE}/instances"): (405, "httpMethodNotAllowed"),
                ("BREW", f"{ZONE}/instances"): (405, "httpMethodNotAllowed"),
                ("GET", f"{ZONE}/autoscalers"): (501, "notImplemented"),
                ("GET", f"{ZONE}/disks/d1"): (404, "notFound"),
                ("GET", f"{ZONE}/instances/Bad_Name"): (400, "invalidParameter"),
                ("GET", f"{ZONE}/instances/%ff"): (400, "badRequest"),
                ("GET", f"{ZONE}/instances?maxResults=501"): (400, "invalidParameter"),
                ("GET", f"{ZONE}/instances?alt=media"): (400, "invalidParameter"),
                ("GET", f"{ZONE}/instances?$alt=proto"): (400, "invalidParameter"),
                ("GET", f"{ZONE}/instances?callback=f"): (400, "invalidParameter"),
                ("GET", f"{ZONE}/instances?$callback=f"): (400, "invalidParameter"),
                ("GET", f"{ZONE}/instances?filter=%ff"): (400, "badRequest"),
            }
            for (method, path), expected in cases.items():
                reply = await gce(method, path)
                assert (reply.status, reply.reason) == expected, path
            reply = await gce("PUT", f"{ZONE}/instances")
            assert reply.headers["allow"] == "GET, POST"
            assert "compute.autoscalers.list" in (await gce("GET", f"{ZONE}/autoscalers")).message
            assert (await gce("HEAD", f"{ZONE}/instances")).status == 405

    run(main())


def test_a_bad_name_is_refused_in_gces_words():
    """Clients and people search for this text."""

    async def main():
        async with serving() as gce:
            reply = await gce("GET", f"{ZONE}/instances/X_")
            assert reply.message == (
                "Invalid value for field 'instance': 'X_'. Must be a match of regex "
                "'(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?|[1-9][0-9]{0,19})'"
            )
            assert reply.value["error"]["errors"][0]["location"] == "instance"

    run(main())


def test_callers_are_told_apart_by_token():
    """401 needs its reason and its challenge; a mistake in checking a token is a 500 and not an open door."""

    async def main():
        async with serving() as gce:
            path = f"{ZONE}/instances/vm1"
            none = await gce("GET", path, headers={})
            wrong = await gce("GET", path, headers={"Authorization": "Bearer wrong"})
            basic = await gce("GET", path, headers={"Authorization": "Basic Z29vZA=="})
            empty = await gce("GET", path, headers={"Authorization": "Bearer"})
            assert (none.status, none.reason, none.message) == (401, "required", "Login Required")
            assert {(r.status, r.reason) for r in (wrong, basic, empty)} == {(401, "authError")}
            assert none.headers["www-authenticate"] == 'Bearer realm="https://accounts.google.com/"'
            assert wrong.headers["www-authenticate"].endswith(', error="invalid_token"')
            for query in ("access_token=good", "oauth_token=good"):
                assert (await gce("GET", f"{path}?{query}", headers={})).status == 200
            assert (await gce("GET", path, headers={"Authorization": "bearer good"})).status == 200
            unknown = await gce("GET", f"{ZONE}/autoscalers", headers={})
            assert unknown.status == 401

    run(main())


def test_an_unexpected_error_is_a_500_that_tells_nothing(caplog):
    """The trace belongs in the log, next to the request id; the caller gets only that id."""

    async def main():
        async with serving(trust_proxy=True) as gce:
            replies = [
                await gce("GET", "/compute/v1/projects/p1", headers={**BEARER, "X-Request-Id": "abc-1"}),
                await gce("GET", "/compute/v1/projects/p1", headers={"Authorization": "Bearer broken"}),
            ]
            for reply in replies:
                assert (reply.status, reply.reason) == (500, "internalError")
                assert SECRET.encode() not in reply.body
            assert "abc-1" in replies[0].message
            assert (await gce("GET", f"{ZONE}/instances/vm1")).status == 200

    with caplog.at_level(logging.INFO, "gceshim.protocol"):
        run(main())
    assert any(record.exc_info and record.request_id == "abc-1" for record in caplog.records)


def test_the_log_has_id_method_status_and_time_but_no_secret(caplog):
    """A log is read by more people than may use a token."""
    seen: list[Observation] = []

    async def main():
        async with serving(observe=seen.append) as gce:
            await gce("GET", f"{ZONE}/instances/vm1?access_token=good&filter=hidden")
            await gce("POST", f"{ZONE}/instances", body={"name": "a1", "description": "hidden"})
            await gce("BREW", f"{ZONE}/instances?access_token=hidden")

    with caplog.at_level(logging.DEBUG):
        run(main())
    records = [record for record in caplog.records if record.name == "gceshim.protocol"]
    lines = [record.getMessage() for record in records]
    assert len(lines) == 3
    assert "GET compute.instances.get 200" in lines[0]
    assert [record.method_id for record in records[:1]] == ["compute.instances.get"]
    assert not [text for text in caplog.messages if "hidden" in text or "good" in text]
    assert [(o.method_id, o.status) for o in seen] == [
        ("compute.instances.get", 200),
        ("compute.instances.insert", 200),
        ("", 405),
    ]


def test_a_request_id_is_taken_from_a_trusted_proxy_when_it_is_a_plain_word():
    """What a client sends must not get into headers or the log as it likes, nor pass for another's request."""

    async def main():
        path = f"{ZONE}/instances/vm1"
        async with serving(trust_proxy=True) as gce:
            for given, echoed in (("ab-1.c_2", True), ("a b", False), ("x" * 65, False), ('"<script>', False)):
                reply = await gce("GET", path, headers={**BEARER, "X-Request-Id": given})
                assert (reply.headers["x-request-id"] == given) is echoed
        async with serving() as gce:
            reply = await gce("GET", path, headers={**BEARER, "X-Request-Id": "ab-1"})
            assert reply.headers["x-request-id"] != "ab-1"

    run(main())


def test_bodies_are_checked_before_the_method_is_called():
    """JSON or nothing; UTF-8; of a known type; not compressed."""

    async def main():
        async with serving() as gce:
            path = f"{ZONE}/instances"
            bad = {
                b"{": (400, "parseError"),
                b"\xff\xfe": (400, "parseError"),
                b'{"name": NaN}': (400, "parseError"),
                b'{"name": "a", "name": "b"}': (400, "parseError"),
                b"[" * 100_000: (400, "parseError"),
                b'{"a":' * 50_000: (400, "parseError"),
                b'{"name": ' + b"9" * 5_000 + b"}": (400, "parseError"),
                b'{"name": "\\ud800"}': (400, "parseError"),
                b'{"\\uD800": 1}': (400, "parseError"),
                b"[1]": (400, "invalid"),
                b'"text"': (400, "invalid"),
                b"": (400, "required"),
                b"null": (400, "required"),
                b'{"name": "a1", "foo": 1}': (400, "invalid"),
            }
            for body, expected in bad.items():
                reply = await gce("POST", path, body=body)
                assert (reply.status, reply.reason) == expected, body[:40]
            assert gce.table.calls == []
            for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/mixed"):
                reply = await gce("POST", path, body=b"{}", headers={**BEARER, "Content-Type": content_type})
                assert (reply.status, reply.reason) == (415, "unsupportedMediaType")
            packed = {**BEARER, "Content-Type": "application/json", "Content-Encoding": "gzip"}
            assert (await gce("POST", path, body=b"{}", headers=packed)).status == 415
            ok = await gce("POST", path, body=b'{"name": "a1"}', typed=False, schema="Operation")
            assert ok.status == 200
            with_charset = {**BEARER, "Content-Type": "application/json; charset=utf-8"}
            assert (await gce("POST", path, body=b'\xef\xbb\xbf{"name": "a1"}', headers=with_charset)).status == 200

    run(main())


def test_bodies_on_methods_without_one_are_ignored():
    """Node posts a JSON string, libcloud the word `ignored`, others an object."""

    async def main():
        async with serving() as gce:
            for body in (b"", b'""', b'"ignored"', b"ignored", b"{}", b"null"):
                reply = await gce("POST", f"{ZONE}/instances/vm1/reset", body=body, schema="Operation")
                assert reply.status == 200
                text = {**BEARER, "Content-Type": "text/plain"}
                assert (await gce("POST", f"{ZONE}/instances/vm1/reset", body=body, headers=text)).status == 200
            assert all(call.body is None for call in gce.table.calls)

    run(main())


def test_a_large_body_is_a_413_and_the_server_lives_on():
    """10 MB really sent, in one piece and in chunks; more than is ever read is refused before it is sent."""

    async def main():
        async with serving() as gce:
            path = f"{ZONE}/instances"
            reply = await gce("POST", path, body=b'{"name": "' + b"a" * 10_000_000 + b'"}')
            assert (reply.status, reply.reason) == (413, "uploadTooLarge")
            chunks = b"".join(b"10000\r\n" + b"x" * 0x10000 + b"\r\n" for _ in range(160)) + b"0\r\n\r\n"
            head = (
                f"POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\nContent-Type: application/json\r\n"
            )
            chunked = await gce.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks)
            assert (chunked.status, chunked.reason) == (413, "uploadTooLarge")
            huge = await gce.raw(f"{head}Content-Length: 999999999999\r\n\r\n".encode())
            assert (huge.status, huge.reason) == (413, "uploadTooLarge")
            assert (await gce("GET", f"{ZONE}/instances/vm1")).status == 200
            assert gce.table.calls[0].method.id == "compute.instances.get"

    run(main())


def test_method_override_is_resolved_before_routing():
    """google-api-python-client's long GET would otherwise be taken for an insert."""

    async def main():
        async with serving() as gce:
            form = {
                **BEARER,
                "X-HTTP-Method-Override": "GET",
                "Content-Type": "application/x-www-form-urlencoded",
            }
            body = b"filter=name+eq+%22vm1%22&alt=json"
            reply = await gce("POST", f"{ZONE}/instances", body=body, headers=form, schema="InstanceList")
            assert [item["name"] for item in reply.value["items"]] == ["vm1"]
            delete = {**BEARER, "X-HTTP-Method-Override": "DELETE"}
            assert (await gce("POST", f"{ZONE}/instances/vm1", headers=delete)).value["operationType"] == "delete"
            assert (await gce("GET", f"{ZONE}/instances/vm1", headers=delete)).value["name"] == "vm1"
            bad = {**BEARER, "X-HTTP-Method-Override": "BREW"}
            assert (await gce("POST", f"{ZONE}/instances", headers=bad)).status == 400

    run(main())


def test_an_answer_is_indented_unless_told_otherwise():
    """prettyPrint is true by default; people read answers with curl."""

    async def main():
        async with serving() as gce:
            path = f"{ZONE}/instances/vm1"
            assert b'\n  "name": "vm1"' in (await gce("GET", path)).body
            assert b"\n" not in (await gce("GET", path, params={"prettyPrint": "False"})).body
            assert b"\n" not in (await gce("GET", f"{ZONE}/disks/d", params={"prettyPrint": "false"})).body
            assert (await gce("GET", path, params={"prettyPrint": "maybe"})).status == 400

    run(main())


def test_large_answers_are_compressed_for_clients_that_take_it():
    """A page of instances is a megabyte of repetition."""

    async def main():
        async with serving(Table(100)) as gce:
            path = f"{ZONE}/instances"
            plain = await gce("GET", path)
            assert plain.headers["vary"] == "Accept-Encoding"
            request = f"GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\nAccept-Encoding: "
            for accepted, compressed in (("gzip, deflate", True), ("br", False), ("gzip;q=0", False), ("*", True)):
                reader, writer = await asyncio.open_connection("127.0.0.1", gce.port)
                writer.write(f"{request}{accepted}\r\nConnection: close\r\n\r\n".encode())
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
                writer.close()
                assert (b"Content-Encoding: gzip" in head) is compressed
                text = gzip.decompress(body) if compressed else body
                assert len(json.loads(text)["items"]) == 100
            small = await gce("GET", f"{path}/vm1", headers={**BEARER, "Accept-Encoding": "gzip"})
            assert "content-encoding" not in small.headers

    run(main())


def test_prefer_wait_is_read_and_bounded():
    """The only way to wait for clients that cannot poll a custom endpoint."""

    async def main():
        async with serving() as gce:
            for given, seconds in (
                ("wait=5", 5.0),
                ("respond-async, wait=10", 10.0),
                ("wait=99999", 120.0),
                ("wait=x", None),
                ("", None),
            ):
                await gce("GET", f"{ZONE}/instances/vm1", headers={**BEARER, "Prefer": given})
                assert gce.table.calls[-1].wait_seconds == seconds

    run(main())


def test_links_follow_the_public_url_or_the_host():
    """gcutil compares links with the URL it was given; a proxy is believed only where the operator says so."""

    async def link(headers=None, **options):
        async with serving(**options) as gce:
            sent = {**BEARER, "Host": "gce.example.org", **(headers or {})}
            prefix = options.get("prefix", "")
            reply = await gce("GET", f"{prefix}{ZONE}/instances/vm1", headers=sent)
            return reply.value["selfLink"].removesuffix(f"{ZONE}/instances/vm1") if reply.status == 200 else reply

    async def main():
        forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "public.example.org"}
        assert await link() == "http://gce.example.org"
        assert await link(forwarded) == "http://gce.example.org"
        assert await link(forwarded, trust_proxy=True) == "https://public.example.org"
        assert await link(public_url="https://a.example.org/x/") == "https://a.example.org/x"
        assert await link(prefix="/sub/api") == "http://gce.example.org/sub/api"
        assert (await link({"Host": "a_b-:x"})).status == 400
        assert (await link({"X-Forwarded-Host": "a/b"}, trust_proxy=True)).status == 400
        assert await link({"Host": "[::1]:8787"}) == "http://[::1]:8787"

    run(main())


def test_a_call_that_takes_too_long_is_a_504():
    """No request hangs for ever."""

    async def main():
        table = Table()
        table.gate = asyncio.Barrier(2)
        async with serving(table, request_timeout_seconds=0.05) as gce:
            reply = await gce("POST", f"{ZONE}/operations/operation-1/wait")
            assert (reply.status, reply.reason) == (504, "gatewayTimeout")

    run(main())


def test_an_answer_without_body_is_a_204():
    """operations.delete answers nothing."""

    async def main():
        async with serving() as gce:
            reply = await gce("DELETE", f"{ZONE}/operations/operation-1")
            assert (reply.status, reply.body) == (204, b"")

    run(main())


def test_a_table_with_an_unknown_method_is_refused_when_put_together():
    """A misspelt name must not become a silent 501."""
    with pytest.raises(DiscoveryError):
        Service(DOCUMENT, {"compute.instances.gett": Table().get}, KnownTokens())


def test_every_error_class_answers_and_fails_an_operation_in_gce_form():
    """Clients read `errors[].reason` of a reply, and `httpErrorStatusCode` with `httpErrorMessage` of an operation."""

    def classes(base):
        for cls in base.__subclasses__():
            yield cls
            yield from classes(cls)

    for cls in classes(errors.ApiError):
        error = cls("What is wrong")
        fields = error.operation_fields()
        assert fields["httpErrorStatusCode"] == cls.status
        assert fields["httpErrorMessage"] == "What is wrong"
        assert fields["error"]["errors"][0]["code"] == cls.code
        assert error.reply()["error"]["errors"][0]["reason"] == cls.reason
