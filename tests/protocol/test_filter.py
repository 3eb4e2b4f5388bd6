"""Both dialects of list filters."""

import time

import pytest

from gceshim.protocol.errors import InvalidParameter
from gceshim.protocol.filter import Filter

from .harness import DOCUMENT

UUID = "6e3c9f60-1111-4222-8333-000000000001"
VM = {
    "name": "vm1",
    "id": "42",
    "status": "RUNNING",
    "description": "says hello world to us",
    "zone": "http://h/compute/v1/projects/p/zones/us-central1-a",
    "canIpForward": True,
    "creationTimestamp": "2024-05-01T00:00:00.000-07:00",
    "labels": {"env": "prod", "a.b": "dotted"},
    "tags": {"items": ["web", "db"]},
    "scheduling": {"automaticRestart": True, "minNodeCpus": 4},
    "disks": [{"deviceName": "boot", "diskSizeGb": "10"}, {"deviceName": "data", "diskSizeGb": "200"}],
    "networkInterfaces": [{"network": "https://h/compute/v1/projects/p/global/networks/default"}],
}


def matches(text, resource=VM, schema="Instance"):
    return Filter.parse(text, DOCUMENT, schema).matches(resource)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # What gcloud and gcutil send.
        (r'name eq ".*\bvm1\b.*"', True),
        (r'name eq ".*\bvm\b.*"', False),
        (r'zone eq ".*\bus\-central1\-a\b.*"', True),
        ("name eq ^vm1$", True),
        ("name eq vm1", True),
        ("name eq vm", False),
        ("name eq VM1", False),
        (r'(status eq RUNNING)(name eq ".*\bvm.*")', True),
        (r'(status eq RUNNING) (name eq "x.*")', False),
        ("(status eq RUNNING) AND (name eq vm1)", True),
        (r'name ne ".*\bx\b.*"', True),
        (r'name ne ".*\bvm1\b.*"', False),
        ("status eq RUNNING", True),
        (r'description eq ".*\bhello\ world\b.*"', True),
        ("description eq .*hello world.*", True),
        ("description eq '.*hello world.*'", True),
        ("name ne .*1", False),
        ("(name eq (vm|db)1)", True),
        ("name eq (vm|db)[0-9]", True),
        ("canIpForward eq true", True),
        ("canIpForward eq TRUE", True),
        ("canIpForward eq t.*", True),
        ("canIpForward ne t.*", False),
        ("deletionProtection eq t.*", False),
        ("deletionProtection eq (false|x)", True),
        ("canIpForward eq false", False),
        ("canIpForward ne false", True),
        ("deletionProtection eq false", True),
        ("scheduling.automaticRestart eq true", True),
        ("scheduling.minNodeCpus eq 4", True),
        ("scheduling.minNodeCpus eq 5", False),
        ("disks.diskSizeGb eq 200", True),
        ("disks.diskSizeGb eq 20", False),
        ("id eq 42", True),
        ("creationTimestamp eq 2024-05-01T07:00:00.000Z", True),
        ("creationTimestamp eq 2024-05-01T08:00:00.000Z", False),
        ("tags.items eq web", True),
        ("tags.items ne web", False),
        ("hostname eq x", False),
        ("hostname ne x", True),
        ('name eq"vm1"', True),
        ('name eq "a\\"b"', False),
        # AIP-160.
        ("name=vm1", True),
        ("name = vm", False),
        ('name="vm1"', True),
        ("name='vm1'", True),
        ("name != vm1", False),
        ("name = vm.*", False),
        ('labels.env=prod AND status="RUNNING"', True),
        ('labels.env=test AND status="RUNNING"', False),
        ("labels.env=test OR status=RUNNING", True),
        ("labels.env:*", True),
        ("labels.none:*", False),
        ("labels:env", True),
        ("labels:none", False),
        ('labels."a.b"=dotted', True),
        ("NOT labels.env=test", True),
        ("-labels.env=prod", False),
        ("-(labels.env=prod name=vm1)", False),
        ("name=vm1 status=RUNNING", True),
        ("name=vm1 status=STOPPED", False),
        # OR binds tighter than AND.
        ("name=x AND name=y OR name=vm1", False),
        ("name=x OR name=vm1 AND status=RUNNING", True),
        ("(name=x AND name=y) OR name=vm1", True),
        ('creationTimestamp > "2024-01-01T00:00:00Z"', True),
        ("creationTimestamp<2024-01-01", False),
        ("creationTimestamp >= 2024-05-01T07:00:00Z", True),
        ("disks.diskSizeGb > 100", True),
        ("disks.diskSizeGb > 200", False),
        ("disks.diskSizeGb <= 9", False),
        ("id >= 42", True),
        ("id=42", True),
        ("id!=42", False),
        ("canIpForward=true", True),
        ("canIpForward=True", True),
        ("deletionProtection=false", True),
        ("description:HELLO", True),
        ("name:vm*", True),
        ("name:*2", False),
        ("tags.items:web", True),
        ("tags.items=db", True),
        ("tags.items!=db", False),
        ("networkInterfaces.network=https://h/compute/v1/projects/p/global/networks/default", True),
        ("equal=1", None),
        ("NOTname=1", None),
    ],
)
def test_a_filter_matches_as_google_says(text, expected):
    """The corpus of expressions seen from clients, and each rule of the manual."""
    if expected is None:
        with pytest.raises(InvalidParameter):
            matches(text)
    else:
        assert matches(text) is expected


def test_the_filters_of_terraform_and_bulk_create_match():
    """Seen from clients, on other resources."""
    route = {"network": "https://h/compute/v1/projects/p/global/networks/n", "destRange": "0.0.0.0/0"}
    text = f'(network="{route["network"]}") AND (destRange="0.0.0.0/0")'
    assert matches(text, route, "Route")
    assert not matches(text, {**route, "destRange": "10.0.0.0/8"}, "Route")
    escaped = UUID.replace("-", r"\-")
    assert matches(rf'operationGroupId eq ".*\b{escaped}\b.*"', {"operationGroupId": UUID}, "Operation")
    assert matches("diskSizeGb eq 10", {"diskSizeGb": "10"}, "Snapshot")
    assert matches("autoCreateSubnetworks eq true", {"autoCreateSubnetworks": True}, "Network")
    assert not matches("autoCreateSubnetworks eq true", {}, "Network")


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "name",
        "name eq",
        "name eq (",
        'name eq "vm1',
        'name eq "vm1" x',
        "(name eq vm1",
        "(name eq vm1))",
        "(name eq vm1) status eq x",
        "name eq [",
        "name eq (?P<x",
        "name = ",
        "name == ",
        "name = a AND",
        "name = a OR",
        "AND name = a",
        "(name = a",
        "name = a)",
        "()",
        "nothing = 1",
        "nothing eq 1",
        "labels.a.b.c = 1",
        "canIpForward = maybe",
        ".name = a",
        "name. = a",
        "'name' = a",
        "name ~ a",
        "vm1",
        "(" * 500 + "name=a" + ")" * 500,
        "name=" + "a" * 20_000,
        " ".join(["name=a"] * 251),
        "name eq (a?){600}",
        "(name ne (a?){300})" * 4,
        "name eq ((((a{1000}){1000}){1000}){1000})",
    ],
)
def test_a_malformed_filter_is_refused_in_gces_words(text):
    """GCE's sentence, whatever is wrong."""
    with pytest.raises(InvalidParameter) as caught:
        Filter.parse(text, DOCUMENT, "Instance")
    assert caught.value.message.startswith("Invalid value for field 'filter': '")
    assert "'. Invalid list filter expression. " in caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name eq ^vm1$", {"name": "vm1"}),
        (r"name eq us\-central1", {"name": "us-central1"}),
        ("name eq vm.*", {}),
        (r'name eq ".*\bvm1\b.*"', {}),
        ("name ne vm1", {}),
        ("name = vm1 AND labels.env=prod AND id>3", {"name": "vm1"}),
        ("(name eq vm1)(status eq RUNNING)", {"name": "vm1", "status": "RUNNING"}),
        ("name=a OR name=b", {}),
        ("NOT name=a", {}),
    ],
)
def test_equalities_are_what_a_backend_may_narrow_by(text, expected):
    """Only what has to hold for anything to match."""
    assert Filter.parse(text).equalities() == expected


HEAVY = {**VM, "description": "a" * 2_000, "labels": {f"k{n}": "a" * 63 for n in range(64)}}
SLOW = [
    "description eq (a*)*b",
    "description eq (a|aa)+$b",
    "description eq (.*a){20}b",
    'description eq "(x+x+)+y"',
    "description eq ((a?){30}){30}b",
    "".join("(description ne (a?){25}b)" for _ in range(50)),
    "description = " + "a*" * 2_000 + "b",
    "description:" + "*a" * 1_000,
    " OR ".join(f"labels.k{n % 64} = b" for n in range(250)),
    "NOT (" * 49 + "name = x" + ")" * 49,
    "(" * 5_000,
    "(" * 5_000 + ")" * 5_000,
    "name eq " + "(" * 9_000,
    "name eq " + "[" * 9_000,
    "name eq " + "(a" * 40 + ")" * 40,
    'name = "' + "\\" * 9_000,
    'name = "' + 'a\\"' * 3_000,
    "-" * 9_000,
    " " * 9_000 + "name",
    "name" + " " * 9_000 + "eq",
    "name.a" * 1_500 + " = b",
    "name eq a " + "AND " * 2_000,
    "name eq a" + " AND a" * 1_500 + " eq b",
    "name = a " * 250,
]


@pytest.mark.parametrize("text", SLOW, ids=range(len(SLOW)))
def test_an_expression_made_to_be_slow_is_not(text):
    """Read or refused, and tried on fifty large resources, in a small part of what an exponential way would take."""
    started = time.process_time()
    try:
        parsed = Filter.parse(text, DOCUMENT, "Instance")
    except InvalidParameter:
        parsed = None
    for _ in range(50 if parsed else 0):
        parsed.matches(HEAVY)
    assert time.process_time() - started < 10


NEARLY_A_LINK = "https://x/" + "projects/a/" * 23_000 + " "


@pytest.mark.parametrize("text", ["description = projects/a/b", "description != https://h/projects/a/b"])
def test_a_text_that_is_nearly_a_link_is_no_work(text):
    """Metadata may hold 256 KiB, and each `projects/` in it might be where the path begins."""
    started = time.process_time()
    for length in (2_000, 8_000, 256_000):
        assert matches(text, {"description": NEARLY_A_LINK[:length] + " "}) is ("!" in text)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (r'metadata.items.value eq ".*\bfoo\b.*"', True),
        (r'(metadata.items.value eq ".*\bx\b.*")(metadata.items.key eq k)(metadata.items.value ne ".*(y).*")', True),
        ("metadata.items.value:x metadata.items.value = y", True),
        ('metadata.items.value eq "(.*a){20}b"', False),
        ("(metadata.items.value eq .*)" * 20, False),
        (" OR ".join(["metadata.items.value = y"] * 250), False),
    ],
)
def test_a_large_filter_does_not_look_through_long_texts(text, fits):
    """Nobody else is answered meanwhile; what gcloud writes is not refused, however long the metadata are."""
    vm = {**VM, "metadata": {"items": [{"key": "k", "value": "a" * 256 * 1024}]}}
    if fits:
        assert matches(text, vm) is False
        return
    with pytest.raises(InvalidParameter) as caught:
        matches(text, vm)
    assert caught.value.message.endswith("It is too large for a metadata.items.value of 262144 characters.")
    assert caught.value.message.startswith("Invalid value for field 'filter': '")
    assert matches(text, VM) is False


def test_half_of_a_surrogate_pair_is_matched_as_it_is_shown():
    """CloudStack's JSON can hold one; a list with a machine that has it is a list all the same."""
    vm = {"description": "a\ud800b", "labels": {"x": "\udfff"}}
    for text in ("description eq a.b", r"description eq a\?b", "description:b", "description != ab", "labels.x eq ."):
        assert matches(text, vm), text


def test_a_key_of_a_label_is_written_in_its_own_letters():
    """GCE's labels have letters of any script, of which only the first name of a path has none."""
    vm = {"labels": {"größe": "groß", "环境": "x", "1st": "y"}}
    for text in ("labels.größe=groß", "labels.größe eq gr.ß", "labels.环境:*", "labels.环境 ne y", "labels.1st=y"):
        assert matches(text, vm), text
    with pytest.raises(InvalidParameter):
        matches("größe = x", vm)


def test_the_work_of_a_filter_grows_with_its_comparisons():
    """Each is made once for a resource; a conjunction ends with the first that fails."""

    class Counted(dict):
        looked_up = 0

        def __contains__(self, name):
            Counted.looked_up += 1
            return super().__contains__(name)

    resource = Counted(VM)
    for text, most in (
        (" OR ".join(["status = x"] * 200), 200),
        ("status = x AND " + " ".join(["name = vm1"] * 200), 1),
        ("NOT (" * 40 + "status = x" + ")" * 40, 1),
    ):
        Counted.looked_up = 0
        Filter.parse(text, DOCUMENT, "Instance").matches(resource)
        assert Counted.looked_up == most


def test_a_filter_is_read_in_no_time():
    """Clients send one with each page."""
    text = r'((status eq RUNNING)(name eq ".*\bweb.*"))(zone eq ".*\bsandbox\-1\-a\b.*")'
    Filter.parse(text, DOCUMENT, "Instance")
    started = time.process_time()
    for _ in range(100):
        Filter.parse(text, DOCUMENT, "Instance")
    assert (time.process_time() - started) / 100 < 0.005
