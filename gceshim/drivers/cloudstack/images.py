"""Images: templates, each in the image project of its operating system or in the tenant's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gceshim.drivers import base, errors
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.families import OTHER_PROJECT, PUBLIC_PROJECTS, place, same_family
from gceshim.drivers.cloudstack.names import shown
from gceshim.drivers.cloudstack.rows import Row, flag, number, tags, text, time
from gceshim.drivers.cloudstack.settings import ImageOverride
from gceshim.drivers.cloudstack.tags import decode
from gceshim.model import Image, ImageRef, ImageState, Page, Tenant, Zone, stable_id

_GOING_ON: Final = ("processing", "installing", "downloaded", "not_downloaded", "creating", "abandoned", "")
_ARCHITECTURES: Final[Mapping[str, str]] = {"x86_64": "X86_64", "aarch64": "ARM64"}


@dataclass(frozen=True, slots=True)
class Template:
    """An image and the CloudStack zones that hold it; an empty set: all."""

    image: Image
    zone_ids: frozenset[str]


class Images(base.Images):
    """Implements `base.Images`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._projects = PUBLIC_PROJECTS | {
            override.project for override in backend.settings.images.values() if override.project
        }

    def is_public_project(self, project: str) -> bool:
        """The projects that clients know, `cloudstack-images`, and those of the settings."""
        return project in self._projects

    async def get(self, tenant: Tenant, project: str, name: str) -> Image:
        """By name or numeric id. Source: `listTemplates`."""
        return (await self.find(tenant, ImageRef(project, name=name))).image

    async def newest(self, tenant: Tenant, project: str, family: str) -> Image:
        """The newest ready image of the family; ties go by id. Source: `listTemplates`."""
        return (await self.find(tenant, ImageRef(project, family=family))).image

    async def list(self, tenant: Tenant, project: str, *, page: int, page_size: int) -> Page[Image]:
        """By name. Source: `listTemplates`."""
        found = await self._templates(tenant, project)
        start = (page - 1) * page_size
        end = start + page_size
        return Page([item.image for item in found[start:end]], more=len(found) > end)

    async def find(self, tenant: Tenant, ref: ImageRef, zone: Zone | None = None) -> Template:
        """
        The template for an image asked for.

        :param zone: where it has to be. :raises NotFound: no such image or family (there).
        """
        found = await self._templates(tenant, ref.project)
        if zone is not None:
            found = [item for item in found if not item.zone_ids or zone.backend_id in item.zone_ids]
        if ref.family:
            chosen = newest_of(found, ref.family)
        else:
            chosen = next((item for item in found if ref.name in (item.image.name, str(item.image.id))), None)
        if chosen is not None:
            return chosen
        kind, name = ("image_family", ref.family) if ref.family else ("image", ref.name)
        words = f"image of family {name!r}" if ref.family else f"image {name!r}"
        where = f" that is ready in zone {zone.name!r}" if zone else ""
        raise errors.NotFound(
            f"There is no {words} in project {ref.project!r}{where}", kind=kind, name=name, field="image"
        )

    async def ref_of(self, tenant: Tenant, backend_id: str) -> ImageRef | None:
        """The project and name of the image that a template is, from memory for a short time; None: not shown."""

        async def fetch() -> Sequence[Template]:
            return await self._templates(tenant, tenant.project)

        for found in (await self._public(tenant)).values():
            for item in found:
                if item.image.backend_id == backend_id:
                    return ImageRef(item.image.project, name=item.image.name)
        if self.is_public_project(tenant.project):
            return None
        for item in await self._backend.remembered(tenant, "own templates", fetch):
            if item.image.backend_id == backend_id:
                return ImageRef(tenant.project, name=item.image.name)
        return None

    async def _templates(self, tenant: Tenant, project: str) -> Sequence[Template]:
        if self.is_public_project(project):
            return (await self._public(tenant)).get(project, [])
        if project not in (tenant.project, tenant.owner, str(stable_id(tenant.owner))):
            return []  # of another project: the tenant's own image of that name is not what was asked for
        found = await self._backend.every_owned(tenant, "listTemplates", "template", templatefilter="self")
        return templates_of(found, self._backend.settings.images, own_project=project)

    async def _public(self, tenant: Tenant) -> Mapping[str, Sequence[Template]]:
        """The featured and community templates by project, from memory for a short time."""

        async def fetch() -> Mapping[str, Sequence[Template]]:
            found: list[Row] = []
            for kind in ("featured", "community"):
                found += await self._backend.every(tenant.credentials, "listTemplates", "template", templatefilter=kind)
            projects: dict[str, list[Template]] = {}
            for item in templates_of(found, self._backend.settings.images):
                projects.setdefault(item.image.project, []).append(item)
            return projects

        return await self._backend.remembered(tenant.credentials, "public templates", fetch)


def templates_of(
    found: Sequence[Row], overrides: Mapping[str, ImageOverride], *, own_project: str = ""
) -> list[Template]:
    """
    Template rows (one for each template and zone) as images, one for each template, by project and name.

    :param own_project: the project of all of them, for the tenant's own; "": each in that of its system.
    """
    rows: dict[str, Row] = {}
    zone_ids: dict[str, set[str]] = {}
    for row in found:
        backend_id = text(row, "id")
        held = rows.setdefault(backend_id, row)
        if flag(row, "isready") and not flag(held, "isready"):
            rows[backend_id] = row
        zone_ids.setdefault(backend_id, set())
        if row.get("zoneid") and flag(row, "isready"):
            zone_ids[backend_id].add(text(row, "zoneid"))
    images = [image_of(row, overrides, own_project) for row in rows.values()]
    names: dict[str, str] = {}
    for project in {image.project for image in images}:
        names.update(shown(rows[image.backend_id] for image in images if image.project == project))
    templates = [
        Template(dataclasses.replace(image, name=names[image.backend_id]), frozenset(zone_ids[image.backend_id]))
        for image in images
    ]
    return sorted(templates, key=lambda item: (item.image.project, item.image.name))


def image_of(row: Row, overrides: Mapping[str, ImageOverride], own_project: str = "") -> Image:
    """One template row; the name is CloudStack's until names of a scope are compared."""
    backend_id, name = text(row, "id"), text(row, "name")
    labels, reserved = decode(tags(row))
    override = overrides.get(name) or overrides.get(backend_id) or ImageOverride()
    project, family = place(text(row, "ostypename"), name, text(row, "displaytext"))
    kept = reserved.get("family")
    if own_project:
        project, family = own_project, ""
    return Image(
        id=stable_id(backend_id),
        backend_id=backend_id,
        name=name,
        project=own_project or override.project or project or OTHER_PROJECT,
        family=override.family or (kept if isinstance(kept, str) else "") or family,
        description=text(row, "displaytext"),
        state=_state(row),
        disk_size_bytes=number(row, "size") or None,
        archive_size_bytes=number(row, "physicalsize") or None,
        created=time(row, "created"),
        architecture=_ARCHITECTURES.get(text(row, "arch"), ""),
        labels=labels,
        own=bool(own_project),
    )


def newest_of(found: Sequence[Template], family: str) -> Template | None:
    """The newest ready template of a family."""

    def age(item: Template) -> tuple[datetime | None, str]:
        return (item.image.created, item.image.backend_id)

    ready = [item for item in found if item.image.state is ImageState.READY and same_family(family, item.image.family)]
    dated = [item for item in ready if item.image.created is not None]
    return max(dated or ready, key=lambda item: (str(age(item)[0]), age(item)[1]), default=None)


def _state(row: Row) -> ImageState:
    if flag(row, "isready"):
        return ImageState.READY
    status = text(row, "status").lower()
    return (
        ImageState.PENDING
        if any(status == word or (word and word in status) for word in _GOING_ON)
        else (ImageState.FAILED)
    )
