"""google-api-python-client, built from the discovery document that the server itself gives out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import google_auth_httplib2
import httplib2
import pytest
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from tests.clients.demo import Cloud, Demo

pytestmark = pytest.mark.usefixtures("nothing_left")

Body = dict[str, Any]


class Requests:
    """What goes over the wire, noted on the way: verb, path and query, and whether the verb is overridden."""

    def __init__(self, token: str) -> None:
        self.sent: list[tuple[str, str, bool]] = []
        self._http = google_auth_httplib2.AuthorizedHttp(Credentials(token), http=httplib2.Http(timeout=60))

    def request(self, uri: str, method: str = "GET", body: Any = None, headers: Any = None, **more: Any) -> Any:
        """As httplib2.Http's."""
        overridden = "x-http-method-override" in {name.lower() for name in headers or {}}
        self.sent.append((method, uri, overridden))
        return self._http.request(uri, method=method, body=body, headers=headers, **more)

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()


def built(demo: Demo, http: Any) -> Any:
    """The client's `compute`, from the document at the demo."""
    return build(
        "compute",
        "v1",
        http=http,
        discoveryServiceUrl=f"{demo.url}/discovery/v1/apis/{{api}}/{{apiVersion}}/rest",
        static_discovery=False,
        cache_discovery=False,
    )


@pytest.fixture
def http(demo: Demo) -> Iterator[Requests]:
    """Connections with the token of the demo's own account."""
    http = Requests(demo.token)
    yield http
    http.close()


@pytest.fixture
def compute(demo: Demo, http: Requests) -> Any:
    """The client."""
    return built(demo, http)


@pytest.fixture
def here(demo: Demo) -> dict[str, str]:
    """Where machines are made."""
    return {"project": demo.project, "zone": demo.zone}


def machine(name: str, zone: str) -> Body:
    """A machine of one processor with Debian on it."""
    parameters = {"sourceImage": "projects/debian-cloud/global/images/family/debian-12"}
    return {
        "name": name,
        "machineType": f"zones/{zone}/machineTypes/small-instance",
        "disks": [{"boot": True, "autoDelete": True, "initializeParams": parameters}],
        "networkInterfaces": [{"network": "global/networks/default"}],
    }


def ended(compute: Any, here: dict[str, str], operation: Body) -> Body:
    """An operation that went well, once it is done."""
    while operation["status"] != "DONE":
        operation = compute.zoneOperations().wait(operation=operation["name"], **here).execute()
    assert "error" not in operation, operation
    return operation


def status_and_error(raised: pytest.ExceptionInfo[HttpError]) -> tuple[int, str, str]:
    """Status, reason and message, as programs read them from the exception."""
    error = json.loads(raised.value.content)["error"]
    return raised.value.status_code, error["errors"][0]["reason"], raised.value.reason


def test_a_machine_is_made_found_and_deleted(
    compute: Any, here: dict[str, str], cloud: Cloud, fresh_name: Callable[[], str]
) -> None:
    """By methods and parameters that the served document declares."""
    name = fresh_name()
    instances = compute.instances()
    operation = ended(compute, here, instances.insert(**here, body=machine(name, here["zone"])).execute())
    made = instances.get(**here, instance=name).execute()
    listed = instances.list(**here, filter=f'name = "{name}"', fields="kind,items(name,status)").execute()

    assert (operation["operationType"], operation["targetId"]) == ("insert", made["id"])
    assert (made["kind"], made["name"], made["status"]) == ("compute#instance", name, "RUNNING")
    assert listed == {"kind": "compute#instanceList", "items": [{"name": name, "status": "RUNNING"}]}
    assert cloud.states(name) == ["Running"]
    ended(compute, here, instances.stop(**here, instance=made["id"]).execute())
    assert cloud.states(name) == ["Stopped"]
    ended(compute, here, instances.delete(**here, instance=name).execute())
    assert cloud.states(name) == [None]
    with pytest.raises(HttpError) as raised:
        instances.get(**here, instance=name).execute()
    path = f"projects/{here['project']}/zones/{here['zone']}/instances/{name}"
    assert status_and_error(raised) == (404, "notFound", f"The resource '{path}' was not found")


def test_lists_are_read_page_by_page(
    compute: Any, here: dict[str, str], cloud: Cloud, fresh_name: Callable[[], str]
) -> None:
    """`list_next` until there is none; pages of one machine each."""
    names = [fresh_name(), fresh_name(), fresh_name()]
    for name in names:
        ended(compute, here, compute.instances().insert(**here, body=machine(name, here["zone"])).execute())
    expression = " OR ".join(f"(name = {name})" for name in names)
    request, pages = compute.instances().list(**here, maxResults=1, filter=expression), []
    while request is not None:
        page = request.execute()
        pages.append([item["name"] for item in page.get("items", [])])
        request = compute.instances().list_next(request, page)

    assert [page for page in pages if page] == [[name] for name in names]
    assert all(len(page) <= 1 for page in pages)
    for name in names:
        ended(compute, here, compute.instances().delete(**here, instance=name).execute())
    assert cloud.states(*names) == [None] * 3


def test_a_batch_is_many_calls_in_one(
    compute: Any, http: Requests, here: dict[str, str], cloud: Cloud, fresh_name: Callable[[], str]
) -> None:
    """Each call has an answer of its own, an error among them spoils no other."""
    names = [fresh_name(), fresh_name()]
    answers: dict[str, Any] = {}

    def answered(request_id: str, response: Any, exception: Any) -> None:
        answers[request_id] = exception or response

    batch = compute.new_batch_http_request(callback=answered)
    for name in names:
        batch.add(compute.instances().insert(**here, body=machine(name, here["zone"])), request_id=name)
    batch.add(compute.instances().get(**here, instance="nosuch"), request_id="nosuch")
    batch.add(compute.zones().get(**here), request_id="zone")
    batch.execute()

    assert (http.sent[-1][0], http.sent[-1][1].endswith("/batch/compute/v1")) == ("POST", True)
    for name in names:
        ended(compute, here, answers[name])
    assert (answers["nosuch"].status_code, answers["zone"]["name"]) == (404, here["zone"])
    assert cloud.states(*names) == ["Running", "Running"]
    batch = compute.new_batch_http_request(callback=answered)
    for name in names:
        batch.add(compute.instances().delete(**here, instance=name), request_id=name)
    batch.execute()
    for name in names:
        ended(compute, here, answers[name])
    assert cloud.states(*names) == [None, None]


def test_a_get_of_thousands_of_characters_travels_as_a_post(
    compute: Any, http: Requests, here: dict[str, str], cloud: Cloud
) -> None:
    """Over 2,048 characters the client posts the query; taken for a POST it would be an insert."""
    before = cloud.holdings()
    expression = " OR ".join(f"(name = no-machine-of-this-name-{number})" for number in range(80))
    listed = compute.instances().list(**here, filter=expression).execute()

    method, uri, overridden = http.sent[-1]
    assert (method, overridden, "filter" in uri) == ("POST", True, False)
    assert (listed["kind"], "items" in listed) == ("compute#instanceList", False)
    assert cloud.holdings() == before


def test_refusals_are_errors_with_status_reason_and_message(
    compute: Any, here: dict[str, str], cloud: Cloud, fresh_name: Callable[[], str]
) -> None:
    """Before anything is made."""
    before = cloud.holdings()
    vast = {**machine(fresh_name(), here["zone"]), "machineType": f"zones/{here['zone']}/machineTypes/e9-vast"}
    with pytest.raises(HttpError) as raised:
        compute.instances().insert(**here, body=vast).execute()
    status, reason, message = status_and_error(raised)
    assert (status, reason, "'resource.machineType'" in message) == (400, "invalid", True)
    with pytest.raises(HttpError) as raised:
        compute.instances().insert(**here, body={**vast, "name": "Not_A_Name"}).execute()
    status, reason, message = status_and_error(raised)
    assert (status, reason, "'resource.name'" in message) == (400, "invalid", True)
    with pytest.raises(HttpError) as raised:
        compute.projects().get(project="nobodys").execute()
    assert status_and_error(raised) == (404, "notFound", "Failed to find project nobodys")
    assert cloud.holdings() == before


def test_no_token_opens_nothing_but_the_document(demo: Demo, here: dict[str, str]) -> None:
    """The document is for everybody, what it describes is not."""
    http = httplib2.Http(timeout=60)
    with pytest.raises(HttpError) as raised:
        built(demo, http).instances().list(**here).execute()
    http.close()

    assert (raised.value.status_code, raised.value.reason) == (401, "Login Required")


def test_the_document_holds_what_is_served(compute: Any, demo: Demo) -> None:
    """A method that the server does not have is missing at once, not at the first call."""
    assert hasattr(compute.instances(), "insert")
    assert not hasattr(compute, "acceleratorTypes")
    assert [zone["name"] for zone in compute.zones().list(project=demo.project).execute()["items"]] == [
        "sandbox-1-a",
        "sandbox-sg-a",
    ]
