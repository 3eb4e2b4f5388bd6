"""A server that is told to stop leaves what it has not finished to the next, at once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from gceshim.simulator import SimulatorSettings
from gceshim.stores.base import EPOCH
from tests.lab.servers import Laboratory
from tests.lab.storm import opened
from tests.resources.requests import HERE, insert_body, made

JOB_SECONDS = 4.0
#: No lease lapses in a test.
SETTINGS = {"operations.lease_seconds": 600.0}


def test_an_operation_of_a_server_that_stops_is_free_at_once(tmp_path: Path) -> None:
    """Not when its lease lapses, nor when its job ends; and its job is not asked for again."""

    async def stop_in_the_middle() -> None:
        cloud = SimulatorSettings(job_seconds_by_command={"stopVirtualMachine": JOB_SECONDS})
        async with Laboratory(tmp_path, cloud, SETTINGS) as laboratory:
            [server] = laboratory.servers
            gce = laboratory.gce(server)
            await made(gce, insert_body("vm-1"))
            operation = await gce.call("compute.instances.stop", **HERE, instance="vm-1")
            begun = time.monotonic()
            await server.stop()
            assert time.monotonic() - begun < JOB_SECONDS
            async with opened(laboratory) as store:
                record = await store.operations.get(operation["name"])
                assert record is not None
                assert (record.done, record.lease_holder, record.lease_until) == (False, "", EPOCH)
            await server.start()
            ended = await gce.done(operation)
            assert (ended["status"], "error" in ended) == ("DONE", False)
            assert laboratory.cloudstack.call_counts["stopVirtualMachine"] == 1
            assert laboratory.cloudstack.vm("vm-1").state == "Stopped"

    asyncio.run(stop_in_the_middle())
