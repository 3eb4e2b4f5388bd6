"""VPCs, made in CloudStack itself."""

from __future__ import annotations

import asyncio
from typing import Any

from gceshim.model import Credentials
from gceshim.testing.world import World


async def cloudstack_call(world: World, command: str, **parameters: Any) -> dict[str, Any]:
    """A command of the account `demo`, straight to CloudStack; a job is waited for and its result returned."""
    credentials = Credentials(*world.cloudstack.keys("demo"))
    backend: Any = world.shim.driver
    reply: dict[str, Any] = await backend.backend.transport.call(credentials, command, **parameters)
    while "jobid" in reply and reply.get("jobstatus", 0) == 0:
        await asyncio.sleep(0.002)
        reply = await backend.backend.transport.call(credentials, "queryAsyncJobResult", jobid=reply["jobid"])
    assert reply.get("jobstatus") != 2, reply
    result: dict[str, Any] = reply.get("jobresult", reply)
    return result


async def vpc_made(world: World, name: str, *tiers: str) -> None:
    """A VPC in the first zone, 10.8.0.0/16, with tiers of /24, which use CloudStack's list that denies."""
    [zone] = (await cloudstack_call(world, "listZones", name="Sandbox 1"))["zone"]
    [offering, *_] = (await cloudstack_call(world, "listVPCOfferings"))["vpcoffering"]
    made = await cloudstack_call(
        world,
        "createVPC",
        name=name,
        displaytext=name,
        cidr="10.8.0.0/16",
        zoneid=zone["id"],
        vpcofferingid=offering["id"],
    )
    [offering, *_] = (await cloudstack_call(world, "listNetworkOfferings", forvpc=True))["networkoffering"]
    for number, tier in enumerate(tiers, start=1):
        await cloudstack_call(
            world,
            "createNetwork",
            name=tier,
            displaytext=tier,
            zoneid=zone["id"],
            vpcid=made["vpc"]["id"],
            networkofferingid=offering["id"],
            gateway=f"10.8.{number}.1",
            netmask="255.255.255.0",
        )
