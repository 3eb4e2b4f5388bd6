"""Settings: where they come from, what is refused, and that secrets stay secret."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gceshim.settings import RENAMED, SETTINGS, Settings, SettingsError

HOME = {"HOME": "/home/somebody"}


def refusal(tmp_path: Path, text: str, **environ: str) -> str:
    """The one line that a settings file is refused with, its folder left out."""
    file = tmp_path / "gceshim.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        Settings.load(file, HOME | environ)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{tmp_path}/", "")


def test_nothing_given_means_the_defaults_of_the_rows():
    """The page and the sample show the rows' defaults, so these must be what a server really starts with."""
    settings = Settings.load(None, HOME)
    filled = {"store.path", "auth.master_key_file"}
    expected = {row.key: row.default for row in SETTINGS if row.key not in filled}
    assert {key: value for key, value in settings.shown().items() if key not in filled} == expected


def test_state_lies_in_the_users_state_folder():
    """A first start needs no file and no rights beyond the user's own."""
    assert Settings.load(None, HOME).store.path == "/home/somebody/.local/state/gceshim/gceshim.sqlite"
    moved = Settings.load(None, HOME | {"XDG_STATE_HOME": "/elsewhere"})
    assert moved.store.path == "/elsewhere/gceshim/gceshim.sqlite"
    assert moved.auth.master_key_file == "/elsewhere/gceshim/master.key"


def test_the_key_file_lies_beside_the_store_wherever_that_is():
    """Who moves the store moves its key with it, or the stored credentials are lost."""
    settings = Settings.load(None, HOME, {"store.path": "/srv/shim/state.sqlite"})
    assert settings.auth.master_key_file == "/srv/shim/master.key"


def test_command_line_beats_environment_beats_file_beats_default(tmp_path):
    """The nearer to the person who starts the server, the stronger."""
    file = tmp_path / "gceshim.toml"
    file.write_text('[server]\nport = 1001\naddress = "127.0.0.2"\ntrust_proxy = true\n')
    environ = HOME | {"GCESHIM_SERVER_PORT": "1002", "GCESHIM_SERVER_ADDRESS": "127.0.0.3"}
    server = Settings.load(file, environ, {"server.port": 1003, "server.address": None}).server
    assert (server.port, server.address, server.trust_proxy) == (1003, "127.0.0.3", True)
    assert server.max_body_bytes == 1024 * 1024


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server]\nprot = 1", "gceshim.toml: unknown setting server.prot; did you mean server.port?"),
        ("[sever]\nport = 1", "gceshim.toml: unknown setting sever; did you mean server?"),
        ("server = 1", "gceshim.toml: server must be a table, [server]"),
        ("[server]\nport = '1'", "gceshim.toml: server.port must be a whole number from 0 to 65535, not '1'"),
        ("[server]\nport = 65536", "gceshim.toml: server.port must be a whole number from 0 to 65535, not 65536"),
        ("[server]\nport = true", "gceshim.toml: server.port must be a whole number from 0 to 65535, not True"),
        ("[server]\ntrust_proxy = 1", "gceshim.toml: server.trust_proxy must be true or false, not 1"),
        (
            "[operations]\nlinger_seconds = nan",
            "gceshim.toml: operations.linger_seconds must be a number from 0 to 120, not nan",
        ),
        ("[log]\nlevel = 'loud'", "gceshim.toml: log.level must be one of debug, info, warning, error, not 'loud'"),
        ("[auth]\nmaster_key = 12345678", "gceshim.toml: auth.master_key must be a string"),
        ("[driver]\nnaem = 'x'", "gceshim.toml: unknown setting driver.naem; did you mean driver.name?"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line_with_file_and_key(tmp_path, text, expected):
    """An operator finds the mistake without reading code or a trace."""
    assert refusal(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[auth]\nmaster_key = 'long-enough-to-be-a-key'\nmaster_key_file = '/f'",
            "auth.master_key and auth.master_key_file: give one of them",
        ),
        ("[server]\ntls_key = '/k.pem'", "server.tls_certificate and server.tls_key: give both or neither"),
        (
            "[operations]\npoll_min_seconds = 6",
            "operations.poll_min_seconds must not be more than operations.poll_max_seconds",
        ),
        (
            "[server]\npublic_url = 'gce.example.org'",
            "server.public_url must be like https://gce.example.org, not 'gce.example.org'",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path, text, expected):
    """Half a certificate, two keys: the server must not guess which one was meant."""
    assert refusal(tmp_path, text) == expected


def test_a_file_that_is_absent_or_no_toml_is_named(tmp_path):
    """The commonest mistake of all is a wrong path."""
    assert refusal(tmp_path, "[server").startswith("gceshim.toml: not valid TOML: ")
    with pytest.raises(SettingsError, match=r"absent\.toml: cannot be read: No such file or directory$"):
        Settings.load(tmp_path / "absent.toml", HOME)


def test_a_variable_of_our_sections_that_means_nothing_is_refused(tmp_path):
    """A typing mistake in a deployment's environment must not be a silent default."""
    message = refusal(tmp_path, "", GCESHIM_SERVER_PROT="1")
    assert message == "GCESHIM_SERVER_PROT: unknown setting; did you mean GCESHIM_SERVER_PORT?"
    assert refusal(tmp_path, "", GCESHIM_SERVER_PORT="x") == (
        "GCESHIM_SERVER_PORT: server.port must be a whole number from 0 to 65535, not 'x'"
    )


def test_variables_that_are_no_settings_are_left_alone():
    """Others with our prefix exist: the path of the settings file, the secret key that a command reads."""
    environ = HOME | {"GCESHIM_CONFIG": "x", "GCESHIM_SECRET_KEY": "y", "GCESHIM_TEST_MONGODB_URI": "z"}
    assert Settings.load(None, environ) == Settings.load(None, HOME)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("No", False), ("false", False)])
def test_truth_in_a_variable_is_written_in_the_usual_ways(text, value):
    """An environment has only text."""
    assert Settings.load(None, HOME | {"GCESHIM_SERVER_TRUST_PROXY": text}).server.trust_proxy is value


def test_the_drivers_table_is_handed_on_untouched(tmp_path):
    """A stranger's driver has settings that we know nothing of; it checks them itself."""
    file = tmp_path / "gceshim.toml"
    file.write_text("[driver]\nname = 'other'\n[driver.other]\nanything = [1, 'a']\n[driver.other.deep]\nx = 1.5\n")
    environ = HOME | {"GCESHIM_DRIVER_OTHER_TIMEOUT_SECONDS": "3", "GCESHIM_DRIVER_OTHER_URL": "http://c/api"}
    driver = Settings.load(file, environ, {"driver.other.more": True}).driver
    expected = {"anything": [1, "a"], "deep": {"x": 1.5}, "timeout_seconds": 3, "url": "http://c/api", "more": True}
    assert driver.own == expected
    assert Settings.load(None, HOME).driver.own == {}


def test_secrets_are_never_shown():
    """Settings reach logs and bug reports."""
    secrets = {row.key: f"hidden-{row.key}-hidden" for row in SETTINGS if row.secret}
    assert secrets
    settings = Settings.load(None, HOME, {**secrets, "driver.cloudstack.password": "hidden-too"})
    shown = f"{settings} {settings!r} {settings.shown()} {dataclasses.replace(settings)}"
    assert "hidden" not in shown
    assert "'auth.master_key': '***'" in shown


def test_settings_cannot_be_changed():
    """They are built once; two servers in one process do not reach into each other's."""
    settings = Settings.load(None, HOME)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.server.port = 1  # type: ignore[misc]


def test_each_row_explains_itself_and_its_unit():
    """The rows are the manual: a sentence each, and the unit in the name of what has one."""
    for row in SETTINGS:
        assert row.help.endswith("."), row.key
        assert not row.key.endswith(("_size", "timeout", "lifetime")), row.key
    assert all(old not in {row.key for row in SETTINGS} for old in RENAMED)
