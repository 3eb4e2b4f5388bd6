"""
What can go wrong with service accounts.

    AuthError
      NoSuchServiceAccount  ServiceAccountExists  ServiceAccountRefused
"""

from __future__ import annotations

from gceshim.auth.errors import AuthError


class NoSuchServiceAccount(AuthError):
    """There is no service account, or no key, of this name."""


class ServiceAccountExists(AuthError):
    """The name is taken."""


class ServiceAccountRefused(AuthError):
    """What was asked for cannot be: the name is no name, there are too many keys, or somebody else was quicker."""
