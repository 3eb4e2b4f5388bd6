"""gcloud: keys of users reach machines, and ssh is called with the right words."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.demo import Cloud
from tests.clients.gcloud import Gcloud
from tests.clients.plain import Plain

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed"),
]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A key pair of the user's own."""
    path = tmp_path / "key"
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann@example.org", "-f", str(path)]
    subprocess.run(words, check=True, timeout=60)
    return path


@pytest.fixture
def project_keys(gcloud: Gcloud) -> Iterator[None]:
    """What is written to the project's metadata is taken away again."""
    yield
    gcloud.done("project-info", "remove-metadata", "--keys=ssh-keys")


@pytest.mark.usefixtures("project_keys")
def test_ssh_is_called_for_the_machine(
    gcloud: Gcloud, cloud: Cloud, fresh_name: Callable[[], str], key: Path, tmp_path: Path
) -> None:
    """
    The key is in the project's metadata, so that each machine made after knows the user.

    As `config-ssh` does it; then `ssh --dry-run` finds the key there and prints what it would call.
    """
    name, config = fresh_name(), tmp_path / "config"
    gcloud.done("config-ssh", f"--ssh-key-file={key}", f"--ssh-config-file={config}")
    public = (tmp_path / "key.pub").read_text().split()[1]
    shown = gcloud.shown("project-info", "describe")
    [keys] = [item for item in shown["commonInstanceMetadata"]["items"] if item["key"] == "ssh-keys"]
    user = keys["value"].partition(":")[0]
    assert public in keys["value"]

    gcloud.done("instances", "create", name)
    machine = cloud.machines()[name]
    address = machine["publicip"]
    data = cloud.user_data(machine).decode()
    assert (public in data, f'"name": "{user}"' in data) == (True, True)

    said = gcloud.done("ssh", f"{user}@{name}", "--dry-run", f"--ssh-key-file={key}")
    instance = gcloud.shown("instances", "describe", name)
    assert f"HostKeyAlias=compute.{instance['id']}" in said.output
    assert said.output.split()[-1] == f"{user}@{address}"
    assert str(key) in said.output

    gcloud.done("config-ssh", f"--ssh-key-file={key}", f"--ssh-config-file={config}")
    written = config.read_text()
    assert f"Host {name}." in written
    assert f"HostName {address}" in written
    gcloud.done("instances", "delete", name)


def test_keys_of_one_machine_stay_there(
    gcloud: Gcloud, cloud: Cloud, plain: Plain, fresh_name: Callable[[], str], key: Path
) -> None:
    """Where the project's keys are blocked, and the machine has its own."""
    name, public = fresh_name(), key.with_suffix(".pub").read_text().strip()
    plain.machine(name, metadata={"items": [{"key": "block-project-ssh-keys", "value": "TRUE"}]})
    machine = cloud.machines()[name]
    gcloud.done("instances", "add-metadata", name, f"--metadata=ssh-keys=ann:{public}")
    assert public.split()[1] in cloud.user_data(machine).decode()
    said = gcloud.done("ssh", f"ann@{name}", "--dry-run", "--internal-ip", f"--ssh-key-file={key}")
    assert said.output.split()[-1] == f"ann@{machine['nic'][0]['ipaddress']}"
    plain.no_machine(name)
