"""
Let many clients do a mixture of everything for a long time, and see whether the server grows or fails.

A simulated cloud and a server run in processes of their own, on 127.0.0.1. The clients of several tenants read, make,
change and delete machines and disks through the server; beside them an eighth as many do the same by libcloud alone,
so that each operation's time can be told as a ratio. It ends by itself; Ctrl-C ends it early, with what is known.
The exit status is 1 if anything failed, or if something had no plateau.

examples:
  python -m benchmarks soak
  python -m benchmarks soak --minutes 3 --concurrency 16
  python -m benchmarks soak --minutes 5 --growth
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.processes import Child
from benchmarks.sides import DirectWorker, Place, look_around
from benchmarks.soak_load import Client, Results
from benchmarks.soak_report import Soak, series
from benchmarks.soak_sides import DirectSide, ShimSide

MINUTES = 10.0
CONCURRENCY = 64
TENANTS = 4
SAMPLES = 300
LEAST_INTERVAL_SECONDS = 0.25
PARTS_OF_GROWTH = 3
END_SECONDS = 90.0
INTERRUPTED_END_SECONDS = 10.0
REST_SECONDS = 5.0
ZONE = "sandbox-1-a"
MACHINE_TYPE = "small-instance"
MODULE = "benchmarks.soak_processes"


def main(argv: Sequence[str]) -> int:
    """The command."""
    args = parser().parse_args(argv)
    terminal = sys.stderr.isatty()
    if not args.json:
        print(report.machine(), end="\n\n", flush=True)
    with Run(args.concurrency, args.tenants, terminal=terminal, quiet=args.json) as run:
        soak = run.soak(args.minutes * 60, growth=args.growth)
        grown = run.grown
    if args.json:
        print(json.dumps({"machine": report.facts(), **soak.to_json(), "growth": grown}, indent=1))
    else:
        print("\n\n".join([*grown, soak.text()]))
    return 1 if soak.broken else 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        "python -m benchmarks soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--minutes", type=_minutes, default=MINUTES, help=f"how long (default: {MINUTES:g})")
    made.add_argument("--concurrency", type=_count, default=CONCURRENCY, help=f"clients (default: {CONCURRENCY})")
    made.add_argument("--tenants", type=_count, default=TENANTS, help=f"whose clients they are (default: {TENANTS})")
    made.add_argument("--growth", action="store_true", help="print which lines of code hold ever more; slow")
    made.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return made


class Run:
    """
    A cloud, a server and their clients. Used by `with`.

    `grown`: reports of what held more memory than a while before, if they are asked for.

    :param terminal: whether somebody watches, to whom progress is shown. :param quiet: say nothing of the begin.
    """

    def __init__(self, concurrency: int, tenants: int, *, terminal: bool, quiet: bool) -> None:
        self._concurrency = concurrency
        self._names = [f"tenant-{number + 1}" for number in range(min(tenants, concurrency))]
        self._terminal = terminal
        self._quiet = quiet
        self._direct, self._shim = Results(self._tell), Results(self._tell)
        self._numbers = series()
        self._stack = contextlib.ExitStack()
        self._cloud: Child
        self._server: Child
        self.grown: list[str] = []

    def __enter__(self) -> Run:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gceshim-soak-")))
            self._cloud = stack.enter_context(Child("simulator", folder, {"tenants": self._names}, MODULE))
            options: dict[str, Any] = {
                "folder": str(folder),
                "endpoint": self._cloud.facts["endpoint"],
                "keys": self._cloud.facts["keys"],
                "clients": -(-self._concurrency // len(self._names)),
            }
            self._server = stack.enter_context(Child("server", folder, options, MODULE))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def soak(self, seconds: float, *, growth: bool) -> Soak:
        """All clients at work for so long; what came of it."""
        places = {name: self._place(name) for name in self._names}
        before = self._state()
        stop = threading.Event()
        clients = self._clients(places)
        threads = [threading.Thread(target=client.run, args=(stop,), daemon=True) for client in clients]
        begun = time.monotonic()
        patience_seconds = END_SECONDS
        try:
            for thread in threads:
                thread.start()
            if not self._quiet:
                print(f"begun: {seconds / 60:g} minutes, ends by itself or with Ctrl-C", end="\n\n", flush=True)
            self._watch(begun, seconds, growth)
        except KeyboardInterrupt:
            patience_seconds = INTERRUPTED_END_SECONDS
            self._tell("ended early")
        lasted = time.monotonic() - begun
        stop.set()
        _join(threads, patience_seconds)
        for client in clients:
            client.close()
        return Soak(
            seconds=lasted,
            concurrency=self._concurrency,
            tenants=len(self._names),
            direct=self._direct,
            shim=self._shim,
            numbers=self._numbers,
            before=before,
            after=self._at_rest(before),
            log=_log(self._server.log),
            bugs=self._cloud.usage()["bugs"],
        )

    def _clients(self, places: Mapping[str, Place]) -> Sequence[Client]:
        """Those of gceshim, and an eighth as many of libcloud, all with seeds of their own."""
        clients = []
        for number in range(self._concurrency):
            tenant = self._names[number % len(self._names)]
            login = self._server.facts["tenants"][tenant]["logins"][number // len(self._names)]
            shim = ShimSide(self._server.facts, login, places[tenant], number, self._shim.refused)
            clients.append(Client(shim, f"soak-{number}", self._shim, number))
        for number in range(max(1, self._concurrency // 8)):
            tenant = self._names[number % len(self._names)]
            facts = self._cloud.facts
            direct = DirectSide(facts["endpoint"], facts["keys"][tenant], places[tenant])
            clients.append(Client(direct, f"direct-{number}", self._direct, 1_000_000 + number))
        return clients

    def _place(self, tenant: str) -> Place:
        """What its machines are made of, by a first one, with which the tenant's network is made."""
        facts = {**self._server.facts, **self._server.facts["tenants"][tenant]}
        first = ShimSide(facts, facts["logins"][0], Place("", ZONE, "", "", "", MACHINE_TYPE, "", ""), 0)
        direct = DirectWorker(self._cloud.facts["endpoint"], self._cloud.facts["keys"][tenant])
        try:
            first.refresh()
            first.insert("soak-first")
            return look_around(direct, facts)
        finally:
            first.close()
            direct.close()

    def _watch(self, begun: float, seconds: float, growth: bool) -> None:
        """Take samples until the time is up."""
        interval_seconds = max(LEAST_INTERVAL_SECONDS, seconds / SAMPLES)
        reports = [seconds * part / PARTS_OF_GROWTH for part in range(PARTS_OF_GROWTH)] if growth else []
        while (passed := time.monotonic() - begun) < seconds:
            if reports and passed >= reports[0]:
                self._report_growth(reports.pop(0))
            state = {**self._state(), "cloud_rss_bytes": self._cloud.usage()["rss_bytes"]}
            for key, row in self._numbers.items():
                row.add(passed, state[key])
            if self._terminal:
                print(f"\r{self._progress(passed, seconds)}\x1b[K", end="", file=sys.stderr, flush=True)
            time.sleep(max(0.0, min(interval_seconds, begun + seconds - time.monotonic())))
        if growth:
            self._report_growth(seconds)
        if self._terminal:
            print(file=sys.stderr)

    def _progress(self, passed: float, seconds: float) -> str:
        memory_mib = self._numbers["rss_bytes"].values[-1]
        errors = sum(self._shim.errors.values()) + sum(self._direct.errors.values())
        return (
            f"{passed:.0f} of {seconds:.0f} s: {self._shim.count} operations, {errors} errors, "
            f"{self._shim.limited} times 429, {memory_mib:.1f} MiB"
        )

    def _report_growth(self, at_seconds: float) -> None:
        if text := self._server.ask("growth").decode():
            self.grown.append(f"What held more after {at_seconds:.0f} s than the time before:\n{text}")

    def _at_rest(self, before: Mapping[str, float]) -> Mapping[str, float]:
        """The numbers when all clients have gone; operations that are still under way get a few seconds."""
        until = time.monotonic() + REST_SECONDS
        state = self._state()
        while state["tasks"] > before["tasks"] and time.monotonic() < until:
            time.sleep(LEAST_INTERVAL_SECONDS)
            state = self._state()
        return state

    def _state(self) -> Mapping[str, float]:
        state: Mapping[str, float] = json.loads(self._server.ask("state"))
        return state

    def _tell(self, text: str) -> None:
        """Something to see at once; what is also in the report is told to a terminal only."""
        if self._terminal:
            print(f"\r{text}\x1b[K", file=sys.stderr, flush=True)


def _join(threads: Sequence[threading.Thread], seconds: float) -> None:
    until = time.monotonic() + seconds
    for thread in threads:
        if thread.ident is not None:  # it was started before the run was interrupted
            thread.join(max(0.0, until - time.monotonic()))


def _log(path: Path) -> Sequence[tuple[str, str]]:
    """Level and message of each warning and error; a line that is no record is an error."""
    found = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            record = json.loads(line)
            found.append((record["level"], record["message"] + record.get("exception", "")[-1000:]))
        except (ValueError, KeyError, TypeError):
            found.append(("error", line))
    return found


def _minutes(text: str) -> float:
    number = float(text)
    if not 0 < number <= 24 * 60:
        raise argparse.ArgumentTypeError("must be over 0 and at most 1440")
    return number


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("must be 1 to 1000")
    return number
