"""Several processes behind one port, and the one that looks after them: real processes, real signals."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import (
    DEADLINE_SECONDS,
    Process,
    complaint,
    environment,
    fetch,
    gceshim,
    running,
    settings_file,
    simulated_cloud,
)
from tests.resources.requests import insert_body

ZONE = "projects/demo/zones/sandbox-1-a"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory) -> Iterator[dict[str, str]]:
    """A simulated cloud in which a machine takes a while to be made."""
    home = tmp_path_factory.mktemp("cloud")
    (home / "simulator.toml").write_text("job_seconds = 1.5\n")
    with simulated_cloud(home, "--config", "simulator.toml") as cloud:
        yield cloud


class Workers:
    """`serve --workers 2`, with what its log tells of its processes."""

    def __init__(self, process: Process, token: str) -> None:
        self.process = process
        self.token = token
        self.until(lambda: len(self.pids()) == 2)
        self.url = re.search(r"gceshim \S+: (http://127\.0\.0\.1:\d+)", process.output)[1]

    def records(self, pattern: str) -> list[dict[str, Any]]:
        """The log's records whose message matches, oldest first."""
        found = [json.loads(line) for line in list(self.process.errors) if line.startswith("{")]
        return [record for record in found if re.search(pattern, record["message"])]

    def told_of_itself(self) -> str:
        """The log without its requests, for whoever reads why a test failed."""
        return "".join(line for line in self.process.errors if '"message": "request' not in line)

    def pids(self) -> list[int]:
        """The workers that have begun to serve, oldest first."""
        return [record["pid"] for record in self.records("^gceshim .* driver cloudstack")]

    def until(self, told: Callable[[], object]) -> None:
        """Wait until it is so."""
        until = time.monotonic() + DEADLINE_SECONDS
        while not told():
            assert time.monotonic() < until, self.told_of_itself()
            assert self.process.process.poll() is None, self.process.output
            time.sleep(0.02)

    def get(self, path: str) -> tuple[int, Mapping[str, Any]]:
        """A read, on a connection of its own, that is tried again if a worker dies under it."""
        for attempt in range(3):
            try:
                status, _, body = fetch(f"{self.url}/compute/v1/{path}", self.token)
            except (ConnectionError, http.client.HTTPException, OSError):
                if attempt == 2:
                    raise
            else:
                return status, body
        raise AssertionError

    def post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """A change that is accepted."""
        status, _, answer = fetch(f"{self.url}/compute/v1/{path}", self.token, data=json.dumps(body).encode())
        assert status == 200, answer
        return answer


def prepared(home: Path, cloud: Mapping[str, str], more: str = "") -> tuple[Path, str]:
    """A settings file, stored credentials and a token for them."""
    config = settings_file(home, cloud, f"workers = 2\n{more}")
    words = ("credentials", "add", "alice", "--config", str(config), "--api-key", cloud["api_key"])
    assert gceshim(home, *words, "--secret-key-stdin", stdin=cloud["secret_key"] + "\n").returncode == 0
    return config, gceshim(home, "credentials", "token", "alice", "--config", str(config)).stdout.strip()


def gone(pid: int) -> bool:
    """Whether a process has ended: one that only waits to be reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until_gone(pids: list[int]) -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while not all(map(gone, pids)):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_worker_that_is_killed_is_replaced_and_its_operations_end(tmp_path, cloud):
    """The rest goes on meanwhile, nothing is done twice, and in the end all stop as they are told."""
    config, token = prepared(tmp_path, cloud, "[operations]\nlease_seconds = 2\n[log]\nformat = 'json'")
    with running(tmp_path, "serve", "--config", str(config)) as process:
        workers = Workers(process, token)
        first = workers.pids()
        names = [f"vm-{number}" for number in range(7)]
        workers.post(f"{ZONE}/instances", insert_body(names[0]))  # makes the network for all
        workers.until(lambda: workers.records("^operation .*: done"))
        begun = [workers.post(f"{ZONE}/instances", insert_body(name)) for name in names[1:]]
        workers.until(lambda: len(workers.records("^operation .*: begun")) == len(names))
        victim = workers.records("^operation .*: begun")[1]["pid"]
        os.kill(victim, signal.SIGKILL)

        done = {}
        until = time.monotonic() + DEADLINE_SECONDS
        while len(done) < len(begun) and time.monotonic() < until:
            for operation in begun:
                status, body = workers.get(f"{ZONE}/operations/{operation['name']}")
                assert status == 200
                if body["status"] == "DONE":
                    done[operation["name"]] = body.get("error")
            time.sleep(0.05)
        assert done == {operation["name"]: None for operation in begun}, workers.told_of_itself()
        workers.until(lambda: len(workers.pids()) == 3)
        assert set(first) < set(workers.pids())
        assert workers.records("^operation .*: taken over")

        status, body = workers.get(f"{ZONE}/instances")
        assert (status, sorted(item["name"] for item in body["items"])) == (200, names)
        assert process.stop(signal.SIGTERM) == 0
        until_gone(workers.pids())
    assert list((tmp_path / "run" / "gceshim").iterdir()) == []


def test_workers_share_a_port_and_tell_their_metrics_each(tmp_path, cloud):
    """`gceshim env` finds them as one server; whoever scrapes finds each."""
    config, token = prepared(tmp_path, cloud, "drain_seconds = 0.2\n[log]\nformat = 'json'")
    with running(tmp_path, "serve", "--config", str(config), GCESHIM_SERVER_METRICS_PORT=str(two_ports())) as process:
        workers = Workers(process, token)
        values = json.loads(gceshim(tmp_path, "env", "--json").stdout)
        assert values["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"] == f"{workers.url}/compute/v1/"

        def both() -> bool:
            assert workers.get("projects/demo")[0] == 200
            return len({record["pid"] for record in workers.records("compute.projects.get")}) == 2

        workers.until(both)
        counted = 0.0
        for record in workers.records("^metrics at"):
            text = scraped(re.search(r"http://\S+", record["message"])[0])
            line = r'^gceshim_requests_total\{method="compute.projects.get",status="200"\} (\S+)$'
            counted += float(re.search(line, text, re.MULTILINE)[1])
        assert counted == len(workers.records("compute.projects.get"))

        # At times the system gives one process alone its processors.
        shares = [Counter[int]()]
        while min(shares[-1][pid] for pid in workers.pids()) < 3:
            assert len(shares) <= 10, shares
            before = len(workers.records(" discovery 200 "))
            fetch_at_once(workers, 30)
            workers.until(lambda: len(workers.records(" discovery 200 ")) == before + 30)  # noqa: B023 - called at once
            shares.append(Counter(record["pid"] for record in workers.records(" discovery 200 ")[before:]))

        process.process.send_signal(signal.SIGTERM)
        for pid in workers.pids():  # as systemd does: to each of them beside
            os.kill(pid, signal.SIGTERM)
        assert process.ended() == 0
        until_gone(workers.pids())


def fetch_at_once(workers, count):
    """The discovery directory, over as many connections at once."""
    pool = [http.client.HTTPConnection(workers.url.split("/")[2], timeout=30) for _ in range(count)]
    for connection in pool:
        connection.connect()
    for connection in pool:
        connection.request("GET", "/discovery/v1/apis")
    assert {connection.getresponse().status for connection in pool} == {200}
    for connection in pool:
        connection.close()


def test_workers_stop_when_who_looks_after_them_is_gone(tmp_path, cloud):
    """Else they would hold the port, out of anybody's sight."""
    config, token = prepared(tmp_path, cloud, "[log]\nformat = 'json'")
    with running(tmp_path, "serve", "--config", str(config)) as process:
        workers = Workers(process, token)
        pids = workers.pids()
        process.process.kill()
        try:
            until_gone(pids)
        finally:  # who holds its output would be waited for in vain
            for pid in pids:
                if not gone(pid):
                    os.kill(pid, signal.SIGKILL)


def test_told_twice_to_stop_workers_are_killed(tmp_path, cloud):
    """Whoever stands before it and does not want to wait for the end of the draining."""
    config, token = prepared(tmp_path, cloud, "drain_seconds = 300\n[log]\nformat = 'json'")
    with running(tmp_path, "serve", "--config", str(config)) as process:
        workers = Workers(process, token)
        process.process.send_signal(signal.SIGTERM)
        process.wait_for("SIGTERM: stopping the workers")
        assert process.stop(signal.SIGINT) == 1
        until_gone(workers.pids())


def test_what_keeps_all_workers_from_serving_ends_the_command(tmp_path, cloud):
    """A mistake in the settings is told once, before there are any; a store that cannot be used, with a failure."""
    config, _ = prepared(tmp_path, cloud)
    assert complaint(gceshim(tmp_path, "serve", "--config", str(config), GCESHIM_DRIVER_NAME="nosuch"), 2)
    (tmp_path / "other.sqlite").write_text("This is no database.")
    done = gceshim(tmp_path, "serve", "--config", str(config), GCESHIM_STORE_PATH=str(tmp_path / "other.sqlite"))
    assert done.returncode == 1
    assert "gceshim: store.path" in done.stderr
    assert "Traceback" not in done.stderr


DYING = """
import logging
from gceshim.commands.supervisor import Post, Supervisor

def work(post: Post) -> int:
    post.ready()
    return 3

logging.basicConfig(format="%(message)s")
raise SystemExit(Supervisor(1, work, stop_seconds=30, ready=lambda: None, stopping=lambda: None).run())
"""


def test_a_worker_that_dies_again_and_again_is_replaced_ever_more_slowly(tmp_path):
    """Each start costs a process and a look at the store; what is wrong will not be mended in a second."""
    process = subprocess.Popen(
        [sys.executable, "-c", DYING],
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    command = Process(process)
    try:
        command.wait_for("another begins in 2.0 s")
        assert command.stop(signal.SIGTERM) == 0
    finally:
        process.kill()
        command.ended()
        for stream in (process.stdout, process.stderr):
            stream.close()
    told = re.findall(r"worker 0 .* has ended: status 3; another begins in (\S+) s", command.output)
    assert told == ["0.5", "1.0", "2.0"]


def two_ports() -> int:
    """A free port whose next one is free as well."""
    for _ in range(100):
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                other.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise AssertionError


def scraped(url: str) -> str:
    """The metrics of one worker."""
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return text
