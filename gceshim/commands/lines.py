"""The variables that point a client at a server, as lines for a shell."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gceshim.commands.running import Running

CLIENTS = ("gcloud", "terraform")
SHELLS = ("sh", "fish", "json")

PROJECT: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
"""What clients take for the name of a project, less the old form with a domain."""


def own_project(account: str) -> str:
    """An account's own project: its name, where clients take that for a project's; else the name that all have."""
    return account if PROJECT.fullmatch(account) else "default"


def variables(running: Running, client: str = "gcloud") -> dict[str, str]:
    """
    The variables for a client, those left out that would be empty.

    Source: gcloud reads each property `section/name` from `CLOUDSDK_SECTION_NAME`; the Terraform provider `google`
    reads `GOOGLE_COMPUTE_CUSTOM_ENDPOINT` and takes a token, not the name of a file.
    """
    endpoint = f"{running.url}/compute/v1/"
    if client == "terraform":
        token = Path(running.token_file).read_text(encoding="utf-8").strip() if running.token_file else ""
        found = {
            "GOOGLE_COMPUTE_CUSTOM_ENDPOINT": endpoint,
            "GOOGLE_OAUTH_ACCESS_TOKEN": token,
            "GOOGLE_PROJECT": running.project,
            "GOOGLE_REGION": running.region,
            "GOOGLE_ZONE": running.zone,
        }
    else:
        found = {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": endpoint,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER": f"{running.url}/",
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": running.token_file,
            "CLOUDSDK_CORE_PROJECT": running.project,
            "CLOUDSDK_COMPUTE_REGION": running.region,
            "CLOUDSDK_COMPUTE_ZONE": running.zone,
        }
    return {name: value for name, value in found.items() if value}


def shown(values: Mapping[str, str], shell: str = "sh") -> str:
    """The variables as lines that the shell takes, `json` for one object."""
    if shell == "json":
        return json.dumps(values, indent=2)
    if shell == "fish":
        return "\n".join(f"set -gx {name} {_fish(value)};" for name, value in values.items())
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())


def _fish(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
