"""
Measure gceshim beside libcloud, and print the ratios.

Each number of machines has a simulated cloud and a server of its own, in processes of their own, on 127.0.0.1. Both
sides are measured in turns, in short rounds, so that whatever else this machine does meets both. The calls to the
cloud are the same on both sides, and so is what an operation ends with: Python objects.

examples:
  python -m benchmarks
  python -m benchmarks --quick
  python -m benchmarks --machines 500 --concurrency 1 32 --seconds 5 --json
  python -m benchmarks --machines 500 --concurrency 8 --profile
  python -m benchmarks --machines 500 --concurrency 32 --operations list --workers 2

`python -m benchmarks soak` is a long run under mixed load instead: see `python -m benchmarks soak --help`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import report, soak
from benchmarks.load import Sample, run
from benchmarks.processes import Child
from benchmarks.report import Row
from benchmarks.sides import MADE, DirectWorker, Place, ShimWorker, Worker, clear, look_around

OPERATIONS: Mapping[str, Callable[[Worker, str], None]] = {
    "get": lambda worker, name: worker.get(name),
    "list": lambda worker, _: worker.list(),
    "aggregatedList": lambda worker, _: worker.aggregated_list(),
    "insert+wait": lambda worker, name: worker.insert(name),
}
MACHINES = (10, 500, 5000)
CONCURRENCY = (1, 32)
ROUNDS = 4
SECONDS = 3.0
QUICK_SECONDS = 0.5
MOST_OPERATIONS = 20_000
MOST_INSERTS = 64
WARM_UP = 2  # operations of each worker, if half a round is long enough


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["soak"]:
        return soak.main(words[1:])
    args = parser().parse_args(words)
    seconds = args.seconds or (QUICK_SECONDS if args.quick else SECONDS)
    rounds = 2 if args.quick else ROUNDS
    rows: list[Row] = []
    if not args.json:
        print(report.machine(), end="\n\n")
        print(report.heading(), flush=True)
    for machines in args.machines or ((10, 500) if args.quick else MACHINES):
        with Bench(machines, args.workers) as bench:
            for concurrency in args.concurrency or CONCURRENCY:
                for name in args.operations or OPERATIONS:
                    if args.profile:
                        print(bench.profile(name, concurrency, seconds * rounds), flush=True)
                        continue
                    rows.append(bench.measure(name, concurrency, seconds, rounds))
                    if not args.json:
                        print(report.line(rows[-1]), flush=True)
    if args.json:
        print(json.dumps({"machine": report.facts(), "rows": [row.to_json() for row in rows]}, indent=1))
    elif rows:
        print(report.aims(rows))
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m benchmarks", description=__doc__, formatter_class=_Formatter)
    made.add_argument("--quick", action="store_true", help="short rounds, 10 and 500 machines")
    made.add_argument("--machines", type=_count, nargs="+", help="machines in the cloud (default: 10 500 5000)")
    made.add_argument("--concurrency", type=_count, nargs="+", help="clients at once (default: 1 32)")
    made.add_argument("--operations", nargs="+", choices=[*OPERATIONS], help="what is measured (default: all)")
    made.add_argument("--workers", type=_count, default=1, help="processes of the server (default: 1)")
    made.add_argument("--seconds", type=_seconds, help=f"length of each of the {ROUNDS} rounds (default: {SECONDS:g})")
    made.add_argument("--profile", action="store_true", help="print where the server's event loop spends its time")
    made.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return made


class Bench:
    """
    A cloud with so many machines, a server in front of it, and both sides' workers. Used by `with`.

    :param processes: of the server.
    """

    def __init__(self, machines: int, processes: int = 1) -> None:
        self._machines = machines
        self._processes = processes
        self._stack = contextlib.ExitStack()
        self._made = itertools.count()
        self._cloud: Child
        self._server: Child
        self._direct: DirectWorker
        self._place: Place

    def __enter__(self) -> Bench:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gceshim-bench-")))
            self._cloud = stack.enter_context(Child("simulator", folder, {"machines": self._machines}))
            facts = self._cloud.facts
            options = {"folder": str(folder), "endpoint": facts["endpoint"], "keys": facts["keys"]}
            options["workers"] = self._processes
            self._server = stack.enter_context(Child("server", folder, options))
            self._direct = DirectWorker(facts["endpoint"], facts["keys"])
            stack.callback(self._direct.close)
            self._place = look_around(self._direct, self._server.facts)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def measure(self, operation: str, concurrency: int, seconds: float, rounds: int) -> Row:
        """One row of the table: rounds of both sides in turns, after each has warmed up."""
        samples = {"direct": Sample(), "gceshim": Sample()}
        calls = {"direct": 0, "gceshim": 0}
        server: dict[str, float] = {"cpu_seconds": 0.0, "stall_seconds": 0.0, "busy_stall_seconds": 0.0}
        cpu_seconds = {"direct": 0.0, "gceshim": 0.0}
        with contextlib.ExitStack() as stack:
            workers = {side: self._workers(side, concurrency, stack) for side in samples}
            for side in samples:
                self._round(operation, workers[side], seconds=seconds / 2, most=WARM_UP * concurrency)
            for number in range(rounds):
                for side in sorted(samples, reverse=number % 2 == 1):
                    self._cloud.usage()
                    self._server.usage()
                    before = time.process_time()
                    sample = self._round(operation, workers[side], seconds=seconds, most=MOST_OPERATIONS)
                    cpu_seconds[side] += time.process_time() - before
                    samples[side].add(sample)
                    used = self._cloud.usage()
                    cpu_seconds[side] += used["cpu_seconds"]
                    calls[side] += sum(used["calls"].values())
                    if side == "gceshim":
                        usage = self._server.usage()
                        server["cpu_seconds"] += usage["cpu_seconds"]
                        for key in ("stall_seconds", "busy_stall_seconds"):
                            server[key] = max(server[key], usage[key])
                    self._clean(operation)
        done = samples["gceshim"].count
        return Row(
            machines=self._machines,
            concurrency=concurrency,
            operation=operation,
            direct=samples["direct"],
            shim=samples["gceshim"],
            direct_calls=calls["direct"] / samples["direct"].count,
            shim_calls=calls["gceshim"] / done,
            stall_ms=server["stall_seconds"] * 1000,
            busy_stall_ms=server["busy_stall_seconds"] * 1000,
            server_cpu_ms=server["cpu_seconds"] * 1000 / done,
            direct_cpu_ms=cpu_seconds["direct"] * 1000 / samples["direct"].count,
            shim_cpu_ms=(cpu_seconds["gceshim"] + server["cpu_seconds"]) * 1000 / done,
        )

    def profile(self, operation: str, concurrency: int, seconds: float) -> str:
        """The functions that the server's event loop spends its time in."""
        with contextlib.ExitStack() as stack:
            workers = self._workers("gceshim", concurrency, stack)
            self._round(operation, workers, seconds=1.0, most=WARM_UP * concurrency)
            self._server.profile()
            sample = self._round(operation, workers, seconds=seconds, most=MOST_OPERATIONS)
            text = self._server.profile()
        self._clean(operation)
        heading = f"{operation}, {self._machines} machines, {concurrency} at once: {sample.count} operations"
        return f"{heading}, under the profiler\n{text}"

    def _workers(self, side: str, concurrency: int, stack: contextlib.ExitStack) -> list[Worker]:
        facts = self._cloud.facts
        workers: list[Worker] = []
        for _ in range(concurrency):
            worker: Worker = (
                DirectWorker(facts["endpoint"], facts["keys"], self._place)
                if side == "direct"
                else ShimWorker(self._server.facts, self._place)
            )
            stack.callback(worker.close)
            workers.append(worker)
        return workers

    def _round(self, operation: str, workers: Sequence[Worker], *, seconds: float, most: int) -> Sample:
        most = min(most, MOST_INSERTS) if operation == "insert+wait" else most
        return run(workers, OPERATIONS[operation], self._names(operation), seconds=seconds, most=most)

    def _names(self, operation: str) -> Iterator[str]:
        """Names for the operations: new ones to insert, else those of the machines, in a fixed mixed order."""
        if operation == "insert+wait":
            return (f"{MADE}{number}" for number in self._made)
        return (f"machine-{index * 7919 % self._machines + 1:05d}" for index in itertools.count())

    def _clean(self, operation: str) -> None:
        if operation == "insert+wait":
            clear(self._direct)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the description."""


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= 600:
        raise argparse.ArgumentTypeError("must be over 0 and at most 600")
    return number


if __name__ == "__main__":
    sys.exit(main())
