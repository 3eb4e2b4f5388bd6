"""
Make a certificate for a server, signed by an authority of its own, and say where to put both.

For a server without a name that a public authority knows: on this machine, in a lab, on an internal network. The
first run makes the authority, which clients are told to trust once; later runs renew the server's certificate with
it. The authority vouches for the names it was made for alone, and never outlives ten years; its key stays here.

examples:
  gceshim cert
  gceshim cert --host gce.example.org --host 10.0.0.5
  gceshim cert --dir /etc/gceshim/tls --days 90
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from gceshim.commands import certificates
from gceshim.commands.certificates import LOCAL, MOST_DAYS, Pair
from gceshim.commands.errors import USAGE, CommandError
from gceshim.commands.running import write_private
from gceshim.commands.trust import AUTHORITY, own_folder

AUTHORITY_KEY: Final = "ca-key.pem"
SERVER: Final = "server.pem"
SERVER_KEY: Final = "server-key.pem"
READABLE: Final = 0o644


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", metavar="DIR", help="folder for the files (default: tls in the state folder)")
    parser.add_argument(
        "--host",
        metavar="NAME",
        dest="hosts",
        action="append",
        type=_host,
        default=[],
        help="a name or address that clients use, beside localhost, 127.0.0.1 and ::1; may be repeated "
        "(default: those of the certificate that is there)",
    )
    parser.add_argument(
        "--days",
        type=_days,
        metavar="N",
        default=MOST_DAYS,
        help=f"how long the server's certificate is good, at most and by default {MOST_DAYS}",
    )
    parser.add_argument("--rsa", action="store_true", help="RSA keys, for clients that know no elliptic curves")
    parser.add_argument(
        "--new-ca", action="store_true", help="make another authority; clients have to be told to trust it anew"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Make what is missing, renew the rest, and say what to do with it."""
    folder = Path(args.dir).absolute() if args.dir else own_folder(environ)
    now = datetime.now(UTC)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        hosts = list(dict.fromkeys([*(args.hosts or _earlier_hosts(folder)), *LOCAL]))
        _check_ours(folder)
        authority = None if args.new_ca else _authority(folder)
        made = authority is None
        if authority is None:
            authority = certificates.make_authority(hosts, now, use_rsa=args.rsa)
        server = _server(authority, hosts, now, args)
        if made:
            write_private(folder / AUTHORITY_KEY, authority.key_pem)
            write_private(folder / AUTHORITY, authority.certificate_pem, mode=READABLE)
        write_private(folder / SERVER_KEY, server.key_pem)
        write_private(folder / SERVER, server.certificate_pem, mode=READABLE)
    except OSError as exc:
        raise CommandError(f"{exc.filename or folder}: {exc.strerror}") from exc
    if args.json:
        print(json.dumps(_told(folder, authority, server, made), indent=2))
    else:
        print(_text(folder, authority, server, made))
    return 0


def _server(authority: Pair, hosts: list[str], now: datetime, args: argparse.Namespace) -> Pair:
    try:
        return certificates.make_server(authority, hosts, now, args.days, use_rsa=args.rsa)
    except ValueError as exc:
        raise CommandError(f"{exc}; --new-ca makes another, which clients then have to trust", USAGE) from exc


def _authority(folder: Path) -> Pair | None:
    """
    The authority that is there; None if none is.

    :raises CommandError: there is a part of one, or something else.
    """
    files = (folder / AUTHORITY, folder / AUTHORITY_KEY)
    if not any(file.exists() for file in files):
        return None
    try:
        found = certificates.load(*(file.read_bytes() for file in files))
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else exc
        raise CommandError(
            f"{folder}: the authority cannot be used: {why}; bring back {AUTHORITY} and {AUTHORITY_KEY}, or make "
            "another by --new-ca",
            USAGE,
        ) from exc
    return found


def _check_ours(folder: Path) -> None:
    """:raises CommandError: a certificate is there that another authority made, which may be wanted."""
    if not (folder / SERVER).exists() and not (folder / SERVER_KEY).exists():
        return
    try:
        found, authority = (
            x509.load_pem_x509_certificate((folder / name).read_bytes()) for name in (SERVER, AUTHORITY)
        )
        ours = certificates.signed_by(found, authority)
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise CommandError(
            f"{folder}: {SERVER} and {SERVER_KEY} were not made by the authority there; move them away, or choose "
            "another --dir",
            USAGE,
        )


def _earlier_hosts(folder: Path) -> list[str]:
    """Those of the certificate that is to be renewed."""
    try:
        return certificates.names(x509.load_pem_x509_certificate((folder / SERVER).read_bytes()))
    except (OSError, ValueError):
        return []


def _told(folder: Path, authority: Pair, server: Pair, made: bool) -> dict[str, Any]:
    return {
        "authority": str(folder / AUTHORITY),
        "authorityIsNew": made,
        "authorityUntil": authority.certificate.not_valid_after_utc.isoformat(),
        "certificate": str(folder / SERVER),
        "key": str(folder / SERVER_KEY),
        "until": server.certificate.not_valid_after_utc.isoformat(),
        "hosts": certificates.names(server.certificate),
    }


def _text(folder: Path, authority: Pair, server: Pair, made: bool) -> str:
    ca, certificate, key = (shlex.quote(str(folder / name)) for name in (AUTHORITY, SERVER, SERVER_KEY))
    until = server.certificate.not_valid_after_utc
    return f"""\
authority    {ca}, {"new" if made else "as it was"}, until {authority.certificate.not_valid_after_utc:%Y-%m-%d}
certificate  {certificate}, until {until:%Y-%m-%d}: run this again before, and start the server anew
             for {", ".join(certificates.names(server.certificate))}

server              gceshim serve --tls-certificate {certificate} --tls-key {key}

Clients have to trust the authority, which is no secret:

gcloud              gceshim gcloud-config --ca-file {ca}
                    (or: gcloud config set core/custom_ca_certs_file {ca})
Python              export REQUESTS_CA_BUNDLE={ca}
Terraform, Go       export SSL_CERT_FILE={ca}
Node                export NODE_EXTRA_CA_CERTS={ca}
curl                curl --cacert {ca} ...
gcutil              has no setting for it that is known; its httplib2 trusts what cacerts.txt beside it lists

REQUESTS_CA_BUNDLE and SSL_CERT_FILE take the place of all other authorities: set them only for this server's calls."""


def _host(text: str) -> str:
    try:
        return certificates.parse_host(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _days(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 1 <= number <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days, 1 to {MOST_DAYS}")
    return number
