"""What `gceshim doctor` checks of the server's certificate: that it can be used, for how long, and by which names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from gceshim.commands import certificates
from gceshim.commands.checks import Check, Outcome
from gceshim.commands.server import is_loopback, tls_context
from gceshim.settings import ServerSection, SettingsError

NAME: Final = "certificate"
SOON: Final = timedelta(days=30)


def check_certificate(settings: ServerSection, now: datetime) -> list[Check]:
    """What is to be said of the `server.tls_...` settings: one check, or one for each thing that is wrong."""
    if not settings.tls_certificate:
        return [_plain(settings)]
    try:
        tls_context(settings)
        chain = x509.load_pem_x509_certificates(Path(settings.tls_certificate).read_bytes())
    except (SettingsError, OSError, ValueError) as exc:
        mend = (
            "server.tls_certificate and server.tls_key must be PEM files that belong together, readable by this user."
        )
        return [Check(NAME, Outcome.FAILED, str(exc), mend)]
    found = [check for check in (_times(chain, now), _names(chain[0], settings)) if check is not None]
    until = min(certificate.not_valid_after_utc for certificate in chain)
    names = ", ".join(certificates.names(chain[0]))
    return found or [Check(NAME, Outcome.OK, f"for {names}, until {until:%Y-%m-%d}")]


def _plain(settings: ServerSection) -> Check:
    if is_loopback(settings.address):
        return Check(NAME, Outcome.SKIPPED, f"plain HTTP, on {settings.address} alone")
    if settings.trust_proxy or settings.public_url.startswith("https://"):
        return Check(NAME, Outcome.SKIPPED, "plain HTTP, behind a proxy that does TLS")
    mend = "Set server.tls_certificate and server.tls_key (gceshim cert makes them), or let a proxy in front do TLS."
    return Check(NAME, Outcome.WARNING, f"plain HTTP on {settings.address}: tokens can be read on their way", mend)


def _times(chain: list[x509.Certificate], now: datetime) -> Check | None:
    now = now.astimezone(UTC)
    until = min(certificate.not_valid_after_utc for certificate in chain)
    begins = max(certificate.not_valid_before_utc for certificate in chain)
    mend = "Renew it (gceshim cert, for one that it made), then start the server anew."
    if until <= now:
        return Check(NAME, Outcome.FAILED, f"expired on {until:%Y-%m-%d}", mend)
    if begins > now:
        return Check(NAME, Outcome.FAILED, f"not valid before {begins:%Y-%m-%d}", "Check this machine's clock.")
    if until - now < SOON:
        return Check(NAME, Outcome.WARNING, f"expires on {until:%Y-%m-%d}", mend)
    return None


def _names(certificate: x509.Certificate, settings: ServerSection) -> Check | None:
    """Whether it is for the host by which clients are told to come."""
    host = urlsplit(settings.public_url).hostname
    if not host or not settings.public_url.startswith("https://"):
        return None
    try:
        covered = certificates.covers(certificate, host)
    except ValueError:
        covered = False
    if covered:
        return None
    names = ", ".join(certificates.names(certificate)) or "no host"
    mend = f"Get one for {host}, or set server.public_url to a name that it has."
    return Check(NAME, Outcome.FAILED, f"it is for {names}, not for {host}, the host of server.public_url", mend)
