"""Any parameters on any command: an answer of the API's form, never a trace or a hang."""

import json
from urllib.parse import urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gceshim.simulator.catalogue import check_row, load_catalogue
from gceshim.simulator.entities import Vm
from gceshim.simulator.errors import STATUSES
from gceshim.simulator.params import ENTITIES
from tests.simulator.api import sign

SPECS = load_catalogue().commands
COMMANDS = sorted(set(SPECS) - {"login", "logout", "registerUserKeys"})

words = st.sampled_from(
    [
        "",
        "-1",
        "0",
        "1",
        "7",
        "65536",
        "true",
        "tcp",
        "icmp",
        "all",
        "default",
        "self",
        "featured",
        "a b",
        "é\u2028",
        "x" * 300,
        "10.0.0.0/8",
        "10.1.1.1",
        "255.255.255.0",
        "UserVm",
        "Volume",
        "eHh4eA==",
        "0.0.0.0/0,::/0",
        "999999999999999999999",
        "2024-01-01",
        "\x00",
        "%zz",
        "Running",
        "web-1",
        "demo",
        "nics,min",
        "1e400",
        "nan",
        "\u0663",
        "\u00b2",
    ]
)


#: Values that bring a call past its first checks.
GOOD = {
    "templatefilter": ["featured", "executable", "self"],
    "protocol": ["tcp", "udp", "icmp", "all"],
    "cidr": ["10.3.0.0/16"],
    "cidrlist": ["10.0.0.0/8", "0.0.0.0/0"],
    "name": ["web-9", "k", "default", "n"],
    "gateway": ["10.0.2.1"],
    "netmask": ["255.255.255.0"],
    "size": ["1", "20", "200"],
    "resourcetype": ["UserVm", "Volume", "0", "9"],
    "resourcetypename": ["cpu"],
    "userdata": ["eHh4eA==", "eHh4eHh4"],
    "publickey": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJXmcXgSPL1YrhzYkYEkGnRuvMuJbPzCzJUBM0iUSbVh a@b"],
    "userapikey": ["demo-api-key"],
    "keypair": ["k"],
    "account": ["demo", "other"],
    "listall": ["true"],
    "page": ["1"],
    "pagesize": ["5"],
}
#: Parameters without which a call is refused, though the catalogue does not say so.
NEEDED = {
    "createNetworkACL": ["aclid"],
    "createNetwork": ["networkofferingid"],
    "createVolume": ["diskofferingid", "size", "zoneid"],
    "createVPC": ["cidr"],
    "deployVirtualMachine": ["templateid", "networkids"],
    "resizeVolume": ["size"],
    "replaceNetworkACLList": ["networkid"],
    "associateIpAddress": ["networkid"],
    "detachVolume": ["id"],
    "queryAsyncJobResult": ["jobid"],
    "resetSSHKeyForVirtualMachine": ["keypair"],
    "resetUserDataForVirtualMachine": ["userdata"],
    "updateVolume": ["id"],
    "disassociateIpAddress": ["id"],
    "authorizeSecurityGroupIngress": ["securitygroupid", "cidrlist"],
    "authorizeSecurityGroupEgress": ["securitygroupid", "cidrlist"],
    "deleteSecurityGroup": ["id"],
    "updateResourceLimit": ["max", "account"],
}


@st.composite
def calls(draw):
    """A command, values for some of its parameters (ids that exist among them), and some noise."""
    name = draw(st.sampled_from(COMMANDS))
    spec = SPECS[name]
    params = {}
    chosen = []
    if draw(st.integers(0, 9)):
        chosen += [parameter.name for parameter in spec.params.values() if parameter.required]
        chosen += NEEDED.get(name, [])
    if spec.params and draw(st.booleans()):
        chosen += draw(st.lists(st.sampled_from(sorted(spec.params)), max_size=4))
    for parameter in chosen:
        if spec.params[parameter].kind in ("map", "list<map>"):
            fields = draw(
                st.lists(st.sampled_from(["key", "value", "networkid", "ip", "account", "group"]), max_size=3)
            )
            for field in [*fields, "key", "value"]:
                params[f"{parameter}[{draw(st.integers(-1, 2))}].{field}"] = draw(value(parameter))
        else:
            params[parameter] = draw(value(parameter))
    if not draw(st.integers(0, 9)):
        params[draw(st.text(max_size=8)) or "x"] = draw(st.text(max_size=12))
    return name, params


def value(parameter):
    """Mostly a good value or the placeholder of an id; also words and free text."""
    if parameter in GOOD:
        good = st.sampled_from(GOOD[parameter])
    elif parameter.endswith(("id", "ids")):
        good = st.integers(0, 999).map(lambda number: f"ID{number}")
    else:
        good = st.integers(1, 100).map(str)
    odd = st.one_of(words, st.text(max_size=20), st.integers(-2, 70_000).map(str))
    return st.integers(0, 7).flatmap(lambda number: odd if number == 0 else good)


def real_ids(sim):
    """Ids of everything there is, by kind of parameter and all together."""
    tables = sim.cloud.state._live
    by_kind = {kind: list(table) for kind, table in tables.items() if table}
    return by_kind, [uuid for ids in by_kind.values() for uuid in ids]


def fill(sim, spec_name, params):
    """Put real ids where the placeholders are: mostly of the right kind."""
    by_kind, everything = real_ids(sim)
    handler = sim.cloud.handlers[spec_name]
    filled = dict(params)
    for name, text in params.items():
        if text[:2] == "ID" and text[2:].isdigit():
            number = int(text[2:])
            kind = handler.subject if name in ("id", "ids") else ENTITIES.get(name) or handler.entities.get(name)
            pool = by_kind.get(Vm if name == "resourceids" else kind, everything) if number % 10 else everything
            filled[name] = pool[number % len(pool)]
    return filled


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    call=calls(),
    account=st.sampled_from(["demo", "demo", "admin", "admin", "other", "branch-admin"]),
    post=st.booleans(),
)
def test_any_call_is_answered_in_the_apis_form(furnished, call, account, post):
    """Success conforms to the catalogue; refusals have statuses of the table; the simulator itself never fails."""
    name, params = call
    api = furnished.api(account)
    values = {key: text for key, text in fill(furnished.sim, name, params).items() if text.isprintable() or post}
    values = {key: text.encode("utf-8", "replace").decode() for key, text in values.items()}
    values |= {"command": name, "response": "json", "apiKey": api.key}
    query = urlencode({**values, "signature": sign(values, api.secret)})
    status, _, text = api.send("" if post else query, query if post else None)
    document = json.loads(text)
    assert list(furnished.sim.bugs) == []
    assert status in STATUSES
    [(wrapper, content)] = document.items()
    if status != 200:
        assert content["errorcode"] == status
        assert content["errortext"]
        return
    assert wrapper == f"{name.lower()}response"
    conforms(furnished, api, name, content)


def conforms(world, api, name, content):
    """A success is of the form that the catalogue has for the command."""
    spec = SPECS[name]
    if spec.is_async:
        assert set(content) == ({"id", "jobid"} if spec.submit_id else {"jobid"})
        job = api.poll(content["jobid"])
        assert list(world.sim.bugs) == []
        if job["jobstatus"] == 2:
            assert job["jobresultcode"] in STATUSES
        elif spec.kind == "object":
            check_row(job["jobresult"][spec.key], spec.response, name)
        else:
            assert job["jobresult"] == {"success": True}
    elif spec.kind == "list":
        assert set(content) <= {"count", spec.key}
        for row in content.get(spec.key, []):
            check_row(row, spec.response, name)
    elif spec.kind == "object":
        check_row(content[spec.key], spec.response, name)
    elif spec.kind == "unwrapped":
        check_row(content, spec.response, name)
    else:
        assert content == {"success": True}
