"""Whether a server shows a certificate of this user's own authority, which its clients then have to be told of."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gceshim.settings import SettingsError, state_dir

AUTHORITY: Final = "ca.pem"
_CONNECT_SECONDS: Final = 5.0


def own_folder(environ: Mapping[str, str]) -> Path:
    """Where `gceshim cert` puts its files when nobody says. :raises SettingsError: this user has no home folder."""
    return (state_dir(environ) / "tls").absolute()


def own_authority(server: str, environ: Mapping[str, str]) -> str:
    """
    The authority that `gceshim cert` made, if it is the server's; "" for a server of another, or of plain HTTP.

    :param server: its URL. It is connected to, for seconds at most.
    """
    if not server.startswith("https://"):
        return ""
    try:
        own = own_folder(environ) / AUTHORITY
    except SettingsError:
        return ""
    return str(own) if own.exists() and _vouches_for(str(own), server) else ""


def _vouches_for(authority: str, server: str) -> bool:
    parts = urlsplit(server)
    host = parts.hostname or ""
    try:
        context = ssl.create_default_context(cafile=authority)
        with (
            socket.create_connection((host, parts.port or 443), _CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return True
    except (OSError, ValueError):
        return False
