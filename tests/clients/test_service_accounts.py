"""Service accounts in the hands of Google's own clients, which trade keys for tokens or sign tokens themselves."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import google.auth
import google_auth_httplib2
import httplib2
import pytest
import requests
from google.auth import jwt
from google.auth.crypt import RSASigner
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import compute_v1
from google.oauth2 import service_account
from googleapiclient.discovery import build

from tests.clients.secure import PROJECT, ZONE, Secure
from tests.command_line import environment

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
READ_ONLY = "https://www.googleapis.com/auth/compute.readonly"
TOKEN = "oauth.token"
HERE = Path(__file__).parent / "node"
needs_gcloud = pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")


@pytest.fixture
def trusting(secure: Secure, monkeypatch: pytest.MonkeyPatch) -> Secure:
    """The server, with what makes Python's clients trust it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(secure.authority))
    return secure


@pytest.fixture
def run(secure: Secure, tmp_path: Path) -> Callable[..., str]:
    """Runs gcloud, with a folder of its own for its files, and gives what it prints; it has to succeed."""
    quiet = {
        "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
    }

    def run(*words: str, **more: str) -> str:
        environ = environment(secure.home, **quiet, **more)
        done = subprocess.run(
            words, env=environ, cwd=secure.home, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done
        return done.stdout

    return run


@pytest.fixture
def pointed(secure: Secure) -> dict[str, str]:
    """What points gcloud at the server; not where its tokens come from, which the key file says."""
    return {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{secure.url}/compute/v1/",
        "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(secure.authority),
        "CLOUDSDK_CORE_PROJECT": PROJECT,
    }


@needs_gcloud
def test_gcloud_activates_a_key_file_and_lists(
    secure: Secure, run: Callable[..., str], pointed: dict[str, str]
) -> None:
    """It asks for an id_token first and then for an access token, which it keeps until it is to forget the account."""
    before = secure.calls()
    run("gcloud", "auth", "activate-service-account", f"--key-file={secure.key_file}", **pointed)
    assert run("gcloud", "compute", "instances", "list", "--format=json", **pointed) == "[]\n"
    assert secure.calls_since(before, "compute.instances.aggregatedList").count(TOKEN) == 2
    assert run("gcloud", "config", "get", "account", **pointed) == f"{secure.email}\n"
    token = run("gcloud", "auth", "print-identity-token", **pointed)
    assert token.count(".") == 2
    run("gcloud", "auth", "revoke", secure.email, **pointed)
    assert run("gcloud", "auth", "list", "--format=value(account)", **pointed) == ""


@needs_gcloud
def test_gcloud_signs_its_own_tokens_when_told(
    secure: Secure, run: Callable[..., str], pointed: dict[str, str]
) -> None:
    """With scopes and without an audience; the token endpoint is asked for an id_token alone, at the activation."""
    before = secure.calls()
    signing = {**pointed, "CLOUDSDK_AUTH_SERVICE_ACCOUNT_USE_SELF_SIGNED_JWT": "true"}
    run("gcloud", "auth", "activate-service-account", f"--key-file={secure.key_file}", **signing)
    assert secure.calls_since(before, TOKEN) == [TOKEN]
    before = secure.calls()
    zones = run("gcloud", "compute", "zones", "list", "--format=value(name)", **signing)
    assert zones.split() == ["sandbox-1-a", "sandbox-sg-a"]
    assert secure.calls_since(before, "compute.zones.list") == ["compute.zones.list"]


@needs_gcloud
def test_one_command_sets_gcloud_up_for_a_key_file(secure: Secure, run: Callable[..., str]) -> None:
    """The server, its authority, the project and the login; and one command takes it all back."""
    said = secure_config(run, "--key-file", "robot.json", "--zone", ZONE)
    assert said == f"gcloud's configuration robot is active, for {secure.url}\n"
    assert run("gcloud", "compute", "instances", "list", "--format=json") == "[]\n"
    assert run("gcloud", "config", "get", "core/custom_ca_certs_file") == f"{secure.authority}\n"
    assert run("gcloud", "projects", "describe", PROJECT, "--format=value(projectId)") == f"{PROJECT}\n"
    assert secure_config(run, "--remove").startswith("removed the configuration robot\n")
    assert run("gcloud", "config", "configurations", "list", "--format=value(name)") == "default\n"


def secure_config(run: Callable[..., str], *words: str) -> str:
    return run(sys.executable, "-m", "gceshim", "gcloud-config", "robot", *words)


def test_google_cloud_compute_signs_its_own_tokens(trusting: Secure) -> None:
    """Google's audience in them, whatever the endpoint; nothing is asked of the token endpoint."""
    before = trusting.calls()
    credentials = service_account.Credentials.from_service_account_file(str(trusting.key_file))
    zones = compute_v1.ZonesClient(credentials=credentials, client_options={"api_endpoint": trusting.url})
    try:
        assert sorted(zone.name for zone in zones.list(project=PROJECT)) == ["sandbox-1-a", "sandbox-sg-a"]
    finally:
        zones.transport.close()
    assert trusting.calls_since(before, "compute.zones.list") == ["compute.zones.list"]


def test_google_cloud_compute_signs_with_scopes(trusting: Secure) -> None:
    """The other form: a `scope` claim and no audience. The scopes count."""
    for scopes, good in (([CLOUD_PLATFORM], True), (["openid"], False)):
        credentials = service_account.Credentials.from_service_account_file(str(trusting.key_file), scopes=scopes)
        zones = compute_v1.ZonesClient(credentials=credentials, client_options={"api_endpoint": trusting.url})
        try:
            if good:
                assert len(list(zones.list(project=PROJECT))) == 2
            else:
                with pytest.raises(google.api_core.exceptions.Forbidden, match="insufficient authentication scopes"):
                    list(zones.list(project=PROJECT))
        finally:
            zones.transport.close()


@pytest.fixture
def compute(secure: Secure) -> Iterator[Any]:
    """google-api-python-client's, built from the served document with the key file's credentials."""
    credentials = service_account.Credentials.from_service_account_file(str(secure.key_file), scopes=[CLOUD_PLATFORM])
    plain = httplib2.Http(timeout=60, ca_certs=str(secure.authority))
    http = google_auth_httplib2.AuthorizedHttp(credentials, http=plain)
    url = f"{secure.url}/discovery/v1/apis/{{api}}/{{apiVersion}}/rest"
    yield build("compute", "v1", http=http, discoveryServiceUrl=url, static_discovery=False, cache_discovery=False)
    http.close()


def test_google_api_python_client_trades_its_key_for_a_token(secure: Secure, compute: Any) -> None:
    """At the address that the key file has."""
    before = secure.calls()
    assert len(compute.zones().list(project=PROJECT).execute()["items"]) == 2
    compute.zones().get(project=PROJECT, zone=ZONE).execute()
    assert secure.calls_since(before, "compute.zones.get").count(TOKEN) <= 1


def test_application_default_credentials_are_the_key_file(trusting: Secure, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program does that was told nothing; Ansible's modules go the same way, by a session that is signed in."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(trusting.key_file))
    before = trusting.calls()
    credentials, project = google.auth.default(scopes=[CLOUD_PLATFORM])
    assert project == PROJECT
    with AuthorizedSession(credentials) as session:
        with session.get(f"{trusting.url}/compute/v1/projects/{PROJECT}/zones/{ZONE}") as reply:
            assert (reply.status_code, reply.json()["status"]) == (200, "UP")
        disk = {"name": "by-session", "sizeGb": "1"}
        with session.post(f"{trusting.url}/compute/v1/projects/{PROJECT}/zones/{ZONE}/disks", json=disk) as reply:
            operation = reply.json()
        with session.post(f"{operation['selfLink']}/wait") as reply:
            assert (reply.json()["status"], reply.json()["user"]) == ("DONE", trusting.email)
        with session.get(operation["targetLink"]) as reply:
            assert reply.json()["name"] == "by-session"
        with session.delete(operation["targetLink"]) as reply:
            assert reply.status_code == 200
    assert trusting.calls_since(before, "compute.disks.delete").count(TOKEN) == 1


def test_a_token_is_as_narrow_as_its_scopes(trusting: Secure) -> None:
    """A program that asked to read cannot write, although its key pair could."""
    credentials = service_account.Credentials.from_service_account_file(str(trusting.key_file), scopes=[READ_ONLY])
    with AuthorizedSession(credentials) as session:
        with session.get(f"{trusting.url}/compute/v1/projects/{PROJECT}/zones") as reply:
            assert reply.status_code == 200
        url = f"{trusting.url}/compute/v1/projects/{PROJECT}/zones/{ZONE}/disks"
        with session.post(url, json={"name": "never", "sizeGb": "1"}) as reply:
            error = reply.json()["error"]
    assert (error["code"], error["errors"][0]["reason"]) == (403, "insufficientPermissions")


def test_id_tokens_are_for_whom_they_were_asked_for(trusting: Secure) -> None:
    """Google's own library checks them, by the keys that the server gives out."""
    credentials = service_account.IDTokenCredentials.from_service_account_file(
        str(trusting.key_file), target_audience="https://app.example.org"
    )
    request = Request()
    credentials.refresh(request)
    claims = jwt.decode(credentials.token, verify=False)
    assert (claims["aud"], claims["email"]) == ("https://app.example.org", trusting.email)
    request.session.close()


def test_gos_library_names_the_token_endpoint_itself(trusting: Secure) -> None:
    """So does Terraform's provider: `aud` is the `token_uri` of the key file. It reads three members of the answer."""
    key = json.loads(trusting.key_file.read_text())
    now = int(time.time())
    claims = {
        "iss": key["client_email"],
        "scope": CLOUD_PLATFORM,
        "aud": key["token_uri"],
        "iat": now,
        "exp": now + 3600,
    }
    signer = RSASigner.from_service_account_info(key)
    assertion = jwt.encode(signer, claims).decode()
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    with requests.post(key["token_uri"], data=form, timeout=30) as reply:
        answer = reply.json()
    assert (reply.status_code, answer["token_type"], answer["expires_in"]) == (200, "Bearer", 3600)
    header = {"Authorization": f"Bearer {answer['access_token']}"}
    with requests.get(f"{trusting.url}/compute/v1/projects/{PROJECT}", headers=header, timeout=30) as reply:
        assert reply.json()["name"] == PROJECT


def test_a_deleted_account_ends_in_a_plain_error(trusting: Secure) -> None:
    """By either way: what Google's library says holds the server's own words."""
    words = ("--config", "gceshim.toml")
    keys = ("--api-key", "demo-api-key")
    secret = {"GCESHIM_SECRET_KEY": "demo-secret-key"}
    trusting.gceshim("service-account", "create", "shortlived", *words, *keys, **secret)
    file = str(trusting.home / "shortlived.json")
    trusting.gceshim("service-account", "delete", "shortlived", *words)
    credentials = service_account.Credentials.from_service_account_file(file, scopes=[CLOUD_PLATFORM])
    with AuthorizedSession(credentials) as session, pytest.raises(RefreshError, match="invalid_grant"):
        session.get(f"{trusting.url}/compute/v1/projects/{PROJECT}/zones")
    with (
        AuthorizedSession(credentials.with_always_use_jwt_access(True)) as session,
        session.get(f"{trusting.url}/compute/v1/projects/{PROJECT}/zones") as reply,
    ):
        assert reply.status_code == 401


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not (HERE / "node_modules" / "@google-cloud").is_dir(), reason="`npm ci` there makes node_modules")
def test_nodes_client_signs_in_by_the_key_file(secure: Secure) -> None:
    """It signs its own tokens, for the server's own address; and Node has a variable for whom to trust."""
    before = secure.calls()
    at = secure.url.removeprefix("https://").split(":")
    done = subprocess.run(
        ["node", str(HERE / "zones.mjs"), *at, PROJECT, str(secure.key_file)],
        env=environment(secure.home, NODE_EXTRA_CA_CERTS=str(secure.authority)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(json.loads(done.stdout)) == ["sandbox-1-a", "sandbox-sg-a"]
    assert secure.calls_since(before, "compute.zones.list") == ["compute.zones.list"]
