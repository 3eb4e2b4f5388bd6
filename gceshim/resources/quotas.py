"""Quotas, as projects and regions show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gceshim.model import Quota, QuotaKind

METRICS: Final[Mapping[QuotaKind, tuple[str, ...]]] = {
    QuotaKind.INSTANCES: ("INSTANCES",),
    QuotaKind.VCPUS: ("CPUS",),
    QuotaKind.MEMORY_MIB: (),  # GCE limits no memory
    QuotaKind.ADDRESSES: ("STATIC_ADDRESSES", "IN_USE_ADDRESSES"),  # one limit counts both
    QuotaKind.DISKS: (),  # GCE limits their sizes, not their number
    QuotaKind.DISK_GIB: ("DISKS_TOTAL_GB",),
    QuotaKind.SNAPSHOTS: ("SNAPSHOTS",),
    QuotaKind.IMAGES: ("IMAGES",),
    QuotaKind.NETWORKS: ("SUBNETWORKS",),
    QuotaKind.VPCS: ("NETWORKS",),
}


def quotas_body(quotas: Sequence[Quota]) -> list[dict[str, Any]]:
    """What is limited; what is unlimited is left out, as GCE has no value that says so."""
    return [
        {"metric": metric, "limit": float(quota.limit), "usage": float(quota.usage or 0)}
        for quota in quotas
        if quota.limit is not None
        for metric in METRICS[quota.kind]
    ]
