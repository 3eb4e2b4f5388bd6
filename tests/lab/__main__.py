"""
Run the laboratory over as many seeds as one likes.

  python -m tests.lab kills --seeds 100      servers are killed with 200 mutations in flight
  python -m tests.lab kills --seeds 20 --servers 2 --mongodb
  python -m tests.lab trouble --seeds 20     one call to the cloud in five goes wrong
  python -m tests.lab steps                  a server is killed at each step of insert, delete and patch

Prints the seed of each run that did not end as it should; `--first SEED --seeds 1` repeats it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lab.boundaries import SCENARIOS, boundaries
from tests.lab.storm import Outcome, kills
from tests.lab.trouble import trouble
from tests.mongodb import serving

COUNTS = {"kills": 200, "trouble": 500, "steps": 0}


def main() -> int:
    """Run what is asked for; exit status 1 when something was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=COUNTS, nargs="?", default="kills")
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="how many runs")
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="the seed of the first run")
    parser.add_argument("--count", type=int, metavar="N", help="mutations of a run")
    parser.add_argument("--servers", type=int, default=1, metavar="N", help="servers side by side")
    parser.add_argument("--mongodb", action="store_true", help="over MongoDB instead of the embedded store")
    parser.add_argument("--keep", metavar="FOLDER", help="keep stores and logs there")
    args = parser.parse_args()
    bad = []
    seeds = range(len(SCENARIOS)) if args.what == "steps" else range(args.first, args.first + args.seeds)
    for seed in seeds:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as passing:
            folder = Path(args.keep or passing) / f"{args.what}-{seed}"
            folder.mkdir(parents=True)
            outcome = _run(args, seed, folder)
        sys.stdout.write(f"{outcome} ({time.monotonic() - started:.1f} s)\n")
        sys.stdout.flush()
        bad += [seed] if outcome.problems else []
    sys.stdout.write(f"bad seeds: {bad}\n" if bad else "all is well\n")
    return 1 if bad else 0


def _run(args: argparse.Namespace, seed: int, folder: Path) -> Outcome:
    count = args.count or COUNTS[args.what]
    with contextlib.ExitStack() as stack:
        settings = stack.enter_context(_store(folder)) if args.mongodb else None
        if args.what == "steps":
            return asyncio.run(boundaries(folder, SCENARIOS[seed], thorough=True))
        if args.what == "trouble":
            return asyncio.run(trouble(folder, seed, count=count, settings=settings))
        return asyncio.run(kills(folder, seed, count=count, servers=args.servers, settings=settings))


@contextlib.contextmanager
def _store(folder: Path) -> Iterator[dict[str, Any]]:
    """The settings of servers over a MongoDB of their own."""
    place = folder / "mongodb"
    place.mkdir()
    with serving(place) as uri:
        yield {"store.mongodb_uri": uri, "store.mongodb_standalone": True, "store.mongodb_database": "laboratory"}


if __name__ == "__main__":
    sys.exit(main())
