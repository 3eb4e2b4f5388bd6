"""What is printed of a soak: what grew, how long each operation took on both sides, and every error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.growth import Bound, Series
from benchmarks.load import Sample
from benchmarks.soak_load import OPERATIONS, Results

MIB = 1024.0**2
SHOWN_ERRORS = 20
MOST_STORE_KIB = 16.0
MOST_TASKS_LEFT = 8


def series() -> Mapping[str, Series]:
    """One for each number of the server's `/state`, and one for the cloud, with what is allowed to each."""
    rows = (
        ("rss_bytes", Series("memory (RSS)", "MiB", MIB, Bound(0.03, 4.0))),
        ("blocks", Series("objects allocated", "1000", 1000.0, Bound(0.03, 20.0))),
        ("tasks", Series("asyncio tasks", "", 1.0, Bound(0.25, 16.0))),
        ("descriptors", Series("open descriptors", "", 1.0, Bound(0.1, 16.0))),
        ("threads", Series("threads", "", 1.0, Bound(0.1, 2.0))),
        ("metric_lines", Series("lines of metrics", "", 1.0, Bound(0.02, 20.0))),
        ("wal_bytes", Series("store's log (WAL)", "MiB", MIB, Bound(0.1, 4.0))),
        ("store_bytes", Series("store", "MiB", MIB, None)),
        ("cloud_rss_bytes", Series("the simulated cloud", "MiB", MIB, None)),
    )
    return dict(rows)


@dataclass(frozen=True)
class Soak:
    """
    What was seen. `before` and `after`: the numbers of a server without load, by the names of `series()`.

    :param log: what the server's log told: level and message of each warning or error.
    """

    seconds: float
    concurrency: int
    tenants: int
    direct: Results
    shim: Results
    numbers: Mapping[str, Series]
    before: Mapping[str, float]
    after: Mapping[str, float]
    log: Sequence[tuple[str, str]]
    bugs: Sequence[str]

    @property
    def store_kib(self) -> float:
        """What the store grew by for each mutation: the records of operations, which are kept for days."""
        reads = {"get", "list", "aggregatedList", "operations", "refresh", "unknown (404)", "stranger (401)"}
        mutations = sum(len(times) for name, times in self.shim.latencies_seconds.items() if name not in reads)
        grown = self.after.get("store_bytes", 0.0) - self.before.get("store_bytes", 0.0)
        return max(0.0, grown) / 1024 / max(1, mutations)

    @property
    def broken(self) -> Sequence[str]:
        """Every bound that is broken, in words."""
        found = [
            f"{row.name} grew by {row.growth:.1f} {row.unit} in the last third, {row.allowed:.1f} are allowed"
            for row in self.numbers.values()
            if row.grows
        ]
        left = self.after.get("tasks", 0.0) - self.before.get("tasks", 0.0)
        if left > MOST_TASKS_LEFT:
            found.append(f"{left:.0f} asyncio tasks were left over")
        if self.decided and self.store_kib > MOST_STORE_KIB:
            found.append(f"the store grew by {self.store_kib:.1f} KiB for a mutation, {MOST_STORE_KIB:.0f} are allowed")
        for side, results in (("gceshim", self.shim), ("direct", self.direct)):
            found += [f"{count} errors of {name}, {side}" for name, count in results.errors.items()]
        if errors := sum(level == "error" for level, _ in self.log):
            found.append(f"{errors} errors in the server's log")
        return [*found, *(f"the simulator failed: {bug}" for bug in self.bugs)]

    @property
    def decided(self) -> bool:
        """Whether it was long enough to tell whether something grows."""
        return self.numbers["rss_bytes"].decided

    def to_json(self) -> Mapping[str, Any]:
        """All of it."""
        return {
            "seconds": round(self.seconds, 1),
            "concurrency": self.concurrency,
            "tenants": self.tenants,
            "numbers": {key: self._number(key, row) for key, row in self.numbers.items() if row.values},
            "operations": {name: self._operation(name) for name in self._names()},
            "limited": self.shim.limited,
            "errors": {"gceshim": self.shim.messages, "direct": self.direct.messages},
            "log": [{"level": level, "message": message} for level, message in self.log],
            "store_kib_per_mutation": round(self.store_kib, 2),
            "decided": self.decided,
            "broken": list(self.broken),
        }

    def text(self) -> str:
        """The same for people, as Markdown."""
        count = self.shim.count
        lines = [
            f"{self.seconds:.0f} s, {self.concurrency} clients of {self.tenants} tenants: {count} operations through "
            f"gceshim ({count / max(1.0, self.seconds):.0f} a second), {self.direct.count} directly; "
            f"{self.shim.limited} times 429; {self.store_kib:.1f} KiB of the store for a mutation",
            "",
            *_table(_NUMBER_COLUMNS, [self._cells(key, row) for key, row in self.numbers.items() if row.values]),
            "",
            *_table(_OPERATION_COLUMNS, [self._times(name) for name in self._names()]),
            "",
        ]
        told = [*self.shim.messages, *self.direct.messages, *(f"log: {level}: {text}" for level, text in self.log)]
        lines += told[:SHOWN_ERRORS]
        if len(told) > SHOWN_ERRORS:
            lines.append(f"... and {len(told) - SHOWN_ERRORS} more")
        if not self.decided:
            lines.append("too short to tell whether anything grows")
        lines += [f"broken: {text}" for text in self.broken] or ["no bound is broken"]
        return "\n".join(lines)

    def _names(self) -> Sequence[str]:
        return [name for name in OPERATIONS if self.shim.latencies_seconds.get(name)]

    def _number(self, key: str, row: Series) -> Mapping[str, Any]:
        return {
            "unit": row.unit,
            "before": self._scaled(self.before, key, row),
            "level": round(row.level, 2),
            "largest": round(max(row.values), 2),
            "after": self._scaled(self.after, key, row),
            "growth": round(row.growth, 2),
            "allowed": round(row.allowed, 2) if row.bound else None,
            "per_hour": round(row.per_hour, 1),
            "samples": [[round(at, 1), round(value, 2)] for at, value in zip(row.at_seconds, row.values, strict=True)],
        }

    @staticmethod
    def _scaled(numbers: Mapping[str, float], key: str, row: Series) -> float | None:
        return round(numbers[key] / row.scale, 2) if key in numbers else None

    def _operation(self, name: str) -> Mapping[str, Any]:
        shim, direct = self._sample(self.shim, name), self._sample(self.direct, name)
        answer: dict[str, Any] = {
            "gceshim": {"operations": shim.count, "median_ms": shim.median_ms, "p95_ms": shim.p95_ms},
            "errors": self.shim.errors[name],
        }
        if direct.count:
            answer["direct"] = {
                "operations": direct.count,
                "median_ms": direct.median_ms,
                "p95_ms": direct.p95_ms,
            }
            answer["ratio"] = shim.median_ms / direct.median_ms
        return answer

    def _cells(self, key: str, row: Series) -> Sequence[str]:
        found = self._number(key, row)
        verdict = "" if row.bound is None or not row.decided else "GROWS" if row.grows else "flat"
        allowed = "" if row.bound is None else f"{row.allowed:.1f}"
        name = f"{row.name}, {row.unit}" if row.unit else row.name
        shown = [_shown(found[part]) for part in ("before", "level", "largest", "after")]
        return [name, *shown, f"{row.growth:+.1f}", allowed, f"{row.per_hour:+.0f}", verdict]

    def _times(self, name: str) -> Sequence[str]:
        shim, direct = self._sample(self.shim, name), self._sample(self.direct, name)
        beside = ["", "", "", "", ""]
        if direct.count:
            ratios = (shim.median_ms / direct.median_ms, shim.p95_ms / direct.p95_ms)
            beside = [str(direct.count), f"{direct.median_ms:.1f}", f"{direct.p95_ms:.1f}"]
            beside += [f"{ratio:.2f}" for ratio in ratios]
        mine = [str(shim.count), f"{shim.median_ms:.1f}", f"{shim.p95_ms:.1f}"]
        return [name, *beside[:3], *mine, *beside[3:], str(self.shim.errors[name])]

    @staticmethod
    def _sample(results: Results, name: str) -> Sample:
        return Sample(results.latencies_seconds.get(name, []))


_NUMBER_COLUMNS = ("of the server", "before", "level", "largest", "after", "growth", "allowed", "per hour", "")
_OPERATION_COLUMNS = (
    "operation",
    "direct",
    "median ms",
    "p95",
    "gceshim",
    "median ms",
    "p95",
    "ratio",
    "ratio of p95",
    "errors",
)


def _shown(number: float | None) -> str:
    return "" if number is None else f"{number:.1f}".removesuffix(".0")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Sequence[str]:
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = [" | ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)) for cells in rows]
    head = " | ".join(name.rjust(width) for name, width in zip(columns, widths, strict=True))
    rule = "|".join("-" * (width + 1) + ":" for width in widths)
    return [f"| {head} |", f"|{rule}|", *(f"| {line} |" for line in lines)]
