"""
Print the lines that point gcloud (or Terraform) at a server that runs on this machine.

A demo is found by itself. For `serve`, stored credentials are used: a new token is made for them, and kept in a
file that only this user can read.

examples:
  eval "$(gceshim env)"
  gceshim env --shell fish | source
  eval "$(gceshim env --credentials alice --project web --for terraform)"
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gceshim.commands import lines
from gceshim.commands.errors import USAGE, CommandError
from gceshim.commands.options import add_config, config_path, port
from gceshim.commands.running import Running, choose, find, write_private
from gceshim.commands.trust import own_authority
from gceshim.settings import Settings

_MADE_UP: Final = re.compile(r"#[0-9a-f]{8}$|@[^@]*\.iam\.gserviceaccount\.com$")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=port, metavar="N", help="the server that listens there, when several run")
    add_config(parser)
    parser.add_argument("--credentials", metavar="NAME", help="stored credentials to use, when there are several")
    parser.add_argument("--project", metavar="P", help="project to work in (default: the account's own)")
    parser.add_argument("--for", dest="client", choices=lines.CLIENTS, default="gcloud", help="which client's lines")
    parser.add_argument("--shell", choices=lines.SHELLS, default="sh", help="which shell's lines (sh: bash, zsh too)")
    parser.add_argument("--json", action="store_const", const="json", dest="shell", help="the same as --shell json")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Find the server, make a token where one is needed, print."""
    server = choose(find(environ), args.port)
    if server.kind == "serve":
        config = args.config or server.config or config_path(args, environ)
        server = asyncio.run(with_token(server, Settings.load(config or None, environ), args.credentials))
    if args.project:
        server = dataclasses.replace(server, project=args.project)
    values = lines.variables(server, args.client)
    if args.client == "gcloud" and (authority := own_authority(server.url, environ)):
        values["CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"] = authority
    print(lines.shown(values, args.shell))
    return 0


async def with_token(server: Running, settings: Settings, wanted: str | None) -> Running:
    """
    The server with a file that holds a new token, and with the project of the account.

    :param wanted: the name of stored credentials; None: the only ones there are. :raises CommandError: there are none.
    """
    # Imported here so that the lines of a demo are printed at once: this brings in the whole server.
    from gceshim.commands.shims import access  # noqa: PLC0415

    async with access(settings) as here:
        if wanted is None:
            # Those of people who signed in and of service accounts were not stored to be used from here.
            stored_here = (stored.subject for stored in await here.vault.list(limit=1000))
            names = [name for name in stored_here if not _MADE_UP.search(name)]
            if len(names) != 1:
                there = (
                    f"choose one by --credentials: {', '.join(names)}"
                    if names
                    else "gceshim credentials add stores some"
                )
                raise CommandError(
                    f"{'several credentials are' if names else 'no credentials are'} stored; {there}", USAGE
                )
            wanted = names[0]
        stored, _ = await here.vault.lookup(wanted)
        token = await here.tokens.issue(wanted, settings.auth.token_lifetime_seconds)
    file = Path(settings.store.path).parent / "tokens" / f"{server.port}-{stored.account.backend_id}"
    write_private(file, token + "\n")
    return dataclasses.replace(server, token_file=str(file), project=lines.own_project(stored.account.name))
