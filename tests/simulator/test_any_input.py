"""Any parameters on any command: an answer of the API's form, never a trace or a hang."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gceshim.simulator.catalogue import check_row, load_catalogue
from gceshim.simulator.errors import STATUSES
from tests.simulator.api import sign

SPECS = load_catalogue().commands
COMMANDS = sorted(set(SPECS) - {"login", "logout", "registerUserKeys"})

words = st.sampled_from(
    ["", "-1", "0", "1", "7", "65536", "true", "tcp", "icmp", "all", "default", "self", "featured", "a b", "é\u2028", "x" * 300]
    + ["10.0.0.0/8", "10.1.1.1", "255.255.255.0", "UserVm", "Volume", "eHh4eA==", "0.0.0.0/0,::/0", "999999999999999999999"]
    + ["2024-01-01", "\x00", "%zz", "Running", "web-1", "demo", "nics,min", "1e400", "nan", "٣", "²"]
)


@st.composite
def calls(draw):
    """A command, values for some of its parameters (a third of them real ids), and some noise."""
    name = draw(st.sampled_from(COMMANDS))
    spec = SPECS[name]
    params = {}
    required = [parameter for parameter in spec.params.values() if parameter.required]
    chosen = draw(st.lists(st.sampled_from(sorted(spec.params)), max_size=6)) if spec.params else []
    if draw(st.integers(0, 3)):
        chosen += [parameter.name for parameter in required]
    for parameter in chosen:
        if spec.params[parameter].kind in ("map", "list<map>"):
            fields = draw(st.lists(st.sampled_from(["key", "value", "networkid", "ip", "account", "group"]), max_size=3))
            for field in fields:
                params[f"{parameter}[{draw(st.integers(-1, 2))}].{field}"] = draw(value(parameter))
        else:
            params[parameter] = draw(value(parameter))
    if not draw(st.integers(0, 9)):
        params[draw(st.text(max_size=8)) or "x"] = draw(st.text(max_size=12))
    return name, params


def value(parameter):
    """Words and free text; for what looks like an id also a real one, by placeholder."""
    options = [words, st.text(max_size=20), st.integers(-2, 70_000).map(str)]
    if parameter.endswith(("id", "ids")):
        options = [st.sampled_from(range(1000)).map(lambda number: f"ID{number}"), *options[:2]]
    return st.one_of(*options)


def real_ids(sim):
    """Ids of everything there is, by kind of parameter and all together."""
    tables = sim.cloud.state._live
    by_kind = {kind: list(table) for kind, table in tables.items() if table}
    return by_kind, [uuid for ids in by_kind.values() for uuid in ids]


def fill(sim, spec_name, params):
    """Put real ids where the placeholders are: mostly of the right kind."""
    from gceshim.simulator.params import ENTITIES

    by_kind, everything = real_ids(sim)
    handler = sim.cloud.handlers[spec_name]
    filled = {}
    for name, text in params.items():
        if text[:2] == "ID" and text[2:].isdigit():
            number = int(text[2:])
            kind = handler.subject if name in ("id", "ids") else ENTITIES.get(name)
            pool = by_kind.get(kind, everything) if number % 5 else everything
            text = pool[number % len(pool)]
        filled[name] = text
    return filled


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(call=calls(), account=st.sampled_from(["demo", "admin", "other", "branch-admin"]), post=st.booleans())
def test_any_call_is_answered_in_the_apis_form(furnished, call, account, post):
    """Success conforms to the catalogue; refusals have statuses of the table; the simulator itself never fails."""
    from urllib.parse import urlencode

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
