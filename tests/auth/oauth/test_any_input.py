"""Whatever is sent to an endpoint, the answer is below 500, and an error has OAuth2's form and not GCE's."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.ioloop import IOLoop

from gceshim.auth.consent.service import PATHS as AUTHORIZE_PATHS
from gceshim.testing.world import World

from .program import ADC, FORM, GCLOUD, JWT_BEARER, LOOPBACK, PKCE, SCOPE, VERIFIER, Program, robot

SOME = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

NAMES = [
    "access_token",
    "assertion",
    "client",
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "grant_type",
    "id_token",
    "login_hint",
    "nonce",
    "prompt",
    "redirect_uri",
    "refresh_token",
    "request",
    "response_mode",
    "response_type",
    "scope",
    "scopes",
    "state",
    "token",
    "token_type_hint",
    "user",
]
NASTY = st.text(max_size=40) | st.sampled_from(["a.b.c", "..", "." * 100, "\x00", "\r\nX: 1", "é", "x" * 5000, "{}"])


@dataclass
class Target:
    """A server, and what is good there."""

    program: Program
    good: dict[str, list[str]]

    def text(self, name: str) -> st.SearchStrategy[str]:
        """What may be sent as a parameter: what fits, what fits elsewhere, or anything."""
        every = [value for values in self.good.values() for value in values]
        return st.sampled_from(self.good.get(name, every)) | st.sampled_from(every) | NASTY


@pytest.fixture
def target(world: World, io_loop: IOLoop) -> Target:
    target: Target = io_loop.run_sync(functools.partial(prepared, world))
    return target


async def prepared(world: World) -> Target:
    program = Program(world)
    machine = await robot(world)
    tokens = await program.login(pkce=True)
    api_key, secret_key = program.keys
    good = {
        "access_token": [tokens["access_token"], await world.token("demo")],
        "id_token": [tokens["id_token"]],
        "refresh_token": [tokens["refresh_token"]],
        "code": [await program.code(**PKCE), await program.code(client_id=api_key)],
        "assertion": [machine.assertion(), machine.assertion(scope=None, target_audience="x")],
        "client_id": [GCLOUD, ADC, api_key],
        "client_secret": [secret_key],
        "redirect_uri": [LOOPBACK, "urn:ietf:wg:oauth:2.0:oob"],
        "grant_type": ["authorization_code", "refresh_token", "client_credentials", JWT_BEARER],
        "response_type": ["code"],
        "scope": [SCOPE, "openid"],
        "code_verifier": [VERIFIER],
        **{name: [value] for name, value in PKCE.items()},
    }
    return Target(program, good)


async def sent(target: Target, path: str, query: str = "", **more: Any) -> None:
    """Sends it as it is; a reply in any other form fails."""
    url = f"{path}?{query}" if query else path
    if path not in AUTHORIZE_PATHS:
        answer = await target.program.fetch(url, **more)
        assert answer.status in (200, 400, 401, 403, 405, 413)
        return
    request = HTTPRequest(target.program.url + url, follow_redirects=False, allow_nonstandard_methods=True, **more)
    reply = await AsyncHTTPClient().fetch(request, raise_error=False)
    assert reply.code in (200, 303, 400, 403, 405, 413, 415)
    assert reply.code != 303 or reply.headers["Location"].startswith("http://localhost:8085/?")


def all_paths(target: Target, world: World) -> list[str]:
    return [path for endpoint in world.shim.provider.endpoints for path in endpoint.paths] + list(AUTHORIZE_PATHS)


@SOME
@given(data=st.data())
def test_nothing_that_is_sent_breaks_an_endpoint(target: Target, world: World, io_loop: IOLoop, data: Any) -> None:
    """Parameters, good and bad, in every mixture; in the URL, in the form, or both."""
    path = data.draw(st.sampled_from(all_paths(target, world)))
    method = data.draw(st.sampled_from(["GET", "POST", "POST", "POST", "PUT", "DELETE"]))
    names = data.draw(st.lists(st.sampled_from(NAMES) | NASTY, max_size=8))
    pairs = [(name, data.draw(target.text(name))) for name in names]
    cut = data.draw(st.integers(0, len(pairs)))
    query, form = (urlencode(part, errors="replace") for part in (pairs[:cut], pairs[cut:]))
    headers = {"Content-Type": data.draw(st.sampled_from([FORM, FORM, FORM, "application/json", "x"]))}
    if data.draw(st.booleans()):
        value = data.draw(st.text("".join(map(chr, range(32, 127))), max_size=30) | target.text("access_token"))
        word = "".join(char for char in value if " " <= char <= "~").strip()
        headers["Authorization"] = data.draw(st.sampled_from(["", "Basic ", "Bearer "])) + word
    body = form.encode() if method in ("POST", "PUT") else None
    io_loop.run_sync(lambda: sent(target, path, query, method=method, body=body, headers=headers), timeout=120)


@SOME
@given(data=st.data())
def test_no_bytes_break_an_endpoint(target: Target, world: World, io_loop: IOLoop, data: Any) -> None:
    """Bodies that are no form at all."""
    path = data.draw(st.sampled_from(all_paths(target, world)))
    body = data.draw(st.binary(max_size=200) | st.text("%&=+;abcFf0", max_size=50).map(str.encode))
    io_loop.run_sync(lambda: sent(target, path, method="POST", body=body, headers={"Content-Type": FORM}), timeout=120)


@pytest.mark.gen_test
async def test_no_mixture_of_good_parameters_breaks_the_token_endpoint(target: Target) -> None:
    """Every grant with everything that another one needs."""
    program, good = target.program, target.good
    for grant, client, extra in itertools.product(
        good["grant_type"], [*good["client_id"], ""], [{}, {"client_secret": program.keys[1]}, {"scope": '"'}]
    ):
        form = {name: good[name][0] for name in ("code", "refresh_token", "assertion", "redirect_uri")}
        answer = await program.post("/token", grant_type=grant, client_id=client, **form, **extra)
        assert answer.status in (200, 400, 401)
