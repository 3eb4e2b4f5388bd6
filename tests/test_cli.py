"""The command line, run as a person runs it: processes, real sockets, exit statuses and what is printed."""

from __future__ import annotations

import datetime
import io
import json
import logging
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gceshim import __version__ as gceshim_version
from gceshim.cli import COMMANDS
from gceshim.commands.logs import JsonFormatter, TextFormatter
from tests.command_line import (
    DEADLINE_SECONDS,
    Process,
    complaint,
    environment,
    fetch,
    gceshim,
    running,
    settings_file,
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Iterator[tuple[Path, Process]]:
    """A demo on a free port, and the home it runs in. Tests only read from it."""
    home = tmp_path_factory.mktemp("demo")
    with running(home, "demo", "--port", "0") as process:
        process.wait_for("Ctrl-C stops it")
        yield home, process


@pytest.fixture
def config(tmp_path, cloud) -> Path:
    """A settings file for the simulated cloud."""
    return settings_file(tmp_path, cloud)


def add_alice(home: Path, config: Path, cloud: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Store the demo account's keys as `alice`."""
    words = ("credentials", "add", "alice", "--config", str(config), "--api-key", cloud["api_key"])
    return gceshim(home, *words, "--secret-key-stdin", stdin=cloud["secret_key"] + "\n")


# Words and mistakes


def test_version_and_help_are_answered(tmp_path):
    """The first two things anybody types."""
    assert gceshim(tmp_path, "--version").stdout == f"gceshim {gceshim_version}\n"
    shown = gceshim(tmp_path, "--help").stdout
    assert all(f"    {name}" in shown for name in COMMANDS)
    assert "examples:" in gceshim(tmp_path, "serve", "--help").stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["srve"], "gceshim: unknown command srve; did you mean serve?"),
        (["xyz"], f"gceshim: unknown command xyz; there are {', '.join(COMMANDS)}"),
        ([], "gceshim: the following arguments are required: COMMAND; see gceshim --help"),
        (["serve", "--port", "99999"], "gceshim serve: argument --port: '99999' is not a port, 0 to 65535; "
                                       "see gceshim serve --help"),
        (["serve", "--config", "absent.toml"], "gceshim: absent.toml: cannot be read: No such file or directory"),
        (["demo", "--state-dir", "/dev/null/x"], "gceshim: --state-dir: /dev/null/x: Not a directory"),
        (["simulator", "--config", "bad.toml"], "gceshim: bad.toml: sed: unknown key"),
        (["serve", "--config", "prot.toml"], "gceshim: prot.toml: unknown setting server.prot; "
                                             "did you mean server.port?"),
        (["serve", "--config", "driver.toml"], "gceshim: driver.name: no driver 'nosuch'; installed: cloudstack"),
        (["serve", "--config", "table.toml"], "gceshim: driver.cloudstak: no driver 'cloudstak'; "
                                              "installed: cloudstack"),
        (["doctor", "--config", "url.toml"], "gceshim: driver.cloudstack.url: missing; "
                                             "it is the API endpoint, as http://host:8080/client/api"),
        (["serve", "--config", "key.toml"], "gceshim: auth.master_key: not base64"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_status_2(tmp_path, words, expected):
    """What to mend, without a trace: on the command line, in a file, in the name of a driver."""
    files = {
        "bad.toml": "sed = 1",
        "prot.toml": "[server]\nprot = 1",
        "driver.toml": "[driver]\nname = 'nosuch'",
        "table.toml": "[driver.cloudstak]\nurl = 'x'",
        "url.toml": "",
        "key.toml": "[auth]\nmaster_key = '~~~~~~~~~~~~~~~~~~~~'\n[driver.cloudstack]\nurl='http://127.0.0.1:1/client/api'",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert complaint(gceshim(tmp_path, *words), 2) == expected


def test_debug_shows_where_a_mistake_was_found(tmp_path):
    """For whoever develops, not for whoever mistypes."""
    done = gceshim(tmp_path, "--debug", "serve", "--config", "absent.toml")
    assert (done.returncode, "Traceback" in done.stderr) == (2, True)


# The demo


def test_a_demo_serves_at_once_and_ends_well_on_ctrl_c(tmp_path):
    """The first thing a newcomer does; it must leave nothing behind."""
    began = time.monotonic()
    with running(tmp_path, "demo", "--port", "0", TMPDIR=str(tmp_path)) as process:
        process.wait_for("Ctrl-C stops it")
        seconds = time.monotonic() - began
        values = json.loads(gceshim(tmp_path, "env", "--json").stdout)
        token_file = Path(values["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"])
        assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
        endpoint = values["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"]
        zone = f"{endpoint}projects/demo/zones/{values['CLOUDSDK_COMPUTE_ZONE']}"
        status, _, body = fetch(zone, token_file.read_text().strip())
        assert (status, body["status"]) == (200, "UP")
        assert fetch(zone)[0] == 401
        assert process.stop() == 0
    assert seconds < 30, "it takes under two seconds on a machine with nothing else to do"
    assert not token_file.exists()
    assert list((tmp_path / "run" / "gceshim").iterdir()) == []
    assert list(tmp_path.glob("gceshim-demo-*")) == []
    assert process.output.endswith("stopped\n")
    assert "Traceback" not in process.output


def test_a_body_that_is_too_large_is_refused_in_gce_form(demo):
    """The server's own limit on bodies must not cut the connection before the API can answer."""
    home, _ = demo
    endpoint = json.loads(gceshim(home, "env", "--json").stdout)["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"]
    url = f"{endpoint}projects/demo/zones/sandbox-1-a/instances"
    status, _, body = fetch(url, values_token(home), data=b" " * 10_000_000)
    assert (status, body["error"]["code"]) == (413, 413)


def values_token(home: Path) -> str:
    """The token of the demo that runs in this home."""
    values = json.loads(gceshim(home, "env", "--json").stdout)
    return Path(values["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"]).read_text().strip()


def test_what_the_demo_prints_is_what_env_prints(demo):
    """Both ways to point gcloud at it must work, by hand and by eval."""
    home, process = demo
    printed = gceshim(home, "env").stdout
    assert printed in process.output
    assert "gcloud compute instances create" in process.output


def test_env_is_taken_by_a_shell(demo):
    """`eval "$(gceshim env)"` is the sentence of the README."""
    home, _ = demo
    script = f'eval "$("{sys.executable}" -m gceshim env)" && echo "$CLOUDSDK_CORE_PROJECT $CLOUDSDK_COMPUTE_ZONE"'
    done = subprocess.run(["sh", "-c", script], env=environment(home), capture_output=True, text=True, check=True)
    values = json.loads(gceshim(home, "env", "--json").stdout)
    assert done.stdout.split() == ["demo", values["CLOUDSDK_COMPUTE_ZONE"]]
    assert values["CLOUDSDK_COMPUTE_REGION"] == values["CLOUDSDK_COMPUTE_ZONE"].rpartition("-")[0]


def test_env_speaks_fish_and_terraform(demo):
    """Other shells set variables in other words, and Terraform takes a token where gcloud takes a file."""
    home, _ = demo
    fish = gceshim(home, "env", "--shell", "fish", "--project", "it's mine").stdout
    assert "set -gx CLOUDSDK_CORE_PROJECT 'it\\'s mine';\n" in fish
    values = json.loads(gceshim(home, "env", "--for", "terraform", "--json").stdout)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/compute/v1/", values["GOOGLE_COMPUTE_CUSTOM_ENDPOINT"])
    url = f"{values['GOOGLE_COMPUTE_CUSTOM_ENDPOINT']}projects/{values['GOOGLE_PROJECT']}"
    assert fetch(url, values["GOOGLE_OAUTH_ACCESS_TOKEN"])[0] == 200


def test_a_taken_port_names_the_way_out(demo):
    """The commonest reason for a demo not to start is another demo."""
    home, _ = demo
    endpoint = json.loads(gceshim(home, "env", "--json").stdout)["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"]
    port = endpoint.split(":")[2].split("/")[0]
    message = complaint(gceshim(home, "demo", "--port", port), 1)
    assert message == f"gceshim: 127.0.0.1:{port} is taken by another program; --port 0 picks a free port"


def test_a_demo_keeps_its_state_where_it_is_told(tmp_path):
    """A folder that was asked for is the caller's: it stays."""
    with running(tmp_path, "demo", "--port", "0", "--state-dir", "here") as process:
        process.wait_for("Ctrl-C stops it")
        assert process.stop(signal.SIGTERM) == 0
    assert {"token", "gceshim.sqlite", "master.key"} <= {path.name for path in (tmp_path / "here").iterdir()}


def test_env_knows_when_nothing_runs(tmp_path):
    """Word of a server that was killed must not send gcloud to a dead port, or to a stranger's."""
    assert complaint(gceshim(tmp_path, "env"), 1) == "gceshim: no server of this user runs; start one: gceshim demo"
    with running(tmp_path, "demo", "--port", "0") as process:
        process.wait_for("Ctrl-C stops it")
        process.process.kill()
        process.ended()
    left = list((tmp_path / "run" / "gceshim").iterdir())
    assert [stat.S_IMODE(path.stat().st_mode) for path in left] == [0o600]
    complaint(gceshim(tmp_path, "env"), 1)
    assert list((tmp_path / "run" / "gceshim").iterdir()) == []


def test_env_asks_which_when_several_run(tmp_path):
    """To choose one in silence is to choose the wrong one."""
    with running(tmp_path, "demo", "--port", "0") as one, running(tmp_path, "demo", "--port", "0") as other:
        ports = sorted(process.wait_for(r"endpoint at http://127\.0\.0\.1:(\d+)")[1] for process in (one, other))
        for process in (one, other):
            process.wait_for("Ctrl-C stops it")
        message = complaint(gceshim(tmp_path, "env"), 2)
        assert sorted(re.findall(r"(\d+) \(demo\)", message)) == ports
        assert f":{ports[0]}/" in gceshim(tmp_path, "env", "--port", ports[0]).stdout


# Credentials and serving


def test_from_a_key_pair_to_an_answer(tmp_path, config, cloud):
    """An operator's first hour: store a key pair, serve, get the lines, call, take it away again."""
    added = add_alice(tmp_path, config, cloud)
    assert (added.returncode, added.stderr) == (0, "")
    assert added.stdout == f"stored alice: account demo, domain {cloud['domain']}\n"
    listed = json.loads(gceshim(tmp_path, "credentials", "list", "--config", str(config), "--json").stdout)
    assert [(row["name"], row["account"]) for row in listed] == [("alice", "demo")]

    with running(tmp_path, "serve", "--config", str(config), GCESHIM_LOG_FORMAT="json") as server:
        server.wait_for("driver cloudstack")
        values = json.loads(gceshim(tmp_path, "env", "--json").stdout)
        token = Path(values["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"]).read_text().strip()
        url = f"{values['CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE']}projects/{values['CLOUDSDK_CORE_PROJECT']}/zones"
        status, headers, body = fetch(url, token)
        assert (status, len(body["items"])) == (200, 2)
        printed = gceshim(tmp_path, "credentials", "token", "alice", "--config", str(config)).stdout.strip()
        assert fetch(url, printed)[0] == 200

        removed = gceshim(tmp_path, "credentials", "remove", "alice", "--config", str(config))
        assert removed.stdout == "removed alice, and 2 tokens with it\n"
        until = time.monotonic() + DEADLINE_SECONDS
        while fetch(url, token)[0] == 200 and time.monotonic() < until:
            pass  # the server remembers an answer for a moment
        assert fetch(url, token)[0] == 401
        assert server.stop(signal.SIGTERM) == 0

    records = [json.loads(line) for line in server.errors]
    assert headers["X-Request-Id"] in {record.get("request_id") for record in records}
    everything = server.output + added.stdout + "".join(map(str, listed))
    for secret in (cloud["secret_key"], cloud["api_key"], token, printed):
        assert secret not in everything
    store = tmp_path / "state" / "gceshim"
    kept = b"".join(path.read_bytes() for path in store.glob("gceshim.sqlite*"))
    assert cloud["secret_key"].encode() not in kept
    assert token.encode() not in kept


def test_a_key_pair_that_cloudstack_refuses_is_not_stored(tmp_path, config, cloud):
    """A mistyped key is noticed by whoever types it, not by whoever calls."""
    words = ("credentials", "add", "bob", "--config", str(config), "--api-key", cloud["api_key"])
    message = complaint(gceshim(tmp_path, *words, GCESHIM_SECRET_KEY="wrong"), 1)
    assert message.startswith("gceshim: CloudStack does not accept this key pair: ")
    assert gceshim(tmp_path, "credentials", "list", "--config", str(config)).stdout == ""


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["token", "nobody"], 1, "gceshim: There are no credentials under the name nobody."),
        (["remove", "nobody"], 1, "gceshim: There are no credentials under the name nobody."),
        (["add", "bob"], 2, "gceshim: give --api-key, as there is no terminal to ask on"),
        (["add", "bob", "--api-key", "k", "--secret-key-file", "absent"], 2,
         "gceshim: absent: cannot be read: No such file or directory"),
        (["add", "bob", "--api-key", "k", "--secret-key-stdin"], 2, "gceshim: the secret key is empty"),
    ],
)  # fmt: skip
def test_what_credentials_cannot_do_is_said_in_one_line(tmp_path, config, words, status, expected):
    """Scripts read the status, people the line."""
    done = gceshim(tmp_path, "credentials", *words, "--config", str(config))
    assert complaint(done, status) == expected


def test_credentials_can_be_added_before_there_is_a_settings_file(tmp_path, cloud):
    """The URL is all that a first look at a cloud needs."""
    words = ("credentials", "add", "alice", "--url", cloud["endpoint"], "--api-key", cloud["api_key"])
    done = gceshim(tmp_path, *words, GCESHIM_SECRET_KEY=cloud["secret_key"])
    assert (done.returncode, done.stderr) == (0, "")
    assert gceshim(tmp_path, "credentials", "list").stdout.startswith("alice\taccount demo\t")
    assert gceshim(tmp_path, "credentials", "token", "alice").returncode == 0


def test_credentials_are_not_overwritten_by_accident(tmp_path, config, cloud):
    """Two people may choose one name; the second is told."""
    assert add_alice(tmp_path, config, cloud).returncode == 0
    message = complaint(add_alice(tmp_path, config, cloud), 1)
    assert message == "gceshim: There are credentials under the name alice already."


def test_a_token_file_is_for_its_owner_alone(tmp_path, config, cloud):
    """A bearer token is a password."""
    assert add_alice(tmp_path, config, cloud).returncode == 0
    words = ("credentials", "token", "alice", "--config", str(config), "--lifetime", "12h", "--output", "alice.token")
    done = gceshim(tmp_path, *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    file = tmp_path / "alice.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", file.read_text())


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gceshim test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.DNSName("localhost")
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(built.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem", folder / "key.pem"


def test_serve_does_tls(tmp_path, config):
    """Where no proxy stands in front, tokens must not travel in the clear."""
    cert, key = certificate(tmp_path)
    tls = {"GCESHIM_SERVER_TLS_CERTIFICATE": str(cert), "GCESHIM_SERVER_TLS_KEY": str(key)}
    with running(tmp_path, "serve", "--config", str(config), **tls) as server:
        port = server.wait_for(r"https://127\.0\.0\.1:(\d+), driver")[1]
        context = ssl.create_default_context(cafile=str(cert))
        status, _, body = fetch(f"https://localhost:{port}/compute/v1/projects/demo/zones", context=context)
        assert (status, body["error"]["errors"][0]["reason"]) == (401, "required")
        assert server.stop() == 0


def test_a_certificate_that_cannot_be_used_stops_the_start(tmp_path, config):
    """A key that does not fit would otherwise be noticed by the first client."""
    cert, _ = certificate(tmp_path)
    tls = {"GCESHIM_SERVER_TLS_CERTIFICATE": str(cert), "GCESHIM_SERVER_TLS_KEY": str(config)}
    message = complaint(gceshim(tmp_path, "serve", "--config", str(config), **tls), 2)
    assert message.startswith(f"gceshim: server.tls_certificate, server.tls_key: {cert}, {config}: cannot be used: ")


def test_plain_http_for_all_the_world_is_warned_of(tmp_path, config):
    """Bearer tokens on plain HTTP can be read by anyone on the way."""
    with running(tmp_path, "serve", "--config", str(config), "--address", "0.0.0.0") as server:
        server.wait_for("WARNING gceshim.server: PLAIN HTTP ON 0.0.0.0: ")
        server.wait_for("driver cloudstack")
        assert server.stop() == 0


def test_a_request_that_is_being_sent_is_answered_before_the_server_stops(tmp_path, config):
    """A deployment restarts servers under load; nobody's call may be cut off."""
    with running(tmp_path, "serve", "--config", str(config)) as server:
        port = int(server.wait_for(r"http://127\.0\.0\.1:(\d+), driver")[1])
        with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as client:
            head = "POST /compute/v1/projects/demo/zones/z/instances HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
            client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
            assert client.recv(1000).startswith(b"HTTP/1.1 100 ")  # so the server knows of the request
            server.process.send_signal(signal.SIGTERM)
            server.wait_for("SIGTERM: stopping")
            client.sendall(b"{}")
            assert client.recv(1000).startswith(b"HTTP/1.1 401 ")
        assert server.ended() == 0


@pytest.mark.parametrize("form", ["text", "json"])
def test_logs_hold_no_secret_even_where_a_library_puts_one(form):
    """Libraries put whole URLs into their errors, signed ones too."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    record = logging.makeLogRecord(
        {
            "name": "gceshim.test",
            "levelno": logging.ERROR,
            "levelname": "ERROR",
            "msg": "cannot reach /client/api?apiKey=KEEPOUT1&command=listZones&signature=KEEPOUT2%%3D, %s",
            "args": ("Authorization: Bearer KEEPOUT3",),
            "exc_info": (ValueError, ValueError('{"secretkey": "KEEPOUT4", "access_token": "KEEPOUT5"}'), None),
            "request_id": "abc",
            "detail": "password=KEEPOUT6",
        }
    )
    handler.handle(record)
    line = stream.getvalue()
    assert "KEEPOUT" not in line
    assert all(word in line for word in ("command=listZones", "abc", "ValueError", "gceshim.test"))
    if form == "json":
        assert json.loads(line)["request_id"] == "abc"


# The doctor


def test_the_doctor_finds_a_healthy_cloud_healthy(tmp_path, config, cloud):
    """Every step is named, so that what was checked is known too."""
    words = ("doctor", "--config", str(config), "--api-key", cloud["api_key"], "--json")
    done = gceshim(tmp_path, *words, GCESHIM_SECRET_KEY=cloud["secret_key"])
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"], done.stderr) == (0, True, "")
    found = {check["name"]: check["outcome"] for check in told["checks"]}
    steps = ["settings", "store", "endpoint", "clock", "signature", "zones", "images", "family debian-12", "networks"]
    assert {name: found.get(name) for name in steps} == dict.fromkeys(steps, "ok")
    assert cloud["secret_key"] not in done.stdout


def test_the_doctor_takes_stored_credentials_and_marks_each_line(tmp_path, config, cloud):
    """For people: a mark, a name and what was found; no colours where no terminal is."""
    add_alice(tmp_path, config, cloud)
    done = gceshim(tmp_path, "doctor", "--config", str(config), "--credentials", "alice")
    assert done.returncode == 0
    assert "✓ signature: account demo, domain " in done.stdout
    assert "\033" not in done.stdout
    ascii_only = gceshim(tmp_path, "doctor", "--config", str(config), PYTHONIOENCODING="ascii")
    assert "ok endpoint: " in ascii_only.stdout


@pytest.mark.parametrize("secret", ["wrong", None])
def test_the_doctor_says_what_to_mend(tmp_path, config, cloud, secret):
    """A refused signature and an endpoint that is not there are the two things that go wrong first."""
    words = ["doctor", "--config", str(config), "--api-key", cloud["api_key"], "--json"]
    more = {"GCESHIM_SECRET_KEY": secret or "x"}
    if secret is None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            more["GCESHIM_DRIVER_CLOUDSTACK_URL"] = f"http://127.0.0.1:{unused.getsockname()[1]}/client/api"
            done = gceshim(tmp_path, *words, **more)
    else:
        done = gceshim(tmp_path, *words, **more)
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (1, False)
    failed = [check for check in told["checks"] if check["outcome"] == "failed"]
    assert [check["name"] for check in failed] == ["signature" if secret else "endpoint"]
    assert failed[0]["mend"]


def test_the_doctor_finds_a_store_that_cannot_be_written(tmp_path, config):
    """Found before the first person's credentials are lost. A file in the place of a folder stops even root."""
    (tmp_path / "occupied").write_text("")
    done = gceshim(tmp_path, "doctor", "--config", str(config), GCESHIM_STORE_PATH=str(tmp_path / "occupied" / "s.db"))
    assert (done.returncode, "✗ store: " in done.stdout) == (1, True)
