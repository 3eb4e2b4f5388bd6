"""
Run the laboratory over as many seeds as one likes: `python -m tests.lab --seeds 100`.

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

from tests.lab.storm import kills
from tests.mongodb import serving


def main() -> int:
    """Run what is asked for; exit status 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="how many runs")
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="the seed of the first run")
    parser.add_argument("--count", type=int, default=200, metavar="N", help="mutations in flight")
    parser.add_argument("--servers", type=int, default=1, metavar="N", help="servers side by side")
    parser.add_argument("--mongodb", action="store_true", help="over MongoDB instead of the embedded store")
    parser.add_argument("--keep", metavar="FOLDER", help="keep stores and logs there")
    args = parser.parse_args()
    bad = []
    for seed in range(args.first, args.first + args.seeds):
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as passing:
            folder = Path(args.keep or passing) / f"seed-{seed}"
            folder.mkdir(parents=True)
            with contextlib.ExitStack() as stack:
                settings = stack.enter_context(_store(folder)) if args.mongodb else None
                outcome = asyncio.run(kills(folder, seed, count=args.count, servers=args.servers, settings=settings))
        sys.stdout.write(f"{outcome} ({time.monotonic() - started:.1f} s)\n")
        sys.stdout.flush()
        bad += [seed] if outcome.problems else []
    sys.stdout.write(f"bad seeds: {bad}\n" if bad else "all is well\n")
    return 1 if bad else 0


@contextlib.contextmanager
def _store(folder: Path) -> Iterator[dict[str, Any]]:
    """The settings of servers over a MongoDB of their own."""
    place = folder / "mongodb"
    place.mkdir()
    with serving(place) as uri:
        yield {"store.mongodb_uri": uri, "store.mongodb_standalone": True, "store.mongodb_database": "laboratory"}


if __name__ == "__main__":
    sys.exit(main())
