"""
The processes that are measured: a simulated cloud and a server, each with an interpreter of its own.

`python -m benchmarks.processes simulator|server OPTIONS` serves until its standard input ends, so that it cannot
outlive who started it. It prints one line of JSON, what others need to reach it, and answers two things on a port of
its own: `/usage`, what it has used since it was last asked, and `/profile`, where its event loop spent its time
since it was last asked.
"""

from __future__ import annotations

import asyncio
import cProfile
import io
import json
import os
import pstats
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import tornado.web
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from gceshim.commands import logs
from gceshim.commands.server import Listening
from gceshim.commands.shims import opened
from gceshim.model import Credentials
from gceshim.settings import Settings
from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.testing.stalls import StallMonitor

ACCOUNT = "demo"
TOKEN_SECONDS = 86_400.0
START_SECONDS = 60.0
STOP_SECONDS = 20.0
ANSWER_SECONDS = 30.0
PROFILED_FUNCTIONS = 25
ROOT = Path(__file__).resolve().parent.parent


class Child:
    """
    One of the processes, seen from the one that measures.

    Started by `with`; `facts` is what it told of itself. Ctrl-C does not reach it: who started it says when it ends.

    :param module: what is run.
    """

    def __init__(
        self, role: str, folder: Path, options: Mapping[str, Any], module: str = "benchmarks.processes"
    ) -> None:
        self.log = folder / f"{role}.log"
        self._command = [sys.executable, "-m", module, role, json.dumps(options)]
        self._process: subprocess.Popen[str]
        self.facts: Mapping[str, Any] = {}

    def __enter__(self) -> Child:
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                start_new_session=True,
            )
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self._end()
            raise RuntimeError(f"a process did not start: {self.log.read_text()[-2000:]}")
        self.facts = json.loads(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def usage(self) -> Mapping[str, Any]:
        """What the process used since this was last called."""
        usage: Mapping[str, Any] = json.loads(self.ask("usage"))
        return usage

    def profile(self) -> str:
        """Where the event loop's thread spent its time since this was last called; "" the first time."""
        return self.ask("profile").decode()

    def ask(self, what: str) -> bytes:
        """The answer of its control port. :raises OSError: there is none."""
        with urllib.request.urlopen(f"{self.facts['control']}/{what}", timeout=ANSWER_SECONDS) as reply:
            content: bytes = reply.read()
        return content

    def _end(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


class Control(tornado.web.RequestHandler):
    """`/usage` and `/profile`."""

    def initialize(self, answer: Callable[[], str]) -> None:
        self._answer = answer

    def get(self) -> None:
        self.finish(self._answer())


class Profiler:
    """Profiles the thread of the event loop, from the first time it is asked."""

    def __init__(self) -> None:
        self._profile: cProfile.Profile | None = None

    def report(self) -> str:
        """The functions that took the most time since the last report."""
        text = ""
        if self._profile is not None:
            self._profile.disable()
            stream = io.StringIO()
            pstats.Stats(self._profile, stream=stream).sort_stats("tottime").print_stats(PROFILED_FUNCTIONS)
            text = stream.getvalue().replace(f"{ROOT}/", "")
        self._profile = cProfile.Profile()
        self._profile.enable()
        return text


async def serve_simulator(options: Mapping[str, Any]) -> None:
    """A simulated cloud with so many machines, until standard input ends."""
    simulator = Simulator(SimulatorSettings(machines=options["machines"], machines_account=ACCOUNT))
    endpoint = await simulator.start()
    cpu_seconds = time.process_time()

    def usage() -> str:
        nonlocal cpu_seconds
        if simulator.bugs:
            raise RuntimeError(simulator.bugs[0])
        before, cpu_seconds = cpu_seconds, time.process_time()
        calls = dict(simulator.call_counts)
        simulator.call_counts.clear()
        return json.dumps({"cpu_seconds": cpu_seconds - before, "calls": calls})

    try:
        await _until_input_ends(usage, {"endpoint": endpoint, "keys": simulator.keys(ACCOUNT)})
    finally:
        await simulator.stop()


async def serve_shim(options: Mapping[str, Any]) -> None:
    """
    gceshim as `gceshim serve` runs it, until standard input ends.

    With its default settings but one: all that is measured comes from one caller, whose rate is not limited.
    """
    folder = Path(options["folder"])
    overrides = {
        "store.path": str(folder / "store.sqlite"),
        "auth.master_key_file": str(folder / "master.key"),
        "driver.cloudstack.url": options["endpoint"],
        "server.port": 0,
        "limits.requests_per_second": 0,
    }
    settings = Settings.load(overrides=overrides)
    logs.set_up(settings.log)
    async with opened(settings) as shim:
        credentials = Credentials(*options["keys"])
        account = await shim.driver.identity.whoami(credentials)
        await shim.vault.add(ACCOUNT, account, credentials, overwrite=True)
        token = await shim.tokens.issue(ACCOUNT, TOKEN_SECONDS)
        if options["workers"] > 1:
            await _serve_workers(folder, options, token)
            return
        listening = Listening(shim.application(), settings.server, settings.limits)
        monitor = StallMonitor()
        monitor.start()
        cpu_seconds = time.process_time()

        def usage() -> str:
            nonlocal cpu_seconds
            before, cpu_seconds = cpu_seconds, time.process_time()
            stalls = {"stall_seconds": monitor.longest_seconds, "busy_stall_seconds": monitor.longest_busy_seconds}
            monitor.reset()
            return json.dumps({"cpu_seconds": cpu_seconds - before, **stalls})

        try:
            await _until_input_ends(usage, {"host": "127.0.0.1", "port": listening.port, "token": token})
        finally:
            monitor.stop()
            await listening.close()


async def _serve_workers(folder: Path, options: Mapping[str, Any], token: str) -> None:
    """The same by several processes: the command itself, whose log tells of them. Their loops are not watched."""
    file = folder / "workers.toml"
    file.write_text(
        f"[server]\nport = 0\nworkers = {options['workers']}\n"
        f"[store]\npath = {json.dumps(str(folder / 'store.sqlite'))}\n"
        f"[limits]\nrequests_per_second = 0\n[log]\nformat = 'json'\n"
        f"[driver.cloudstack]\nurl = {json.dumps(options['endpoint'])}\n"
    )
    words = ("-m", "gceshim", "serve", "--config", str(file))
    process = await asyncio.create_subprocess_exec(sys.executable, *words, cwd=ROOT, stderr=asyncio.subprocess.PIPE)
    reader = process.stderr
    if reader is None:
        raise RuntimeError("its log cannot be read")
    pids: list[int] = []
    url = ""
    while len(pids) < options["workers"]:
        record = json.loads(await asyncio.wait_for(reader.readline(), START_SECONDS))
        if found := re.search(r"^gceshim \S+: (http://\S+), ", record["message"]):
            url = found[1]
            pids.append(record["pid"])

    async def read_on() -> None:
        while await reader.readline():
            pass

    reading = asyncio.create_task(read_on())
    cpu_seconds = sum(map(_cpu_seconds, pids))

    def usage() -> str:
        nonlocal cpu_seconds
        before, cpu_seconds = cpu_seconds, sum(map(_cpu_seconds, pids))
        return json.dumps({"cpu_seconds": cpu_seconds - before, "stall_seconds": 0.0, "busy_stall_seconds": 0.0})

    try:
        await _until_input_ends(usage, {"host": "127.0.0.1", "port": int(url.rpartition(":")[2]), "token": token})
    finally:
        process.terminate()
        await process.wait()
        await reading


def _cpu_seconds(pid: int) -> float:
    """What a process of this machine has used by now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _until_input_ends(usage: Callable[[], str], facts: Mapping[str, Any]) -> None:
    profiler = Profiler()
    rules = [("/usage", Control, {"answer": usage}), ("/profile", Control, {"answer": profiler.report})]
    await serve_controlled(facts, rules)


async def serve_controlled(facts: Mapping[str, Any], rules: Sequence[tuple[str, type[Control], Any]]) -> None:
    """Print the facts, and answer by the rules on a port of its own until standard input ends."""
    application = tornado.web.Application(list(rules), log_function=lambda handler: None)
    socket, port = bind_unused_port()
    server = HTTPServer(application)
    server.add_sockets([socket])
    print(json.dumps({**facts, "control": f"http://127.0.0.1:{port}"}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.stop()
    await server.close_all_connections()


def main(role: str, options: str) -> None:
    """Be one of the processes."""
    serve = {"simulator": serve_simulator, "server": serve_shim}[role]
    asyncio.run(serve(json.loads(options)))


if __name__ == "__main__":
    main(*sys.argv[1:])
