"""Unmodified clients against a server that lets them ask but seldom: they come to their end all the same."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import google_auth_httplib2
import httplib2
import pytest
from google.api_core import retry
from google.cloud import compute_v1
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build

from tests.command_line import Process, environment, gceshim, running, settings_file, simulated_cloud

ZONE = "sandbox-1-a"


@dataclass(frozen=True)
class Strict:
    """A server, and what `gceshim env` prints for it."""

    process: Process
    variables: dict[str, str]

    @property
    def url(self) -> str:
        return self.variables["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"].removesuffix("/compute/v1/")

    @property
    def token(self) -> str:
        return Path(self.variables["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"]).read_text().strip()

    @property
    def statuses(self) -> list[str]:
        """Of the answers so far."""
        return re.findall(r" compute\.\S+ (\d{3}) ", self.process.output)


@contextlib.contextmanager
def strict(home: Path, limits: str) -> Iterator[Strict]:
    """A server with limits, and a key pair stored."""
    with simulated_cloud(home) as cloud:
        config = settings_file(home, cloud, f"[limits]\n{limits}")
        words = ("credentials", "add", "alice", "--config", str(config), "--api-key", cloud["api_key"])
        assert gceshim(home, *words, "--secret-key-stdin", stdin=cloud["secret_key"] + "\n").returncode == 0
        with running(home, "serve", "--config", str(config)) as process:
            process.wait_for("driver cloudstack")
            yield Strict(process, json.loads(gceshim(home, "env", "--json").stdout))


def test_libraries_that_try_again_succeed_in_the_end(tmp_path: Path) -> None:
    """google-api-python-client with `num_retries`, google-cloud-compute with a retry: both know a 429."""
    with strict(tmp_path, "burst = 1\nrequests_per_second = 4\npatience_seconds = 0") as server:
        http = google_auth_httplib2.AuthorizedHttp(Credentials(server.token), http=httplib2.Http(timeout=60))
        where = f"{server.url}/discovery/v1/apis/{{api}}/{{apiVersion}}/rest"
        with build("compute", "v1", http=http, discoveryServiceUrl=where, static_discovery=False) as compute:
            for _ in range(4):
                found = compute.zones().get(project="demo", zone=ZONE).execute(num_retries=8)
                assert found["name"] == ZONE
        assert "429" in server.statuses

        options = {"credentials": Credentials(server.token), "client_options": {"api_endpoint": server.url}}
        before = server.statuses.count("429")
        with compute_v1.ZonesClient(**options) as zones:
            patient = retry.Retry(initial=0.1, timeout=30)
            for _ in range(6):
                assert zones.get(project="demo", zone=ZONE, retry=patient).name == ZONE
        assert server.statuses.count("429") > before


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_gcloud_which_does_not_try_again_is_held_back_instead(tmp_path: Path) -> None:
    """`create` gives up at the first 429, so there must be none for one who asks a little too often."""
    with strict(tmp_path, "burst = 1\nrequests_per_second = 2") as server:
        quiet = {"CLOUDSDK_CONFIG": str(tmp_path / "gcloud"), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
        words = f"create vm-1 --zone {ZONE} --machine-type small-instance --image-family debian-12"
        done = subprocess.run(
            ["gcloud", "compute", "instances", *words.split(), "--image-project", "debian-cloud"],
            env={**environment(tmp_path), **quiet, **server.variables, "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "vm-1" in done.stdout
        assert set(server.statuses) == {"200"}
