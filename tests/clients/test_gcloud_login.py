"""`gcloud auth login` of the real gcloud in each of its forms, with a real Chromium, and what follows from it."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import requests
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from gceshim.auth.tokens import utc_now
from tests.chromium import chromium
from tests.clients.background import Background, in_background
from tests.clients.gcloud_login import Machine, allow, cancel

ME = "demo@example.com"
PROBLEM = "There was a problem refreshing your current auth tokens"
New = Callable[..., Machine]


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    """Nothing here without gcloud."""
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One browser; gcloud's own last page is at Google's and is not looked for."""
    profile = tmp_path_factory.mktemp("profile")
    with chromium(profile, "--host-resolver-rules=MAP *.google.com 127.0.0.1:1") as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    """A server at its defaults."""
    with in_background(tmp_path_factory.mktemp("login")) as server:
        yield server


@pytest.fixture
def machine(server: Background, tmp_path: Path) -> Machine:
    """A machine where nobody is logged in."""
    return Machine(tmp_path / "machine", server.url)


@pytest.fixture
def logged_in(machine: Machine, browser: Chrome) -> Machine:
    """A machine where somebody is."""
    said = machine.with_browser(partial(allow, browser), "auth", "login")
    assert said.status == 0, said
    assert f"You are now logged in as [{ME}]." in said.errors
    return machine


def claims(token: str) -> dict[str, object]:
    """What a JWT says."""
    body = token.split(".")[1]
    found: dict[str, object] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_after_auth_login_gcloud_just_works(server: Background, logged_in: Machine) -> None:
    """With nothing edited: the browser opens, one signs in, and the commands run."""
    assert logged_in.done("auth", "list", "--format=value(account)") == ME
    assert "sandbox-1-a" in logged_in.done("compute", "zones", "list", "--format=value(name)").split()
    assert logged_in.gcloud("compute", "instances", "list").status == 0
    token = logged_in.done("auth", "print-access-token")
    zones = requests.get(f"{server.url}/compute/v1/projects/demo/zones", headers=bearer(token), timeout=30)
    assert zones.status_code == 200
    identity = claims(logged_in.done("auth", "print-identity-token"))
    assert (identity["iss"], identity["email"]) == (server.url, ME)
    assert identity["aud"] == "32555940559.apps.googleusercontent.com"


@contextlib.contextmanager
def two_hours_later(server: Background) -> Iterator[None]:
    """By the server's clock."""
    tokens = server.world.shim.tokens
    tokens._now = lambda: utc_now() + timedelta(hours=2)
    try:
        yield
    finally:
        tokens._now = utc_now


def test_a_token_that_has_expired_is_refreshed(server: Background, logged_in: Machine) -> None:
    """By gcloud itself, before it sends anything: it keeps a note of when that will be."""
    before = logged_in.done("auth", "print-access-token")
    with two_hours_later(server):
        url = f"{server.url}/compute/v1/projects/demo/zones"
        assert requests.get(url, headers=bearer(before), timeout=30).status_code == 401
        with contextlib.closing(sqlite3.connect(logged_in.home / "gcloud" / "access_tokens.db")) as kept:
            kept.execute("UPDATE access_tokens SET token_expiry = '2020-01-01 00:00:00'")
            kept.commit()
        assert logged_in.done("compute", "zones", "list", "--format=value(name)")
        after = logged_in.done("auth", "print-access-token")
        assert after != before
        assert requests.get(url, headers=bearer(after), timeout=30).status_code == 200


def test_a_401_costs_one_command(server: Background, logged_in: Machine) -> None:
    """
    gcloud 528 gets a new token after a 401, and then tries again with the old one; the next command has the new one.

    Source: googlecloudsdk/core/credentials/requests.py, where the headers are not made anew.
    """
    before = logged_in.done("auth", "print-access-token")
    server.run(server.world.shim.tokens.revoke(before))
    server.world.shim.authenticator._cache.clear()
    said = logged_in.gcloud("compute", "zones", "list")
    assert (said.status, "Invalid Credentials" in said.errors) == (1, True)
    assert logged_in.done("compute", "zones", "list", "--format=value(name)")
    assert logged_in.done("auth", "print-access-token") != before


def test_tokens_of_a_minute_are_refreshed_by_each_command(tmp_path: Path, browser: Chrome) -> None:
    """gcloud wants five minutes left; it goes on for as long as the login is good."""
    (tmp_path / "server").mkdir()
    with in_background(tmp_path / "server", {"auth.token_lifetime_seconds": 60}) as server:
        machine = Machine(tmp_path / "machine", server.url)
        assert machine.with_browser(partial(allow, browser), "auth", "login").status == 0
        seen = {machine.done("auth", "print-access-token") for _ in range(3)}
        assert len(seen) == 3
        assert machine.done("compute", "zones", "list", "--format=value(name)")


@pytest.mark.parametrize("which", ["access", "refresh"])
def test_a_login_that_was_revoked_ends_with_gclouds_own_words(
    server: Background, logged_in: Machine, which: str
) -> None:
    """At our endpoint, as `gcloud auth revoke` asks Google's; the next command says to log in again."""
    access = logged_in.done("auth", "print-access-token")
    token = access if which == "access" else refresh_token(logged_in)
    answer = requests.post(f"{server.url}/oauth2/revoke", data={"token": token}, timeout=30)
    assert answer.status_code == 200
    # A token is remembered as good for half a second.
    server.world.shim.authenticator._cache.clear()
    said = logged_in.gcloud("compute", "zones", "list")
    assert said.status == 1
    assert PROBLEM in said.errors
    assert "gcloud auth login" in said.errors
    assert "Traceback" not in said.errors


def refresh_token(machine: Machine) -> str:
    """Where gcloud keeps it for other programs."""
    [file] = (machine.home / "gcloud" / "legacy_credentials").glob("*/adc.json")
    token: str = json.loads(file.read_text())["refresh_token"]
    return token


def test_without_a_browser_on_the_machine_a_code_is_copied(machine: Machine, browser: Chrome) -> None:
    """`--no-launch-browser`: gcloud prints the link and reads the code that the page shows."""
    with machine.at_terminal("auth", "login", "--no-launch-browser") as terminal:
        url = terminal.read_until(r"http://\S+&code_challenge_method=S256")[0]
        terminal.read_until("enter the verification code")
        allow(browser, url)
        assert browser.find_element(By.TAG_NAME, "h1").text == "Copy this code"
        terminal.type(str(browser.find_element(By.ID, "code").get_attribute("value")))
        assert terminal.end() == 0
        assert f"You are now logged in as [{ME}]." in terminal.text
    assert machine.done("compute", "zones", "list", "--format=value(name)")


def test_another_machine_logs_in_for_this_one(server: Background, tmp_path: Path, browser: Chrome) -> None:
    """`--no-browser`: what the one prints is a command for the other, whose answer is pasted here."""
    far, near = Machine(tmp_path / "far", server.url), Machine(tmp_path / "near", server.url)
    with far.at_terminal("auth", "login", "--no-browser") as terminal:
        bootstrap = terminal.read_until(r'gcloud auth login --remote-bootstrap="([^"]+)"')[1]
        said = near.with_browser(
            partial(allow, browser), "auth", "login", f"--remote-bootstrap={bootstrap}", typed="y\n"
        )
        assert said.status == 0, said
        found = re.search(r"https://localhost:\S+", said.output + said.errors)
        assert found is not None
        terminal.read_until("Enter the output of the above command")
        terminal.type(found[0])
        assert terminal.end() == 0
    assert far.done("compute", "zones", "list", "--format=value(name)")
    assert near.done("auth", "list", "--format=value(account)") == ""


def test_application_default_login_writes_credentials_that_work(machine: Machine, browser: Chrome) -> None:
    """For programs that use Google's libraries; they too are refreshed."""
    said = machine.with_browser(partial(allow, browser), "auth", "application-default", "login")
    assert said.status == 0, said
    written = json.loads((machine.home / "gcloud" / "application_default_credentials.json").read_text())
    assert (written["type"], written["client_id"][:12]) == ("authorized_user", "764086051850")
    assert claims(machine.done("auth", "application-default", "print-access-token"))["use"] == "access"


def test_over_tls_with_a_certificate_of_ones_own(server: Background, tmp_path: Path) -> None:
    """No variable that allows plain HTTP; gcloud is told whom to trust, as is the browser."""
    with (
        server.over_tls(tmp_path) as (url, certificate),
        chromium(tmp_path / "profile", "--ignore-certificate-errors") as browser,
    ):
        machine = Machine(tmp_path / "machine", url, CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE=str(certificate))
        said = machine.with_browser(partial(allow, browser), "auth", "login")
        assert said.status == 0, said
        assert machine.done("compute", "zones", "list", "--format=value(name)")


def test_who_refuses_is_not_logged_in(machine: Machine, browser: Chrome) -> None:
    """And gcloud does not wait any longer."""
    said = machine.with_browser(partial(cancel, browser), "auth", "login")
    assert said.status == 1
    assert "There was a problem with web authentication" in said.errors
    assert machine.done("auth", "list", "--format=value(account)") == ""


def test_somebody_else_than_expected_is_told_apart(machine: Machine, browser: Chrome) -> None:
    """`gcloud auth login ACCOUNT` compares it with the e-mail address in the id_token."""
    said = machine.with_browser(partial(allow, browser, name="other"), "auth", "login", ME)
    assert said.status == 1
    assert f"You attempted to log in as account [{ME}] but the received credentials were for account" in said.errors
    assert machine.with_browser(partial(allow, browser), "auth", "login", ME).status == 0
