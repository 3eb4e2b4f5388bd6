"""
A last look, just before a backend is told to change something, whether that is still for this process to do.

A process that stood still for long, and whose operations others have taken over meanwhile, would send what it had in
hand when it goes on. Drivers call `pass_fence` as late as they can; it goes with the operation's task by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar

Fence = Callable[[], Awaitable[None]]

_FENCE: ContextVar[Fence | None] = ContextVar("gceshim_fence", default=None)


@contextlib.contextmanager
def fenced(fence: Fence) -> Iterator[None]:
    """Have the fence asked for all that is done in the block. :param fence: raises what ends the operation here."""
    token = _FENCE.set(fence)
    try:
        yield
    finally:
        _FENCE.reset(token)


async def pass_fence() -> None:
    """
    Return if the backend may be told to change something; at once outside of operations.

    :raises Exception: the operation goes no further in this process. It is no driver error, and not to be handled.
    """
    fence = _FENCE.get()
    if fence is not None:
        await fence()
