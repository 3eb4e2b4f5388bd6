"""Tags: no upsert, transactions, types and lists."""

import pytest

MISSING = "00000000-0000-4000-8000-000000000000"


def pairs(**tags):
    """tags[i].key and .value."""
    sent = {}
    for index, (key, value) in enumerate(tags.items()):
        sent |= {f"tags[{index}].key": key, f"tags[{index}].value": value}
    return sent


def test_tags_are_set_by_a_job_and_show_everywhere(cloud):
    """In listTags and in the resource's own array, as the same rows."""
    vm = cloud.machine("a")["id"]
    submitted = cloud.demo.call("createTags", resourceids=vm, resourcetype="uservm", **pairs(a="1"))
    assert set(submitted) == {"jobid"}
    assert cloud.demo.poll(submitted["jobid"])["jobresult"] == {"success": True}
    [row] = cloud.demo.rows("listTags")
    assert (row["key"], row["value"], row["resourcetype"], row["resourceid"]) == ("a", "1", "UserVm", vm)
    assert cloud.demo.one("listVirtualMachines")["tags"] == [row]


def test_a_present_key_fails_the_job_and_changes_nothing(cloud):
    """530, and no part of the call is done."""
    one, two = cloud.machine("a")["id"], cloud.machine("b")["id"]
    cloud.demo.run("createTags", resourceids=two, resourcetype="UserVm", **pairs(b="1"))
    failure = cloud.demo.job_refusal(
        "createTags", resourceids=f"{one},{two}", resourcetype="UserVm", **pairs(a="1", b="2")
    )
    assert (failure.status, "already on UserVm" in failure.body["errortext"]) == (530, True)
    assert (cloud.sim.tags(one), cloud.sim.tags(two)) == ({}, {"b": "1"})


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"resourcetype": "Nic"}, 431),
        ({"resourcetype": "Sandwich"}, 431),
        ({"resourceids": MISSING}, 431),
        ({"tags[0].value": ""}, 431),
        ({"tags[0].key": "k" * 256}, 530),
        ({"tags[0].value": "v" * 256}, 530),
    ],
)
def test_bad_tags_fail_in_the_job(cloud, params, status):
    """Nothing of a tag is checked before the job; over-long ones fail in the database."""
    vm = cloud.machine("a")["id"]
    values = {"resourceids": vm, "resourcetype": "UserVm", **pairs(a="1"), **params}
    assert cloud.demo.job_refusal("createTags", **values).status == status
    assert cloud.sim.tags(vm) == {}


def test_somebody_elses_resource_cannot_be_tagged(cloud):
    """531, in the job."""
    vm = cloud.machine("a")["id"]
    values = {"resourceids": vm, "resourcetype": "UserVm", **pairs(a="1")}
    assert cloud.other.job_refusal("createTags", **values).status == 531


def test_tags_are_deleted_by_key_by_pair_or_all(cloud):
    """A pair must match; nothing matched is a 530."""
    vm = cloud.machine("a")["id"]
    call = {"resourceids": vm, "resourcetype": "UserVm"}
    cloud.demo.run("createTags", **call, **pairs(a="1", b="2", c="3", d="4"))
    assert cloud.demo.job_refusal("deleteTags", **call, **pairs(a="9")).status == 530
    cloud.demo.run("deleteTags", **call, **pairs(a="1"))
    cloud.demo.run("deleteTags", **call, **{"tags[0].key": "b"})
    assert cloud.sim.tags(vm) == {"c": "3", "d": "4"}
    cloud.demo.run("deleteTags", **call)
    assert cloud.sim.tags(vm) == {}
    cloud.demo.run("createTags", **call, **pairs(a="2"))


def test_tags_are_listed_within_the_scope(cloud):
    """By resource, type, key, value and owner."""
    vm = cloud.machine("a")["id"]
    network = cloud.demo.one("listNetworks", account="demo")["id"]
    cloud.demo.run("createTags", resourceids=vm, resourcetype="UserVm", **pairs(a="1", b="2"))
    cloud.demo.run("createTags", resourceids=network, resourcetype="Network", **pairs(a="3"))
    rows = cloud.demo.rows
    assert len(rows("listTags")) == 3
    assert {row["value"] for row in rows("listTags", key="a")} == {"1", "3"}
    assert {row["key"] for row in rows("listTags", resourceid=vm)} == {"a", "b"}
    assert {row["value"] for row in rows("listTags", resourcetype="network")} == {"3"}
    assert cloud.other.rows("listTags") == []
    assert len(cloud.admin.rows("listTags", listall="true")) == 3


def test_tags_go_with_their_resource(cloud):
    """At the latest when it is expunged."""
    vm = cloud.machine("a")["id"]
    cloud.demo.run("createTags", resourceids=vm, resourcetype="UserVm", **pairs(a="1"))
    cloud.demo.run("destroyVirtualMachine", id=vm, expunge="true")
    assert cloud.demo.rows("listTags") == []


@pytest.mark.parametrize("kind", ["Volume", "Network", "PublicIpAddress", "Vpc", "SecurityGroup", "Project"])
def test_other_kinds_take_tags(cloud, kind):
    """Each shows them in its own list."""
    if kind == "Vpc":
        cloud.vpc()
    elif kind not in ("SecurityGroup", "Project"):
        cloud.machine("a")
    command = {"PublicIpAddress": "listPublicIpAddresses"}.get(kind, f"list{kind.replace('Vpc', 'VPC')}s")
    params = {"account": "demo"} if kind == "Network" else {}
    uuid = cloud.demo.one(command, **params)["id"]
    cloud.demo.run("createTags", resourceids=uuid, resourcetype=kind, **pairs(a="1"))
    assert cloud.demo.one(command, **params, **pairs(a="1"))["tags"][0]["key"] == "a"


def test_what_is_removed_before_the_job_ends_gets_no_tag(make_world):
    """Else tags would outlive what they are on."""
    cloud = make_world(job_seconds=0.0, job_seconds_by_command={"createTags": 0.3})
    vm = cloud.machine("short")["id"]
    job = cloud.demo.call(
        "createTags", resourceids=vm, resourcetype="UserVm", **{"tags[0].key": "a", "tags[0].value": "b"}
    )["jobid"]
    cloud.demo.run("destroyVirtualMachine", id=vm, expunge="true")
    assert cloud.demo.poll(job)["jobresultcode"] == 431
    assert cloud.sim.tags(vm) == {}
