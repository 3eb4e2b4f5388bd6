"""The load of a soak: clients that do a mixture of operations until they are told to stop, and what came of it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Final

from benchmarks.sides import Failed
from benchmarks.soak_sides import ShimSide, Side

PAUSE_AFTER_ERROR_SECONDS: Final = 0.5

# How often a client does each, of what it can do at the moment.
READS: Final[Mapping[str, int]] = {"get": 10, "list": 8, "aggregatedList": 4, "operations": 4}
OF_GCESHIM: Final[Mapping[str, int]] = {"refresh": 2, "unknown (404)": 1, "stranger (401)": 1}
WITHOUT_MACHINE: Final[Mapping[str, int]] = {"insert": 12}
RUNNING: Final[Mapping[str, int]] = {"stop": 3, "setLabels": 3}
STOPPED: Final[Mapping[str, int]] = {"start": 4}
BARE: Final[Mapping[str, int]] = {"delete": 3}
"""Of a machine without a disk besides its own."""
OPERATIONS: Final = (
    *READS,
    "insert",
    "stop",
    "start",
    "setLabels",
    "delete",
    "disk insert",
    "disk attach",
    "disk detach",
    "disk delete",
    *OF_GCESHIM,
)


class Results:
    """What the clients of one side tell: how long each operation took (seconds), what went wrong, and every 429."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """:param tell: called with each error, as it happens."""
        self._tell = tell
        self._lock = threading.Lock()
        self.latencies_seconds: dict[str, list[float]] = defaultdict(list)
        self.errors: Counter[str] = Counter()
        self.messages: list[str] = []
        self.limited = 0

    def done(self, operation: str, seconds: float) -> None:
        """One operation that went well."""
        with self._lock:
            self.latencies_seconds[operation].append(seconds)

    def failed(self, operation: str, error: Exception) -> None:
        """One that did not."""
        message = f"{operation}: {error if isinstance(error, Failed) else repr(error)}"
        with self._lock:
            self.errors[operation] += 1
            self.messages.append(message)
        self._tell(message)

    def refused(self) -> None:
        """A 429, which is no error: the client came back later."""
        with self._lock:
            self.limited += 1

    @property
    def count(self) -> int:
        """Operations that went well."""
        with self._lock:
            return sum(map(len, self.latencies_seconds.values()))


class Client:
    """
    Does one operation after the other, each chosen by chance among those that its machine and disk allow.

    :param name: of its machines and disks, with a number after it.
    """

    def __init__(self, side: Side, name: str, results: Results, seed: int) -> None:
        self._side = side
        self._name = name
        self._results = results
        self._random = random.Random(seed)
        self._number = 0
        self._machine = ""
        self._stopped = False
        self._disk = ""
        self._attached = False

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set; what is begun is finished."""
        while not stop.is_set():
            operation = "refresh" if self._needs_token else self._choose()
            begun = time.perf_counter()
            try:
                self._do(operation)
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is told
                self._results.failed(operation, exc)
                self._machine = self._disk = ""  # how they are is not known: go on with others
                self._stopped = self._attached = False
                stop.wait(PAUSE_AFTER_ERROR_SECONDS)
            else:
                self._results.done(operation, time.perf_counter() - begun)

    def close(self) -> None:
        """Give back the connection."""
        self._side.close()

    @property
    def _needs_token(self) -> bool:
        return isinstance(self._side, ShimSide) and self._side.stale

    def _choose(self) -> str:
        weights = {name: weight for name, weight in READS.items() if name != "get" or self._machine}
        if isinstance(self._side, ShimSide):
            weights |= OF_GCESHIM
        if not self._machine:
            weights |= WITHOUT_MACHINE
        else:
            weights |= STOPPED if self._stopped else RUNNING
        if self._machine and not self._attached:
            weights |= BARE
        if not self._disk:
            weights["disk insert"] = 2
        elif self._attached:
            weights["disk detach"] = 3
        else:
            weights["disk delete"] = 1
            if self._machine:
                weights["disk attach"] = 3
        return self._random.choices([*weights], [*weights.values()])[0]

    def _do(self, operation: str) -> None:
        side = self._side
        if isinstance(side, ShimSide) and operation in OF_GCESHIM:
            {"refresh": side.refresh, "unknown (404)": side.missing, "stranger (401)": side.intrude}[operation]()
        elif operation == "get":
            side.get(self._machine)
        elif operation in READS:
            {"list": side.list, "aggregatedList": side.aggregated_list, "operations": side.operations}[operation]()
        elif operation.startswith("disk "):
            self._change_disk(operation)
        else:
            self._change_machine(operation)

    def _change_machine(self, operation: str) -> None:
        side = self._side
        if operation == "insert":
            name = self._next()
            side.insert(name)
            self._machine, self._stopped = name, False
        elif operation == "delete":
            side.delete(self._machine)
            self._machine, self._stopped = "", False
        elif operation == "setLabels":
            side.label(self._machine)
        else:
            {"stop": side.stop, "start": side.start}[operation](self._machine)
            self._stopped = operation == "stop"

    def _change_disk(self, operation: str) -> None:
        side = self._side
        if operation == "disk insert":
            name = self._next()
            side.insert_disk(name)
            self._disk = name
        elif operation == "disk delete":
            side.delete_disk(self._disk)
            self._disk = ""
        elif operation == "disk attach":
            side.attach_disk(self._machine, self._disk)
            self._attached = True
        else:
            side.detach_disk(self._machine, self._disk)
            self._attached = False

    def _next(self) -> str:
        self._number += 1
        return f"{self._name}-{self._number}"
