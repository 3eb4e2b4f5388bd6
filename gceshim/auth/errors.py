"""
What can go wrong with keys, tokens and stored credentials. No text holds a secret.

    AuthError
      InvalidToken: RevokedToken
      CredentialsNotFound  CredentialsExist  WrongKey  BadKey  SignInRefused  BackendUnavailable
"""

from __future__ import annotations


class AuthError(Exception):
    """`message` may be shown to the person at the keyboard."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidToken(AuthError):
    """The token was not issued here, or is no longer good."""


class RevokedToken(InvalidToken):
    """
    It was issued here and its time is not over, but it has been used up or revoked.

    :param family: that of its grant, "" if it came of none.
    """

    def __init__(self, message: str, family: str) -> None:
        super().__init__(message)
        self.family = family


class CredentialsNotFound(AuthError):
    """No credentials are stored under this name."""


class CredentialsExist(AuthError):
    """Credentials are stored under this name already."""


class WrongKey(AuthError):
    """Stored credentials cannot be decrypted: the master key is another one, or they were tampered with."""


class BadKey(AuthError):
    """The master key, or the file that is to hold it, is not fit for use."""


class SignInRefused(AuthError):
    """The backend does not let this person in; the text never tells whether there is such a user."""


class BackendUnavailable(AuthError):
    """Whether the person may come in cannot be told now: the backend, or the store, gives no sensible answer."""
