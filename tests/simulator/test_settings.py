"""Settings: read from TOML, with clear errors; and the life of a simulator."""

import asyncio
import time

import pytest

from gceshim.simulator import Simulator, SimulatorSettings, SimulatorSettingsError

GOOD = """
seed = 7
job_seconds = 1
machines = 3
[limits]
user_vm = 5
[job_seconds_by_command]
deployVirtualMachine = 2.5
[[zones]]
name = "Alpha"
[[zones]]
name = "Beta"
security_groups = true
[[users]]
name = "alice"
password = "alice-password"
domain = "one/two"
keys = false
[[faults]]
name = "slow_reply"
command = "listZones"
seconds = 1
"""


def test_a_file_sets_shape_and_size(tmp_path):
    """Everything in one TOML file; what is not there has its default."""
    path = tmp_path / "simulator.toml"
    path.write_text(GOOD)
    settings = SimulatorSettings.load(path)
    assert (settings.seed, settings.job_seconds, settings.machines) == (7, 1.0, 3)
    assert [zone.name for zone in settings.zones] == ["Alpha", "Beta"]
    assert (settings.limit("user_vm"), settings.limit("vpc")) == (5, 20)
    assert settings.faults[0].seconds == 1.0
    assert [(user.name, user.domain, user.keys) for user in settings.users] == [("alice", "one/two", False)]
    assert len(Simulator(settings).vms("demo")) == 3


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("sed = 1", "sed: unknown key"),
        ("seed = 'one'", "seed: must be int, not str"),
        ("seed = true", "seed: must be int, not bool"),
        ("custom_offerings = 1", "custom_offerings: must be bool, not int"),
        ("job_seconds = -1", "job_seconds: must not be negative"),
        ("zones = []", "zones: at least one zone is needed"),
        ("zones = 1", "zones: must be a list of tables"),
        ("zones = [1]", "zones[0]: must be a table"),
        ("[[zones]]\nsecurity_groups = true", "zones[0].name: missing"),
        ("[[zones]]\nname = 'a'\nsize = 1", "zones[0].size: unknown key"),
        ("[limits]\nuser_vm = 'many'", "limits.user_vm: must be int, not str"),
        ("[limits]\nsandwich = 1", "limits: unknown resource type 'sandwich'"),
        ("[[faults]]\nname = 'gremlin'", "faults: unknown fault 'gremlin'"),
        ("limits = 1", "limits: must be a table"),
        ("[[users]]\nname = 'alice'", "users[0].password: missing"),
        ("[[users]]\nname = 'demo'\npassword = 'x'", "users: a name is there twice"),
        ("incorrect_login_attempts_allowed = -1", "incorrect_login_attempts_allowed: must not be negative"),
        ("machines_account = 'nobody'\nmachines = 1", "machines_account: unknown account 'nobody'"),
        ("seed = ", "Invalid value"),
    ],
)
def test_a_bad_file_is_refused_naming_file_and_key(tmp_path, text, error):
    """One line for the operator."""
    path = tmp_path / "simulator.toml"
    path.write_text(text)
    with pytest.raises(SimulatorSettingsError) as caught:
        SimulatorSettings.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert error in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    """With the same kind of error."""
    with pytest.raises(SimulatorSettingsError):
        SimulatorSettings.load(tmp_path / "none.toml")


def test_a_simulator_starts_quickly():
    """Every test of the driver begins with one; benchmarks with 5,000 machines."""
    Simulator()
    began = time.thread_time()
    Simulator()
    small = time.thread_time() - began
    assert small < 0.3
    assert len(Simulator(SimulatorSettings(machines=5000)).vms()) == 5000


def test_start_and_stop_on_one_loop():
    """An embedder's loop: the URL while it runs, nothing after; stopping twice is harmless."""

    async def life():
        sim = Simulator()
        with pytest.raises(RuntimeError):
            _ = sim.endpoint
        url = await sim.start()
        assert url == sim.endpoint
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/client/api")
        await sim.stop()
        await sim.stop()
        with pytest.raises(RuntimeError):
            _ = sim.endpoint

    asyncio.run(life())


def test_inspection_shows_state_by_name(make_world):
    """Past the API: for the tests of the packages above."""
    world = make_world()
    world.machine("a")
    sim = world.sim
    assert (sim.vm("a").state, [vm.name for vm in sim.vms("demo")], sim.vms("other")) == ("Running", ["a"], [])
    assert sim.volumes()[0] is sim.volume(sim.volumes()[0].name)
    assert {network.name for network in sim.networks()} == {"sg-shared", "demo-network"}
    assert (len(sim.jobs()), sim.keys("demo")) == (1, ("demo-api-key", "demo-secret-key"))
    for lookup in (sim.vm, sim.volume, sim.keys):
        with pytest.raises(KeyError):
            lookup("nobody")
