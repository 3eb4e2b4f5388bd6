"""Parameters against the document."""

import pytest

from gceshim.protocol import errors, params

from .harness import DOCUMENT

LIST = DOCUMENT.method("compute.instances.list")
HERE = {"project": "p1", "zone": "z1"}


def parse(query, method_id="compute.instances.list", **path):
    method = DOCUMENT.method(method_id)
    return params.parse(method, {**HERE, **path}, params.parse_query(query))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"maxResults": 500}),
        ("maxResults=0", {"maxResults": 0}),
        ("maxResults=7&maxResults=7", {"maxResults": 7}),
        ("pageToken=&filter=&orderBy=", {"maxResults": 500}),
        ("filter=name+eq+%22a%20b%22", {"filter": 'name eq "a b"', "maxResults": 500}),
        ("nonsense=1&project=other", {"maxResults": 500}),
    ],
)
def test_query_parameters_are_typed_and_defaulted(query, expected):
    """An empty value is none; unknown ones are ignored; the path wins."""
    assert parse(query) == {**HERE, **expected}


@pytest.mark.parametrize(
    "query",
    [
        "maxResults=501",
        "maxResults=-1",
        "maxResults=1.5",
        "maxResults=ten",
        "maxResults=%D9%A3",
        "maxResults=99999999999999999999999",
        "maxResults=1&maxResults=2",
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(query):
    """Integers in range, booleans as words, one value where one is asked for."""
    with pytest.raises(errors.InvalidParameter) as caught:
        parse(query)
    assert caught.value.location == query.partition("=")[0]
    assert caught.value.message.startswith(f"Invalid value for field '{caught.value.location}': ")


@pytest.mark.parametrize(("text", "value"), [("True", True), ("false", False), ("tRUE", True), ("1", None)])
def test_booleans_are_words_in_any_case(text, value):
    """gcloud writes them as Python does."""
    query = f"autoDelete={text}&deviceName=d"
    if value is None:
        with pytest.raises(errors.InvalidParameter):
            parse(query, "compute.instances.setDiskAutoDelete", instance="i")
    else:
        assert parse(query, "compute.instances.setDiskAutoDelete", instance="i")["autoDelete"] is value


def test_required_repeated_and_enum_parameters():
    """As the document declares them."""
    with pytest.raises(errors.Required) as caught:
        parse("", "compute.instances.detachDisk", instance="i")
    assert caught.value.location == "deviceName"
    assert parse("paths=a&paths=b", "compute.disks.update", disk="d")["paths"] == ["a", "b"]
    assert parse("minimalAction=RESTART", "compute.instances.update", instance="i")["minimalAction"] == "RESTART"
    with pytest.raises(errors.InvalidParameter):
        parse("minimalAction=restart", "compute.instances.update", instance="i")
    assert parse("start=5", "compute.instances.getSerialPortOutput", instance="i") == {
        **HERE,
        "instance": "i",
        "start": "5",
        "port": 1,
    }
    with pytest.raises(errors.InvalidParameter):
        parse("port=5", "compute.instances.getSerialPortOutput", instance="i")
    ratio = parse("failoverRatio=0.5", "compute.targetPools.setBackup", region="r", targetPool="t")
    assert ratio["failoverRatio"] == 0.5
    for bad in ("nan", "inf", "1e999", "x"):
        with pytest.raises(errors.InvalidParameter):
            parse(f"failoverRatio={bad}", "compute.targetPools.setBackup", region="r", targetPool="t")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("6E3C9F60-0000-4000-8000-000000000001", "6e3c9f60-0000-4000-8000-000000000001"),
        ("6e3c9f60000040008000000000000001", "6e3c9f60-0000-4000-8000-000000000001"),
        ("00000000-0000-0000-0000-000000000000", None),
        ("not-a-uuid", None),
        ("6e3c9f60_0000_4000_8000_00000001", None),
        ("{6e3c9f60-0000-4000-8000-000000000001}", None),
        ("6e3c9f60-0000-4000-8000-00000000000%D9%A1", None),
    ],
)
def test_a_request_id_is_a_uuid_but_not_zero(given, expected):
    """Two spellings of one id are one id."""
    if expected:
        assert parse(f"requestId={given}", "compute.instances.insert")["requestId"] == expected
        return
    with pytest.raises(errors.InvalidParameter):
        parse(f"requestId={given}", "compute.instances.insert")


@pytest.mark.parametrize("name", ["Upper", "a_b", "-a", "a" * 64, "0", "a b", "a\n", "é", "..", "a/b", ""])
def test_path_parameters_match_their_pattern(name):
    """The whole value, and no newline at its end."""
    with pytest.raises(errors.InvalidParameter) as caught:
        parse("", "compute.instances.get", instance=name)
    assert "Must be a match of regex" in caught.value.message


@pytest.mark.parametrize("name", ["a/b", "a\x00", "a?b", "x" * 2_000])
def test_path_parameters_without_a_pattern_are_still_names(name):
    """Some methods of the document have none for `zone`."""
    method = DOCUMENT.method("compute.instanceGroupManagers.get")
    assert not method.parameters["zone"].pattern
    with pytest.raises(errors.InvalidParameter):
        params.parse(method, {"project": "p", "zone": name, "instanceGroupManager": "m"}, {})


def test_a_query_in_bytes_beyond_ascii_is_utf_8():
    """curl sends what is typed as it is; HTTP gives it as one character for each byte."""
    typed = "filter=labels.größe=Ü%20%C3%9F".encode().decode("latin-1")
    assert params.parse_query(typed) == {"filter": ["labels.größe=Ü ß"]}
    for query in ("filter=gr\xf6\xdfe", "filter=größe…", "filter=%ff"):
        with pytest.raises(errors.BadRequest):
            params.parse_query(query)


def test_a_query_of_too_many_fields_is_refused():
    """A megabyte of ampersands is cheap to send."""
    with pytest.raises(errors.BadRequest):
        params.parse_query("&".join("a=1" for _ in range(5_000)))
