"""
Make service accounts: CloudStack key pairs for programs, with key files in Google's form.

A key file is what `gcloud auth activate-service-account`, Google's libraries (GOOGLE_APPLICATION_CREDENTIALS),
Terraform (`credentials`) and Ansible take. Its private key is not kept here: a lost file is replaced by another key. A
running server sees changes at once. NAME is the name given to `create`, or the whole address.

examples:
  gceshim service-account create ci --config gceshim.toml --api-key KEY --output ci.json
  export GCESHIM_CONFIG=gceshim.toml
  gceshim service-account list
  gceshim service-account key create ci --output ci-new.json
  gceshim service-account key delete ci 3f0c... --revoke-tokens
  gceshim service-account delete ci
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gceshim.auth.service_accounts.accounts import ServiceAccount
from gceshim.auth.service_accounts.key_files import key_file
from gceshim.commands.errors import USAGE, CommandError
from gceshim.commands.keys import add_keys, read_keys
from gceshim.commands.lines import PROJECT, own_project
from gceshim.commands.options import add_action, load_settings, url
from gceshim.commands.running import find, write_private
from gceshim.commands.shims import access, account_of
from gceshim.settings import Settings

Action = Callable[[argparse.Namespace, Mapping[str, str], Settings], Awaitable[None]]

STANDARD_OUTPUT: Final = "-"
SECONDS_OF_A_DAY: Final = 86_400


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = add_action(
        actions, "create", "store a key pair, once CloudStack has accepted it, and write a key file", _create
    )
    _add_name(create, "what to call it: 1 to 30 lower-case letters, digits, dashes")
    _add_pair(create)
    _add_output(create)
    update = add_action(actions, "update", "store another key pair of the same account; key files stay good", _update)
    _add_name(update)
    _add_pair(update)
    listing = add_action(actions, "list", "service accounts and their keys, without secrets", _list)
    listing.add_argument("--json", action="store_true", help="print one JSON array")
    delete = add_action(
        actions, "delete", "forget a service account, its keys and key pair, and revoke its tokens", _delete
    )
    _add_name(delete)
    key = actions.add_parser("key", help="make, list and delete keys", description="Make, list and delete keys")
    keys = key.add_subparsers(dest="action", metavar="ACTION", required=True)
    _configure_keys(keys)


def _configure_keys(actions: Any) -> None:
    create = add_action(
        actions, "create", "make another key and write its file; those that are there stay good", _key_create
    )
    _add_name(create)
    _add_output(create)
    listing = add_action(actions, "list", "the keys of a service account", _key_list)
    _add_name(listing)
    listing.add_argument("--json", action="store_true", help="print one JSON array")
    delete = add_action(actions, "delete", "refuse from now on what a key signs", _key_delete)
    _add_name(delete)
    delete.add_argument("key_id", metavar="KEY_ID", help="as `key list` shows it")
    delete.add_argument(
        "--revoke-tokens",
        action="store_true",
        help="revoke the account's tokens too, as for a stolen key; those got by other keys are fetched anew",
    )


def _add_name(parser: argparse.ArgumentParser, meaning: str = "its name, or its whole address") -> None:
    parser.add_argument("name", metavar="NAME", help=meaning)


def _add_pair(parser: argparse.ArgumentParser) -> None:
    add_keys(parser)
    parser.add_argument("--cloudstack-url", metavar="URL", help="CloudStack's API (default: the settings')")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", metavar="FILE", help="the key file, for this user alone; - prints it (default: NAME.json)"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    parser.add_argument(
        "--url",
        metavar="URL",
        type=url,
        help="where clients reach this server (default: server.public_url, else a server that runs on this machine)",
    )
    parser.add_argument(
        "--project", metavar="P", help="the project in the file (default: the account's own)", type=_project
    )


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Do the action chosen."""
    settings = load_settings(args, environ)
    if api := getattr(args, "cloudstack_url", None):
        settings = load_settings(args, environ, {f"driver.{settings.driver.name}.url": api})
    asyncio.run(args.action_run(args, environ, settings))
    return 0


async def _create(args: argparse.Namespace, environ: Mapping[str, str], settings: Settings) -> None:
    output, address = _output(args), _url(args, environ, settings)
    keys = read_keys(args, environ)
    account = await account_of(settings, keys)
    async with access(settings) as here:
        made, private = await here.service_accounts.create(args.name, account, keys)
        try:
            _write(output, key_file(made, private, address, args.project or _project_of(made)), force=args.force)
        except CommandError:
            await here.service_accounts.delete(made.email)  # nobody has its key
            raise
    if output != STANDARD_OUTPUT:
        print(f"stored {made.email}: account {account.name}, domain {account.domain}\n{_next(output)}")


async def _update(args: argparse.Namespace, environ: Mapping[str, str], settings: Settings) -> None:
    keys = read_keys(args, environ)
    account = await account_of(settings, keys)
    async with access(settings) as here:
        found = await here.service_accounts.find(args.name)
        await here.service_accounts.replace_pair(found.email, account, keys)
    print(f"{found.email} acts with the new key pair")


async def _list(args: argparse.Namespace, _environ: Mapping[str, str], settings: Settings) -> None:
    async with access(settings) as here:
        found = [account async for account in here.service_accounts.list()]
    if args.json:
        print(json.dumps([_shown(account) for account in found], indent=2))
        return
    if not found:
        print(f"there are no service accounts in {here.where}; --config names another store", file=sys.stderr)
        return
    rows = [("ADDRESS", "ACCOUNT", "DOMAIN", "KEY", "AGE")]
    for account in found:
        start = (account.email, account.account.name, account.account.domain)
        rows += [(*start, key.id, _age(key.created)) for key in account.keys] or [(*start, "none", "")]
    _print_table(rows)


async def _delete(args: argparse.Namespace, _environ: Mapping[str, str], settings: Settings) -> None:
    async with access(settings) as here:
        account = await here.service_accounts.find(args.name)
        revoked = await here.service_accounts.delete(account.email)
    print(f"deleted {account.email}, and {_tokens(revoked)} with it")


async def _key_create(args: argparse.Namespace, environ: Mapping[str, str], settings: Settings) -> None:
    output, address = _output(args), _url(args, environ, settings)
    async with access(settings) as here:
        account = await here.service_accounts.find(args.name)
        private = await here.service_accounts.add_key(account.email)
        try:
            _write(output, key_file(account, private, address, args.project or _project_of(account)), force=args.force)
        except CommandError:
            await here.service_accounts.remove_key(account.email, private.id)  # nobody has it
            raise
    if output != STANDARD_OUTPUT:
        others = "".join(f"\n  {key.id}, {_age(key.created)} old" for key in account.keys)
        print(f"made key {private.id} of {account.email}\n{_next(output)}")
        if others:
            print(f"once nobody uses them any more, delete the older keys:{others}")


async def _key_list(args: argparse.Namespace, _environ: Mapping[str, str], settings: Settings) -> None:
    async with access(settings) as here:
        account = await here.service_accounts.find(args.name)
    if args.json:
        print(json.dumps(_shown(account)["keys"], indent=2))
    else:
        _print_table([("KEY", "AGE"), *((key.id, _age(key.created)) for key in account.keys)])


async def _key_delete(args: argparse.Namespace, _environ: Mapping[str, str], settings: Settings) -> None:
    async with access(settings) as here:
        account = await here.service_accounts.find(args.name)
        await here.service_accounts.remove_key(account.email, args.key_id)
        revoked = await here.tokens.revoke_all(account.email) if args.revoke_tokens else None
    done = f"deleted key {args.key_id} of {account.email}"
    if revoked is None:
        print(f"{done}; tokens that it was used for stay good until they expire (--revoke-tokens ends them)")
    else:
        print(f"{done}, and revoked {_tokens(revoked)}")


def _shown(account: ServiceAccount) -> dict[str, Any]:
    return {
        "email": account.email,
        "clientId": account.client_id,
        "account": account.account.name,
        "domain": account.account.domain,
        "created": account.created.isoformat(),
        "keys": [
            {"id": key.id, "created": key.created.isoformat(), "ageDays": _age_days(key.created)}
            for key in account.keys
        ],
    }


def _age_days(since: datetime) -> int:
    return max(0, int((datetime.now(UTC) - since).total_seconds() // SECONDS_OF_A_DAY))


def _age(since: datetime) -> str:
    days = _age_days(since)
    return f"{days} day{'' if days == 1 else 's'}"


def _tokens(number: int) -> str:
    return f"{number} token{'' if number == 1 else 's'}"


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _output(args: argparse.Namespace) -> str:
    """Where the key goes. Looked at before a key is made, although writing is what decides."""
    output: str = args.output or f"{args.name.partition('@')[0]}.json"
    if output != STANDARD_OUTPUT and not args.force and Path(output).exists():
        raise CommandError(f"{output}: there is a file already; --force writes over it", USAGE)
    return output


def _write(output: str, text: str, *, force: bool) -> None:
    if output == STANDARD_OUTPUT:
        print(text, end="")
        return
    try:
        write_private(Path(output), text, overwrite=force)
    except OSError as exc:
        if isinstance(exc, FileExistsError) and Path(output).exists():  # else a file is in the place of a folder
            raise CommandError(f"{output}: there is a file already; --force writes over it", USAGE) from exc
        raise CommandError(f"{output}: cannot be written: {exc.strerror}", USAGE) from exc


def _next(output: str) -> str:
    return (
        f"key file: {output}, which opens all that the key pair does\n"
        f"use it: gceshim gcloud-config --key-file {output}, or GOOGLE_APPLICATION_CREDENTIALS={output}"
    )


def _url(args: argparse.Namespace, environ: Mapping[str, str], settings: Settings) -> str:
    """Where the holder of the key file will find this server."""
    if args.url:
        return str(args.url)
    if settings.server.public_url:
        return settings.server.public_url.rstrip("/")
    running = [server.url for server in find(environ) if server.kind == "serve"]
    if len(running) != 1:
        why = f"several servers run: {', '.join(running)}" if running else "no server of this user runs"
        raise CommandError(
            f"give --url, where clients reach the server: server.public_url is not set, and {why}", USAGE
        )
    return running[0]


def _project_of(account: ServiceAccount) -> str:
    return own_project(account.account.name)


def _project(text: str) -> str:
    if not PROJECT.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no project: lower-case letters, digits, dashes")
    return text
