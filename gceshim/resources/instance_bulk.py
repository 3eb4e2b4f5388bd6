"""compute.instances.bulkInsert: many machines of one kind, one operation for each and one for all."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from gceshim.drivers import errors as driver_errors
from gceshim.drivers.base import Steps
from gceshim.model import InstanceRef, InstanceSpec
from gceshim.operations.record import Operation
from gceshim.protocol.errors import Invalid, Required, invalid_value
from gceshim.resources import checks
from gceshim.resources.base import Body, Collection, method, workflow
from gceshim.resources.call import Call
from gceshim.resources.instance_spec import FIELDS, OVERRIDDEN, REFUSED, from_gce
from gceshim.resources.project_metadata import read_metadata

MOST: Final = 100
"""Machines in one request; GCE allows 1,000, for which one CloudStack account is seldom large enough."""

WORKFLOWS: Final[Mapping[str, str]] = {"insert": "instances.create", "delete": "instances.remove"}
LONGEST_WAIT_SECONDS: Final = 3600.0
PAGES: Final = 20
_INSIDE: Final = "instanceProperties"


@dataclass(frozen=True, slots=True)
class Group:
    """What the operations of one request share. `path`: of the machines, `projects/p/zones/z/instances`."""

    id: str
    user: str
    zone: str
    path: str
    least: int


class InstanceBulk(Collection, name="instances", scope="zone", needs=("instances", "locations")):
    refused = {f"{_INSIDE}.{path}": why for path, why in REFUSED.items()} | {
        "instanceFlexibilityPolicy": "Not supported by this server.",
        "locationPolicy": "The machines are made in the zone of the path.",
        "sourceInstanceTemplate": "Instance templates are not supported yet.",
        f"{_INSIDE}.resourceManagerTags": "Not supported by this server.",
    }
    overridden = {f"{_INSIDE}.{path}": why for path, why in OVERRIDDEN.items()}
    fields = {attribute: f"{_INSIDE}.{path}" for attribute, path in FIELDS.items()}

    @method
    async def bulk_insert(self, call: Call) -> Body:
        count, least = counts(call.body)
        refuse_shared_disks(call.body.get(_INSIDE, {}).get("disks", ()))
        names = await self._names(call, count)
        project_metadata = await read_metadata(self.store, call.tenant)
        specs = [from_gce(one_of(call, name), project_metadata) for name in names]
        for spec in specs:
            await self.driver.instances.check(call.tenant, spec)
        path = call.path("zones", call.zone, "instances")
        group = Group(str(uuid.uuid4()), call.wire.caller.email, call.zone, path, least)
        target = ("zones", call.zone)
        return await self.begin(call, self.create_all, tuple(specs), group, target=target, group_id=group.id)

    @workflow
    async def create_all(self, steps: Steps, specs: tuple[InstanceSpec, ...], group: Group) -> None:
        names = [await self._begin(steps, group, "insert", spec.name, spec) for spec in specs]
        ended: list[Operation] = []
        for name in names:
            ended.append(await self._ended(steps, group.zone, name))
            await steps.progress(100 * len(ended) // len(specs))
        failed = [operation for operation in ended if operation.errors]
        if len(ended) - len(failed) < group.least:
            why = f"{len(failed)} of {len(ended)} instances failed: {failed[0].errors[0].message}"
            left = await self._remove(steps, group, [spec.name for spec in specs], ended)
            raise driver_errors.Failed(why + (f" (left behind: {', '.join(left)})" if left else ""))

    async def _begin(self, steps: Steps, group: Group, verb: str, name: str, subject: object) -> str:
        """An operation on one of the machines; on a replay the same again, by its request id."""
        operation = await self.engine.begin(
            steps.tenant,
            WORKFLOWS[verb],
            (subject,),
            type=verb,
            scope_kind="zone",
            scope=group.zone,
            target=f"{group.path}/{name}",
            user=group.user,
            request_id=f"{steps.operation}-{verb}-{name}",
            group_id=group.id if verb == "insert" else "",
        )
        return operation.name

    async def _ended(self, steps: Steps, zone: str, name: str) -> Operation:
        operation = await self.engine.wait(steps.tenant.owner, "zone", zone, name, LONGEST_WAIT_SECONDS)
        while not operation.done:
            operation = await self.engine.wait(steps.tenant.owner, "zone", zone, name, LONGEST_WAIT_SECONDS)
        return operation

    async def _remove(self, steps: Steps, group: Group, names: Sequence[str], ended: Sequence[Operation]) -> list[str]:
        """Fewer than asked for is not what was asked for: those that were made go again; the names of those left."""
        begun: dict[str, str] = {}
        for name, operation in zip(names, ended, strict=True):
            if operation.errors:
                continue
            try:
                instance = await self.driver.instances.get(steps.tenant, group.zone, name)
            except driver_errors.NotFound:
                continue
            reference = InstanceRef(name, group.zone, instance.backend_id)
            begun[name] = await self._begin(steps, group, "delete", name, reference)
        return [name for name, deletion in begun.items() if (await self._ended(steps, group.zone, deletion)).errors]

    async def _names(self, call: Call, count: int) -> list[str]:
        given = sorted(call.body.get("perInstanceProperties", {}))
        if given:
            if len(given) != count:
                why = "count and the number of perInstanceProperties differ."
                raise Invalid(invalid_value("resource.count", count, why))
            return [checks.resource_name(name, "resource.perInstanceProperties") for name in given]
        pattern = call.body.get("namePattern", "")
        match = re.fullmatch(r"([a-z](?:[-a-z0-9]*))?(#+)([-a-z0-9]*)", pattern)
        if match is None:
            why = "Must be a name with one run of '#' in it, or perInstanceProperties must name the instances."
            raise Invalid(invalid_value("resource.namePattern", pattern, why))
        before, digits, after = match[1] or "", len(match[2]), match[3]
        taken = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
        first = 1 + max([0, *[int(found[1]) for name in await self._taken(call) if (found := taken.fullmatch(name))]])
        numbered = [f"{before}{number:0{digits}d}{after}" for number in range(first, first + count)]
        return [checks.resource_name(name, "resource.namePattern") for name in numbered]

    async def _taken(self, call: Call) -> list[str]:
        names: list[str] = []
        for number in range(1, PAGES + 1):
            page = await self.driver.instances.list(call.tenant, call.zone, page=number, page_size=500)
            names += [instance.name for instance in page.items]
            if not page.more:
                break
        return names


def counts(body: Mapping[str, Any]) -> tuple[int, int]:
    """How many machines are wanted, and how many at least. :raises Required, Invalid: none, or too many."""
    if not body.get("count"):
        raise Required("Required field 'resource.count' not specified")
    count = int(body["count"])
    least = int(body.get("minCount") or count)
    if not 1 <= count <= MOST:
        raise Invalid(invalid_value("resource.count", count, f"Must be from 1 to {MOST}."))
    if not 1 <= least <= count:
        raise Invalid(invalid_value("resource.minCount", least, "Must be from 1 to count."))
    return count, least


def refuse_shared_disks(disks: Sequence[Mapping[str, Any]]) -> None:
    """:raises Invalid: a disk is there already, or named: only one of the machines could have it."""
    for index, disk in enumerate(disks):
        for path, value in (
            ("source", disk.get("source")),
            ("initializeParams.diskName", disk.get("initializeParams", {}).get("diskName")),
        ):
            if value:
                field = f"resource.{_INSIDE}.disks[{index}].{path}"
                raise Invalid(invalid_value(field, value, "Only one of the machines could have this disk."))


def one_of(call: Call, name: str) -> Call:
    """The call that instances.insert would be for one of the machines."""
    own = call.body.get("perInstanceProperties", {}).get(name, {})
    checks.hostname(own.get("hostname", ""), call.field(f"perInstanceProperties.{name}.hostname"))
    properties = call.body.get(_INSIDE, {})
    body = {**properties, "name": name, **({"hostname": own["hostname"]} if "hostname" in own else {})}
    if "disks" in properties:
        body["disks"] = [_disk_of(name, index, disk) for index, disk in enumerate(properties["disks"])]
    return replace(call, wire=replace(call.wire, body=body), inside=f"{_INSIDE}.")


def _disk_of(machine: str, index: int, disk: Mapping[str, Any]) -> Mapping[str, Any]:
    """A device name, which is the same for all machines, must not name the disk."""
    if not index or "initializeParams" not in disk:
        return disk
    return {**disk, "initializeParams": {**disk["initializeParams"], "diskName": f"{machine}-{index}"}}
