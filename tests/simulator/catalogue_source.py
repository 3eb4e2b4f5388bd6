"""Where the full CloudStack API catalogue may lie: it is larger than this project and not part of it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

NAME = "api-4.22.json"


def full_catalogue() -> dict[str, Any]:
    """The parsed full catalogue; skips the calling test where it is not at hand."""
    named = os.environ.get("GCESHIM_CLOUDSTACK_CATALOGUE")
    beside = Path(__file__).resolve().parents[3] / "shared" / "cloudstack" / NAME
    path = Path(named) if named else beside
    if not path.is_file():
        pytest.skip(f"the full catalogue {NAME} is not at hand; GCESHIM_CLOUDSTACK_CATALOGUE can name it")
    content: dict[str, Any] = json.loads(path.read_text())
    return content
