"""The samples in conf/ are what a server takes, and fit each other."""

from __future__ import annotations

import configparser
import tomllib
from pathlib import Path

import pytest

from gceshim.app import make_store
from gceshim.cli import build_parser
from gceshim.drivers import loader
from gceshim.settings import Settings
from gceshim.stores.mongodb import MongoStore
from gceshim.stores.sqlite import SqliteStore
from tests.stores.running import in_loop

CONF = Path(__file__).parent.parent / "conf"


@pytest.mark.parametrize("name", ["gceshim.toml", "production.toml", "cluster.toml"])
def test_a_sample_is_taken_as_it_is(name: str, tmp_path: Path) -> None:
    """Somebody copies it, changes a line or two, and starts a server."""
    settings = Settings.load(CONF / name, {"HOME": str(tmp_path)})
    given = tomllib.loads((CONF / name).read_text())
    assert settings.server.port == given["server"]["port"]
    if settings.driver.own:
        assert loader.load(settings.driver.name, settings.driver.own)


@in_loop
async def test_each_sample_has_the_store_that_it_is_for() -> None:
    """One machine: a file. Several: a replica set, with nothing loosened, and its password shown nowhere."""
    one = make_store(Settings.load(CONF / "production.toml"))
    assert isinstance(one, SqliteStore)
    settings = Settings.load(CONF / "cluster.toml")
    several = make_store(settings)
    assert isinstance(several, MongoStore)
    assert several.upkeep.where == "mongo1.example.org,mongo2.example.org,mongo3.example.org, database gceshim"
    assert not settings.store.mongodb_standalone
    assert "PASSWORD" not in repr(settings)
    await several.close()


def test_the_unit_starts_what_there_is_and_may_write_where_the_samples_do() -> None:
    """A folder that systemd did not make would stop the first start."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(CONF / "gceshim.service")
    service = unit["Service"]
    program, *words = service["ExecStart"].split()
    assert program.endswith("/bin/gceshim")
    assert build_parser([words[0]]).parse_args(words).config == "/etc/gceshim/gceshim.toml"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    folders = {f"/var/lib/{name}" for name in service["StateDirectory"].split()}
    for name in ("production.toml", "cluster.toml"):
        settings = Settings.load(CONF / name)
        files = [settings.auth.master_key_file]
        files += [] if settings.store.mongodb_uri else [settings.store.path]
        assert {str(Path(file).parent) for file in files} <= folders
