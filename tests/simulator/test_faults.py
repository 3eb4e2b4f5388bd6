"""Faults: each named one does what it says, for the calls it is meant for."""

import http.client
import json
import threading
import time

import pytest

from gceshim.simulator import FaultSettings


def test_slow_reply_waits(cloud):
    """Clients' timeouts are tested with it."""
    slow = cloud.sim.faults.add("slow_reply", "listZones", 1, seconds=0.15)
    began = time.monotonic()
    cloud.demo.call("listZones")
    assert time.monotonic() - began >= 0.15
    cloud.demo.call("listZones")
    assert slow.hits == 1


def test_slow_job_takes_longer(cloud):
    """The machine stays in between for that long."""
    cloud.sim.faults.add("slow_job", "deployVirtualMachine", 1, seconds=0.2)
    began = time.monotonic()
    cloud.machine("a")
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(("name", "code"), [("failing_job", 530), ("capacity", 533)])
def test_a_failing_job_leaves_an_error_behind(cloud, name, code):
    """HTTP 200 with a job, and the job fails; a machine that was being made is in state Error."""
    cloud.sim.faults.add(name, "deployVirtualMachine", 1, text="out of luck")
    failure = cloud.demo.job_refusal("deployVirtualMachine", **cloud.deploy_values(name="a"))
    assert (failure.status, failure.body["errortext"]) == (code, "out of luck")
    assert cloud.sim.vm("a").state == "Error"
    assert cloud.machine("b")["state"] == "Running"


def test_a_failing_start_leaves_the_machine_stopped(cloud):
    """And a failing stop leaves it running."""
    vm = cloud.machine("a")["id"]
    cloud.sim.faults.add("failing_job", times=2)
    assert cloud.demo.job_refusal("stopVirtualMachine", id=vm).status == 530
    assert cloud.sim.vm("a").state == "Running"
    cloud.sim.faults.clear()
    cloud.demo.run("stopVirtualMachine", id=vm)
    cloud.sim.faults.add("capacity", "startVirtualMachine", 1)
    assert cloud.demo.job_refusal("startVirtualMachine", id=vm).status == 533
    assert cloud.sim.vm("a").state == "Stopped"


def test_quota_full_is_at_once_for_create_commands(cloud):
    """As the real check is."""
    cloud.sim.faults.add("quota_full", "deployVirtualMachine", 1)
    assert cloud.demo.refusal("deployVirtualMachine", **cloud.deploy_values()).status == 535
    assert cloud.sim.vms() == []


def test_lost_reply_does_the_work(cloud):
    """The worst case for a client that creates: done, and it does not know."""
    cloud.sim.faults.add("lost_reply", "deployVirtualMachine", 1)
    values = cloud.deploy_values(name="a")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        cloud.demo.call("deployVirtualMachine", **values)
    cloud.demo.close()
    assert cloud.demo.one("listVirtualMachines")["name"] == "a"


def test_connection_reset_does_no_work(cloud):
    """A repeat is safe after this one, but a client cannot tell."""
    cloud.sim.faults.add("connection_reset", "deployVirtualMachine", 1)
    values = cloud.deploy_values(name="a")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        cloud.demo.call("deployVirtualMachine", **values)
    cloud.demo.close()
    assert cloud.demo.rows("listVirtualMachines") == []


def test_garbage_and_proxy_replies(cloud):
    """Not JSON, and HTML with a status of the proxy's."""
    query = cloud.demo.signed("listZones", {})
    cloud.sim.faults.add("garbage_reply", "listZones", 1)
    status, _, text = cloud.demo.send(query)
    assert status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    cloud.sim.faults.add("http_error", "listZones", 1, status=502, text="Bad Gateway")
    status, headers, text = cloud.demo.send(query)
    assert (status, headers["Content-Type"], "Bad Gateway" in text) == (502, "text/html", True)
    assert cloud.demo.send(query)[0] == 200


def test_error_rate_is_a_probability_that_repeats_with_the_seed(make_world):
    """Two runs of the same calls fail at the same places."""
    patterns = []
    for _ in range(2):
        world = make_world()
        world.sim.faults.add("error_rate", "listZones", probability=0.3)
        patterns.append([world.demo.raw("listZones")[0] for _ in range(40)])
    assert patterns[0] == patterns[1]
    assert set(patterns[0]) == {200, 530}


def test_text_of_capacity_errors_is_hidden_from_users_when_synchronous(cloud):
    """Root admins see the cause."""
    cloud.sim.faults.add("capacity", "createNetwork", 2, text="no VLAN left")
    offering = cloud.uuid("listNetworkOfferings", "DefaultIsolatedNetworkOfferingWithSourceNatService")
    values = {"zoneid": cloud.zone, "networkofferingid": offering, "name": "n"}
    hidden = cloud.demo.refusal("createNetwork", **values)
    assert (hidden.status, hidden.body["errortext"][:14]) == (533, "Internal error")
    assert cloud.admin.refusal("createNetwork", **values).body["errortext"] == "no VLAN left"


def test_faults_strike_the_named_command_the_given_number_of_times(cloud):
    """And clear ends them; unknown names are refused."""
    fault = cloud.sim.faults.add("error_rate", "listOsTypes", 2)
    statuses = [cloud.demo.raw(command)[0] for command in ("listZones", "listOsTypes", "listOsTypes", "listOsTypes")]
    assert (statuses, fault.hits) == ([200, 530, 530, 200], 2)
    cloud.sim.faults.add("error_rate")
    assert cloud.demo.raw("listZones")[0] == 530
    cloud.sim.faults.clear()
    assert cloud.demo.raw("listZones")[0] == 200
    with pytest.raises(ValueError, match="unknown fault 'gremlin'; known are"):
        cloud.sim.faults.add("gremlin")


def test_a_fault_may_wait_for_its_call(cloud):
    """The third of several like calls is a step of its own."""
    cloud.sim.faults.add("error_rate", "listZones", 1, skip=2)
    assert [cloud.demo.raw("listZones")[0] for _ in range(4)] == [200, 200, 530, 200]


def test_faults_and_latency_come_from_settings_too(make_world):
    """A demonstration can be made slow and unreliable without code."""
    world = make_world(latency_seconds=0.05, faults=(FaultSettings("error_rate", command="listZones", times=1),))
    began = time.monotonic()
    assert [world.demo.raw("listZones")[0] for _ in range(2)] == [530, 200]
    assert time.monotonic() - began >= 0.1


def test_calls_are_counted(cloud):
    """Tests of the driver assert how many calls it needs."""
    cloud.demo.call("listZones")
    cloud.demo.call("listZones")
    cloud.demo.raw("noSuchCommand")
    assert (cloud.sim.call_counts["listZones"], cloud.sim.call_counts["noSuchCommand"]) == (2, 1)
    assert list(cloud.sim.calls) == ["listZones", "listZones", "noSuchCommand"]
    cloud.sim.reset()
    assert (dict(cloud.sim.call_counts), cloud.demo.raw("listZones")[0]) == ({}, 200)


def test_a_held_reply_comes_when_it_is_let_go(cloud):
    """What happens in between, a client cannot know to be done."""
    fault = cloud.sim.faults.add("held_reply", "deployVirtualMachine", 1)
    values = cloud.deploy_values(name="a")
    caller = threading.Thread(target=cloud.demo.call, args=("deployVirtualMachine",), kwargs=values)
    caller.start()
    cloud.until(fault.reached)
    assert (cloud.sim.vm("a").name, caller.is_alive()) == ("a", True)
    cloud.release(fault)
    caller.join(60)
    assert not caller.is_alive()


@pytest.mark.parametrize("lost", [False, True])
def test_a_held_request_does_its_work_when_it_is_let_go_or_never(cloud, lost):
    """Late, after its client has given up, or as if it had never come."""
    fault = cloud.sim.faults.add("held_request", "deployVirtualMachine", 1)
    outcome = []

    def call():
        try:
            outcome.append(cloud.demo.call("deployVirtualMachine", **values)["jobid"])
        except (http.client.HTTPException, ConnectionError):
            outcome.append(None)

    values = cloud.deploy_values(name="a")
    caller = threading.Thread(target=call)
    caller.start()
    cloud.until(fault.reached)
    assert cloud.sim.vms() == []
    cloud.release(fault, lost=lost)
    caller.join(60)
    assert (outcome == [None], cloud.sim.vms() == []) == (lost, lost)
