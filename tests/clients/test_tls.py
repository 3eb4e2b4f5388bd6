"""The certificates of `gceshim cert`, served by `gceshim serve`, in the eyes of what has to trust them."""

from __future__ import annotations

import ctypes.util
import json
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.chromium import chromium
from tests.clients.secure import Secure
from tests.command_line import environment, running

HERE = Path(__file__).parent
OK = {"status": "ok"}
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def called(secure: Secure, *words: str) -> subprocess.CompletedProcess[str]:
    """A program to its end, with nothing of the machine's own settings."""
    environ = environment(secure.home)
    return subprocess.run(
        words, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_python_takes_it_at_its_strictest(secure: Secure, name: str) -> None:
    """As Python does by default from 3.13 on; and not without the authority."""
    url = f"{secure.url.replace('127.0.0.1', name)}/healthz"
    strict = ssl.create_default_context(cafile=str(secure.authority))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    with urllib.request.urlopen(url, context=strict, timeout=30) as reply:
        assert json.loads(reply.read()) == OK
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(url, context=ssl.create_default_context(), timeout=30)


@needs_openssl
@pytest.mark.parametrize("name", ["-verify_hostname=localhost", "-verify_ip=127.0.0.1"])
def test_openssl_takes_it_by_the_letter_of_the_rules(secure: Secure, name: str) -> None:
    """Every extension in its place, and marked critical where it has to be."""
    trust = ("-x509_strict", "-verify_return_error", "-CAfile", str(secure.authority), *name.split("="))
    done = called(secure, "openssl", "s_client", "-connect", urlsplit(secure.url).netloc, *trust)
    assert (done.returncode, "Verify return code: 0 (ok)" in done.stdout) == (0, True), done


@needs_openssl
@pytest.mark.parametrize(("version", "good"), [("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)])
def test_tls_begins_at_1_2(secure: Secure, version: str, good: bool) -> None:
    """What is older is broken, whatever a client offers."""
    words = ("-connect", urlsplit(secure.url).netloc, version, "-cipher", "ALL:@SECLEVEL=0")
    done = called(secure, "openssl", "s_client", *words)
    assert (done.returncode == 0) is good, done
    if not good:
        assert "alert protocol version" in done.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_takes_it_when_told_of_the_authority(secure: Secure) -> None:
    """And refuses it else, with its own status for that."""
    done = called(secure, "curl", "-sS", "--cacert", str(secure.authority), f"{secure.url}/healthz")
    assert (done.returncode, json.loads(done.stdout)) == (0, OK)
    assert called(secure, "curl", "-sS", f"{secure.url}/healthz").returncode == 60


@pytest.mark.skipif(ctypes.util.find_library("nss3") is None, reason="libnss3 is not installed")
def test_chromium_takes_it_once_it_trusts_the_authority(
    secure: Secure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Browsers have rules of their own: names, validity, name constraints."""
    monkeypatch.setenv("HOME", str(tmp_path))
    page = f"{secure.url.replace('127.0.0.1', 'localhost')}/healthz"
    with chromium(tmp_path / "before") as window:
        window.get(page)
        assert "ERR_CERT_AUTHORITY_INVALID" in window.find_element("tag name", "body").text
    store = [sys.executable, str(HERE / "trust_store.py"), str(tmp_path / ".pki" / "nssdb"), str(secure.authority)]
    subprocess.run(store, check=True, timeout=60)
    with chromium(tmp_path / "after") as window:
        for url in (page, f"{secure.url}/healthz"):
            window.get(url)
            assert json.loads(window.find_element("tag name", "body").text) == OK


def test_the_lines_of_env_name_the_authority(secure: Secure) -> None:
    """They are all that a shell is given; a server of another authority gets gcloud's own."""
    values = json.loads(secure.gceshim("env", "--json", "--credentials", secure.email))
    assert values["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"] == f"{secure.url}/compute/v1/"
    assert values["CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"] == str(secure.authority)
    other = secure.gceshim("gcloud-config", "--url", "https://127.0.0.1:1", "--json")
    assert "core/custom_ca_certs_file" not in json.loads(other)["properties"]


def test_links_are_https_where_the_server_is(secure: Secure) -> None:
    """libcloud and others go on with what they are given."""
    context = ssl.create_default_context(cafile=str(secure.authority))
    with urllib.request.urlopen(f"{secure.url}/discovery/v1/apis/compute/v1/rest", context=context) as reply:
        document = json.loads(reply.read())
    assert (document["rootUrl"], document["baseUrl"]) == (f"{secure.url}/", f"{secure.url}/compute/v1/")


@pytest.mark.parametrize(
    ("words", "warned"),
    [
        (("--address", "0.0.0.0"), True),
        (("--address", "127.0.0.1"), False),
        (("--address", "0.0.0.0", "--tls-certificate", "{tls}/server.pem", "--tls-key", "{tls}/server-key.pem"), False),
    ],
    ids=["plain for all", "plain for this machine", "tls for all"],
)
def test_plain_http_is_warned_of_where_others_can_listen(
    secure: Secure, tmp_path: Path, words: tuple[str, ...], warned: bool
) -> None:
    """Loudly, at the start, and only then: a warning that is always there is not read."""
    filled = [word.format(tls=secure.authority.parent) for word in words]
    with running(tmp_path, "serve", "--config", str(secure.home / "gceshim.toml"), *filled) as server:
        server.wait_for("driver cloudstack")
        assert server.stop() == 0
    assert ("PLAIN HTTP ON 0.0.0.0: tokens can be read on their way" in server.output) is warned
