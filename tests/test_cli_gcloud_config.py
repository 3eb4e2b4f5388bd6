"""`gceshim gcloud-config`: what it would run, what it refuses, and with the real gcloud, that one command is enough."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import complaint, environment, gceshim, running

URL = "https://gce.example.org"
SET = ("config", "set")
TO = "--configuration=gceshim"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home in which a demo runs."""
    home = tmp_path_factory.mktemp("demo")
    with running(home, "demo", "--port", "0") as process:
        process.wait_for("Ctrl-C stops it")
        yield home


def key_file(home: Path, **changed: object) -> Path:
    """What `service-account create` writes, as far as it is looked at."""
    fields = {"type": "service_account", "token_uri": f"{URL}/token", "project_id": "web"} | changed
    (home / "key.json").write_text(json.dumps(fields))
    return home / "key.json"


def shown(home: Path, *words: str) -> list[list[str]]:
    """The calls that it would make, as their words."""
    done = gceshim(home, "gcloud-config", *words, "--dry-run", PATH="/nowhere")
    assert (done.returncode, done.stderr) == (0, ""), done
    return [shlex.split(line) for line in done.stdout.splitlines()]


def test_a_server_elsewhere_is_pointed_at_by_its_url(tmp_path):
    """Nothing is known of it but where it is; a login comes next. gcloud itself is not needed to be shown that."""
    calls = shown(tmp_path, "--url", f"{URL}/", "--zone", "zone-1-a")
    quiet = (TO, "--quiet")
    assert [call[1:] for call in calls] == [
        ["config", "configurations", "create", "gceshim", "--no-activate"],
        [*SET, "api_endpoint_overrides/compute", f"{URL}/compute/v1/", *quiet],
        [*SET, "api_endpoint_overrides/cloudresourcemanager", f"{URL}/", *quiet],
        [*SET, "auth/auth_host", f"{URL}/o/oauth2/auth", *quiet],
        [*SET, "auth/token_host", f"{URL}/token", *quiet],
        [*SET, "core/project", "default", *quiet],
        ["gcloud", *SET, "compute/region", "zone-1", *quiet],
        ["gcloud", *SET, "compute/zone", "zone-1-a", *quiet],
        ["config", "configurations", "activate", "gceshim"],
    ]
    assert [call[0] for call in calls[-3:-1]] == ["CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true"] * 2


def test_a_key_file_names_its_server_and_project(tmp_path):
    """It is all that a program's machine has."""
    file = key_file(tmp_path)
    told = json.loads(gceshim(tmp_path, "gcloud-config", "ci", "--key-file", "key.json", "--json").stdout)
    properties = told["properties"]
    assert (told["configuration"], properties["core/project"]) == ("ci", "web")
    assert properties["api_endpoint_overrides/compute"] == f"{URL}/compute/v1/"
    words = [call["words"] for call in told["calls"]]
    activation = ["gcloud", "auth", "activate-service-account", f"--key-file={file}", "--configuration=ci"]
    assert words.index(activation) == len(words) - 3  # before what gcloud asks the server about
    moved = json.loads(
        gceshim(tmp_path, "gcloud-config", "--key-file", "key.json", "--url", "http://x", "--json").stdout
    )
    assert moved["properties"]["auth/token_host"] == "http://x/token"


def test_a_login_on_plain_http_is_let_through_on_this_machine_alone(tmp_path):
    """Elsewhere gcloud's own refusal stands, as the code could be read on its way."""
    for url, environ in (
        ("http://127.0.0.1:8787", {"OAUTHLIB_INSECURE_TRANSPORT": "1"}),
        ("http://10.0.0.5", {}),
        (URL, {}),
    ):
        told = json.loads(gceshim(tmp_path, "gcloud-config", "--url", url, "--login", "--json").stdout)
        [login] = [call for call in told["calls"] if call["words"][1:3] == ["auth", "login"]]
        assert login["environment"] == environ


def test_a_key_file_can_be_used_with_the_server_of_a_port(demo):
    """One that was made for another address of the same server."""
    key_file(demo)
    port = json.loads(gceshim(demo, "gcloud-config", "--json").stdout)["properties"]["auth/token_host"].split(":")[2]
    number = port.removesuffix("/token")
    told = json.loads(gceshim(demo, "gcloud-config", "--key-file", "key.json", "--port", number, "--json").stdout)
    assert told["properties"]["auth/token_host"] == f"http://127.0.0.1:{number}/token"
    assert "auth/access_token_file" not in told["properties"]


def test_an_authority_is_handed_on(tmp_path):
    """By its whole path, as gcloud is run from anywhere."""
    (tmp_path / "ca.pem").write_text("x")
    told = json.loads(gceshim(tmp_path, "gcloud-config", "--url", URL, "--ca-file", "ca.pem", "--json").stdout)
    assert told["properties"]["core/custom_ca_certs_file"] == str(tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        ([], 1, "gceshim: no server of this user runs; start one: gceshim demo"),
        (["--url", URL], 1, "gceshim: gcloud is not installed, or not in $PATH; "
         "see https://cloud.google.com/sdk/docs/install"),
        (["--remove"], 1, "gceshim: gcloud is not installed, or not in $PATH; "
         "see https://cloud.google.com/sdk/docs/install"),
        (["--url", "gce.example.org"], 2, "gceshim gcloud-config: argument --url: 'gce.example.org' is not like "
         "https://gce.example.org; see gceshim gcloud-config --help"),
        (["default"], 2, "gceshim gcloud-config: argument NAME: 'default' is no name for it: lower-case letters, "
         "digits and dashes, a letter first; not default; see gceshim gcloud-config --help"),
        (["--key-file", "absent.json"], 2, "gceshim: absent.json: cannot be read: No such file or directory"),
        (["--key-file", "text.json"], 2, "gceshim: text.json: it is no key file of a service account"),
        (["--key-file", "user.json"], 2, "gceshim: user.json: it is no key file that `gceshim service-account` wrote"),
        (["--key-file", "google.json"], 2, "gceshim: google.json: it is a key for Google itself"),
        (["--url", URL, "--ca-file", "absent.pem"], 2,
         "gceshim: absent.pem: cannot be read: No such file or directory"),
        (["--url", URL, "--access-token-file", "absent"], 2,
         "gceshim: absent: cannot be read: No such file or directory"),
        (["--url", URL, "--login", "--key-file", "k"], 2, "gceshim gcloud-config: argument --key-file: not allowed "
         "with argument --login; see gceshim gcloud-config --help"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_line(tmp_path, words, status, expected):
    """Without a trace, and before gcloud is run."""
    (tmp_path / "text.json").write_text("[1]")
    user = {"type": "authorized_user", "token_uri": f"{URL}/token", "project_id": "p"}
    (tmp_path / "user.json").write_text(json.dumps(user))
    google = {"type": "service_account", "token_uri": "https://oauth2.googleapis.com/token", "project_id": "p"}
    (tmp_path / "google.json").write_text(json.dumps(google))
    assert complaint(gceshim(tmp_path, "gcloud-config", *words, PATH="/nowhere"), status) == expected


def stand_in(home: Path, configurations: list[dict[str, object]]) -> dict[str, str]:
    """A program named gcloud that lists these configurations, writes down its words and refuses to activate."""
    folder = home / "bin"
    folder.mkdir()
    (home / "configurations.json").write_text(json.dumps(configurations))
    script = folder / "gcloud"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {home}/calls\n'
        f'case "$*" in\n'
        f"  *' list '*) cat {home}/configurations.json ;;\n"
        "  *cloudresourcemanager*) echo 'WARNING: universe' >&2 ;;\n"
        "  *core/project*) echo 'WARNING: no access to project' >&2 ;;\n"
        "  *' activate '*) printf 'ERROR: (gcloud.x) It went\\nwrong.\\n\\nAdvice.\\n' >&2; exit 1 ;;\n"
        "esac\n"
    )
    script.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_gclouds_own_words_are_told(tmp_path):
    """Its error, without its advice; its warnings, but for the one about the endpoint's domain."""
    done = gceshim(tmp_path, "gcloud-config", "--url", URL, **stand_in(tmp_path, []))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "WARNING: no access to project",
        "gceshim: gcloud config configurations activate gceshim: (gcloud.x) It went wrong.",
    ]


def test_a_configuration_for_something_else_is_left_alone(tmp_path):
    """Somebody's work at Google may be in it."""
    theirs = {"name": "gceshim", "is_active": True, "properties": {"core": {"account": "me@example.com"}}}
    environ = stand_in(tmp_path, [theirs])
    for words in ((), ("--remove",)):
        message = complaint(gceshim(tmp_path, "gcloud-config", "--url", URL, *words, **environ), 2)
        assert message == "gceshim: gcloud's configuration gceshim is not for a gceshim server; choose another NAME"
    assert (tmp_path / "calls").read_text().splitlines() == ["config configurations list --format=json"] * 2


@pytest.mark.parametrize(
    ("account", "told"),
    [("ci@demo.iam.gserviceaccount.com", True), ("jo@demo.root.gceshim.internal", False), ("jo@example.com", False)],
)
def test_removing_tells_of_the_key_that_gcloud_keeps(tmp_path, account, told):
    """Another configuration may use it; of a person, gcloud would send the token to Google, so that is not advised."""
    ours = {
        "name": "gceshim",
        "is_active": False,
        "properties": {"api_endpoint_overrides": {"compute": URL}, "core": {"account": account}},
    }
    done = gceshim(tmp_path, "gcloud-config", "--remove", **stand_in(tmp_path, [ours]))
    assert (done.returncode, done.stderr) == (0, "")
    assert (f"gcloud keeps the key of {account}; gcloud auth revoke {account} makes" in done.stdout) is told
    calls = (tmp_path / "calls").read_text().splitlines()[1:]
    assert calls == ["config configurations delete gceshim --quiet"]


def test_one_command_and_gcloud_works_and_one_takes_it_back(demo, tmp_path):
    """The real gcloud, with the demo of this machine; a second run changes what has changed."""
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed")
    quiet = {
        "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
    }
    url = json.loads(gceshim(demo, "gcloud-config", "--json").stdout)["properties"]["auth/token_host"][: -len("/token")]
    stale = {"CLOUDSDK_COMPUTE_ZONE": "elsewhere", "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": "/nowhere"}
    done = gceshim(demo, "gcloud-config", **quiet, **stale)
    assert (done.returncode, done.stdout) == (0, f"gcloud's configuration gceshim is active, for {url}\n")
    assert done.stderr == f"these variables win over the configuration: unset {' '.join(sorted(stale))}\n"

    def gcloud(*words: str) -> str:
        environ = environment(demo, **quiet)
        return subprocess.run(["gcloud", *words], env=environ, capture_output=True, text=True, check=True).stdout

    assert gcloud("compute", "zones", "list", "--format=value(name)").split() == ["sandbox-1-a", "sandbox-sg-a"]
    assert gcloud("config", "get", "compute/zone") == "sandbox-1-a\n"
    done = gceshim(demo, "gcloud-config", "--zone", "sandbox-sg-a", **quiet)
    assert (done.returncode, done.stderr) == (0, "")
    assert gcloud("config", "get", "compute/region") == "sandbox-sg\n"
    done = gceshim(demo, "gcloud-config", "--remove", **quiet)
    assert (done.returncode, done.stdout, done.stderr) == (0, "removed the configuration gceshim\n", "")
    assert gcloud("config", "configurations", "list", "--format=value(name,is_active)").split() == ["default", "True"]
