"""Drivers are found by entry point, and a wrong name is told in one line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gceshim.drivers import loader
from gceshim.drivers.cloudstack.driver import CloudStackDriver
from tests.drivers.worlds import on_loop

LOAD = """
import sys
from gceshim.drivers import loader
try:
    loader.load(sys.argv[1], {})
except loader.DriverLoadError as error:
    print(error)
"""


@pytest.fixture
def load(tmp_path):
    """Loads by name in a process of its own, where a distribution with broken drivers is installed."""
    info = tmp_path / "strange-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[gceshim.drivers]\nbroken = strange_broken:Driver\nnumber = strange_number:ANSWER\n"
    )
    (tmp_path / "strange_broken.py").write_text("import no_such_module_anywhere\n")
    (tmp_path / "strange_number.py").write_text("ANSWER = 42\n")
    # stevedore remembers entry points on disk, in the cache folder.
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(name):
        done = subprocess.run(
            [sys.executable, "-c", LOAD, name], env=environ, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return done.stdout.strip()

    return run


def test_our_own_driver_is_installed_like_any_other():
    """It goes through the door that third parties use."""
    assert "cloudstack" in loader.installed()


@on_loop
async def test_a_driver_is_built_from_its_own_table():
    """The loader hands the table on as it is."""
    driver = loader.load("cloudstack", {"url": "http://127.0.0.1:1/client/api"})
    assert isinstance(driver, CloudStackDriver)
    assert driver.capabilities() >= {"jobs", "identity", "instances"}
    await driver.close()


def test_an_unknown_name_is_answered_with_those_installed():
    """Most often it is a slip of the pen."""
    with pytest.raises(loader.DriverLoadError) as caught:
        loader.load("nosuch", {})
    assert str(caught.value) == "driver.name: no driver 'nosuch'; installed: cloudstack"


def test_a_wrong_setting_is_a_value_error():
    """The command line tells it like any other wrong setting."""
    with pytest.raises(ValueError, match=r"driver\.cloudstack\.url"):
        loader.load("cloudstack", {"url": "ftp://x/y"})


def test_a_driver_that_cannot_be_imported_names_the_cause(load):
    """Its author needs the cause, the operator the name."""
    assert load("broken") == (
        "driver.name: driver 'broken' cannot be loaded: ModuleNotFoundError: No module named 'no_such_module_anywhere'"
    )


def test_what_is_no_driver_is_refused(load):
    """A function or constant would fail much later, in a request."""
    assert load("number") == "driver.name: driver 'number' is not a subclass of gceshim.drivers.base.Driver"


def test_a_broken_driver_does_not_hinder_the_others(load):
    """One that nobody asked for is not even imported."""
    assert load("nosuch") == "driver.name: no driver 'nosuch'; installed: broken, cloudstack, number"
