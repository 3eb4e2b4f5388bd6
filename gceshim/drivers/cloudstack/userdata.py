"""
GCE metadata as cloud-init user data.

`user-data` goes to the machine as it was given; `startup-script` is run at every boot, as GCE does; keys of
`ssh-keys` (of the instance and, unless `block-project-ssh-keys` is true, of the project) make users that may log in
with them; a host name of the caller's is set. Where there is more than one of these, the document is multipart MIME.
The bytes depend on the input alone, so that a replayed operation sends the same.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from gceshim.drivers import errors

_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_TRUE: Final = frozenset({"true", "1", "yes", "y", "on"})
_COMPRESS_OVER_BYTES: Final = 8_192
_TYPES: Final[tuple[tuple[str, str], ...]] = (
    ("#!", "text/x-shellscript"),
    ("#cloud-config-archive", "text/cloud-config-archive"),
    ("#cloud-config", "text/cloud-config"),
    ("#cloud-boothook", "text/cloud-boothook"),
    ("#include-once", "text/x-include-once-url"),
    ("#include", "text/x-include-url"),
    ("#part-handler", "text/part-handler"),
    ("## template: jinja", "text/jinja2"),
)


def build(metadata: Mapping[str, str], project_metadata: Mapping[str, str], hostname: str) -> bytes:
    """The user data for a machine, or b"" where nothing asks for any."""
    own = metadata.get("user-data", "")
    parts: list[tuple[str, str, str]] = []
    config = _config(ssh_keys(metadata, project_metadata), hostname)
    if config:
        text = "#cloud-config\n" + json.dumps(config, indent=1) + "\n"
        parts.append(("text/cloud-config", "gce-config.yaml", text))
    script = metadata.get("startup-script", "") or project_metadata.get("startup-script", "")
    if script.strip():
        if not script.startswith("#!"):
            script = f"#!/bin/bash\n{script}"
        parts.append(("text/x-shellscript-per-boot", "gce-startup-script", script))
    if not parts:
        return own.encode()
    if not own and len(parts) == 1 and parts[0][0] == "text/cloud-config":
        return parts[0][2].encode()
    if own:
        parts.append((_type_of(own), "user-data", own))
    return _multipart(parts)


def encoded(document: bytes, limit_bytes: int) -> str:
    """
    The value of the parameter `userdata`: base 64, of the compressed document (which cloud-init takes) if it is long.

    :raises Invalid: it is longer than the backend takes.
    """
    if len(document) > _COMPRESS_OVER_BYTES:
        document = gzip.compress(document, mtime=0)
    text = base64.b64encode(document).decode()
    if len(text) > limit_bytes:
        raise errors.Invalid(
            f"The metadata makes {len(text)} bytes of user data, compressed; this cloud takes {limit_bytes}",
            field="metadata",
        )
    return text


def ssh_keys(metadata: Mapping[str, str], project_metadata: Mapping[str, str]) -> dict[str, list[str]]:
    """Users and their public keys, from lines `user:key`; a line that is not so is passed over, as GCE does."""
    sources = [metadata.get("ssh-keys", ""), metadata.get("sshKeys", "")]
    blocked = metadata.get("block-project-ssh-keys", "").strip().lower() in _TRUE
    if not blocked and "sshKeys" not in metadata:
        sources += [project_metadata.get("ssh-keys", ""), project_metadata.get("sshKeys", "")]
    users: dict[str, list[str]] = {}
    for line in "\n".join(sources).splitlines():
        user, colon, key = line.strip().partition(":")
        if not colon or not _USER.fullmatch(user) or len(key.split()) < 2:
            continue
        keys = users.setdefault(user, [])
        if key.strip() not in keys:
            keys.append(key.strip())
    return users


def _config(users: Mapping[str, list[str]], hostname: str) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if users:
        config["users"] = [
            "default",
            *(
                {
                    "name": user,
                    "gecos": user,
                    "shell": "/bin/bash",
                    "sudo": "ALL=(ALL) NOPASSWD:ALL",
                    "lock_passwd": True,
                    "ssh_authorized_keys": keys,
                }
                for user, keys in users.items()
            ),
        ]
    if hostname:
        config["hostname"] = hostname.partition(".")[0]
        config["fqdn"] = hostname
        config["preserve_hostname"] = False
    return config


def _type_of(document: str) -> str:
    if re.match(r"(?i)(content-type|mime-version)\s*:", document):
        return "multipart"
    for start, kind in _TYPES:
        if document.startswith(start):
            return kind
    return "text/plain"


def _multipart(parts: list[tuple[str, str, str]]) -> bytes:
    digest = hashlib.sha256("\0".join(text for _, _, text in parts).encode()).hexdigest()
    boundary = f"==gce-{digest[:32]}=="
    lines = [f'Content-Type: multipart/mixed; boundary="{boundary}"', "MIME-Version: 1.0", ""]
    for kind, name, text in parts:
        lines.append(f"--{boundary}")
        if kind == "multipart":  # it brings its own headers
            lines += [text, ""]
            continue
        lines.append(f'Content-Type: {kind}; charset="utf-8"')
        lines.append("MIME-Version: 1.0")
        if kind == "text/cloud-config":
            # Both our users and those of the caller's own document are wanted, not just the last.
            lines.append("Merge-Type: list(append)+dict(recurse_array)+str()")
        if not text.isascii():
            lines.append("Content-Transfer-Encoding: base64")
            text = base64.encodebytes(text.encode()).decode()  # noqa: PLW2901 - the form that travels
        lines += [f'Content-Disposition: attachment; filename="{name}"', "", text, ""]
    lines.append(f"--{boundary}--")
    return "\n".join([*lines, ""]).encode()
