"""docs/mapping: the tables say of every field what the code does."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import pytest

from gceshim.protocol.discovery import Document
from gceshim.resources import disks, firewalls, instance_spec
from gceshim.resources.base import Collection, document
from gceshim.resources.call import Call
from gceshim.resources.instances import Instances
from gceshim.simulator.catalogue import load_catalogue
from gceshim.testing.gce import Body, Gce
from tests.docs.samples import facts_of, sample, with_value
from tests.docs.tour import Tour
from tests.resources.recording import Recording, leaves
from tests.resources.requests import HERE, PROJECT, insert_body
from tests.resources.test_instance_spec import BODY as INSTANCE_BODY
from tests.resources.test_instance_spec import call_with
from tools.gen_mapping import ROOT, Row, Table, mapping_pages, tables
from tools.gen_support import State, support

TABLES: Final = {table.collection: table for table in tables()}
#: Fields that no answer on the tour has: the simulated CloudStack tells no MTU of its networks.
NOT_ON_THE_TOUR: Final[Mapping[str, set[str]]] = {"networks": {"mtu"}}
WORDS: Final = {"answer", "name", "request", "settings", "store", "tags"}
DISK_BODY: Final[Body] = {
    "name": "d-1",
    "type": "zones/z1-a/diskTypes/pd-ssd",
    "sizeGb": "5",
    "description": "more",
    "labels": {"a": "b"},
}
FIREWALL_BODIES: Final[tuple[Body, ...]] = (
    {
        "name": "f-1",
        "network": "global/networks/default",
        "direction": "INGRESS",
        "priority": 7,
        "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}],
        "sourceRanges": ["10.0.0.0/8"],
        "sourceTags": ["web"],
        "targetTags": ["db"],
        "description": "more",
        "disabled": True,
    },
    {"name": "f-2", "direction": "EGRESS", "denied": [{"IPProtocol": "tcp", "ports": ["22"]}]},
)


def of_all(items: Iterable[str]) -> Any:
    """A test for each of the tables."""
    return pytest.mark.parametrize("table", [TABLES[name] for name in items], ids=lambda table: str(table.collection))


def fields(table: Table) -> list[str]:
    """Every field of the table's schema."""
    return list(leaves(document(), table.schema))


def rows(table: Table) -> Iterator[tuple[str, Row]]:
    """Every field of the schema with its row."""
    for field in fields(table):
        row = table.row(field)
        if row is not None:
            yield field, row


def fate(table: Table, *names: str) -> set[str]:
    """The fields that are honoured, refused, ..."""
    return {field for field, row in rows(table) if row.insert in names}


def below(table: Table, declared: Iterable[str]) -> set[str]:
    """The fields of the schema that are among those declared, or below one."""
    wanted = {path.removesuffix("[]") for path in declared}
    return {
        field
        for field in fields(table)
        if any(field == path or field.startswith((f"{path}.", f"{path}[]")) for path in wanted)
    }


def schemas_shown() -> set[str]:
    """The schemas of what the methods that work show."""
    found = set()
    for item in support().values():
        method = document().method(item.method)
        if item.state is State.WORKS and method.name in ("get", "list"):
            found.add(str(document().item_schema(method) or method.response))
    return found - {"ImageFamilyView"}


@of_all(TABLES)
def test_every_field_has_a_row_and_every_row_a_field(table: Table) -> None:
    """The document grows; a field without a row is one that nobody has thought about."""
    found = {field: table.row(field) for field in fields(table)}
    used = {row.field for row in found.values() if row is not None}

    assert [field for field, row in found.items() if row is None] == []
    assert sorted(table.rows.keys() - used) == []


def test_every_resource_that_is_shown_has_a_table(tour: Tour) -> None:
    """And each table's resource was shown on the tour, or what follows would compare nothing."""
    assert schemas_shown() == {table.schema for table in TABLES.values()}
    assert schemas_shown() <= tour.seen.keys()


def test_the_index_names_every_table() -> None:
    """A page without a link to it is not found."""
    index = (ROOT / "docs/mapping/README.md").read_text()
    assert sorted(re.findall(r"\]\((\w+\.md)\)", index)) == sorted(path.rpartition("/")[2] for path in mapping_pages())


def members(facts: Mapping[str, Any], value: Any, field: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a schema that something in the value could hold, with what it holds; None: nothing."""
    if "$ref" in facts:
        facts = document().schema(facts["$ref"])
    if "properties" in facts:
        for name, inner in facts["properties"].items():
            path = f"{field}.{name}" if field else name
            if name in value:
                yield from members(inner, value[name], path)
            elif not holds_fields(inner):
                yield path, None
    elif holds_fields(facts):
        for item in value:
            yield from members(facts["items"], item, f"{field}[]")
    else:
        yield field, value


def holds_fields(facts: Mapping[str, Any]) -> bool:
    """Whether it is an object with fields of its own, or an array of such."""
    facts = facts.get("items", facts)
    return "properties" in document().schema(facts["$ref"]) if "$ref" in facts else "properties" in facts


@of_all(TABLES)
def test_answers_hold_what_the_table_says(tour: Tour, table: Table) -> None:
    """Never what is absent, always what has no `when`, constants as they stand there, all of it at least once."""
    wrong, seen = set(), set()
    for body in tour.seen[table.schema]:
        for field, value in members(document().schema(table.schema), body):
            row = table.row(field)
            assert row is not None
            if value is None:
                if not (row.when or row.absent):
                    wrong.add(f"{field}: missing in {body['selfLink']}")
                continue
            seen.add(field)
            if row.absent:
                wrong.add(f"{field}: is there in {body['selfLink']}")
            elif row.why and value != row.constant:
                wrong.add(f"{field}: is {value}")
    expected = {field for field, row in rows(table) if not row.absent}

    assert sorted(wrong) == []
    assert expected - seen == NOT_ON_THE_TOUR.get(table.collection, set())


@functools.cache
def words_of_the_driver() -> set[str]:
    """Every string in the code of the default driver."""
    found = set()
    for path in (ROOT / "gceshim/drivers/cloudstack").rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text()))
        found |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return found


def answers_with(command: str, field: str) -> bool:
    """Whether CloudStack's command answers with a field, `nic.ipaddress` for instance."""
    spec = load_catalogue().commands.get(command)
    shape: Any = spec.response if spec else {}
    for name in field.split("."):
        shape = shape[0] if isinstance(shape, list) else shape
        if not isinstance(shape, dict) or name not in shape:
            return False
        shape = shape[name]
    return True


@of_all(TABLES)
def test_sources_are_what_the_driver_reads(tour: Tour, table: Table) -> None:
    """A command that is called, a field that it answers with, a tag and a field that the driver knows by name."""
    words = words_of_the_driver()
    wrong = []
    for row in table.rows.values():
        for source in row.sources:
            command, dot, field = source.partition(".")
            if source.startswith("tag gce:"):
                known = source.removeprefix("tag gce:") in words
            elif dot:
                made = field.endswith(("limit", "total"))  # put together from a word and one of these
                known = (
                    command in tour.commands
                    and answers_with(command, field)
                    and (made or set(field.split(".")) <= words)
                )
            else:
                known = source in WORDS
            if not known:
                wrong.append(f"{row.field}: {source}")
    assert wrong == []


def test_tables_have_a_column_for_inserts_where_something_can_be_inserted() -> None:
    """What becomes of a field that is sent is the first thing to look for."""
    works = {item.method for item in support().values() if item.state is State.WORKS}
    with_column = {table.collection for table in TABLES.values() if any(row.insert for row in table.rows.values())}
    without = {table.collection for table in TABLES.values() if not all(row.insert for row in table.rows.values())}

    assert with_column & without == set()
    assert {name for name in TABLES if f"compute.{name}.insert" in works} <= with_column


@pytest.mark.parametrize("cls", [disks.Disks, firewalls.Firewalls, Instances], ids=lambda cls: str(cls.collection))
def test_refused_and_overridden_fields_are_those_declared(cls: type[Collection]) -> None:
    """The table and the class are read by different people."""
    table = TABLES[cls.collection]

    assert fate(table, "refused") == below(table, cls.refused) - below(table, cls.overridden)
    assert fate(table, "overridden") == below(table, cls.overridden)


def test_kept_and_ignored_fields_of_an_instance_are_those_declared() -> None:
    """As above."""
    table = TABLES["instances"]
    overridden = below(table, instance_spec.OVERRIDDEN)

    assert fate(table, "kept") == below(table, instance_spec.KEPT) - overridden
    assert fate(table, "ignored") == below(table, instance_spec.COMPUTED)


def read_by(table: Table, read: Callable[[Call], object], *bodies: Body) -> set[str]:
    """The fields that a conversion looks at."""
    found: set[str] = set()
    for body in bodies:
        read(call_with(Recording(body, found)))
    return found & set(fields(table))


def test_honoured_fields_are_those_read() -> None:
    """A field that is not looked at has no effect, and one that is looked at has one."""
    read = {
        "disks": read_by(TABLES["disks"], disks.from_gce, DISK_BODY),
        "firewalls": read_by(TABLES["firewalls"], lambda call: firewalls.from_gce(call, call.body), *FIREWALL_BODIES),
        "instances": read_by(TABLES["instances"], lambda call: instance_spec.from_gce(call, {}), INSTANCE_BODY)
        - set(instance_spec.KEPT),
    }
    assert {name: fate(TABLES[name], "honoured", "checked") for name in read} == read


#: What an insert is sent at the least.
LEAST: Final[Mapping[str, Body]] = {
    "disks": {"name": "d-1"},
    "firewalls": {"name": "f-1", "allowed": [{"IPProtocol": "tcp"}]},
    "instances": insert_body("vm-1", external=True),
}
PLACES: Final[Mapping[str, Body]] = {"disks": HERE, "firewalls": {"project": PROJECT}, "instances": HERE}


@pytest.mark.gen_test
@of_all(LEAST)
async def test_refused_fields_are_refused_by_name(gce: Gce, table: Table, discovery: Document) -> None:
    """Over HTTP: each alone, and each `checked` one with another value than the constant."""
    accepted = []
    for field in sorted(fate(table, "refused", "checked")):
        row = table.row(field)
        facts = facts_of(discovery, table.schema, field)
        value = sample(discovery, facts, other_than=row.constant if row else None)
        body = with_value(LEAST[table.collection], field, value)
        answer = await gce.answer(f"compute.{table.collection}.insert", **PLACES[table.collection], body=body)
        named = re.search(r"'resource\.([^']+)'", str(answer.body.get("error", {}).get("message")))
        if answer.status != 400 or named is None or not field.replace("[]", "[0]").startswith(named[1]):
            accepted.append((field, answer.body))
    assert accepted == []


@pytest.mark.gen_test
@of_all(LEAST)
async def test_overridden_fields_are_warned_of_and_ignored_ones_are_not(
    gce: Gce, table: Table, discovery: Document
) -> None:
    """Over HTTP: all of them in one insert, which does what it would do without them."""
    body = LEAST[table.collection]
    for field in fate(table, "overridden", "ignored"):
        body = with_value(body, field, sample(discovery, facts_of(discovery, table.schema, field)))
    call = await gce.call(f"compute.{table.collection}.insert", **PLACES[table.collection], body=body)
    operation = await gce.done(call)
    named = {item["value"] for warning in operation.get("warnings", ()) for item in warning["data"]}

    assert operation.get("error") is None
    assert {re.sub(r"\[\d+]", "[]", name.removeprefix("resource.")) for name in named} == fate(table, "overridden")
