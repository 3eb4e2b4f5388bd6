"""The `cs` client, by GET and POST: version 3 signatures, pages, jobs, errors."""

import pytest
from cs import CloudStack, CloudStackApiException, CloudStackException


@pytest.fixture
def connect(make_world):
    """Makes clients; all are closed at the end."""
    made = []

    def make(method, account="demo", **settings):
        world = make_world(**settings)
        key, secret = world.sim.keys(account)
        client = CloudStack(world.endpoint, key, secret, method=method, poll_interval=0.02)
        made.append(client)
        return world, client

    yield make
    for client in made:
        client.session.close()


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_machines_life(connect, method):
    """Jobs are polled by the client."""
    world, client = connect(method)
    vm = client.deployVirtualMachine(**world.deploy_values(name="a"), fetch_result=True)["virtualmachine"]
    assert vm["state"] == "Running"
    assert client.createTags(
        resourceids=[vm["id"]], resourcetype="UserVm", tags=[{"key": "k", "value": "a b/c*~é"}], fetch_result=True
    ) == {"success": True}
    assert world.sim.tags(vm["id"]) == {"k": "a b/c*~é"}
    assert client.destroyVirtualMachine(id=vm["id"], expunge=True, fetch_result=True)
    assert client.listVirtualMachines() == {}


@pytest.mark.parametrize("method", ["get", "post"])
def test_fetch_list_pages_until_it_has_everything(connect, method):
    """500 a page."""
    world, client = connect(method, machines=1001)
    assert len(client.listVirtualMachines(fetch_list=True)) == 1001
    assert world.sim.call_counts["listVirtualMachines"] == 3
    assert client.listVolumes(fetch_list=True, name="none") == []


@pytest.mark.parametrize("method", ["get", "post"])
def test_errors_carry_the_servers_body(connect, method):
    """A refusal, and a failed job."""
    world, client = connect(method)
    with pytest.raises(CloudStackApiException) as caught:
        client.listTemplates()
    assert (caught.value.error["errorcode"], caught.value.error["cserrorcode"]) == (431, 9999)
    vm = world.machine("a")["id"]
    with pytest.raises(CloudStackApiException) as failed:
        client.startVirtualMachine(id=vm, fetch_result=True)
    assert failed.value.error["errorcode"] == 431


@pytest.mark.parametrize("method", ["get", "post"])
def test_jobs_since_a_day(connect, method):
    """By the day alone, also for one who says the time."""
    world, client = connect(method)
    world.machine("a")
    jobs = client.listAsyncJobs(fetch_list=True, startdate="2020-01-01")
    day = jobs[-1]["created"][:10]
    found = client.listAsyncJobs(fetch_list=True, startdate=f"{day} 23:59:59")
    assert found == [job for job in jobs if job["created"].startswith(day)] != []
    assert client.listAsyncJobs(fetch_list=True, startdate="2990-01-01") == []
    with pytest.raises(CloudStackApiException):
        client.listAsyncJobs(startdate="2020-13-01")


def test_garbage_is_an_exception_of_the_client(connect):
    """Not a crash of its parser."""
    world, client = connect("get")
    world.sim.faults.add("garbage_reply", "listZones", 1)
    with pytest.raises(CloudStackException):
        client.listZones()
    world.sim.faults.add("http_error", "listZones", 1, status=503)
    with pytest.raises(CloudStackException):
        client.listZones()
    assert client.listZones()["count"] == 2
