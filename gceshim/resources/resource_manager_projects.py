"""
cloudresourcemanager.projects: the projects that the caller may work in, which gcloud looks for beside Compute Engine.

Called by `gcloud projects list` and `describe`, by `gcloud config set project` and by the ADC login.
"""

from __future__ import annotations

from typing import Final

from gceshim.model import Project
from gceshim.protocol import paging
from gceshim.protocol.call import Call as WireCall
from gceshim.protocol.discovery import RESOURCE_MANAGER
from gceshim.resources.base import Body, Collection, keyed_pages, method
from gceshim.resources.call import OWN_ACCOUNT, Call
from gceshim.resources.permissions import is_method
from gceshim.resources.values import int64, present, timestamp

#: Of all that are no method of Compute Engine: to see the project, and to have calls counted against its limits.
HELD: Final = frozenset({"resourcemanager.projects.get", "serviceusage.services.use"})


class ResourceManagerProjects(Collection, name="projects", api=RESOURCE_MANAGER, scope="", needs=("projects",)):
    """The caller's account and the projects that they are a member of."""

    @method
    async def get(self, call: Call) -> Body:
        return to_gce(await self.driver.projects.get(call.tenant))

    @method
    async def list(self, call: Call) -> Body:
        found = await self.driver.projects.list(call.tenant)
        account = found[0].name if found else ""
        source = keyed_pages(found, lambda item: f"{int(item.name != account)} {item.name}")
        items, token = await paging.collect(call.wire, source, to_gce)
        return present({"projects": items or None, "nextPageToken": token})

    @method
    async def test_iam_permissions(self, call: Call) -> Body:
        asked = call.body.get("permissions", ())
        return present({"permissions": [name for name in asked if name in HELD or is_method(name)] or None})

    def tenant_project(self, call: WireCall) -> str:
        """The one in the path; the list, which has none, is the account's."""
        return call.resource_name or OWN_ACCOUNT


def to_gce(project: Project) -> Body:
    """A project that is not active is none of the states that Google's can be in, so it is shown without one."""
    return present(
        {
            "projectId": project.name,
            "name": project.description or project.name,
            "projectNumber": int64(project.id),
            "lifecycleState": "ACTIVE" if project.active else None,
            "createTime": timestamp(project.created),
        }
    )
