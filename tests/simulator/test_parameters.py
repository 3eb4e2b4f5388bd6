"""Parameters: what is missing, unreadable, too long or dangling, and how lists and maps are spelt."""

import pytest

MISSING = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("command", "params", "codes", "text"),
    [
        ("listTemplates", {}, (431, 9999), "due to missing parameter templatefilter"),
        ("deployVirtualMachine", {}, (431, 9999), "Unable to execute API command deployvirtualmachine due to missing"),
        ("listZones", {"id": MISSING}, (431, 4350), "entity does not exist"),
        ("listZones", {"id": "7"}, (431, 4350), "due to incorrect long value format"),
        ("listZones", {"id": ""}, (431, 4350), "Invalid parameter id"),
        ("listZones", {"ids": f"{MISSING},x"}, (431, 4350), "Invalid parameter ids"),
        ("listZones", {"page": "one", "pagesize": "1"}, (431, 9999), "invalid value one for parameter page"),
        ("listZones", {"page": "99999999999", "pagesize": "1"}, (431, 9999), "for parameter page"),
        ("listZones", {"name": "x" * 256}, (431, 9999), "Value greater than max allowed length 255 for param: name"),
        ("listZones", {"name": "a\x01b"}, (431, 9999), "illegal ASCII non-printable characters for parameter name"),
        ("listZones", {"tags": "flat"}, (431, 9999), "for parameter tags"),
        ("listZones", {"name[0].x": "1"}, (431, 9999), "for parameter name"),
        ("listZones", {"tags[a].key": "1"}, (430, 9999), "Unable to decode parameter tags[a].key"),
        ("listZones", {"tags[0]": "1"}, (430, 9999), "please use parameter[index].field=XXX"),
        ("listZones", {"tags[0][1].key": "1"}, (430, 9999), "Unable to decode"),
        ("listHosts", {}, (432, 4555), "The API [listHosts] does not exist or is not available for the account demo."),
        ("listTemplates", {"templatefilter": "all"}, (431, 4350), "Filter all can be specified by admin only"),
        ("listTemplates", {"templatefilter": "mine"}, (431, 4350), "templatefilter"),
        ("queryAsyncJobResult", {}, (431, 4350), "Expected parameter job id or parameters resource type"),
        ("queryAsyncJobResult", {"jobid": MISSING}, (431, 4350), "Invalid parameter jobid"),
        ("listAsyncJobs", {"startdate": "yesterday"}, (431, 9999), "yyyy-MM-dd"),
        ("listVirtualMachines", {"details": "nics,everything"}, (431, 4350), "non permitted value"),
        ("listVirtualMachines", {"hypervisor": "Abacus"}, (431, 4350), "hypervisor"),
    ],
)
def test_a_bad_parameter_is_refused_with_the_servers_code(cloud, command, params, codes, text):
    """Clients branch on status and cserrorcode; people read the text."""
    failure = cloud.demo.refusal(command, **params)
    assert (failure.status, failure.body["cserrorcode"]) == codes
    assert failure.body["errorcode"] == failure.status
    assert text in failure.body["errortext"]
    assert failure.body["uuidList"] == []


def test_the_error_text_is_in_a_header_too(cloud):
    """X-Description is what proxies and old clients show."""
    status, headers, _ = cloud.demo.send(cloud.demo.signed("listTemplates", {}))
    assert (status, headers["X-Description"][:30]) == (431, "Unable to execute API command ")


def test_a_forbidden_command_is_wrapped_as_errorresponse(cloud):
    """432 never uses the command's own response name."""
    assert list(cloud.demo.raw("listHosts")[1]) == ["errorresponse"]


def test_parameter_names_are_bound_in_any_case(cloud):
    """zoneId and zoneid are the same parameter."""
    assert cloud.demo.one("listZones", NAME="sandbox 1")["name"] == "Sandbox 1"


def test_unknown_parameters_are_ignored(cloud):
    """So are those that only administrators may use."""
    assert len(cloud.demo.rows("listZones", colour="blue", clusterid="nonsense")) == 2


@pytest.mark.parametrize(("text", "rows"), [("true", 2), ("TRUE", 2), ("1", 3), ("yes", 3), ("", 3)])
def test_only_true_is_true(make_world, text, rows):
    """Java's Boolean.valueOf; available=true hides disabled zones from the administrator."""
    from gceshim.simulator.settings import ZoneSettings

    world = make_world(zones=(ZoneSettings("a"), ZoneSettings("b"), ZoneSettings("c", enabled=False)))
    assert len(world.admin.rows("listZones", available=text)) == rows


def test_maps_are_read_in_order_of_their_index_whatever_it_is(cloud):
    """Clients number from 0 or 1 and leave gaps."""
    vm = cloud.machine("m")["id"]
    params = {"tags[7].key": "b", "tags[7].value": "2", "tags[-1].key": "a", "tags[-1].value": "1"}
    cloud.demo.run("createTags", resourceids=vm, resourcetype="UserVm", **params)
    assert cloud.sim.tags(vm) == {"a": "1", "b": "2"}


def test_id_and_ids_together_are_refused(cloud):
    """The server cannot tell which is meant."""
    failure = cloud.demo.refusal("listZones", id=cloud.zone, ids=cloud.sg_zone)
    assert (failure.status, failure.body["errortext"]) == (431, "Specify either id or ids but not both parameters")


def test_a_long_url_is_refused_as_the_servlet_container_does(cloud):
    """Large user data must be posted."""
    status, headers, _ = cloud.demo.send(cloud.demo.signed("listZones", {"keyword": "x" * 9000}))
    assert (status, headers["Content-Type"]) == (414, "text/html")


def test_xml_is_the_default_format(cloud):
    """A client that forgets response=json gets XML from a real server too."""
    from urllib.parse import urlencode

    from tests.simulator.api import sign

    values = {"command": "listHypervisors", "apiKey": cloud.demo.key}
    status, headers, text = cloud.demo.send(urlencode({**values, "signature": sign(values, cloud.demo.secret)}))
    assert (status, headers["Content-Type"]) == (200, "text/xml; charset=UTF-8")
    assert "<listhypervisorsresponse><count>1</count><hypervisor><name>KVM</name></hypervisor>" in text
