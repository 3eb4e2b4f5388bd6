"""compute.images: what machines boot from; templates underneath."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gceshim.model import Image, ImageState
from gceshim.protocol.call import Call as WireCall
from gceshim.protocol.sources import Numbered
from gceshim.resources.base import Body, Collection, method
from gceshim.resources.call import OWN_ACCOUNT, Call
from gceshim.resources.values import fingerprint, gib, int64, timestamp

STATUS: Final[Mapping[ImageState, str]] = {
    ImageState.PENDING: "PENDING",
    ImageState.READY: "READY",
    ImageState.FAILED: "FAILED",
}


class Images(Collection, name="images", scope="global", needs=("images",)):
    """A public image project is seen by every caller, in their own account's right."""

    @method
    async def get(self, call: Call) -> Body:
        return self._shown(call, await self.driver.images.get(call.tenant, call.wire.project, call.name))

    @method
    async def get_from_family(self, call: Call) -> Body:
        return self._shown(call, await self.driver.images.newest(call.tenant, call.wire.project, call.name))

    @method
    async def list(self, call: Call) -> Body:
        images, project = self.driver.images, call.wire.project
        return await self.listing(
            call,
            Numbered(
                lambda page, page_size: images.list(call.tenant, project, page=page, page_size=page_size),
                identity=lambda image: image.backend_id,
                rank=lambda image: image.name,
            ),
            lambda image: self._shown(call, image),
        )

    def tenant_project(self, call: WireCall) -> str:
        return OWN_ACCOUNT if self.driver.images.is_public_project(call.project) else call.project

    def _shown(self, call: Call, image: Image) -> Body:
        return self.show(call, "Image", ("global", "images", image.name), to_gce(image))


class ImageFamilyViews(Collection, name="imageFamilyViews", scope="zone", needs=("images", "locations")):
    """The newest image of a family, as seen from a zone; there are no zonal roll-outs here."""

    @method
    async def get(self, call: Call) -> Body:
        image = await self.driver.images.newest(call.tenant, call.wire.project, call.name)
        shown = self.show(call, "Image", ("global", "images", image.name), to_gce(image))
        return {"image": shown}

    def tenant_project(self, call: WireCall) -> str:
        return OWN_ACCOUNT if self.driver.images.is_public_project(call.project) else call.project


def to_gce(image: Image) -> Body:
    return {
        "id": str(image.id),
        "name": image.name,
        "description": image.description or None,
        "family": image.family or None,
        "status": STATUS[image.state],
        "sourceType": "RAW",
        "diskSizeGb": gib(image.disk_size_bytes),
        "archiveSizeBytes": int64(image.archive_size_bytes),
        "creationTimestamp": timestamp(image.created),
        "architecture": image.architecture or None,
        "labels": dict(image.labels) or None,
        "labelFingerprint": fingerprint(dict(image.labels)),
    }
