"""
What runs on this machine: a small file for each server, which `gceshim env` reads.

`$XDG_RUNTIME_DIR/gceshim/<port>.json`, or `run/<port>.json` in the state folder; readable by its owner alone. A
file whose process is gone, or whose port is closed, is stale: it is passed over and removed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from gceshim.commands.errors import USAGE, CommandError
from gceshim.settings import SettingsError, state_dir

LOG = logging.getLogger("gceshim.server")

_CONNECT_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Running:
    """
    A server of this machine. What is not known is "".

    `config` is what it was started with; `cloudstack_url` the API of a demo's simulated cloud.
    """

    kind: Literal["demo", "serve"]
    url: str
    pid: int
    local_url: str
    project: str = ""
    region: str = ""
    zone: str = ""
    token_file: str = ""
    config: str = ""
    cloudstack_url: str = ""

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return urlsplit(self.local_url).port or 0

    def alive(self) -> bool:
        """Whether its process is there and somebody listens."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        try:
            with socket.create_connection((urlsplit(self.local_url).hostname or "", self.port), _CONNECT_SECONDS):
                return True
        except OSError:
            return False


def folder(environ: Mapping[str, str]) -> Path:
    """Where the files lie."""
    if base := environ.get("XDG_RUNTIME_DIR"):
        return Path(base) / "gceshim"
    return state_dir(environ) / "run"


@contextlib.contextmanager
def announced(running: Running, environ: Mapping[str, str]) -> Iterator[None]:
    """Let `gceshim env` find the server for as long as the block runs. Where no file can be written it goes without."""
    path: Path | None = None
    try:
        path = folder(environ) / f"{running.port}.json"
        write_private(path, json.dumps(dataclasses.asdict(running), indent=1) + "\n")
    except (OSError, SettingsError) as exc:
        LOG.info("gceshim env will not find this server: %s", exc)
    try:
        yield
    finally:
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()


def find(environ: Mapping[str, str]) -> list[Running]:
    """The servers that run, by port. Stale files are removed."""
    found = []
    for path in sorted(folder(environ).glob("*.json")):
        try:
            running = Running(**json.loads(path.read_text(encoding="utf-8")))
            alive = running.alive()
        except (OSError, ValueError, TypeError, AttributeError):
            alive = False
        if alive:
            found.append(running)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
    return found


def choose(servers: Sequence[Running], wanted: int | None) -> Running:
    """
    The one server that is meant.

    :param wanted: its port; None: there must be one alone. :raises CommandError: there is none, or several.
    """
    if wanted is not None:
        servers = [server for server in servers if server.port == wanted]
    if not servers:
        where = f" on port {wanted}" if wanted is not None else ""
        raise CommandError(f"no server of this user runs{where}; start one: gceshim demo")
    if len(servers) > 1:
        ports = ", ".join(f"{server.port} ({server.kind})" for server in servers)
        raise CommandError(f"several servers run; choose one by --port: {ports}", USAGE)
    return servers[0]


def write_private(path: Path, text: str, *, overwrite: bool = True, mode: int = 0o600) -> None:
    """
    Write a file that its owner alone can read, whole or not at all; folders on the way are made.

    :param mode: another one, for a file that is no secret. It has it before it is in its place, where somebody could
        put a link to another file in its stead.
    :raises FileExistsError: there is one, and `overwrite` is False. :raises OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(handle, mode)
        if overwrite:
            draft.replace(path)
        else:
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)
