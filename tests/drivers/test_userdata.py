"""GCE metadata as cloud-init takes it."""

from __future__ import annotations

import base64
import email
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.userdata import build, encoded, ssh_keys

KEY = "ssh-ed25519 AAAAC3Nz bob@home"


def parts(document: bytes) -> dict[str, tuple[str, str]]:
    """The parts of a MIME document by file name: type and text."""
    found = {}
    for part in email.message_from_bytes(document).walk():
        if not part.is_multipart():
            found[part.get_filename()] = (part.get_content_type(), part.get_payload(decode=True).decode())
    return found


def test_nothing_asked_for_is_no_user_data():
    """Some networks cannot deliver any."""
    assert build({"foo": "bar"}, {"enable-oslogin": "TRUE"}, "") == b""


def test_user_data_alone_goes_as_it_was_given():
    """Its author knows best."""
    for given_text in ("#cloud-config\npackages: [nginx]\n", "#!/bin/sh\n", "Content-Type: multipart/mixed\n", "é"):
        assert build({"user-data": given_text}, {}, "") == given_text.encode()


def test_a_start_up_script_runs_at_every_boot():
    """As on GCE; one without an interpreter gets a shell."""
    found = parts(build({"startup-script": "echo hi"}, {}, ""))
    assert found == {"gce-startup-script": ("text/x-shellscript-per-boot", "#!/bin/bash\necho hi\n")}
    found = parts(build({"startup-script": "#! /usr/bin/python3\nprint(1)"}, {"startup-script": "no"}, ""))
    assert found["gce-startup-script"][1].startswith("#! /usr/bin/python3\nprint(1)")
    assert "gce-startup-script" in parts(build({}, {"startup-script": "echo project"}, ""))


def test_keys_become_users_who_may_log_in():
    """That is what `gcloud compute ssh` counts on."""
    document = build({"ssh-keys": f"bob:{KEY}\nbob:{KEY}\nann:ssh-rsa BBBB"}, {}, "")
    config = json.loads(document.decode().removeprefix("#cloud-config\n"))
    assert config["users"][0] == "default"
    assert [(user["name"], user["ssh_authorized_keys"]) for user in config["users"][1:]] == [
        ("bob", [KEY]),
        ("ann", ["ssh-rsa BBBB"]),
    ]


@pytest.mark.parametrize(
    ("instance", "users"),
    [
        ({}, {"pat"}),
        ({"ssh-keys": f"bob:{KEY}"}, {"bob", "pat"}),
        ({"ssh-keys": f"bob:{KEY}", "block-project-ssh-keys": "TRUE"}, {"bob"}),
        ({"block-project-ssh-keys": "false"}, {"pat"}),
        ({"sshKeys": f"old:{KEY}"}, {"old"}),
        ({"ssh-keys": f"{KEY}\nRoot User:{KEY}\nbob\nbob:\n:{KEY}"}, {"pat"}),
    ],
)
def test_keys_of_the_project_count_unless_they_are_blocked(instance, users):
    """The rules of GCE's guest agent; lines that are no keys are passed over."""
    assert set(ssh_keys(instance, {"ssh-keys": f"pat:{KEY}"})) == users


def test_a_host_name_is_set():
    """CloudStack itself knows the short name only."""
    config = json.loads(build({}, {}, "web.example.org").decode().removeprefix("#cloud-config\n"))
    assert (config["hostname"], config["fqdn"]) == ("web", "web.example.org")


def test_everything_at_once_is_one_document():
    """Ours and the caller's, side by side."""
    metadata = {"user-data": "#cloud-config\nruncmd: [ls é]\n", "startup-script": "echo hi", "ssh-keys": f"bob:{KEY}"}
    found = parts(build(metadata, {}, "web.example.org"))
    assert {name: kind for name, (kind, _) in found.items()} == {
        "gce-config.yaml": "text/cloud-config",
        "gce-startup-script": "text/x-shellscript-per-boot",
        "user-data": "text/cloud-config",
    }
    assert "runcmd: [ls é]" in found["user-data"][1]


def test_a_document_that_is_multipart_already_is_put_inside():
    """Terraform's cloudinit provider makes such."""
    inner = build({"user-data": "#!/bin/sh\necho inner\n", "startup-script": "x"}, {}, "")
    found = parts(build({"user-data": inner.decode(), "ssh-keys": f"bob:{KEY}"}, {}, ""))
    assert {"gce-config.yaml", "gce-startup-script", "user-data"} == set(found)


@given(
    st.dictionaries(st.sampled_from(["user-data", "startup-script", "ssh-keys", "x"]), st.text()),
    st.dictionaries(st.sampled_from(["startup-script", "ssh-keys"]), st.text()),
    st.sampled_from(["", "a.example.org"]),
)
def test_the_same_input_makes_the_same_bytes(metadata, project, hostname):
    """A replayed operation must send what the first try sent."""
    document = build(metadata, project, hostname)
    assert document == build(dict(reversed(metadata.items())), project, hostname)
    assert encoded(document, 10**9) == encoded(document, 10**9)


def test_a_long_document_is_compressed_and_too_long_a_one_refused():
    """CloudStack takes 32 KiB; cloud-init unpacks."""
    document = b"#!/bin/sh\n" + b"echo hello\n" * 5_000
    assert gzip.decompress(base64.b64decode(encoded(document, 32_768))) == document
    assert base64.b64decode(encoded(b"#!/bin/sh\n", 32_768)) == b"#!/bin/sh\n"
    with pytest.raises(errors.Invalid) as caught:
        encoded(bytes(range(256)) * 40, 200)
    assert caught.value.field == "metadata"
