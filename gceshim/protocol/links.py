"""
Links: the URLs that answers hold, and the references to other resources that bodies hold.

Source: every client mixes absolute URLs of any host, `projects/...` paths, shorter paths and bare names in what it
sends; what it gets has to start with the URL under which it reached the server (gcutil compares it letter by letter).
"""

import functools
import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, unquote

from gceshim.protocol.discovery import SERVICE_PATH
from gceshim.protocol.errors import Invalid, invalid_value

_API_PREFIX: Final = re.compile(r"^(?:https?:)?//[^/]+/(?:.*?/)?compute/[^/]+/|^/?compute/[^/]+/|^/")
_SCHEME: Final = re.compile(r"^(?:https?:)?//", re.IGNORECASE)
_SEGMENT: Final = re.compile(r"[^\x00-\x20\x7f/?#]{1,1024}")
_SCOPES: Final = {"zones": "zone", "regions": "region"}
_SCOPE_KINDS: Final = {
    "diskTypes": "zone",
    "disks": "zone",
    "firewalls": "global",
    "images": "global",
    "instances": "zone",
    "machineTypes": "zone",
    "networks": "global",
    "subnetworks": "region",
}
"""Where the resources of a collection are. (Regional disks and the like are of a kind that there is not here.)"""


@dataclass(frozen=True, slots=True)
class Links:
    """
    Builds the absolute URLs of one project's resources.

    :param base_url: scheme, host and any prefix, without a slash at the end: `https://gce.example.org`.
    :param project: as the caller wrote it.
    """

    base_url: str
    project: str

    def url(self, *segments: str) -> str:
        """`url("zones", "z", "instances", "i")` is `<base>/compute/v1/projects/<project>/zones/z/instances/i`."""
        return self.api_url("projects", self.project, *segments)

    def api_url(self, *segments: str) -> str:
        """The URL of a path under `compute/v1/`, of no project in particular."""
        path = "/".join(map(_quoted, segments))
        return f"{self.base_url}/{SERVICE_PATH}{path}"

    def path(self, *segments: str) -> str:
        """The same without the base, as error messages name resources: `projects/<project>/zones/z/instances/i`."""
        return "/".join(("projects", self.project, *segments))

    def for_project(self, project: str) -> "Links":
        """The links of another project on this server."""
        return replace(self, project=project)


@dataclass(frozen=True, slots=True)
class Reference:
    """
    What a body or a parameter refers to.

    `project` and `scope` are None when the text leaves them out; `scope_kind` is "zone", "region", "global", or None
    for a bare name. `family` is true for `images/family/F` and `imageFamilyViews/F`, where `name` is the family.
    """

    collection: str
    name: str
    project: str | None = None
    scope_kind: str | None = None
    scope: str | None = None
    family: bool = False

    @classmethod
    def parse(cls, text: str, collection: str, *, field: str = "resource") -> "Reference":
        """
        Read an URL of any host, `projects/...`, `zones/...`, `regions/...`, `global/...` or a bare name.

        :param collection: the GCE collection that the field refers to, `networks` for instance.
        :param field: how an error calls the place, `resource.network` for instance.
        :raises Invalid: the text has none of these forms, or names something of another collection, or a global thing
            where they are zonal.
        """
        reference = cls._read(text, collection)
        if reference is None:
            raise Invalid(invalid_value(field, text, "The URL is malformed."))
        return reference

    @classmethod
    def _read(cls, text: str, collection: str) -> "Reference | None":
        parts = _split(text)
        if parts is None:
            return None
        project = scope_kind = scope = None
        if parts[0] == "projects" and len(parts) > 2:
            project, parts = parts[1], parts[2:]
        if parts[0] in _SCOPES and len(parts) > 2:
            scope_kind, scope, parts = _SCOPES[parts[0]], parts[1], parts[2:]
        elif parts[0] == "global" and len(parts) > 1:
            scope_kind, parts = "global", parts[1:]
        family = view = False
        if collection == "images" and parts[0] == "imageFamilyViews" and len(parts) == 2:
            family, view, parts = True, True, ["images", parts[1]]
        elif collection == "images" and parts[:2] == ["images", "family"] and len(parts) == 3:
            family, parts = True, ["images", parts[2]]
        elif collection == "images" and parts[0] == "family" and len(parts) == 2:
            family, parts = True, ["images", parts[1]]
        if len(parts) == 1 and scope_kind is None and project is None:
            parts = [collection, parts[0]]
        if len(parts) != 2 or parts[0] != collection:
            return None
        if not view and scope_kind not in (None, _SCOPE_KINDS.get(collection, scope_kind)):
            return None
        return cls(collection, parts[1], project, scope_kind, scope, family)


@functools.lru_cache(maxsize=8192)
def _quoted(segment: str) -> str:
    """Remembered, as the answer to a list says the same names over and over."""
    return quote(segment, safe="-._~:@")


def _split(text: str) -> list[str] | None:
    """The path under `compute/<version>/`, cut into decoded segments; None when it cannot be one."""
    path = text.strip()
    stripped = _API_PREFIX.sub("", path, count=1)
    if stripped == path and _SCHEME.match(path):
        return None
    segments = [unquote(part) for part in stripped.split("/") if part]
    if not segments or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        return None
    return segments
