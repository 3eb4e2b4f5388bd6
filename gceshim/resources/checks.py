"""
Rules for labels, tags, metadata and names of hosts that the discovery document does not spell out.

Source: GCE's pages on labels ("Requirements for labels"), network tags, custom metadata ("Limitations") and custom
hostnames; field names in the errors as GCE prints them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gceshim.protocol.errors import Invalid, invalid_value, must_match

LABEL_KEY: Final = r"[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]{0,62}"
LABEL_VALUE: Final = r"[\p{Ll}\p{Lo}\p{N}_-]{0,63}"
NETWORK_TAG: Final = r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?"
METADATA_KEY: Final = r"[a-zA-Z0-9-_]{1,128}"
LABELS_MAX: Final = 64
TAGS_MAX: Final = 64
METADATA_VALUE_MAX_BYTES: Final = 256 * 1024
METADATA_MAX_BYTES: Final = 512 * 1024
DESCRIPTION_MAX: Final = 2048
HOSTNAME_MAX: Final = 253

_KEY: Final = re.compile(r"(?=[^\W\d_])[\w-]{1,63}")
_VALUE: Final = re.compile(r"[\w-]{0,63}")
_TAG: Final = re.compile(NETWORK_TAG)
_METADATA_KEY: Final = re.compile(METADATA_KEY)
_HOSTNAME: Final = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)+")


def labels(body: Mapping[str, str], field: str = "resource.labels") -> dict[str, str]:
    """
    Labels, checked.

    :raises Invalid: too many, or a key or value that is no label: lower-case letters, digits, `_` and `-`.
    """
    if len(body) > LABELS_MAX:
        raise Invalid(invalid_value(field, f"{len(body)} labels", f"At most {LABELS_MAX} labels are allowed."))
    for key, value in body.items():
        if not _KEY.fullmatch(key) or key != key.lower():
            raise Invalid(must_match(field, key, LABEL_KEY))
        if not _VALUE.fullmatch(value) or value != value.lower():
            raise Invalid(must_match(field, value, LABEL_VALUE))
    return dict(sorted(body.items()))


def network_tags(items: Sequence[str], field: str = "resource.tags.items") -> tuple[str, ...]:
    """
    Network tags, each once, in order.

    :raises Invalid: too many, or one that is no RFC 1035 label.
    """
    if len(items) > TAGS_MAX:
        raise Invalid(invalid_value(field, f"{len(items)} tags", f"At most {TAGS_MAX} tags are allowed."))
    for index, tag in enumerate(items):
        if not _TAG.fullmatch(tag):
            raise Invalid(must_match(f"{field}[{index}]", tag, NETWORK_TAG))
    return tuple(sorted(set(items)))


def metadata(body: Mapping[str, Any], field: str = "resource.metadata") -> dict[str, str]:
    """
    The items of a Metadata body as a mapping.

    :raises Invalid: a key twice or malformed, a value over 256 KiB, or over 512 KiB in all.
    """
    found: dict[str, str] = {}
    total_bytes = 0
    for index, item in enumerate(body.get("items", ())):
        key, value = item.get("key", ""), item.get("value", "")
        place = f"{field}.items[{index}]"
        if not _METADATA_KEY.fullmatch(key):
            raise Invalid(must_match(f"{place}.key", key, METADATA_KEY))
        if key in found:
            raise Invalid(invalid_value(f"{place}.key", key, "Metadata has duplicate keys."))
        value_bytes = len(value.encode())
        total_bytes += len(key) + value_bytes
        if value_bytes > METADATA_VALUE_MAX_BYTES:
            why = f"Value for key '{key}' is too large: maximum size {METADATA_VALUE_MAX_BYTES} bytes."
            raise Invalid(invalid_value(f"{place}.value", value[:32] + "...", why))
        found[key] = value
    if total_bytes > METADATA_MAX_BYTES:
        why = f"Metadata is too large: maximum size {METADATA_MAX_BYTES} bytes."
        raise Invalid(invalid_value(field, f"{total_bytes} bytes", why))
    return found


def is_resource_name(text: str) -> bool:
    """Whether it is an RFC 1035 label, as all resources are called."""
    return _TAG.fullmatch(text) is not None


def resource_name(text: str, field: str = "resource.name") -> str:
    """A resource's name. :raises Invalid: no RFC 1035 label."""
    if not is_resource_name(text):
        raise Invalid(must_match(field, text, NETWORK_TAG))
    return text


def same_name(body: Mapping[str, Any], name: str) -> None:
    """That a body which changes something calls it by its name, if by any. :raises Invalid: it would have another."""
    if body.get("name", name) != name:
        raise Invalid(invalid_value("resource.name", body["name"], f"A change cannot rename '{name}'."))


def description(text: str, field: str = "resource.description") -> str:
    """A description. :raises Invalid: over 2048 characters."""
    if len(text) > DESCRIPTION_MAX:
        raise Invalid(invalid_value(field, text[:32] + "...", f"Must be at most {DESCRIPTION_MAX} characters."))
    return text


def hostname(text: str, field: str = "resource.hostname") -> str:
    """A custom host name, fully qualified. :raises Invalid: no host name with at least two labels, as GCE wants it."""
    if text and (len(text) > HOSTNAME_MAX or not _HOSTNAME.fullmatch(text)):
        raise Invalid(invalid_value(field, text, "Must be a fully qualified domain name of at most 253 characters."))
    return text
