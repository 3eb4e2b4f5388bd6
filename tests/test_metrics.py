"""What an operator sees: metrics, health, the log; and what nobody may see there."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import tornado.web
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from gceshim.app import handlers
from gceshim.commands.logs import JsonFormatter, TextFormatter, TraceFilter
from gceshim.observe.health import Health
from gceshim.protocol.discovery import Document
from gceshim.testing.gce import Gce
from gceshim.testing.world import World
from tests.command_line import DEADLINE_SECONDS, gceshim, running, settings_file, simulated_cloud
from tests.resources.requests import HERE, insert_body, made

pytestmark = pytest.mark.gen_test

SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? ([0-9.e+-]+|NaN|\+Inf)$")


def metrics(world: World) -> dict[str, dict[str, float]]:
    """The samples of a server, by name and labels."""
    samples: dict[str, dict[str, float]] = {}
    for line in world.shim.instruments.metrics.text().decode().splitlines():
        if not line.startswith("#"):
            name, labels, value = SAMPLE.fullmatch(line).groups()
            samples.setdefault(name, {})[labels or ""] = float(value)
    return samples


async def fetched(url: str) -> tuple[int, Any]:
    """Status and body of a GET."""
    reply = await AsyncHTTPClient().fetch(url, raise_error=False)
    body = reply.body.decode()
    return reply.code, json.loads(body) if body.startswith("{") else body


async def test_metrics_tell_of_all_parts(world: World, gce: Gce) -> None:
    """Requests, calls to CloudStack, operations, jobs, the store, tokens, connections to spare, the loop."""
    await made(gce, insert_body("vm-1"))
    await gce.error("compute.instances.get", **HERE, instance="nope")
    await world.anonymous().error("compute.zones.list", project="demo")
    found = metrics(world)

    assert found["gceshim_requests_total"]['method="compute.instances.insert",status="200"'] == 1
    assert found["gceshim_requests_total"]['method="compute.instances.get",status="404"'] == 1
    assert found["gceshim_requests_total"]['method="compute.zones.list",status="401"'] == 1
    assert found["gceshim_request_seconds_count"]['method="compute.instances.insert"'] == 1
    assert found["gceshim_requests_in_flight"][""] == 0
    assert found["gceshim_backend_calls_total"]['command="deployVirtualMachine",outcome="ok"'] == 1
    assert found["gceshim_backend_seconds_count"]['command="deployVirtualMachine"'] == 1
    assert found["gceshim_backend_pool"] == {'state="slots"': 16, 'state="running"': 0, 'state="waiting"': 0}
    assert found["gceshim_backend_reachable"][""] == 1
    assert found["gceshim_operation_events_total"]['event="begun"'] == 1
    assert found["gceshim_operation_events_total"]['event="succeeded"'] == 1
    assert found["gceshim_operations"]['state="runs"'] == 0
    assert found["gceshim_job_polls_total"]['how="ask"'] >= 1
    assert found["gceshim_store_seconds_count"]['call="operations.insert"'] == 1
    assert found["gceshim_tokens_issued_total"]['kind="access"'] == 1
    assert found["gceshim_build_info"].popitem()[1] == 1
    assert 0 < found["process_open_fds"][""] <= found["process_max_fds"][""]
    assert found["process_resident_memory_bytes"][""] > 2**20
    assert "gceshim_event_loop_lag_seconds_count" in found


async def test_no_label_holds_what_callers_choose(world: World, gce: Gce) -> None:
    """Each new value of a label is a new row for ever: a caller could fill Prometheus, and the memory, at will."""
    for number in range(30):
        await gce.answer("compute.instances.get", project=f"project-{number}", zone="sandbox-1-a", instance="x-1")
        await gce.answer("compute.instances.get", **HERE, instance=f"name-{number}")
        await gce.send("GET", f"/compute/v1/nothing-{number}")
        await gce.send(f"VERB{number}", "/compute/v1/projects/demo")
    found = metrics(world)
    assert len(found["gceshim_requests_total"]) < 10
    assert not re.search(r"project-\d|name-\d|nothing|VERB|demo", world.shim.instruments.metrics.text().decode())


async def test_a_refusal_for_being_too_many_is_counted(tmp_path: Path, discovery: Document) -> None:
    """The first thing to look at when somebody complains."""
    strict = {"limits.burst": 1, "limits.requests_per_second": 0.1, "limits.patience_seconds": 0}
    async with World(tmp_path, discovery, overrides=strict) as world:
        gce = await world.gce()
        statuses = [(await gce.answer("compute.zones.list", project="demo")).status for _ in range(3)]
        assert statuses == [200, 429, 429]
        assert metrics(world)["gceshim_rate_limited_total"] == {'by="caller"': 2}


async def test_two_servers_in_one_process_count_apart(tmp_path: Path, discovery: Document) -> None:
    """Nothing is kept by the process as such."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with (
        World(tmp_path / "one", discovery) as one,
        World(tmp_path / "two", discovery) as two,
    ):
        await (await one.gce()).call("compute.zones.list", project="demo")
        assert "gceshim_requests_total" in metrics(one)
        assert "gceshim_requests_total" not in metrics(two)


async def test_metrics_are_not_where_callers_are(world: World) -> None:
    """How much is going on is not for everyone; whether it goes on at all is."""
    assert (await fetched(f"{world.url}/metrics"))[0] == 404
    assert await fetched(f"{world.url}/healthz") == (200, {"status": "ok"})
    status, body = await fetched(f"{world.url}/readyz")
    assert (status, body) == (200, {"status": "ready", "store": "ok", "backend": "unknown"})


async def test_readiness_hangs_on_the_store_and_not_on_the_cloud(world: World, gce: Gce) -> None:
    """A cloud that is down is down for every server: to take them all out would leave nobody to say so."""
    world.cloudstack.faults.add("connection_reset")
    await gce.answer("compute.disks.list", **HERE)
    assert await fetched(f"{world.url}/readyz") == (
        200,
        {"status": "ready", "store": "ok", "backend": "unreachable"},
    )
    assert metrics(world)["gceshim_backend_reachable"][""] == 0
    world.cloudstack.faults.clear()
    await gce.answer("compute.disks.list", **HERE)
    assert (await fetched(f"{world.url}/readyz"))[1]["backend"] == "ok"
    world.shim.drain()
    assert await fetched(f"{world.url}/readyz") == (503, {"status": "draining", "store": "ok", "backend": "ok"})
    assert (await gce.call("compute.zones.list", project="demo"))["items"]


def test_what_says_nothing_of_the_cloud_changes_nothing_that_is_known_of_it() -> None:
    """A call that was given up, or never begun, is no sign of life; a refusal is."""

    async def ping() -> None: ...

    health = Health(ping)
    for outcome, known in (
        ("cancelled", "unknown"),
        ("ok", "ok"),
        ("Timeout", "unreachable"),
        ("cancelled", "unreachable"),
        ("Overloaded", "unreachable"),
        ("Forbidden", "ok"),
        ("Unavailable", "unreachable"),
    ):
        health.backend_call(outcome)
        assert (outcome, health.backend) == (outcome, known)


async def test_a_store_that_does_not_answer_takes_the_server_out() -> None:
    """And probes do not wait for it for ever, nor press it."""
    asked = 0

    async def silence() -> None:
        nonlocal asked
        asked += 1
        raise ConnectionError

    health = Health(silence)
    found = await asyncio.gather(*(health.readiness() for _ in range(50)))
    assert {(one.ready, one.status, one.store) for one in found} == {(False, "not ready", "unreachable")}
    assert asked == 1


async def test_an_embedder_mounts_health_and_metrics_where_it_likes(world: World) -> None:
    """Beside pages of its own, which stay its own."""

    class Mine(tornado.web.RequestHandler):
        def get(self) -> None:
            self.finish("mine")

    shim = world.shim
    rules = [*handlers(shim, "/gce"), *shim.health_handlers("/gce"), *shim.metrics_handlers("/inside")]
    server = HTTPServer(tornado.web.Application([*rules, ("/healthz", Mine)]))
    socket, port = bind_unused_port()
    server.add_sockets([socket])
    try:
        url = f"http://127.0.0.1:{port}"
        assert await fetched(f"{url}/healthz") == (200, "mine")
        assert (await fetched(f"{url}/gce/healthz"))[0] == 200
        assert "gceshim_build_info" in (await fetched(f"{url}/inside/metrics"))[1]
    finally:
        server.stop()
        await server.close_all_connections()


# The log


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    """What is logged from here on, down to DEBUG, as objects."""
    records: list[dict[str, Any]] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            TextFormatter().format(record)
            records.append(json.loads(JsonFormatter().format(record)))

    handler = Kept()
    handler.addFilter(TraceFilter())
    logger = logging.getLogger("gceshim")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)
    logger.setLevel(before)


async def test_a_request_and_its_operation_are_told_of_under_one_id(
    log: list[dict[str, Any]], world: World, gce: Gce
) -> None:
    """From the caller's X-Request-Id to the job in CloudStack, whoever looks for what became of it."""
    answer = await gce.answer("compute.instances.insert", **HERE, body=insert_body("vm-1"))
    operation = await gce.done(answer.body)
    request_id = answer.headers["X-Request-Id"]
    mine = [record for record in log if record.get("request_id") == request_id]

    (line,) = [record for record in mine if record["message"].startswith("request ")]
    assert (line["method_id"], line["status"], line["subject"]) == ("compute.instances.insert", 200, "demo")
    assert line["backend_calls"] >= 1
    assert 0 < line["backend_milliseconds"] < 60_000
    about = [record["message"] for record in mine if record.get("operation") == operation["name"]]
    assert re.fullmatch(rf"operation {operation['name']}: begun: insert of \S+/instances/vm-1", about[0])
    assert re.fullmatch(rf"operation {operation['name']}: done after \S+ s, backend [1-9]\d* calls \S+ s", about[-1])
    assert any(re.fullmatch(r"job \S+ of \S+ is waited for", record["message"]) for record in mine)
    assert {record["level"] for record in log if record["message"].startswith("job ")} == {"debug"}


async def test_a_failed_operation_is_told_of_as_failed(log: list[dict[str, Any]], world: World, gce: Gce) -> None:
    """By its code, which is what one searches for."""
    world.cloudstack.faults.add("capacity", "deployVirtualMachine")
    await gce.done(await gce.call("compute.instances.insert", **HERE, body=insert_body("vm-1")))
    assert any(": failed: ZONE_RESOURCE_POOL_EXHAUSTED after " in record["message"] for record in log)
    assert metrics(world)["gceshim_operation_events_total"]['event="failed"'] == 1


def test_no_secret_is_in_anything_that_a_server_says(tmp_path: Path) -> None:
    """Keys, tokens, signatures: not in the log at its most talkative, not in answers, not in metrics."""
    with simulated_cloud(tmp_path) as cloud:
        more = "[log]\nlevel = 'debug'\n[auth]\nmaster_key = 'c2VjcmV0LW1hc3Rlci1rZXktc2VjcmV0LW1hc3Rlci0='"
        config = settings_file(tmp_path, cloud, more)
        words = ("credentials", "add", "alice", "--config", str(config), "--api-key", cloud["api_key"])
        assert gceshim(tmp_path, *words, "--secret-key-stdin", stdin=cloud["secret_key"] + "\n").returncode == 0
        token = gceshim(tmp_path, "credentials", "token", "alice", "--config", str(config)).stdout.strip()
        said: list[str] = []
        logs: list[str] = []
        for form in ("text", "json"):
            with running(tmp_path, "serve", "--config", str(config), GCESHIM_LOG_FORMAT=form) as server:
                url = server.wait_for(r"(http://\S+?)[,\s]")[1]
                zone = f"{url}/compute/v1/projects/demo/zones/sandbox-1-a"
                for path in (f"/instances?access_token={token}", "/disks", f"/instances/x-{'y' * 40}", "/nothing"):
                    said.append(answered(f"{zone}{path}", {"Authorization": f"Bearer {token}"}))
                body = json.dumps(
                    insert_body(f"vm-{form}", metadata={"items": [{"key": "password", "value": "hunter22"}]})
                )
                said.append(answered(f"{zone}/instances", {"Authorization": f"Bearer {token}"}, body.encode()))
                said.append(answered(f"{zone}/instances", {"Authorization": f"Bearer {token}x"}))
                form_body = f"grant_type=client_credentials&client_id={cloud['api_key']}&client_secret=wrong-secret-1"
                said.append(answered(f"{url}/oauth2/token", {}, form_body.encode()))
                server.wait_for(r"operation \S+: (done|failed)")
                assert server.stop(signal.SIGTERM) == 0
            logs.append(server.output)
    everything = "\n".join([*said, *logs])
    assert "operation-" in everything
    secrets = (cloud["secret_key"], cloud["api_key"], token, token.rpartition(".")[2], "c2VjcmV0", "wrong-secret-1")
    assert [secret for secret in secrets if secret in everything] == []
    assert not any("hunter22" in log for log in logs)


def answered(url: str, headers: Mapping[str, str], data: bytes | None = None) -> str:
    """All of an answer but what the caller sent to be kept."""
    kind = "application/json" if data is None or data.startswith(b"{") else "application/x-www-form-urlencoded"
    request = urllib.request.Request(url, headers={"Content-Type": kind, **headers}, data=data)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return f"{reply.headers}{reply.read().decode()}"
    except urllib.error.HTTPError as exc:
        with exc:
            return f"{exc.headers}{exc.read().decode()}"


# Stopping


def test_a_server_that_is_told_to_stop_says_so_before_it_does(tmp_path: Path) -> None:
    """A load balancer needs the time between the two; and nobody who waits for an operation holds it up."""
    with simulated_cloud(tmp_path, "--config", str(slow_jobs(tmp_path))) as cloud:
        config = settings_file(tmp_path, cloud, "drain_seconds = 1.5\nshutdown_seconds = 20\n")
        words = ("credentials", "add", "alice", "--config", str(config), "--api-key", cloud["api_key"])
        assert gceshim(tmp_path, *words, "--secret-key-stdin", stdin=cloud["secret_key"] + "\n").returncode == 0
        token = gceshim(tmp_path, "credentials", "token", "alice", "--config", str(config)).stdout.strip()
        with running(tmp_path, "serve", "--config", str(config)) as server:
            url = server.wait_for(r"(http://\S+?)[,\s]")[1]
            zone = f"{url}/compute/v1/projects/demo/zones/sandbox-1-a"
            bearer = {"Authorization": f"Bearer {token}"}
            begun = answered(f"{zone}/instances", bearer, json.dumps(insert_body("vm-1")).encode())
            name = re.search(r"operation-[0-9a-z-]+", begun)[0]
            waited: list[str] = []
            waiter = threading.Thread(
                target=lambda: waited.append(answered(f"{zone}/operations/{name}/wait", bearer, b"{}"))
            )
            waiter.start()
            server.wait_for(r"begun: insert")
            assert '"ready"' in answered(f"{url}/readyz", {})
            started = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            while '"draining"' not in answered(f"{url}/readyz", {}):
                assert time.monotonic() - started < DEADLINE_SECONDS
            assert '"sandbox-1-a"' in answered(zone, bearer)
            waiter.join(DEADLINE_SECONDS)
            assert name in waited[0]
            assert '"RUNNING"' in waited[0]
            server.process.send_signal(signal.SIGTERM)  # told twice, it ends at once, in the middle of its operation
            assert server.ended() == -signal.SIGTERM


def slow_jobs(folder: Path) -> Path:
    """Settings of a simulator in which a machine takes a minute."""
    file = folder / "simulator.toml"
    file.write_text("job_seconds = 60.0\n")
    return file
