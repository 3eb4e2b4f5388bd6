"""Load: so many workers at once, each doing one operation after the other, for a bounded time."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

W = TypeVar("W")


@dataclass
class Sample:
    """What was measured on one side: the time of each operation, and of all together."""

    latencies_seconds: list[float] = field(default_factory=list)
    elapsed_seconds: float = 0.0

    def add(self, other: Sample) -> None:
        """Take another round into it."""
        self.latencies_seconds += other.latencies_seconds
        self.elapsed_seconds += other.elapsed_seconds

    @property
    def count(self) -> int:
        return len(self.latencies_seconds)

    @property
    def median_ms(self) -> float:
        return statistics.median(self.latencies_seconds) * 1000

    @property
    def p95_ms(self) -> float:
        ordered = sorted(self.latencies_seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))] * 1000

    @property
    def per_second(self) -> float:
        return self.count / self.elapsed_seconds


def run(
    workers: Sequence[W], operation: Callable[[W, str], None], names: Iterator[str], *, seconds: float, most: int
) -> Sample:
    """
    Let all workers work until the time is up or `most` operations were begun; what is begun is finished.

    :raises Exception: what any worker failed with, the first.
    """
    lock = threading.Lock()
    tickets = itertools.islice(names, most)
    start = threading.Barrier(len(workers) + 1)
    latencies: list[float] = []
    failures: list[Exception] = []
    deadline = float("inf")

    def work(worker: W) -> None:
        start.wait()
        mine: list[float] = []
        while not failures:
            with lock:
                name = next(tickets, None)
            if name is None or time.perf_counter() > deadline:
                break
            begun = time.perf_counter()
            try:
                operation(worker, name)
            except Exception as exc:  # noqa: BLE001 - handed on to the thread that asked
                failures.append(exc)
                break
            mine.append(time.perf_counter() - begun)
        with lock:
            latencies.extend(mine)

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    deadline = time.perf_counter() + seconds
    begun = time.perf_counter()
    start.wait()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return Sample(latencies, time.perf_counter() - begun)
