"""Which image project and family a template belongs to, by its operating system."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

OTHER_PROJECT: Final = "cloudstack-images"

#: Every image project that clients ask for without being told to. Source: the constants of gcloud, gcutil, libcloud
#: and Terraform.
PUBLIC_PROJECTS: Final = frozenset(
    {
        OTHER_PROJECT,
        "almalinux-cloud",
        "centos-cloud",
        "coreos-cloud",
        "cos-cloud",
        "debian-cloud",
        "fedora-cloud",
        "fedora-coreos-cloud",
        "freebsd-org-cloud-dev",
        "google-containers",
        "opensuse-cloud",
        "oracle-linux-cloud",
        "rhel-cloud",
        "rhel-sap-cloud",
        "rocky-linux-accelerator-cloud",
        "rocky-linux-cloud",
        "suse-byos-cloud",
        "suse-cloud",
        "suse-sap-cloud",
        "ubuntu-os-accelerator-images",
        "ubuntu-os-cloud",
        "ubuntu-os-pro-cloud",
        "windows-cloud",
        "windows-sql-cloud",
    }
)

Family = Callable[[re.Match[str]], str]


def _ubuntu(match: re.Match[str]) -> str:
    year, month = int(match[1]), match[2]
    lts = "-lts" if month == "04" and year % 2 == 0 else ""
    return f"ubuntu-{year:02d}{month}{lts}" + ("-amd64" if year >= 23 else "")


def _versioned(family: str) -> Family:
    return lambda match: f"{family}-{match[1]}"


def _fixed(family: str) -> Family:
    return lambda _match: family


#: pattern of the operating system's name in small letters, image project, family
_SYSTEMS: Final[tuple[tuple[re.Pattern[str], str, Family], ...]] = tuple(
    (re.compile(pattern), project, family)
    for pattern, project, family in (
        (r"ubuntu\D{0,20}(\d{2})\.(\d{2})", "ubuntu-os-cloud", _ubuntu),
        (r"debian\D{0,20}(\d{1,2})\b", "debian-cloud", _versioned("debian")),
        (r"rocky\D{0,12}(\d{1,2})\b", "rocky-linux-cloud", _versioned("rocky-linux")),
        (r"alma\D{0,12}(\d{1,2})\b", "almalinux-cloud", _versioned("almalinux")),
        (r"centos\W{0,3}stream\D{0,5}(\d{1,2})\b", "centos-cloud", _versioned("centos-stream")),
        (r"centos\D{0,12}(\d{1,2})\b", "centos-cloud", _versioned("centos")),
        (r"oracle\D{0,30}(\d{1,2})\b", "oracle-linux-cloud", _versioned("oracle-linux")),
        (r"(?:red hat|rhel)\D{0,30}(\d{1,2})\b", "rhel-cloud", _versioned("rhel")),
        (r"opensuse\D{0,12}(\d{1,2})\b", "opensuse-cloud", _versioned("opensuse-leap")),
        (r"(?:suse|sles)\D{0,30}(\d{1,2})\b", "suse-cloud", _versioned("sles")),
        (r"fedora\W{0,3}coreos", "fedora-coreos-cloud", _fixed("fedora-coreos-stable")),
        (r"fedora\D{0,12}(\d{2})\b", "fedora-cloud", _versioned("fedora-cloud")),
        (r"container-optimi[sz]ed", "cos-cloud", _fixed("cos-stable")),
        (r"coreos|flatcar", "coreos-cloud", _fixed("coreos-stable")),
        (r"windows\D{0,20}(20\d{2})\b", "windows-cloud", _versioned("windows")),
        (r"freebsd\D{0,5}(\d{2})\b", "freebsd-org-cloud-dev", _versioned("freebsd")),
    )
)


def place(*descriptions: str) -> tuple[str, str]:
    """
    The image project and the family for an operating system, by the first description that names a known one.

    :returns: `cloudstack-images` and "" where none does.
    """
    for description in descriptions:
        for pattern, project, family in _SYSTEMS:
            match = pattern.search(description.lower())
            if match:
                return project, family(match)
    return OTHER_PROJECT, ""


def same_family(asked: str, family: str) -> bool:
    """Whether a family that is asked for means this one: GCE's Ubuntu families have the architecture at the end."""
    return _plain(asked) == _plain(family) != ""


def _plain(family: str) -> str:
    return re.sub(r"-(?:amd64|x86-64)$", "", family)
