"""docs/clients.md names the versions that are really tried."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["google-cloud-compute", "google-api-python-client", "cs"]


def test_the_page_on_clients_names_the_versions_that_are_tried() -> None:
    """Whoever meets a difference asks first whether it is the version."""
    page = (ROOT / "docs" / "clients.md").read_text()
    told = dict(re.findall(r"^\| (@?[\w/-]+)(?: \([^)]*\))? \| ([\d.]+)", page, re.MULTILINE))
    lock = json.loads((ROOT / "tests" / "clients" / "node" / "package-lock.json").read_text())
    tried = {name: importlib.metadata.version(name) for name in PACKAGES}
    tried["@google-cloud/compute"] = lock["packages"]["node_modules/@google-cloud/compute"]["version"]

    assert told == tried
