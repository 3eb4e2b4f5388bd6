"""Requests that meet: of several that want the same, one has it, and the others are told so as by GCE."""

from __future__ import annotations

import asyncio

import pytest

from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.simulator.entities import PublicIp
from gceshim.testing.gce import Body, Gce
from tests.resources.holdings import Holdings
from tests.resources.requests import HERE, PROJECT, insert_body, made
from tests.simulator.api import Api

pytestmark = pytest.mark.gen_test

TAKEN = f"The resource 'projects/{PROJECT}/zones/sandbox-1-a/instances/same' already exists"


def outcome(operation: Body) -> tuple[str, str, int | None]:
    """Code and text of an operation's error, and its HTTP status."""
    (error,) = operation.get("error", {"errors": [{"code": "", "message": ""}]})["errors"]
    return error["code"], error["message"], operation.get("httpErrorStatusCode")


async def test_of_machines_of_one_name_made_at_once_one_is_made(gce: Gce, cloudstack: Simulator) -> None:
    """All pass the check of the name; CloudStack refuses the others in words that no client of GCE's knows."""
    await made(gce, insert_body("first"))
    begun = await asyncio.gather(
        *(gce.call("compute.instances.insert", **HERE, body=insert_body("same")) for _ in range(4))
    )
    ended = [outcome(await gce.done(operation)) for operation in begun]

    assert sorted(ended, key=str) == [("", "", None)] + [("RESOURCE_ALREADY_EXISTS", TAKEN, 409)] * 3
    assert sorted(vm.name for vm in cloudstack.vms("demo")) == ["first", "same"]


async def test_a_name_is_one_of_a_kind_in_all_networks(gce: Gce, cloudstack: Simulator) -> None:
    """CloudStack takes the same name in each network; in GCE a name is one machine's in its zone."""
    await asyncio.to_thread(make_networks, cloudstack, "blue", "red")
    bodies = [insert_body("same", network=f"global/networks/{name}") for name in ("blue", "red", "blue", "red")]
    begun = [gce.call("compute.instances.insert", **HERE, body=body) for body in bodies]
    ended = [outcome(await gce.done(operation)) for operation in await asyncio.gather(*begun)]

    assert sorted(ended, key=str) == [("", "", None)] + [("RESOURCE_ALREADY_EXISTS", TAKEN, 409)] * 3
    assert [vm.name for vm in cloudstack.vms("demo") if vm.state == "Running"] == ["same"]


class TestAddresses:
    """With calls to CloudStack that are given up soon."""

    @pytest.fixture
    def shim_settings(self) -> dict[str, float]:
        return {"driver.cloudstack.timeout_seconds": 1.0}

    async def test_machines_share_no_address_where_one_call_takes_too_long(
        self, gce: Gce, cloudstack: Simulator
    ) -> None:
        """
        An address is known only by being new and unmarked, as those of the others are; ours is yet to come.

        Who takes another's leaves one over when it does come.
        """
        await made(gce, insert_body("first"))
        cloudstack.faults.add("slow_reply", "associateIpAddress", times=1, seconds=2.0)
        cloudstack.faults.add("slow_job", "associateIpAddress", seconds=0.6)
        cloudstack.faults.add("slow_reply", "createTags", seconds=0.8)
        bodies = [insert_body(f"vm-{number}", external=True) for number in range(4)]
        begun = [gce.call("compute.instances.insert", **HERE, body=body) for body in bodies]
        ended = [outcome(await gce.done(operation)) for operation in await asyncio.gather(*begun)]

        assert ended == [("", "", None)] * 4
        held = [ip for ip in cloudstack.inspect.rows(PublicIp) if not ip.source_nat]
        assert sorted(ip.static_nat_vm.name if ip.static_nat_vm else "" for ip in held) == [
            f"vm-{number}" for number in range(4)
        ]


def make_networks(cloudstack: Simulator, *names: str) -> None:
    """Isolated networks of the account's, made by CloudStack's own API."""
    api = Api(cloudstack.endpoint, *cloudstack.keys("demo"))
    try:
        (zone,) = [row for row in api.call("listZones")["zone"] if row["name"] == "Sandbox 1"]
        offerings = api.call("listNetworkOfferings", guestiptype="Isolated", forvpc=False, state="Enabled")
        (offering, *_) = [row for row in offerings["networkoffering"] if row["availability"] == "Required"]
        for name in names:
            api.call("createNetwork", name=name, displaytext=name, zoneid=zone["id"], networkofferingid=offering["id"])
    finally:
        api.close()


GONE = "Instance 'short' was deleted while it was made"


class TestDeletionMeanwhile:
    @pytest.fixture
    def cloudstack_settings(self) -> SimulatorSettings:
        return SimulatorSettings(job_seconds=0.02)

    @pytest.mark.parametrize(
        "command",
        ["deployVirtualMachine", "attachVolume", "associateIpAddress", "enableStaticNat", "createTags"],
    )
    async def test_a_machine_that_is_deleted_while_it_is_made(
        self, gce: Gce, cloudstack: Simulator, command: str
    ) -> None:
        """Whoever waits for the insertion is told what became of it, not what CloudStack missed."""
        await made(gce, insert_body("first"))
        before = Holdings(cloudstack)
        body = insert_body("short", external=True, labels={"a": "b"})
        body["disks"].append({"autoDelete": True, "initializeParams": {"diskName": "more", "diskSizeGb": "3"}})
        calls = cloudstack.call_counts[command]
        fault = "slow_reply" if command == "enableStaticNat" else "slow_job"
        cloudstack.faults.add(fault, command, times=1, seconds=1.5)
        insertion = await gce.call("compute.instances.insert", **HERE, body=body)
        while cloudstack.call_counts[command] == calls or not [vm for vm in cloudstack.vms() if vm.name == "short"]:
            await gce.call("compute.zones.list", project=PROJECT)
        deletion = await gce.done(await gce.call("compute.instances.delete", **HERE, instance="short"))
        told = outcome(await gce.done(insertion))

        assert told == ("RESOURCE_NOT_FOUND", GONE, 404)
        assert (outcome(deletion), before.changes()) == (("", "", None), [])
