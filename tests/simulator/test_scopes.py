"""Whose objects a list shows: the matrix of caller and parameters."""

import pytest

from gceshim.simulator.settings import ACCOUNTS, USERS


@pytest.fixture
def estate(cloud):
    """A machine of each account, one of the project, and their ids."""
    project = cloud.demo.one("listProjects")["id"]
    made = {name: cloud.machine(name, by=name)["id"] for name in ("admin", "demo", "other", "branch-user")}
    made["project"] = cloud.machine("team", by="demo", projectid=project)["id"]
    cloud.made, cloud.project = made, project
    cloud.root = cloud.demo.one("listDomains")["id"]
    cloud.branch = cloud.uuid("listDomains", "branch")
    return cloud


EVERYBODY = {"admin", "demo", "other", "branch-user"}


@pytest.mark.parametrize(
    ("caller", "params", "names"),
    [
        ("demo", {}, {"demo"}),
        ("demo", {"listall": "true"}, {"demo"}),
        ("demo", {"projectid": "-1"}, {"team"}),
        ("demo", {"projectid": "-1", "listall": "true"}, {"demo", "team"}),
        ("demo", {"projectid": "PROJECT"}, {"team"}),
        ("demo", {"account": "demo"}, {"demo"}),
        ("demo", {"domainid": "ROOT"}, {"demo"}),
        ("demo", {"id": "project"}, {"team"}),
        ("demo", {"id": "other"}, set()),
        ("other", {"id": "project"}, set()),
        ("other", {"projectid": "-1"}, set()),
        ("admin", {}, {"admin"}),
        ("admin", {"listall": "true"}, EVERYBODY),
        ("admin", {"listall": "true", "projectid": "-1"}, EVERYBODY | {"team"}),
        ("admin", {"projectid": "-1"}, {"team"}),
        ("admin", {"domainid": "ROOT"}, {"admin", "demo", "other"}),
        ("admin", {"domainid": "ROOT", "isrecursive": "true"}, EVERYBODY),
        ("admin", {"domainid": "BRANCH"}, {"branch-user"}),
        ("admin", {"account": "branch-user", "domainid": "BRANCH"}, {"branch-user"}),
        ("admin", {"id": "other"}, {"other"}),
        ("branch-admin", {}, set()),
        ("branch-admin", {"listall": "true"}, {"branch-user"}),
        ("branch-admin", {"id": "demo"}, set()),
        ("branch-admin", {"account": "branch-user"}, {"branch-user"}),
    ],
)
def test_a_list_shows_what_the_scope_covers(estate, caller, params, names):
    """The same rules hold for every owned kind; machines and their volumes stand for all."""
    words = {"PROJECT": estate.project, "ROOT": estate.root, "BRANCH": estate.branch, **estate.made}
    sent = {name: words.get(value, value) if name != "account" else value for name, value in params.items()}
    assert estate.api(caller).names("listVirtualMachines", **sent) == names
    if "id" not in params:
        volumes = {row["vmname"] for row in estate.api(caller).rows("listVolumes", **sent)}
        assert volumes == names


@pytest.mark.parametrize(
    ("caller", "params", "status"),
    [
        ("demo", {"account": "other"}, 531),
        ("demo", {"account": "nobody"}, 431),
        ("demo", {"domainid": "BRANCH"}, 531),
        ("demo", {"account": "demo", "projectid": "PROJECT"}, 431),
        ("demo", {"account": "demo", "projectid": "-1"}, 431),
        ("other", {"projectid": "PROJECT"}, 531),
        ("branch-admin", {"domainid": "ROOT"}, 531),
    ],
)
def test_a_scope_out_of_reach_is_refused(estate, caller, params, status):
    """531 for what exists and is not the caller's, 431 for what does not exist or contradicts itself."""
    words = {"PROJECT": estate.project, "ROOT": estate.root, "BRANCH": estate.branch}
    sent = {name: words.get(value, value) for name, value in params.items()}
    assert estate.api(caller).refusal("listVirtualMachines", **sent).status == status


@pytest.mark.parametrize("command", ["stopVirtualMachine", "destroyVirtualMachine", "updateVirtualMachine"])
def test_acting_on_somebody_elses_machine_is_a_531_at_once(estate, command):
    """Access is checked before a job is made."""
    failure = estate.other.refusal(command, id=estate.made["demo"])
    assert (failure.status, failure.body["cserrorcode"]) == (531, 4365)


def test_members_act_on_the_machines_of_their_project(estate):
    """Membership is what gives access, without projectid."""
    assert estate.demo.run("stopVirtualMachine", id=estate.made["project"])["virtualmachine"]["state"] == "Stopped"


def test_resources_of_a_project_carry_it_instead_of_an_account(estate):
    """project and projectid replace account; the domain stays."""
    row = estate.demo.one("listVirtualMachines", id=estate.made["project"])
    assert (row["project"], row["projectid"], row["domain"]) == ("team", estate.project, "ROOT")
    assert "account" not in row


def test_users_see_their_own_account_domain_and_user(estate):
    """Administrators see what lies below them."""
    assert estate.demo.names("listAccounts", listall="true") == {"demo"}
    assert {row["username"] for row in estate.demo.rows("listUsers", listall="true")} == {"demo"}
    assert estate.demo.names("listDomains") == {"ROOT"}
    assert estate.admin.names("listAccounts", listall="true") == {*ACCOUNTS, *(user.name for user in USERS)}
    assert estate.api("branch-admin").names("listAccounts", listall="true") == {"branch-admin", "branch-user"}
    assert estate.admin.names("listDomains") == {"ROOT", "branch", "research", "physics"}


def test_keys_are_shown_to_their_owner_alone(estate):
    """getUserKeys of somebody else is refused; new keys end the old."""
    user = estate.demo.one("listUsers")
    assert user["apikey"] == "demo-api-key"
    assert estate.demo.call("getUserKeys", id=user["id"])["userkeys"]["secretkey"] == "demo-secret-key"
    assert estate.other.refusal("getUserKeys", id=user["id"]).status == 531
    fresh = estate.demo.call("registerUserKeys", id=user["id"])["userkeys"]
    assert estate.demo.raw("listZones")[0] == 401
    estate.demo.key, estate.demo.secret = fresh["apikey"], fresh["secretkey"]
    assert estate.demo.raw("listZones")[0] == 200


def test_projects_are_made_and_list_their_members(estate):
    """A new project is its maker's, and others cannot see it."""
    project = estate.other.run("createProject", name="solo")["project"]
    assert estate.other.names("listProjects") == {"solo"}
    assert estate.demo.names("listProjects") == {"team"}
    member = estate.other.one("listProjectAccounts", projectid=project["id"])
    assert (member["account"], member["role"]) == ("other", "Admin")
    assert estate.demo.refusal("listProjectAccounts", projectid=project["id"]).status == 531
    assert estate.demo.refusal("createProject", name="solo").status == 431
