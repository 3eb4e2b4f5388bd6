"""What the verbs of compute.instances share: finding the machine, and beginning an operation on it."""

from __future__ import annotations

from gceshim.model import Instance, InstanceRef
from gceshim.resources.base import Body, Collection, Workflow
from gceshim.resources.call import Call


async def named(collection: Collection, call: Call) -> Instance:
    """The machine that the path names. :raises NotFound: there is none."""
    return await collection.driver.instances.get(call.tenant, call.zone, call.name)


async def begin_on(collection: Collection, call: Call, run: Workflow, instance: Instance, *arguments: object) -> Body:
    """Begin `run(steps, reference, *arguments)` and answer with the operation, whose target is the machine."""
    reference = InstanceRef(instance.name, instance.zone, instance.backend_id)
    target = ("zones", instance.zone, "instances", instance.name)
    return await collection.begin(call, run, reference, *arguments, target=target, target_id=instance.id)
