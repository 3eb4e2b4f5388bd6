"""
What is known, anywhere in the program, of the request that is being answered: for the log.

It goes with the request's tasks by itself, so that the driver can add its calls to it without being handed it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Trace:
    """
    One request, or one operation that it began.

    :param subject: who calls; "" as long as that is not known.
    :param backend_calls: calls to the backend made for it so far, and the time that they took together.
    """

    request_id: str
    subject: str = ""
    backend_calls: int = 0
    backend_seconds: float = 0.0


_CURRENT: ContextVar[Trace | None] = ContextVar("gceshim_trace", default=None)


def current() -> Trace | None:
    """The trace of whatever runs now; None outside of any request."""
    return _CURRENT.get()


@contextlib.contextmanager
def tracing(trace: Trace) -> Iterator[Trace]:
    """Make it the current one for the block, and for the tasks that are begun in it."""
    token = _CURRENT.set(trace)
    try:
        yield trace
    finally:
        _CURRENT.reset(token)


def add_backend_call(seconds: float) -> None:
    """Count a call to the backend for whoever it is made for."""
    trace = _CURRENT.get()
    if trace is not None:
        trace.backend_calls += 1
        trace.backend_seconds += seconds
