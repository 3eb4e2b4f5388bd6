"""What is told of operations that this process runs: in the log, and as numbers for metrics."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterator

from gceshim.operations.record import Operation
from gceshim.trace import Trace, current, tracing

LOG = logging.getLogger(__name__)


class Chronicle:
    """`counts`: operations "begun", "taken over", "succeeded", "failed", "let go" and "left" since the start."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    @contextlib.contextmanager
    def running(self, operation: Operation, *, taken_over: bool) -> Iterator[None]:
        """Around all that is done for an operation; its log records carry the id of the request that began it."""
        request = current()
        word = "taken over" if taken_over else "begun"
        self.counts[word] += 1
        # What was taken over was begun by a request that another process knew.
        request_id = request.request_id if request is not None and not taken_over else ""
        with tracing(Trace(request_id, operation.subject)):
            LOG.info(
                "operation %s: %s: %s of %s",
                operation.name,
                word,
                operation.type,
                operation.target,
                extra={"operation": operation.name, "subject": operation.subject},
            )
            yield

    def ended(self, operation: Operation, started: float) -> None:
        """It is done, one way or the other. `started`: by `time.monotonic`, when this process began with it."""
        failed = operation.http_status is not None
        self.counts["failed" if failed else "succeeded"] += 1
        trace = current() or Trace("")
        seconds = time.monotonic() - started
        LOG.info(
            "operation %s: %s after %.1f s, backend %d calls %.1f s",
            operation.name,
            f"failed: {operation.errors[0].code}" if operation.errors else "done",
            seconds,
            trace.backend_calls,
            trace.backend_seconds,
            extra={
                "operation": operation.name,
                "subject": operation.subject,
                "seconds": round(seconds, 3),
                "backend_calls": trace.backend_calls,
            },
        )

    def let_go(self, name: str, why: object) -> None:
        """Another process, or this one later, is to go on with it."""
        self.counts["let go"] += 1
        LOG.info("operation %s: let go: %s", name, why, extra={"operation": name})

    def left(self, name: str, why: object) -> None:
        """It cannot even be given back: it waits for its lease to lapse."""
        self.counts["left"] += 1
        LOG.warning("operation %s: left until its lease lapses: %s", name, why, extra={"operation": name})
