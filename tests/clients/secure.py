"""`gceshim serve` behind TLS with an authority of its own, and the key file of a service account there."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.clients.demo import Cloud
from tests.command_line import DEADLINE_SECONDS, Process, gceshim, running, settings_file, simulated_cloud

PROJECT = "demo"
ZONE = "sandbox-1-a"


@dataclass(frozen=True)
class Secure:
    """
    A running server.

    :param home: a folder that is its own, with the user's folders of the XDG rules in it.
    :param url: scheme, host and port. :param authority: the PEM file to trust.
    :param key_file: of the service account `robot`.
    """

    home: Path
    url: str
    authority: Path
    key_file: Path
    cloud: Cloud
    process: Process

    @property
    def email(self) -> str:
        """The service account's address."""
        email: str = json.loads(self.key_file.read_text())["client_email"]
        return email

    def gceshim(self, *words: str, **more: str) -> str:
        """What a command prints that has to succeed."""
        done = gceshim(self.home, *words, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def calls(self) -> list[str]:
        """The ids of all methods called until now. Waits for the log, in which an answer stands after it was sent."""
        done = len(self._logged())
        context = ssl.create_default_context(cafile=str(self.authority))
        urllib.request.urlopen(f"{self.url}/discovery/v1/apis", context=context, timeout=DEADLINE_SECONDS).close()
        until = time.monotonic() + DEADLINE_SECONDS
        while (all_of_them := self._logged())[-1:] != ["discovery"] or len(all_of_them) == done:
            assert time.monotonic() < until, all_of_them
            time.sleep(0.01)
        return all_of_them

    def _logged(self) -> list[str]:
        records = [json.loads(line) for line in list(self.process.errors) if line.startswith("{")]
        return [record["method_id"] for record in records if "method_id" in record]

    def calls_since(self, before: Sequence[str], last: str) -> list[str]:
        """Those after `before`, once there is the one that is to be the last."""
        until = time.monotonic() + DEADLINE_SECONDS
        while (new := self._logged()[len(before) :])[-1:] != [last]:
            assert time.monotonic() < until, new
            time.sleep(0.01)
        return new


@contextlib.contextmanager
def secured(home: Path) -> Iterator[Secure]:
    """A simulated cloud, and a server in front of it, for the length of the block."""
    with simulated_cloud(home) as cloud:
        config = settings_file(home, cloud, "[log]\nformat = 'json'\nlevel = 'debug'\n")
        made = json.loads(_done(home, "cert", "--json"))
        tls = ("--tls-certificate", made["certificate"], "--tls-key", made["key"])
        with running(home, "serve", "--config", str(config), *tls) as server:
            url = server.wait_for(r"(https://127\.0\.0\.1:\d+), driver")[1]
            words = ("service-account", "create", "robot", "--config", str(config), "--api-key", cloud["api_key"])
            _done(home, *words, GCESHIM_SECRET_KEY=cloud["secret_key"])
            yield Secure(home, url, Path(made["authority"]), home / "robot.json", Cloud(cloud["endpoint"]), server)
            assert server.stop() == 0
        assert "Traceback" not in server.output, server.output
        private = [*key_lines(home / "robot.json"), cloud["secret_key"]]
        assert not [secret for secret in private if secret in server.output]


def key_lines(key_file: Path) -> list[str]:
    """The lines of a private key."""
    pem: str = json.loads(key_file.read_text())["private_key"]
    return pem.splitlines()[1:-1]


def _done(home: Path, *words: str, **more: str) -> str:
    done = gceshim(home, *words, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout
