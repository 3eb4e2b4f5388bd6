"""
Look at the store, bring its schema up to date, and change the master key.

What is encrypted in the store, and the tokens that are good, hang on the master key. It is changed in steps: run
`rotate-key`, do what it says (SIGHUP to servers), run it again, until it says that the old key is needed no more. Any
step can be repeated, and servers go on all the while.

examples:
  gceshim store status --config gceshim.toml
  gceshim store migrate --config gceshim.toml
  gceshim store rotate-key --config gceshim.toml
  gceshim store rotate-key --finish --config gceshim.toml
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gceshim.commands.errors import FAILED
from gceshim.commands.options import add_action, load_settings
from gceshim.commands.rotation import finish, rotate
from gceshim.commands.shims import unopened_store
from gceshim.commands.store_status import look, shown
from gceshim.settings import Settings

Action = Callable[[argparse.Namespace, Settings], Awaitable[int]]

ERASE_LINE: Final = "\r\033[K"


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    status = add_action(actions, "status", "what the store holds, who uses it and which keys it needs", _status)
    status.add_argument("--json", action="store_true", help="print one JSON object")
    add_action(actions, "migrate", "bring an older schema up to date", _migrate)
    rotation = add_action(actions, "rotate-key", "go one step further in changing the master key", _rotate)
    rotation.add_argument("--finish", action="store_true", help="give up the old key, once nothing needs it")
    rotation.add_argument(
        "--revoke-tokens", action="store_true", help="with --finish: revoke the tokens that the old key has signed"
    )
    rotation.add_argument(
        "--force", action="store_true", help="do not wait for servers that have not read the keys; they will fail"
    )


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Do the action chosen."""
    status: int = asyncio.run(args.action_run(args, load_settings(args, environ)))
    return status


async def _status(args: argparse.Namespace, settings: Settings) -> int:
    found = await look(settings)
    print(json.dumps(found, indent=2) if args.json else shown(found))
    return 0 if found["schema"] in {0, found["schema_of_release"]} else FAILED


async def _migrate(_args: argparse.Namespace, settings: Settings) -> int:
    async with unopened_store(settings) as store:
        before = await store.upkeep.version()
        await store.upkeep.migrate(_report)
        after = await store.upkeep.version()
    if sys.stderr.isatty():
        print(ERASE_LINE, end="", file=sys.stderr)
    print(f"{store.upkeep.where}: schema {after}" + (f", was {before or 'none'}" if after != before else " as before"))
    return 0


async def _rotate(args: argparse.Namespace, settings: Settings) -> int:
    if args.finish:
        await finish(settings, _report, revoke_tokens=args.revoke_tokens, force=args.force)
    else:
        await rotate(settings, _report, force=args.force)
    return 0


def _report(what: str, done: int, total: int) -> None:
    """How far it is, on one line of a terminal that is written again and again."""
    if sys.stderr.isatty():
        print(f"{ERASE_LINE}{what}: {done} of {total}", end="", file=sys.stderr, flush=True)
