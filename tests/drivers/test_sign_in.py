"""Signing in with user name and password: sessions that end, keys that stay, passwords that nobody hears of."""

from __future__ import annotations

import asyncio
import json
import logging
from urllib.parse import urlencode

import pytest

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.driver import CloudStackDriver
from gceshim.simulator import SimulatorSettings
from gceshim.simulator.entities import Account, User
from gceshim.simulator.settings import UserSettings
from tests.drivers.raw_server import answer, raw_server
from tests.drivers.test_transport import said
from tests.drivers.worlds import cloud, on_loop

PASSWORD = "a secret-of-mine & more=+%é"
USERS = (
    UserSettings("alice", PASSWORD, domain="research/physics"),
    UserSettings("newcomer", PASSWORD, keys=False),
    UserSettings("former", PASSWORD, enabled=False),
    UserSettings("cautious", PASSWORD, two_factor=True),
    UserSettings("keyless", PASSWORD, api_key_access=False),
)
SETTINGS = SimulatorSettings(users=USERS)


def user_of(world, name: str) -> User:
    """The record of a user."""
    return next(user for user in world.sim.inspect.rows(User) if user.username == name)


@pytest.mark.parametrize(
    "domain", ["research/physics", "/research/physics/", "ROOT/research/physics", "Root/Research/Physics"]
)
@on_loop
async def test_a_user_is_found_by_the_path_of_their_domain(domain):
    """With and without the slashes that CloudStack wants, and as its lists show it."""
    async with cloud(SETTINGS) as world:
        found = await world.driver.identity.sign_in("alice", PASSWORD, domain)
        assert (found.api_key, found.secret_key) == ("alice-api-key", "alice-secret-key")


@pytest.mark.parametrize("domain", ["", "/", "ROOT"])
@on_loop
async def test_no_domain_is_the_first_one(domain):
    """Most clouds have no other."""
    async with cloud(SETTINGS) as world:
        found = await world.driver.identity.sign_in("demo", "password", domain)
        assert found == world.credentials("demo")


@on_loop
async def test_a_session_is_ended_again():
    """Four calls: what is opened for a moment is not left open for half an hour."""
    async with cloud(SETTINGS) as world:
        seen = len(world.sim.calls)
        await world.driver.identity.sign_in("demo", "password", "")
        assert list(world.sim.calls)[seen:] == ["login", "getUserKeys", "logout"]
        assert world.sim.sessions.count == 0


@on_loop
async def test_who_has_no_keys_gets_some_once():
    """Signing in twice at the same time makes one pair: the second would end the first."""
    async with cloud(SETTINGS) as world:
        identity = world.driver.identity
        found = await asyncio.gather(*(identity.sign_in("newcomer", PASSWORD, "") for _ in range(5)))
        assert set(found) == {found[0]}
        assert (await identity.whoami(found[0])).user == "newcomer"
        assert await identity.sign_in("newcomer", PASSWORD, "") == found[0]
        assert world.sim.call_counts["registerUserKeys"] == 1
        assert world.sim.sessions.count == 0


@pytest.mark.parametrize(
    ("username", "password", "domain", "error"),
    [
        ("demo", "not-one-of-mine", "", errors.Unauthenticated),
        ("demo", "", "", errors.Unauthenticated),
        ("", PASSWORD, "", errors.Unauthenticated),
        ("nobody", PASSWORD, "", errors.Unauthenticated),
        ("alice", PASSWORD, "", errors.Unauthenticated),
        ("alice", PASSWORD, "nowhere", errors.Unauthenticated),
        ("former", PASSWORD, "", errors.Unauthenticated),
        ("cautious", PASSWORD, "", errors.Unsupported),
        ("keyless", PASSWORD, "", errors.Forbidden),
    ],
)
@on_loop
async def test_who_may_not_sign_in_is_told_why(username, password, domain, error):
    """In one attempt, as CloudStack disables whom five fail for; and no session is left."""
    async with cloud(SETTINGS) as world:
        with pytest.raises(errors.DriverError) as caught:
            await world.driver.identity.sign_in(username, password, domain)
        assert type(caught.value) is error
        assert caught.value.message
        assert world.sim.call_counts["login"] == (1 if username and password else 0)
        assert world.sim.sessions.count == 0
        assert not password or password not in said(caught.value)


@on_loop
async def test_the_message_says_what_to_do_about_a_second_factor():
    """Whoever has one has no other way in than keys."""
    async with cloud(SETTINGS) as world:
        with pytest.raises(errors.Unsupported, match="API key and a secret key"):
            await world.driver.identity.sign_in("cautious", PASSWORD, "")


@on_loop
async def test_who_is_disabled_later_cannot_sign_in():
    """Accounts end while their keys are stored with us."""
    async with cloud(SETTINGS) as world:
        world.sim.inspect.named(Account, "alice").state = "locked"
        with pytest.raises(errors.Unauthenticated, match="administrator"):
            await world.driver.identity.sign_in("alice", PASSWORD, "research/physics")


@pytest.mark.parametrize("command", ["login", "getUserKeys", "registerUserKeys"])
@pytest.mark.parametrize(
    ("fault", "more"),
    [
        ("connection_reset", {}),
        ("lost_reply", {}),
        ("garbage_reply", {}),
        ("garbage_reply", {"text": '{"loginresponse": 5, "getuserkeysresponse": [], "registeruserkeysresponse": ""}'}),
        ("garbage_reply", {"text": '{"loginresponse": {}, "getuserkeysresponse": {"userkeys": 5}}'}),
        ("garbage_reply", {"text": "[]"}),
        ("http_error", {"status": 502}),
        ("slow_reply", {"seconds": 3.0}),
    ],
)
@on_loop
async def test_a_cloud_that_answers_nonsense_is_unavailable(command, fault, more):
    """Not a wrong password: nobody should type another one."""
    async with cloud(SETTINGS, timeout_seconds=0.5) as world:
        world.sim.faults.add(fault, command, **more)
        with pytest.raises(errors.Unavailable):
            await world.driver.identity.sign_in("newcomer", PASSWORD, "")


@on_loop
async def test_failing_to_end_a_session_is_no_failure():
    """It ends by itself; the keys are good."""
    async with cloud(SETTINGS) as world:
        world.sim.faults.add("http_error", "logout", status=502)
        found = await world.driver.identity.sign_in("demo", "password", "")
        assert found == world.credentials("demo")


@on_loop
async def test_passwords_are_in_no_url_and_not_signed():
    """URLs are written down by proxies; keys that are not there cannot sign."""
    reply = json.dumps(
        {
            "loginresponse": {"userid": "u", "sessionkey": "k+/=="},
            "getuserkeysresponse": {"userkeys": {"apikey": "a", "secretkey": "b"}},
            "logoutresponse": {},
        }
    )
    cookie = "Set-Cookie: JSESSIONID=node0cookie; Path=/client; HttpOnly"
    async with raw_server(answer("200 OK", reply, "application/json", cookie)) as server:
        driver = CloudStackDriver.create({"url": server.url, "threads": 1})
        found = await driver.identity.sign_in("alice", PASSWORD, "")
        await driver.close()
    assert (found.api_key, found.secret_key) == ("a", "b")
    heads = [request.partition("\r\n\r\n")[0] for request in server.requests]
    bodies = [request.partition("\r\n\r\n")[2] for request in server.requests]
    assert all(head.startswith("POST /client/api HTTP/1.1\r\n") for head in heads)
    assert [("JSESSIONID=node0cookie" in head) for head in heads] == [False, True, True]
    assert [("sessionkey=k%2B%2F%3D%3D" in body) for body in bodies] == [False, True, True]
    assert [("password=" in body) for body in bodies] == [True, False, False]
    assert not any("signature" in body or "apiKey" in body for body in bodies)


@pytest.mark.parametrize("status", ["500 Oh", "531 No"])
@on_loop
async def test_a_server_that_echoes_the_password_is_not_quoted(status):
    """As pages of proxies do that show what they were sent."""
    for echoed in (PASSWORD, urlencode({"password": PASSWORD})):
        refusal = {"loginresponse": {"errorcode": 531, "errortext": echoed}}
        async with raw_server(answer(status, json.dumps(refusal))) as server:
            driver = CloudStackDriver.create({"url": server.url})
            with pytest.raises(errors.DriverError) as caught:
                await driver.identity.sign_in("alice", PASSWORD, "")
            await driver.close()
        async with raw_server(answer(status, f"<pre>{echoed}</pre>", "text/html")) as server:
            driver = CloudStackDriver.create({"url": server.url})
            with pytest.raises(errors.DriverError) as other:
                await driver.identity.sign_in("alice", PASSWORD, "")
            await driver.close()
        for error in (caught.value, other.value):
            assert "of-mine" not in said(error)


@on_loop
async def test_a_session_is_nobody_elses():
    """Its cookie travels on its own connection alone: what others call meanwhile is theirs."""
    async with cloud(SETTINGS, threads=1) as world:
        identity = world.driver.identity
        accounts = ["demo", "other", "branch-user"]
        signed_in, *seen = await asyncio.gather(
            identity.sign_in("alice", PASSWORD, "research/physics"),
            *(identity.whoami(world.credentials(account)) for account in accounts * 5),
        )
        assert signed_in.api_key == "alice-api-key"
        assert [account.name for account in seen] == accounts * 5


@on_loop
async def test_nothing_of_it_is_logged(caplog):
    """Neither the password nor the cookie, at the most talkative level."""
    caplog.set_level(logging.DEBUG)
    async with cloud(SETTINGS) as world:
        await world.driver.identity.sign_in("alice", PASSWORD, "research/physics")
        with pytest.raises(errors.Unauthenticated):
            await world.driver.identity.sign_in("alice", PASSWORD + "!", "research/physics")
    for record in caplog.records:
        told = record.getMessage()
        assert "of-mine" not in told
        assert "node0" not in told
        assert "sessionkey" not in told
