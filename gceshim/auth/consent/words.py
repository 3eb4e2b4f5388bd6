"""What a program asks for, in words for the person who is to allow it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

_PREFIX: Final = "https://www.googleapis.com/auth/"
_CHANGE: Final = "See, create, change and delete your machines, disks, networks and firewall rules"
_SEE: Final = "See your machines, disks, networks and firewall rules, but change nothing"
_WHO: Final = "Know which CloudStack user you are"
_EMAIL: Final = "See your e-mail address in CloudStack"

#: Best known first; a person reads the list from the top.
_MEANINGS: Final[Mapping[str, str]] = {
    f"{_PREFIX}cloud-platform": _CHANGE,
    f"{_PREFIX}compute": _CHANGE,
    f"{_PREFIX}cloud-platform.read-only": _SEE,
    f"{_PREFIX}compute.readonly": _SEE,
    "openid": _WHO,
    f"{_PREFIX}userinfo.profile": _WHO,
    f"{_PREFIX}userinfo.email": _EMAIL,
}


@dataclass(frozen=True, slots=True)
class Permissions:
    """:param meant: one sentence each. :param unused: scopes that open nothing on this server, as they were sent."""

    meant: tuple[str, ...]
    unused: tuple[str, ...]


def permissions(scopes: Iterable[str]) -> Permissions:
    """:param scopes: by the names that Google's APIs give them."""
    asked = set(scopes)
    meant = list(dict.fromkeys(words for scope, words in _MEANINGS.items() if scope in asked))
    if _CHANGE in meant and _SEE in meant:
        meant.remove(_SEE)
    return Permissions(tuple(meant), tuple(sorted(asked - _MEANINGS.keys())))
