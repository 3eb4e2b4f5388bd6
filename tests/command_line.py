"""Commands as a person runs them: processes, their output, and what they serve."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.leaks import check_silence

DEADLINE_SECONDS = 180.0


def environment(home: Path, **more: str) -> dict[str, str]:
    """Nothing of the machine's own settings but where Python finds gceshim, and a home that is this test's."""
    return {
        **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}),
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "LC_ALL": "C.UTF-8",
        **more,
    }


def gceshim(home: Path, *words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "gceshim", *words],
        env=environment(home, **more),
        cwd=home,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    check_silence(done.stderr)
    return done


def complaint(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The one line that a command which failed leaves, and nothing else."""
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr.strip()


@dataclass
class Process:
    """A command that runs until it is told to stop."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._readers = [
            threading.Thread(target=lambda: self.lines.extend(self.process.stdout or []), daemon=True),
            threading.Thread(target=lambda: self.errors.extend(self.process.stderr or []), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in what it printed, as soon as it is there."""
        until = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < until:
            if match := re.search(pattern, self.output):
                return match
            if self.process.poll() is not None:
                break
            self._readers[0].join(0.02)
        raise AssertionError(f"no {pattern!r} in:\n{self.output}")

    @property
    def output(self) -> str:
        """All that it printed until now, errors last."""
        return "".join([*self.lines, *self.errors])

    def stop(self, signum: signal.Signals = signal.SIGINT) -> int:
        """Its exit status after a signal."""
        self.process.send_signal(signum)
        return self.ended()

    def ended(self) -> int:
        """Its exit status, once it has ended and all it printed was read."""
        status = self.process.wait(DEADLINE_SECONDS)
        for reader in self._readers:
            reader.join(DEADLINE_SECONDS)
        return status


@contextlib.contextmanager
def running(home: Path, *words: str, **more: str) -> Iterator[Process]:
    """A command in the background, ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gceshim", *words],
        env=environment(home, **more),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    command = Process(process)
    try:
        yield command
    finally:
        if process.poll() is None:
            process.kill()
        command.ended()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    check_silence("".join(command.errors))


def fetch(
    url: str, token: str = "", context: ssl.SSLContext | None = None, data: bytes | None = None
) -> tuple[int, Mapping[str, str], dict]:
    """Status, headers and body of a GET, or of a POST when there is data."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, headers=headers, data=data)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS, context=context) as reply:
            return reply.status, reply.headers, json.loads(reply.read())
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.headers, json.loads(exc.read())


@contextlib.contextmanager
def simulated_cloud(home: Path, *words: str) -> Iterator[dict[str, str]]:
    """A simulated CloudStack in a process of its own: `endpoint`, and the demo account's keys."""
    with running(home, "simulator", "--port", "0", "--json", *words) as process:
        process.wait_for(r"(?s)\{.*\n\}\n")
        told = json.loads("".join(process.lines))
        account = next(row for row in told["accounts"] if row["account"] == "demo")
        yield {"endpoint": told["endpoint"], **account}


def settings_file(folder: Path, cloud: Mapping[str, str], more: str = "") -> Path:
    """A settings file for the simulated cloud."""
    file = folder / "gceshim.toml"
    file.write_text(f'[server]\nport = 0\n{more}\n[driver.cloudstack]\nurl = "{cloud["endpoint"]}"\n')
    return file
