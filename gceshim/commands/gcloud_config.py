"""
Point gcloud at a server for good: make a named gcloud configuration for it and activate it.

A server that runs on this machine is found by itself, a demo with its token; a key file names its server. Else give
--url. Without a key file or a token, `gcloud auth login` comes next, or --login does it at once. Other configurations
of gcloud stay as they are: `gcloud config configurations activate default` goes back.

examples:
  gceshim gcloud-config
  gceshim gcloud-config --key-file ci.json --zone zone-1-a
  gceshim gcloud-config lab --url https://gce.example.org --ca-file ca.pem --login
  gceshim gcloud-config lab --remove
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gceshim.commands.env import with_token
from gceshim.commands.errors import USAGE, CommandError
from gceshim.commands.gcloud_runs import Configuration, Gcloud, Step, setting
from gceshim.commands.options import add_config, config_path, port, url
from gceshim.commands.running import Running, choose, find
from gceshim.commands.server import is_loopback
from gceshim.commands.trust import own_authority
from gceshim.settings import Settings

INSECURE: Final = "OAUTHLIB_INSECURE_TRANSPORT"
NO_CREDENTIALS: Final = "CLOUDSDK_AUTH_DISABLE_CREDENTIALS"
ACTIVE: Final = "CLOUDSDK_ACTIVE_CONFIG_NAME"
AUTHORITY_VARIABLE: Final = "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"
CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
NOT_LISTED: Final = "auth/auth_host"
TOKEN_PATH: Final = "/token"  # noqa: S105 a path
AUTHORIZE_PATH: Final = "/o/oauth2/auth"
SERVICE_ACCOUNT: Final = re.compile(r"[^@]+@[a-z0-9-]+\.iam\.gserviceaccount\.com")


@dataclass(frozen=True)
class Login:
    """How gcloud is to get its tokens: by a key file, from a file with one, by a login now, or by one to come."""

    key_file: str = ""
    token_file: str = ""
    now: bool = False


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", nargs="?", default="gceshim", type=_name, help="the configuration (default: gceshim)"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", metavar="URL", type=url, help="the server (default: one that runs on this machine)")
    where.add_argument("--port", type=port, metavar="N", help="the server that listens there, when several run")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--key-file", metavar="FILE", help="act as a service account, by the file that `create` wrote")
    how.add_argument("--access-token-file", metavar="FILE", help="use the token in the file for as long as it is good")
    how.add_argument("--credentials", metavar="NAME", help="make a token for stored credentials and use it")
    how.add_argument("--login", action="store_true", help="log in at once, with a browser")
    parser.add_argument("--project", metavar="P", help="project (default: the key file's, else the account's own)")
    parser.add_argument("--zone", metavar="Z", help="zone of commands that name none; its region too")
    parser.add_argument(
        "--ca-file",
        metavar="FILE",
        help="authority of the server's certificate (default: that of `gceshim cert`, if it is the one)",
    )
    add_config(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the calls of gcloud and make none")
    parser.add_argument("--json", action="store_true", help="the same, as one JSON object")
    parser.add_argument("--remove", action="store_true", help="remove the configuration, and activate `default`")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Make, change or remove the configuration."""
    only_shown = args.dry_run or args.json
    if args.remove:
        return _remove(args, Gcloud(environ, [ACTIVE]), only_shown=only_shown)
    server, login = _server(args, environ)
    authority = _readable(args.ca_file) if args.ca_file else own_authority(server.url, environ)
    properties = _properties(server, login, authority)
    gcloud = None if only_shown else Gcloud(environ, [*_variables(properties), ACTIVE, NO_CREDENTIALS])
    there = gcloud.configurations().get(args.name) if gcloud else None
    _check_ours(args.name, there)
    _do(gcloud, _steps(args.name, server.url, login, properties, there), properties, args)
    if not only_shown:
        heeded = {**_variables(properties), ACTIVE: args.name}
        stronger = [name for name, value in heeded.items() if environ.get(name, value) != value]
        _tell(args.name, server.url, login, stronger)
    return 0


def _variables(properties: Mapping[str, str]) -> dict[str, str]:
    """
    The variables that gcloud heeds before its configuration, and what they would have to be to do no harm.

    Without an authority of ours, gcloud's own setting for those is none of our business.
    """
    found = {f"CLOUDSDK_{name.replace('/', '_').upper()}": value for name, value in properties.items()}
    authority = found.pop(AUTHORITY_VARIABLE)
    return found | (dict.fromkeys((AUTHORITY_VARIABLE, *CA_VARIABLES), authority) if authority else {})


def _do(gcloud: Gcloud | None, steps: list[Step], properties: Mapping[str, str], args: argparse.Namespace) -> None:
    if args.json:
        calls = [{"words": ["gcloud", *step.words], "environment": dict(step.environ)} for step in steps]
        shown = {name: value for name, value in properties.items() if value}
        print(json.dumps({"configuration": args.name, "properties": shown, "calls": calls}, indent=2))
    elif args.dry_run or gcloud is None:
        for step in steps:
            print(step.shown())
    else:
        if sys.stderr.isatty():
            print(f"calling gcloud {len(steps)} times, which takes a while ...", file=sys.stderr)
        for step in steps:
            for warning in gcloud.run(step):
                print(warning, file=sys.stderr)


def _server(args: argparse.Namespace, environ: Mapping[str, str]) -> tuple[Running, Login]:
    """The server, with what is known of it, and how to log in there. :raises CommandError: it cannot be told."""
    if args.key_file:
        given = choose(find(environ), args.port).url if args.port is not None else args.url
        server, login = _of_key_file(args.key_file, given), Login(key_file=str(Path(args.key_file).absolute()))
    else:
        server = Running("serve", args.url, 0, args.url) if args.url else choose(find(environ), args.port)
        if args.credentials and server.kind == "demo":
            raise CommandError("a demo has a token of its own; --credentials is for servers that serve", USAGE)
        if args.credentials:
            config = args.config or server.config or config_path(args, environ)
            settings = Settings.load(config or None, environ)
            server = asyncio.run(with_token(server, settings, args.credentials))
        token_file = _readable(args.access_token_file) if args.access_token_file else server.token_file
        login = Login(now=True) if args.login else Login(token_file=token_file)
    zone = args.zone or server.zone
    project = args.project or server.project or "default"
    return dataclasses.replace(server, project=project, zone=zone, region=zone.rpartition("-")[0]), login


def _of_key_file(file: str, given: str | None) -> Running:
    """The server that a key file is for, and its project."""
    try:
        key = json.loads(Path(file).read_text(encoding="utf-8"))
        kind, token_uri, project = key["type"], key["token_uri"], key["project_id"]
    except OSError as exc:
        raise CommandError(f"{file}: cannot be read: {exc.strerror}", USAGE) from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise CommandError(f"{file}: it is no key file of a service account", USAGE) from exc
    if kind != "service_account" or not str(token_uri).endswith(TOKEN_PATH):
        raise CommandError(f"{file}: it is no key file that `gceshim service-account` wrote", USAGE)
    server = given or str(token_uri).removesuffix(TOKEN_PATH)
    if urlsplit(server).hostname == "oauth2.googleapis.com":
        raise CommandError(f"{file}: it is a key for Google itself", USAGE)
    return Running("serve", server, 0, server, project=str(project))


def _properties(server: Running, login: Login, authority: str) -> dict[str, str]:
    """Every property that this command is about, in the order in which gcloud takes them; "" for one to be unset."""
    return {
        "api_endpoint_overrides/compute": f"{server.url}/compute/v1/",
        "api_endpoint_overrides/cloudresourcemanager": f"{server.url}/",
        "auth/auth_host": f"{server.url}{AUTHORIZE_PATH}",
        "auth/token_host": f"{server.url}{TOKEN_PATH}",
        "core/custom_ca_certs_file": authority,
        "auth/access_token_file": login.token_file,
        "core/project": server.project,
        "compute/region": server.region,
        "compute/zone": server.zone,
    }


def _steps(
    name: str, server: str, login: Login, properties: Mapping[str, str], there: Configuration | None
) -> list[Step]:
    """What makes the configuration out of what is there."""
    steps = [] if there else [Step(("config", "configurations", "create", name, "--no-activate"))]
    known = there.properties if there else {}
    logged_in = bool(login.token_file)
    for key, value in properties.items():
        if key == "core/project" and (login.key_file or login.now):  # what follows is checked with the new login
            steps.append(_log_in(name, server, login))
            logged_in = True
        if value == known.get(key, "") and not (there and key == NOT_LISTED):
            continue
        step = setting(key, value, name, warns=not key.startswith("api_endpoint_overrides/"))
        if value and key.startswith("compute/") and not logged_in:
            # gcloud asks the server about places, and stops when it has no credentials to do it with.
            step = dataclasses.replace(step, environ={NO_CREDENTIALS: "true"})
        steps.append(step)
    return [*steps, Step(("config", "configurations", "activate", name))]


def _log_in(name: str, server: str, login: Login) -> Step:
    if login.key_file:
        words = ("auth", "activate-service-account", f"--key-file={login.key_file}", f"--configuration={name}")
        return Step(words)
    environ = {INSECURE: "1"} if _is_plain_loopback(server) else {}
    return Step(("auth", "login", f"--configuration={name}"), environ=environ, talks=True)


def _remove(args: argparse.Namespace, gcloud: Gcloud, *, only_shown: bool) -> int:
    there = gcloud.configurations()
    _do(gcloud, _removal(args.name, there), {}, args)
    account = there[args.name].properties.get("core/account", "")
    if not only_shown:
        print(f"removed the configuration {args.name}")
    if not only_shown and SERVICE_ACCOUNT.fullmatch(account):
        # Other configurations may use it. (Of a person, `auth revoke` would send the token to Google.)
        print(f"gcloud keeps the key of {account}; gcloud auth revoke {account} makes it forget")
    return 0


def _removal(name: str, there: Mapping[str, Configuration]) -> list[Step]:
    if name not in there:
        raise CommandError(f"gcloud has no configuration {name}")
    _check_ours(name, there[name])
    steps = []
    if there[name].active:
        if "default" not in there:
            steps.append(Step(("config", "configurations", "create", "default", "--no-activate")))
        steps.append(Step(("config", "configurations", "activate", "default")))
    return [*steps, Step(("config", "configurations", "delete", name, "--quiet"), warns=False)]


def _check_ours(name: str, there: Configuration | None) -> None:
    """:raises CommandError: the configuration is in use for something else."""
    if there is None or "api_endpoint_overrides/compute" in there.properties:
        return
    if "core/account" in there.properties or "core/project" in there.properties:
        raise CommandError(f"gcloud's configuration {name} is not for a gceshim server; choose another NAME", USAGE)


def _readable(file: str) -> str:
    path = Path(file).absolute()
    try:
        path.read_bytes()
    except OSError as exc:
        raise CommandError(f"{file}: cannot be read: {exc.strerror}", USAGE) from exc
    return str(path)


def _is_plain_loopback(server: str) -> bool:
    parts = urlsplit(server)
    return parts.scheme == "http" and is_loopback(parts.hostname or "")


def _tell(name: str, server: str, login: Login, variables: list[str]) -> None:
    print(f"gcloud's configuration {name} is active, for {server}")
    if not (login.key_file or login.token_file or login.now):
        print(f"log in: {f'{INSECURE}=1 ' if server.startswith('http://') else ''}gcloud auth login")
    if server.startswith("http://") and not _is_plain_loopback(server):
        print("plain HTTP: tokens can be read on their way; see gceshim cert", file=sys.stderr)
    if variables:
        print(f"these variables win over the configuration: unset {shlex.join(variables)}", file=sys.stderr)


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z][-a-z0-9]{0,62}", text) or text in {"none", "default"}:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name for it: lower-case letters, digits and dashes, a letter first; not default"
        )
    return text
