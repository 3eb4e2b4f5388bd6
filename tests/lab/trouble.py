"""Mutations against a cloud of which one call in five goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gceshim.simulator import Simulator, SimulatorSettings
from tests.lab.estate import found
from tests.lab.mutations import LIGHT, Mix
from tests.lab.servers import Laboratory
from tests.lab.storm import END_SECONDS, Clients, Outcome, judged

#: How often each fault strikes a call; together one in five.
SHARES: Final[Mapping[str, float]] = {
    "error_rate": 0.06,
    "http_error": 0.05,
    "connection_reset": 0.03,
    "lost_reply": 0.03,
    "garbage_reply": 0.025,
    "slow_reply": 0.005,
}
TIMEOUT_SECONDS: Final = 1.0


async def trouble(folder: Path, seed: int, *, count: int = 200, settings: Mapping[str, Any] | None = None) -> Outcome:
    """
    A run in which calls fail before and after their work was done, time out, and are answered with nonsense.

    Operations may fail; what they say is what must be there.
    :param count: mutations. :param settings: of the server, by key.
    """
    outcome = Outcome(seed)
    mix = Mix(seed, count, LIGHT)
    cloud = SimulatorSettings(
        seed=seed, machines=mix.machines, limits={"volume": -1, "public_ip": -1}, remembered_calls=100_000
    )
    values = {"driver.cloudstack.timeout_seconds": TIMEOUT_SECONDS, **(settings or {})}
    async with Laboratory(folder, cloud, values) as laboratory:
        mutations = await mix.prepare(laboratory.cloudstack, laboratory.gce(laboratory.servers[0]))
        before = found(laboratory.cloudstack)
        clients = Clients(laboratory, seed)
        _go_wrong(laboratory.cloudstack)
        asked = {asyncio.ensure_future(clients.carry_out(mutation)): mutation for mutation in mutations}
        _, late = await asyncio.wait(asked, timeout=2 * END_SECONDS)
        outcome.problems += [f"not done: {asked[task].name}" for task in late]
        for task in late:
            task.cancel()
        laboratory.cloudstack.faults.clear()
        outcome.failed += clients.failures()
        outcome.problems += await judged(laboratory, mutations, clients, before)
    return outcome


def _go_wrong(cloudstack: Simulator) -> None:
    for name, share in SHARES.items():
        cloudstack.faults.add(name, probability=share, seconds=TIMEOUT_SECONDS + 0.5, status=502)
