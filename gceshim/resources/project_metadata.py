"""
Metadata of a project, which every machine made in it sees: kept in the store, as CloudStack has no place for it.

Source: GCE `commonInstanceMetadata`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from gceshim.drivers import errors as driver_errors
from gceshim.model import Tenant
from gceshim.stores.base import DocumentRecord, Store
from gceshim.stores.errors import Conflict, Duplicate

COLLECTION: Final = "projects"
NAME: Final = "commonInstanceMetadata"
_CHANGED: Final = "Supplied fingerprint does not match current metadata fingerprint."


async def read_metadata(store: Store, tenant: Tenant) -> Mapping[str, str]:
    """The metadata of the tenant's project; {} when none was set."""
    record = await store.documents.get(tenant.owner, COLLECTION, NAME)
    return {} if record is None else dict(record.body)


async def write_metadata(store: Store, tenant: Tenant, metadata: Mapping[str, str], seen: Mapping[str, str]) -> None:
    """
    Replace the metadata that the caller has seen; done already is done.

    :raises Changed: it is neither what the caller has seen nor what it is to become.
    """
    now = datetime.now(UTC)
    record = await store.documents.get(tenant.owner, COLLECTION, NAME)
    current = {} if record is None else dict(record.body)
    if current == dict(metadata):
        return
    if current != dict(seen):
        raise driver_errors.Changed(_CHANGED)
    try:
        if record is None:
            await store.documents.insert(DocumentRecord(tenant.owner, COLLECTION, NAME, now, dict(metadata)))
        else:
            changed = DocumentRecord(tenant.owner, COLLECTION, NAME, now, dict(metadata), record.version)
            await store.documents.update(changed)
    except (Conflict, Duplicate) as exc:
        raise driver_errors.Changed(_CHANGED) from exc
