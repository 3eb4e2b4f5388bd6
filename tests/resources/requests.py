"""Requests that several tests make."""

from __future__ import annotations

from typing import Any

from gceshim.testing.gce import Body, Gce

PROJECT = "demo"
ZONE = "sandbox-1-a"
HERE: dict[str, Any] = {"project": PROJECT, "zone": ZONE}
IMAGE = "projects/debian-cloud/global/images/family/debian-12"


def insert_body(
    name: str,
    *,
    zone: str = ZONE,
    image: str = IMAGE,
    network: str = "global/networks/default",
    external: bool = False,
    **members: Any,
) -> Body:
    """What instances.insert takes, with everything at its plainest."""
    interface: Body = {"network": network}
    if external:
        interface["accessConfigs"] = [{"name": "external-nat", "type": "ONE_TO_ONE_NAT"}]
    return {
        "name": name,
        "machineType": f"zones/{zone}/machineTypes/small-instance",
        "disks": [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": image}}],
        "networkInterfaces": [interface],
        **members,
    }


async def made(gce: Gce, body: Body) -> Body:
    """Make a machine in `ZONE`, and give its operation when that has ended well."""
    operation = await gce.done(await gce.call("compute.instances.insert", **HERE, body=body))
    if "error" in operation:
        raise AssertionError(operation["error"])
    return operation


async def changed(gce: Gce, method_id: str, *, at: dict[str, Any] = HERE, **arguments: Any) -> Body:
    """Call a mutation, in `ZONE` unless said otherwise, and give its operation when that has ended well."""
    operation = await gce.done(await gce.call(method_id, **at, **arguments))
    if "error" in operation:
        raise AssertionError(operation["error"])
    return operation


async def failed(gce: Gce, method_id: str, *, at: dict[str, Any] = HERE, **arguments: Any) -> Body:
    """Call a mutation that is accepted and then fails; the operation."""
    operation = await gce.done(await gce.call(method_id, **at, **arguments))
    if "error" not in operation:
        raise AssertionError(f"{method_id} went well")
    return operation


async def disk_made(gce: Gce, name: str, **members: Any) -> Body:
    """Make a disk in `ZONE`, and give it as it is shown."""
    await changed(gce, "compute.disks.insert", body={"name": name, **members})
    return await gce.call("compute.disks.get", **HERE, disk=name)


async def machine(gce: Gce, name: str) -> Body:
    """A machine in `ZONE` as it is shown."""
    return await gce.call("compute.instances.get", **HERE, instance=name)
