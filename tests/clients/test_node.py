"""Node's @google-cloud/compute."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.clients.demo import Cloud, Demo, environment

HERE = Path(__file__).parent / "node"
TIMEOUT_SECONDS = 300.0


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(
    not (HERE / "node_modules" / "@google-cloud" / "compute").is_dir(),
    reason="tests/clients/node has no node_modules; `npm ci` there makes them",
)
def test_a_machine_is_made_found_and_deleted(demo: Demo, cloud: Cloud, fresh_name: Callable[[], str]) -> None:
    """In the client's own words, by its REST transport."""
    name, at = fresh_name(), urlsplit(demo.url)
    script = ["node", str(HERE / "machine.mjs"), str(at.hostname), str(at.port), demo.project, demo.zone, name]
    given = {**environment(demo.home), "TOKEN": demo.token}
    done = subprocess.run(script, env=given, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    path = f"projects/{demo.project}/zones/{demo.zone}/instances/{name}"

    assert said["image"] == "debian-12"
    assert said["inserted"] == {"operationType": "insert", "status": "DONE", "progress": 100, "error": None}
    address = said["made"].pop("networkIP")
    assert said["made"] == {"name": name, "status": "RUNNING", "labels": {"env": "test"}}
    assert address.startswith("10.1.1.")
    assert (said["conflict"]["code"], f"The resource '{path}' already exists" in said["conflict"]["message"]) == (
        409,
        True,
    )
    assert (said["listed"], name in said["spread"][f"zones/{demo.zone}"]) == ([name], True)
    assert said["deleted"] == {"operationType": "delete", "status": "DONE", "progress": 100, "error": None}
    assert (said["missing"]["code"], f"The resource '{path}' was not found" in said["missing"]["message"]) == (
        404,
        True,
    )
    assert cloud.states(name) == [None]


def test_what_npm_installs_is_held_by_hashes_and_runs_no_scripts() -> None:
    """An install must not depend on who asks which registry, nor fetch anything beside the packages."""
    lock = json.loads((HERE / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}

    assert packages
    assert [name for name, entry in packages.items() if "resolved" in entry or "integrity" not in entry] == []
    assert "ignore-scripts=true" in (HERE / ".npmrc").read_text().splitlines()
