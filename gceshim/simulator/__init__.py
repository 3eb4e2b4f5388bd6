"""A CloudStack API server in memory: the opponent that gceshim is developed and tested against.

It speaks the management server's HTTP API (signatures, sessions, asynchronous jobs, errors, paging, states, quotas)
without hypervisors behind it. See ``docs/simulator.md``.
"""

from gceshim.simulator.server import Simulator
from gceshim.simulator.settings import FaultSettings, SimulatorSettings, SimulatorSettingsError

__all__ = ["FaultSettings", "Simulator", "SimulatorSettings", "SimulatorSettingsError"]
