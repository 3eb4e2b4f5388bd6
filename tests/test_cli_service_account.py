"""`gceshim service-account`, run as an operator runs it, beside a server that runs."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest
from google.auth.transport.requests import AuthorizedSession
from google.oauth2 import service_account

from gceshim.commands.running import write_private
from tests.command_line import (
    DEADLINE_SECONDS,
    complaint,
    gceshim,
    running,
    settings_file,
)

URL = "https://gce.example.org"
EMAIL = "ci@demo.iam.gserviceaccount.com"
COMPUTE = ["https://www.googleapis.com/auth/compute"]


@pytest.fixture
def config(tmp_path: Path, cloud: dict[str, str]) -> Path:
    """A settings file for it."""
    return settings_file(tmp_path, cloud)


def create(home: Path, cloud: dict[str, str], *more: str, name: str = "ci") -> str:
    """What `create` says when it goes well."""
    words = ("service-account", "create", name, "--config", "gceshim.toml", "--api-key", cloud["api_key"], *more)
    done = gceshim(home, *words, GCESHIM_SECRET_KEY=cloud["secret_key"])
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def account(home: Path, *words: str, status: int = 0) -> str:
    """What another action says; of one that fails, its complaint."""
    done = gceshim(home, "service-account", *words, "--config", "gceshim.toml")
    if status:
        return complaint(done, status)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def session(file: Path) -> AuthorizedSession:
    """Google's own library with a key file: it signs its tokens itself."""
    credentials = service_account.Credentials.from_service_account_file(str(file), scopes=COMPUTE)
    return AuthorizedSession(credentials.with_always_use_jwt_access(True))


def status_of(calls: AuthorizedSession, url: str) -> int:
    with calls.get(url) as reply:
        return reply.status_code


def refused_soon(calls: AuthorizedSession, url: str) -> bool:
    """Whether calls are refused before the deadline; the server remembers an answer for a moment."""
    until = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < until:
        if status_of(calls, url) == 401:
            return True
    return False


def test_a_key_file_has_what_googles_has(tmp_path, config, cloud):
    """Clients look for these members, and the file opens a cloud: it is for its owner alone."""
    said = create(tmp_path, cloud, "--url", URL + "/")
    file = tmp_path / "ci.json"
    key = json.loads(file.read_text())
    private = key.pop("private_key")
    assert private.startswith("-----BEGIN PRIVATE KEY-----\n") and private.endswith("\n-----END PRIVATE KEY-----\n")
    assert len(key.pop("private_key_id")) == 40
    assert key.pop("client_id").isdigit()
    assert key == {
        "type": "service_account",
        "project_id": "demo",
        "client_email": EMAIL,
        "auth_uri": f"{URL}/o/oauth2/auth",
        "token_uri": f"{URL}/token",
        "auth_provider_x509_cert_url": f"{URL}/oauth2/v3/certs",
        "client_x509_cert_url": f"{URL}/robot/v1/metadata/x509/ci%40demo.iam.gserviceaccount.com",
        "universe_domain": "googleapis.com",
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert said.startswith(f"stored {EMAIL}: account demo, domain {cloud['domain']}\nkey file: ci.json")
    everything = said + account(tmp_path, "list") + account(tmp_path, "list", "--json")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "state" / "gceshim").glob("gceshim.sqlite*"))
    for secret in (private.splitlines()[3], cloud["secret_key"]):
        assert secret not in everything
        assert secret.encode() not in kept


def test_from_creation_to_deletion_beside_a_running_server(tmp_path, config, cloud):
    """Keys are changed while programs go on, and what is deleted is refused at once."""
    with running(tmp_path, "serve", "--config", str(config)) as server:
        port = server.wait_for(r"http://127\.0\.0\.1:(\d+), driver")[1]
        zones = f"http://127.0.0.1:{port}/compute/v1/projects/demo/zones"
        create(tmp_path, cloud)
        old = json.loads((tmp_path / "ci.json").read_text())
        assert old["token_uri"] == f"http://127.0.0.1:{port}/token"
        with session(tmp_path / "ci.json") as first:
            assert status_of(first, zones) == 200
            said = account(tmp_path, "key", "create", "ci", "--output", "new.json")
            assert f"delete the older keys:\n  {old['private_key_id']}, 0 days old" in said
            with session(tmp_path / "new.json") as second:
                assert (status_of(first, zones), status_of(second, zones)) == (200, 200)
                said = account(tmp_path, "key", "delete", EMAIL, old["private_key_id"], "--revoke-tokens")
                assert said == f"deleted key {old['private_key_id']} of {EMAIL}, and revoked 0 tokens\n"
                assert refused_soon(first, zones)
                assert status_of(second, zones) == 200
                assert account(tmp_path, "delete", "ci") == f"deleted {EMAIL}, and 0 tokens with it\n"
                assert refused_soon(second, zones)
        assert server.stop() == 0
    for file in ("ci.json", "new.json"):
        for line in json.loads((tmp_path / file).read_text())["private_key"].splitlines()[1:-1]:
            assert line not in server.output


@pytest.mark.parametrize("command", ["service-account", "credentials"])
def test_an_empty_list_says_where_it_looked(tmp_path, config, command):
    """Whoever forgets `--config` looks into another store than the one that they filled."""
    done = gceshim(tmp_path, command, "list")
    assert (done.returncode, done.stdout) == (0, "")
    assert "--config names another store" in done.stderr
    assert str(tmp_path) in done.stderr


def test_lists_show_keys_and_their_ages(tmp_path, config, cloud):
    """Old keys are to be found, by people and by programs."""
    assert account(tmp_path, "list", "--json") == "[]\n"
    create(tmp_path, cloud, "--url", URL)
    create(tmp_path, cloud, "--url", URL, name="backup")
    [backup, ci] = json.loads(account(tmp_path, "list", "--json"))
    assert [row["email"] for row in (backup, ci)] == ["backup@demo.iam.gserviceaccount.com", EMAIL]
    [key] = ci["keys"]
    assert (key["ageDays"], key["id"]) == (0, json.loads((tmp_path / "ci.json").read_text())["private_key_id"])
    table = [line.split() for line in account(tmp_path, "list").splitlines()]
    assert table[2] == [EMAIL, "demo", cloud["domain"], key["id"], "0", "days"]
    assert json.loads(account(tmp_path, "key", "list", "ci", "--json")) == ci["keys"]
    assert account(tmp_path, "key", "list", "ci").splitlines()[1].split() == [key["id"], "0", "days"]
    account(tmp_path, "key", "delete", "ci", key["id"])
    assert account(tmp_path, "list").splitlines()[2].split()[3] == "none"


def test_a_file_that_is_there_is_kept(tmp_path, config, cloud):
    """It may be the only copy of a key. Nothing is made then, unless one says so."""
    (tmp_path / "ci.json").write_text("precious")
    words = ("service-account", "create", "ci", "--config", str(config), "--api-key", cloud["api_key"], "--url", URL)
    secret = {"GCESHIM_SECRET_KEY": cloud["secret_key"]}
    message = complaint(gceshim(tmp_path, *words, **secret), 2)
    assert message == "gceshim: ci.json: there is a file already; --force writes over it"
    message = complaint(gceshim(tmp_path, *words, "--output", "gceshim.toml/ci.json", **secret), 2)
    assert message.startswith("gceshim: gceshim.toml/ci.json: cannot be written: ")
    assert (tmp_path / "ci.json").read_text() == "precious"
    assert json.loads(account(tmp_path, "list", "--json")) == []
    create(tmp_path, cloud, "--url", URL, "--force")
    account(tmp_path, "key", "create", "ci", "--url", URL, status=2)
    assert len(json.loads(account(tmp_path, "key", "list", "ci", "--json"))) == 1
    assert json.loads((tmp_path / "ci.json").read_text())["client_email"] == EMAIL


def test_a_file_that_comes_in_between_is_kept_too(tmp_path):
    """Between the look and the writing somebody else may have written there."""
    file = tmp_path / "ci.json"
    write_private(file, "first", overwrite=False)
    with pytest.raises(FileExistsError):
        write_private(file, "second", overwrite=False)
    assert (file.read_text(), list(tmp_path.iterdir())) == ("first", [file])
    write_private(file, "second")
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("second", 0o600)


def test_a_key_can_be_printed_and_its_project_chosen(tmp_path, config, cloud):
    """For a store of secrets, which takes it from a pipe."""
    printed = json.loads(create(tmp_path, cloud, "--url", URL, "--output", "-", "--project", "web"))
    assert (printed["type"], printed["project_id"]) == ("service_account", "web")
    assert not list(tmp_path.glob("*.json"))


def test_a_key_pair_that_cloudstack_refuses_makes_no_account(tmp_path, config, cloud):
    """As with `credentials add`."""
    words = ("service-account", "create", "ci", "--config", str(config), "--api-key", cloud["api_key"], "--url", URL)
    message = complaint(gceshim(tmp_path, *words, GCESHIM_SECRET_KEY="wrong"), 1)
    assert message.startswith("gceshim: CloudStack does not accept this key pair: ")
    assert json.loads(account(tmp_path, "list", "--json")) == []
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["delete", "nobody"], 1, "gceshim: There is no service account nobody."),
        (["key", "list", "no@body"], 1, "gceshim: There is no service account no@body."),
        (["key", "create", "nobody", "--url", URL], 1, "gceshim: There is no service account nobody."),
        (["key", "delete", "nobody", "a"], 1, "gceshim: There is no service account nobody."),
        (["create", "ci", "--api-key", "k"], 2, "gceshim: give --url, where clients reach the server: "
         "server.public_url is not set, and no server of this user runs"),
        (["create", "ci", "--api-key", "k", "--url", "gce.example"], 2,
         "gceshim service-account create: argument --url: 'gce.example' is not like https://gce.example.org; "
         "see gceshim service-account create --help"),
        (["create", "ci", "--api-key", "k", "--url", URL, "--project", "A B"], 2,
         "gceshim service-account create: argument --project: 'A B' is no project: lower-case letters, digits, dashes; "
         "see gceshim service-account create --help"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_line(tmp_path, config, words, status, expected):
    """Scripts read the status, people the line."""
    assert account(tmp_path, *words, status=status) == expected


def test_the_key_pair_is_replaced_once_cloudstack_has_accepted_it(tmp_path, config, cloud):
    """The account goes on under its address; a mistyped pair changes nothing."""
    create(tmp_path, cloud, "--url", URL)
    words = ("service-account", "update", "ci", "--config", str(config), "--api-key", cloud["api_key"])
    done = gceshim(tmp_path, *words, GCESHIM_SECRET_KEY=cloud["secret_key"])
    assert (done.returncode, done.stdout) == (0, f"{EMAIL} acts with the new key pair\n")
    message = complaint(gceshim(tmp_path, *words, GCESHIM_SECRET_KEY="wrong"), 1)
    assert message.startswith("gceshim: CloudStack does not accept this key pair: ")


def test_a_bad_name_and_one_that_is_taken_are_refused(tmp_path, config, cloud):
    """The second `create` must not replace what the first one's holder relies on."""
    create(tmp_path, cloud, "--url", URL)
    words = ("service-account", "create", "--config", str(config), "--api-key", cloud["api_key"], "--url", URL)
    for name, expected in (
        ("ci", f"There is a service account {EMAIL} already; make another key"),
        ("C I", "'C I' is no name"),
    ):
        done = gceshim(tmp_path, *words, name, "--output", "other.json", GCESHIM_SECRET_KEY=cloud["secret_key"])
        assert complaint(done, 1).startswith(f"gceshim: {expected}")
    assert not (tmp_path / "other.json").exists()


def test_service_accounts_do_not_confuse_env(tmp_path, config, cloud):
    """`gceshim env` takes the only key pair that a person stored."""
    create(tmp_path, cloud, "--url", URL)
    words = ("credentials", "add", "alice", "--config", str(config), "--api-key", cloud["api_key"])
    gceshim(tmp_path, *words, GCESHIM_SECRET_KEY=cloud["secret_key"])
    with running(tmp_path, "serve", "--config", str(config)) as server:
        server.wait_for("driver cloudstack")
        assert json.loads(gceshim(tmp_path, "env", "--json").stdout)["CLOUDSDK_CORE_PROJECT"] == "demo"
        chosen = gceshim(tmp_path, "env", "--json", "--credentials", EMAIL)
        assert json.loads(chosen.stdout)["CLOUDSDK_CORE_PROJECT"] == "demo"
