"""docs/simulator.md says what is so."""

import dataclasses
import re
from pathlib import Path

from gceshim.simulator import faults
from gceshim.simulator.command_groups import all_handlers
from gceshim.simulator.registry import Provenance
from gceshim.simulator.settings import DEFAULT_LIMITS, SimulatorSettings

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "simulator.md").read_text()


def section(title):
    """The text below a heading."""
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table_names(title):
    """The first column of a section's table."""
    return re.findall(r"^\| `([a-z_]+)` ", section(title), re.MULTILINE)


def test_assumed_commands_are_listed():
    """A reader must know where the simulator may be wrong."""
    listed = re.findall(r"^- `(\w+)`$", TEXT.split("<!-- assumed -->")[1].split("<!-- /assumed -->")[0], re.MULTILINE)
    assumed = [name for name, handler in all_handlers().items() if handler.provenance is Provenance.ASSUMED]
    assert listed == sorted(assumed)


def test_every_setting_and_fault_is_described():
    """In the order of the code."""
    assert table_names("Settings") == [field.name for field in dataclasses.fields(SimulatorSettings)]
    assert set(table_names("Faults")) == faults.NAMES


def test_the_default_quotas_are_told():
    """Numbers and names."""
    told = {name: int(number) for number, name in re.findall(r"(\d+)\s`(\w+)`", section("Settings"))}
    assert told == dict(DEFAULT_LIMITS)


def test_the_accounts_are_told(cloud):
    """Keys included."""
    rows = re.findall(r"^\| `([\w-]+)` \|.*\| `([\w-]+)` \| `([\w-]+)` \|$", section("Who may call"), re.MULTILINE)
    assert [cloud.sim.keys(name) for name, _, _ in rows] == [(key, secret) for _, key, secret in rows]
    assert len(rows) == 5
