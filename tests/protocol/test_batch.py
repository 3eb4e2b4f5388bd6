"""Batches as gcloud and google-api-python-client send them, and as both need them answered."""

import asyncio
import json
import re
import time

import httplib2
import pytest
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from .harness import BEARER, DOCUMENT, ZONE, Table, serving, serving_in_thread

GCLOUD = "===============123=="


def gcloud_part(number, request, body=""):
    """One part, byte for byte as apitools writes it."""
    return (
        f"--{GCLOUD}\nContent-Type: application/http\nMIME-Version: 1.0\nContent-Transfer-Encoding: binary\n"
        f"Content-ID: <6f1c-uuid+{number}>\n\n{request} HTTP/1.1\nContent-Type: application/json\n"
        f"accept: application/json\nHost: 127.0.0.1:29480\n\n{body}\n"
    )


def gcloud_batch(*parts):
    return ("".join(gcloud_part(n, *part) for n, part in enumerate(parts)) + f"--{GCLOUD}--").encode()


def headers(boundary=GCLOUD, **more):
    return {**BEARER, "Content-Type": f'multipart/mixed; boundary="{boundary}"', **more}


def answers(reply):
    """Content-ID to status line, headers and JSON, read as strictly as the strictest client."""
    assert reply.status == 200
    boundary = re.fullmatch(r'multipart/mixed; boundary="(batch_\w+)"', reply.headers["content-type"])[1]
    *parts, end = reply.body.decode().split(f"--{boundary}")[1:]
    assert end == "--\r\n"
    found = {}
    for part in parts:
        outer, inner, body = part.removeprefix("\r\n").split("\r\n\r\n", 2)
        assert "Content-Type: application/http" in outer.split("\r\n")
        content_id = re.search(r"Content-ID: (.*)", outer)[1].rstrip("\r")
        status_line, *inner_headers = inner.split("\r\n")
        version, status, _phrase = status_line.split(" ", 2)
        assert version == "HTTP/1.1"
        assert inner_headers
        assert "\n" not in "".join(inner_headers)
        found[content_id] = (int(status), json.loads(body) if body.strip() else None)
    return found


def test_a_gcloud_batch_is_answered_part_by_part():
    """LF inside, the token outside only; each part has its own outcome and its own Content-ID back."""

    async def main():
        async with serving() as gce:
            body = gcloud_batch(
                (f"GET {ZONE}/instances/vm1?alt=json",),
                (f"GET http://127.0.0.1:1{ZONE}/instances?alt=json&maxResults=2",),
                (f"POST {ZONE}/instances?alt=json", '{"name": "a1"}'),
                (f"GET {ZONE}/disks/none?alt=json",),
                (f"DELETE {ZONE}/operations/o1?alt=json",),
                (f"POST {ZONE}/instances?alt=json", "{"),
                ("GET /compute/v1/projects/other/zones/z9/instances/vm2?alt=json",),
            )
            for path in ("/batch/compute/v1", "/batch", "//batch//compute/v1/"):
                found = answers(await gce("POST", path, body=body, headers=headers()))
                assert [found[f"<response-6f1c-uuid+{n}>"][0] for n in range(7)] == [200, 200, 200, 404, 204, 400, 200]
                assert found["<response-6f1c-uuid+0>"][1]["name"] == "vm1"
                assert len(found["<response-6f1c-uuid+1>"][1]["items"]) == 2
                assert found["<response-6f1c-uuid+3>"][1]["error"]["errors"][0]["reason"] == "notFound"
                assert "/projects/other/zones/z9/" in found["<response-6f1c-uuid+6>"][1]["selfLink"]
                host = f"http://127.0.0.1:{gce.port}/"
                assert found["<response-6f1c-uuid+0>"][1]["selfLink"].startswith(host)

    asyncio.run(main())


def test_waits_of_a_batch_run_at_the_same_time():
    """Two waits one after the other would take twice as long; here they would never end."""

    async def main():
        table = Table()
        table.gate = asyncio.Barrier(40)
        async with serving(table) as gce:
            body = gcloud_batch(*[(f"POST {ZONE}/operations/o{n}/wait",) for n in range(40)])
            found = answers(await gce("POST", "/batch/compute/v1", body=body, headers=headers()))
            assert {status for status, _ in found.values()} == {200}

    asyncio.run(main())


def test_a_part_may_have_a_token_of_its_own():
    """google-api-python-client puts it inside; else the outer one counts; neither is a 401 for the part."""

    def batch(inner):
        return (
            "--b\r\nContent-Type: application/http\r\nContent-ID: <x + 1>\r\n\r\n"
            f"GET {ZONE}/instances/vm1 HTTP/1.1\r\n{inner}\r\n\r\n--b--\r\n"
        ).encode()

    async def status(inner, outer):
        async with serving() as gce:
            sent = {**outer, "Content-Type": "multipart/mixed; boundary=b"}
            return answers(await gce("POST", "/batch", body=batch(inner), headers=sent))["<response-x + 1>"][0]

    async def main():
        assert await status("authorization: Bearer good", {}) == 200
        assert await status("authorization: Bearer wrong", BEARER) == 401
        assert await status("accept: */*", BEARER) == 200
        assert await status("accept: */*", {}) == 401
        assert await status("accept-encoding: gzip", BEARER) == 200

    asyncio.run(main())


def test_a_malformed_envelope_is_one_error():
    """No part can be told from it."""

    async def main():
        async with serving(batch_max_bytes=100_000) as gce:
            good = gcloud_batch((f"GET {ZONE}/instances/vm1",))
            many = gcloud_batch(*[("GET /x",)] * 1_001)
            cases = [
                ("GET", b"", headers(), 405),
                ("POST", good, {**BEARER, "Content-Type": "application/json"}, 415),
                ("POST", good, headers(**{"Content-Encoding": "gzip"}), 415),
                ("POST", good, {**BEARER, "Content-Type": "multipart/mixed"}, 400),
                ("POST", good, headers("other"), 400),
                ("POST", b"", headers(), 400),
                ("POST", b"--", headers(), 400),
                ("POST", many, headers(), 413),
                ("POST", b"x" * 10_000_000, headers(), 413),
            ]
            for method, body, sent, status in cases:
                assert (await gce(method, "/batch/compute/v1", body=body, headers=sent)).status == status
        async with serving() as gce:
            refused = await gce("POST", "/batch", body=many, headers=headers())
            assert (refused.status, refused.message) == (400, "The batch has more than 1000 parts.")
            thousand = gcloud_batch(*[(f"GET {ZONE}/instances/vm1",)] * 1_000)
            assert len(answers(await gce("POST", "/batch", body=thousand, headers=headers()))) == 1_000

    asyncio.run(main())


def test_a_malformed_part_is_an_error_of_that_part():
    """The others are answered."""

    async def main():
        async with serving() as gce:
            body = gcloud_batch(
                ("nonsense",),
                (f"GET {ZONE}/instances/vm1",),
                ("POST /batch/compute/v1",),
                ("POST //batch",),
                ("GET http://[x",),
                ("GET /nothing",),
            )
            found = answers(await gce("POST", "/batch", body=body, headers=headers()))
            assert [found[f"<response-6f1c-uuid+{n}>"][0] for n in range(6)] == [400, 200, 400, 400, 400, 404]

    asyncio.run(main())


BLANKS, LINES = " " * 2_000_000, "a: b\r\n" * 400_000


@pytest.mark.parametrize(
    ("mime", "request_line", "inner", "status"),
    [
        ("", "GET /x", f"x:{BLANKS}\x01\r\n", 431),
        ("", "GET /x", LINES, 431),
        (LINES, "GET /x", "", 431),
        ("", f"GET /{BLANKS}x", "", 431),
        ("", f"GET /{'x' * 60_000}", "", 400),
        ("", "GET /x", f"x:{BLANKS[:60_000]}\x01\r\n", 400),
        (f"x:{BLANKS[:60_000]}\x01\r\n", "GET /x", "", 400),
    ],
    ids=range(7),
)
def test_the_head_of_a_part_is_bounded(mime, request_line, inner, status):
    """Nobody is asked for a token before it is read, and nobody else is answered while it is."""

    async def main():
        async with serving() as gce:
            body = (
                f"--b\r\nX: y\r\n{mime}\r\n{request_line} HTTP/1.1\r\n{inner}\r\n"
                f"--b\r\nX: y\r\n\r\nGET {ZONE}/instances/vm1 HTTP/1.1\r\n\r\n--b--"
            )
            started = time.process_time()
            reply = await gce("POST", "/batch", body=body.encode(), headers=headers("b"))
            assert time.process_time() - started < 2
            assert re.findall(rb"HTTP/1\.1 (\d+) ", reply.body) == [b"%d" % status, b"200"]

    asyncio.run(main())


def test_line_ends_and_a_missing_last_delimiter_are_forgiven():
    """CRLF or LF, with or without an end, with a preamble."""

    async def main():
        async with serving() as gce:
            body = gcloud_batch((f"GET {ZONE}/instances/vm1",), (f"GET {ZONE}/instances/vm2",))
            for variant in (
                body.replace(b"\n", b"\r\n"),
                body.removesuffix(b"--"),
                body.removesuffix(f"\n--{GCLOUD}--".encode()),
                b"preamble\n" + body + b"\nepilogue",
            ):
                found = answers(await gce("POST", "/batch", body=variant, headers=headers()))
                assert [status for status, _ in found.values()] == [200, 200]

    asyncio.run(main())


def test_a_batch_under_a_prefix_takes_paths_with_and_without_it():
    """gcloud drops the path of its endpoint from the batch's URL."""

    async def main():
        async with serving(prefix="/gce") as gce:
            body = gcloud_batch((f"GET {ZONE}/instances/vm1",), (f"GET /gce{ZONE}/instances/vm1",))
            found = answers(await gce("POST", "/gce/batch/compute/v1", body=body, headers=headers()))
            link = f"http://127.0.0.1:{gce.port}/gce{ZONE}/instances/vm1"
            assert [answer["selfLink"] for _, answer in found.values()] == [link, link]

    asyncio.run(main())


def test_google_api_python_client_reads_our_batches():
    """With the served document, as its batch URL comes from there; and one call without a batch."""

    class WithToken(httplib2.Http):
        def request(self, uri, method="GET", body=None, headers=None, **more):
            return super().request(uri, method, body, {**(headers or {}), **BEARER}, **more)

    with serving_in_thread() as gce:
        compute = build(
            "compute",
            "v1",
            http=WithToken(),
            discoveryServiceUrl=f"http://127.0.0.1:{gce.port}/discovery/v1/apis/{{api}}/{{apiVersion}}/rest",
            static_discovery=False,
            cache_discovery=False,
        )
        found, failed = [], []
        batch = compute.new_batch_http_request(
            callback=lambda _id, answer, error: failed.append(error) if error else found.append(answer)
        )
        here = {"project": "p1", "zone": "z1"}
        batch.add(compute.instances().get(**here, instance="vm1"))
        batch.add(compute.instances().insert(**here, body={"name": "a1"}))
        batch.add(compute.instances().list(**here, filter='name eq "vm[12]"', fields="items/name"))
        batch.add(compute.disks().get(**here, disk="none"))
        batch.execute()
        assert [answer.get("name") for answer in found] == ["vm1", "operation-1", None]
        assert found[2] == {"items": [{"name": "vm1"}, {"name": "vm2"}]}
        assert isinstance(failed[0], HttpError)
        assert failed[0].status_code == 404
        assert "'projects/p1/zones/z1/disks/none' was not found" in failed[0].reason
        long_filter = "(name=vm1 OR name=vm2) " + " ".join(["status=RUNNING"] * 200)
        listed = compute.instances().list(**here, filter=long_filter).execute()
        assert [item["name"] for item in listed["items"]] == ["vm2"]
        compute.close()


def test_the_parts_are_in_the_document():
    """The batch path that is served is the one that is answered."""
    assert DOCUMENT.served(["compute.instances.get"], "http://h/")["batchPath"] == "batch/compute/v1"
