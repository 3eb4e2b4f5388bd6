"""Whatever is sent and whatever CloudStack does: a clear error in GCE's form, and the server lives on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from gceshim.simulator import Simulator
from gceshim.testing.gce import Gce
from gceshim.testing.world import World
from tests.ports import kept_port, port_of
from tests.resources.requests import HERE, PROJECT, ZONE, insert_body, made

INSTANCES = f"/compute/v1/projects/{PROJECT}/zones/{ZONE}/instances"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("token", "reason"), [("", "required"), ("nonsense", "authError"), ("a.b.c", "authError"), ("é", "authError")]
)
async def test_no_good_token_no_answer(world: World, token: str, reason: str) -> None:
    """401 with a challenge, and GCE's body."""
    answer = await world.anonymous(token).answer("compute.zones.list", project=PROJECT)

    assert (answer.status, answer.body["error"]["errors"][0]["reason"]) == (401, reason)
    assert answer.headers["Www-Authenticate"].startswith("Bearer ")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("method", "names", "status", "words"),
    [
        ("compute.instances.list", {"zone": "nowhere-a"}, 404, "'projects/demo/zones/nowhere-a' was not found"),
        ("compute.instances.get", {"zone": ZONE, "instance": "nope"}, 404, "/instances/nope' was not found"),
        ("compute.instances.get", {"zone": ZONE, "instance": "Bad Name"}, 400, "Must be a match of regex"),
        ("compute.instances.get", {"zone": ZONE, "instance": "12345"}, 404, "/instances/12345' was not found"),
        ("compute.instances.delete", {"zone": ZONE, "instance": "nope"}, 404, "was not found"),
        ("compute.subnetworks.list", {"region": "nowhere"}, 404, "'projects/demo/regions/nowhere' was not found"),
        ("compute.networks.get", {"network": "nope"}, 404, "/global/networks/nope' was not found"),
        ("compute.zones.get", {"zone": "nope"}, 404, "/zones/nope' was not found"),
        ("compute.instances.list", {"zone": ZONE, "maxResults": 501}, 400, "maxResults"),
        ("compute.instances.list", {"zone": ZONE, "maxResults": "x"}, 400, "maxResults"),
        ("compute.instances.list", {"zone": ZONE, "pageToken": "x"}, 400, "pageToken"),
        ("compute.instances.list", {"zone": ZONE, "filter": "name eq ("}, 400, "Invalid list filter expression"),
        ("compute.instances.list", {"zone": ZONE, "orderBy": "size"}, 400, "orderBy"),
        ("compute.instances.list", {"zone": ZONE, "fields": "items("}, 400, "field selection"),
        ("compute.instances.insert", {"zone": ZONE, "requestId": "x", "body": {}}, 400, "requestId"),
        ("compute.zoneOperations.get", {"zone": ZONE, "operation": "nope"}, 404, "/operations/nope' was not found"),
        ("compute.zoneOperations.delete", {"zone": ZONE, "operation": "nope"}, 404, "was not found"),
        ("compute.addresses.list", {"region": "sandbox-1"}, 501, "compute.addresses.list"),
    ],
)
async def test_what_is_not_there_or_not_right(
    gce: Gce, method: str, names: dict[str, Any], status: int, words: str
) -> None:
    """The status that clients act on, and words that name the culprit."""
    error = await gce.error(method, project=PROJECT, **names)

    assert error["code"] == status
    assert words in error["message"]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"not json", {}, 400),
        (b"[]", {}, 400),
        (b'"text"', {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"{" * 20_000, {}, 400),
        (b'{"name": "x", "name": "y"}', {}, 400),
        (b'{"nmae": "x"}', {}, 400),
        (b'{"name": 5}', {}, 400),
        (b'{"disks": {}}', {}, 400),
        (b'{"disks": [5]}', {}, 400),
        (b'{"labels": {"a": {}}}', {}, 400),
        (b"{}", {"Content-Type": "text/xml"}, 415),
        (b"", {}, 400),
        (b"x" * 10_000_000, {}, 413),
    ],
)
async def test_bodies_that_are_none(gce: Gce, body: bytes, headers: dict[str, str], status: int) -> None:
    """No trace, no hang, and the next request is answered."""
    answer = await gce.send("POST", INSTANCES, body=body, headers=headers)

    assert answer.status == status
    assert (await gce.call("compute.instances.list", **HERE)).get("items") is None


@pytest.mark.gen_test
async def test_paths_and_verbs_that_are_none(gce: Gce) -> None:
    """404 for what nobody has, 405 for a verb too many."""
    for verb, path, status in (
        ("GET", "/", 404),
        ("GET", "/compute/v1/nope", 404),
        ("GET", "/compute/v2/projects/demo", 404),
        ("PUT", "/compute/v1/projects/demo/zones", 405),
        ("GET", f"{INSTANCES}/%00", 400),
        ("GET", f"{INSTANCES}/..%2f..%2f", 400),
    ):
        answer = await gce.send(verb, path)
        assert (path, answer.status) == (path, status)


@pytest.mark.gen_test
async def test_a_cloudstack_that_answers_garbage(gce: Gce, cloudstack: Simulator) -> None:
    """503, which Google's clients try again, and no CloudStack innards in the text."""
    await made(gce, insert_body("vm-1"))
    cloudstack.faults.add("garbage_reply", command="listVirtualMachines", times=50)
    error = await gce.error("compute.instances.get", **HERE, instance="vm-1")
    cloudstack.faults.clear()

    assert (error["code"], error["errors"][0]["reason"]) == (503, "backendError")
    assert (await gce.call("compute.instances.get", **HERE, instance="vm-1"))["name"] == "vm-1"


class TestCloudStackThatIsSlow:
    @pytest.fixture
    def shim_settings(self) -> dict[str, Any]:
        return {"driver.cloudstack.timeout_seconds": 2.0}

    @pytest.mark.gen_test
    async def test_a_read_is_a_gateway_timeout(self, gce: Gce, cloudstack: Simulator) -> None:
        """504 in the time that the settings allow, not when CloudStack pleases."""
        await gce.call("compute.instances.list", **HERE)
        cloudstack.faults.add("held_request", command="listVirtualMachines")
        error = await gce.error("compute.instances.list", **HERE)
        cloudstack.faults.clear()

        assert (error["code"], error["errors"][0]["reason"]) == (504, "gatewayTimeout")
        assert (await gce.call("compute.instances.list", **HERE)).get("items") is None


class TestCloudStackThatGoesDown:
    @pytest.fixture
    def shim_settings(self) -> dict[str, Any]:
        return {"driver.cloudstack.cache_seconds": 0, "driver.cloudstack.retries": 0}

    @pytest.mark.gen_test
    async def test_operations_are_still_told_of(self, gce: Gce, cloudstack: Simulator) -> None:
        """They are ours; a client that waits for one takes an error for the operation's end."""
        operation = await made(gce, insert_body("vm-1"))
        cloudstack.faults.add("connection_reset")
        found = await gce.call("compute.zoneOperations.wait", **HERE, operation=operation["name"])
        error = await gce.error("compute.instances.list", **HERE)
        cloudstack.faults.clear()

        assert (found, error["code"]) == (operation, 503)


class TestCloudStackThatIsDown:
    @pytest.fixture
    def shim_settings(self) -> Iterator[dict[str, Any]]:
        with kept_port() as nobody:
            yield {"driver.cloudstack.url": f"http://127.0.0.1:{port_of(nobody)}/client/api"}

    def test_every_read_says_so(self, world: World, io_loop: IOLoop) -> None:
        """A 503 for each, in little time."""

        async def ask() -> dict[str, Any]:
            from gceshim.model import Account, Credentials

            account = Account("1", "demo", "ROOT", "demo", "demo@example.org")
            await world.shim.vault.add("demo", account, Credentials("key", "secret"))
            client = world.anonymous(await world.shim.tokens.issue("demo", 60))
            return await client.error("compute.zones.list", project=PROJECT)

        error = io_loop.run_sync(ask, timeout=120)
        assert (error["code"], error["errors"][0]["reason"]) == (503, "backendError")
        assert "secret" not in json.dumps(error)
