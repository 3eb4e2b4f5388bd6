"""
Check the settings and the way to CloudStack step by step, and say what to mend.

Reads only. Without credentials it goes as far as one can without: whether the endpoint answers. Exit status 1 when
a check fails; a warning is something that works in part.

examples:
  gceshim doctor --config gceshim.toml
  gceshim doctor --config gceshim.toml --credentials alice
  gceshim doctor --config gceshim.toml --api-key KEY --secret-key-file key.txt --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from gceshim.commands.certificate_checks import check_certificate
from gceshim.commands.checks import Check, Checkup, Outcome
from gceshim.commands.errors import FAILED
from gceshim.commands.keys import add_keys, read_keys
from gceshim.commands.options import add_config, load_settings
from gceshim.commands.shims import access, load_driver
from gceshim.model import Credentials
from gceshim.settings import Settings

MARKS: Final = {Outcome.OK: "✓", Outcome.WARNING: "!", Outcome.FAILED: "✗", Outcome.SKIPPED: "-"}
WORDS: Final = {Outcome.OK: "ok", Outcome.WARNING: "warn", Outcome.FAILED: "FAIL", Outcome.SKIPPED: "skip"}
COLOURS: Final = {Outcome.OK: "32", Outcome.WARNING: "33", Outcome.FAILED: "31", Outcome.SKIPPED: "2"}


def configure(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--credentials", metavar="NAME", help="check with these stored credentials")
    add_keys(parser)
    parser.add_argument("--project", metavar="P", default="default", help="check as this project (default: default)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Make all checks, print them, and fail if one of them did."""
    settings = load_settings(args, environ)
    given = read_keys(args, environ) if args.api_key else None
    checks = asyncio.run(_check(settings, args, given))
    failed = any(check.outcome is Outcome.FAILED for check in checks)
    if args.json:
        rows = [
            {"name": check.name, "outcome": check.outcome.value, "text": check.text, "mend": check.mend}
            for check in checks
        ]
        print(json.dumps({"ok": not failed, "checks": rows}, indent=2, ensure_ascii=False))
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in environ
        for check in checks:
            print(_line(check, colour))
    return FAILED if failed else 0


async def _check(settings: Settings, args: argparse.Namespace, given: Credentials | None) -> list[Check]:
    driver = load_driver(settings)
    try:
        checkup = Checkup(driver, settings)
        checkup.checks.extend(check_certificate(settings.server, datetime.now(UTC)))
        await checkup.store()
        if args.credentials and not given:
            async with access(settings) as here:
                given = await here.vault.get(args.credentials)
        await checkup.backend(given, args.project)
        return checkup.checks
    finally:
        await driver.close()


def _line(check: Check, colour: bool) -> str:
    mark = MARKS[check.outcome]
    try:
        mark.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        mark = WORDS[check.outcome]
    if colour:
        mark = f"\033[{COLOURS[check.outcome]}m{mark}\033[0m"
    mend = f"\n    {check.mend}" if check.mend else ""
    return f"{mark} {check.name}: {check.text}{mend}"
