"""SIGHUP: a server that runs reads its key file and its certificate anew, and nobody notices."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gceshim.auth import keyring
from gceshim.commands import certificates
from tests.command_line import (
    DEADLINE_SECONDS,
    Process,
    environment,
    fetch,
    gceshim,
    running,
    settings_file,
)


class Here:
    """A home with settings, stored credentials, and a key file."""

    def __init__(self, home: Path, cloud: Mapping[str, str], more: str = "") -> None:
        self.home = home
        self.config = settings_file(home, cloud, more)
        self.key_file = home / "state" / "gceshim" / "master.key"
        words = ("credentials", "add", "alice", "--api-key", cloud["api_key"], "--secret-key-stdin")
        self.said(*words, stdin=cloud["secret_key"] + "\n")

    def said(self, *words: str, **more: str) -> str:
        """What a command prints that works."""
        done = gceshim(self.home, *words, "--config", str(self.config), **more)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def token(self, **more: str) -> str:
        return self.said("credentials", "token", "alice", **more).strip()

    def keys_of_servers(self) -> list[list[str]]:
        """The ids of the keys that each process accepts, as the store has it."""
        return [server["keys"] for server in json.loads(self.said("store", "status", "--json"))["servers"]]

    @contextlib.contextmanager
    def serving(self, *words: str) -> Iterator[tuple[Process, str]]:
        """A server, and where it is."""
        with running(self.home, "serve", "--config", str(self.config), *words) as server:
            yield server, server.wait_for(r"(https?://127\.0\.0\.1:\d+), driver")[1]
            assert server.stop() == 0


def hang_up(server: Process) -> None:
    """Send SIGHUP, and wait until one process more has read its files."""
    before = len(re.findall("SIGHUP: the master key in use is", server.output))
    server.process.send_signal(signal.SIGHUP)
    until_so(lambda: len(re.findall("SIGHUP: the master key in use is", server.output)) > before, server)


def until_so(is_so: Callable[[], object], server: Process) -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < until, server.output
        assert server.process.poll() is None, server.output
        time.sleep(0.02)


def zones(url: str, token: str) -> int:
    """The status of a call with this token."""
    return fetch(f"{url}/compute/v1/projects/default/zones", token)[0]


def base64_of(line: str) -> str:
    return line.split(maxsplit=1)[0]


def test_a_whole_change_of_keys_takes_no_restart(tmp_path: Path, cloud: Mapping[str, str]) -> None:
    """Tokens of either key are good as long as they should be, and what the old key signs later is worth nothing."""
    here = Here(tmp_path, cloud)
    old = base64_of(here.key_file.read_text())
    with here.serving() as (server, url):
        token = here.token()
        pid = str(server.process.pid)
        assert f"process {pid}" in here.said("store", "rotate-key")
        hang_up(server)
        until_so(lambda: len(here.keys_of_servers()[0]) == 2, server)
        assert "still use the key from before" in here.said("store", "rotate-key")
        hang_up(server)
        ring = keyring.load(here.key_file)
        assert f"SIGHUP: the master key in use is {ring.current.id}" in server.output
        until_so(lambda: here.keys_of_servers() == [[key.id for key in ring.keys]], server)
        newer = here.token()
        assert (zones(url, token), zones(url, newer)) == (200, 200)
        here.said("store", "rotate-key")
        told = here.said("store", "rotate-key", "--finish", "--revoke-tokens")
        assert f"process {pid}" in told
        new = base64_of(here.key_file.read_text())
        stolen = here.token(GCESHIM_AUTH_MASTER_KEY=f"{old} current, {new} old")
        assert zones(url, stolen) == 200
        hang_up(server)
        until_so(lambda: zones(url, stolen) == 401, server)  # an answer is good for half a second
        assert zones(url, newer) == 200
        until_so(lambda: here.keys_of_servers() == [[ring.current.id]], server)


def test_what_is_wrong_with_a_key_file_changes_nothing(tmp_path: Path, cloud: Mapping[str, str]) -> None:
    """A mistake while copying must not end a server, nor make it one that can read nothing that is stored."""
    here = Here(tmp_path, cloud)
    content = here.key_file.read_text()
    other = keyring.KeyRing(keyring.load(here.key_file).current).with_next().promoted().without_old()
    with here.serving() as (server, url):
        token = here.token()

        def told(complaint: str) -> None:
            hang_up(server)
            assert re.search(rf"ERROR .*SIGHUP: .*{complaint}; what was read before stays in use", server.output)
            assert zones(url, token) == 200

        here.key_file.write_text("no-base-64!")
        told("not base64")
        here.key_file.unlink()
        told("No such file or directory")
        assert not here.key_file.exists()
        here.key_file.touch(0o600)
        keyring.save(here.key_file, other)
        told("it holds none of the keys in use")
        here.key_file.write_text(content)
        hang_up(server)
        assert zones(url, token) == 200


def make_certificate(folder: Path) -> bytes:
    """A new pair in the place of the one that is there; its certificate as it goes over the wire."""
    now = datetime.now(UTC)
    authority = certificates.make_authority(["127.0.0.1"], now)
    made = certificates.make_server(authority, ["127.0.0.1"], now, 10)
    (folder / "server.pem").write_text(made.certificate_pem)
    (folder / "server-key.pem").write_text(made.key_pem)
    return ssl.PEM_cert_to_DER_cert(made.certificate_pem)


def shown_certificate(url: str) -> bytes:
    """What a new connection is shown."""
    host, port = url.removeprefix("https://").split(":")
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port))))


def test_a_new_certificate_is_shown_to_new_connections_and_breaks_no_old_one(
    tmp_path: Path, cloud: Mapping[str, str]
) -> None:
    """They are good for a year at most, and a restart each time would be one too many."""
    first = make_certificate(tmp_path)
    files = (tmp_path / "server.pem", tmp_path / "server-key.pem")
    here = Here(tmp_path, cloud, f"tls_certificate = '{files[0]}'\ntls_key = '{files[1]}'")
    with here.serving() as (server, url):
        assert shown_certificate(url) == first
        trusting = ssl.create_default_context()
        trusting.check_hostname = False
        trusting.verify_mode = ssl.CERT_NONE
        kept = http.client.HTTPSConnection(url.removeprefix("https://"), context=trusting, timeout=DEADLINE_SECONDS)
        with contextlib.closing(kept):
            kept.request("GET", "/healthz")
            assert kept.getresponse().read()
            own_end = kept.sock
            second = make_certificate(tmp_path)
            hang_up(server)
            assert shown_certificate(url) == second
            files[1].write_text("no key")
            hang_up(server)
            assert "cannot be used" in server.output
            assert shown_certificate(url) == second
            kept.request("GET", "/healthz")
            assert kept.getresponse().status == 200
            assert kept.sock is own_end


def test_each_of_several_workers_reads_anew_even_one_that_has_just_begun(
    tmp_path: Path, cloud: Mapping[str, str]
) -> None:
    """The signal goes to the first process; by itself it would end a worker that is not yet prepared for it."""
    here = Here(tmp_path, cloud, "workers = 2")
    here.said("store", "rotate-key")
    with here.serving() as (server, url):
        until_so(lambda: server.output.count(", driver") == 2, server)
        token = here.token()
        pids = {entry["pid"] for entry in json.loads(here.said("store", "status", "--json"))["servers"]}
        assert len(pids) == 2
        here.said("store", "rotate-key", "--force")
        os.kill(min(pids), signal.SIGKILL)

        def another_has_begun() -> bool:
            server.process.send_signal(signal.SIGHUP)
            return server.output.count(", driver") == 3

        until_so(another_has_begun, server)
        server.process.send_signal(signal.SIGHUP)
        ring = keyring.load(here.key_file)

        def all_changed() -> bool:
            alive = [keys for keys in here.keys_of_servers() if keys[0] == ring.current.id]
            return len(alive) >= 2

        until_so(all_changed, server)
        assert zones(url, token) == 200
        ended = re.findall(r"has ended: (.*?);", server.output)
        assert ended == ["signal 9"]


@contextlib.contextmanager
def on_a_terminal(here: Here, *words: str) -> Iterator[tuple[Process, int]]:
    """A server whose standard input is a terminal, and the other end of that."""
    outer, inner = os.openpty()
    command = [sys.executable, "-m", "gceshim", "serve", "--config", str(here.config), *words]
    process = subprocess.Popen(
        command, env=environment(here.home), stdin=inner, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.close(inner)
    server = Process(process)
    try:
        server.wait_for(", driver")
        yield server, outer
    finally:
        if process.poll() is None:
            process.kill()
        server.ended()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_terminal_that_is_closed_ends_the_server(tmp_path: Path, cloud: Mapping[str, str], workers: str) -> None:
    """Who has closed the window does not expect that the port is still taken."""
    here = Here(tmp_path, cloud)
    with on_a_terminal(here, "--workers", workers) as (server, outer):
        hang_up(server)
        os.close(outer)
        assert server.stop(signal.SIGHUP) == 0
        assert "SIGHUP: stopping" in server.output
