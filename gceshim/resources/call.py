"""A call as a resource method sees it: the wire's call, and on whose behalf and where it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gceshim.model import Tenant, stable_id
from gceshim.protocol.call import Call as WireCall
from gceshim.protocol.errors import Invalid, Required, invalid_value
from gceshim.protocol.links import Reference

OWN_ACCOUNT: Final = "default"
"""The project that every caller has: their own account."""


@dataclass(frozen=True, slots=True)
class Call:
    """
    `zone` and `region` are the names of the location in the path, however the caller wrote it; "" without one.
    `inside`: where in the body sent `body` is, `instanceProperties.` for instance; "": it is all of it.
    """

    wire: WireCall
    tenant: Tenant
    zone: str = ""
    region: str = ""
    inside: str = ""

    @property
    def name(self) -> str:
        """The resource named last in the path: a name or a numeric id."""
        return self.wire.resource_name

    @property
    def body(self) -> dict[str, Any]:
        """The checked body; {} where there is none."""
        return self.wire.body or {}

    @property
    def cleared(self) -> frozenset[tuple[str, ...]]:
        """The paths of the members that a PATCH sets to null."""
        return self.wire.cleared

    @property
    def params(self) -> Mapping[str, Any]:
        """Path and query parameters, typed."""
        return self.wire.params

    @property
    def place(self) -> tuple[str, ...]:
        """The path of the call's scope within the project: `("zones", "z")`, `("regions", "r")` or `("global",)`."""
        if self.zone:
            return ("zones", self.zone)
        return ("regions", self.region) if self.region else ("global",)

    def url(self, *segments: str) -> str:
        """The absolute link of something in the project: `call.url("zones", "z")`."""
        return self.wire.links.url(*segments)

    def path(self, *segments: str) -> str:
        """The same without host: `projects/p/zones/z`."""
        return self.wire.links.path(*segments)

    def field(self, path: str) -> str:
        """How errors call a field of the body: `resource.machineType`."""
        return f"resource.{self.inside}{path}"

    def missing(self, path: str) -> Required:
        """The error for a field of the body that has to be there."""
        return Required(f"Required field '{self.field(path)}' not specified")

    def is_own(self, project: str) -> bool:
        """Whether it is the call's project, by the name in the path, its backend id or its number."""
        own = {self.wire.project, self.tenant.project, self.tenant.owner, str(stable_id(self.tenant.owner))}
        return project in own or (self.tenant.project_id is None and project == OWN_ACCOUNT)

    def reference(self, collection: str, text: str, field: str) -> Reference:
        """
        What a field of the body, `resource.machineType` for instance, refers to.

        :raises Invalid: the text is no reference to a resource of the collection.
        """
        return Reference.parse(text, collection, field=self.field(field))

    def own(self, collection: str, text: str, field: str) -> Reference:
        """
        As `reference`, to a resource of the call's project.

        :raises Invalid: as `reference`, or it is of another project: taking the own one of that name would be wrong.
        """
        found = self.reference(collection, text, field)
        if found.project and not self.is_own(found.project):
            why = f"It is in project '{found.project}', not in project '{self.wire.project}'."
            raise Invalid(invalid_value(self.field(field), text, why))
        return found

    def zonal_name(self, collection: str, text: str, field: str) -> str:
        """
        The name of what a field of the body refers to, which is in the zone and project of the call.

        :raises Invalid: as `own`, or it is of another zone.
        """
        found = self.own(collection, text, field)
        if found.scope and found.scope not in (self.zone, self.wire.zone):
            why = f"It is in zone '{found.scope}', not in zone '{self.zone}'."
            raise Invalid(invalid_value(self.field(field), text, why))
        return found.name
