"""Putting the rules of a network in force: the places where CloudStack keeps them, and who may change them when."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakValueDictionary

from gceshim.drivers import errors
from gceshim.drivers.base import Json, Steps
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.default_network import DESCRIPTION
from gceshim.drivers.cloudstack.firewall.acls import AccessList
from gceshim.drivers.cloudstack.firewall.addresses import AddressRules, egress_of, ingress_of
from gceshim.drivers.cloudstack.firewall.authored import Authored
from gceshim.drivers.cloudstack.firewall.groups import Groups, group_name, group_rules
from gceshim.drivers.cloudstack.firewall.rounds import Ground, Rounds, Survey
from gceshim.drivers.cloudstack.firewall.statements import Box, Inexpressible, Statement, statements_of
from gceshim.drivers.cloudstack.firewall.terrain import Terrain, Terrains
from gceshim.drivers.cloudstack.layout import Place
from gceshim.drivers.cloudstack.rows import Row, flag, rows, tags, text
from gceshim.drivers.cloudstack.tags import decode
from gceshim.drivers.cloudstack.undo import Undo
from gceshim.model import Tenant

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Address:
    """A public address of an isolated network. `ephemeral`: gceshim took it, and gives it back with the machine."""

    backend_id: str
    network_id: str
    ephemeral: bool


class Force:
    """
    Carries out the rules that are authored at the time of looking.

    Whoever adds something that rules are about (a rule, a machine in a group, an address that leads to a machine) adds
    it first and looks for the rest after. Of two who do so at once, one sees the other's.
    """

    def __init__(self, backend: Backend, authored: Authored, terrains: Terrains) -> None:
        self._backend = backend
        self._terrains = terrains
        self._authored = authored
        self._rounds = Rounds(backend)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._awaited: Counter[tuple[str, str]] = Counter()

    @asynccontextmanager
    async def alone(self, tenant: Tenant) -> AsyncIterator[None]:
        """Only one operation of a tenant in this process changes rules at a time; others wait."""
        lock = self._locks.setdefault(tenant.owner, asyncio.Lock())
        async with lock:
            yield

    @contextmanager
    def awaiting(self, tenant: Tenant, names: Collection[str]) -> Iterator[None]:
        """Groups that a machine is about to be put in are not removed as unused meanwhile."""
        self._awaited.update((tenant.owner, name) for name in names)
        try:
            yield
        finally:
            self._awaited.subtract((tenant.owner, name) for name in names)
            self._awaited += Counter()

    async def statements(self, tenant: Tenant, network: str) -> list[Statement]:
        """What the rules of a network say that are not disabled."""
        rules = await self._authored.rules(tenant)
        return statements_of(rule for rule in rules if rule.network == network)

    async def put(self, steps: Steps, prefix: str, survey: Survey) -> None:
        """
        Make what is surveyed as the rules want it or, when that fails, as it was. For who is `alone`.

        :param prefix: begins the names of the steps.
        """
        before, first = await self._rounds.look(steps, prefix, survey)

        async def back(steps: Steps) -> None:
            await self._rounds.apply(steps, f"{prefix}undo-", survey, before, restore=True)

        async with Undo() as undo:
            undo.add(steps, back, "firewall rules in CloudStack")
            await self._rounds.apply(steps, prefix, survey, before, first=first)

    async def put_alone(self, steps: Steps, prefix: str, survey: Survey) -> None:
        """As `put`, waiting for others."""
        async with self.alone(steps.tenant):
            await self.put(steps, prefix, survey)

    async def strangers(self, tenant: Tenant, network: str) -> list[str]:
        """The names of machines that rules of a network do not reach: they are in none of its security groups."""
        terrain = await self._terrains.of(tenant, network)
        found = []
        for place in terrain.grouped:
            for row in await self._backend.every_owned(
                tenant, "listVirtualMachines", "virtualmachine", networkid=place.backend_id, details="secgrp"
            ):
                groups = {text(item, "name") for item in rows(row, "securitygroup")}
                if group_name(terrain.network) not in groups:
                    found.append(text(row, "name"))
        return sorted(found)

    def everywhere(self, tenant: Tenant, network: str) -> Survey:
        """All places of a network."""

        async def survey() -> Sequence[Ground]:
            statements = await self.statements(tenant, network)
            terrain = await self._terrains.of(tenant, network)
            grounds: list[Ground] = [
                AccessList(self._backend, tenant, vpc_id, statements or None) for vpc_id in terrain.vpc_ids
            ]
            for place in terrain.isolated:
                grounds.append(await self._addresses(tenant, place, statements))
                grounds.append(self._egress(tenant, place, statements))
            if terrain.grouped:
                grounds.append(self._groups(tenant, terrain, statements))
            return grounds

        return survey

    async def is_needed(self, tenant: Tenant, terrains: Sequence[Terrain]) -> bool:
        """Whether there is anything but groups to do for `around_machine`: rules there are, or implied ones to make."""
        for terrain in terrains:
            statements = await self.statements(tenant, terrain.network)
            if statements:
                return True
            for place in terrain.isolated:
                if is_ours(place) and not await self._is_at_rest(tenant, place):
                    return True
        return False

    async def _is_at_rest(self, tenant: Tenant, place: Place) -> bool:
        """Whether a network without rules has the implied ones. That it has is remembered for a short time."""

        async def look() -> bool:
            ground = self._egress(tenant, place, [])
            return not ground.changes(await ground.read(), None, restore=False)

        kind = f"implied rules of {place.backend_id}"
        found = await self._backend.remembered(tenant, kind, look)
        if not found:
            self._backend.forget(tenant, kind)
        return found

    def around_machine(
        self, tenant: Tenant, look: Callable[[], Awaitable[Sequence[Terrain]]], *, groups: Collection[str] = ()
    ) -> Survey:
        """
        What must be in place before a machine starts in some networks: all but the rules of addresses.

        :param look: tells the networks. :param groups: names of security groups that it is to be in.
        """

        async def survey() -> Sequence[Ground]:
            grounds: list[Ground] = []
            for terrain in await look():
                statements = await self.statements(tenant, terrain.network)
                grounds += [AccessList(self._backend, tenant, item, statements or None) for item in terrain.vpc_ids]
                grounds += [self._egress(tenant, place, statements) for place in terrain.isolated]
                if terrain.grouped:
                    grounds.append(self._groups(tenant, terrain, statements, needed=groups))
            return grounds

        return survey

    def at_addresses(
        self, tenant: Tenant, network: str, addresses: Sequence[Address], network_tags: Collection[str] | None
    ) -> Survey:
        """
        The rules of some public addresses of isolated networks that are one network.

        :param network_tags: of the machine that they lead to; None: they lead to none.
        """

        async def survey() -> Sequence[Ground]:
            statements = await self.statements(tenant, network)
            boxes = None if network_tags is None else _ingress(statements, network_tags)
            return [
                AddressRules(
                    self._backend,
                    tenant,
                    network_id=item.network_id,
                    wanted={} if boxes is None else {item.backend_id: boxes},
                    address_id=item.backend_id,
                    whole=[item.backend_id] if item.ephemeral else (),
                )
                for item in addresses
            ]

        return survey

    def _egress(self, tenant: Tenant, place: Place, statements: Sequence[Statement]) -> AddressRules:
        return AddressRules(
            self._backend,
            tenant,
            network_id=place.backend_id,
            wanted={place.backend_id: _egress(statements, egress_allowed=place.egress_allowed)},
            egress=True,
            idle=not statements and not is_ours(place),
            whole=[place.backend_id] if is_ours(place) else (),
        )

    def _groups(
        self, tenant: Tenant, terrain: Terrain, statements: Sequence[Statement], needed: Collection[str] = ()
    ) -> Groups:
        awaited = [name for owner, name in self._awaited if owner == tenant.owner]
        return Groups(
            self._backend,
            tenant,
            terrain.network,
            wanted=_expressed(lambda: group_rules(terrain.network, statements, inside=terrain.inside)),
            needed=needed,
            awaited=awaited,
        )

    async def _addresses(self, tenant: Tenant, place: Place, statements: Sequence[Statement]) -> AddressRules:
        """The rules of each address of the network that leads to a machine."""
        found, machines = await asyncio.gather(
            self._backend.every_owned(
                tenant, "listPublicIpAddresses", "publicipaddress", associatednetworkid=place.backend_id
            ),
            self._backend.every_owned(
                tenant, "listVirtualMachines", "virtualmachine", networkid=place.backend_id, details="min"
            ),
        )
        network_tags = {text(row, "id"): tags_of_machine(row) for row in machines}
        wanted = {
            text(row, "id"): _ingress(statements, network_tags.get(text(row, "virtualmachineid"), ()))
            for row in found
            if flag(row, "isstaticnat")
        }
        whole = [text(row, "id") for row in found if is_ephemeral(row)]
        return AddressRules(self._backend, tenant, network_id=place.backend_id, wanted=wanted, whole=whole)


def tags_of_machine(row: Mapping[str, Json]) -> list[str]:
    """The network tags of a virtual machine."""
    found = decode(tags(row))[1].get("tags")
    return [str(item) for item in found] if isinstance(found, list) else []


def is_ephemeral(row: Row) -> bool:
    """Whether gceshim took the public address for a machine."""
    return bool(decode(tags(row))[1].get("ephemeral"))


def is_ours(place: Place) -> bool:
    """Whether gceshim made the network, so that it is to have GCE's implied rules from its start."""
    return place.own and place.subnetwork.description == DESCRIPTION


def _ingress(statements: Sequence[Statement], network_tags: Collection[str]) -> list[Box]:
    return _expressed(lambda: ingress_of(statements, network_tags))


def _egress(statements: Sequence[Statement], *, egress_allowed: bool) -> list[Box]:
    return _expressed(lambda: egress_of(statements, egress_allowed=egress_allowed))


def _expressed(compute: Callable[[], T]) -> T:
    """What is computed; rules that passed the check and now cannot be expressed are a failure."""
    try:
        return compute()
    except Inexpressible as exc:
        raise errors.Failed(f"The rules of this network cannot be carried out: {exc}", kind="firewall") from exc
