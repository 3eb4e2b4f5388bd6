"""`gceshim cert`: an authority that vouches for little, a certificate that every client takes, and renewals."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509

from gceshim.commands import certificates
from gceshim.commands.certificate_checks import check_certificate
from gceshim.commands.certificates import LOCAL, MOST_DAYS, Pair, covers, make_authority, make_server
from gceshim.commands.running import write_private
from gceshim.settings import ServerSection
from tests.command_line import complaint, gceshim

NOW = datetime.datetime.now(datetime.UTC)
HOST = "gce.example.org"
FILES = {"ca.pem", "ca-key.pem", "server.pem", "server-key.pem"}


def cert(home: Path, *words: str) -> dict[str, object]:
    """What the command tells."""
    done = gceshim(home, "cert", "--dir", "tls", "--json", *words)
    assert (done.returncode, done.stderr) == (0, ""), done
    told: dict[str, object] = json.loads(done.stdout)
    return told


def files(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home / "tls").iterdir()}


def handshake(folder: Path, authority: Pair, server: Pair, name: str) -> str:
    """The error with which a client that is as strict as Python 3.13 refuses the server; "" for none."""
    (folder / "chain.pem").write_text(server.certificate_pem + server.key_pem)
    accepting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    accepting.load_cert_chain(folder / "chain.pem")
    asking = ssl.create_default_context(cadata=authority.certificate_pem)
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()

    def accept() -> None:
        try:
            accepting.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        asking.wrap_socket(ours, server_hostname=name).close()
    except ssl.SSLCertVerificationError as exc:
        return exc.verify_message
    finally:
        ours.close()
        thread.join()
    return ""


def test_a_first_run_makes_an_authority_and_a_certificate(tmp_path):
    """Both keys for this user alone; what clients need is readable, once it is taken out of the folder."""
    told = cert(tmp_path, "--host", HOST, "--host", "10.0.0.5")
    assert (told["authorityIsNew"], told["hosts"]) == (True, [HOST, "localhost", "10.0.0.5", "127.0.0.1", "::1"])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "tls").iterdir()}
    assert modes == {"ca.pem": 0o644, "ca-key.pem": 0o600, "server.pem": 0o644, "server-key.pem": 0o600}
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    server = x509.load_pem_x509_certificate(files(tmp_path)["server.pem"])
    life = server.not_valid_after_utc - server.not_valid_before_utc
    assert datetime.timedelta(days=MOST_DAYS - 1) < life <= datetime.timedelta(days=MOST_DAYS)


def test_renewing_keeps_the_authority_and_the_names(tmp_path):
    """Clients go on trusting what they trust."""
    cert(tmp_path, "--host", HOST)
    first = files(tmp_path)
    told = cert(tmp_path, "--days", "30")
    second = files(tmp_path)
    assert (told["authorityIsNew"], HOST in told["hosts"]) == (False, True)
    assert {name for name in FILES if first[name] == second[name]} == {"ca.pem", "ca-key.pem"}
    server = x509.load_pem_x509_certificate(second["server.pem"])
    assert server.not_valid_after_utc - server.not_valid_before_utc <= datetime.timedelta(days=30)
    assert cert(tmp_path, "--host", "localhost")["hosts"] == list(LOCAL)


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path):
    """Else whoever can put one there has another file overwritten, or made readable for all."""
    private, file = tmp_path / "private", tmp_path / "ca.pem"
    write_private(private, "a secret")
    file.symlink_to(private)
    write_private(file, "no secret", mode=0o644)
    assert (file.is_symlink(), file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (False, "no secret", 0o644)
    assert (private.read_text(), stat.S_IMODE(private.stat().st_mode)) == ("a secret", 0o600)


def test_another_authority_is_made_only_when_one_says_so(tmp_path):
    """Else all clients would be cut off; and a name that the present one cannot vouch for is told."""
    cert(tmp_path)
    first = files(tmp_path)
    done = gceshim(tmp_path, "cert", "--dir", "tls", "--host", HOST)
    assert complaint(done, 2) == (
        f"gceshim: the authority was not made for {HOST}; --new-ca makes another, which clients then have to trust"
    )
    assert files(tmp_path) == first
    assert cert(tmp_path, "--host", HOST, "--new-ca")["authorityIsNew"] is True
    assert all(files(tmp_path)[name] != first[name] for name in FILES)


@pytest.mark.parametrize("lost", ["ca.pem", "ca-key.pem"])
def test_half_an_authority_is_not_replaced_in_silence(tmp_path, lost):
    """The other half may be on its way back from a backup."""
    cert(tmp_path)
    for name in {lost, "server.pem", "server-key.pem"}:
        (tmp_path / "tls" / name).unlink()
    left = files(tmp_path)
    message = complaint(gceshim(tmp_path, "cert", "--dir", "tls"), 2)
    assert "the authority cannot be used: No such file or directory" in message
    assert files(tmp_path) == left
    cert(tmp_path, "--new-ca")


def test_keys_that_do_not_fit_and_rubbish_are_refused(tmp_path):
    """With the way out."""
    cert(tmp_path)
    (tmp_path / "tls" / "ca-key.pem").write_bytes(files(tmp_path)["server-key.pem"])
    message = complaint(gceshim(tmp_path, "cert", "--dir", "tls"), 2)
    assert "the key is not that of the certificate" in message and "--new-ca" in message
    (tmp_path / "tls" / "ca-key.pem").write_text("rubbish")
    assert "the authority cannot be used" in complaint(gceshim(tmp_path, "cert", "--dir", "tls"), 2)


def test_somebody_elses_certificate_is_not_overwritten(tmp_path):
    """A folder may hold one from a public authority, under the same name."""
    folder = tmp_path / "tls"
    folder.mkdir()
    other = make_server(make_authority(LOCAL, NOW), LOCAL, NOW, 30)
    (folder / "server.pem").write_text(other.certificate_pem)
    for words in ((), ("--new-ca",)):
        message = complaint(gceshim(tmp_path, "cert", "--dir", "tls", *words), 2)
        assert "were not made by the authority there; move them away" in message
    assert files(tmp_path) == {"server.pem": other.certificate_pem.encode()}


def test_what_it_prints_names_every_client(tmp_path):
    """One command, and all that is to be set."""
    text = gceshim(tmp_path, "cert").stdout
    folder = tmp_path / "state" / "gceshim" / "tls"
    assert f"gceshim serve --tls-certificate {folder}/server.pem --tls-key {folder}/server-key.pem\n" in text
    for line in (
        f"gcloud config set core/custom_ca_certs_file {folder}/ca.pem",
        f"export REQUESTS_CA_BUNDLE={folder}/ca.pem",
        f"export SSL_CERT_FILE={folder}/ca.pem",
        f"export NODE_EXTRA_CA_CERTS={folder}/ca.pem",
        f"curl --cacert {folder}/ca.pem",
        "gcutil",
    ):
        assert line in text
    assert "PRIVATE" not in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--host", "a_b"], "'a_b' is no host name and no IP address"),
        (["--host", ""], "'' is no host name and no IP address"),
        (["--host", "http://x/"], "'http://x/' is no host name and no IP address"),
        (["--host", "1.2.3"], "'1.2.3' is no host name and no IP address"),
        (["--days", "398"], "'398' is not a number of days, 1 to 397"),
        (["--days", "0"], "'0' is not a number of days, 1 to 397"),
    ],
)
def test_mistakes_are_told_before_anything_is_made(tmp_path, words, expected):
    """In one line."""
    assert expected in complaint(gceshim(tmp_path, "cert", "--dir", "tls", *words), 2)
    assert not (tmp_path / "tls").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    """With its name."""
    message = complaint(gceshim(tmp_path, "cert", "--dir", "/dev/null/tls"), 1)
    assert message == "gceshim: /dev/null/tls: Not a directory"


@pytest.mark.parametrize("use_rsa", [False, True], ids=["ec", "rsa"])
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", HOST, "a.example.net"])
def test_a_strict_client_takes_it_by_every_name(tmp_path, use_rsa, name):
    """Name or address, wildcard too."""
    hosts = [HOST, "*.example.net", *LOCAL]
    authority = make_authority(hosts, NOW, use_rsa=use_rsa)
    server = make_server(authority, hosts, NOW, 30, use_rsa=use_rsa)
    assert handshake(tmp_path, authority, server, name) == ""
    assert handshake(tmp_path, make_authority(hosts, NOW), server, name) != ""


def test_the_authority_is_worth_nothing_for_other_names(tmp_path):
    """Its key in wrong hands must not open the rest of the web to those who trust it."""
    narrow = make_authority([HOST, *LOCAL], NOW)
    wide = Pair(
        x509.CertificateBuilder(
            narrow.certificate.subject,
            narrow.certificate.subject,
            narrow.key.public_key(),
            1,
            NOW,
            NOW + datetime.timedelta(days=1),
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(narrow.key.public_key()), critical=False)
        .sign(narrow.key, certificates.SHA256()),
        narrow.key,
    )
    for name in ("www.example.com", "10.9.9.9", "evil-gce.example.org.example.com"):
        stolen = make_server(wide, [name], NOW, 30)
        assert handshake(tmp_path, narrow, stolen, name) == "permitted subtree violation"
        with pytest.raises(ValueError, match="not made for"):
            make_server(narrow, [name], NOW, 30)
    make_server(narrow, [f"eu.{HOST}"], NOW, 30)


def test_a_certificate_does_not_outlive_its_authority():
    """It would be refused anyway, at a time that nobody expects."""
    authority = make_authority(LOCAL, NOW - datetime.timedelta(days=3640))
    until = make_server(authority, LOCAL, NOW, 100).certificate.not_valid_after_utc
    assert until == authority.certificate.not_valid_after_utc
    with pytest.raises(ValueError, match="no longer good"):
        make_server(authority, LOCAL, NOW + datetime.timedelta(days=11), 100)


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        (HOST, True),
        ("GCE.Example.Org.", True),
        ("a.example.net", True),
        ("a.b.example.net", False),
        ("example.net", False),
        ("127.0.0.1", True),
        ("[::1]", True),
        ("127.0.0.2", False),
        ("other.example.org", False),
    ],
)
def test_which_hosts_a_certificate_is_for(host, covered):
    """As clients compare names."""
    hosts = [HOST, "*.example.net", *LOCAL]
    server = make_server(make_authority(hosts, NOW), hosts, NOW, 30)
    assert covers(server.certificate, host) is covered


def pem(folder: Path, days: int, hosts: list[str], before: int = 0) -> dict[str, str]:
    """Settings with a certificate that is good for so many days, and was made so many days before."""
    began = NOW - datetime.timedelta(days=before)
    server = make_server(make_authority(hosts, began), hosts, began, days)
    (folder / "cert.pem").write_text(server.certificate_pem)
    (folder / "key.pem").write_text(server.key_pem)
    return {"tls_certificate": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}


@pytest.mark.parametrize(
    ("made", "hosts", "public_url", "expected"),
    [
        ((300, 0), [HOST], f"https://{HOST}", ("ok", f"for {HOST}, until ")),
        ((300, 0), [f"*.{HOST}"], f"https://a.{HOST}:8443/gce", ("ok", f"for *.{HOST}, until ")),
        ((300, 0), [HOST], "", ("ok", f"for {HOST}, until ")),
        ((20, 0), [HOST], f"https://{HOST}", ("warning", "expires on ")),
        ((20, 21), [HOST], f"https://{HOST}", ("failed", "expired on ")),
        ((20, -2), [HOST], f"https://{HOST}", ("failed", "not valid before ")),
        ((300, 0), list(LOCAL), f"https://{HOST}", ("failed", f"it is for localhost, 127.0.0.1, ::1, not for {HOST}")),
        ((300, 0), [HOST], f"http://{HOST}x", ("ok", "for ")),
    ],
)
def test_the_doctor_looks_at_times_and_names(tmp_path, made, hosts, public_url, expected):
    """The two ways in which a certificate that worked stops working."""
    settings = ServerSection(public_url=public_url, **pem(tmp_path, made[0], hosts, made[1]))
    [check] = check_certificate(settings, NOW)
    assert (check.outcome.value, check.text[: len(expected[1])]) == expected
    assert bool(check.mend) is (check.outcome.value != "ok")


def test_the_doctor_finds_a_key_that_does_not_fit(tmp_path):
    """As the server would at its start."""
    settings = pem(tmp_path, 300, [HOST])
    pem(tmp_path, 300, [HOST])
    (tmp_path / "cert.pem").write_text(make_authority([HOST], NOW).certificate_pem)
    [check] = check_certificate(ServerSection(**settings), NOW)
    assert (check.outcome.value, "cannot be used" in check.text) == ("failed", True)


@pytest.mark.parametrize(
    ("settings", "outcome"),
    [
        ({}, "skipped"),
        ({"address": "::1"}, "skipped"),
        ({"address": "0.0.0.0", "trust_proxy": True}, "skipped"),
        ({"address": "0.0.0.0", "public_url": f"https://{HOST}"}, "skipped"),
        ({"address": "0.0.0.0"}, "warning"),
        ({"address": "10.0.0.5", "public_url": f"http://{HOST}"}, "warning"),
    ],
)
def test_the_doctor_warns_of_plain_http_for_others(settings, outcome):
    """The server itself says so at its start; an operator may look here first."""
    [check] = check_certificate(ServerSection(**settings), NOW)
    assert check.outcome.value == outcome
