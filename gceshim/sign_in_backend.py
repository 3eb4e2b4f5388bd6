"""What signing in needs to know of the cloud, from the driver that reaches it."""

from __future__ import annotations

import logging

from gceshim.auth.errors import AuthError, BackendUnavailable, SignInRefused
from gceshim.auth.sign_in import KEYS_REFUSED, PASSWORD_REFUSED, Backend
from gceshim.drivers import base, errors
from gceshim.model import Account, Credentials

LOG = logging.getLogger("gceshim.auth")


class DriverBackend(Backend):
    """Implements `Backend` over a driver's `Identity`."""

    def __init__(self, identity: base.Identity) -> None:
        self._identity = identity

    async def whoami(self, credentials: Credentials) -> Account:
        try:
            return await self._identity.whoami(credentials)
        except errors.DriverError as exc:
            raise _told(exc, KEYS_REFUSED) from exc

    async def sign_in(self, username: str, password: str, domain: str) -> Credentials:
        try:
            return await self._identity.sign_in(username, password, domain)
        except errors.DriverError as exc:
            raise _told(exc, PASSWORD_REFUSED) from exc


def _told(error: errors.DriverError, refused: str) -> AuthError:
    """
    What the person is told.

    Only somebody whose password was right hears the backend's own words: that they may have no keys, for instance, or
    need a second factor.
    """
    if isinstance(error, errors.Unauthenticated):
        return SignInRefused(refused)
    if isinstance(error, errors.Forbidden | errors.Unsupported):
        return SignInRefused(error.message if error.message.endswith(".") else f"{error.message}.")
    LOG.warning("signing in: %s: %s", type(error).__name__, error.detail or error.message)
    return BackendUnavailable("The cloud cannot be reached.")
