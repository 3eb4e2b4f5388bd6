"""`requestId`: a mutation that is sent twice is done once."""

from __future__ import annotations

import asyncio

import pytest

from gceshim.simulator import Simulator
from gceshim.testing.gce import Gce
from tests.resources.requests import HERE, insert_body

pytestmark = pytest.mark.gen_test

FIRST = "11111111-2222-4333-8444-555555555555"
SECOND = "11111111-2222-4333-8444-666666666666"


async def test_an_insert_that_is_repeated_after_its_end_is_the_same_operation(gce: Gce, cloudstack: Simulator) -> None:
    """The client lost the answer; that the name is taken by now is its own doing."""
    arguments = {**HERE, "requestId": FIRST, "body": insert_body("vm-1")}
    operation = await gce.done(await gce.call("compute.instances.insert", **arguments))
    again = await gce.call("compute.instances.insert", **arguments)

    assert (again["name"], again["status"], again["clientOperationId"]) == (operation["name"], "DONE", FIRST)
    assert [vm.name for vm in cloudstack.vms("demo")] == ["vm-1"]


async def test_a_delete_that_is_repeated_after_its_end_is_the_same_operation(gce: Gce) -> None:
    """Else the second answer would be a 404 for what the first did."""
    await gce.done(await gce.call("compute.instances.insert", **HERE, body=insert_body("vm-1")))
    arguments = {**HERE, "instance": "vm-1", "requestId": FIRST}
    operation = await gce.done(await gce.call("compute.instances.delete", **arguments))
    again = await gce.call("compute.instances.delete", **arguments)

    assert again["name"] == operation["name"]


async def test_requests_with_one_id_at_once_are_one_operation(gce: Gce, cloudstack: Simulator) -> None:
    """A client that gives up waiting sends the second while the first is on its way."""
    arguments = {**HERE, "requestId": FIRST, "body": insert_body("vm-1")}
    answers = await asyncio.gather(*(gce.call("compute.instances.insert", **arguments) for _ in range(4)))
    await gce.done(answers[0])

    assert len({answer["name"] for answer in answers}) == 1
    assert [vm.name for vm in cloudstack.vms("demo")] == ["vm-1"]


async def test_an_id_that_was_for_another_request_is_refused(gce: Gce) -> None:
    """Also when the other request has ended, and whatever else may be wrong."""
    body = insert_body("vm-1")
    await gce.done(await gce.call("compute.instances.insert", **HERE, requestId=FIRST, body=body))
    error = await gce.error("compute.instances.insert", **HERE, requestId=FIRST, body={**body, "name": "vm-2"})
    new = await gce.error("compute.instances.insert", **HERE, requestId=SECOND, body=body)

    assert error["code"] == 400
    assert "Invalid value for field 'requestId'" in error["message"]
    assert new["code"] == 409


async def test_an_id_is_for_one_method(gce: Gce, cloudstack: Simulator) -> None:
    """Methods without a body differ in nothing else: one who asks to stop is not told that it was reset."""
    await gce.done(await gce.call("compute.instances.insert", **HERE, body=insert_body("vm-1")))
    arguments = {**HERE, "instance": "vm-1", "requestId": FIRST}
    await gce.done(await gce.call("compute.instances.reset", **arguments))
    error = await gce.error("compute.instances.stop", **arguments)

    assert (error["code"], "'requestId'" in error["message"]) == (400, True)
    assert [vm.state for vm in cloudstack.vms("demo")] == ["Running"]
