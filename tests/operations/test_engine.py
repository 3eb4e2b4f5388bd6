"""Beginning, reading, listing, waiting for and deleting operations."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gceshim.drivers import errors as driver_errors
from gceshim.drivers.base import Steps
from gceshim.operations.engine import Engine
from gceshim.operations.errors import OperationNotFound, OperationRunning, RequestIdReused, ShuttingDown
from gceshim.operations.record import Operation, OperationWarning, Status, from_record, new_id, new_name, to_record
from gceshim.stores.base import EPOCH
from gceshim.stores.errors import StoreError
from tests.stores.running import in_loop, until

from .backend import FAST, Act, Backend, Clock, How, begin, done, in_memory, make_engine, started, tenant

GCE_NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
FOREVER = Act(job=True, rounds=10**9)


@in_loop
async def test_the_record_is_stored_before_anything_runs() -> None:
    """An operation that was answered must be there whatever happens next."""
    backend = Backend(gates={"go": asyncio.Event()})
    async with in_memory() as store, started(make_engine(store, backend)) as engine:
        operation = await begin(
            engine,
            Act(job=True),
            wait_for="go",
            target_id=7,
            user="u@example.com",
            group_id="g",
            warnings=[OperationWarning("W", "m", {"k": "v"})],
        )
        assert operation.status is Status.PENDING
        assert await engine.get("owner", "zone", "z", operation.name) == operation
        assert (operation.subject, operation.project, operation.owner) == ("subject", "project", "owner")
        backend.gates["go"].set()
        ended = await done(engine, operation)
    assert (ended.target_id, ended.user, ended.group_id) == (42, "u@example.com", "g")
    assert [warning.code for warning in ended.warnings] == ["W"]
    assert (ended.type, ended.target) == ("insert", "projects/project/zones/z/instances/n")
    assert ended.started is not None
    assert ended.ended is not None
    assert ended.expires == ended.ended + timedelta(seconds=FAST.keep_seconds)


@in_loop
async def test_an_operation_that_is_linked_to_waits_until_done_or_time_is_up() -> None:
    """`Prefer: wait` answers with the outcome where there is one in time."""
    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        assert (await begin(engine, Act(job=True), wait_seconds=10)).done
        assert not (await begin(engine, FOREVER, wait_seconds=0.01)).done


@in_loop
async def test_a_driver_error_is_explained() -> None:
    """Code, message and the HTTP pair come from the words of the layer above."""
    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        ended = await done(engine, await begin(engine, Act(job=True, how=How.JOB_FAILS)))
    assert [(error.code, error.message) for error in ended.errors] == [("CAPACITYEXHAUSTED", "no room")]
    assert (ended.http_status, ended.http_message) == (403, "HTTP CapacityExhausted")


@in_loop
async def test_a_mistake_in_a_workflow_ends_the_operation(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with the operation's name, and tells the caller nothing of the inside."""

    async def broken(steps: Steps) -> None:
        raise ZeroDivisionError("the inside")

    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        engine.register("broken", broken)
        place: dict[str, Any] = {"type": "start", "scope_kind": "global", "scope": "", "target": "t"}
        ended = await done(engine, await engine.begin(tenant(), "broken", (), **place))
    assert [error.code for error in ended.errors] == ["INTERNAL_ERROR"]
    assert (ended.http_status, "inside" in ended.errors[0].message) == (500, False)
    assert ended.name in caplog.text
    assert "very-secret" not in caplog.text


@in_loop
async def test_names_and_ids_lead_to_the_operation_in_its_scope_only() -> None:
    """Another tenant's, or another zone's, is not there."""
    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        operation = await begin(engine)
        for key in (operation.name, str(operation.id)):
            assert (await engine.get("owner", "zone", "z", key)).name == operation.name
            for where in (("other", "zone", "z"), ("owner", "zone", "y"), ("owner", "region", "z")):
                with pytest.raises(OperationNotFound):
                    await engine.get(*where, key)
                with pytest.raises(OperationNotFound):
                    await engine.wait(*where, key, 1)
                with pytest.raises(OperationNotFound):
                    await engine.delete(*where, key)
        for key in ("", "nope", "9" * 19, "9" * 400, "²", "-1", "1e5", "\x00", "ä" * 5000):
            with pytest.raises(OperationNotFound):
                await engine.get("owner", "zone", "z", key)


@in_loop
async def test_operations_are_listed_in_the_order_they_were_begun() -> None:
    """By scope or all, up and down, page by page."""
    clock = Clock()
    async with in_memory() as store, started(make_engine(store, Backend(), clock=clock)) as engine:
        names = []
        for number in range(5):
            clock.advance(0.001)
            scope = ("zone", "z") if number % 2 else ("global", "")
            names.append((await begin(engine, scope_kind=scope[0], scope=scope[1])).name)
        await begin(engine, owner="other")
        assert [operation.name for operation in await engine.list("owner")] == names
        assert [operation.name for operation in await engine.list("owner", "zone", "z")] == names[1::2]
        page = await engine.list("owner", after=names[3], newest_first=True, limit=2)
        assert [operation.name for operation in page] == [names[2], names[1]]


@in_loop
async def test_only_ended_operations_can_be_deleted() -> None:
    """A record that is in use must stay."""
    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        running = await begin(engine, FOREVER)
        with pytest.raises(OperationRunning):
            await engine.delete("owner", "zone", "z", running.name)
        ended = await done(engine, await begin(engine))
        await engine.delete("owner", "zone", "z", str(ended.id))
        with pytest.raises(OperationNotFound):
            await engine.delete("owner", "zone", "z", ended.name)


@in_loop
async def test_one_request_id_is_one_operation() -> None:
    """Retries, also at once and also after the end, get the first one's operation."""
    backend = Backend()
    async with in_memory() as store:
        first, second = make_engine(store, backend), make_engine(store, backend)
        async with started(first), started(second):
            ids = {"request_id": "r", "request_digest": "d"}
            begun = await asyncio.gather(*(begin(engine, Act(job=False), **ids) for engine in [first, second] * 10))
            await done(first, begun[0])
            begun.append(await begin(second, Act(job=False), **ids))
            other = await begin(first, Act(job=False), owner="other", **ids)
            await done(first, other)
            with pytest.raises(RequestIdReused):
                await begin(second, Act(job=False), request_id="r", request_digest="e")
    assert len({operation.name for operation in begun}) == 1
    assert begun[-1].done
    assert other.name != begun[0].name
    assert backend.made.total() == 2


@in_loop
async def test_a_caller_who_goes_away_leaves_a_running_operation() -> None:
    """What was stored is carried out, whether its answer was heard or not."""
    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        beginning = asyncio.ensure_future(begin(engine, Act(job=True)))
        await asyncio.sleep(0)
        beginning.cancel()

        async def all_done() -> bool:
            operations = await engine.list("owner")
            return bool(operations) and all(operation.done for operation in operations)

        await until(all_done)
    assert beginning.cancelled()


@in_loop
async def test_a_store_that_cannot_write_begins_nothing() -> None:
    """No acknowledgement without a record, no act without one either."""
    backend = Backend()
    async with in_memory() as store, started(make_engine(store, backend)) as engine:
        await store.close()
        with pytest.raises(StoreError):
            await begin(engine, Act(job=False))
    assert not backend.made


@in_loop
async def test_nothing_new_is_accepted_while_closing() -> None:
    """The caller may go to another server."""
    async with in_memory() as store:
        engine = make_engine(store, Backend())
        await engine.start()
        await engine.close(0)
        with pytest.raises(ShuttingDown):
            await begin(engine)


async def unannotated(steps: Steps, argument) -> None: ...  # type: ignore[no-untyped-def]


async def keyword_only(steps: Steps, *, argument: int) -> None: ...


async def fine(steps: Steps, argument: int) -> None: ...


@pytest.mark.parametrize("workflow", [unannotated, keyword_only])
def test_workflows_that_could_not_be_replayed_are_refused(workflow: Any) -> None:
    """Found at registration, not at the first crash."""

    async def go() -> None:
        async with in_memory() as store:
            with pytest.raises(TypeError):
                make_engine(store, Backend()).register("bad", workflow)

    asyncio.run(go())


@in_loop
async def test_arguments_are_counted_and_names_are_unique() -> None:
    """Mistakes of the layer above show at once."""
    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        engine.register("fine", fine)
        with pytest.raises(ValueError, match="twice"):
            engine.register("fine", fine)
        with pytest.raises(TypeError):
            await engine.begin(tenant(), "fine", (1, 2), type="t", scope_kind="global", scope="", target="t")


@in_loop
async def test_expired_operations_are_removed() -> None:
    """The store does not grow for ever."""
    clock = Clock()
    settings = replace(FAST, sweep_seconds=0.001, keep_seconds=60.0)
    async with in_memory() as store, started(make_engine(store, Backend(), clock=clock, settings=settings)) as engine:
        await done(engine, await begin(engine))
        clock.advance(59)
        kept = await done(engine, await begin(engine))
        clock.advance(2)

        async def one_left() -> bool:
            return [operation.name for operation in await engine.list("owner")] == [kept.name]

        await until(one_left)


def test_names_and_ids_have_gces_form() -> None:
    """Clients check them against the patterns of the discovery document."""
    clock = Clock()
    names = []
    for _ in range(200):
        clock.advance(0.001)
        names.append(new_name(clock()))
    assert all(GCE_NAME.fullmatch(name) for name in names)
    assert re.fullmatch(r"operation-\d{13}-[0-9a-f]{13}-[0-9a-f]{8}-[0-9a-f]{8}", names[0])
    assert sorted(names) == names
    assert all(0 < new_id() < 2**63 for _ in range(200))


@in_loop
async def test_a_record_comes_back_from_the_store_as_it_was() -> None:
    """Every field, with its type."""
    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        ended = await done(engine, await begin(engine, Act(job=True, how=How.JOB_FAILS), user="u"))
        assert from_record(to_record(ended)) == ended
        assert (await engine.get("owner", "zone", "z", ended.name)) == replace(ended, lease_until=EPOCH)


@in_loop
async def test_no_secret_is_written_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The tenant's key pair belongs in the vault and nowhere else."""
    caplog.set_level(logging.DEBUG)
    async with in_memory() as store, started(make_engine(store, Backend())) as engine:
        operation = await begin(engine, Act(job=True), Act(job=True, how=How.JOB_FAILS))
        record = await store.operations.get(operation.name)
        await done(engine, operation)
    assert record is not None
    assert "very-secret" not in f"{record.body}{caplog.text}{operation!r}{tenant()!r}"


@in_loop
async def test_an_explanation_that_fails_is_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    """No mistake anywhere leaves an operation running for ever."""
    backend = Backend()

    async def tenants(subject: str, project: str) -> Any:
        return tenant()

    def explain(error: driver_errors.DriverError, operation: Operation) -> Any:
        raise LookupError("no words")

    async with in_memory() as store:
        engine = Engine(store, backend, tenants, explain, FAST)
        engine.register("carry out", backend.carry_out)
        async with started(engine):
            ended = await done(engine, await begin(engine, Act(job=False, how=How.REFUSED)))
    assert [error.code for error in ended.errors] == ["INTERNAL_ERROR"]
    assert ended.name in caplog.text
