"""Firewall rules: kept as authored, and in force wherever their network is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gceshim.drivers import base, errors
from gceshim.drivers.base import Steps
from gceshim.drivers.cloudstack.firewall.authored import Authored, Version
from gceshim.drivers.cloudstack.firewall.force import Force
from gceshim.drivers.cloudstack.firewall.statements import statement_of, statements_of
from gceshim.drivers.cloudstack.firewall.terrain import Terrain, Terrains
from gceshim.drivers.cloudstack.undo import Undo, insist
from gceshim.model import Firewall, Tenant, stable_id

log = logging.getLogger(__name__)


class Firewalls(base.Firewalls):
    """Implements `base.Firewalls`."""

    def __init__(self, authored: Authored, terrains: Terrains, force: Force) -> None:
        self._authored = authored
        self._terrains = terrains
        self._force = force

    async def get(self, tenant: Tenant, name: str) -> Firewall:
        """By name or numeric id. One call. Source: `listTags`."""
        for rule in await self._authored.rules(tenant):
            if name in (rule.name, str(rule.id)):
                return rule
        raise _no_rule(name)

    async def list(self, tenant: Tenant) -> Sequence[Firewall]:
        """By name. One call. Source: `listTags`."""
        return await self._authored.rules(tenant)

    async def check(self, tenant: Tenant, rule: Firewall, replaced: Firewall | None = None) -> None:
        """What it says, and whether each zone of its network can do it, together with the others."""
        await self._checked(tenant, rule, replaced)

    async def create(self, steps: Steps, rule: Firewall) -> Firewall:
        """Write it down and put it in force. Source: `createTags`, and the commands of each place."""
        tenant = steps.tenant

        async def resolve() -> dict[str, Any]:
            terrain = await self._checked(tenant, rule, None)
            last = await self._version(tenant, rule.name)
            created = datetime.now(UTC).isoformat(timespec="milliseconds")
            return {"network": terrain.network, "version": last.number + 1 if last else 1, "created": created}

        async with self._force.alone(tenant), Undo() as undo:
            found = await steps.run("resolve", resolve)
            made = replace(
                rule,
                network=found["network"],
                id=stable_id(f"firewall:{tenant.owner}:{rule.name}:{steps.operation}"),
                created=datetime.fromisoformat(found["created"]),
            )
            if not await self._authored.write(steps, "author", found["version"], rule.name, made):
                raise _already(rule.name)
            self._forget_on_failure(steps, undo, rule.name, found["version"])
            await steps.progress(20)
            if not rule.disabled:
                await self._enforce(steps, made.network)
        return made

    async def replace(self, steps: Steps, rule: Firewall, replaced: Firewall) -> None:
        """Write the next version down and put it in force. Source: as `create`, and `deleteTags`."""
        tenant = steps.tenant

        async def resolve() -> dict[str, Any]:
            last = await self._version(tenant, rule.name)
            if last is None or last.rule != replaced:
                raise _changed(rule.name)
            terrain = await self._checked(tenant, rule, replaced)
            if terrain.network != replaced.network:
                raise errors.Invalid("The network of a rule cannot be changed", field="network")
            return {"version": last.number}

        async with self._force.alone(tenant), Undo() as undo:
            number = (await steps.run("resolve", resolve))["version"]
            made = replace(rule, network=replaced.network, id=replaced.id, created=replaced.created)
            if not await self._authored.write(steps, "author", number + 1, rule.name, made):
                raise _changed(rule.name)
            self._forget_on_failure(steps, undo, rule.name, number + 1)
            await steps.progress(20)
            if not (rule.disabled and replaced.disabled):
                await self._enforce(steps, made.network)
        await self._forget(steps, rule.name, number)

    async def delete(self, steps: Steps, name: str) -> None:
        """Note that it is going, take it out of force, and forget it. Source: as `replace`."""
        tenant = steps.tenant

        async def resolve() -> dict[str, Any] | None:
            versions = await self._authored.versions(tenant)
            last = next((item for item in versions if item.rule and name in (item.name, str(item.rule.id))), None)
            if last is None or last.rule is None:
                return None
            if not last.rule.disabled:
                await self._check_without(tenant, last.rule)
            there = {"name": last.name, "version": last.number, "network": last.rule.network}
            return {**there, "disabled": last.rule.disabled}

        async with self._force.alone(tenant), Undo() as undo:
            found = await steps.run("resolve", resolve)
            if found is None:
                return
            if not await self._authored.write(steps, "author", found["version"] + 1, found["name"], None):
                raise _changed(found["name"])
            self._forget_on_failure(steps, undo, found["name"], found["version"] + 1)
            await steps.progress(20)
            if not found["disabled"]:
                await self._enforce(steps, found["network"])
        await self._forget(steps, found["name"], found["version"] + 1)

    async def _checked(self, tenant: Tenant, rule: Firewall, replaced: Firewall | None) -> Terrain:
        """The terrain of a rule that passes `check`."""
        rules = await self._authored.rules(tenant)
        if replaced is None and any(item.name == rule.name for item in rules):
            raise _already(rule.name)
        statement_of(rule)
        terrain = await self._terrains.of(tenant, rule.network)
        if not rule.disabled or (replaced is not None and not replaced.disabled):
            others = [item for item in rules if item.network == terrain.network and item.name != rule.name]
            await self._terrains.check(tenant, terrain, statements_of([*others, rule]))
        return terrain

    async def _check_without(self, tenant: Tenant, rule: Firewall) -> None:
        """Whether what stays can be expressed: a rule may be what makes another one void."""
        try:
            terrain = await self._terrains.of(tenant, rule.network)
        except errors.NotFound:
            return
        rules = await self._authored.rules(tenant)
        others = [item for item in rules if item.network == rule.network and item.name != rule.name]
        await self._terrains.check(tenant, terrain, statements_of(others))

    async def _enforce(self, steps: Steps, network: str) -> None:
        async def is_there() -> bool:
            try:
                await self._terrains.of(steps.tenant, network)
            except errors.NotFound:
                return False
            return True

        if await steps.run("network", is_there):
            await self._force.put(steps, "", self._force.everywhere(steps.tenant, network))
            strangers = await steps.run("strangers", lambda: self._force.strangers(steps.tenant, network))
            if strangers:
                steps.warn(
                    "PARTIAL_SUCCESS",
                    "The rule does not reach instances that were made in CloudStack itself and are in no security group"
                    f" of network {network!r}. Stop them and set their network tags: {', '.join(strangers[:20])}",
                )
        await steps.progress(90)

    def _forget_on_failure(self, steps: Steps, undo: Undo, name: str, number: int) -> None:
        async def back(steps: Steps) -> None:
            await self._authored.forget(steps, "undo-author", name, range(number, number + 1))

        undo.add(steps, back, f"rule {name}")

    async def _forget(self, steps: Steps, name: str, last: int) -> None:
        """Remove what no longer counts; what cannot be removed does no harm."""

        async def forget(steps: Steps) -> None:
            await self._authored.forget(steps, "forget", name, range(last + 1))

        try:
            await insist(steps, forget, f"old versions of firewall rule {name}")
        except errors.DriverError as exc:
            log.warning("old versions of firewall rule %s are still there: %s", name, exc.message)

    async def _version(self, tenant: Tenant, name: str) -> Version | None:
        return next((item for item in await self._authored.versions(tenant) if item.name == name), None)


def _no_rule(name: str) -> errors.NotFound:
    return errors.NotFound(f"There is no firewall rule {name!r}", kind="firewall", name=name)


def _already(name: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(f"There is a firewall rule {name!r}", kind="firewall", name=name)


def _changed(name: str) -> errors.Changed:
    return errors.Changed(f"Firewall rule {name!r} was changed by somebody else", kind="firewall", name=name)
