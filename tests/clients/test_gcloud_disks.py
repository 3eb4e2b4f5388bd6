"""gcloud: disks, alone and with their machines, and after each step what CloudStack holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.clients.demo import Cloud, Demo
from tests.clients.gcloud import Gcloud
from tests.clients.plain import Plain

pytestmark = pytest.mark.usefixtures("nothing_left")

GIB = 1024**3


def test_the_life_of_a_disk(gcloud: Gcloud, cloud: Cloud, demo: Demo, fresh_name: Callable[[], str]) -> None:
    """Made, found, read, labelled, made larger twice, and deleted."""
    name = fresh_name()
    link = f"{demo.url}/compute/v1/projects/{demo.project}/zones/{demo.zone}/disks/{name}"
    created = gcloud.done(
        *("disks", "create", name, "--size=12GB", "--type=pd-ssd", "--labels=env=test,team=blue"),
        "--description=for the database",
    )
    volume = cloud.volumes()[name]
    assert f"Created [{link}]." in created.errors
    assert created.table == [[name, demo.zone, "12", "pd-ssd", "READY"]]
    assert (volume["size"], volume["zonename"], volume["diskofferingname"]) == (12 * GIB, "Sandbox 1", "Custom")
    assert cloud.tags(volume) == {"env": "test", "team": "blue"}

    assert gcloud.done("disks", "list", f"--filter=name={name}").table == [
        [name, demo.zone, "zone", "12", "pd-ssd", "READY"]
    ]
    shown = gcloud.shown("disks", "describe", name)
    assert (shown["description"], shown["labels"]) == ("for the database", {"env": "test", "team": "blue"})
    assert (shown["selfLink"], shown["type"].rpartition("/")[2], "users" in shown) == (link, "pd-ssd", False)

    assert f"Updated [{link}]." in gcloud.done("disks", "resize", name, "--size=15GB").errors
    assert cloud.volumes()[name]["size"] == 15 * GIB
    gcloud.done("disks", "update", name, "--size=20", "--update-labels=env=prod", "--remove-labels=team")
    assert (cloud.volumes()[name]["size"], cloud.tags(volume)) == (20 * GIB, {"env": "prod"})
    said = gcloud.refused("disks", "resize", name, "--size=10GB")
    assert "it can only be made larger" in said.lower()

    assert f"Deleted [{link}]." in gcloud.done("disks", "delete", name).errors
    assert name not in cloud.volumes()


def test_two_disks_of_which_nothing_is_said(
    gcloud: Gcloud, cloud: Cloud, demo: Demo, fresh_name: Callable[[], str]
) -> None:
    """A batch; gcloud's own size, the server's own type, and a name that is taken afterwards."""
    names = [fresh_name(), fresh_name()]
    created = gcloud.done("disks", "create", *names)
    assert created.table == [[name, demo.zone, "500", "pd-standard", "READY"] for name in names]
    assert [cloud.volumes()[name]["size"] for name in names] == [500 * GIB] * 2
    said = gcloud.refused("disks", "create", names[0])
    path = f"projects/{demo.project}/zones/{demo.zone}/disks/{names[0]}"
    assert said.splitlines()[-1] == f" - The resource '{path}' already exists"
    assert gcloud.done("disks", "delete", *names).errors.count("Deleted [") == 2
    assert cloud.volumes().keys().isdisjoint(names)


def test_a_machine_with_disks_of_all_kinds(
    gcloud: Gcloud, cloud: Cloud, plain: Plain, fresh_name: Callable[[], str]
) -> None:
    """A boot disk of one's own size, new disks, one that is there; protected, and at its end each goes or stays."""
    name, new, old = fresh_name(), fresh_name(), fresh_name()
    plain.disk(old, size_gib=3)
    gcloud.done(
        *("instances", "create", name, "--no-address", "--boot-disk-size=25GB", "--boot-disk-type=pd-ssd"),
        *("--no-boot-disk-auto-delete", "--deletion-protection", f"--disk=name={old},device-name=old"),
        f"--create-disk=name={new},size=7GB,type=pd-balanced,device-name=new,auto-delete=yes",
    )
    machine, volumes = cloud.machines()[name], cloud.volumes()
    mine = {row["name"]: row["size"] for row in cloud.rows("listVolumes", virtualmachineid=machine["id"])}
    assert sorted(mine.values()) == [3 * GIB, 7 * GIB, 25 * GIB]
    assert (volumes[new]["vmname"], volumes[old]["vmname"], machine["deleteprotection"]) == (name, name, True)
    shown = gcloud.shown("instances", "describe", name)
    boot = shown["disks"][0]
    assert (boot["source"].rpartition("/")[2], boot["boot"], boot["autoDelete"], boot["diskSizeGb"]) == (
        name,
        True,
        False,
        "25",
    )
    assert {disk["deviceName"]: disk["autoDelete"] for disk in shown["disks"][1:]} == {"old": False, "new": True}
    disks = {disk["name"]: disk for disk in gcloud.shown("disks", "list", f"--filter=name:({name} {new} {old})")}
    kinds = {disk: item["type"].rpartition("/")[2] for disk, item in disks.items()}
    assert kinds == {name: "pd-ssd", new: "pd-balanced", old: "pd-standard"}
    assert [disk["users"] for disk in disks.values()] == [[shown["selfLink"]]] * 3

    said = gcloud.refused("instances", "delete", name)
    assert "protected against deletion" in said
    assert cloud.states(name) == ["Running"]
    gcloud.done("instances", "update", name, "--no-deletion-protection")
    gcloud.done("instances", "set-disk-auto-delete", name, f"--disk={old}", "--auto-delete")
    gcloud.done("instances", "set-disk-auto-delete", name, "--device-name=new", "--no-auto-delete")
    gcloud.done("instances", "delete", name)
    left = cloud.volumes()
    assert {disk: left[disk]["size"] for disk in (name, new, old) if disk in left} == {name: 25 * GIB, new: 7 * GIB}
    assert all("virtualmachineid" not in left[disk] for disk in (name, new))
    listed = [row[0] for row in gcloud.done("disks", "list", f"--filter=name:({name} {new} {old})").table]
    assert sorted(listed) == sorted([name, new])
    plain.no_disk(name, new)


def test_disks_come_to_a_machine_and_go(
    gcloud: Gcloud, cloud: Cloud, plain: Plain, demo: Demo, fresh_name: Callable[[], str]
) -> None:
    """Attached and detached by their names; deleted with the machine or kept, as the command says."""
    name, first, second = fresh_name(), fresh_name(), fresh_name()
    plain.disk(first, second, size_gib=4)
    plain.machine(name)
    gcloud.done("instances", "attach-disk", name, f"--disk={first}")
    gcloud.done("instances", "attach-disk", name, f"--disk={second}", "--device-name=db")
    volumes = cloud.volumes()
    assert [volumes[disk].get("vmname") for disk in (first, second)] == [name, name]
    said = gcloud.refused("disks", "delete", first)
    assert "is already being used by" in said
    assert f"/instances/{name}'" in said
    gcloud.done("instances", "detach-disk", name, f"--disk={first}")
    assert "vmname" not in cloud.volumes()[first]
    said = gcloud.refused("instances", "detach-disk", name, "--device-name=nope")
    assert "nope" in said
    attached = gcloud.shown("instances", "describe", name)["disks"]
    assert [disk["deviceName"] for disk in attached] == ["persistent-disk-0", "db"]

    gcloud.done("instances", "delete", name, "--keep-disks=data", f"--zone={demo.zone}")
    assert cloud.states(name) == [None]
    assert {disk for disk in (first, second) if disk in cloud.volumes()} == {first, second}
    gcloud.done("instances", "create", name, "--no-address", f"--disk=name={first}")
    gcloud.done("instances", "delete", name, "--delete-disks=all")
    assert {disk for disk in (first, second) if disk in cloud.volumes()} == {second}
    plain.no_disk(second)
