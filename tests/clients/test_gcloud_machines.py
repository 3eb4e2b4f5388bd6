"""gcloud: the life of machines, and after each step what CloudStack holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.demo import Cloud, Demo
from tests.clients.gcloud import Gcloud
from tests.clients.plain import Plain

pytestmark = pytest.mark.usefixtures("nothing_left")

DEBIAN = ("--image-family=debian-12", "--image-project=debian-cloud")


def test_the_life_of_a_machine(
    gcloud: Gcloud, cloud: Cloud, demo: Demo, fresh_name: Callable[[], str], tmp_path: Path
) -> None:
    """Made, found, read, stopped, started, reset and deleted; each word of its making arrives."""
    name = fresh_name()
    script = "#!/bin/sh\necho 'hello, world' > /etc/motd\n"
    (tmp_path / "startup.sh").write_text(script)
    link = f"{demo.url}/compute/v1/projects/{demo.project}/zones/{demo.zone}/instances/{name}"

    created = gcloud.done(
        *("instances", "create", name, *DEBIAN, "--machine-type=small-instance", "--labels=env=test,team=blue"),
        *("--tags=web,db", "--metadata=colour=blue", f"--metadata-from-file=startup-script={tmp_path}/startup.sh"),
    )
    machine = cloud.machines()[name]
    address = machine["nic"][0]["ipaddress"]
    assert f"Created [{link}]." in created.errors
    assert [row[:4] + row[-1:] for row in created.table] == [[name, demo.zone, "small-instance", address, "RUNNING"]]
    assert (machine["state"], machine["account"], machine["zonename"]) == ("Running", demo.project, "Sandbox 1")
    assert (machine["serviceofferingname"], machine["templatename"]) == ("Small Instance", "Debian 12")
    tags = {tag["key"]: tag["value"] for tag in cloud.rows("listTags", resourceid=machine["id"])}
    assert {key: value for key, value in tags.items() if ":" not in key} == {"env": "test", "team": "blue"}
    assert script.encode() in cloud.user_data(machine)

    shown = gcloud.shown("instances", "describe", name)
    external = shown["networkInterfaces"][0]["accessConfigs"][0]["natIP"]
    assert (shown["status"], shown["selfLink"]) == ("RUNNING", link)
    assert (shown["labels"], shown["tags"]["items"]) == ({"env": "test", "team": "blue"}, ["db", "web"])
    assert shown["metadata"]["items"] == [
        {"key": "colour", "value": "blue"},
        {"key": "startup-script", "value": script},
    ]
    assert shown["networkInterfaces"][0]["networkIP"] == address
    assert created.table[0][4] == external
    assert external in [row["ipaddress"] for row in cloud.rows("listPublicIpAddresses")]

    row = [name, demo.zone, "small-instance", address, external, "RUNNING"]
    assert row in gcloud.done("instances", "list").table
    assert gcloud.done("instances", "list", f"--filter=name={name}").table == [row]
    narrow = gcloud.done("instances", "list", f"--zones={demo.zone}", f"--filter=name~^{name}$ AND status=TERMINATED")
    assert (narrow.table, "Listed 0 items." in narrow.errors) == ([], True)

    assert f"Updated [{link}]." in gcloud.done("instances", "stop", name).errors
    assert cloud.states(name) == ["Stopped"]
    stopped = gcloud.done("instances", "list", f"--zones={demo.zone}", f"--filter=name={name} AND status=TERMINATED")
    assert [row[-1] for row in stopped.table] == ["TERMINATED"]
    started = gcloud.done("instances", "start", name)
    assert f"Instance internal IP is {address}" in started.errors
    assert f"Instance external IP is {external}" in started.errors
    assert cloud.states(name) == ["Running"]
    assert f"Updated [{link}]." in gcloud.done("instances", "reset", name).errors
    assert cloud.states(name) == ["Running"]

    assert f"Deleted [{link}]." in gcloud.done("instances", "delete", name).errors
    assert cloud.states(name) == [None]

    operations = gcloud.done("operations", "list", f"--filter=targetLink:{name}").table
    assert sorted(row[1] for row in operations) == ["delete", "insert", "reset", "start", "stop"]
    assert {(row[2], *row[3:5]) for row in operations} == {(f"{demo.zone}/instances/{name}", "200", "DONE")}
    [stop] = [row[0] for row in operations if row[1] == "stop"]
    operation = gcloud.shown("operations", "describe", stop, f"--zone={demo.zone}")
    assert (operation["operationType"], operation["status"], operation["progress"]) == ("stop", "DONE", 100)
    assert (operation["targetLink"], operation["targetId"]) == (link, shown["id"])


def test_two_machines_at_once(gcloud: Gcloud, cloud: Cloud, demo: Demo, fresh_name: Callable[[], str]) -> None:
    """Two names make batches: of inserts, of waits, of gets; sizes of one's own and no address outside."""
    names = [fresh_name(), fresh_name()]
    before = len(cloud.holdings()["addresses"])
    size = ("--custom-cpu=2", "--custom-memory=3GB", "--no-address")
    created = gcloud.done("instances", "create", *names, *DEBIAN, *size)
    machines = cloud.machines()

    assert [row[0] for row in created.table] == names
    assert {tuple(row[1:3]) + tuple(row[4:]) for row in created.table} == {(demo.zone, "custom-2-3072", "RUNNING")}
    assert [(machines[name]["cpunumber"], machines[name]["memory"]) for name in names] == [(2, 3072)] * 2
    assert [row[3] for row in created.table] == [machines[name]["nic"][0]["ipaddress"] for name in names]
    assert cloud.states(*names) == ["Running", "Running"]
    assert len(cloud.holdings()["addresses"]) == before
    gcloud.done("instances", "stop", *names)
    assert cloud.states(*names) == ["Stopped", "Stopped"]
    deleted = gcloud.done("instances", "delete", *names)
    assert deleted.errors.count("Deleted [") == 2
    assert cloud.states(*names) == [None, None]


def test_a_machine_of_which_nothing_is_said(
    gcloud: Gcloud, cloud: Cloud, plain: Plain, demo: Demo, fresh_name: Callable[[], str]
) -> None:
    """gcloud's own defaults: Debian 12, n1-standard-1, the default network, an address outside."""
    name = fresh_name()
    created = gcloud.done("instances", "create", name)
    machine = cloud.machines()[name]

    assert created.table[0][:3] == [name, demo.zone, "n1-standard-1"]
    assert (machine["templatename"], machine["cpunumber"], machine["memory"]) == ("Debian 12", 1, 3840)
    plain.no_machine(name)


def test_a_machine_in_a_zone_of_security_groups(gcloud: Gcloud, cloud: Cloud, fresh_name: Callable[[], str]) -> None:
    """Where machines are reached as they are, no public address is taken for one; its zone comes from the list."""
    name, zone = fresh_name(), "sandbox-sg-a"
    before = cloud.holdings()["addresses"]
    created = gcloud.done("instances", "create", name, f"--zone={zone}", "--machine-type=medium-instance", *DEBIAN)
    machine = cloud.machines()[name]
    address = machine["nic"][0]["ipaddress"]

    assert created.table == [[name, zone, "medium-instance", address, address, "RUNNING"]]
    assert (machine["state"], machine["zonename"]) == ("Running", "Sandbox SG")
    assert cloud.holdings()["addresses"] == before
    assert [row[1] for row in gcloud.done("instances", "list", f"--filter=name={name}").table] == [zone]
    gcloud.done("instances", "delete", name, f"--zone={zone}")
    assert cloud.states(name) == [None]


def test_a_name_that_is_taken_is_refused(
    gcloud: Gcloud, cloud: Cloud, plain: Plain, demo: Demo, fresh_name: Callable[[], str]
) -> None:
    """Nothing is made over or beside the machine that has it."""
    name = fresh_name()
    plain.machine(name)
    first = cloud.machines()[name]["id"]
    said = gcloud.refused("instances", "create", name, "--no-address")

    path = f"projects/{demo.project}/zones/{demo.zone}/instances/{name}"
    assert said.splitlines() == [
        "ERROR: (gcloud.compute.instances.create) Could not fetch resource:",
        f" - The resource '{path}' already exists",
    ]
    assert [row["id"] for row in cloud.rows("listVirtualMachines") if row["name"] == name] == [first]
    plain.no_machine(name)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["create", "{name}", "--zone=nowhere-a"], "nowhere-a"),
        (["create", "{name}", "--image-family=debian-99", "--image-project=debian-cloud"], "debian-99"),
        (["create", "{name}", "--machine-type=e9-vast"], "e9-vast"),
        (["stop", "{name}"], "/instances/{name}' was not found"),
        (["delete", "{name}"], "/instances/{name}' was not found"),
    ],
)
def test_what_is_not_there_is_told_in_the_servers_words(
    gcloud: Gcloud, fresh_name: Callable[[], str], words: list[str], expected: str
) -> None:
    """gcloud prints the message alone, so it has to name what is wrong; and nothing is made."""
    name = fresh_name()
    said = gcloud.refused("instances", *(word.format(name=name) for word in words))

    assert expected.format(name=name) in said


def test_a_wrong_token_opens_nothing(gcloud: Gcloud, fresh_name: Callable[[], str], tmp_path: Path) -> None:
    """And is called what it is."""
    (tmp_path / "token").write_text("no.such.token\n")
    said = gcloud.refused("instances", "create", fresh_name(), f"--access-token-file={tmp_path}/token")

    assert said.splitlines() == [
        "ERROR: (gcloud.compute.instances.create) Could not fetch resource:",
        " - Invalid Credentials",
    ]
