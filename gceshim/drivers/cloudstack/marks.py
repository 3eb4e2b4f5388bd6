"""Setting and replacing the tags of what exists, as steps of an operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gceshim.drivers import errors
from gceshim.drivers.base import Steps, Submitted
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.jobs import settle, submitted
from gceshim.drivers.cloudstack.tags import params
from gceshim.drivers.cloudstack.undo import Undo
from gceshim.model import Tenant

#: Reads the tags that something has; None where it is gone.
Current = Callable[[], Awaitable[Mapping[str, str] | None]]


def owner_of(tenant: Tenant) -> tuple[str, str]:
    """The account or project of a tenant, as a target of tags."""
    return ("Project" if tenant.project_id else "Account", tenant.owner)


async def set_tags(
    backend: Backend,
    steps: Steps,
    name: str,
    target: tuple[str, str],
    *,
    wanted: Mapping[str, str],
    current: Current,
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


async def replace_tags(
    backend: Backend,
    steps: Steps,
    name: str,
    target: tuple[str, str],
    *,
    change: Callable[[Mapping[str, str]], Mapping[str, str]],
    current: Current,
    undo: Undo,
) -> None:
    """
    Make the tags what `change` makes of them: CloudStack cannot overwrite one, so what differs goes and comes anew.

    :param target: as for `set_tags`. :param undo: is told how to put the old ones back.
    :raises NotFound: what has them is gone. :raises Changed: somebody else changed the same tags meanwhile.
    """

    async def compare() -> dict[str, Any]:
        found = await current()
        if found is None:
            raise errors.NotFound("It was removed meanwhile", detail=f"tags of {target[0]} {target[1]}")
        wanted = change(found)
        return {
            "drop": {key: value for key, value in found.items() if wanted.get(key) != value},
            "add": {key: value for key, value in wanted.items() if found.get(key) != value},
        }

    plan = await steps.run(f"{name}-look", compare)
    drop, add = plan["drop"], plan["add"]

    async def back(steps: Steps) -> None:
        await _swap(backend, steps, f"undo-{name}", target, drop=add, add=drop, current=current)

    if drop or add:
        undo.add(steps, back, "changed tags")
    await _swap(backend, steps, name, target, drop=drop, add=add, current=current)


async def _swap(
    backend: Backend,
    steps: Steps,
    name: str,
    target: tuple[str, str],
    *,
    drop: Mapping[str, str],
    add: Mapping[str, str],
    current: Current,
) -> None:
    """Take tags away and set others, whatever of it is done already."""
    if drop:
        await drop_tags(backend, steps, f"{name}-drop", target, tags=drop, current=current)
    if add and not await set_tags(backend, steps, name, target, wanted=add, current=current):
        raise errors.Changed("Somebody else changed it at the same time", detail=f"tags of {target[0]} {target[1]}")


async def drop_tags(
    backend: Backend, steps: Steps, name: str, target: tuple[str, str], *, tags: Mapping[str, str], current: Current
) -> None:
    """
    Take tags away; those that are gone or have other values are a success.

    :param target: as for `set_tags`. :raises DriverError: CloudStack did not do it.
    """
    tenant = steps.tenant
    kind, backend_id = target

    async def is_gone() -> bool:
        found = await current() or {}
        return not tags.items() & found.items()

    async def submit() -> Submitted:
        if await is_gone():
            return Submitted("", backend_id)
        form = params(tags)
        return submitted(await backend.call(tenant, "deleteTags", resourceids=backend_id, resourcetype=kind, **form))

    async def find() -> Submitted | None:
        await settle(backend, tenant, "DeleteTags")
        return Submitted("", backend_id) if await is_gone() else None

    try:
        await steps.job(name, submit, find=find)
    except errors.Failed:
        if not await steps.run(f"{name}-check", is_gone):
            raise
