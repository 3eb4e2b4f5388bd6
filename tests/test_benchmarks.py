"""The benchmark runs and its parts measure what they say; no time is asserted, as machines differ."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from benchmarks.sides import Failed
from benchmarks.soak_load import Results
from benchmarks.soak_report import Soak, series
from gceshim.pace import Pace
from gceshim.testing.stalls import StallMonitor

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
LEAST = ["--quick", "--machines", "3", "--concurrency", "2", "--seconds", "0.2"]


async def within(work: Coroutine[Any, Any, T], seconds: float = 10) -> T:
    """What it gives, unless it takes longer."""
    return await asyncio.wait_for(work, seconds)


def benchmark(*options: str) -> str:
    """What the command prints."""
    command = [sys.executable, "-m", "benchmarks", *LEAST, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_benchmark_measures_both_sides_of_every_operation():
    """One row each, with the same calls to the cloud on both sides of a read, for otherwise the ratio says little."""
    found = json.loads(benchmark("--json"))
    rows = {row["operation"]: row for row in found["rows"]}
    assert list(rows) == ["get", "list", "aggregatedList", "insert+wait"]
    for name, row in rows.items():
        assert min(row["direct"]["operations"], row["gceshim"]["operations"]) > 0, name
        assert row["direct"]["median_ms"] > 0 < row["gceshim"]["median_ms"], name
    for name in ("get", "list", "aggregatedList"):
        assert round(rows[name]["gceshim"]["calls"]) == round(rows[name]["direct"]["calls"]) == 2, name
    assert found["machine"]["cores"] == str(int(found["machine"]["cores"]))


def test_the_table_ends_with_the_aims():
    """Whoever runs it sees at once what is met."""
    text = benchmark("--operations", "get")
    assert "| machines |" in text
    assert "a read makes two calls to CloudStack at most: met" in text


def test_a_profile_names_functions():
    """Where an aim is missed, this is the next step."""
    text = benchmark("--operations", "get", "--profile")
    assert "get, 3 machines, 2 at once" in text
    assert "gceshim/protocol/service.py" in text or "tornado" in text


def test_a_stall_is_noticed():
    """What blocks the loop's own thread shows in both numbers."""

    async def main() -> tuple[float, float]:
        monitor = StallMonitor()
        monitor.start()
        monitor.reset()
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass
        for _ in range(3):  # the monitor's timer has long been due
            await asyncio.sleep(0)
        monitor.stop()
        monitor.stop()
        return monitor.longest_seconds, monitor.longest_busy_seconds

    longest, busy = asyncio.run(within(main()))
    assert longest >= 0.03
    assert 0.03 <= busy <= longest


def test_a_long_list_is_converted_in_order_and_lets_others_run():
    """Others get their turn before it is done."""

    async def main() -> tuple[list[int], int]:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        running = asyncio.create_task(other())
        made = await Pace().map(lambda number: number * 2, range(500))
        running.cancel()
        return made, turns

    made, turns = asyncio.run(main())
    assert made == [number * 2 for number in range(500)]
    assert turns >= 5


def test_of_many_who_look_through_long_lists_one_does_at_a_time():
    """Pages that come in together hold up the loop for as long as one of them takes, and not for all."""

    async def main(length: int) -> list[int]:
        pace, passes, held = Pace(), 0, []

        async def count() -> None:
            nonlocal passes
            while len(held) < 5:
                passes += 1
                await asyncio.sleep(0)

        async def look() -> None:
            await pace.turn(range(length))
            held.append(passes)

        await asyncio.gather(count(), *(look() for _ in range(5)))
        return held

    long, short = asyncio.run(within(main(500))), asyncio.run(within(main(5)))
    assert len(set(long)) == 5
    assert len(set(short)) == 1


def test_a_conversion_that_fails_does_not_keep_the_others_waiting():
    """A row that cannot be converted is an error of one request."""

    def fail(_: int) -> int:
        raise ValueError("a bad row")

    async def main() -> list[int]:
        pace = Pace()
        with pytest.raises(ValueError, match="a bad row"):
            await pace.map(fail, range(100))
        return await pace.map(int, range(100))

    assert asyncio.run(within(main())) == list(range(100))


SOAK = [sys.executable, "-m", "benchmarks", "soak", "--concurrency", "3", "--tenants", "2"]


def test_a_soak_reports_both_sides_and_that_nothing_failed():
    """A mixture that fails by itself, or is never compared, would tell nothing of the server."""
    command = [*SOAK, "--minutes", "0.1", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    found = json.loads(done.stdout)
    assert (done.returncode, found["broken"], found["log"], done.stderr) == (0, [], [], "")
    assert found["decided"] is False
    assert {"insert", "list", "refresh"} <= found["operations"].keys()
    assert found["operations"]["list"]["ratio"] > 0
    assert found["numbers"]["rss_bytes"]["level"] > 10
    assert len(found["numbers"]["tasks"]["samples"]) > 5
    assert found["numbers"]["tasks"]["after"] <= found["numbers"]["tasks"]["before"] + 8


def test_a_soak_that_is_interrupted_tells_what_is_known():
    """Who has seen enough must not wait, nor lose what was measured."""
    command = [*SOAK, "--minutes", "10"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("begun"):
                break
        process.send_signal(signal.SIGINT)
        try:
            text, told = process.communicate(timeout=300)
        finally:
            process.kill()
    assert (process.returncode, told) == (0, "")
    assert "clients of 2 tenants" in text
    assert "no bound is broken" in text


def soak_of(values: list[float], *, failed: str = "", seconds: float = 600.0) -> Soak:
    """A soak in which the server's memory, in MiB, had these values."""
    results = Results(lambda _: None)
    if failed:
        results.failed("list", Failed(failed))
    numbers = series()
    for number, value in enumerate(values):
        numbers["rss_bytes"].add(number * seconds / len(values), value * 1024 * 1024)
    return Soak(
        seconds=seconds,
        concurrency=1,
        tenants=1,
        direct=Results(lambda _: None),
        shim=results,
        numbers=numbers,
        before={"tasks": 5},
        after={"tasks": 5},
        log=[],
        bugs=[],
    )


@pytest.mark.parametrize(
    ("values", "grows"),
    [
        ([100 + number * 0.2 for number in range(300)], True),
        ([min(200, 100 + number) for number in range(300)], False),
        ([150 + 5 * (number % 7) for number in range(300)], False),
        ([200 - number * 0.2 for number in range(300)], False),
        ([150 + 4 * (number % 7) + number * 0.15 for number in range(300)], True),
    ],
    ids=["leak", "warm-up", "sawtooth", "shrinks", "sawtooth that rises"],
)
def test_memory_without_a_plateau_is_told(values: list[float], grows: bool):
    """What a server takes to warm up is no leak; what it takes more of in the last third is."""
    broken = soak_of(values).broken
    assert bool(broken) is grows
    if grows:
        assert "memory (RSS) grew by" in broken[0]


def test_a_short_soak_does_not_tell_about_growth():
    """A server that warms up grows."""
    soak = soak_of([100 + number for number in range(300)], seconds=30.0)
    assert soak.broken == []
    assert "too short" in soak.text()


def test_an_error_of_a_soak_is_shown_with_its_operation():
    """One error among a million calls is what a soak is for."""
    soak = soak_of([100.0] * 300, failed="503: no answer")
    assert soak.broken == ["1 errors of list, gceshim"]
    assert "list: 503: no answer" in soak.text()
