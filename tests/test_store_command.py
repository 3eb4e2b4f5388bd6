"""`gceshim store`, run as an operator runs it: the state of a store, its schema, and a change of the master key."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gceshim import cli
from gceshim.auth.keyring import KeyRing, load, locked, save
from gceshim.stores.sqlite import SqliteStore
from tests.command_line import (
    DEADLINE_SECONDS,
    Process,
    complaint,
    environment,
    fetch,
    gceshim,
    running,
    settings_file,
)
from tests.stores import version_1
from tests.stores.contract import NOW, operation


class Installation:
    """A home with settings for the simulated cloud, the embedded store in it, and a master key beside it."""

    def __init__(self, home: Path, cloud: Mapping[str, str], more: str = "") -> None:
        self.home = home
        self.cloud = cloud
        self.config = settings_file(home, cloud, more)
        self.state = home / "state" / "gceshim"
        self.key_file = self.state / "master.key"
        self.store_file = self.state / "gceshim.sqlite"

    def run(self, *words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """A command, in this process: there are many of them, and a process each takes long."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patched:
            for name in [name for name in os.environ if name.startswith(("GCESHIM_", "XDG_"))]:
                patched.delenv(name)
            for name, value in environment(self.home, **more).items():
                patched.setenv(name, value)
            patched.setattr(sys, "stdin", io.StringIO(stdin))
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = cli.main([*words, "--config", str(self.config)])
        return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())

    def serve(self, **more: str) -> subprocess.CompletedProcess[str]:
        """A server that is not expected to start, in a process of its own, for the case that it does."""
        return gceshim(self.home, "serve", "--config", str(self.config), **more)

    def said(self, *words: str, **more: str) -> str:
        """What a command prints that works and complains of nothing."""
        done = self.run(*words, **more)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def add(self, name: str) -> None:
        words = ("credentials", "add", name, "--api-key", self.cloud["api_key"], "--secret-key-stdin")
        assert self.run(*words, stdin=self.cloud["secret_key"] + "\n").returncode == 0

    def token(self, name: str, **more: str) -> str:
        return self.said("credentials", "token", name, **more).strip()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.said("store", "status", "--json"))
        return found

    @contextlib.contextmanager
    def serving(self) -> Iterator[tuple[Process, str]]:
        """A server, and where it is."""
        with running(self.home, "serve", "--config", str(self.config), "--port", "0") as server:
            found = server.wait_for(r"(http://127\.0\.0\.1:\d+), driver")
            yield server, found[1]
            assert server.stop() == 0


def zones(url: str, token: str) -> int:
    """The status of a call with this token."""
    return fetch(f"{url}/compute/v1/projects/default/zones", token)[0]


def refused_soon(url: str, token: str) -> bool:
    """Whether calls with this token are refused before long: an answer is good for half a second."""
    until = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < until:
        if zones(url, token) == 401:
            return True
    return False


@pytest.fixture
def here(tmp_path: Path, cloud: Mapping[str, str]) -> Installation:
    """A fresh installation."""
    return Installation(tmp_path, cloud)


# What is there


def test_status_of_nothing_makes_nothing(here: Installation) -> None:
    """Looking is no change, and is no failure."""
    assert "none yet" in here.said("store", "status")
    assert not here.state.exists()


def test_status_tells_what_is_there_and_who_uses_it(here: Installation) -> None:
    """Counts, keys and servers, for people and for monitoring; no secret."""
    here.add("alice")
    token = here.token("alice")
    with here.serving() as (server, url):
        assert zones(url, token) == 200
        asyncio.run(run_operation(here.store_file, here.status()["servers"][0]["name"]))
        found = here.status()
        shown = here.said("store", "status")
    key = load(here.key_file).current
    assert (found["kind"], found["where"], found["schema"]) == ("sqlite", str(here.store_file), 2)
    assert (found["credentials"], found["service_accounts"], found["tokens"]) == (1, 0, {"access": 1})
    assert found["operations"] == {"running": 1, "waiting": 0, "done": 0}
    assert found["oldest_unfinished"].startswith("2096-03-04T05:06:07")
    [lease] = found["leases"]
    assert (lease["operations"], lease["server"].endswith(f"process {server.process.pid}")) == (1, True)
    assert f"1 run by {lease['server']}" in shown
    [used] = found["keys"]
    assert (used["id"], used["part"], used["credentials"], used["tokens"]) == (key.id, "current", 1, 1)
    [running_server] = found["servers"]
    assert (running_server["pid"], running_server["keys"]) == (server.process.pid, [key.id])
    for text in (f"process {server.process.pid}", key.id, "1 access", str(here.store_file)):
        assert text in shown
    secrets = (token, base64.b64encode(key.secret).decode(), here.cloud["secret_key"], here.cloud["api_key"])
    assert not any(secret in shown + json.dumps(found) for secret in secrets)


async def run_operation(file: Path, holder: str) -> None:
    """What a server has in the store while it runs an operation."""
    store = SqliteStore(file)
    await store.open()
    await store.operations.insert(operation(lease_holder=holder, lease_until=NOW))
    await store.close()


def test_a_key_that_records_need_and_nobody_has_is_told(here: Installation) -> None:
    """The wrong key file was copied: better seen here than by users."""
    here.add("alice")
    lost = load(here.key_file).current
    here.key_file.unlink()
    load(here.key_file)
    assert {"id": lost.id, "part": "missing", "credentials": 1, "operations": 0, "tokens": 0, "tokens_until": None} in (
        here.status()["keys"]
    )


def test_status_shows_no_password_of_a_database(here: Installation, mongodb_uri: str) -> None:
    """It is printed, and pasted into reports."""
    secret = mongodb_uri.replace("mongodb://", "mongodb://me:geheim@", 1)
    done = here.run("store", "status", GCESHIM_STORE_MONGODB_URI=secret, GCESHIM_STORE_MONGODB_TIMEOUT_SECONDS="2")
    assert "geheim" not in done.stdout + done.stderr


# Schema


def test_an_older_file_is_told_of_and_migrated(here: Installation) -> None:
    """`status` leaves it alone and fails, so that monitoring sees it; `migrate` may be repeated."""
    here.state.mkdir(parents=True)
    version_1.make_file(here.store_file)
    done = here.run("store", "status")
    assert (done.returncode, "gceshim store migrate" in done.stdout) == (1, True)
    assert here.run("store", "status").returncode == 1
    assert "schema 2, was 1" in here.said("store", "migrate")
    assert "schema 2 as before" in here.said("store", "migrate")
    assert here.status()["tokens"] == {"access": 1}


def test_an_older_database_stops_a_server_until_it_is_migrated(here: Installation, mongodb_uri: str) -> None:
    """Servers of two releases may share it, so that is the operator's to do; the line says how."""
    name = f"cli_{uuid.uuid4().hex[:12]}"
    version_1.make_database(mongodb_uri, name)
    where = {
        "GCESHIM_STORE_MONGODB_URI": mongodb_uri,
        "GCESHIM_STORE_MONGODB_DATABASE": name,
        "GCESHIM_STORE_MONGODB_STANDALONE": "true",
    }
    line = complaint(here.serve(**where), 1)
    assert line.startswith("gceshim: store.mongodb_uri: the database has schema 1, and this release works with 2;")
    assert line.endswith("run: gceshim store migrate")
    doctor = here.run("doctor", **where)
    assert (doctor.returncode, "schema 1" in doctor.stdout, "gceshim store migrate" in doctor.stdout) == (1, True, True)
    assert "schema 2, was 1" in here.said("store", "migrate", **where)
    assert re.search(rf"store: mongodb, .*database {name}", here.run("doctor", **where).stdout)
    assert f"database {name}" in here.said("store", "status", **where)


def test_a_single_mongodb_server_is_refused_with_what_to_do(here: Installation, mongodb_uri: str) -> None:
    """One line, before a port is bound."""
    line = complaint(here.serve(GCESHIM_STORE_MONGODB_URI=mongodb_uri), 1)
    assert "store.mongodb_standalone = true" in line


# Keys


def test_a_change_of_keys_on_one_machine_is_not_noticed_by_clients(here: Installation) -> None:
    """Each step, with the restarts that it asks for; old tokens are good until they are revoked with the old key."""
    here.add("alice")
    first = load(here.key_file)
    token = here.token("alice")
    with here.serving() as (server, url):
        told = here.said("store", "rotate-key")
        assert f"process {server.process.pid}" in told
        assert "restart them" in told
        assert here.said("store", "rotate-key").endswith(told.partition("\n")[2])
        assert zones(url, token) == 200
    second = load(here.key_file)
    assert (second.current, second.following is None) == (first.current, False)
    with here.serving() as (server, url):
        told = here.said("store", "rotate-key")
        third = load(here.key_file)
        assert (third.current, third.old) == (second.following, (first.current,))
        assert "still use the key from before" in told
        assert zones(url, token) == 200
        refused = complaint(here.run("store", "rotate-key", "--finish"), 1)
        assert f"restart them: {server_name(told)}" in refused
    with here.serving() as (_, url):
        told = here.said("store", "rotate-key")
        assert "the old key is needed for 0 credentials, 0 operations, 1 tokens" in told
        newer = here.token("alice")
        assert (zones(url, token), zones(url, newer)) == (200, 200)
        assert "--revoke-tokens" in complaint(here.run("store", "rotate-key", "--finish"), 1)
        assert zones(url, token) == 200
        assert first.current.id in here.said("store", "rotate-key", "--finish", "--revoke-tokens")
        assert refused_soon(url, token)
        assert zones(url, newer) == 200
    assert load(here.key_file) == KeyRing(third.current)
    with here.serving() as (_, url):
        assert (zones(url, token), zones(url, newer)) == (401, 200)
    assert here.said("store", "rotate-key", "--finish") == "there is no old key\n"


def server_name(told: str) -> str:
    return re.findall(r"^  (.+)$", told, re.MULTILINE)[0]


def test_an_old_key_opens_nothing_when_it_was_given_up(here: Installation) -> None:
    """Neither a stored pair nor what earlier writes have left in the file."""
    here.add("alice")
    old_ring = here.key_file.read_bytes()
    old = load(here.key_file).current
    sealed = {path.name: path.read_bytes() for path in here.state.glob("gceshim.sqlite*")}
    here.said("store", "rotate-key")
    here.said("store", "rotate-key", "--finish")
    assert old.id.encode() in b"".join(sealed.values())
    assert not any(old.id.encode() in path.read_bytes() for path in here.state.glob("gceshim.sqlite*"))
    here.key_file.write_bytes(old_ring)
    assert "another master key" in complaint(here.run("credentials", "token", "alice"), 1)


def test_a_change_that_was_broken_off_goes_on_from_there(here: Installation) -> None:
    """After each write of the key file, and between two records."""
    for name in ("alice", "bob", "carol"):
        here.add(name)
    ring = load(here.key_file)
    with locked(here.key_file):
        save(here.key_file, ring.with_next())  # the first write, and then the end
    following = load(here.key_file)
    with locked(here.key_file):
        save(here.key_file, following.promoted())  # the second, with nothing sealed anew
    here.add("dave")
    assert [(key["part"], key["credentials"]) for key in here.status()["keys"]] == [("current", 1), ("old", 3)]
    assert "0 credentials" in here.said("store", "rotate-key")
    assert [(key["part"], key["credentials"]) for key in here.status()["keys"]] == [("current", 4), ("old", 0)]
    for name in ("alice", "bob", "carol", "dave"):
        assert here.token(name)


def test_two_changes_at_once_are_one(here: Installation) -> None:
    """The key of one of them would be lost, with what it sealed."""
    here.add("alice")
    with locked(here.key_file):
        assert "another process is changing it" in complaint(here.run("store", "rotate-key"), 1)
    here.said("store", "rotate-key")


def test_credentials_that_do_not_decrypt_are_named_and_keep_no_key(here: Installation) -> None:
    """A key lost long ago must not keep others from being changed."""
    here.add("lost")
    here.key_file.unlink()
    here.add("alice")
    told = here.said("store", "rotate-key")
    assert "the credentials lost cannot be read" in told
    here.said("store", "rotate-key", "--finish")
    assert here.token("alice")


def test_a_key_in_a_setting_is_changed_by_hand_with_the_same_checks(here: Installation) -> None:
    """Settings are not ours to write; each step says what to write."""
    texts = [base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2)]
    first = {"GCESHIM_AUTH_MASTER_KEY": texts[0]}
    done = here.run(
        "credentials", "add", "alice", "--api-key", here.cloud["api_key"], "--secret-key-stdin",
        stdin=here.cloud["secret_key"] + "\n", **first,
    )  # fmt: skip
    assert done.returncode == 0
    assert "`, KEY next`" in complaint(here.run("store", "rotate-key", **first), 1)
    second = {"GCESHIM_AUTH_MASTER_KEY": f"{texts[0]}, {texts[1]} next"}
    assert "`, KEY old`" in complaint(here.run("store", "rotate-key", **second), 1)
    third = {"GCESHIM_AUTH_MASTER_KEY": f"{texts[1]}, {texts[0]} old"}
    assert "0 credentials" in here.said("store", "rotate-key", **third)
    assert "take the old keys out" in complaint(here.run("store", "rotate-key", "--finish", **third), 1)
    last = {"GCESHIM_AUTH_MASTER_KEY": texts[1]}
    assert here.token("alice", **last)
    assert not here.key_file.exists()


def test_a_change_of_keys_of_several_servers_fails_no_call(
    tmp_path: Path, cloud: Mapping[str, str], mongodb_uri: str
) -> None:
    """Each server has a key file of its own, is restarted in its turn, and is called all the while."""
    name = f"cli_{uuid.uuid4().hex[:12]}"
    shared = f'[store]\nmongodb_uri = "{mongodb_uri}"\nmongodb_database = "{name}"\nmongodb_standalone = true'
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        home.mkdir()
    one, two = (Installation(home, cloud, shared) for home in homes)
    one.add("alice")
    token = one.token("alice")
    copy_keys(one, two)
    with Balanced(one, two) as servers:
        servers.keep_calling(token)
        told = one.said("store", "rotate-key")
        assert told.count("process") == 2
        copy_keys(one, two)
        servers.restart(0)
        assert one.said("store", "rotate-key").count("process") == 1
        servers.restart(1)
        assert "is the current one now" in one.said("store", "rotate-key")
        between = two.token("alice")
        copy_keys(one, two)
        servers.restart(0)
        newer = one.token("alice")
        assert [zones(url, each) for url in servers.urls for each in (token, between, newer)] == [200] * 6
        servers.restart(1)
        assert "0 credentials" in one.said("store", "rotate-key")
        one.said("store", "rotate-key", "--finish", "--revoke-tokens")
        assert [zones(url, newer) for url in servers.urls] == [200, 200]
        assert servers.failures == []
        assert servers.calls > 20
        assert all(refused_soon(url, between) for url in servers.urls)


def copy_keys(source: Installation, target: Installation) -> None:
    """As an operator does, by scp or by a secrets manager."""
    target.state.mkdir(parents=True, exist_ok=True)
    target.key_file.touch(0o600)
    target.key_file.write_bytes(source.key_file.read_bytes())


class Balanced:
    """Two servers, of which one is always up, and somebody who calls whichever is, until a token is given up."""

    def __init__(self, *installations: Installation) -> None:
        self.urls: list[str] = []
        self.failures: list[int] = []
        self.calls = 0
        self._installations = installations
        self._stacks = [contextlib.ExitStack() for _ in installations]
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._caller: threading.Thread | None = None

    def __enter__(self) -> Balanced:
        for stack, installation in zip(self._stacks, self._installations, strict=True):
            self.urls.append(stack.enter_context(installation.serving())[1])
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        if self._caller is not None:
            self._caller.join()
        for stack in self._stacks:
            stack.close()

    def restart(self, number: int) -> None:
        """Stop one and start it again; it is not called meanwhile."""
        with self._lock:
            url, self.urls[number] = self.urls[number], ""
        assert url
        self._stacks[number].close()
        url = self._stacks[number].enter_context(self._installations[number].serving())[1]
        with self._lock:
            self.urls[number] = url

    def keep_calling(self, token: str) -> None:
        self._caller = threading.Thread(target=self._call, args=(token,), daemon=True)
        self._caller.start()

    def _call(self, token: str) -> None:
        while not self._stop.is_set():
            for number in range(len(self.urls)):
                with self._lock:  # not while it is being stopped
                    status = zones(self.urls[number], token) if self.urls[number] else 200
                self.calls += 1
                if status == 401 and not self.failures:
                    return  # given up, at the very end
                if status != 200:
                    self.failures.append(status)
