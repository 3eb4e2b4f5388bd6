"""What a machine needs of the firewall: its security groups, the rules of its addresses, and their end."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from typing import Any, Final

from gceshim.drivers import errors
from gceshim.drivers.base import Json, Steps
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.firewall.force import Address, Force, is_ephemeral, tags_of_machine
from gceshim.drivers.cloudstack.firewall.groups import group_name, is_group_of
from gceshim.drivers.cloudstack.firewall.terrain import Terrain, terrain_of
from gceshim.drivers.cloudstack.layout import Place
from gceshim.drivers.cloudstack.machines import Machines
from gceshim.drivers.cloudstack.networks import Networks
from gceshim.drivers.cloudstack.rows import Row, flag, rows, text
from gceshim.drivers.cloudstack.undo import Undo
from gceshim.model import Tenant

log = logging.getLogger(__name__)

_STOPPED: Final = "Stopped"


class MachineRules:
    """The part of a machine's workflows that is about firewall rules."""

    def __init__(self, backend: Backend, networks: Networks, machines: Machines, force: Force) -> None:
        self._backend = backend
        self._networks = networks
        self._machines = machines
        self._force = force

    async def prepare(
        self, steps: Steps, network_ids: Sequence[str], network_tags: Sequence[str], undo: Undo
    ) -> dict[str, str]:
        """
        Put in place what rules ask for before a machine starts in these CloudStack networks.

        :returns: the security groups that the machine is to be in, ids by name; none of them in zones without.
        """
        tenant = steps.tenant
        ids = set(network_ids)

        async def look() -> dict[str, Any]:
            terrains = await self._terrains(tenant, ids)
            names = names_of(terrains, network_tags)
            return {"groups": names, "needed": bool(names) or await self._force.is_needed(tenant, terrains)}

        found = await steps.run("firewall-look", look)
        names = found["groups"]
        if not found["needed"]:
            return {}
        with self._force.awaiting(tenant, names):
            return await self._into_groups(steps, ids, names, undo)

    async def _into_groups(
        self, steps: Steps, network_ids: set[str], names: Sequence[str], undo: Undo, prefix: str = ""
    ) -> dict[str, str]:
        """Put in place what a machine in these groups needs; the ids of the groups by name."""
        tenant = steps.tenant

        async def look() -> Sequence[Terrain]:
            return await self._terrains(tenant, network_ids)

        async def back(steps: Steps) -> None:
            # Rules that others have made since stay; only what nobody needs goes.
            await self._force.put_alone(steps, f"{prefix}undo-firewall-", self._force.around_machine(tenant, look))

        undo.add(steps, back, "security groups")
        survey = self._force.around_machine(tenant, look, groups=names)
        await self._force.put_alone(steps, f"{prefix}firewall-", survey)
        groups: dict[str, str] = await steps.run(f"{prefix}firewall-groups", lambda: self._group_ids(tenant, names))
        return groups

    @contextmanager
    def entering(self, steps: Steps, groups: Mapping[str, str]) -> Iterator[None]:
        """While a machine is made in these groups they are not removed as unused."""
        with self._force.awaiting(steps.tenant, groups):
            yield

    async def are_there(self, steps: Steps, groups: Mapping[str, str]) -> bool:
        """Whether all of these security groups, ids by name, are what they were."""
        found = await steps.run("firewall-groups-there", lambda: self._group_ids(steps.tenant, list(groups)))
        return bool(found == dict(groups))

    async def open(
        self, steps: Steps, addresses: Sequence[Address], network_tags: Sequence[str], prefix: str = ""
    ) -> None:
        """Let in what rules allow at public addresses that lead to a machine, or nothing new when that fails."""
        await self._at_addresses(steps, f"{prefix}firewall-open-", addresses, network_tags)

    async def belongings(self, steps: Steps, vm_id: str, prefix: str = "") -> Json:
        """What rules have made for a machine, and what does not go with it; for `leave`."""

        async def look() -> Json:
            row = await self._machines.by_id(steps.tenant, vm_id)
            return await self._belongings(steps.tenant, row) if row is not None else {"addresses": [], "grouped": []}

        return await steps.run(f"{prefix}firewall-belongings", look)

    async def leave(self, steps: Steps, left: Json, prefix: str = "") -> None:
        """
        Take away what was for a machine that is gone; what cannot be is taken away with the next change of rules.

        :param left: what `belongings` told while it was there.
        """
        tenant = steps.tenant
        # An ephemeral address is given back, and its rules go with it.
        held = [item for item in left["addresses"] if not item[-1]]
        try:
            if held:
                unused = await steps.run(f"{prefix}firewall-held", lambda: self._unused(tenant, held))
                await self._at_addresses(steps, f"{prefix}firewall-close-", [Address(*item) for item in unused], None)
            if left["grouped"]:
                ids = set(left["grouped"])
                survey = self._force.around_machine(tenant, lambda: self._terrains(tenant, ids))
                await self._force.put_alone(steps, f"{prefix}firewall-left-", survey)
        except errors.DriverError as exc:
            log.warning("firewall rules of a machine that is gone stay for now: %s (%s)", exc.message, exc.detail)

    async def _belongings(self, tenant: Tenant, row: Row) -> Json:
        ids = {text(nic, "networkid") for nic in rows(row, "nic")}
        terrains = await self._terrains(tenant, ids)
        isolated = {place.backend_id for item in terrains for place in item.isolated}
        grouped = sorted(place.backend_id for item in terrains for place in item.grouped)
        addresses = await self._addresses_of(tenant, text(row, "id"), isolated) if isolated else []
        return {"addresses": [list(astuple(item)) for item in addresses], "grouped": grouped}

    async def retag(self, steps: Steps, vm_id: str, network_tags: Sequence[str], undo: Undo, prefix: str = "") -> Json:
        """
        Make the rules for other network tags apply to a machine; `undo` is told how to go back.

        To be called before the tags are written, so that nothing is when it is refused.
        :returns: what is to be given to `leave` when all is done.
        :raises NotReady: the machine has security groups and is not stopped. :raises NotFound: it is gone.
        """
        tenant = steps.tenant

        async def look() -> dict[str, Any]:
            row = await self._machines.by_id(tenant, vm_id)
            if row is None:
                raise errors.NotFound("The instance is gone", kind="instance")
            found = await self._belongings(tenant, row)
            terrains = await self._terrains(tenant, set(found["grouped"]))
            names = names_of(terrains, network_tags)
            present = await self._groups_of(tenant, vm_id) if terrains else {}
            ours = {name for item in terrains for name in present if is_group_of(name, item.network)}
            moves = bool(terrains) and ours != set(names)
            if moves and text(row, "state") != _STOPPED:
                raise errors.NotReady(
                    "In a zone with security groups, the network tags of an instance can be changed only while it is"
                    " stopped; stop it first",
                    kind="instance",
                )
            others = [present[name] for name in present if name not in ours]
            before = {"tags": tags_of_machine(row), "before": sorted(present.values())}
            return {**found, **before, "names": names, "moves": moves, "others": others}

        found = await steps.run(f"{prefix}firewall-look", look)
        addresses = [Address(*item) for item in found["addresses"]]

        async def back(steps: Steps) -> None:
            await self._at_addresses(steps, f"{prefix}undo-firewall-open-", addresses, found["tags"])

        undo.add(steps, back, "firewall rules of the instance's addresses")
        await self._at_addresses(steps, f"{prefix}firewall-open-", addresses, network_tags)
        if found["moves"]:
            await self._move(steps, vm_id, found, undo, prefix)
        return {"addresses": [], "grouped": found["grouped"] if found["moves"] else []}

    async def _move(self, steps: Steps, vm_id: str, found: Json, undo: Undo, prefix: str) -> None:
        """Put a stopped machine into other groups, which are made before."""
        tenant = steps.tenant
        names = found["names"]

        async def put(steps: Steps, name: str, group_ids: Sequence[str]) -> None:
            async def update() -> bool:
                form = {"id": vm_id, "securitygroupids": ",".join(group_ids)}
                await self._backend.call(tenant, "updateVirtualMachine", **form)
                return True

            await steps.run(name, update)

        async def back(steps: Steps) -> None:
            await put(steps, f"{prefix}undo-firewall-move", found["before"])

        with self._force.awaiting(tenant, names):
            groups = await self._into_groups(steps, set(found["grouped"]), names, undo, prefix)
            undo.add(steps, back, "security groups of the instance")
            await put(steps, f"{prefix}firewall-move", [*groups.values(), *found["others"]])

    async def _at_addresses(
        self, steps: Steps, prefix: str, addresses: Sequence[Address], network_tags: Sequence[str] | None
    ) -> None:
        tenant = steps.tenant
        for terrain in await self._terrains(tenant, {item.network_id for item in addresses}):
            here = [place.backend_id for place in terrain.isolated]
            mine = [item for item in addresses if item.network_id in here]
            if mine:
                survey = self._force.at_addresses(tenant, terrain.network, mine, network_tags)
                await self._force.put_alone(steps, f"{prefix}{terrain.network}-", survey)

    async def _terrains(self, tenant: Tenant, network_ids: set[str]) -> list[Terrain]:
        """The terrains of just these CloudStack networks, by network."""
        places = (await self._networks.layout_with(tenant, network_ids)).places
        by_network: dict[str, list[Place]] = {}
        for network_id in sorted(network_ids & places.keys()):
            by_network.setdefault(places[network_id].network, []).append(places[network_id])
        return [terrain_of(network, found) for network, found in sorted(by_network.items())]

    async def _group_ids(self, tenant: Tenant, names: Sequence[str]) -> dict[str, str]:
        found = {}
        for name in names:
            reply = await self._backend.owned(tenant, "listSecurityGroups", securitygroupname=name)
            for row in rows(reply, "securitygroup"):
                if text(row, "name") == name:
                    found[name] = text(row, "id")
        return found

    async def _groups_of(self, tenant: Tenant, vm_id: str) -> dict[str, str]:
        reply = await self._backend.owned(tenant, "listSecurityGroups", virtualmachineid=vm_id)
        return {text(row, "name"): text(row, "id") for row in rows(reply, "securitygroup")}

    async def _addresses_of(self, tenant: Tenant, vm_id: str, network_ids: set[str]) -> list[Address]:
        """The public addresses that lead to a machine."""
        return [
            Address(text(row, "id"), network_id, is_ephemeral(row))
            for network_id in sorted(network_ids)
            for row in await self._held(tenant, network_id)
            if flag(row, "isstaticnat") and text(row, "virtualmachineid") == vm_id
        ]

    async def _unused(self, tenant: Tenant, addresses: Sequence[Json]) -> Json:
        """Those of the addresses that are still held, and lead nowhere."""
        unused = {
            text(row, "id")
            for network_id in {item[1] for item in addresses}
            for row in await self._held(tenant, network_id)
            if not flag(row, "isstaticnat")
        }
        return [item for item in addresses if item[0] in unused]

    async def _held(self, tenant: Tenant, network_id: str) -> list[Row]:
        return await self._backend.every_owned(
            tenant, "listPublicIpAddresses", "publicipaddress", associatednetworkid=network_id
        )


def names_of(terrains: Sequence[Terrain], network_tags: Sequence[str]) -> list[str]:
    """The security groups that a machine with these tags is in."""
    found = []
    for item in terrains:
        if item.grouped:
            found += [group_name(item.network), *(group_name(item.network, tag) for tag in dict.fromkeys(network_tags))]
    return found
