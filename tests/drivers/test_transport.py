"""Calls to CloudStack over real sockets: keys, errors, bounds, threads, and nothing secret anywhere."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import ipaddress
import json
import socket
import ssl
import threading
import time
import traceback
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.failures import BY_CODE
from gceshim.drivers.cloudstack.settings import parse
from gceshim.drivers.cloudstack.transport import Transport
from gceshim.drivers.fence import fenced
from gceshim.model import Credentials
from tests.drivers.conftest import SECRETS
from tests.drivers.raw_server import answer, drip, raw_server, reset, silence
from tests.drivers.worlds import cloud, on_loop

KEYS = Credentials("the-api-key-1234", "the-secret-key-5678")


def said(error: BaseException) -> str:
    """All that an error says, with everything that led to it."""
    return "".join(traceback.format_exception(error)) + repr(getattr(error, "detail", ""))


async def call(url: str, command: str = "listZones", **settings: object) -> dict:
    """One call through a transport of its own."""
    transport = Transport(parse({"url": url, "timeout_seconds": 0.5, "retries": 0, **settings}))
    try:
        return await transport.call(KEYS, command)
    finally:
        await transport.close()


async def failed(url: str, command: str = "listZones", **settings: object) -> errors.DriverError:
    """The error of a call, which tells no secret."""
    with pytest.raises(errors.DriverError) as caught:
        await call(url, command, **settings)
    assert not any(secret in said(caught.value) for secret in SECRETS)
    return caught.value


@on_loop
async def test_parameters_arrive_as_they_were_meant():
    """Whatever is in them: they go through a signature, a form and a map in brackets."""
    async with cloud() as world:
        value = "a b+c/d=e&f%20[g]*~é'\"{}"
        await world.raw("registerUserData", name=value[:20], userdata="aGVsbG8gd29ybGQ=")
        reply = await world.raw("listUserData", name=value[:20])
        assert [row["name"] for row in reply["userdata"]] == [value[:20]]
        zones = await world.raw("listZones", available=True, keyword=None)
        assert zones["count"] == 2


@on_loop
async def test_large_parameters_are_taken():
    """User data is longer than any URL may be."""
    async with cloud() as world:
        await world.raw("registerUserData", name="long", userdata="QUJD" * 5_000)
        assert (await world.raw("listUserData", name="long"))["userdata"][0]["userdata"] == "QUJD" * 5_000


@on_loop
async def test_keys_and_signatures_are_in_no_url():
    """URLs are written down by proxies and by logs, bodies are not."""
    async with raw_server(answer("200 OK", '{"listzonesresponse":{}}')) as server:
        assert await call(server.url) == {}
    head, _, body = server.requests[0].partition("\r\n\r\n")
    assert head.startswith("POST /client/api HTTP/1.1")
    assert KEYS.api_key not in head
    assert "signature=" in body
    assert KEYS.secret_key not in body


@on_loop
async def test_a_connection_is_used_again():
    """A new one for each call would cost more than the call."""
    async with raw_server(answer("200 OK", '{"listzonesresponse":{}}')) as server:
        transport = Transport(parse({"url": server.url, "threads": 1}))
        for _ in range(20):
            await transport.call(KEYS, "listZones")
        await transport.close()
    assert (len(server.requests), server.connections) == (20, 1)


@on_loop
async def test_threads_are_as_many_as_set():
    """A slow CloudStack must not take the whole process with it."""
    async with cloud(threads=3) as world:
        world.sim.faults.add("slow_reply", seconds=0.05)
        await asyncio.gather(*(world.raw("listZones") for _ in range(12)))
        assert sum(thread.name.startswith("cloudstack") for thread in threading.enumerate()) <= 3


@on_loop
async def test_tenants_do_not_get_each_others_keys():
    """Many calls of several tenants share few threads."""
    async with cloud(threads=2) as world:
        accounts = ["demo", "other", "branch-user"] * 20
        found = await asyncio.gather(
            *(world.driver.identity.whoami(world.credentials(account)) for account in accounts)
        )
        assert [account.name for account in found] == accounts


@on_loop
async def test_a_cookie_of_one_tenant_is_not_sent_for_another():
    """CloudStack opens sessions; a thread's connection serves everybody."""

    async def behave(_reader, writer, _number):
        body = b'{"listzonesresponse":{}}'
        head = f"HTTP/1.1 200 OK\r\nSet-Cookie: JSESSIONID=abc; Path=/\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    async with raw_server(behave) as server:
        transport = Transport(parse({"url": server.url, "threads": 1}))
        await transport.call(KEYS, "listZones")
        await transport.call(KEYS, "listZones")
        await transport.close()
    assert "Cookie" not in server.requests[1]


@pytest.mark.parametrize("code", [*BY_CODE, 433, 436, 538, 539, 599])
@on_loop
async def test_every_error_code_has_a_meaning(code):
    """Known ones by the table; a new one by its hundred."""
    text = {"uuidList": [], "errorcode": code, "cserrorcode": 4350, "errortext": f"It is {code}."}
    async with raw_server(answer(f"{code} Error", json.dumps({"listzonesresponse": text}))) as server:
        error = await failed(server.url)
    expected = BY_CODE.get(code, errors.Invalid if code < 500 else errors.Failed)
    assert type(error) is expected
    assert error.message == f"It is {code}."
    assert error.detail == f"listZones: errorcode {code}, cserrorcode 4350"


@pytest.mark.parametrize("form", ["{}", '{{"listzonesresponse": {{"errorcode": 530, "errortext": "{}"}}}}'])
@on_loop
async def test_a_server_that_repeats_what_was_sent_is_not_quoted(form):
    """Neither the pair nor the signature, which is good for the same call once more."""

    async def behave(reader, writer, number):
        sent = f"{KEYS.secret_key} {server.requests[-1].splitlines()[-1]}"
        assert "signature=" in sent and KEYS.api_key in sent
        await answer("530 Error", form.format(sent))(reader, writer, number)

    async with raw_server(behave) as server:
        error = await failed(server.url)
    assert "***" in said(error)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("502 Bad Gateway", "<html><body>" + "no " * 5000 + "</body></html>", errors.Unavailable),
        ("503 Busy", "", errors.Unavailable),
        ("404 Not Found", "<h1>404</h1>", errors.Unavailable),
        ("302 Found", "", errors.Unavailable),
        ("500 Oops", "[" * 100_000, errors.Unavailable),
        ("500 Oops", "[]", errors.Unavailable),
        ("500 Oops", '{"x":3}', errors.Unavailable),
        ("500 Oops", "{}", errors.Unavailable),
        ("401 No", "", errors.Unauthenticated),
        ("401 No", "<html>", errors.Unauthenticated),
        ("200 OK", "", errors.Unavailable),
        ("200 OK", "<html>hello</html>", errors.Unavailable),
        ("200 OK", '{"listzonesresponse":{"count":', errors.Unavailable),
        ("200 OK", "[]", errors.Unavailable),
        ("200 OK", "7", errors.Unavailable),
        ("200 OK", "null", errors.Unavailable),
        ("200 OK", '"listzonesresponse"', errors.Unavailable),
        ("200 OK", '{"otherresponse":{}}', errors.Unavailable),
        ("200 OK", '{"listzonesresponse":[]}', errors.Unavailable),
        ("200 OK", '{"listzonesresponse":null}', errors.Unavailable),
        ("200 OK", "[" * 100_000, errors.Unavailable),
        ("200 OK", b"\xff\xfe\x00\x01", errors.Unavailable),
        ("200 OK", '{"listzonesresponse":{"errorcode":431,"errortext":"no"}}', errors.Invalid),
    ],
)
@on_loop
async def test_nonsense_is_an_error_of_ours(status, body, kind):
    """Proxies, half-started servers and wrong endpoints answer too; none may pass for an empty list."""
    async with raw_server(answer(status, body, "text/html")) as server:
        error = await failed(server.url)
    assert type(error) is kind
    assert len(error.message) < 200
    assert len(error.detail) < 400


@on_loop
async def test_nobody_listening_is_unavailable():
    """CloudStack is down."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        error = await failed(f"http://127.0.0.1:{free.getsockname()[1]}/client/api")
    assert type(error) is errors.Unavailable
    assert "errno 111" in error.detail


@on_loop
async def test_an_unknown_host_is_unavailable():
    """A slip in the settings."""
    error = await failed("http://no-such-host.invalid/client/api", timeout_seconds=10)
    assert type(error) is errors.Unavailable


@on_loop
async def test_a_reset_connection_is_unavailable():
    """It restarts under our feet."""
    async with raw_server(reset) as server:
        error = await failed(server.url)
    assert type(error) is errors.Unavailable


@pytest.mark.parametrize("behaviour", [silence, drip])
@on_loop
async def test_waiting_has_an_end(behaviour):
    """Both when nothing comes and when something always does."""
    async with raw_server(behaviour) as server:
        start = time.monotonic()
        error = await failed(server.url)
        assert time.monotonic() - start < 10
    assert type(error) is errors.Timeout
    assert error.message == "CloudStack gave no answer within 0.5 seconds"


@on_loop
async def test_a_huge_answer_is_not_read_to_its_end():
    """Nor one that is small only until it is unpacked."""
    async with raw_server(answer("200 OK", " " * 3_000_000)) as server:
        error = await failed(server.url, reply_limit_bytes=1_000_000)
    assert type(error) is errors.Unavailable
    assert error.message == "CloudStack's answer is too large"

    packed = gzip.compress(b" " * 3_000_000)

    async def behave(_reader, writer, _number):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)

    async with raw_server(behave) as server:
        error = await failed(server.url, reply_limit_bytes=1_000_000)
    assert error.message == "CloudStack's answer is too large"


@on_loop
async def test_reads_are_tried_again_and_writes_are_not():
    """Whether a lost write took effect is not known here; the operation's journal finds out."""

    async def behave(reader, writer, number):
        if number < 3:
            writer.transport.abort()
        else:
            await answer("200 OK", '{"listzonesresponse":{}}')(reader, writer, number)

    async with raw_server(behave) as server:
        assert await call(server.url, retries=2) == {}
        assert len(server.requests) == 3
    async with raw_server(behave) as server:
        await failed(server.url, "deployVirtualMachine", retries=2)
        assert len(server.requests) == 1


@on_loop
async def test_being_asked_too_often_is_waited_out():
    """CloudStack's rate limit refuses before it does anything, so even a write may be tried again."""
    refused = '{"deployvirtualmachineresponse":{"errorcode":429,"errortext":"slow down"}}'

    async def behave(reader, writer, number):
        replies = answer("429 Busy", refused), answer("200 OK", '{"deployvirtualmachineresponse":{"jobid":"j"}}')
        await replies[number > 2](reader, writer, number)

    async with raw_server(behave) as server:
        assert await call(server.url, "deployVirtualMachine", retries=2) == {"jobid": "j"}
    async with raw_server(answer("429 Busy", refused)) as server:
        error = await failed(server.url, "deployVirtualMachine", retries=1)
        assert (type(error), error.message, len(server.requests)) == (errors.Throttled, "slow down", 2)


@on_loop
async def test_a_call_that_is_cancelled_gives_its_thread_back():
    """Clients hang up all the time."""
    async with cloud(threads=2, timeout_seconds=5) as world:
        world.sim.faults.add("slow_reply", seconds=0.2, times=2)
        tasks = [asyncio.ensure_future(world.raw("listZones")) for _ in range(20)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (await world.raw("listZones"))["count"] == 2
        assert len(list(world.sim.calls)) < 15  # those that waited for a thread were never sent


@on_loop
async def test_waiting_for_a_thread_counts_as_waiting():
    """Else a dead CloudStack would hold up each call for longer than the one before."""
    async with raw_server(silence) as server:
        bounds = {"timeout_seconds": 0.5, "queue_seconds": 0.2, "retries": 0, "threads": 1}
        transport = Transport(parse({"url": server.url, **bounds}))
        start = time.monotonic()
        found = await asyncio.gather(*(transport.call(KEYS, "listZones") for _ in range(10)), return_exceptions=True)
        assert time.monotonic() - start < 4.5  # half a second for each would be five
        assert [type(error) for error in found] == [errors.Timeout] + 9 * [errors.Overloaded]
        await transport.close()


@on_loop
async def test_a_fence_is_passed_before_each_change():
    """After the wait for a thread, as late as can be; what it stops is not sent, and its thread is free."""

    class TakenOver(Exception):
        pass

    async def fence() -> None:
        raise TakenOver

    async with cloud(threads=1) as world:
        with fenced(fence):
            for _ in range(3):
                with pytest.raises(TakenOver):
                    await world.raw("createVolume", name="data")
            assert (await world.raw("listZones"))["count"] == 2
        assert world.sim.call_counts["createVolume"] == 0


@on_loop
async def test_a_closed_transport_says_so():
    """Requests may still be under way when the server stops."""
    transport = Transport(parse({"url": "http://127.0.0.1:9/client/api"}))
    await transport.close()
    with pytest.raises(errors.Unavailable):
        await transport.call(KEYS, "listZones")


@on_loop
async def test_wrong_keys_are_told_apart():
    """CloudStack says 401 to all of them."""
    async with cloud() as world:
        for keys in (Credentials("nobody", "x"), Credentials("demo-api-key", "wrong")):
            with pytest.raises(errors.Unauthenticated):
                await world.driver.identity.whoami(keys)


@on_loop
async def test_a_certificate_that_is_not_trusted_is_refused(tmp_path):
    """`https` that is not checked is no better than `http`."""
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with raw_server(answer("200 OK", '{"listzonesresponse":{}}'), context) as server:
        error = await failed(server.url)
        assert type(error) is errors.Unavailable
        assert "SSLCertVerificationError" in error.detail
        assert await call(server.url, ca_file=str(certificate)) == {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # urllib3's own, of unchecked certificates
            assert await call(server.url, verify_tls=False) == {}


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
