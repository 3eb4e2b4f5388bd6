"""Operations at rest: what they were asked and what their steps gave is sealed while they run."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gceshim.auth.masterkey import MasterKey
from gceshim.drivers.base import Json, Steps
from gceshim.operations.engine import Engine
from gceshim.operations.record import Operation, Status
from gceshim.operations.sealed import SealedOperations
from gceshim.stores.base import EPOCH, OperationStore, Store
from tests.stores.running import in_loop, until

from .backend import Act, Backend, Clock, begin, done, in_memory, make_engine, started, tenant

KEY, NEXT_KEY = MasterKey(bytes(32)), MasterKey(bytes(range(32)))
SECRETS = ("root-password-in-user-data", "password-that-a-step-gave")
LATER = datetime(2096, 1, 1, tzinfo=UTC)


class Workflow:
    """Asked with one secret, given another by its first step; goes on when `gate` is set."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.seen: list[Json] = []

    async def run(self, steps: Steps, text: str) -> None:
        async def make() -> Json:
            return {"password": SECRETS[1]}

        async def wait() -> Json:
            await self.gate.wait()
            return None

        given = await steps.run("make", make)
        self.seen += [text, given["password"]]
        await steps.run("wait", wait)


def engine_with(store: Store, operations: OperationStore, workflow: Workflow, hours: float = 0.0) -> Engine:
    """A server that is started so many hours later: leases of earlier ones have lapsed."""
    clock = Clock()
    clock.advance(3600.0 * hours)
    store.operations = operations
    engine = make_engine(store, Backend(), clock=clock)
    engine.register("secret", workflow.run)
    return engine


async def begin_secret(engine: Engine) -> Operation:
    place = {"type": "insert", "scope_kind": "zone", "scope": "z", "target": "t", "request_id": "r"}
    return await engine.begin(tenant(), "secret", (SECRETS[0],), **place)  # type: ignore[arg-type]


@in_loop
async def test_secrets_are_sealed_while_an_operation_runs_and_dropped_at_its_end() -> None:
    """Whoever copies the store learns no user data; what has ended is plain, and needs no key."""
    async with in_memory() as store:
        bare, workflow = store.operations, Workflow()
        async with started(engine_with(store, SealedOperations(bare, [KEY]), workflow)) as engine:
            operation = await begin_secret(engine)
            await until(lambda: len(workflow.seen) == 2)
            record = await bare.get(operation.name)
            assert record is not None
            assert record.key_id == KEY.id
            assert not any(secret in repr(record.body) for secret in SECRETS)
            assert {"target", "subject", "workflow"} < record.body.keys()
            for found in (
                await store.operations.get(operation.name),
                await store.operations.find_id("owner", operation.id),
                await store.operations.find_request("owner", "r"),
                *await store.operations.list("owner"),
                *await store.operations.lapsed(LATER),
            ):
                assert found is not None
                assert SECRETS[0] in repr(found.body)
            workflow.gate.set()
            ended = await done(engine, operation)
            record = await bare.get(operation.name)
    assert record is not None
    assert (record.key_id, ended.errors) == ("", ())
    assert not any(secret in repr(record.body) for secret in SECRETS)


@in_loop
async def test_an_operation_is_gone_on_with_by_a_server_that_has_a_newer_key_too() -> None:
    """A change of keys interrupts nothing; each write takes the operation along to the new key."""
    async with in_memory() as store:
        bare, first, second = store.operations, Workflow(), Workflow()
        async with started(engine_with(store, SealedOperations(bare, [KEY, NEXT_KEY]), first)) as engine:
            operation = await begin_secret(engine)
            await until(lambda: len(first.seen) == 2)
        second.gate.set()
        async with started(engine_with(store, SealedOperations(bare, [NEXT_KEY, KEY]), second, 1)) as engine:
            ended = await done(engine, operation)
    assert ended.errors == ()
    assert second.seen == list(SECRETS)


@in_loop
async def test_a_write_takes_an_operation_along_to_the_current_key() -> None:
    """So that an old key can be given up when the operations of its time have gone one step further."""
    async with in_memory() as store:
        bare, first, second = store.operations, Workflow(), Workflow()
        async with started(engine_with(store, SealedOperations(bare, [KEY]), first)) as engine:
            operation = await begin_secret(engine)
            await until(lambda: len(first.seen) == 2)
        async with started(engine_with(store, SealedOperations(bare, [NEXT_KEY, KEY]), second, 1)):
            await until(lambda: len(second.seen) == 2)
            record = await bare.get(operation.name)
            assert record is not None
            assert record.key_id == NEXT_KEY.id


@in_loop
async def test_an_operation_whose_key_is_lost_ends_as_failed(caplog: pytest.LogCaptureFixture) -> None:
    """It cannot be gone on with, and must not stop a server from starting, nor stay for ever."""
    async with in_memory() as store:
        bare, workflow = store.operations, Workflow()
        async with started(engine_with(store, SealedOperations(bare, [KEY]), workflow)) as engine:
            operation = await begin_secret(engine)
            await until(lambda: len(workflow.seen) == 2)
        async with started(engine_with(store, SealedOperations(bare, [NEXT_KEY]), Workflow(), 1)) as engine:
            ended = await done(engine, operation)
            other = await done(engine, await begin(engine, Act(job=True)))
            assert [found.name for found in await engine.list("owner")] == [operation.name, other.name]
    assert ended.status is Status.DONE
    assert [error.code for error in ended.errors] == ["INTERNAL_ERROR"]
    assert (ended.target, other.errors) == (operation.target, ())
    assert f"{operation.name} was encrypted under another master key" in caplog.text


@in_loop
async def test_what_was_sealed_for_one_operation_opens_in_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever can write to the store cannot have one tenant's operation done with another's arguments."""
    async with in_memory() as store:
        bare, workflow = store.operations, Workflow()
        sealed = SealedOperations(bare, [KEY])
        async with started(engine_with(store, sealed, workflow)) as engine:
            operation = await begin_secret(engine)
            record = await bare.get(operation.name)
            assert record is not None
            await bare.insert(replace(record, name="operation-x", id=8, request_id="", lease_until=EPOCH))
            moved = await sealed.get("operation-x")
    assert moved is not None
    assert "arguments" not in moved.body
    assert moved.body["workflow"] == ""
    assert "operation-x has been tampered with" in caplog.text


@in_loop
async def test_a_record_that_was_never_sealed_is_read() -> None:
    """A release before this sealed none."""
    async with in_memory() as store:
        bare, workflow = store.operations, Workflow()
        async with started(engine_with(store, bare, workflow)) as engine:
            operation = await begin_secret(engine)
            await until(lambda: len(workflow.seen) == 2)
        workflow.gate.set()
        async with started(engine_with(store, SealedOperations(bare, [KEY]), workflow, 1)) as engine:
            assert (await done(engine, operation)).errors == ()


@in_loop
async def test_claims_releases_and_removals_pass_through() -> None:
    """What the layer adds is nothing but a seal."""
    async with in_memory() as store:
        sealed = SealedOperations(store.operations, [KEY])
        workflow = Workflow()
        async with started(engine_with(store, sealed, workflow)) as engine:
            operation = await begin_secret(engine)
            await until(lambda: len(workflow.seen) == 2)
        until_ = LATER + timedelta(seconds=1)
        claimed = await sealed.claim(operation.name, "me", now=LATER, until=until_)
        assert claimed is not None
        assert SECRETS[0] in repr(claimed.body)
        assert await sealed.renew("me", [operation.name], until_) == {operation.name}
        assert await sealed.unfinished([operation.name]) == {operation.name}
        await sealed.release("me", [operation.name])
        assert len(await sealed.lapsed(LATER)) == 1
        await sealed.delete(operation.name, claimed.version)
        assert await sealed.get(operation.name) is None
