"""Setting tags on what exists, as a step of an operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from gceshim.drivers import errors
from gceshim.drivers.base import Steps, Submitted
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.jobs import settle, submitted
from gceshim.drivers.cloudstack.tags import params


async def set_tags(
    backend: Backend,
    steps: Steps,
    name: str,
    target: tuple[str, str],
    *,
    wanted: Mapping[str, str],
    current: Callable[[], Awaitable[Mapping[str, str] | None]],
) -> bool:
    """
    Set tags, once and for all: CloudStack does not set a key that is there.

    :param target: CloudStack's type of resource, and its id. :param current: reads the tags that it has.
    :returns: whether it has just these values now; False where somebody else was there first.
    :raises DriverError: CloudStack did not do it for another reason.
    """
    tenant = steps.tenant
    kind, backend_id = target

    async def is_set() -> bool:
        found = await current()
        return found is not None and wanted.items() <= found.items()

    async def submit() -> Submitted:
        return submitted(
            await backend.call(tenant, "createTags", resourceids=backend_id, resourcetype=kind, **params(wanted))
        )

    async def find() -> Submitted | None:
        await settle(backend, tenant, "CreateTags")
        return Submitted("", backend_id) if await is_set() else None

    async def compare() -> str:
        found = await current() or {}
        if wanted.items() <= found.items():
            return "set"
        return "taken" if wanted.keys() & found.keys() else "missing"

    try:
        await steps.job(name, submit, find=find)
    except errors.Failed:
        state = await steps.run(f"{name}-check", compare)
        if state == "missing":
            raise
        return bool(state == "set")
    return True
