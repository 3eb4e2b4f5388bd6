"""compute.instances.update: the whole instance as it is to be, and what of that can be changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gceshim.drivers.base import Steps
from gceshim.model import Instance, InstanceRef
from gceshim.protocol.errors import Invalid, invalid_value
from gceshim.resources import checks
from gceshim.resources.base import Body, Collection, method, workflow
from gceshim.resources.call import Call
from gceshim.resources.instance_settings import require
from gceshim.resources.instance_spec import COMPUTED, KEPT
from gceshim.resources.instances import to_gce
from gceshim.resources.on_instance import begin_on, named
from gceshim.resources.project_metadata import read_metadata

CHANGEABLE: Final = frozenset({"deletionProtection", "description", "labels", "metadata", "tags", *KEPT})


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs from what is there; None: stays as it is."""

    labels: Mapping[str, str] | None = None
    network_tags: tuple[str, ...] | None = None
    metadata: Mapping[str, str] | None = None
    project_metadata: Mapping[str, str] = field(default_factory=dict)
    description: str | None = None
    deletion_protection: bool | None = None
    kept: Mapping[str, Any] | None = None


class InstanceUpdate(Collection, name="instances", scope="zone", needs=("instances", "instance_settings", "locations")):
    @method
    async def update(self, call: Call) -> Body:
        instance = await named(self, call)
        place = ("zones", instance.zone, "instances", instance.name)
        shown = self.show(call, "Instance", place, to_gce(call, instance))
        refuse_others(call.body, shown)
        require(call.body, shown["fingerprint"], "instance")
        changes = from_gce(call.body, instance, await read_metadata(self.store, call.tenant))
        return await begin_on(self, call, self.apply, instance, changes)

    @workflow
    async def apply(self, steps: Steps, instance: InstanceRef, changes: Changes) -> None:
        settings = self.driver.instance_settings
        if changes.labels is not None:
            await settings.set_labels(steps.within("labels"), instance, changes.labels)
        if changes.network_tags is not None:
            await settings.set_network_tags(steps.within("tags"), instance, changes.network_tags)
        if changes.metadata is not None:
            await settings.set_metadata(steps.within("metadata"), instance, changes.metadata, changes.project_metadata)
        if changes.description is not None:
            await settings.set_description(steps.within("description"), instance, changes.description)
        if changes.kept is not None:
            await settings.set_kept(steps.within("kept"), instance, changes.kept)
        if changes.deletion_protection is not None:
            await settings.set_deletion_protection(steps.within("protection"), instance, changes.deletion_protection)


def refuse_others(body: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
    """
    What has a verb of its own, or cannot be changed at all, has to be as it is.

    :raises Invalid: the field is named.
    """
    for name, value in body.items():
        if name not in CHANGEABLE and name not in COMPUTED and value != shown.get(name):
            why = "An update cannot change it: it has a verb of its own, or stays as it was made."
            raise Invalid(invalid_value(f"resource.{name}", value if isinstance(value, str) else "", why))


def from_gce(body: Mapping[str, Any], instance: Instance, project_metadata: Mapping[str, str]) -> Changes:
    """What differs. A member that the body lacks is as good as empty, as the body is the whole instance."""
    labels = checks.labels(body.get("labels", {}))
    network_tags = checks.network_tags(body.get("tags", {}).get("items", ()))
    metadata = checks.metadata(body.get("metadata", {}))
    description = checks.description(body.get("description", ""))
    protected = body.get("deletionProtection", False)
    kept = {name: body[name] for name in KEPT if name in body}
    return Changes(
        labels=None if labels == dict(instance.labels) else labels,
        network_tags=None if network_tags == instance.network_tags else network_tags,
        metadata=None if metadata == dict(instance.metadata) else metadata,
        project_metadata=project_metadata,
        description=None if description == instance.description else description,
        deletion_protection=None if protected == instance.deletion_protection else protected,
        kept=None if kept == dict(instance.kept) else kept,
    )
