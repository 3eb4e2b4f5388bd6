"""
`testIamPermissions`: which of the permissions named the caller has.

CloudStack's roles decide when a call is made, and cannot be asked for one object ahead. Who sees an object owns it,
alone or with a project's other members, and may do with it all that the API has a method for.
"""

from __future__ import annotations

from gceshim.protocol.discovery import DiscoveryError
from gceshim.resources.base import Body, Collection, document, method
from gceshim.resources.call import Call


class InstancePermissions(Collection, name="instances", scope="zone", needs=("instances", "locations")):
    @method
    async def test_iam_permissions(self, call: Call) -> Body:
        await self.driver.instances.get(call.tenant, call.zone, call.name)
        return granted(call, self.collection)


class DiskPermissions(Collection, name="disks", scope="zone", needs=("disks", "locations")):
    @method
    async def test_iam_permissions(self, call: Call) -> Body:
        await self.driver.disks.get(call.tenant, call.zone, call.name)
        return granted(call, self.collection)


class FirewallPermissions(Collection, name="firewalls", scope="global", needs=("firewalls",)):
    @method
    async def test_iam_permissions(self, call: Call) -> Body:
        await self.driver.firewalls.get(call.tenant, call.name)
        return granted(call, self.collection)


def granted(call: Call, collection: str) -> Body:
    """
    Those of the permissions asked for that are methods of the collection.

    Source: GCE's permissions are named as its methods are, `compute.instances.setLabels`.
    """
    prefix = f"compute.{collection}."
    held = [name for name in call.body.get("permissions", ()) if name.startswith(prefix) and is_method(name)]
    return {"permissions": held} if held else {}


def is_method(name: str) -> bool:
    """Whether a permission is named as a method of Compute Engine is."""
    try:
        document().method(name)
    except DiscoveryError:
        return False
    return True
