"""A real Chromium without a window, driven by selenium. Debian's packages: chromium, chromium-driver."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as become
from selenium.webdriver.support.wait import WebDriverWait

LOAD_SECONDS = 120.0
#: Nothing that calls home, nor what differs from machine to machine.
QUIET = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--lang=en",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
)


@contextlib.contextmanager
def chromium(profile: Path, *more: str) -> Iterator[webdriver.Chrome]:
    """
    A browser with a profile of its own; skips the test where there is none.

    :param profile: an empty folder. :param more: words of its command line.
    """
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: apt install chromium chromium-driver)")
    options = Options()
    options.binary_location = browser
    for word in (*QUIET, f"--user-data-dir={profile}", *more):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=Service(executable_path=driver))
    try:
        window.set_page_load_timeout(LOAD_SECONDS)
        yield window
    finally:
        window.quit()


def press(window: webdriver.Chrome, button: WebElement) -> None:
    """Press what leads to another page, and wait until the one it is on has gone."""
    button.click()
    # While one page gives way to the next, chromedriver knows errors of its own for what is gone.
    wait = WebDriverWait(window, LOAD_SECONDS, 0.1, ignored_exceptions=(WebDriverException,))
    wait.until(become.staleness_of(button))


def prefer(window: webdriver.Chrome, scheme: str) -> None:
    """The user's choice of `light` or `dark`."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def resize(window: webdriver.Chrome, width: int, height: int, *, mobile: bool = False) -> None:
    """The size of the page's view in CSS pixels."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def accessible_nodes(window: webdriver.Chrome) -> Sequence[tuple[str, str, dict[str, Any]]]:
    """Role, name and properties of everything that assistive technology is told of the page, in its order."""
    nodes = window.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    return [
        (
            node["role"]["value"],
            node.get("name", {}).get("value", ""),
            {item["name"]: item["value"].get("value") for item in node.get("properties", ())},
        )
        for node in nodes
        if not node.get("ignored")
    ]
