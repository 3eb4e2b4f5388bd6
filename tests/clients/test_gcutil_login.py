"""gcutil's login, end to end, on its own libraries: authorize, redirect, exchange, call, refresh."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.demo import DEMO_KEYS, Demo, environment
from tests.ports import kept_port, port_of

HERE = Path(__file__).parent
PUBLIC = ("32555940559.apps.googleusercontent.com", "ZmssLNjJy2998hD4CTg2ejr2")
DEADLINE_SECONDS = 180


@dataclass
class Gcutil:
    """Runs the program; its credentials are in a file of its own."""

    demo: Demo
    folder: Path
    client: tuple[str, str]

    @property
    def credentials(self) -> Path:
        return self.folder / "credentials.json"

    @property
    def stored(self) -> dict[str, Any]:
        """What the program has kept."""
        kept: dict[str, Any] = json.loads(self.credentials.read_text())
        return kept

    def keep(self, **changed: str) -> None:
        """Change what the program has kept."""
        self.credentials.write_text(json.dumps(self.stored | changed))

    def environment(self, **more: str) -> dict[str, str]:
        return environment(self.folder) | {
            "GCUTIL_URL": self.demo.url,
            "GCUTIL_PROJECT": self.demo.project,
            "GCUTIL_CREDENTIALS": str(self.credentials),
            "GCUTIL_CLIENT_ID": self.client[0],
            "GCUTIL_CLIENT_SECRET": self.client[1],
            "BROWSER": f"{sys.executable} {HERE / 'browser_stand_in.py'} %s &",
            "BROWSER_USER": "demo",
            "BROWSER_PASSWORD": "password",
            **more,
        }

    def run(self, verb: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(HERE / "gcutil_like.py"), verb],
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    def __call__(self, verb: str, **more: str) -> dict[str, Any]:
        """The program's last line, which is JSON; it has to end well."""
        done = self.run(verb, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return said

    def login(self) -> dict[str, Any]:
        with kept_port() as kept:
            return self("login", GCUTIL_PORT=str(port_of(kept)))


@pytest.fixture(params=[PUBLIC, DEMO_KEYS], ids=["as itself", "as a key pair"])
def gcutil(request: pytest.FixtureRequest, demo: Demo, tmp_path: Path) -> Iterator[Gcutil]:
    """With the id that it ships with, and with a key pair in its place, as people of the seed project edit it in."""
    yield Gcutil(demo, tmp_path, request.param)


def test_a_login_leads_to_calls(gcutil: Gcutil) -> None:
    """The redirect goes to the program's own web server; the document it builds itself from is the one we serve."""
    said = gcutil.login()
    assert said["email"].startswith("demo@")
    assert said["expires_in"] == 3600
    listed = gcutil("list")
    assert gcutil.demo.zone in listed["zones"]
    assert listed["kind"] == "compute#instanceList"


def test_a_token_that_is_no_good_any_more_is_refreshed(gcutil: Gcutil) -> None:
    """The API's 401 makes the program refresh and try again, time after time."""
    gcutil.login()
    for _ in range(3):
        before = gcutil.stored
        gcutil.keep(access_token="no.longer.good")
        assert gcutil("list")["zones"]
        assert gcutil.stored["access_token"] not in ("no.longer.good", before["access_token"])


def test_a_refresh_keeps_the_login(gcutil: Gcutil) -> None:
    """gcutil as itself gets another refresh token each time, and keeps it."""
    gcutil.login()
    before = gcutil.stored
    for _ in range(2):
        gcutil("refresh")
    after = gcutil.stored
    assert after["access_token"] != before["access_token"]
    assert (after["refresh_token"] != before["refresh_token"]) is (gcutil.client == PUBLIC)
    assert gcutil("list")["zones"]


def test_a_login_is_over_once_revoked(gcutil: Gcutil) -> None:
    """By oauth2client's own way to do it."""
    gcutil.login()
    kept = gcutil.stored
    gcutil("revoke")
    gcutil.credentials.write_text(json.dumps(kept))
    done = gcutil.run("refresh")
    assert done.returncode != 0
    assert "invalid_grant" in done.stderr


def test_a_stolen_refresh_token_ends_the_login(demo: Demo, tmp_path: Path) -> None:
    """It works for the thief or for the owner, and then for neither."""
    owner = Gcutil(demo, tmp_path, PUBLIC)
    owner.login()
    stolen = owner.stored
    owner("refresh")
    kept = owner.stored
    owner.credentials.write_text(json.dumps(stolen))
    assert owner.run("refresh").returncode != 0
    owner.credentials.write_text(json.dumps(kept))
    assert owner.run("refresh").returncode != 0


def test_a_code_can_be_copied_by_hand(gcutil: Gcutil) -> None:
    """For a machine without a browser."""
    words = [sys.executable, str(HERE / "gcutil_like.py"), "login"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=gcutil.environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True) as program:
        assert program.stdout is not None
        said = ""
        while not (link := re.search(r"^ +(http\S+)$", said, re.MULTILINE)):
            line = program.stdout.readline()
            assert line, said
            said += line
        browser = subprocess.run(
            [sys.executable, str(HERE / "browser_stand_in.py"), link[1]],
            env=gcutil.environment(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=True,
        )
        out, err = program.communicate(browser.stdout + "\n", timeout=DEADLINE_SECONDS)
    assert program.returncode == 0, said + out + err
    assert gcutil("list")["zones"]
