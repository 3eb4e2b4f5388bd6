"""Encodings that GCE resources share: times, sizes, fingerprints, key/value items."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from gceshim.model import GIB
from gceshim.protocol.encoding import compact


def timestamp(moment: datetime | None) -> str | None:
    """RFC 3339 with milliseconds and offset, as `2026-01-31T09:30:00.000+00:00`."""
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def rank(moment: datetime | None) -> str:
    """A time as a text that compares as the time does; "" for one that is not known."""
    return "" if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds")


def gib(size_bytes: int | None) -> str | None:
    """Whole GiB, rounded up, as the decimal string that int64 travels as."""
    return None if size_bytes is None else str(-(-size_bytes // GIB))


def int64(number: int | None) -> str | None:
    """int64 and uint64 travel as decimal strings."""
    return None if number is None else str(number)


def _digest(value: Any) -> str:
    return base64.b64encode(hashlib.sha256(compact(value, sort_keys=True)).digest()[:8]).decode()


#: The most frequent by far: most machines have no labels, tags and metadata.
_OF_NOTHING: Final[Mapping[type, str]] = {dict: _digest({}), list: _digest([])}


def fingerprint(value: Any) -> str:
    """
    The fingerprint of a JSON value: 8 bytes in base64, the same as long as the value is.

    Source: GCE's `fingerprint` members have format `byte`; gcloud decodes them and sends them back.
    """
    if not value and type(value) in _OF_NOTHING:
        return _OF_NOTHING[type(value)]
    return _digest(value)


def same_fingerprint(sent: str, current: str) -> bool:
    """Whether two fingerprints mean the same bytes; clients change the base64 alphabet on the way."""
    return sent.replace("-", "+").replace("_", "/").rstrip("=") == current.rstrip("=")


def present(body: Mapping[str, Any]) -> dict[str, Any]:
    """The members that there is something to say about: None is left out, so a field is true or absent."""
    return {name: value for name, value in body.items() if value is not None}


def metadata_body(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Metadata as clients read it: fingerprint always, items in the order of their keys when there are any."""
    body: dict[str, Any] = {"fingerprint": fingerprint(dict(metadata))}
    if metadata:
        body["items"] = [{"key": key, "value": metadata[key]} for key in sorted(metadata)]
    return body
