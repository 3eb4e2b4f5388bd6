"""Machines: deployment and its refusals, states and what each allows, changes."""

import base64
import time

import pytest

from tests.simulator.api import DEADLINE_SECONDS, Failure


def b64(size_bytes):
    """User data of that many bytes."""
    return base64.b64encode(b"x" * size_bytes).decode()


def test_a_deployment_answers_id_and_job_and_passes_through_starting(make_world):
    """The row is there before the answer: Stopped or Starting, never Running at once."""
    world = make_world(job_seconds=0.1)
    submitted = world.demo.call("deployVirtualMachine", **world.deploy_values(name="a"))
    assert set(submitted) == {"id", "jobid"}
    assert world.demo.one("listVirtualMachines", id=submitted["id"])["state"] in ("Stopped", "Starting")
    seen, deadline = set(), time.monotonic() + DEADLINE_SECONDS
    while "Running" not in seen and time.monotonic() < deadline:
        row = world.demo.one("listVirtualMachines", id=submitted["id"])
        assert (row.get("jobid") == submitted["jobid"]) is (row["state"] != "Running")
        seen.add(row["state"])
    assert {"Starting", "Running"} <= seen <= {"Stopped", "Starting", "Running"}


def test_the_first_machine_makes_and_implements_a_network(cloud):
    """Source NAT address and all; the second machine joins it."""
    vm = cloud.machine("a")
    [network] = cloud.demo.rows("listNetworks", account="demo")
    assert (network["name"], network["state"], network["type"]) == ("demo-network", "Implemented", "Isolated")
    ip = cloud.demo.one("listPublicIpAddresses")
    assert (ip["issourcenat"], ip["associatednetworkid"]) == (True, network["id"])
    assert cloud.machine("b")["nic"][0]["networkid"] == vm["nic"][0]["networkid"]
    cloud.network("second")
    failure = cloud.demo.refusal("deployVirtualMachine", **cloud.deploy_values())
    assert "More than 1 default Isolated networks are found" in failure.body["errortext"]


def test_names_are_defaulted_from_the_uuid(cloud):
    """VM-<uuid>; displayname is the name where it is not given."""
    vm = cloud.machine()
    assert (vm["name"], vm["displayname"]) == (f"VM-{vm['id']}", f"VM-{vm['id']}")
    assert cloud.sim.volume(f"ROOT-{cloud.sim.vm(vm['name']).number}").vm is cloud.sim.vm(vm["name"])


def test_startvm_false_makes_a_stopped_machine_without_a_host(cloud):
    """libcloud sends the text False."""
    vm = cloud.machine("a", startvm="False")
    assert vm["state"] == "Stopped"
    assert cloud.demo.one("listVolumes")["state"] == "Allocated"
    assert "hostid" not in cloud.admin.one("listVirtualMachines", listall="true")
    assert cloud.demo.one("listNetworks", account="demo")["state"] == "Allocated"


def test_only_password_templates_answer_a_password_and_only_once(cloud):
    """It is in the job's result, never in a list."""
    vm = cloud.machine("w", templateid=cloud.template("Windows Server 2022"))
    assert (vm["passwordenabled"], len(vm["password"])) == (True, 6)
    assert "password" not in cloud.demo.one("listVirtualMachines")
    assert "password" not in cloud.machine("d")


@pytest.mark.parametrize("name", ["1a", "-a", "a-", "a_b", "a.b", "a b", "x" * 64, "é", ""])
def test_a_name_must_be_a_host_label(cloud, name):
    """Letters, digits and hyphens, no digit first, at most 63."""
    failure = cloud.demo.refusal("deployVirtualMachine", **cloud.deploy_values(name=name))
    assert (failure.status, failure.body["errortext"][:13]) == (431, "Invalid name.")


def test_a_name_is_taken_within_its_network_domain_only(cloud):
    """Two isolated networks may each have a web-1; one may not have two."""
    one, two = cloud.network("n1"), cloud.network("n2")
    cloud.machine("web-1", networkids=one)
    cloud.machine("web-1", networkids=two)
    failure = cloud.demo.refusal("deployVirtualMachine", **cloud.deploy_values(name="WEB-1", networkids=one))
    assert "already exists in the network domain" in failure.body["errortext"]


@pytest.mark.parametrize(
    ("params", "status", "text"),
    [
        ({"keypair": "none"}, 431, "Not all specified keyparis exist"),
        ({"userdata": "%%%"}, 431, "User data is not base64 encoded"),
        ({"userdata": b64(1)}, 431, "User data is too short"),
        ({"userdata": b64(40_000)}, 431, "User data is too long"),
        ({"details[0].extraconfig": "x"}, 431, "'extraconfig' should not be included"),
        ({"details[0].cpuNumber": "2"}, 431, "should not be specified for static service offering"),
        ({"details[0].rootdisksize": "5"}, 431, "less than the size of the template"),
        ({"details[0].rootdisksize": "big"}, 431, "positive number"),
        ({"hypervisor": "VMware"}, 431, "different from the hypervisor type"),
        ({"securitygroupnames": "default"}, 431, "security group feature is not enabled per zone"),
        ({"account": "other", "domainid": "ROOT"}, 531, "no access to account"),
        ({"projectid": "-1"}, 431, "Unable to find project"),
        ({"ipaddress": "10.9.9.9", "networkids": "NET"}, 431, "not within the range"),
        ({"ipaddress": "10.1.1.1", "networkids": "NET"}, 431, "not within the range"),
        ({"iptonetworklist[0].networkid": "NET", "networkids": "NET"}, 431, "ipToNetworkMap can't be specified"),
        ({"templateid": None}, 431, "template ID"),
        ({"diskofferingid": "CUSTOM"}, 431, "requires a custom size"),
        ({"diskofferingid": "CUSTOM", "size": 5000}, 431, "out of allowed range"),
        ({"diskofferingid": "SMALL", "size": 5}, 431, "does not allow custom size"),
    ],
)
def test_a_bad_deployment_is_refused_at_once(cloud, params, status, text):
    """Deploying is a create command: its checks never wait for the job."""
    words = {"NET": cloud.network("n"), "ROOT": cloud.demo.one("listDomains")["id"]}
    words |= {"CUSTOM": cloud.disk_offering("Custom"), "SMALL": cloud.disk_offering("Small")}
    sent = {name: words.get(value, value) for name, value in params.items()}
    failure = cloud.demo.refusal("deployVirtualMachine", **cloud.deploy_values(**sent))
    assert failure.status == status
    assert text in failure.body["errortext"]
    assert cloud.sim.vms() == []


@pytest.mark.parametrize(
    ("offering", "details", "text"),
    [
        ("Custom Instance", {}, "Need to specify custom parameter values"),
        ("Custom Instance", {"cpuNumber": "2", "memory": "1024"}, "Need to specify custom parameter values"),
        ("Custom Instance", {"cpuNumber": "0", "cpuSpeed": "1000", "memory": "1024"}, "Invalid cpu cores value"),
        ("Custom Constrained", {"cpuNumber": "9", "memory": "1024"}, "between 1 and 8"),
        ("Custom Constrained", {"cpuNumber": "2", "memory": "511"}, "between 512 and 16384"),
    ],
)
def test_custom_offerings_need_good_sizes(cloud, offering, details, text):
    """Missing or out of range is a 431 at once."""
    params = {f"details[{index}].{key}": value for index, (key, value) in enumerate(details.items())}
    values = cloud.deploy_values(serviceofferingid=cloud.offering(offering), **params)
    assert text in cloud.demo.refusal("deployVirtualMachine", **values).body["errortext"]


def test_custom_sizes_are_shown(cloud):
    """cpunumber and memory are the machine's, and the details are kept."""
    params = {"details[0].cpuNumber": "3", "details[0].cpuSpeed": "1500", "details[0].memory": "1536"}
    vm = cloud.machine("c", serviceofferingid=cloud.offering("Custom Instance"), **params)
    assert (vm["cpunumber"], vm["cpuspeed"], vm["memory"]) == (3, 1500, 1536)
    assert vm["details"] == {"cpuNumber": "3", "cpuSpeed": "1500", "memory": "1536"}


def test_user_data_is_kept_and_posts_may_be_long(cloud):
    """A GET may carry 4 KB, a POST up to the setting."""
    assert cloud.machine("a", userdata=b64(30_000))["id"]
    vm = cloud.sim.vm("a").uuid
    found = cloud.demo.call("getVirtualMachineUserData", virtualmachineid=vm)["virtualmachineuserdata"]
    assert found == {"virtualmachineid": vm, "userdata": b64(30_000)}
    assert cloud.other.refusal("getVirtualMachineUserData", virtualmachineid=vm).status == 531


def test_root_and_data_disks_come_with_the_machine(cloud):
    """ROOT-n and DATA-n, sizes in bytes."""
    params = {"details[0].rootdisksize": "25", "diskofferingid": cloud.disk_offering("Custom"), "size": 7}
    vm = cloud.machine("a", **params)
    rows = {row["type"]: row for row in cloud.demo.rows("listVolumes", virtualmachineid=vm["id"])}
    assert (rows["ROOT"]["size"], rows["ROOT"]["deviceid"], rows["ROOT"]["state"]) == (25 * 1024**3, 0, "Ready")
    assert (rows["DATADISK"]["size"], rows["DATADISK"]["deviceid"]) == (7 * 1024**3, 1)
    assert rows["ROOT"]["serviceofferingname"] == "Small Instance"


def test_addresses_can_be_chosen_and_are_not_given_twice(cloud):
    """By ipaddress or per network; the next machine gets the next free one."""
    one, two = cloud.network("n1"), cloud.network("n2", gateway="10.7.0.1", netmask="255.255.255.0")
    params = {"iptonetworklist[0].networkid": one, "iptonetworklist[0].ip": "10.1.1.2"}
    params |= {"iptonetworklist[1].networkid": two, "iptonetworklist[1].ip": "10.7.0.77"}
    vm = cloud.machine("a", **params)
    assert [(nic["ipaddress"], nic["isdefault"]) for nic in vm["nic"]] == [("10.1.1.2", True), ("10.7.0.77", False)]
    assert cloud.machine("b", networkids=one)["nic"][0]["ipaddress"] == "10.1.1.3"
    failure = cloud.demo.refusal("deployVirtualMachine", **cloud.deploy_values(networkids=two, ipaddress="10.7.0.77"))
    assert "already allocated" in failure.body["errortext"]


def test_a_network_of_somebody_else_is_a_531(cloud):
    """Also through the map of addresses."""
    foreign = cloud.network("n", by="other")
    for params in ({"networkids": foreign}, {"iptonetworklist[0].networkid": foreign}):
        assert cloud.demo.refusal("deployVirtualMachine", **cloud.deploy_values(**params)).status == 531


def test_a_private_template_of_somebody_else_is_a_531(cloud):
    """demo-golden is demo's."""
    values = cloud.deploy_values(templateid=cloud.template("demo-golden"))
    assert cloud.other.refusal("deployVirtualMachine", **values).status == 531
    assert cloud.machine("a", templateid=cloud.template("demo-golden"))["templatename"] == "demo-golden"


def test_zones_with_security_groups_put_machines_on_the_shared_network(cloud):
    """With the group default where none is named."""
    vm = cloud.machine("a", zoneid=cloud.sg_zone)
    assert (vm["nic"][0]["type"], vm["nic"][0]["networkname"]) == ("Shared", "sg-shared")
    assert [group["name"] for group in vm["securitygroup"]] == ["default"]
    values = cloud.deploy_values(zoneid=cloud.sg_zone, networkids=cloud.network("n"))
    assert cloud.demo.refusal("deployVirtualMachine", **values).status == 431


def test_a_disabled_zone_is_a_531_for_users(make_world):
    """Root admins may still use it."""
    from gceshim.simulator.settings import ZoneSettings

    world = make_world(zones=(ZoneSettings("Sandbox 1", enabled=False),))
    assert world.demo.rows("listZones") == []
    assert world.demo.refusal("deployVirtualMachine", **world.deploy_values()).status == 531
    assert world.machine("a", by="admin")["state"] == "Running"


def test_a_zone_without_hosts_fails_in_the_job_and_leaves_an_error(make_world):
    """Capacity is found out while starting: 533 and state Error, which expunging clears."""
    from gceshim.simulator.settings import ZoneSettings

    world = make_world(zones=(ZoneSettings("Sandbox 1", hosts=0),))
    failure = world.demo.job_refusal("deployVirtualMachine", **world.deploy_values(name="a"))
    assert failure.status == 533
    vm = world.demo.one("listVirtualMachines")
    assert vm["state"] == "Error"
    assert world.demo.refusal("updateVirtualMachine", id=vm["id"], displayname="x").status == 431
    world.demo.run("destroyVirtualMachine", id=vm["id"])
    assert world.demo.call("listVirtualMachines") == {}


@pytest.mark.parametrize(
    ("settings", "params", "resource"),
    [
        ({"user_vm": 0}, {}, "user_vm"),
        ({"cpu": 0}, {}, "cpu"),
        ({"memory": 1023}, {}, "memory"),
        ({"volume": 0}, {}, "volume"),
        ({"primary_storage": 9}, {}, "primary_storage"),
        ({"network": 0}, {}, "network"),
    ],
)
def test_a_quota_is_a_535_at_once(make_world, settings, params, resource):
    """Not through the job, and nothing is left behind."""
    world = make_world(limits=settings)
    failure = world.demo.refusal("deployVirtualMachine", **world.deploy_values(**params))
    assert (failure.status, failure.body["cserrorcode"]) == (535, 4370)
    assert f"Type = '{resource}'" in failure.body["errortext"]
    assert world.sim.vms() == []
    assert world.machine("a", by="admin")["state"] == "Running"


STATES = ("Running", "Stopped", "Destroyed", "Error")


def in_state(cloud, state):
    """A machine of demo in that state."""
    if state == "Error":
        cloud.sim.faults.add("capacity", "deployVirtualMachine", 1)
        cloud.demo.job_refusal("deployVirtualMachine", **cloud.deploy_values(name="m"))
        return cloud.sim.vm("m").uuid
    vm = cloud.machine("m", startvm="false" if state == "Stopped" else "true")["id"]
    if state == "Destroyed":
        cloud.demo.run("destroyVirtualMachine", id=vm)
    return vm


@pytest.mark.parametrize(
    ("command", "outcomes"),
    [
        ("startVirtualMachine", {"Running": 431, "Stopped": "Running", "Destroyed": 431, "Error": 431}),
        ("stopVirtualMachine", {"Running": "Stopped", "Stopped": "Stopped", "Destroyed": 431, "Error": 431}),
        ("rebootVirtualMachine", {"Running": "Running", "Stopped": 431, "Destroyed": 431, "Error": 431}),
        ("destroyVirtualMachine", {"Running": "Destroyed", "Stopped": "Destroyed", "Destroyed": "Destroyed"}),
        ("expungeVirtualMachine", {"Running": 530, "Stopped": 530, "Destroyed": "gone", "Error": "gone"}),
    ],
)
def test_what_a_state_allows_shows_in_the_job(cloud, command, outcomes):
    """None of these is refused at once: the job fails with the code of the server."""
    for state, outcome in outcomes.items():
        vm = in_state(cloud, state)
        if isinstance(outcome, int):
            assert (state, cloud.demo.job_refusal(command, id=vm).status) == (state, outcome)
        else:
            cloud.demo.run(command, id=vm)
            left = [row["state"] for row in cloud.admin.rows("listVirtualMachines", id=vm)]
            assert (state, left) == (state, [] if outcome == "gone" else [outcome])
        if cloud.admin.rows("listVirtualMachines", id=vm):
            cloud.admin.run("destroyVirtualMachine", id=vm, expunge="true")


@pytest.mark.parametrize(
    ("command", "params", "states"),
    [
        ("recoverVirtualMachine", {}, {"Destroyed"}),
        ("changeServiceForVirtualMachine", {"serviceofferingid": "Medium Instance"}, {"Stopped"}),
        ("resetUserDataForVirtualMachine", {"userdata": b64(10)}, {"Stopped"}),
        ("updateVirtualMachine", {"displayname": "x"}, {"Running", "Stopped", "Destroyed"}),
    ],
)
def test_what_a_state_allows_shows_at_once(cloud, command, params, states):
    """The synchronous commands answer the machine or a 431."""
    sent = {key: cloud.offering(value) if key == "serviceofferingid" else value for key, value in params.items()}
    for state in STATES:
        vm = in_state(cloud, state)
        try:
            assert cloud.demo.call(command, id=vm, **sent)["virtualmachine"]["id"] == vm
            assert state in states
        except Failure as failure:
            assert (failure.status, state in states) == (431, False)
        cloud.admin.run("destroyVirtualMachine", id=vm, expunge="true")


def test_destroyed_machines_are_hidden_from_users_and_can_come_back(cloud):
    """Recovering makes them Stopped; a quota may stand against it."""
    vm = cloud.machine("a")["id"]
    assert cloud.demo.run("destroyVirtualMachine", id=vm)["virtualmachine"]["state"] == "Destroyed"
    assert cloud.demo.call("listVirtualMachines", id=vm) == {}
    assert cloud.admin.one("listVirtualMachines", id=vm)["state"] == "Destroyed"
    assert cloud.demo.call("recoverVirtualMachine", id=vm)["virtualmachine"]["state"] == "Stopped"
    cloud.demo.run("destroyVirtualMachine", id=vm)
    cloud.admin.call("updateResourceLimit", account="demo", resourcetype=0, max=0)
    assert cloud.demo.refusal("recoverVirtualMachine", id=vm).status == 535


def test_expunging_frees_everything_but_attached_data_disks(cloud):
    """The root disk goes, the data disk stays detached, the address is free again."""
    vm = cloud.machine("a", diskofferingid=cloud.disk_offering("Small"))
    result = cloud.demo.run("destroyVirtualMachine", id=vm["id"], expunge="true")
    assert result["virtualmachine"]["state"] == "Expunging"
    left = cloud.demo.one("listVolumes")
    assert (left["type"], "virtualmachineid" in left) == ("DATADISK", False)
    assert cloud.demo.call("listVirtualMachines", id=vm["id"]) == {}
    assert cloud.machine("a")["nic"][0]["ipaddress"] == vm["nic"][0]["ipaddress"]
    assert cloud.demo.job_refusal("startVirtualMachine", id=vm["id"]).status == 431


def test_volumeids_go_with_the_machine_if_they_are_its_data_disks(cloud):
    """Any other volume is a 431 in the job, and the machine stays."""
    vm = cloud.machine("a", diskofferingid=cloud.disk_offering("Small"))["id"]
    volumes = {row["type"]: row["id"] for row in cloud.demo.rows("listVolumes")}
    assert cloud.demo.job_refusal("destroyVirtualMachine", id=vm, volumeids=volumes["ROOT"]).status == 431
    cloud.demo.run("destroyVirtualMachine", id=vm, expunge="true", volumeids=volumes["DATADISK"])
    assert cloud.demo.call("listVolumes") == {}


def test_expunging_by_users_is_a_setting(make_world):
    """allow.user.expunge.recover.vm; without it 531, in the job where there is one."""
    world = make_world(allow_user_expunge_recover_vm=False)
    vm = world.machine("a")["id"]
    assert world.demo.job_refusal("destroyVirtualMachine", id=vm, expunge="true").status == 531
    world.demo.run("destroyVirtualMachine", id=vm)
    assert world.demo.refusal("recoverVirtualMachine", id=vm).status == 531
    assert world.demo.job_refusal("expungeVirtualMachine", id=vm).status == 531
    world.admin.run("expungeVirtualMachine", id=vm)


def test_destroyed_machines_are_expunged_after_the_delay(make_world):
    """expunge.delay, in the background."""
    world = make_world(expunge_delay_seconds=0.02)
    vm = world.machine("a")["id"]
    world.demo.run("destroyVirtualMachine", id=vm)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while world.admin.rows("listVirtualMachines", id=vm) and time.monotonic() < deadline:
        pass
    assert world.sim.vms() == []


def test_delete_protection_stops_destroying(cloud):
    """431 through the job, until it is taken off."""
    vm = cloud.machine("a")["id"]
    cloud.demo.call("updateVirtualMachine", id=vm, deleteprotection="true")
    failure = cloud.demo.job_refusal("destroyVirtualMachine", id=vm)
    assert (failure.status, "has delete protection enabled" in failure.body["errortext"]) == (431, True)
    cloud.demo.call("updateVirtualMachine", id=vm, deleteprotection="false")
    cloud.demo.run("destroyVirtualMachine", id=vm)


def test_details_are_replaced_as_a_whole(cloud):
    """Not merged: a client must send all it wants to keep; the sizes of custom offerings stay."""
    params = {"details[0].cpuNumber": "1", "details[0].cpuSpeed": "1000", "details[0].memory": "512"}
    vm = cloud.machine("c", serviceofferingid=cloud.offering("Custom Instance"), **params)["id"]
    cloud.demo.call("updateVirtualMachine", id=vm, **{"details[0].a": "1", "details[0].b": "2"})
    row = cloud.demo.call("updateVirtualMachine", id=vm, **{"details[0].c": "3"})["virtualmachine"]
    assert set(row["details"]) == {"c", "cpuNumber", "cpuSpeed", "memory"}
    row = cloud.demo.call("updateVirtualMachine", id=vm, cleanupdetails="true")["virtualmachine"]
    assert set(row["details"]) == {"cpuNumber", "cpuSpeed", "memory"}


def test_sizes_change_while_stopped_or_upward_while_running(cloud):
    """Running needs the dynamic flag (530) and more of everything (431); the same offering is refused."""
    small, large = cloud.offering("Small Instance"), cloud.offering("Standard 2")
    vm = cloud.machine("a")["id"]
    assert cloud.demo.job_refusal("scaleVirtualMachine", id=vm, serviceofferingid=large).status == 530
    cloud.demo.call("updateVirtualMachine", id=vm, isdynamicallyscalable="true")
    row = cloud.demo.run("scaleVirtualMachine", id=vm, serviceofferingid=large)["virtualmachine"]
    assert (row["cpunumber"], row["memory"]) == (2, 7680)
    assert cloud.demo.job_refusal("scaleVirtualMachine", id=vm, serviceofferingid=small).status == 431
    assert cloud.demo.job_refusal("scaleVirtualMachine", id=vm, serviceofferingid=large).status == 431
    cloud.demo.run("stopVirtualMachine", id=vm)
    cloud.admin.call("updateResourceLimit", account="demo", resourcetype=8, max=3)
    call = {"id": vm, "serviceofferingid": cloud.offering("Standard 4")}
    assert cloud.demo.refusal("changeServiceForVirtualMachine", **call).status == 535
    row = cloud.demo.call("changeServiceForVirtualMachine", id=vm, serviceofferingid=small)["virtualmachine"]
    assert row["cpunumber"] == 1


def test_interfaces_come_and_go_but_the_default(cloud):
    """A second one in the same network is a 530, the default cannot go."""
    second = cloud.network("second", gateway="10.8.0.1", netmask="255.255.255.0")
    first = cloud.network("first")
    vm = cloud.machine("a", networkids=first)
    row = cloud.demo.run("addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=second)["virtualmachine"]
    assert [nic["ipaddress"] for nic in row["nic"]] == ["10.1.1.2", "10.8.0.2"]
    again = cloud.demo.job_refusal("addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=second)
    assert (again.status, "A NIC already exists" in again.body["errortext"]) == (530, True)
    for nic, outcome in ((row["nic"][0]["id"], 431), (row["nic"][1]["id"], None)):
        call = {"virtualmachineid": vm["id"], "nicid": nic}
        if outcome:
            assert cloud.demo.job_refusal("removeNicFromVirtualMachine", **call).status == outcome
        else:
            assert len(cloud.demo.run("removeNicFromVirtualMachine", **call)["virtualmachine"]["nic"]) == 1


def test_keys_are_reset_while_stopped(cloud):
    """431 through the job while it runs or where the key is unknown."""
    cloud.demo.call("createSSHKeyPair", name="k1")
    vm = cloud.machine("a", keypair="k1")
    assert vm["keypairs"] == "k1"
    assert cloud.demo.job_refusal("resetSSHKeyForVirtualMachine", id=vm["id"], keypair="k1").status == 431
    cloud.demo.run("stopVirtualMachine", id=vm["id"])
    assert cloud.demo.job_refusal("resetSSHKeyForVirtualMachine", id=vm["id"], keypair="k2").status == 431
    cloud.demo.call("createSSHKeyPair", name="k2")
    row = cloud.demo.run("resetSSHKeyForVirtualMachine", id=vm["id"], keypairs="k1,k2")["virtualmachine"]
    assert row["keypairs"] == "k1,k2"


def test_registered_user_data_is_named_in_the_machine(cloud):
    """And cannot be deleted while it is used; both kinds together are refused."""
    made = cloud.demo.call("registerUserData", name="u", userdata=b64(20))["userdata"]
    vm = cloud.machine("a", userdataid=made["id"])
    assert (vm["userdataid"], vm["userdataname"]) == (made["id"], "u")
    both = cloud.deploy_values(userdataid=made["id"], userdata=b64(20))
    assert cloud.demo.refusal("deployVirtualMachine", **both).status == 431
    assert cloud.demo.refusal("deleteUserData", id=made["id"]).status == 431
    cloud.demo.run("destroyVirtualMachine", id=vm["id"], expunge="true")
    cloud.demo.call("deleteUserData", id=made["id"])
    assert cloud.demo.call("listUserData") == {}
