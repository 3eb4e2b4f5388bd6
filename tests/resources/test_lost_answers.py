"""A connection that breaks, or an answer that makes no sense, fails no operation and leaves nothing behind."""

from __future__ import annotations

import pytest

from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.simulator.entities import FirewallRule, PublicIp
from gceshim.testing.gce import Gce
from tests.lab.mutations import rule_body
from tests.resources.requests import HERE, changed, failed, insert_body, made

pytestmark = pytest.mark.gen_test

CHANGES = (
    "deployVirtualMachine",
    "associateIpAddress",
    "createTags",
    "enableStaticNat",
    "stopVirtualMachine",
    "startVirtualMachine",
    "rebootVirtualMachine",
    "destroyVirtualMachine",
    "disassociateIpAddress",
)
READS = ("listVirtualMachines", "listPublicIpAddresses", "queryAsyncJobResult")


@pytest.fixture
def cloudstack_settings() -> SimulatorSettings:
    """Jobs take long enough for who looks at once to find them under way."""
    return SimulatorSettings(job_seconds=0.1)


@pytest.mark.parametrize("fault", ["lost_reply", "connection_reset", "garbage_reply"])
@pytest.mark.parametrize("command", CHANGES)
async def test_a_change_whose_answer_is_lost_is_done_once(
    command: str, fault: str, gce: Gce, cloudstack: Simulator
) -> None:
    """Whether it took effect is looked for; if not, it is asked for again."""
    cloudstack.faults.add(fault, command, 1)
    await live(gce, cloudstack)


@pytest.mark.parametrize("command", READS)
async def test_an_error_of_cloudstacks_own_while_reading_is_no_failure(
    command: str, gce: Gce, cloudstack: Simulator
) -> None:
    """Asking about a job in vain says nothing of the job."""
    await made(gce, insert_body("first"))
    cloudstack.faults.add("error_rate", command, 2)
    await live(gce, cloudstack)


async def test_a_machine_that_could_not_be_finished_is_removed_at_the_second_try(
    gce: Gce, cloudstack: Simulator
) -> None:
    """An error of CloudStack's own in the middle of tidying up is no reason to leave a machine behind."""
    cloudstack.faults.add("failing_job", "createTags", 1, skip=1)  # the first tag is the network's
    cloudstack.faults.add("failing_job", "destroyVirtualMachine", 1)
    operation = await failed(gce, "compute.instances.insert", body=insert_body("vm-1", labels={"env": "test"}))

    assert "left behind" not in operation["error"]["errors"][0]["message"]
    assert cloudstack.vms("demo") == []


async def test_a_rule_that_could_not_be_changed_is_in_force_as_before(gce: Gce, cloudstack: Simulator) -> None:
    """CloudStack fails again while what was changed already is taken back."""
    there = {"project": HERE["project"]}
    await made(gce, insert_body("vm-1", external=True))
    await changed(gce, "compute.firewalls.insert", at=there, body=rule_body("rule", 7000))
    cloudstack.faults.add("error_rate", "deleteFirewallRule", times=3)
    body = {"allowed": [{"IPProtocol": "tcp", "ports": ["9000"]}]}
    operation = await failed(gce, "compute.firewalls.patch", at=there, firewall="rule", body=body)

    assert "left behind" not in operation["error"]["errors"][0]["message"]
    openings = [row for row in cloudstack.inspect.rows(FirewallRule) if row.ip is not None]
    assert [(row.start_port, row.end_port) for row in openings] == [(7000, 7000)]


async def live(gce: Gce, cloudstack: Simulator) -> None:
    """The life of a machine with a public address: one machine, one address, and nothing of it at the end."""
    before = len(cloudstack.vms("demo"))
    await made(gce, insert_body("vm-1", external=True, labels={"env": "test"}))
    assert [vm.state for vm in cloudstack.vms("demo") if vm.name == "vm-1"] == ["Running"]
    assert len([ip for ip in cloudstack.inspect.rows(PublicIp) if not ip.source_nat]) == 1

    for verb in ("stop", "start", "reset", "delete"):
        await changed(gce, f"compute.instances.{verb}", instance="vm-1")
    assert len(cloudstack.vms("demo")) == before
    assert [ip.address for ip in cloudstack.inspect.rows(PublicIp) if not ip.source_nat] == []
    assert (await gce.error("compute.instances.get", **HERE, instance="vm-1"))["code"] == 404
