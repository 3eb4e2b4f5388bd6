"""Whatever is thrown at the authorize endpoint, it is answered: no input is a mistake of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gceshim.protocol.discovery import Document
from gceshim.testing.world import World
from tests.auth.consent.visitor import AUTHORIZE, GCLOUD, LOOPBACK, OOB, Page, Visitor, query

NAMES = ("response_type", "client_id", "redirect_uri", "scope", "state", "login_hint", "nonce", "code_challenge")
NAMES += ("code_challenge_method", "prompt", "access_type", "request", "")
VALUES = st.one_of(
    st.sampled_from(["code", GCLOUD, LOOPBACK, OOB, "openid", "S256", "plain", "x" * 43, "http://[", "\r\nA: b"]),
    st.text(max_size=40),
)
FIELDS = ("request", "binding", "way", "username", "password", "domain", "api_key", "secret_key", "decision", "x")
TYPED = st.one_of(st.sampled_from(["keys", "password", "allow", "cancel", "demo-api-key"]), st.text(max_size=40))


class Running:
    """A world with a loop of its own, for tests that run many examples on one server."""

    def __init__(self, folder: Path, document: Document) -> None:
        self._runner = asyncio.Runner()
        self._world = World(folder, document, overrides={"oauth.sign_in_attempts_per_minute": 1000})
        self._runner.run(self._world.__aenter__())
        self.visitor = Visitor(self._world.url)
        self.page = self._runner.run(self.visitor.get())

    def fetch(self, text: str = "", *, body: str | None = None, form: str | None = None) -> Page:
        """A GET with a query, or a POST with a body as it is or as a form."""
        url = f"{self._world.url}{AUTHORIZE}" + (f"?{text}" if text else "")
        if body is None and form is None:
            return self._runner.run(self.visitor.fetch(url, headers={}))
        headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
        return self._runner.run(self.visitor.fetch(url, headers=headers, method="POST", body=body or form or ""))

    def close(self) -> None:
        """Give everything back."""
        self._runner.run(self._world.__aexit__(None, None, None))
        self._runner.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, discovery: Document) -> Iterator[Running]:
    """One server for the examples of this module."""
    running = Running(tmp_path_factory.mktemp("consent"), discovery)
    yield running
    running.close()


def check(page: Page) -> None:
    """An answer that is no mistake of ours, and leads nowhere but to a program of the person's own."""
    assert page.status in {200, 303, 400, 403, 413, 415, 429}, (page.status, page.words)
    location = page.headers.get("Location", "http://localhost")
    assert location.startswith(("http://localhost", "http://127.0.0.1", "http://[::1]"))
    assert "<script" not in page.text


@settings(max_examples=150)
@given(
    changed=st.dictionaries(st.sampled_from(NAMES), VALUES | st.none(), max_size=2),
    more=st.lists(st.tuples(VALUES, VALUES)),
)
def test_any_query_is_answered(running: Running, changed: dict[str, str | None], more: list[tuple[str, str]]) -> None:
    """Starting from a good one, so that most get far."""
    check(running.fetch(query(**changed) + ("&" + urlencode(more) if more else "")))


HOSTS = st.sampled_from(["localhost", "127.0.0.1", "[::1]", "evil.example"])
PORTS = st.one_of(st.integers(0, 99_999).map(":{}".format), st.text(max_size=3))
PATHS = st.one_of(st.just("/"), st.text(max_size=20), st.text(alphabet="/?&;=%25#.:@\\", max_size=20))


@settings(max_examples=150)
@given(HOSTS, PORTS, PATHS)
def test_any_redirect_is_answered(running: Running, host: str, port: str, path: str) -> None:
    """With the page or a refusal; what it is taken apart for must not fail on what it was taken for."""
    check(running.fetch(query(redirect_uri=f"http://{host}{port}{path}")))


@settings(max_examples=100)
@given(
    st.binary(max_size=60).map(lambda raw: "".join(f"%{byte:02x}" if byte % 3 else chr(33 + byte % 90) for byte in raw))
)
def test_any_bytes_are_a_query_or_refused(running: Running, text: str) -> None:
    """Percent signs in strange places, halves of characters, and so on."""
    check(running.fetch(text.replace("#", "") or "x"))


@settings(max_examples=150)
@given(changed=st.dictionaries(st.sampled_from(FIELDS), TYPED))
def test_any_form_is_answered(running: Running, changed: dict[str, str]) -> None:
    """Starting from the page's own; nobody signs in by chance."""
    page = running.fetch(query())
    check(running.fetch(form=urlencode(page.forms[0] | {"decision": "allow"} | changed)))


@settings(max_examples=50)
@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_any_text_is_a_form_or_refused(running: Running, text: str) -> None:
    """Not only what a library would make."""
    check(running.fetch(body=text or "="))
