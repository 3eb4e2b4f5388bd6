"""What a simulated cloud holds, kept: many trials begin with the same, and make it once."""

from __future__ import annotations

import pickle

from gceshim.simulator import Simulator
from gceshim.simulator.inspection import Inspection


def taken(simulator: Simulator) -> bytes:
    """All that the cloud holds. Jobs have to be over: one that runs is kept as it is now, and never ends."""
    return pickle.dumps(simulator.cloud.state)


def put_back(simulator: Simulator, content: bytes) -> None:
    """Let a cloud hold what another did, and nothing else; ids, names and times are the same."""
    simulator.cloud.state = pickle.loads(content)
    simulator.inspect = Inspection(simulator.cloud.state)
