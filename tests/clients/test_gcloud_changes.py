"""gcloud: what can be changed about a machine, and after each step what CloudStack holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.demo import Cloud, Demo
from tests.clients.gcloud import Gcloud
from tests.clients.plain import Plain

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_labels_metadata_and_tags_come_and_go(
    gcloud: Gcloud, cloud: Cloud, plain: Plain, fresh_name: Callable[[], str], tmp_path: Path
) -> None:
    """Each command reads, changes and writes with the fingerprint that it read."""
    name = fresh_name()
    plain.machine(name, labels={"env": "test"})
    machine = cloud.machines()[name]
    gcloud.done("instances", "add-labels", name, "--labels=team=blue,size=small")
    assert cloud.tags(machine) == {"env": "test", "team": "blue", "size": "small"}
    gcloud.done("instances", "remove-labels", name, "--labels=team")
    gcloud.done("instances", "update", name, "--update-labels=env=prod", "--remove-labels=size")
    assert cloud.tags(machine) == {"env": "prod"}

    script = "#!/bin/sh\necho 'hello, world'\n"
    (tmp_path / "startup.sh").write_text(script)
    given = (f"--metadata-from-file=startup-script={tmp_path}/startup.sh", "--metadata=colour=blue")
    gcloud.done("instances", "add-metadata", name, *given)
    assert script.encode() in cloud.user_data(machine)
    gcloud.done("instances", "add-tags", name, "--tags=web,db")
    shown = gcloud.shown("instances", "describe", name)
    assert shown["labels"] == {"env": "prod"}
    assert shown["tags"]["items"] == ["db", "web"]
    assert {item["key"]: item["value"] for item in shown["metadata"]["items"]} == {
        "colour": "blue",
        "startup-script": script,
    }

    gcloud.done("instances", "remove-metadata", name, "--keys=colour,startup-script")
    gcloud.done("instances", "remove-tags", name, "--all")
    gcloud.done("instances", "remove-labels", name, "--all")
    shown = gcloud.shown("instances", "describe", name)
    assert ("labels" in shown, "items" in shown["tags"], "items" in shown["metadata"]) == (False, False, False)
    assert (script.encode() in cloud.user_data(machine), cloud.tags(machine)) == (False, {})
    plain.no_machine(name)


def test_a_machine_gets_another_size_and_name(
    gcloud: Gcloud, cloud: Cloud, plain: Plain, demo: Demo, fresh_name: Callable[[], str]
) -> None:
    """While it is stopped; a running one is refused with the reason."""
    name, other = fresh_name(), fresh_name()
    plain.machine(name)
    said = gcloud.refused("instances", "set-machine-type", name, "--machine-type=medium-instance")
    assert "stop" in said.lower()
    assert cloud.machines()[name]["serviceofferingname"] == "Small Instance"
    gcloud.done("instances", "stop", name)
    gcloud.done("instances", "set-machine-type", name, "--machine-type=medium-instance")
    assert cloud.machines()[name]["serviceofferingname"] == "Medium Instance"
    gcloud.done("instances", "set-machine-type", name, "--custom-cpu=2", "--custom-memory=3GB")
    machine = cloud.machines()[name]
    assert (machine["cpunumber"], machine["memory"]) == (2, 3072)
    gcloud.done("instances", "set-name", name, f"--new-name={other}")
    assert cloud.states(name, other) == [None, "Stopped"]
    shown = gcloud.shown("instances", "describe", other)
    assert (shown["machineType"].rpartition("/")[2], shown["name"]) == ("custom-2-3072", other)
    assert shown["disks"][0]["source"].endswith(f"/zones/{demo.zone}/disks/{other}")
    gcloud.done("instances", "start", other)
    assert cloud.states(other) == ["Running"]
    plain.no_machine(other)


def test_what_is_kept_for_clients_alone(
    gcloud: Gcloud, cloud: Cloud, plain: Plain, fresh_name: Callable[[], str]
) -> None:
    """Scheduling and service account: CloudStack has neither, and gcloud reads back what it wrote."""
    name = fresh_name()
    plain.machine(name)
    gcloud.done("instances", "set-scheduling", name, "--no-restart-on-failure")
    gcloud.done("instances", "set-scheduling", name, "--maintenance-policy=TERMINATE")
    gcloud.done("instances", "set-service-account", name, "--service-account=me@example.org", "--scopes=cloud-platform")
    shown = gcloud.shown("instances", "describe", name)
    assert (shown["scheduling"]["automaticRestart"], shown["scheduling"]["onHostMaintenance"]) == (False, "TERMINATE")
    assert [account["email"] for account in shown["serviceAccounts"]] == ["me@example.org"]
    assert cloud.states(name) == ["Running"]
    plain.no_machine(name)


def test_what_cloudstack_cannot_do_is_told_at_once(
    gcloud: Gcloud, cloud: Cloud, plain: Plain, fresh_name: Callable[[], str]
) -> None:
    """In a sentence that says what to do instead, and without half a minute of repeats."""
    name = fresh_name()
    plain.machine(name)
    for words, expected in (
        (["suspend", name], "CloudStack cannot suspend a machine; stop it instead."),
        (["resume", name], "start it instead."),
        (["get-serial-port-output", name], "CloudStack records no output of serial ports."),
    ):
        assert expected in gcloud.refused("instances", *words)
        assert cloud.states(name) == ["Running"]
    plain.no_machine(name)
