"""Arguments that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from gceshim.settings import Settings


def add_config(parser: argparse.ArgumentParser) -> None:
    """`--config`, for commands that read the server's settings."""
    parser.add_argument(
        "--config", metavar="FILE", help="settings, TOML (default: $GCESHIM_CONFIG, else none: all at their defaults)"
    )


def add_action(actions: Any, name: str, meaning: str, action: Callable[..., Any]) -> argparse.ArgumentParser:
    """One action of a command that has several, with `--config`; `args.action_run` is `action` when it is chosen."""
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=meaning, description=meaning[0].upper() + meaning[1:]
    )
    add_config(parser)
    parser.set_defaults(action_run=action)
    return parser


def add_listening(parser: argparse.ArgumentParser, default_port: int | None = None) -> None:
    """`--port` and `--address`."""
    shown = f" (default: {default_port})" if default_port else ""
    parser.add_argument(
        "--port", type=port, metavar="N", default=default_port, help=f"port to listen on; 0 takes a free one{shown}"
    )
    parser.add_argument("--address", metavar="A", help="address to listen on (default: 127.0.0.1)")


def port(text: str) -> int:
    """The type of a port argument."""
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return number


def workers(text: str) -> int:
    """The type of a number of processes."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes, 1 to 256")
    return number


def url(text: str) -> str:
    """The type of an argument that says where a server is; without a slash at the end."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or parts.username is not None:
        raise argparse.ArgumentTypeError(f"{text!r} is not like https://gce.example.org")
    return text.rstrip("/")


def load_settings(
    args: argparse.Namespace, environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None
) -> Settings:
    """
    The settings that `--config`, the environment and `overrides` make.

    :raises SettingsError: one of them is wrong.
    """
    return Settings.load(config_path(args, environ) or None, environ, overrides)


def config_path(args: argparse.Namespace, environ: Mapping[str, str]) -> str:
    """The settings file in use, "" for none."""
    chosen: str = args.config or environ.get("GCESHIM_CONFIG", "")
    return chosen
