"""Who may call: signatures in the spellings of real clients, version 3, sessions."""

import base64
import datetime
import hashlib
import hmac
import json
from urllib.parse import quote, urlencode

import pytest

from gceshim.simulator.entities import Account
from tests.simulator.api import sign

KEYWORD = "a*b~c [d]/e&é"


def signed_by_hand(cloud, *, safe, sort_key=None, **params):
    """A query signed with another client's habits."""
    key, secret = cloud.sim.keys("demo")
    values = {"command": "listZones", "response": "json", "apiKey": key, **params}
    pairs = [f"{name}={quote(values[name], safe=safe)}" for name in sorted(values, key=sort_key)]
    digest = hmac.new(secret.encode(), "&".join(pairs).lower().encode(), hashlib.sha1).digest()
    return urlencode({**values, "signature": base64.b64encode(digest).decode()})


@pytest.mark.parametrize("safe", ["", "*", "*~", "[]*", "[]*~"])
@pytest.mark.parametrize("sort_key", [None, str.lower])
def test_escaping_habits_of_known_clients_are_accepted(cloud, safe, sort_key):
    """Go leaves * bare, libcloud also brackets, and they sort names differently."""
    query = signed_by_hand(cloud, safe=safe, sort_key=sort_key, keyword=KEYWORD, Zulu="1", alpha="2")
    assert cloud.demo.send(query)[0] == 200


def test_a_changed_value_is_a_401_without_cserrorcode(cloud):
    """The signature covers every parameter; real 401 bodies carry no cserrorcode."""
    query = signed_by_hand(cloud, safe="*", keyword="one").replace("keyword=one", "keyword=two")
    status, _, text = cloud.demo.send(query)
    assert status == 401
    assert json.loads(text) == {
        "listzonesresponse": {
            "uuidList": [],
            "errorcode": 401,
            "errortext": "unable to verify user credentials and/or request signature",
        }
    }


@pytest.mark.parametrize("missing", ["apiKey", "signature"])
def test_a_call_without_key_or_signature_is_a_401(cloud, missing):
    """There is no anonymous access."""
    key, secret = cloud.sim.keys("demo")
    values = {"command": "listZones", "response": "json", "apiKey": key}
    values["signature"] = sign(values, secret)
    del values[missing]
    assert cloud.demo.send(urlencode(values))[0] == 401


def test_an_unknown_key_is_a_401(cloud):
    """It is not told apart from a bad signature."""
    values = {"command": "listZones", "response": "json", "apiKey": "nobody"}
    assert cloud.demo.send(urlencode({**values, "signature": sign(values, "x")}))[0] == 401


def test_an_unknown_command_signed_with_keys_is_a_401_under_errorresponse(cloud):
    """The server looks the command up while it verifies; names are case-sensitive."""
    for name in ("noSuchCommand", "listzones", "createSnapshot", ""):
        status, document = cloud.demo.raw(name)
        assert (status, list(document)) == (401, ["errorresponse"])


def v3(cloud, expires):
    """A version 3 call that expires then (None: without expires)."""
    values = {"signatureVersion": "3"} if expires is None else {"signatureVersion": "3", "expires": expires}
    return cloud.demo.raw("listZones", **values)[0]


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S+0000", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%f+00:00"])
def test_version_3_accepts_the_usual_dates_until_they_pass(cloud, form):
    """Go sends RFC 3339, cs the form without colon."""
    now = datetime.datetime.now(datetime.UTC)
    assert v3(cloud, (now + datetime.timedelta(minutes=5)).strftime(form)) == 200
    assert v3(cloud, (now - datetime.timedelta(minutes=5)).strftime(form)) == 401


@pytest.mark.parametrize("expires", [None, "", "tomorrow", "2999-01-01", "2999-01-01T00:00:00"])
def test_version_3_without_a_readable_date_is_a_401(cloud, expires):
    """expires is mandatory in version 3, with a time zone."""
    assert v3(cloud, expires) == 401


def test_expires_is_ignored_without_version_3(cloud):
    """Old clients sign as they always did."""
    assert cloud.demo.raw("listZones", expires="2001-01-01T00:00:00Z")[0] == 200


def test_post_and_query_parameters_are_merged_and_the_first_value_wins(cloud):
    """The servlet reads both; a repeated name must not smuggle a second value past the signature."""
    query = cloud.demo.signed("listZones", {"name": "Sandbox 1"})
    half = query.index("&")
    status, _, text = cloud.demo.send(query[:half] + "&name=Other", query[half + 1 :] + "&name=Sandbox+SG")
    assert status == 200
    assert json.loads(text)["listzonesresponse"]["count"] == 1


def test_a_disabled_account_is_a_401(cloud):
    """Keys die with the account."""
    cloud.sim.inspect.named(Account, "demo").state = "disabled"
    assert cloud.demo.raw("listZones")[0] == 401


def login(cloud, method="POST", **params):
    """Log in; status, document and cookies."""
    values = {"command": "login", "response": "json", "username": "demo", "password": "password", "domain": "/"}
    text = urlencode({**values, **params})
    status, headers, body = cloud.demo.send("" if method == "POST" else text, text if method == "POST" else None)
    cookies = [line.split(";")[0] for line in headers.get_all("Set-Cookie") or []]
    return status, json.loads(body), "; ".join(cookies)


def test_login_gives_a_session_that_calls_without_signature(cloud):
    """The web client works this way: cookie and session key."""
    status, document, cookies = login(cloud)
    row = document["loginresponse"]
    assert (status, row["account"], row["type"]) == (200, "demo", "0")
    query = urlencode({"command": "listAccounts", "response": "json", "sessionkey": row["sessionkey"]})
    status, _, text = cloud.demo.send(query, headers={"Cookie": cookies})
    assert (status, json.loads(text)["listaccountsresponse"]["account"][0]["name"]) == (200, "demo")
    assert cloud.demo.send(query + "&command=&x=", headers={"Cookie": cookies})[0] == 200
    empty = urlencode({"response": "json", "sessionkey": row["sessionkey"]})
    assert cloud.demo.send(empty, headers={"Cookie": cookies})[0] == 400
    unknown = urlencode({"command": "nope", "response": "json", "sessionkey": row["sessionkey"]})
    assert cloud.demo.send(unknown, headers={"Cookie": cookies})[0] == 432
    status, _, text = cloud.demo.send("command=logout&response=json", headers={"Cookie": cookies})
    assert json.loads(text) == {"logoutresponse": {"description": "success"}}
    assert cloud.demo.send(query, headers={"Cookie": cookies})[0] == 401


def test_a_wrong_session_key_ends_the_session(cloud):
    """A stolen cookie alone is of no use."""
    _, document, cookies = login(cloud)
    bad = urlencode({"command": "listZones", "response": "json", "sessionkey": "x"})
    good = urlencode(
        {"command": "listZones", "response": "json", "sessionkey": document["loginresponse"]["sessionkey"]}
    )
    assert [cloud.demo.send(query, headers={"Cookie": cookies})[0] for query in (good, bad, good)] == [200, 401, 401]


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"password": "wrong"}, 531),
        ({"username": "nobody"}, 531),
        ({"password": ""}, 531),
        ({"domain": "/branch"}, 531),
        ({"domain": "/nowhere"}, 531),
        ({"username": "former", "password": "former-password"}, 531),
        ({"domainId": "nonsense"}, 401),
    ],
)
def test_a_bad_login_is_refused(cloud, params, status):
    """Bad credentials are 531, an invalid domain id is 401."""
    found, document, cookies = login(cloud, **params)
    assert (found, list(document), cookies) == (status, ["loginresponse"], "")
    assert set(document["loginresponse"]) == {"uuidList", "errorcode", "errortext"}


def test_login_by_get_is_a_405(cloud):
    """Passwords do not belong in URLs."""
    assert login(cloud, "GET")[0] == 405


def test_login_to_a_domain_by_path(cloud):
    """A path is normalised, with or without slashes at its ends."""
    for path in ("branch", "/branch/"):
        status, document, _ = login(cloud, username="branch-user", domain=path)
        assert (status, document["loginresponse"]["account"]) == (200, "branch-user")


def test_failing_to_log_in_too_often_disables_the_user(cloud):
    """A guesser locks the owner out, keys included; whoever guesses through gceshim must be slowed down before."""
    for _ in range(2):
        for _ in range(4):
            assert login(cloud, password="wrong")[0] == 531
        assert login(cloud)[0] == 200
    for _ in range(5):
        assert login(cloud, password="wrong")[0] == 531
    status, document, _ = login(cloud)
    assert (status, "is disabled/locked" in document["loginresponse"]["errortext"]) == (531, True)
    assert cloud.demo.raw("listZones")[0] == 401


def test_a_root_admin_is_never_disabled_by_failing(cloud):
    """Else anyone could lock the operator out."""
    for _ in range(6):
        login(cloud, username="admin", password="wrong")
    assert login(cloud, username="admin")[0] == 200


def test_an_empty_password_does_not_count(cloud):
    """The server takes it for single sign-on."""
    for _ in range(6):
        login(cloud, password="")
    assert login(cloud)[0] == 200


def test_attempts_may_be_unlimited(make_world):
    """As operators can set it."""
    cloud = make_world(incorrect_login_attempts_allowed=0)
    for _ in range(10):
        login(cloud, password="wrong")
    assert login(cloud)[0] == 200


def in_session(cloud, username, command, **params):
    """A command in a session of that user: status and document."""
    _, document, cookies = login(cloud, username=username, password=f"{username}-password")
    row = document["loginresponse"]
    query = {"command": command, "response": "json", "sessionkey": row["sessionkey"], "id": row["userid"], **params}
    status, _, text = cloud.demo.send(urlencode(query), headers={"Cookie": cookies})
    return status, json.loads(text)


def test_a_user_without_keys_can_make_some(cloud):
    """Most users of a new cloud have never made any."""
    assert in_session(cloud, "newcomer", "getUserKeys") == (
        200,
        {"getuserkeysresponse": {"userkeys": {"apikeyaccess": True}}},
    )
    made = in_session(cloud, "newcomer", "registerUserKeys")[1]["registeruserkeysresponse"]["userkeys"]
    found = in_session(cloud, "newcomer", "getUserKeys")[1]["getuserkeysresponse"]["userkeys"]
    assert found == {**made, "apikeyaccess": True}
    again = in_session(cloud, "newcomer", "registerUserKeys")[1]["registeruserkeysresponse"]["userkeys"]
    assert again["apikey"] != made["apikey"]


def test_keys_of_others_are_not_told(cloud):
    """Nor made anew."""
    demo = cloud.admin.rows("listUsers", listall="true", username="demo")[0]["id"]
    for command in ("getUserKeys", "registerUserKeys"):
        assert in_session(cloud, "newcomer", command, id=demo)[0] == 531


def test_two_factor_authentication_stops_a_session_but_not_keys(cloud):
    """Keys have no second factor."""
    _, document, _ = login(cloud, username="cautious", password="cautious-password")
    row = document["loginresponse"]
    assert (row["is2faenabled"], row["is2faverified"]) == ("true", "false")
    assert in_session(cloud, "cautious", "getUserKeys")[0] == 411
    assert cloud.api("cautious").raw("listZones")[0] == 200


def test_keys_that_may_not_be_used_are_a_401(cloud):
    """An operator can switch them off for a user."""
    status, document = in_session(cloud, "keyless", "getUserKeys")
    assert (status, document["getuserkeysresponse"]["userkeys"]["apikeyaccess"]) == (200, False)
    assert cloud.api("keyless").raw("listZones")[0] == 401


def test_a_session_ends_when_its_user_is_disabled(cloud):
    """The server looks again at each call."""
    _, document, cookies = login(cloud)
    key = document["loginresponse"]["sessionkey"]
    query = urlencode({"command": "listZones", "response": "json", "sessionkey": key})
    assert cloud.demo.send(query, headers={"Cookie": cookies})[0] == 200
    cloud.sim.inspect.named(Account, "demo").state = "disabled"
    assert cloud.demo.send(query, headers={"Cookie": cookies})[0] == 401


def test_login_far_down_the_tree_of_domains(cloud):
    """Settings make the domains that their users are in."""
    status, document, _ = login(cloud, username="physicist", password="physicist-password", domain="research/physics")
    assert (status, document["loginresponse"]["account"]) == (200, "physicist")
    assert login(cloud, username="physicist", password="physicist-password", domain="physics")[0] == 531
