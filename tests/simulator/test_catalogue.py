"""The catalogue: complete, in step with the full one, and served by listApis."""

import importlib.util
import json
from pathlib import Path

import pytest

from gceshim.simulator.catalogue import CATALOGUE_FILE, CatalogueError, check_row, load_catalogue
from gceshim.simulator.cloud import Cloud
from gceshim.simulator.command_groups import GROUPS, all_handlers
from gceshim.simulator.registry import Provenance, collect, command
from gceshim.simulator.settings import SimulatorSettings
from tests.simulator.catalogue_source import full_catalogue

ROOT = Path(__file__).resolve().parents[2]
SESSION_COMMANDS = {"login", "logout"}


def builder():
    """The tool that makes the catalogue."""
    spec = importlib.util.spec_from_file_location("build_catalogue", ROOT / "tools" / "build_catalogue.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_packaged_catalogue_is_what_the_tool_makes():
    """Nothing in it is edited by hand."""
    assert json.loads(CATALOGUE_FILE.read_text()) == builder().build(full_catalogue())


def test_every_field_is_of_the_full_catalogue():
    """But for the corrections that the tool names."""
    full, corrected = full_catalogue()["commands"], set(builder().corrections(full_catalogue()["commands"]))
    for name, spec in load_catalogue().commands.items():
        if name not in corrected:
            assert set(spec.response) == set(full[name]["response"] or {}), name
        assert set(spec.params) == {wire.lower() for wire in full[name]["params"]}, name
        assert spec.is_async == bool(full[name]["async"]), name


def test_every_command_has_one_function_that_fits():
    """A command in the catalogue that nothing serves would be a promise not kept."""
    assert set(load_catalogue().commands) == set(all_handlers()) | SESSION_COMMANDS
    Cloud(SimulatorSettings()).check_declarations()


def test_every_command_says_where_its_behaviour_is_known_from():
    """Exactly one of recorded, documented and assumed."""
    assert {type(handler.provenance) for handler in all_handlers().values()} == {Provenance}


def test_a_command_cannot_be_declared_twice():
    """The second would hide the first."""
    import types

    twice = types.ModuleType("twice")
    for name in ("one", "two"):
        setattr(twice, name, command("listZones", Provenance.ASSUMED)(len))
    with pytest.raises(ValueError, match="listZones is declared twice"):
        collect([*GROUPS, twice])


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"colour": "red"}, "listZones.colour is not in the catalogue"),
        ({"id": None}, "listZones.id is None"),
        ({"id": 7}, "listZones.id is 7, not string"),
        ({"securitygroupsenabled": "true"}, "not bool"),
        ({"gputotal": True}, "is a boolean, not long"),
        ({"tags": "none"}, "listZones.tags is not a list"),
        ({"tags": [{"colour": "red"}]}, "listZones.tags.colour is not in the catalogue"),
    ],
)
def test_replies_outside_the_catalogue_are_faults(row, text):
    """Neither dropped nor sent."""
    with pytest.raises(CatalogueError) as caught:
        check_row(row, load_catalogue().commands["listZones"].response, "listZones")
    assert text in str(caught.value)


def test_listapis_shows_what_the_caller_may_use(cloud):
    """Clients build themselves from it; forbidden and unknown names are a 530."""
    rows = {row["name"]: row for row in cloud.demo.rows("listApis")}
    assert "listHosts" not in rows
    assert "listHosts" in cloud.admin.names("listApis")
    deploy = rows["deployVirtualMachine"]
    assert deploy["isasync"] is True
    kinds = {param["name"]: (param["type"], param["required"]) for param in deploy["params"]}
    assert (kinds["zoneid"], kinds["startvm"]) == (("string", True), ("boolean", False))
    assert {field["name"] for field in deploy["response"]} >= {"id", "nic", "state"}
    for name in ("listHosts", "noSuchCommand"):
        assert cloud.demo.refusal("listApis", name=name).status == 530


def test_capabilities_tell_version_and_settings(make_world):
    """An object, without count."""
    world = make_world(allow_user_expunge_recover_vm=False)
    capability = world.demo.call("listCapabilities")["capability"]
    assert capability["cloudstackversion"] == "4.22.1.0"
    assert (capability["securitygroupsenabled"], capability["allowuserexpungerecovervm"]) == (True, False)
    assert capability["supportELB"] == "false"
