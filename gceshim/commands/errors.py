"""How a command ends when it cannot do what it was asked."""

from __future__ import annotations

from typing import Final

FAILED: Final = 1
USAGE: Final = 2


class CommandError(Exception):
    """The text is one line that says what is wrong and what to do; `status` is the exit status."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status
