"""CloudStack's replies as model objects: tables, without a server."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.catalog import choose, listed, name_of, offerings_of
from gceshim.drivers.cloudstack.families import place, same_family
from gceshim.drivers.cloudstack.images import templates_of
from gceshim.drivers.cloudstack.jobs import job_of
from gceshim.drivers.cloudstack.layout import layout_of
from gceshim.drivers.cloudstack.locations import regions_of, zones_of
from gceshim.drivers.cloudstack.predefined import PREDEFINED, Size, size_of
from gceshim.drivers.cloudstack.projects import quotas_of
from gceshim.drivers.cloudstack.rows import flag, number, time
from gceshim.drivers.cloudstack.settings import ImageOverride
from gceshim.drivers.cloudstack.tags import encode
from gceshim.drivers.cloudstack.vms import STATES, Surroundings, instance_of, state_of
from gceshim.model import ImageState, InstanceState, JobState, NetworkKind, QuotaKind

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2021-10-04T09:24:38+0000", datetime.datetime(2021, 10, 4, 9, 24, 38, tzinfo=datetime.UTC)),
        ("2014-06-23T22:24:21+0200", datetime.datetime(2014, 6, 23, 20, 24, 21, tzinfo=datetime.UTC)),
        ("2021-10-04T09:24:38", None),
        ("yesterday", None),
        (7, None),
        (None, None),
    ],
)
def test_times(written, meant):
    """CloudStack writes the zone without a colon."""
    assert time({"created": written}, "created") == meant


@pytest.mark.parametrize(("written", "meant"), [("20", 20), (20, 20), ("Unlimited", None), (None, None), (True, None)])
def test_numbers(written, meant):
    """Some are strings."""
    assert number({"x": written}, "x") == meant


@pytest.mark.parametrize(("written", "meant"), [(True, True), ("true", True), ("false", False), (None, False)])
def test_booleans(written, meant):
    """Old releases wrote strings."""
    assert flag({"x": written}, "x") is meant


def test_zones_and_regions():
    """A zone is `<name>-a` in a region of its own, or what the operator calls it."""
    rows = [
        {"id": "1", "name": "Paris 1", "allocationstate": "Enabled", "networktype": "Advanced"},
        {"id": "2", "name": "paris-1", "allocationstate": "Disabled", "networktype": "Basic"},
        {"id": "3", "name": "x" * 80, "allocationstate": "Enabled", "securitygroupsenabled": True},
        {"id": "4", "name": "Old", "allocationstate": "Enabled"},
    ]
    zones = zones_of(rows, {"Old": "us-east1-b"})
    assert [(zone.name, zone.region, zone.up, zone.security_groups) for zone in zones] == [
        ("paris-1-1-a", "paris-1-1", True, False),
        ("paris-1-a", "paris-1", False, True),
        ("us-east1-b", "us-east1", True, False),
        ("x" * 61 + "-a", "x" * 61, True, True),
    ]
    assert next((region.name, region.up) for region in regions_of(zones)) == ("paris-1", False)


OFFERINGS = [
    {"id": "small", "name": "Small Instance", "cpunumber": 1, "memory": 512, "created": "2021-01-01T00:00:00+0000"},
    {"id": "std1", "name": "Standard", "cpunumber": 1, "memory": 3840, "displaytext": "One of GCE's"},
    {
        "id": "narrow",
        "name": "Narrow",
        "iscustomized": True,
        "cpuspeed": 2000,
        "serviceofferingdetails": {
            "mincpunumber": "1",
            "maxcpunumber": "4",
            "minmemory": "512",
            "maxmemory": "8192",
        },
    },
    {"id": "free", "name": "Free", "iscustomized": True},
    {"id": "gone", "name": "Gone", "cpunumber": 1, "memory": 512, "state": "Inactive"},
]


def test_machine_types_that_are_listed():
    """Fixed offerings and aliases that lead to something; custom ones have no size of their own."""
    aliases = {"tiny": "Small Instance", "e2-medium": "Free", "lost": "Nothing", "sizeless": "Free"}
    found = listed(offerings_of(OFFERINGS), aliases, "z-a")
    assert [(item.name, item.vcpus, item.memory_mib, item.custom) for item in found] == [
        ("e2-medium", 2, 4096, True),
        ("small-instance", 1, 512, False),
        ("standard", 1, 3840, False),
        ("tiny", 1, 512, False),
    ]
    assert len({item.id for item in found}) == 4


@pytest.mark.parametrize(
    ("name", "offering", "vcpus", "memory_mib"),
    [
        ("small-instance", "small", 1, 512),
        ("Small Instance", "small", 1, 512),
        ("n1-standard-1", "std1", 1, 3840),
        ("n1-highcpu-2", "narrow", 2, 1843),
        ("e2-medium", "narrow", 2, 4096),
        ("n2-standard-8", "free", 8, 32768),
        ("custom-3-700", "narrow", 3, 700),
        ("custom-1-3840", "narrow", 1, 3840),
        ("n2-custom-6-10240", "free", 6, 10240),
        ("e2-custom-2-4096-ext", "narrow", 2, 4096),
    ],
)
def test_machine_types_that_can_be_had(name, offering, vcpus, memory_mib):
    """A size of GCE's on a fixed offering of just that size, or on the first custom one that allows it."""
    choice = choose(offerings_of(OFFERINGS), {}, name, "z-a")
    assert (choice.offering.backend_id, choice.vcpus, choice.memory_mib) == (offering, vcpus, memory_mib)
    asked = {"backend_id": offering, "vcpus": vcpus, "memory_mib": memory_mib}
    assert name_of(offerings_of(OFFERINGS), {}, name, **asked) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("custom-7-4096", "1 to 4; or the number of vCPUs must be 1 or even"),
        ("custom-8-1000", "1 to 4; or memory must be a multiple of 256 MiB"),
    ],
)
def test_sizes_that_cannot_be_had_say_why(name, words):
    """Of each offering that was tried."""
    with pytest.raises(errors.Invalid, match=words):
        choose(offerings_of(OFFERINGS), {}, name, "z-a")


@pytest.mark.parametrize(
    "name", ["gone", "narrow", "nosuch", "custom-0-1", "custom-2", "n9-standard-2", "n1-standard-3"]
)
def test_machine_types_that_are_not_there(name):
    """Also a custom offering without a size, and a closed one."""
    with pytest.raises(errors.NotFound):
        choose(offerings_of(OFFERINGS), {}, name, "z-a")


def test_the_machine_type_shown_is_what_is_true():
    """What was asked for, until the machine was changed."""
    offerings = offerings_of(OFFERINGS)
    assert name_of(offerings, {}, "n1-standard-1", backend_id="small", vcpus=1, memory_mib=512) == "small-instance"
    assert name_of(offerings, {}, "custom-2-4096", backend_id="free", vcpus=4, memory_mib=512) == "custom-4-512"
    assert name_of(offerings, {}, "", backend_id="removed", vcpus=4, memory_mib=512) == ""


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("n1-standard-1", (1, 3840)),
        ("n1-highmem-2", (2, 13312)),
        ("n1-highcpu-4", (4, 3686)),
        ("e2-micro", (2, 1024)),
        ("e2-standard-4", (4, 16384)),
        ("n2d-highmem-2", (2, 16384)),
        ("n2-highcpu-2", (2, 2048)),
        ("f1-micro", (1, 614)),
        ("g1-small", (1, 1740)),
    ],
)
def test_predefined_sizes(name, size):
    """As GCE's own documentation has them."""
    assert PREDEFINED[name] == Size(*size)
    assert size_of("custom-2-512") == Size(2, 512, chosen=True)


@pytest.mark.parametrize(
    ("system", "project", "family"),
    [
        ("Debian GNU/Linux 12 (64-bit)", "debian-cloud", "debian-12"),
        ("Ubuntu 22.04 LTS", "ubuntu-os-cloud", "ubuntu-2204-lts"),
        ("Ubuntu 24.04 LTS", "ubuntu-os-cloud", "ubuntu-2404-lts-amd64"),
        ("Ubuntu 23.10", "ubuntu-os-cloud", "ubuntu-2310-amd64"),
        ("Rocky Linux 9", "rocky-linux-cloud", "rocky-linux-9"),
        ("AlmaLinux 9 (64-bit)", "almalinux-cloud", "almalinux-9"),
        ("CentOS Stream 9", "centos-cloud", "centos-stream-9"),
        ("CentOS 7 (64-bit)", "centos-cloud", "centos-7"),
        ("Red Hat Enterprise Linux 9 (64-bit)", "rhel-cloud", "rhel-9"),
        ("Oracle Linux 8", "oracle-linux-cloud", "oracle-linux-8"),
        ("SUSE Linux Enterprise Server 15 (64-bit)", "suse-cloud", "sles-15"),
        ("openSUSE Leap 15 (64-bit)", "opensuse-cloud", "opensuse-leap-15"),
        ("Fedora CoreOS", "fedora-coreos-cloud", "fedora-coreos-stable"),
        ("Windows Server 2022 (64-bit)", "windows-cloud", "windows-2022"),
        ("Other Linux (64-bit)", "cloudstack-images", ""),
        ("", "cloudstack-images", ""),
    ],
)
def test_systems_have_image_projects_and_families(system, project, family):
    """The names that unmodified configurations use."""
    assert place(system) == (project, family)


def test_families_have_aliases():
    """gcloud's users write Ubuntu's either way."""
    assert same_family("ubuntu-2404-lts", "ubuntu-2404-lts-amd64")
    assert same_family("ubuntu-2204-lts-amd64", "ubuntu-2204-lts")
    assert not same_family("", "")
    assert not same_family("debian-12", "debian-11")


def test_templates_become_images():
    """One for each template, though CloudStack has a row for each zone of it."""
    base = {"name": "My Debian", "ostypename": "Debian GNU/Linux 12 (64-bit)", "size": 5 * 2**30, "arch": "x86_64"}
    rows = [
        {**base, "id": "1", "zoneid": "z1", "isready": True, "created": "2021-01-01T00:00:00+0000"},
        {**base, "id": "1", "zoneid": "z2", "isready": True, "created": "2021-01-01T00:00:00+0000"},
        {**base, "id": "2", "zoneid": "z1", "isready": False, "status": "42% Downloaded", "name": "half"},
        {**base, "id": "3", "zoneid": "z1", "isready": False, "status": "Connection refused", "name": "broken"},
        {**base, "id": "4", "zoneid": "z1", "isready": True, "name": "moved", "ostypename": "Other"},
        {**base, "id": "5", "isready": True, "name": "tagged", "tags": [{"key": "gce:family", "value": '"mine"'}]},
    ]
    found = {item.image.name: item for item in templates_of(rows, {"moved": ImageOverride("rhel-cloud", "rhel-9")})}
    assert set(found) == {"my-debian", "half", "broken", "moved", "tagged"}
    assert found["my-debian"].zone_ids == {"z1", "z2"}
    assert found["my-debian"].image.architecture == "X86_64"
    assert found["my-debian"].image.family == "debian-12"
    assert found["half"].image.state is ImageState.PENDING
    assert found["broken"].image.state is ImageState.FAILED
    assert (found["moved"].image.project, found["moved"].image.family) == ("rhel-cloud", "rhel-9")
    assert found["tagged"].image.family == "mine"
    own = templates_of(rows, {}, own_project="p1")
    assert {item.image.project for item in own} == {"p1"}
    assert all(item.image.own for item in own)


ZONES = zones_of(
    [
        {"id": "z1", "name": "one"},
        {"id": "z2", "name": "two"},
        {"id": "sg", "name": "sg", "securitygroupsenabled": True},
    ],
    {},
)


def net(key, name, zone="z1", kind="Isolated", **more):
    """A row of listNetworks."""
    return {"id": key, "name": name, "zoneid": zone, "type": kind, "created": f"2021-01-0{len(key)}", **more}


def test_networks_of_one_name_are_one_network():
    """With a range in each region."""
    layout = layout_of([net("a", "default"), net("b", "default", "z2"), net("c", "Web Net")], [], ZONES, "me")
    assert {name: len(item.subnetworks) for name, item in layout.networks.items()} == {"default": 2, "web-net": 1}
    assert layout.places["b"].subnetwork.region == "two"
    assert layout.network("web-net").kind is NetworkKind.FLAT


def test_vpcs_and_their_tiers():
    """A tier is a subnetwork; two of one name in a region have two names."""
    vpcs = [{"id": "v1", "name": "prod", "zoneid": "z1", "cidr": "10.0.0.0/8"}]
    vpcs.append({"id": "v2", "name": "test", "zoneid": "z1", "cidr": "10.0.0.0/8"})
    tiers = [net("t1", "web", vpcid="v1", cidr="10.1.0.0/24"), net("t22", "web", vpcid="v2"), net("f", "flat")]
    layout = layout_of(tiers, vpcs, ZONES, "me")
    assert layout.network("prod").kind is NetworkKind.VPC
    assert [item.name for item in layout.network("prod").subnetworks] == ["web"]
    assert [item.name for item in layout.network("test").subnetworks] == ["web-t22"]
    assert layout.places["t1"].subnetwork.cidr == "10.1.0.0/24"
    assert set(layout.networks) == {"prod", "test", "default"}  # the sole isolated one is the default
    assert layout.aliases == {"flat": "default"}


@pytest.mark.parametrize(
    ("networks", "vpcs", "where"),
    [
        ([], [], {}),
        ([net("a", "default"), net("b", "web")], [], {"z1": "a"}),
        ([net("a", "web")], [], {"z1": "a"}),
        ([net("a", "web"), net("b", "db")], [], {}),
        ([net("a", "web", tags=[{"key": "gce:default-network", "value": "true"}]), net("b", "db")], [], {"z1": "a"}),
        ([net("a", "pub", "sg", "Shared"), net("b", "web")], [], {"sg": "a", "z1": "b"}),
        ([net("a", "pub", "z1", "Shared")], [], {}),
        ([net("a", "flat", kind="L2")], [], {}),
        ([net("t", "tier", vpcid="v")], [{"id": "v", "name": "default", "zoneid": "z1"}], {"z1": "t"}),
        ([net("a", "x", "gone")], [], {}),
    ],
)
def test_what_stands_for_the_default_network(networks, vpcs, where):
    """Zone by zone: by name or mark, the shared one, the only one, none."""
    layout = layout_of(networks, vpcs, ZONES, "me")
    assert "default" in layout.networks
    found = {key: place.zone_id for key, place in layout.places.items() if place.network == "default"}
    assert found == {key: zone for zone, key in where.items()}


@given(
    st.lists(
        st.builds(
            lambda key, name, zone, kind, vpc: {
                "id": str(key),
                "name": name,
                "zoneid": zone,
                "type": kind,
                **({"vpcid": vpc} if vpc else {}),
            },
            st.uuids(),
            st.sampled_from(["default", "web", "Web", "a b"]),
            st.sampled_from(["z1", "z2", "sg"]),
            st.sampled_from(["Isolated", "Shared", "L2"]),
            st.sampled_from(["", "", "v1", "v2"]),
        ),
        max_size=8,
    )
)
def test_names_of_networks_and_subnetworks_are_of_one_kind(rows):
    """Whatever there is, each has a place, and names are unique where they have to be."""
    vpcs = [{"id": key, "name": "web", "zoneid": "z1"} for key in ("v1", "v2")]
    layout = layout_of(rows, vpcs, ZONES, "me")
    assert len(layout.places) == len(rows)
    names = [(place.subnetwork.region, place.subnetwork.name) for place in layout.places.values()]
    assert len(set(names)) == len(names)
    for item in layout.places.values():
        assert item.subnetwork in layout.networks[item.network].subnetworks


def test_every_state_has_a_meaning(caplog):
    """Also one that comes with a later CloudStack; it is logged."""
    for word, state in STATES.items():
        assert state_of({"state": word}) is state
    assert caplog.records == []
    assert state_of({"state": "Hibernating"}) is InstanceState.UNKNOWN
    assert "Hibernating" in caplog.text
    new = {"state": "Stopped", "jobid": "j", "jobstatus": 0}
    assert state_of({**new, "details": {"gceoperation": "o"}}) is InstanceState.PROVISIONING
    assert state_of(new) is InstanceState.STARTING


VM = {
    "id": "11111111-0000-4000-8000-000000000000",
    "name": "vm1",
    "zoneid": "z1",
    "state": "Running",
    "cpunumber": 1,
    "memory": 512,
    "serviceofferingid": "small",
    "created": "2021-10-04T09:24:38+0000",
    "nic": [
        {"networkid": "b", "ipaddress": "10.2.0.2", "isdefault": False, "deviceid": "1"},
        {"networkid": "a", "ipaddress": "10.1.0.2", "isdefault": True, "deviceid": "0"},
    ],
}
AROUND = Surroundings(
    {zone.backend_id: zone for zone in ZONES},
    {"z1": offerings_of(OFFERINGS)},
    {},
    layout_of([net("a", "default"), net("b", "web")], [], ZONES, "me"),
)


def test_a_machine_made_elsewhere():
    """Without any tag of ours, with static NAT of CloudStack's, and with a data disk."""
    volumes = [
        {"virtualmachineid": VM["id"], "type": "DATADISK", "name": "DATA-7", "deviceid": 1, "size": 2**30},
        {"virtualmachineid": VM["id"], "type": "ROOT", "name": "ROOT-7", "deviceid": 0, "size": 2**31},
        {"virtualmachineid": "other", "type": "DATADISK", "name": "DATA-8", "size": 1},
    ]
    made = instance_of({**VM, "publicip": "1.2.3.4", "publicipid": "ip"}, "vm1", volumes, AROUND)
    assert (made.zone, made.machine_type, made.vcpus, made.memory_mib) == ("one-a", "small-instance", 1, 512)
    assert [(nic.name, nic.network, nic.address) for nic in made.interfaces] == [
        ("nic0", "default", "10.1.0.2"),
        ("nic1", "web", "10.2.0.2"),
    ]
    assert made.interfaces[0].external.address == "1.2.3.4"
    assert made.interfaces[0].external.ephemeral is False
    assert made.interfaces[1].external is None
    assert [(disk.name, disk.boot, disk.size_bytes) for disk in made.disks] == [
        ("vm1", True, 2**31),
        ("data-7", False, 2**30),
    ]


@pytest.mark.parametrize(
    ("noted", "row", "address"),
    [
        ({"name": "nat", "id": "ip", "address": "1.1.1.1"}, {"publicip": "1.2.3.4", "publicipid": "ip"}, "1.2.3.4"),
        ({"name": "nat", "id": "ip", "address": "1.1.1.1"}, {}, None),
        ({"name": "nat", "id": "ip", "address": "1.1.1.1"}, {"publicip": "9.9.9.9", "publicipid": "x"}, "1.1.1.1"),
        ({"name": "nat", "shared": True}, {}, "10.1.0.2"),
    ],
)
def test_the_way_in_is_what_cloudstack_says(noted, row, address):
    """The note says what it is called and whether it goes with the machine."""
    tags = encode({}, {"external": {"0": noted}})
    rows = [{"key": key, "value": value} for key, value in tags.items()]
    made = instance_of({**VM, **row, "tags": rows}, "vm1", [], AROUND)
    assert (made.interfaces[0].external.name, made.interfaces[0].external.address) == ("nat", address)


@given(st.dictionaries(st.sampled_from(["nic", "tags", "details", "state", "cpunumber", "memory", "created"]), ANY))
def test_any_row_can_be_shown(fields):
    """One odd machine must not hide all others."""
    instance_of({**VM, **fields}, "vm1", [], AROUND)


@pytest.mark.parametrize(
    ("row", "state", "error"),
    [
        ({"jobstatus": 0}, JobState.PENDING, ""),
        ({"jobstatus": 1, "jobresult": {"success": True}}, JobState.DONE, ""),
        ({"jobstatus": 2, "jobresult": {"errorcode": 533, "errortext": "full"}}, JobState.FAILED, "CapacityExhausted"),
        ({"jobstatus": 2, "jobresultcode": 535, "jobresult": {"errortext": "much"}}, JobState.FAILED, "QuotaExceeded"),
        ({"jobstatus": 2}, JobState.FAILED, "Failed"),
    ],
)
def test_jobs(row, state, error):
    """A failed one stands for an error by the same table as a reply."""
    job = job_of("j1", {"cmd": "org.apache.cloudstack.api.command.admin.vm.DeployVMCmdByAdmin", **row})
    assert (job.state, job.error) == (state, error)
    if error:
        assert "j1 (DeployVM)" in job.detail


def test_a_job_of_no_state_is_no_job():
    """It is asked for again."""
    with pytest.raises(errors.Unavailable):
        job_of("j1", {})


def test_unlimited_is_no_limit():
    """And what CloudStack does not tell is left out."""
    quotas = quotas_of({"vmlimit": "Unlimited", "vmtotal": 3, "iplimit": "20", "iptotal": -1, "cpulimit": "-1"})
    assert [(item.kind, item.limit, item.usage) for item in quotas] == [
        (QuotaKind.INSTANCES, None, 3),
        (QuotaKind.VCPUS, None, None),
        (QuotaKind.ADDRESSES, 20, -1),
    ]
