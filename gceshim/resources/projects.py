"""compute.projects: a CloudStack project, or the caller's own account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gceshim.drivers.base import Steps
from gceshim.model import Project, Quota
from gceshim.protocol.errors import ConditionNotMet
from gceshim.resources import checks
from gceshim.resources.base import Body, Collection, method, workflow
from gceshim.resources.call import Call
from gceshim.resources.project_metadata import read_metadata, write_metadata
from gceshim.resources.quotas import quotas_body
from gceshim.resources.values import metadata_body, same_fingerprint, timestamp


class Projects(Collection, name="projects", scope="", needs=("projects",)):
    """The path's last part is the project itself."""

    @method
    async def get(self, call: Call) -> Body:
        project = await self.driver.projects.get(call.tenant)
        quotas = await self.driver.projects.quotas(call.tenant)
        metadata = await read_metadata(self.store, call.tenant)
        return self.show(call, "Project", (), to_gce(call, project, quotas, metadata))

    @method
    async def set_common_instance_metadata(self, call: Call) -> Body:
        wanted = checks.metadata(call.body, "resource")
        seen = await read_metadata(self.store, call.tenant)
        sent = call.body.get("fingerprint")
        if sent and not same_fingerprint(sent, metadata_body(seen)["fingerprint"]):
            raise ConditionNotMet("Supplied fingerprint does not match current metadata fingerprint.")
        return await self.begin(call, self.set_metadata, wanted, seen, target=())

    @workflow
    async def set_metadata(self, steps: Steps, wanted: Mapping[str, str], seen: Mapping[str, str]) -> None:
        await steps.run("write", lambda: write_metadata(self.store, steps.tenant, wanted, seen))


def to_gce(call: Call, project: Project, quotas: Sequence[Quota], metadata: Mapping[str, str]) -> Body:
    """`name` is the project as the caller wrote it: what works in the next path."""
    return {
        "id": str(project.id),
        "name": call.wire.project,
        "description": project.description or project.name,
        "creationTimestamp": timestamp(project.created),
        "commonInstanceMetadata": metadata_body(metadata),
        "quotas": quotas_body(quotas),
    }
