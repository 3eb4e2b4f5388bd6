"""
What a PATCH makes of a resource: members that are absent stay, null takes away, objects are merged, arrays replaced.

Source: "Patches" of Google's API pages, which are RFC 7396's; `updateMask` and `paths` of the methods that have them.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gceshim.protocol.discovery import Document
from gceshim.protocol.errors import InvalidParameter, invalid_value

Json = dict[str, Any]
Path = tuple[str, ...]


def nulls(value: Any, path: Path = ()) -> Iterable[Path]:
    """The paths, as `("logConfig", "metadata")`, of the members that are null; within arrays there are none."""
    if isinstance(value, dict):
        for name, member in value.items():
            if member is None:
                yield (*path, name)
            else:
                yield from nulls(member, (*path, name))


def patched(current: Mapping[str, Any], body: Mapping[str, Any], cleared: Collection[Path] = ()) -> Json:
    """
    A resource after a PATCH.

    :param body: the request's members without those that are null. :param cleared: the paths of those.
    """
    merged: Json = _merged(current, body)
    for *parents, last in cleared:
        node: Any = merged
        for name in parents:
            node = node.get(name) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(last, None)
    return merged


def update_mask(params: Mapping[str, Any], document: Document, schema: str) -> frozenset[str]:
    """
    The fields that `updateMask` and `paths` name, in the document's spelling; none when neither is given.

    Of a field that is named and not in the body the value is taken away; one that is in the body and not named stays.
    `updateMask` may be written as JSON has it or as protocol buffers do: `sizeGb`, `size_gb`.

    :raises InvalidParameter: the schema has no such field.
    """
    named = [("updateMask", name) for name in params.get("updateMask", "").split(",")]
    named += [("paths", name) for text in params.get("paths", ()) for name in text.split(",")]
    fields = set()
    for parameter, name in named:
        if not name.strip():
            continue
        field = re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name.strip())
        if field.partition(".")[0] not in document.schema(schema)["properties"]:
            raise InvalidParameter(invalid_value(parameter, name, "There is no such field."), location=parameter)
        fields.add(field)
    return frozenset(fields)


def _merged(current: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(current) if isinstance(current, Mapping) else {}
    for name, value in patch.items():
        merged[name] = _merged(merged.get(name), value)
    return merged
