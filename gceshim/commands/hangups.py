"""
SIGHUP: somebody wants files to be read anew, or the terminal that the command was started from is gone.

It ends a process that is not prepared, so it is held back from the start of a command until that is.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Final

_STDIN: Final = 0


class Terminal:
    """The terminal of this process, if it had one when this object was made."""

    def __init__(self) -> None:
        self._was_there = os.isatty(_STDIN)

    @property
    def is_gone(self) -> bool:
        """Whether there was one, and is none any more."""
        return self._was_there and not os.isatty(_STDIN)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Hold the signal back for the block, or until `let_through`. Processes that are started meanwhile do so too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """There is a handler now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
