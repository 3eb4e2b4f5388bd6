"""
Store CloudStack key pairs, encrypted, and make bearer tokens for them.

A running server sees changes at once. The secret key is never an argument: it is read from a file, standard
input, $GCESHIM_SECRET_KEY, or asked for.

examples:
  gceshim credentials add alice --config gceshim.toml --api-key KEY
  export GCESHIM_CONFIG=gceshim.toml
  gceshim credentials list
  gceshim credentials token alice --output token.txt
  gceshim credentials remove alice
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from gceshim.commands.errors import USAGE, CommandError
from gceshim.commands.keys import add_keys, read_keys
from gceshim.commands.options import add_action, load_settings
from gceshim.commands.running import write_private
from gceshim.commands.shims import Access, access, account_of
from gceshim.settings import Settings

Action = Callable[[argparse.Namespace, Mapping[str, str], Settings], Awaitable[None]]

PAGE_SIZE: Final = 500


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = add_action(actions, "add", "store a key pair under a name, once CloudStack has accepted it", _add)
    add.add_argument("name", metavar="NAME", help="what to call them here")
    add_keys(add)
    add.add_argument("--url", metavar="URL", help="CloudStack's API (default: the settings')")
    add.add_argument("--overwrite", action="store_true", help="replace what is stored under the name")
    listing = add_action(actions, "list", "what is stored, without secrets", _list)
    listing.add_argument("--json", action="store_true", help="print one JSON array")
    remove = add_action(actions, "remove", "forget a key pair and revoke its tokens", _remove)
    remove.add_argument("name", metavar="NAME", help="what they are called here")
    token = add_action(actions, "token", "make a bearer token", _token)
    token.add_argument("name", metavar="NAME", help="what they are called here")
    token.add_argument(
        "--lifetime",
        type=_seconds,
        metavar="S",
        help="how long it is good: seconds, or 30m, 12h, 7d (default: settings)",
    )
    token.add_argument(
        "--output", metavar="FILE", help="write it there, readable by this user alone; else it is printed"
    )


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Do the action chosen."""
    settings = load_settings(args, environ)
    if url := getattr(args, "url", None):
        settings = load_settings(args, environ, {f"driver.{settings.driver.name}.url": url})
    asyncio.run(args.action_run(args, environ, settings))
    return 0


async def _add(args: argparse.Namespace, environ: Mapping[str, str], settings: Settings) -> None:
    keys = read_keys(args, environ)
    account = await account_of(settings, keys)
    async with access(settings) as here:
        try:
            stored = await here.vault.add(args.name, account, keys, overwrite=args.overwrite)
        except ValueError as exc:
            raise CommandError(f"{args.name!r}: {exc}", USAGE) from exc
    print(f"stored {stored.subject}: account {account.name}, domain {account.domain}")


async def _list(args: argparse.Namespace, _environ: Mapping[str, str], settings: Settings) -> None:
    async with access(settings) as here:
        found = await _all(here)
    if args.json:
        print(json.dumps(found, indent=2))
        return
    if not found:
        print(f"there are no credentials in {here.where}; --config names another store", file=sys.stderr)
    for row in found:
        print(f"{row['name']}\taccount {row['account']}\tdomain {row['domain']}\tsince {row['created'][:10]}")


async def _all(here: Access) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    while page := await here.vault.list(after=rows[-1]["name"] if rows else "", limit=PAGE_SIZE):
        rows += [
            {
                "name": stored.subject,
                "account": stored.account.name,
                "domain": stored.account.domain,
                "user": stored.account.user,
                "created": stored.created.isoformat(),
            }
            for stored in page
        ]
    return rows


async def _remove(args: argparse.Namespace, _environ: Mapping[str, str], settings: Settings) -> None:
    async with access(settings) as here:
        revoked = await here.vault.remove(args.name)
    print(f"removed {args.name}, and {revoked} token{'' if revoked == 1 else 's'} with it")


async def _token(args: argparse.Namespace, _environ: Mapping[str, str], settings: Settings) -> None:
    async with access(settings) as here:
        await here.vault.lookup(args.name)  # a token for nobody would be refused later, with less to go by
        token = await here.tokens.issue(args.name, args.lifetime or settings.auth.token_lifetime_seconds)
    if args.output:
        write_private(Path(args.output), token + "\n")
    else:
        print(token)


def _seconds(text: str) -> int:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    if not (number.isascii() and number.isdigit()) or not 1 <= int(number) * unit <= 365 * 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time of 1 s to 365d")
    return int(number) * unit
