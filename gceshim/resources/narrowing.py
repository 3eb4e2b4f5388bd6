"""What of a list's filter is left to the backend, so that it gives few items rather than all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gceshim.drivers.base import Driver
from gceshim.protocol import paging
from gceshim.resources.call import Call


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
    nothing = False
    if zone is None:
        zones = [item.name for item in await driver.locations.zones(call.tenant)]
        allowed = [name for name in zones if wanted.allows("zone", call.url("zones", name))]
        zone = allowed[0] if len(allowed) == 1 else None
        nothing = not allowed
    return Narrowing(zone, wanted.equalities().get("name"), wanted.labels(), nothing)
