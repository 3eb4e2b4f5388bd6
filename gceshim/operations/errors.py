"""What the operations engine raises to those who begin, read, wait for or delete operations."""

from __future__ import annotations


class OperationsError(Exception):
    """`message` may be shown to the caller."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class OperationNotFound(OperationsError):
    """The owner has no such operation in this scope."""


class OperationRunning(OperationsError):
    """The operation has not ended, so it cannot be deleted."""


class RequestIdReused(OperationsError):
    """The request id was used before, for a different request."""


class ShuttingDown(OperationsError):
    """The server takes no new operations; another one may."""
