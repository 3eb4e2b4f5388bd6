"""What of a filter CloudStack does: seen by the calls it gets; and lists by zones of which one cannot be read."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.testing.gce import Body, Gce
from tests.resources.requests import HERE, PROJECT, ZONE, changed

MACHINES = 1_200

pytestmark = pytest.mark.gen_test


@pytest.fixture
def cloudstack_settings() -> SimulatorSettings:
    """More machines than two pages of CloudStack's hold."""
    return SimulatorSettings(machines=MACHINES, job_seconds=0.0)


class Calls:
    """The commands since the last look."""

    def __init__(self, cloudstack: Simulator) -> None:
        self._counts = cloudstack.cloud.call_counts
        self._before = Counter(self._counts)

    def __call__(self) -> Counter[str]:
        since = Counter(self._counts) - self._before
        self._before = Counter(self._counts)
        return since


def names(answer: Body) -> list[str]:
    scopes = answer["items"].values() if isinstance(answer.get("items"), dict) else [{"items": answer.get("items", [])}]
    return sorted(
        item["name"] for scope in scopes for held in scope.values() if isinstance(held, list) for item in held
    )


async def found(gce: Gce, method_id: str, text: str, **parameters: Any) -> list[str]:
    """All pages."""
    answer = await gce.call(method_id, filter=text, **parameters)
    listed = names(answer)
    while "nextPageToken" in answer:
        answer = await gce.call(method_id, filter=text, **parameters, pageToken=answer["nextPageToken"])
        listed += names(answer)
    return sorted(listed)


async def test_a_machine_or_disk_is_looked_up_by_its_name(gce: Gce, cloudstack: Simulator) -> None:
    """One small call for it and one for its disks, and not a walk through all pages."""
    wanted = ["machine-00700"]
    calls = Calls(cloudstack)
    everywhere = {"project": PROJECT}
    await gce.call("compute.instances.get", **HERE, instance=wanted[0])  # what is remembered for a while
    calls()
    for text in (
        "name = machine-00700",
        "name eq ^machine-00700$",
        "(status eq RUNNING)(name eq machine-00700)",
        "name=machine-00700 AND status=RUNNING AND (id > 0 OR id = 1)",
    ):
        assert await found(gce, "compute.instances.list", text, **HERE) == wanted
        assert await found(gce, "compute.instances.aggregatedList", text, **everywhere) == wanted
        made = calls()
        assert made["listVirtualMachines"] == 2, text
        assert made["listVolumes"] <= 4, text
    assert await found(gce, "compute.disks.list", "name = machine-00700", **HERE) == wanted
    looked = calls()
    assert (looked["listVirtualMachines"], looked["listVolumes"]) == (1, 2)
    assert await found(gce, "compute.instances.list", "name = machine-00700 status = TERMINATED", **HERE) == []
    assert calls()["listVirtualMachines"] == 1


async def test_what_is_not_asked_of_every_match_is_not_left_to_cloudstack(gce: Gce, cloudstack: Simulator) -> None:
    """The same is found the long way."""
    calls = Calls(cloudstack)
    for text in (
        "-(name != machine-00700)",
        "name = machine-00700 OR name = none",
        r'name eq ".*\bmachine\-00700\b.*"',
        "name = machine-0070*  -name:*1 name <= machine-00700",
    ):
        assert await found(gce, "compute.instances.list", text, **HERE) == ["machine-00700"], text
        assert calls()["listVirtualMachines"] >= 3, text


async def test_what_a_get_takes_for_a_name_is_none_in_a_filter(gce: Gce, cloudstack: Simulator) -> None:
    """The number of a machine, and the name that it had while another had its own: no list shows it by either."""
    name = "machine-00700"
    backend_id = next(vm.uuid for vm in cloudstack.vms("demo") if vm.name == name)
    vm = await gce.call("compute.instances.get", **HERE, instance=name)
    disk = await gce.call("compute.disks.get", **HERE, disk=name)
    once = f"{name}-{backend_id[:8]}"
    assert (await gce.call("compute.instances.get", **HERE, instance=once))["id"] == vm["id"]
    everywhere = {"project": PROJECT}
    calls = Calls(cloudstack)
    for text in (f"name = {vm['id']}", f"name eq {disk['id']}", "name = ''", f"name = {name.upper()}"):
        for collection in ("instances", "disks"):
            assert await found(gce, f"compute.{collection}.list", text, **HERE) == []
            assert await found(gce, f"compute.{collection}.aggregatedList", text, **everywhere) == []
    assert (calls()["listVirtualMachines"], calls()["listVolumes"]) == (0, 0)
    assert await found(gce, "compute.instances.list", f"name = {once}", **HERE) == []
    assert await found(gce, "compute.instances.aggregatedList", f"name = {once}", **everywhere) == []


@pytest.mark.parametrize("collection", ["instances", "disks"])
async def test_names_that_two_share_are_found_as_they_are_shown(
    gce: Gce, cloudstack: Simulator, collection: str
) -> None:
    """Whichever of them is asked for, and nothing by a name that only looks alike."""
    for vm, name in zip(cloudstack.vms("demo"), ("My VM", "my-vm", "MY_VM", "1abc", "ünïcode", "x-1abc"), strict=False):
        vm.name = vm.display_name = name
    method = f"compute.{collection}.list"
    shown = await found(gce, method, "name = my* OR name = x* OR name = uni*", **HERE)
    assert len(shown) == 6
    ids = [vm.uuid[:8] for vm in list(cloudstack.vms("demo"))[:6]]
    for name in [*shown, "my", "x", *(f"{base}-{tail}" for base in ("my-vm", "x-1abc", "unicode") for tail in ids)]:
        wanted = [name] if name in shown else []
        assert await found(gce, method, f"name = {name}", **HERE) == wanted
        assert await found(gce, f"compute.{collection}.aggregatedList", f"name={name}", project=PROJECT) == wanted


async def test_a_label_and_a_zone_are_left_to_cloudstack(gce: Gce, cloudstack: Simulator) -> None:
    """CloudStack looks for one label; the other is looked at here."""
    labels = {"env": "prod", "team": "a"}
    for name, held in (("machine-00700", labels), ("machine-01100", {"env": "prod"})):
        before = await gce.call("compute.instances.get", **HERE, instance=name)
        body = {"labels": held, "labelFingerprint": before["labelFingerprint"]}
        await changed(gce, "compute.instances.setLabels", instance=name, body=body)
    calls = Calls(cloudstack)
    both = ["machine-00700", "machine-01100"]
    assert await found(gce, "compute.instances.list", "labels.env = prod", **HERE) == both
    assert await found(gce, "compute.instances.list", "labels.env = prod labels.team = a", **HERE) == both[:1]
    assert calls()["listVirtualMachines"] == 2
    assert await found(gce, "compute.instances.list", "labels.env:* labels.env = p*", **HERE) == both
    assert calls()["listVirtualMachines"] >= 3
    there = f"projects/{PROJECT}/zones/{ZONE}"
    assert (
        await found(gce, "compute.instances.aggregatedList", f"zone = {there} labels.env=prod", project=PROJECT) == both
    )
    assert calls()["listVirtualMachines"] == 1
    assert (
        await found(gce, "compute.instances.aggregatedList", "zone = projects/demo/zones/none", project=PROJECT) == []
    )
    assert calls()["listVirtualMachines"] == 0


async def test_a_page_token_is_for_one_method(gce: Gce) -> None:
    """Machines and disks are both kept by rows: a place in the one list would be a place in the other."""
    first = await gce.call("compute.instances.list", **HERE, maxResults=1)
    token = first["nextPageToken"]
    error = await gce.error("compute.disks.list", **HERE, maxResults=1, pageToken=token)

    assert (error["code"], "'pageToken'" in error["message"]) == (400, True)
    assert (await gce.call("compute.instances.list", **HERE, maxResults=1, pageToken=token))["items"]


async def test_a_zone_that_cannot_be_read_is_told_of(gce: Gce, cloudstack: Simulator) -> None:
    """With `returnPartialSuccess`, in its own scope and by name; gcloud prints the text. Without, it is an error."""
    cloudstack.faults.add("http_error", command="listServiceOfferings", status=503, skip=1)
    part = await gce.call("compute.machineTypes.aggregatedList", project=PROJECT, returnPartialSuccess=True)
    scopes = part["items"]
    lost = [scope for scope, held in scopes.items() if held.get("warning", {}).get("code") == "UNREACHABLE"]

    assert len(scopes) == 2
    assert len(lost) == 1
    assert scopes[lost[0]]["warning"]["message"]
    assert scopes[lost[0]]["warning"]["data"] == [{"key": "scope", "value": lost[0]}]
    assert part["unreachables"] == [f"projects/{PROJECT}/{lost[0]}"]
    assert all(held["machineTypes"] for scope, held in scopes.items() if scope not in lost)

    error = await gce.error("compute.machineTypes.aggregatedList", project=PROJECT)
    assert (error["code"], error["errors"][0]["reason"]) == (503, "backendError")
    cloudstack.faults.clear()
    whole = await gce.call("compute.machineTypes.aggregatedList", project=PROJECT, returnPartialSuccess=True)
    assert all(held["machineTypes"] for held in whole["items"].values())
    assert "unreachables" not in whole


async def test_scopes_without_results_on_a_page_say_so(gce: Gce) -> None:
    """Each scope is there on each page: clients take a scope that is missing for one that does not exist."""
    first = await gce.call("compute.instances.aggregatedList", project=PROJECT, maxResults=1)
    empty = await gce.call(
        "compute.instances.aggregatedList", project=PROJECT, filter="name=none", includeAllScopes=True
    )

    assert {scope: list(held) for scope, held in first["items"].items()} == {
        f"zones/{ZONE}": ["instances"],
        "zones/sandbox-sg-a": ["warning"],
    }
    assert {held["warning"]["code"] for held in empty["items"].values()} == {"NO_RESULTS_ON_PAGE"}
    assert set(empty["items"]) == {
        "global",
        "regions/sandbox-1",
        "regions/sandbox-sg",
        "zones/sandbox-1-a",
        "zones/sandbox-sg-a",
    }
