"""Names of machine types that say their own size: GCE's predefined ones, and custom ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_MIB_PER_GIB: Final = 1024

#: series and class, MiB per vCPU, the vCPU counts that GCE has. Source: GCE's machine type documentation.
_CLASSES: Final[tuple[tuple[str, float, tuple[int, ...]], ...]] = (
    ("n1-standard", 3.75 * _MIB_PER_GIB, (1, 2, 4, 8, 16, 32, 64, 96)),
    ("n1-highmem", 6.5 * _MIB_PER_GIB, (2, 4, 8, 16, 32, 64, 96)),
    ("n1-highcpu", 0.9 * _MIB_PER_GIB, (2, 4, 8, 16, 32, 64, 96)),
    ("e2-standard", 4 * _MIB_PER_GIB, (2, 4, 8, 16, 32)),
    ("e2-highmem", 8 * _MIB_PER_GIB, (2, 4, 8, 16)),
    ("e2-highcpu", 1 * _MIB_PER_GIB, (2, 4, 8, 16, 32)),
    ("n2-standard", 4 * _MIB_PER_GIB, (2, 4, 8, 16, 32, 48, 64, 80, 96, 128)),
    ("n2-highmem", 8 * _MIB_PER_GIB, (2, 4, 8, 16, 32, 48, 64, 80, 96, 128)),
    ("n2-highcpu", 1 * _MIB_PER_GIB, (2, 4, 8, 16, 32, 48, 64, 80, 96)),
    ("n2d-standard", 4 * _MIB_PER_GIB, (2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 224)),
    ("n2d-highmem", 8 * _MIB_PER_GIB, (2, 4, 8, 16, 32, 48, 64, 80, 96)),
    ("n2d-highcpu", 1 * _MIB_PER_GIB, (2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 224)),
)
_SHARED: Final[Mapping[str, tuple[int, int]]] = {
    "f1-micro": (1, 614),
    "g1-small": (1, 1740),
    "e2-micro": (2, 1024),
    "e2-small": (2, 2048),
    "e2-medium": (2, 4096),
}
_CUSTOM: Final = re.compile(r"(?:(?:n1|n2|n2d|e2|n4)-)?custom-([1-9][0-9]{0,3})-([1-9][0-9]{0,7})(?:-ext)?")


@dataclass(frozen=True, slots=True)
class Size:
    """vCPUs and memory. `chosen`: by the caller, so that GCE's rules for custom sizes apply."""

    vcpus: int
    memory_mib: int
    chosen: bool = False


def _all() -> Iterator[tuple[str, Size]]:
    for name, per_vcpu_mib, counts in _CLASSES:
        for vcpus in counts:
            yield f"{name}-{vcpus}", Size(vcpus, int(vcpus * per_vcpu_mib))
    for name, (vcpus, memory_mib) in _SHARED.items():
        yield name, Size(vcpus, memory_mib)


PREDEFINED: Final[Mapping[str, Size]] = dict(_all())


def size_of(name: str) -> Size | None:
    """The size that a machine type's name says, or None for a name that says none."""
    if name in PREDEFINED:
        return PREDEFINED[name]
    match = _CUSTOM.fullmatch(name)
    return Size(int(match[1]), int(match[2]), chosen=True) if match else None


def custom_name(vcpus: int, memory_mib: int) -> str:
    """The machine type name of a custom size."""
    return f"custom-{vcpus}-{memory_mib}"
