"""What is printed: the machine, a row for each measurement, and how the aims are met."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load import Sample

PACKAGES = ("tornado", "apache-libcloud", "requests")
MOST_ADDED_MS = 1.5
MOST_LIST_RATIO = 2.0
LEAST_THROUGHPUT = 0.7
LONGEST_STALL_MS = 50.0
MOST_CALLS = 2.5  # what is asked anew when memory lapses comes on top of the two
CROWD = 32
LIST_MACHINES = 500


@dataclass(frozen=True)
class Row:
    """
    One measurement. Calls are calls to CloudStack per operation.

    CPU times are per operation: of the server alone, and of all processes of a side together, client, cloud and
    server. They hardly depend on what else the machine does; times of day do.
    `stall_ms`: the longest that the server's event loop came late. `busy_stall_ms`: the longest that its own thread
    computed without a pause.
    """

    machines: int
    concurrency: int
    operation: str
    direct: Sample
    shim: Sample
    direct_calls: float
    shim_calls: float
    stall_ms: float
    busy_stall_ms: float
    server_cpu_ms: float
    direct_cpu_ms: float
    shim_cpu_ms: float

    @property
    def cpu_ratio(self) -> float:
        return self.shim_cpu_ms / self.direct_cpu_ms

    @property
    def added_ms(self) -> float:
        return self.shim.median_ms - self.direct.median_ms

    @property
    def ratio(self) -> float:
        return self.shim.median_ms / self.direct.median_ms

    @property
    def throughput(self) -> float:
        """gceshim's operations per second as a part of libcloud's."""
        return self.shim.per_second / self.direct.per_second

    def to_json(self) -> Mapping[str, Any]:
        """All numbers."""
        return {
            "machines": self.machines,
            "concurrency": self.concurrency,
            "operation": self.operation,
            "direct": _sample(self.direct, self.direct_calls),
            "gceshim": {
                **_sample(self.shim, self.shim_calls),
                "longest_stall_ms": round(self.stall_ms, 2),
                "longest_busy_stall_ms": round(self.busy_stall_ms, 2),
                "server_cpu_ms": round(self.server_cpu_ms, 3),
            },
            "direct_cpu_ms": round(self.direct_cpu_ms, 3),
            "gceshim_cpu_ms": round(self.shim_cpu_ms, 3),
            "cpu_ratio": round(self.cpu_ratio, 3),
            "added_ms": round(self.added_ms, 3),
            "ratio": round(self.ratio, 3),
            "throughput": round(self.throughput, 3),
        }


_COLUMNS: Sequence[tuple[str, int, Callable[[Row], str]]] = (
    ("machines", 8, lambda row: str(row.machines)),
    ("at once", 7, lambda row: str(row.concurrency)),
    ("operation", 14, lambda row: row.operation),
    ("direct ms", 9, lambda row: f"{row.direct.median_ms:.2f}"),
    ("p95", 7, lambda row: f"{row.direct.p95_ms:.1f}"),
    ("per s", 6, lambda row: f"{row.direct.per_second:.1f}"),
    ("calls", 5, lambda row: f"{row.direct_calls:.2f}"),
    ("gceshim ms", 10, lambda row: f"{row.shim.median_ms:.2f}"),
    ("p95", 7, lambda row: f"{row.shim.p95_ms:.1f}"),
    ("per s", 6, lambda row: f"{row.shim.per_second:.1f}"),
    ("calls", 5, lambda row: f"{row.shim_calls:.2f}"),
    ("added ms", 8, lambda row: f"{row.added_ms:+.2f}"),
    ("ratio", 5, lambda row: f"{row.ratio:.2f}"),
    ("throughput", 10, lambda row: f"{row.throughput:.0%}"),
    ("stall ms", 8, lambda row: f"{row.stall_ms:.0f}"),
    ("busy", 4, lambda row: f"{row.busy_stall_ms:.0f}"),
    ("server cpu", 10, lambda row: f"{row.server_cpu_ms:.2f}"),
    ("cpu ratio", 9, lambda row: f"{row.cpu_ratio:.2f}"),
)


def heading() -> str:
    """The names of the columns, and a line under them: a Markdown table."""
    names = " | ".join(name.rjust(width) for name, width, _ in _COLUMNS)
    return f"| {names} |\n|{'|'.join('-' * (width + 1) + ':' for _, width, _ in _COLUMNS)}|"


def line(row: Row) -> str:
    """One row of that table."""
    return f"| {' | '.join(cell(row).rjust(width) for _, width, cell in _COLUMNS)} |"


def facts() -> Mapping[str, str]:
    """The machine, and what runs on it."""
    versions = {name: importlib.metadata.version(name) for name in ("gceshim", *PACKAGES)}
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory_gib:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **versions,
    }


def machine() -> str:
    """The same for people."""
    return "\n".join(f"{name}: {value}" for name, value in facts().items())


def aims(rows: Sequence[Row]) -> str:
    """Each aim, and the rows that miss it."""
    reads = [row for row in rows if row.operation != "insert+wait"]
    gets = [row for row in rows if row.operation == "get" and row.concurrency == 1]
    lists = [row for row in reads if row.operation != "get" and (row.machines, row.concurrency) == (LIST_MACHINES, 1)]
    crowds = [row for row in rows if row.concurrency == CROWD]
    found = [
        _aim("a read makes two calls to CloudStack at most", reads, lambda row: row.shim_calls <= MOST_CALLS),
        _aim(f"a get adds under {MOST_ADDED_MS} ms", gets, lambda row: row.added_ms < MOST_ADDED_MS),
        _aim(f"a list of {LIST_MACHINES} costs under twice", lists, lambda row: row.ratio < MOST_LIST_RATIO),
        _aim(f"{LEAST_THROUGHPUT:.0%} of the throughput", crowds, lambda row: row.throughput >= LEAST_THROUGHPUT),
        _aim(f"no stall over {LONGEST_STALL_MS:.0f} ms", rows, lambda row: row.stall_ms <= LONGEST_STALL_MS),
    ]
    return "\n".join(["", *found])


def _aim(text: str, rows: Sequence[Row], met: Callable[[Row], bool]) -> str:
    missed = [f"{row.operation} of {row.machines} x{row.concurrency}" for row in rows if not met(row)]
    state = "not measured" if not rows else f"missed by {', '.join(missed)}" if missed else "met"
    return f"{text}: {state}"


def _sample(sample: Sample, calls: float) -> Mapping[str, float]:
    return {
        "operations": sample.count,
        "median_ms": round(sample.median_ms, 3),
        "p95_ms": round(sample.p95_ms, 3),
        "per_second": round(sample.per_second, 2),
        "calls": round(calls, 3),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [text.partition(":")[2].strip() for text in lines if text.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
