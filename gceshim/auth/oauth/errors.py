"""Why an authorization request is not taken any further."""

from __future__ import annotations


class AuthorizationRefused(Exception):
    """
    There is nobody to whom the browser could be sent back: show a page.

    :param message: plain words for the person in front of it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class AuthorizationError(Exception):
    """
    The client made a mistake, and is told so.

    :param location: where to send the browser, with the error in the query.
    """

    def __init__(self, location: str, description: str) -> None:
        super().__init__(description)
        self.location = location
