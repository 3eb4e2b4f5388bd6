"""Lists: envelopes, pages, filters and their order."""

import pytest


def test_an_empty_list_is_an_empty_object(cloud):
    """Neither count nor array: the case that naive clients trip over."""
    assert cloud.demo.raw("listVirtualMachines") == (200, {"listvirtualmachinesresponse": {}})


def test_a_list_has_the_count_of_all_matches(cloud):
    """count is not the length of the page."""
    content = cloud.demo.call("listOsTypes", page=2, pagesize=3)
    assert (content["count"], len(content["ostype"])) == (8, 3)


def test_a_page_past_the_end_is_a_count_alone(cloud):
    """Clients stop at the missing array."""
    assert cloud.demo.call("listOsTypes", page=4, pagesize=3) == {"count": 8}


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"page": 1}, '"pagesize" parameter is required when "page" is specified'),
        ({"pagesize": 1}, '"page" parameter is required when "pagesize" is specified'),
        ({"page": 1, "pagesize": 501}, "Page size can't exceed max allowed page size value: 500"),
        ({"page": 1, "pagesize": -1}, "Can't specify page parameter when pagesize is -1 (Unlimited)"),
    ],
)
def test_page_and_pagesize_go_together(cloud, params, text):
    """One without the other is refused, as are pages of more than 500."""
    failure = cloud.demo.refusal("listZones", **params)
    assert (failure.status, failure.body["errortext"]) == (431, text)


@pytest.mark.parametrize(("params", "rows"), [({}, 500), ({"pagesize": -1}, 620), ({"page": 0, "pagesize": 7}, 7)])
def test_default_and_unlimited_pages(make_world, params, rows):
    """Without parameters there are 500 rows and the count of all; -1 is no limit; page 0 is the first."""
    content = make_world(machines=620).demo.call("listVirtualMachines", **params)
    assert (content["count"], len(content["virtualmachine"])) == (620, rows)


def test_pages_cover_everything_once(make_world):
    """The order is stable from page to page."""
    world = make_world(machines=45)
    pages = [world.demo.rows("listVirtualMachines", page=page, pagesize=20) for page in (1, 2, 3)]
    names = [row["name"] for page in pages for row in page]
    assert names == [f"machine-{number:05d}" for number in range(1, 46)]


def test_retrieveonlyresourcecount_has_no_rows(make_world):
    """Dashboards ask this way."""
    world = make_world(machines=3)
    assert world.demo.call("listVirtualMachines", retrieveonlyresourcecount="true") == {"count": 3}


def test_templates_have_one_row_for_each_zone(cloud):
    """Unless narrowed by zone or made unique."""
    rows = cloud.demo.rows("listTemplates", templatefilter="featured", name="Debian 12")
    assert {row["zonename"] for row in rows} == {"Sandbox 1", "Sandbox SG"}
    one = cloud.demo.rows("listTemplates", templatefilter="featured", name="debian 12", zoneid=cloud.zone)
    assert [row["zonename"] for row in one] == ["Sandbox 1"]
    assert len(cloud.demo.rows("listTemplates", templatefilter="featured", name="Debian 12", showunique="true")) == 1


PUBLIC = {
    "Debian 12",
    "Debian 11",
    "Ubuntu 22.04 LTS",
    "Ubuntu 24.04 LTS",
    "Rocky Linux 9",
    "CentOS Stream 9",
    "Windows Server 2022",
}


@pytest.mark.parametrize(
    ("account", "wanted", "names"),
    [
        ("demo", "featured", PUBLIC),
        ("demo", "community", {"Community Alpine"}),
        ("demo", "self", {"demo-golden"}),
        ("demo", "selfexecutable", {"demo-golden"}),
        ("demo", "shared", set()),
        ("demo", "executable", PUBLIC | {"Community Alpine", "demo-golden"}),
        ("other", "self", {"Community Alpine"}),
        ("other", "executable", PUBLIC | {"Community Alpine"}),
        ("admin", "all", PUBLIC | {"Community Alpine", "demo-golden"}),
    ],
)
def test_template_filters_choose_by_owner_and_visibility(cloud, account, wanted, names):
    """Private templates of others are never seen."""
    assert cloud.api(account).names("listTemplates", templatefilter=wanted) == names


def test_isos_and_templates_do_not_answer_for_each_other(cloud):
    """An id of the other kind is an error, not an empty list."""
    iso = cloud.uuid("listIsos", "Debian 12 netinst", isofilter="all")
    failure = cloud.demo.refusal("listTemplates", templatefilter="executable", id=iso)
    assert failure.body["errortext"] == "Incorrect format ISO of the specified template id"
    failure = cloud.demo.refusal("listIsos", isofilter="executable", id=cloud.template())
    assert failure.body["errortext"] == "Specified Template Id is not an ISO"
    assert cloud.demo.names("listIsos", isofilter="featured") == {"Debian 12 netinst"}


def test_name_is_exact_and_keyword_is_a_part(cloud):
    """Whatever the API documentation says of name."""
    cloud.machine("web-1")
    cloud.machine("web-2", displayname="Front Door")
    assert cloud.demo.rows("listVirtualMachines", name="web") == []
    assert cloud.demo.names("listVirtualMachines", name="WEB-1") == {"web-1"}
    assert cloud.demo.names("listVirtualMachines", keyword="web") == {"web-1", "web-2"}
    assert cloud.demo.names("listVirtualMachines", keyword="front") == {"web-2"}
    assert cloud.demo.names("listVirtualMachines", keyword="10.1.1.2") == {"web-1"}


def test_machine_filters(cloud):
    """Each narrows the list by itself."""
    first = cloud.machine("a")
    cloud.machine("b", startvm="false")
    api = cloud.demo
    assert api.names("listVirtualMachines", state="Running") == {"a"}
    assert api.names("listVirtualMachines", state="Present") == {"a", "b"}
    assert api.names("listVirtualMachines", id=first["id"]) == {"a"}
    assert api.names("listVirtualMachines", ids=first["id"]) == {"a"}
    assert api.names("listVirtualMachines", zoneid=cloud.sg_zone) == set()
    assert api.names("listVirtualMachines", networkid=first["nic"][0]["networkid"]) == {"a", "b"}
    assert api.names("listVirtualMachines", templateid=cloud.template("Debian 11")) == set()
    assert api.names("listVirtualMachines", serviceofferingid=cloud.offering()) == {"a", "b"}


def test_details_min_leaves_the_parts_out(cloud):
    """Base columns only: cheap lists for large clouds."""
    cloud.machine("a")
    row = cloud.demo.one("listVirtualMachines", details="min")
    assert not {"nic", "securitygroup", "templateid", "serviceofferingid", "cpuused"} & set(row)
    row = cloud.demo.one("listVirtualMachines", details="nics")
    assert len(row["nic"]) == 1
    assert "templateid" not in row


def test_tag_filters_match_any_of_the_pairs(cloud):
    """OR, not AND: clients must narrow further themselves."""
    for name, key in (("a", "red"), ("b", "blue"), ("c", "green")):
        vm = cloud.machine(name)["id"]
        params = {"tags[0].key": key, "tags[0].value": "1"}
        cloud.demo.run("createTags", resourceids=vm, resourcetype="UserVm", **params)
    pairs = {"tags[0].key": "red", "tags[0].value": "1", "tags[1].key": "blue", "tags[1].value": "1"}
    assert cloud.demo.names("listVirtualMachines", **pairs) == {"a", "b"}
    assert cloud.demo.names("listVirtualMachines", **{"tags[0].key": "red", "tags[0].value": "2"}) == set()
    assert cloud.demo.names("listVirtualMachines", **{"tags[0].key": "green"}) == {"c"}


def test_volumes_are_listed_newest_first_and_type_is_a_part(cloud):
    """VMs oldest first, volumes newest first: as the server's views order them."""
    cloud.machine("a", diskofferingid=cloud.disk_offering("Small"))
    assert [row["name"] for row in cloud.demo.rows("listVolumes")] == ["DATA-1", "ROOT-1"]
    assert cloud.demo.names("listVolumes", type="data") == {"DATA-1"}
    assert cloud.demo.names("listVolumes", type="ROOT") == {"ROOT-1"}


def test_vpcs_are_found_by_part_of_their_name(cloud):
    """listVPCs is the exception to exact names."""
    cloud.vpc("production")
    assert cloud.demo.names("listVPCs", name="duct") == {"production"}


def test_admin_only_fields_are_hidden_from_users(cloud):
    """Hosts and internal names are the operator's."""
    cloud.machine("a")
    hidden = {"hostid", "hostname", "instancename"}
    assert hidden & set(cloud.demo.one("listVirtualMachines")) == set()
    row = cloud.admin.one("listVirtualMachines", listall="true")
    assert hidden <= set(row)
    assert row["instancename"].startswith("i-")
    assert "vlan" in cloud.admin.one("listNetworks", listall="true", type="Isolated")
    assert "vlan" not in cloud.demo.one("listNetworks", account="demo")


def test_dates_and_units_are_those_of_the_wire(cloud):
    """Bytes for volumes and templates, GB for disk offerings, MB for memory; dates without colon in the zone."""
    import re

    cloud.machine("a")
    vm = cloud.demo.one("listVirtualMachines")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000", vm["created"])
    assert (vm["cpunumber"], vm["memory"]) == (1, 1024)
    assert cloud.demo.one("listVolumes")["size"] == 10 * 1024**3
    assert cloud.demo.one("listDiskOfferings", name="Small")["disksize"] == 5
    custom = cloud.demo.one("listDiskOfferings", name="Custom")
    assert (custom["disksize"], custom["iscustomized"]) == (0, True)


def test_custom_offerings_have_no_sizes_and_come_last(cloud):
    """cpunumber, cpuspeed and memory are absent, not null and not 0."""
    rows = cloud.demo.rows("listServiceOfferings")
    assert [row["iscustomized"] for row in rows] == sorted(row["iscustomized"] for row in rows)
    assert not {"cpunumber", "cpuspeed", "memory"} & set(rows[-2])
    limits = {"mincpunumber": "1", "maxcpunumber": "8", "minmemory": "512", "maxmemory": "16384"}
    assert rows[-1]["serviceofferingdetails"] == limits
