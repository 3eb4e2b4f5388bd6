"""compute.instances: the verbs that change what a machine is like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gceshim.drivers.base import Steps
from gceshim.model import InstanceRef
from gceshim.protocol.errors import ConditionNotMet, Invalid, Required, invalid_value
from gceshim.resources import checks
from gceshim.resources.base import Body, Collection, method, workflow
from gceshim.resources.call import Call
from gceshim.resources.instance_spec import machine_type
from gceshim.resources.on_instance import begin_on, named
from gceshim.resources.project_metadata import read_metadata
from gceshim.resources.values import fingerprint, metadata_body, same_fingerprint


class InstanceSettings(
    Collection, name="instances", scope="zone", needs=("instances", "instance_settings", "locations")
):
    fields = {"machine_type": "machineType", "metadata": "items", "name": "name"}

    @method
    async def set_labels(self, call: Call) -> Body:
        instance = await named(self, call)
        require_labels_fingerprint(call.body, instance.labels)
        return await begin_on(self, call, self.label, instance, checks.labels(call.body.get("labels", {})))

    @method
    async def set_metadata(self, call: Call) -> Body:
        instance = await named(self, call)
        wanted = checks.metadata(call.body, "resource")
        require(call.body, metadata_body(instance.metadata)["fingerprint"], "metadata")
        project_metadata = await read_metadata(self.store, call.tenant)
        return await begin_on(self, call, self.inform, instance, wanted, project_metadata)

    @method
    async def set_tags(self, call: Call) -> Body:
        instance = await named(self, call)
        wanted = checks.network_tags(call.body.get("items", ()), "resource.items")
        require(call.body, fingerprint(list(instance.network_tags)), "tags")
        return await begin_on(self, call, self.tag, instance, wanted)

    @method
    async def set_machine_type(self, call: Call) -> Body:
        instance = await named(self, call)
        if not call.body.get("machineType"):
            raise Required("Required field 'resource.machineType' not specified")
        wanted = machine_type(call, call.body["machineType"])
        await self.driver.catalog.machine_type(call.tenant, call.zone, wanted)
        return await begin_on(self, call, self.size, instance, wanted)

    @method
    async def set_deletion_protection(self, call: Call) -> Body:
        protected = call.params.get("deletionProtection", True)
        return await begin_on(self, call, self.protect, await named(self, call), protected)

    @method
    async def set_scheduling(self, call: Call) -> Body:
        """Clients send the changed members only; the others stay."""
        instance = await named(self, call)
        scheduling = {**instance.kept.get("scheduling", {}), **call.body}
        return await begin_on(self, call, self.keep, instance, {**instance.kept, "scheduling": scheduling})

    @method
    async def set_service_account(self, call: Call) -> Body:
        """An empty body takes the service account away."""
        instance = await named(self, call)
        accounts = [call.body] if call.body.get("email") else []
        return await begin_on(self, call, self.keep, instance, {**instance.kept, "serviceAccounts": accounts})

    @method
    async def set_name(self, call: Call) -> Body:
        instance = await named(self, call)
        if (call.body.get("currentName") or instance.name) != instance.name:
            why = f"The instance is named '{instance.name}'."
            raise Invalid(invalid_value("resource.currentName", call.body["currentName"], why))
        return await begin_on(self, call, self.rename, instance, checks.resource_name(call.body.get("name", "")))

    @workflow
    async def label(self, steps: Steps, instance: InstanceRef, labels: Mapping[str, str]) -> None:
        await self.driver.instance_settings.set_labels(steps, instance, labels)

    @workflow
    async def inform(
        self, steps: Steps, instance: InstanceRef, metadata: Mapping[str, str], of_project: Mapping[str, str]
    ) -> None:
        await self.driver.instance_settings.set_metadata(steps, instance, metadata, of_project)

    @workflow
    async def tag(self, steps: Steps, instance: InstanceRef, network_tags: tuple[str, ...]) -> None:
        await self.driver.instance_settings.set_network_tags(steps, instance, network_tags)

    @workflow
    async def size(self, steps: Steps, instance: InstanceRef, machine_type: str) -> None:
        await self.driver.instance_settings.set_machine_type(steps, instance, machine_type)

    @workflow
    async def protect(self, steps: Steps, instance: InstanceRef, protected: bool) -> None:
        await self.driver.instance_settings.set_deletion_protection(steps, instance, protected)

    @workflow
    async def keep(self, steps: Steps, instance: InstanceRef, kept: Mapping[str, Any]) -> None:
        await self.driver.instance_settings.set_kept(steps, instance, kept)

    @workflow
    async def rename(self, steps: Steps, instance: InstanceRef, name: str) -> None:
        await self.driver.instance_settings.rename(steps, instance, name)


def require(body: Mapping[str, Any], current: str, what: str) -> None:
    """
    Only who has seen the current state may replace it.

    :raises ConditionNotMet: the body's fingerprint is another one, or there is none. Source: GCE, 412.
    """
    if not same_fingerprint(body.get("fingerprint", ""), current):
        raise ConditionNotMet(f"Supplied fingerprint does not match current {what} fingerprint.")


def require_labels_fingerprint(body: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    """The same for labels. :raises ConditionNotMet:"""
    if not same_fingerprint(body.get("labelFingerprint", ""), fingerprint(dict(labels))):
        raise ConditionNotMet("Labels fingerprint either invalid or resource labels have changed.")
