"""Scopes: what a token may be used for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

_PREFIX: Final = "https://www.googleapis.com/auth/"

OPENID: Final = "openid"
EMAIL: Final = _PREFIX + "userinfo.email"
PROFILE: Final = _PREFIX + "userinfo.profile"
CLOUD_PLATFORM: Final = _PREFIX + "cloud-platform"
COMPUTE: Final = _PREFIX + "compute"

DEFAULT: Final = (CLOUD_PLATFORM,)
"""Of a request that names none."""

_SHORT: Final[Mapping[str, str]] = {"email": EMAIL, "profile": PROFILE}
_SHORT_GOOGLE: Final = ("cloud-platform", "compute", "userinfo.email", "userinfo.profile")

# RFC 6749, 3.3
_TOKEN: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")
_MOST: Final = 100
_MAX_LENGTH: Final = 4_000


def acceptable(scopes: Sequence[str]) -> bool:
    """Whether they are written as scopes are; unknown ones are kept, and open nothing."""
    fit = 0 < len(scopes) <= _MOST and sum(map(len, scopes)) <= _MAX_LENGTH
    return fit and all(_TOKEN.fullmatch(scope) for scope in scopes)


def full(scopes: Iterable[str]) -> frozenset[str]:
    """The scopes as Google's APIs name them, whichever of their names was used."""
    return frozenset(_full(scope) for scope in scopes)


def identifying(scopes: Iterable[str]) -> bool:
    """Whether they ask who the user is, so that an id_token is to be made."""
    return not full(scopes).isdisjoint({OPENID, EMAIL, PROFILE})


def _full(scope: str) -> str:
    return _SHORT.get(scope) or (_PREFIX + scope if scope in _SHORT_GOOGLE else scope)
