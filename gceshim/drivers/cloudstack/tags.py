"""
What GCE knows and CloudStack does not, kept as resource tags whose keys begin with `gce:`; other tags are labels.

A reserved value is JSON in one tag; one of more than 255 characters is deflated, put in base 64 and cut into
`gce:<key>.0`, `gce:<key>.1`, ..., the first of which begins with the number of pieces.
"""

from __future__ import annotations

import base64
import json
import logging
import zlib
from collections.abc import Mapping
from typing import Any, Final

log = logging.getLogger(__name__)

PREFIX: Final = "gce:"
LIMIT: Final = 255
#: Labels without a value; CloudStack has no tag without one.
EMPTY_LABELS: Final = "empty-labels"
_UNPACKED_LIMIT: Final = 4 * 1024 * 1024


def encode(labels: Mapping[str, str], reserved: Mapping[str, Any]) -> dict[str, str]:
    """
    The tags for labels and reserved values. A reserved value that is None, "", or an empty container is left out.

    :param reserved: JSON values by key, as `description`; the keys are small letters and hyphens.
    """
    tags = {key: value for key, value in labels.items() if value}
    empty = sorted(key for key, value in labels.items() if not value)
    for key, value in {**reserved, EMPTY_LABELS: empty}.items():
        if value is None or value in ("", [], {}):
            continue
        text = json.dumps(value, separators=(",", ":"), sort_keys=True)
        if len(text) <= LIMIT:
            tags[f"{PREFIX}{key}"] = text
            continue
        for number, piece in enumerate(_pieces(text)):
            tags[f"{PREFIX}{key}.{number}"] = piece
    return tags


def decode(tags: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
    """The labels, in the order of their keys, and the reserved values; what is damaged is left out and logged."""
    labels = {key: tags[key] for key in sorted(tags) if not key.startswith(PREFIX)}
    reserved: dict[str, Any] = {}
    for key, value in tags.items():
        if not key.startswith(PREFIX):
            continue
        name = key[len(PREFIX) :]
        base, _, number = name.rpartition(".")
        try:
            if base and number.isdigit():
                if number == "0":
                    reserved[base] = json.loads(_joined(tags, base))
            else:
                reserved[name] = json.loads(value)
        except (ValueError, KeyError, zlib.error, RecursionError) as exc:
            log.warning("the reserved tag %s cannot be read: %s", key, type(exc).__name__)
    empty = reserved.pop(EMPTY_LABELS, [])
    if isinstance(empty, list):
        labels.update({key: "" for key in empty if isinstance(key, str)})
    return dict(sorted(labels.items())), reserved


def tag_filter(labels: Mapping[str, str] | None) -> dict[str, str]:
    """
    The parameters of a list command that leave out what lacks these labels; of several CloudStack takes any, so the
    first that it can look for has to do.
    """
    for key, value in (labels or {}).items():
        if value and len(value) <= LIMIT and key and not key.startswith(PREFIX):
            return {"tags[0].key": key, "tags[0].value": value}
    return {}


def with_labels(tags: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str]:
    """The tags with other labels; reserved ones stay as they are."""
    kept = {key: value for key, value in tags.items() if key.startswith(PREFIX) and not _holds(key, EMPTY_LABELS)}
    return {**kept, **encode(labels, {})}


def with_reserved(tags: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, str]:
    """The tags with other reserved values for these keys; labels and other values stay as they are."""
    kept = {key: value for key, value in tags.items() if not any(_holds(key, name) for name in values)}
    return {**kept, **encode({}, values)}


def _holds(tag: str, key: str) -> bool:
    """Whether a tag holds a reserved value, or a piece of it."""
    name = tag.removeprefix(PREFIX)
    if name == tag:
        return False
    base, _, number = name.rpartition(".")
    return name == key or (base == key and number.isdigit())


def _pieces(text: str) -> list[str]:
    packed = base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode()
    room = LIMIT - 8  # "123456z:" before the first piece
    count = -(-len(packed) // room)
    pieces = [packed[start : start + room] for start in range(0, len(packed), room)]
    return [f"{count}z:{pieces[0]}", *pieces[1:]]


def _joined(tags: Mapping[str, str], base: str) -> str:
    count, mark, head = tags[f"{PREFIX}{base}.0"].partition("z:")
    if not mark:
        raise ValueError("no count")
    packed = head + "".join(tags[f"{PREFIX}{base}.{number}"] for number in range(1, int(count)))
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(base64.urlsafe_b64decode(packed), _UNPACKED_LIMIT)
    if unpacker.unconsumed_tail:
        raise ValueError("too large")
    return text.decode()


def params(tags: Mapping[str, str]) -> dict[str, str]:
    """The parameters `tags[i].key` and `tags[i].value` of `createTags`."""
    found = {}
    for index, (key, value) in enumerate(tags.items()):
        found[f"tags[{index}].key"] = key
        found[f"tags[{index}].value"] = value
    return found
