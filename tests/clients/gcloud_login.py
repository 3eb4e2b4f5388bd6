"""The real gcloud as somebody who logs in: commands that open a browser, or ask for a code at a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.chromium import press
from tests.clients.demo import environment
from tests.clients.gcloud import Said

TIMEOUT_SECONDS = 300.0
#: Keeps the URL that it is to open; written whole or not at all.
BROWSER = '#!/bin/sh\nprintf "%s" "$1" > "$0.draft" && mv "$0.draft" "$0.url"\n'


class Machine:
    """
    A machine on which gcloud is used for the first time.

    :param home: an empty folder. :param url: of the server. :param more: variables of its environment.
    """

    def __init__(self, home: Path, url: str, **more: str) -> None:
        home.mkdir()
        self.home = home
        self._browser = home / "browser"
        self._browser.write_text(BROWSER)
        self._browser.chmod(0o755)
        self.environment = {
            **environment(home),
            "CLOUDSDK_CONFIG": str(home / "gcloud"),
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
            "CLOUDSDK_CORE_PROJECT": "demo",
            "CLOUDSDK_AUTH_AUTH_HOST": f"{url}/o/oauth2/auth",
            "CLOUDSDK_AUTH_TOKEN_HOST": f"{url}/token",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{url}/compute/v1/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER": f"{url}/",
            "BROWSER": str(self._browser),
            "DISPLAY": ":0",  # without one gcloud opens no browser
            **more,
        }
        if url.startswith("http:"):
            self.environment["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

    def gcloud(self, *words: str) -> Said:
        """A command to its end, however that is."""
        done = subprocess.run(
            ["gcloud", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def done(self, *words: str) -> str:
        """What a command that has to succeed prints."""
        said = self.gcloud(*words)
        if said.status != 0:
            pytest.fail(f"gcloud {' '.join(words)}: {said}")
        return said.output.strip()

    def with_browser(self, visit: Callable[[str], object], *words: str, typed: str = "") -> Said:
        """
        A command that opens a browser, to its end.

        :param visit: what the person does there, given the URL. :param typed: what they answer at the terminal before.
        """
        process = subprocess.Popen(
            ["gcloud", *words],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        opened = self._browser.with_name("browser.url")
        try:
            assert process.stdin is not None
            process.stdin.write(typed)
            process.stdin.flush()
            until = time.monotonic() + TIMEOUT_SECONDS
            while not opened.exists() and process.poll() is None and time.monotonic() < until:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.05)
            if opened.exists():
                visit(opened.read_text())
                opened.unlink()
            output, errors = process.communicate(timeout=TIMEOUT_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        return Said(process.returncode, output, errors)

    @contextlib.contextmanager
    def at_terminal(self, *words: str) -> Iterator[Terminal]:
        """A command that asks at a terminal."""
        outer, inner = pty.openpty()
        process = subprocess.Popen(
            ["gcloud", *words], env=self.environment, stdin=inner, stdout=inner, stderr=inner, start_new_session=True
        )
        os.close(inner)
        try:
            yield Terminal(process, outer)
        finally:
            os.close(outer)
            if process.poll() is None:
                process.kill()
            process.wait(TIMEOUT_SECONDS)


class Terminal:
    """What a person at a terminal sees and types."""

    def __init__(self, process: subprocess.Popen[bytes], outer: int) -> None:
        self._process = process
        self._outer = outer
        self.text = ""

    def read_until(self, pattern: str) -> re.Match[str]:
        """Read on until the pattern is on the screen."""
        until = time.monotonic() + TIMEOUT_SECONDS
        while (found := re.search(pattern, self.text)) is None:
            ready, _, _ = select.select([self._outer], [], [], max(0.0, until - time.monotonic()))
            if not ready or not self._read():
                pytest.fail(f"{pattern!r} does not come: {self.text}")
        return found

    def type(self, line: str) -> None:
        """A line, with the key that ends it."""
        os.write(self._outer, f"{line}\n".encode())

    def end(self) -> int:
        """The exit status, when all is read."""
        while self._read():
            pass
        return self._process.wait(TIMEOUT_SECONDS)

    def _read(self) -> bool:
        try:
            piece = os.read(self._outer, 65_536)
        except OSError:  # how Linux says that nobody is at the other end any more
            return False
        self.text += piece.decode("utf-8", "replace")
        return bool(piece)


def allow(browser: Chrome, url: str, name: str = "demo") -> None:
    """Sign in with a password, as everybody's is in the simulator, and allow it; until another page is there."""
    browser.get(url)
    browser.find_element(By.ID, "username").send_keys(name)
    browser.find_element(By.ID, "password").send_keys("password")
    press(browser, browser.find_element(By.CSS_SELECTOR, ".password .allow"))


def cancel(browser: Chrome, url: str) -> None:
    """Refuse it."""
    browser.get(url)
    press(browser, browser.find_element(By.CSS_SELECTOR, ".password .cancel"))
