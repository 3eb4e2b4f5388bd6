"""google-api-python-client: disks, rules, and what can be changed about a machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from googleapiclient.errors import HttpError

from tests.clients.demo import IMPLIED, Cloud, Demo
from tests.clients.test_google_api_python_client import Body, Requests, built, machine, status_and_error

pytestmark = pytest.mark.usefixtures("nothing_left")

GIB = 1024**3
NETWORK = "plain-rules"


class Compute:
    """The client, and waits for what it begins."""

    def __init__(self, demo: Demo) -> None:
        self.http = Requests(demo.token)
        self.api = built(demo, self.http)
        self.here = {"project": demo.project, "zone": demo.zone}

    def ended(self, request: Any) -> Body:
        """Carry out a request, and give its operation once it is done."""
        operation: Body = request.execute()
        while operation["status"] != "DONE":
            if "zone" in operation:
                operation = self.api.zoneOperations().wait(operation=operation["name"], **self.here).execute()
            else:
                project = self.here["project"]
                operation = self.api.globalOperations().wait(operation=operation["name"], project=project).execute()
        return operation

    def done(self, request: Any) -> Body:
        """The same, and it has gone well."""
        operation = self.ended(request)
        assert "error" not in operation, operation
        return operation


@pytest.fixture
def compute(demo: Demo) -> Any:
    """The client of the demo's own account."""
    compute = Compute(demo)
    yield compute
    compute.http.close()


def test_the_life_of_a_disk(compute: Compute, cloud: Cloud, fresh_name: Callable[[], str]) -> None:
    """Made, found, labelled, made larger and deleted."""
    name, here, disks = fresh_name(), compute.here, compute.api.disks()
    body = {"name": name, "sizeGb": "12", "labels": {"env": "test"}, "type": f"zones/{here['zone']}/diskTypes/pd-ssd"}
    operation = compute.done(disks.insert(**here, body=body))
    disk = disks.get(**here, disk=name).execute()
    assert (operation["targetId"], disk["kind"], disk["status"], disk["sizeGb"]) == (
        disk["id"],
        "compute#disk",
        "READY",
        "12",
    )
    assert disks.list(**here, filter=f"name={name}", fields="items(name,sizeGb)").execute() == {
        "items": [{"name": name, "sizeGb": "12"}]
    }
    spread = disks.aggregatedList(project=here["project"]).execute()["items"]
    assert name in [item["name"] for item in spread[f"zones/{here['zone']}"]["disks"]]
    labels = {"labelFingerprint": disk["labelFingerprint"], "labels": {"env": "prod"}}
    compute.done(disks.setLabels(**here, resource=name, body=labels))
    with pytest.raises(HttpError) as raised:
        disks.setLabels(**here, resource=name, body=labels).execute()
    assert status_and_error(raised)[:2] == (412, "conditionNotMet")
    compute.done(disks.resize(**here, disk=name, body={"sizeGb": "20"}))
    assert (cloud.volumes()[name]["size"], cloud.tags(cloud.volumes()[name])) == (20 * GIB, {"env": "prod"})
    compute.done(disks.delete(**here, disk=name))
    with pytest.raises(HttpError) as raised:
        disks.get(**here, disk=name).execute()
    assert status_and_error(raised)[:2] == (404, "notFound")
    kinds = compute.api.diskTypes()
    assert kinds.get(**here, diskType="pd-ssd").execute() in kinds.list(**here).execute()["items"]


def test_a_machine_and_its_disks_are_changed(compute: Compute, cloud: Cloud, fresh_name: Callable[[], str]) -> None:
    """Each verb, with the names of the document."""
    name, new, old = fresh_name(), fresh_name(), fresh_name()
    here, instances = compute.here, compute.api.instances()
    at = {**here, "instance": name}
    compute.done(compute.api.disks().insert(**here, body={"name": old, "sizeGb": "3"}))
    body = machine(name, here["zone"])
    body["disks"].append({"initializeParams": {"diskName": new, "diskSizeGb": "7"}, "deviceName": "new"})
    compute.done(instances.insert(**here, body=body))
    compute.done(instances.attachDisk(**at, body={"source": f"zones/{here['zone']}/disks/{old}", "autoDelete": True}))
    shown = instances.get(**at).execute()
    assert {disk["source"].rpartition("/")[2]: disk["autoDelete"] for disk in shown["disks"]} == {
        name: True,
        new: False,
        old: True,
    }
    labels = {"labelFingerprint": shown["labelFingerprint"], "labels": {"env": "test"}}
    compute.done(instances.setLabels(**at, body=labels))
    metadata = {"fingerprint": shown["metadata"]["fingerprint"], "items": [{"key": "colour", "value": "blue"}]}
    compute.done(instances.setMetadata(**at, body=metadata))
    compute.done(instances.setTags(**at, body={"fingerprint": shown["tags"]["fingerprint"], "items": ["web"]}))
    compute.done(instances.setScheduling(**at, body={"automaticRestart": False}))
    compute.done(instances.setDeletionProtection(**here, resource=name, deletionProtection=True))
    for verb, change in (("setLabels", labels), ("setMetadata", metadata)):
        with pytest.raises(HttpError) as raised:
            getattr(instances, verb)(**at, body=change).execute()
        assert status_and_error(raised)[:2] == (412, "conditionNotMet")
    shown = instances.get(**at).execute()
    assert (shown["labels"], shown["tags"]["items"], shown["metadata"]["items"]) == (
        {"env": "test"},
        ["web"],
        metadata["items"],
    )
    assert (shown["scheduling"]["automaticRestart"], shown["deletionProtection"]) == (False, True)
    assert (cloud.tags(cloud.machines()[name]), cloud.machines()[name]["deleteprotection"]) == ({"env": "test"}, True)
    with pytest.raises(HttpError) as raised:
        instances.delete(**at).execute()
    assert status_and_error(raised)[:2] == (400, "invalid")
    body = {**shown, "deletionProtection": False, "labels": {}, "description": "second"}
    compute.done(instances.update(**at, body=body))
    shown = instances.get(**at).execute()
    assert (shown["deletionProtection"], "labels" in shown, shown["description"]) == (False, False, "second")

    compute.done(instances.stop(**at))
    size = {"machineType": f"zones/{here['zone']}/machineTypes/custom-2-4096"}
    compute.done(instances.setMachineType(**at, body=size))
    assert (cloud.machines()[name]["cpunumber"], cloud.machines()[name]["memory"]) == (2, 4096)
    compute.done(instances.detachDisk(**at, deviceName="new"))
    assert [cloud.volumes()[disk].get("vmname") for disk in (new, old)] == [None, name]
    compute.done(instances.delete(**at))
    assert {disk for disk in (name, new, old) if disk in cloud.volumes()} == {new}
    compute.done(compute.api.disks().delete(**here, disk=new))


def test_many_machines_at_once(compute: Compute, cloud: Cloud, fresh_name: Callable[[], str]) -> None:
    """The group's operations are found by a filter."""
    base, here = fresh_name(), compute.here
    properties = machine("x", here["zone"])
    del properties["name"]
    properties["machineType"] = "small-instance"
    body = {"count": "2", "namePattern": f"{base}-#", "instanceProperties": properties}
    operation = compute.done(compute.api.instances().bulkInsert(**here, body=body))
    expression = f'operationGroupId = "{operation["operationGroupId"]}"'
    listed = compute.api.zoneOperations().list(**here, filter=expression).execute()["items"]
    names = [f"{base}-1", f"{base}-2"]
    assert sorted(item["operationType"] for item in listed) == ["bulkInsert", "insert", "insert"]
    assert cloud.states(*names) == ["Running", "Running"]
    for name in names:
        compute.done(compute.api.instances().delete(**here, instance=name))


@pytest.fixture(scope="module")
def network(cloud: Cloud) -> str:
    """A network in a VPC."""
    cloud.vpc_made(NETWORK)
    return f"global/networks/{NETWORK}"


def test_firewall_rules(compute: Compute, cloud: Cloud, network: str) -> None:
    """Made, listed, patched, replaced and deleted; CloudStack's list follows."""
    project, firewalls = {"project": compute.here["project"]}, compute.api.firewalls()
    first = {"name": "plain-first", "network": network, "allowed": [{"IPProtocol": "tcp"}]}
    compute.done(firewalls.insert(**project, body=first))
    rule = {
        "name": "plain-web",
        "network": network,
        "direction": "EGRESS",
        "priority": 10,
        "denied": [{"IPProtocol": "tcp", "ports": ["25"]}],
        "destinationRanges": ["192.0.2.0/24"],
    }
    compute.done(firewalls.insert(**project, body=rule))
    shown = firewalls.get(**project, firewall="plain-web").execute()
    assert {name: shown[name] for name in rule if name != "network"} == {
        name: value for name, value in rule.items() if name != "network"
    }
    assert cloud.items(NETWORK)[0] == ("Deny", "Egress", "tcp:25-25", "192.0.2.0/24")
    listed = firewalls.list(**project, filter="name=plain-web").execute()
    assert listed["items"] == [shown]
    compute.done(firewalls.patch(**project, firewall="plain-web", body={"disabled": True}))
    assert "Deny" not in [item[0] for item in cloud.items(NETWORK)]
    compute.done(firewalls.update(**project, firewall="plain-web", body=rule))
    assert cloud.items(NETWORK)[0] == ("Deny", "Egress", "tcp:25-25", "192.0.2.0/24")
    with pytest.raises(HttpError) as raised:
        firewalls.insert(**project, body=rule).execute()
    assert status_and_error(raised)[:2] == (409, "alreadyExists")
    for name in ("plain-web", "plain-first"):
        compute.done(firewalls.delete(**project, firewall=name))
    assert cloud.items(NETWORK) == [IMPLIED]
