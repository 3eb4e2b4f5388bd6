"""The settings of the operations engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OperationsSettings:
    """
    All times in seconds.

    A job is asked about at intervals of a quarter of its age, between `poll_min_seconds` and `poll_max_seconds`.
    A tenant with more than `poll_few_jobs` jobs is asked for the list of pending ones instead, at intervals of
    `poll_sweep_seconds` at least, and then about those that have ended, `poll_concurrency` at a time, and half as
    many of one tenant.

    `unavailable_seconds`: how long a backend that does not answer is tried before a job is given up.
    `late_seconds`: how long it is looked for what a call has made that was not answered in time.
    `job_seconds`: how long a job may be pending before it is given up.

    `lease_seconds`: how long after its last sign of life a process loses its operations to another.
    `orphan_seconds`: how long after that the backend may still have in hand what the process asked for last.
    `heartbeat_seconds`: between signs of life. `sweep_seconds`: between looks for lapsed leases and expired records.
    `sweep_batch`: most operations taken over in one look.
    `handover_seconds`: at closing, how long a backend call under way may take before its operation is let go.
    `reread_seconds`: between looks at operations that another process runs and somebody here waits for; longer where
    a look takes long.
    `keep_seconds`: how long an operation is kept after its end.
    """

    poll_min_seconds: float = 0.05
    poll_max_seconds: float = 2.0
    poll_few_jobs: int = 4
    poll_sweep_seconds: float = 0.1
    poll_concurrency: int = 16
    unavailable_seconds: float = 1800.0
    late_seconds: float = 10.0
    job_seconds: float = 6 * 3600.0
    lease_seconds: float = 20.0
    orphan_seconds: float = 10.0
    heartbeat_seconds: float = 5.0
    sweep_seconds: float = 5.0
    sweep_batch: int = 100
    handover_seconds: float = 5.0
    reread_seconds: float = 0.1
    keep_seconds: float = 14 * 86400.0
