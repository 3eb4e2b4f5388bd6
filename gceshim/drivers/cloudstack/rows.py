"""Reading CloudStack's JSON: every field may be absent, and numbers may be strings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

Row = Mapping[str, Any]


def text(row: Row, name: str) -> str:
    """A string field; "" where it is absent."""
    value = row.get(name)
    return "" if value is None else str(value)


def number(row: Row, name: str) -> int | None:
    """A whole number, as a number or as its text; None where it is absent or is none ("Unlimited")."""
    value = row.get(name)
    if isinstance(value, bool) or value is None:
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def flag(row: Row, name: str) -> bool:
    """A boolean, also as the text of old releases; False where it is absent."""
    value = row.get(name)
    return value is True or str(value).lower() == "true"


def time(row: Row, name: str) -> datetime | None:
    """A time like `2021-10-04T09:24:38+0000`; None where it is absent or unreadable."""
    value = row.get(name)
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def rows(row: Row, name: str) -> list[Row]:
    """A list of objects; what is no object in it is left out."""
    value = row.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def tags(row: Row) -> dict[str, str]:
    """The resource tags of an object."""
    return {text(item, "key"): text(item, "value") for item in rows(row, "tags")}


def age_key(row: Row) -> tuple[str, str]:
    """Sorts objects from the earliest created to the latest."""
    moment = time(row, "created")
    return (moment.isoformat() if moment else "", text(row, "id"))
