"""The journal in memory, which anybody's driver can be tried with."""

from gceshim.testing.journal import Crash, MemorySteps

__all__ = ["Crash", "MemorySteps"]
