"""Jobs: their form, who may see them, their order, and events."""

import datetime
import time

from tests.simulator.api import DEADLINE_SECONDS


def test_a_pending_job_has_no_result_and_a_done_one_keeps_its_own(make_world):
    """The result is the object at the end of the job, with the job's id in it; it is not refreshed later."""
    world = make_world(job_seconds=0.05)
    submitted = world.demo.call("deployVirtualMachine", **world.deploy_values(name="a"))
    pending = world.demo.call("queryAsyncJobResult", jobid=submitted["jobid"])
    assert (pending["jobstatus"], pending["jobprocstatus"], pending["jobresultcode"]) == (0, 0, 0)
    assert not {"jobresult", "jobresulttype", "completed"} & set(pending)
    assert pending["cmd"] == "org.apache.cloudstack.api.command.user.vm.DeployVMCmd"
    assert (pending["jobinstancetype"], pending["jobinstanceid"]) == ("VirtualMachine", submitted["id"])
    done = world.demo.poll(submitted["jobid"])
    assert (done["jobstatus"], done["jobresulttype"]) == (1, "object")
    vm = done["jobresult"]["virtualmachine"]
    assert (vm["jobid"], vm["jobstatus"], vm["state"]) == (submitted["jobid"], 0, "Running")
    world.demo.run("stopVirtualMachine", id=submitted["id"])
    again = world.demo.call("queryAsyncJobResult", jobid=submitted["jobid"])
    assert again["jobresult"]["virtualmachine"]["state"] == "Running"


def test_administrators_jobs_name_their_own_classes(cloud):
    """As real servers show them."""
    job = cloud.admin.call("deployVirtualMachine", **cloud.deploy_values())["jobid"]
    assert cloud.admin.poll(job)["cmd"] == "org.apache.cloudstack.api.command.admin.vm.DeployVMCmdByAdmin"


def test_a_failed_job_has_code_and_text_alone(cloud):
    """HTTP 200; no cserrorcode in the result."""
    vm = cloud.machine("a")["id"]
    job = cloud.demo.poll(cloud.demo.call("startVirtualMachine", id=vm)["jobid"])
    assert (job["jobstatus"], job["jobresultcode"]) == (2, 431)
    assert set(job["jobresult"]) == {"errorcode", "errortext"}
    assert "is already running" in job["jobresult"]["errortext"]


def test_jobs_of_others_are_a_531_and_not_listed(cloud):
    """Jobs belong to accounts."""
    vm = cloud.machine("a")["id"]
    job = cloud.demo.call("stopVirtualMachine", id=vm)["jobid"]
    assert cloud.other.refusal("queryAsyncJobResult", jobid=job).status == 531
    assert cloud.other.call("listAsyncJobs") == {}
    assert job in {row["jobid"] for row in cloud.demo.rows("listAsyncJobs")}
    assert job in {row["jobid"] for row in cloud.admin.rows("listAsyncJobs", listall="true")}
    assert cloud.admin.call("listAsyncJobs") == {}


def test_jobs_are_listed_from_the_beginning_of_a_day_on(cloud):
    """The time in `startdate`, and its zone, are ignored: real servers read no more of it than the day."""
    vm = cloud.machine("a")["id"]
    job = cloud.demo.call("stopVirtualMachine", id=vm)["jobid"]
    created = cloud.demo.call("queryAsyncJobResult", jobid=job)["created"]
    today = datetime.datetime.fromisoformat(created)
    listed = cloud.demo.rows("listAsyncJobs")
    assert [row["created"] for row in listed] == sorted(row["created"] for row in listed)
    for since in (f"{today:%Y-%m-%d}", f"{today:%Y-%m-%d} 23:59:59", f"{today:%Y-%m-%d}T23:59:59+0000", "1970-1-1"):
        assert job in {row["jobid"] for row in cloud.demo.rows("listAsyncJobs", startdate=since)}
    assert cloud.demo.rows("listAsyncJobs", startdate=f"{today + datetime.timedelta(days=1):%Y-%m-%d}") == []


def test_the_latest_job_of_a_resource_can_be_asked_for(cloud):
    """By resourceid and resourcetype, both needed."""
    vm = cloud.machine("a")["id"]
    job = cloud.demo.call("stopVirtualMachine", id=vm)["jobid"]
    found = cloud.demo.call("queryAsyncJobResult", resourceid=vm, resourcetype="virtualmachine")
    assert found["jobid"] == job
    assert cloud.demo.refusal("queryAsyncJobResult", resourceid=vm).status == 431


def test_jobs_on_one_machine_wait_for_each_other(make_world):
    """Stop, start and stop sent at once are done in that order; each finds the state the one before left."""
    world = make_world(job_seconds=0.02)
    vm = world.machine("a")["id"]
    commands = ["stopVirtualMachine", "startVirtualMachine", "rebootVirtualMachine", "stopVirtualMachine"]
    jobs = [world.demo.call(command, id=vm)["jobid"] for command in commands]
    last = world.demo.poll(jobs[-1])
    assert last["jobresult"]["virtualmachine"]["state"] == "Stopped"
    found = [world.demo.call("queryAsyncJobResult", jobid=job) for job in jobs]
    assert [job["jobstatus"] for job in found] == [1, 1, 1, 1]


def test_jobs_on_different_machines_run_side_by_side(make_world):
    """Ten deployments take about as long as one."""
    world = make_world(job_seconds=1.0)
    values = world.deploy_values()
    began = time.monotonic()
    jobs = [world.demo.call("deployVirtualMachine", **values)["jobid"] for _ in range(10)]
    assert {world.demo.poll(job)["jobstatus"] for job in jobs} == {1}
    assert time.monotonic() - began < 8


def test_states_in_between_are_visible(make_world):
    """Stopping and Starting are what pollers see."""
    world = make_world(job_seconds=0.1)
    vm = world.machine("a")["id"]
    for command, between, end in (("stop", "Stopping", "Stopped"), ("start", "Starting", "Running")):
        world.demo.call(f"{command}VirtualMachine", id=vm)
        seen, deadline = set(), time.monotonic() + DEADLINE_SECONDS
        while end not in seen and time.monotonic() < deadline:
            state = world.demo.one("listVirtualMachines", id=vm)["state"]
            seen |= {state} if state == between or between in seen else set()
        assert seen == {between, end}


def test_the_same_seed_gives_the_same_identifiers(make_world):
    """Runs repeat: uuids, addresses and hardware addresses."""
    one, two, three = make_world(seed=5), make_world(seed=5), make_world(seed=6)
    rows = [world.machine("a") for world in (one, two, three)]
    for field in ("id", "nic", "zoneid"):
        assert rows[0][field] == rows[1][field]
        assert rows[0][field] != rows[2][field]


def test_jobs_leave_events(cloud):
    """Type, level and state, newest first."""
    vm = cloud.machine("a")["id"]
    cloud.demo.run("stopVirtualMachine", id=vm)
    cloud.demo.job_refusal("rebootVirtualMachine", id=vm)
    rows = cloud.demo.rows("listEvents")
    assert [(row["type"], row["level"]) for row in rows] == [
        ("VM.REBOOT", "ERROR"),
        ("VM.STOP", "INFO"),
        ("VM.CREATE", "INFO"),
    ]
    assert len(cloud.demo.rows("listEvents", type="VM.STOP", startdate="2020-01-01")) == 1
    assert cloud.demo.rows("listEvents", enddate="2020-01-01 10:00:00") == []
    moment = datetime.datetime.fromisoformat(cloud.demo.rows("listEvents")[0]["created"])
    assert len(cloud.demo.rows("listEvents", enddate=f"{moment:%Y-%m-%d}")) == 3  # to the end of that day
    later = moment + datetime.timedelta(seconds=1)
    assert cloud.demo.rows("listEvents", startdate=f"{later:%Y-%m-%d %H:%M:%S}") == []
    assert len(cloud.demo.rows("listEvents", enddate=f"{later:%Y-%m-%d %H:%M:%S}")) == 3
    assert cloud.other.rows("listEvents") == []


def test_synchronous_changes_leave_events_too(cloud):
    """With the id of what was changed."""
    vm = cloud.machine("a")["id"]
    cloud.demo.call("updateVirtualMachine", id=vm, displayname="x")
    assert cloud.demo.one("listEvents", type="VM.UPDATE")["resourceid"] == vm
