"""What of a list's filter is left to the backend, so that it gives few items rather than all; lists by zones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gceshim.drivers.base import Driver
from gceshim.drivers.errors import Unavailable
from gceshim.protocol import paging
from gceshim.protocol.filter import Filter
from gceshim.resources.call import Call
from gceshim.resources.checks import is_resource_name

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Narrowing:
    """
    Where and what to look for; the filter has still to be applied to what comes.

    A machine's `status` is not among it: each of GCE's stands for several states of CloudStack's, which takes one in a
    list, and machines go from one to another while a list is read.

    :param zone: the only zone that can have some; None: any. :param name: the only name; None: any.
    :param labels: that all of them have. :param nothing: no zone can have any.
    """

    zone: str | None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    nothing: bool = False


async def narrowed(driver: Driver, call: Call, zone: str | None) -> Narrowing:
    """
    What the call's filter has to have, as far as a backend can look for it.

    :param zone: of the call; None for a list of all zones. :raises InvalidParameter: the filter is malformed.
    """
    wanted = paging.list_filter(call.wire)
    if wanted is None:
        return Narrowing(zone)
    name = wanted.equalities().get("name")
    # Asked of the backend, the number of a machine would do for its name.
    nothing = name is not None and not is_resource_name(name)
    if zone is None and not nothing:
        zones = [item.name for item in await driver.locations.zones(call.tenant)]
        allowed = [name for name in zones if _allows(wanted, call, name)]
        zone = allowed[0] if len(allowed) == 1 else None
        nothing = not allowed
    return Narrowing(zone, name, wanted.labels(), nothing)


@dataclass(frozen=True, slots=True)
class ZoneParts(Generic[T]):
    """What several zones hold. :param unreachable: those that could not be read, and why."""

    items: Sequence[T]
    unreachable: Mapping[str, str]


async def read_zones(driver: Driver, call: Call, read: Callable[[str], Awaitable[Sequence[T]]]) -> ZoneParts[T]:
    """
    What is read zone by zone, for a list of all; zones that the filter rules out are left out.

    A zone that cannot be read is an error of the whole list, unless the caller takes a part. Source: GCE
    `returnPartialSuccess`.

    :raises Unavailable: as `read`, where that is so. :raises InvalidParameter: the filter is malformed.
    """
    wanted = paging.list_filter(call.wire)
    names = [zone.name for zone in await driver.locations.zones(call.tenant)]
    allowed = [name for name in names if wanted is None or _allows(wanted, call, name)]
    unreachable: dict[str, str] = {}

    async def part(zone: str) -> Sequence[T]:
        try:
            return await read(zone)
        except Unavailable as exc:
            if not call.params.get("returnPartialSuccess"):
                raise
            unreachable[zone] = exc.message
            return ()

    parts = await asyncio.gather(*map(part, allowed))
    return ZoneParts([item for part in parts for item in part], unreachable)


def _allows(wanted: Filter, call: Call, zone: str) -> bool:
    """Whether what is in the zone can match: most show it by its link, machine types by its bare name."""
    return wanted.allows("zone", call.url("zones", zone)) or wanted.allows("zone", zone)
