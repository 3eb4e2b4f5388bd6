"""The guide for authors of drivers: its test module tries its driver."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from gceshim.testing.conformance.suite import DriverConformance

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "drivers.md"
TRIED = ["TestItself", "TestIdentity", "TestImages", "TestInstances"]


def snippet(word: str) -> str:
    """The program in the guide that has this word."""
    return next(code for code in re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.M | re.S) if word in code)


def test_the_guides_driver_passes_the_conformance_suite(tmp_path):
    """Copied as they stand, in a project that has nothing of ours but the package; some capabilities stand for all."""
    (tmp_path / "my_driver.py").write_text(snippet("class MyDriver("))
    (tmp_path / "test_my_driver.py").write_text(snippet("class TestMyDriver("))
    chosen = [f"test_my_driver.py::TestMyDriver::{name}" for name in TRIED]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n0",
        "-W",
        "error",
        "-W",
        "ignore::pytest.PytestRemovedIn10Warning",
    ]
    command += ["-W", "ignore:pkg_resources is deprecated:UserWarning", *chosen]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 20


def test_the_whole_suite_is_collected_from_such_a_module(tmp_path):
    """A capability whose tests nobody collects is one that nobody tries."""
    (tmp_path / "my_driver.py").write_text(snippet("class MyDriver("))
    (tmp_path / "test_my_driver.py").write_text(snippet("class TestMyDriver("))
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "--collect-only", "test_my_driver.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    collected = set(re.findall(r"TestMyDriver::(Test\w+)::", done.stdout))
    assert collected == {name for name in vars(DriverConformance) if name.startswith("Test")}
