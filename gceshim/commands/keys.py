"""A key pair from the command line, its secret never an argument that a process list shows."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Mapping
from pathlib import Path

from gceshim.commands.errors import USAGE, CommandError
from gceshim.model import Credentials


def add_keys(parser: argparse.ArgumentParser) -> None:
    """The arguments that `read_keys` reads."""
    parser.add_argument("--api-key", metavar="KEY", help="the API key")
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument(
        "--secret-key-file",
        metavar="FILE",
        help="file with the secret key (default: $GCESHIM_SECRET_KEY, else it is asked for)",
    )
    secret.add_argument("--secret-key-stdin", action="store_true", help="read the secret key from standard input")


def read_keys(args: argparse.Namespace, environ: Mapping[str, str]) -> Credentials:
    """
    The key pair given.

    :raises CommandError: there is none, or half of one.
    """
    api_key = (args.api_key or "").strip() or _asked("API key: ", "--api-key")
    if args.secret_key_file:
        secret_key = _read(args.secret_key_file)
    elif args.secret_key_stdin:
        secret_key = sys.stdin.readline()
    elif environ.get("GCESHIM_SECRET_KEY"):
        secret_key = environ["GCESHIM_SECRET_KEY"]
    else:
        secret_key = _asked("Secret key: ", "--secret-key-file, --secret-key-stdin or $GCESHIM_SECRET_KEY", hide=True)
    if not secret_key.strip():
        raise CommandError("the secret key is empty", USAGE)
    return Credentials(api_key=api_key, secret_key=secret_key.strip())


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandError(f"{path}: cannot be read: {getattr(exc, 'strerror', None) or exc}", USAGE) from exc


def _asked(prompt: str, otherwise: str, *, hide: bool = False) -> str:
    if not sys.stdin.isatty():
        raise CommandError(f"give {otherwise}, as there is no terminal to ask on", USAGE)
    return getpass.getpass(prompt) if hide else input(prompt).strip()
