"""
Rules as their authors wrote them: reserved tags of the account or project that they belong to.

The account is always there, whatever networks and zones it has. A rule is one reserved value under
`firewall/<name>/<version>`, and a claim beside it under `firewall-claim/<name>/<version>` with the operation that
made it. CloudStack sets the tags of one call together and never one that is there, so of two that write a version at
once only one does. The highest version counts; one that is `gone` is a rule about to be removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gceshim.drivers import errors
from gceshim.drivers.base import Steps, Submitted
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.jobs import settle, submitted
from gceshim.drivers.cloudstack.marks import set_tags
from gceshim.drivers.cloudstack.rows import text
from gceshim.drivers.cloudstack.tags import PREFIX, decode, encode
from gceshim.model import Direction, Firewall, Protocol, Tenant

_RULE: Final = "firewall"
_CLAIM: Final = "firewall-claim"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a rule. `rule` None: it is gone."""

    name: str
    number: int
    rule: Firewall | None
    operation: str


class Authored:
    """Reads and writes the rules of a tenant."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def versions(self, tenant: Tenant) -> list[Version]:
        """The version that counts of each rule, gone ones too. One call. Source: `listTags`."""
        newest: dict[str, Version] = {}
        for version in _versions(await self._tags(tenant)):
            known = newest.get(version.name)
            if known is None or known.number < version.number:
                newest[version.name] = version
        return [newest[name] for name in sorted(newest)]

    async def rules(self, tenant: Tenant) -> list[Firewall]:
        """The rules, by name."""
        return [version.rule for version in await self.versions(tenant) if version.rule is not None]

    async def write(self, steps: Steps, step: str, number: int, name: str, rule: Firewall | None) -> bool:
        """Write a version; False if somebody else has written that version. Source: `createTags`."""
        body = _to_json(rule) if rule is not None else {"gone": True}
        wanted = encode({}, {f"{_RULE}/{name}/{number}": body, f"{_CLAIM}/{name}/{number}": steps.operation})
        target = (_resource_type(steps.tenant), steps.tenant.owner)

        async def current() -> Mapping[str, str]:
            return await self._tags(steps.tenant)

        return await set_tags(self._backend, steps, step, target, wanted=wanted, current=current)

    async def forget(self, steps: Steps, step: str, name: str, numbers: range) -> None:
        """Remove versions of a rule; what is not there is a success. Source: `deleteTags`."""
        tenant = steps.tenant

        async def keys() -> list[str]:
            found = []
            for key in await self._tags(tenant):
                parts = _parts(key)
                if parts is not None and parts[1] == name and parts[2] in numbers:
                    found.append(key)
            return sorted(found)

        doomed = await steps.run(f"{step}-look", keys)
        if not doomed:
            return
        form = {f"tags[{index}].key": key for index, key in enumerate(doomed)}

        async def submit() -> Submitted:
            return submitted(
                await self._backend.call(
                    tenant, "deleteTags", resourceids=tenant.owner, resourcetype=_resource_type(tenant), **form
                )
            )

        async def find() -> Submitted | None:
            await settle(self._backend, tenant, "DeleteTags")
            return None if await keys() else Submitted("", tenant.owner)

        try:
            await steps.job(step, submit, find=find)
        except errors.DriverError:
            if await steps.run(f"{step}-check", keys):
                raise

    async def _tags(self, tenant: Tenant) -> dict[str, str]:
        found = await self._backend.every_owned(
            tenant, "listTags", "tag", resourcetype=_resource_type(tenant), resourceid=tenant.owner
        )
        return {text(row, "key"): text(row, "value") for row in found if text(row, "key").startswith(PREFIX)}


def _resource_type(tenant: Tenant) -> str:
    return "Project" if tenant.project_id else "Account"


def _parts(key: str) -> tuple[str, str, int] | None:
    """Kind, name and version number in the key of a tag (with or without the number of a piece)."""
    parts = key.removeprefix(PREFIX).partition(".")[0].split("/")
    if len(parts) != 3 or parts[0] not in (_RULE, _CLAIM) or not parts[2].isdigit():
        return None
    return parts[0], parts[1], int(parts[2])


def _versions(tags: Mapping[str, str]) -> Sequence[Version]:
    reserved = decode({key: value for key, value in tags.items() if _parts(key)})[1]
    found = []
    for key, body in reserved.items():
        parts = _parts(key)
        if parts is None or parts[0] != _RULE or not isinstance(body, dict):
            continue
        _, name, number = parts
        rule = None if body.get("gone") is True else _from_json(name, body)
        found.append(Version(name, number, rule, str(reserved.get(f"{_CLAIM}/{name}/{number}", ""))))
    return found


def _to_json(rule: Firewall) -> dict[str, Any]:
    found = {
        "id": rule.id,
        "created": rule.created.isoformat() if rule.created else None,
        "network": rule.network,
        "egress": rule.direction is Direction.EGRESS,
        "priority": rule.priority,
        "allow": rule.allow,
        "protocols": [[item.name, *item.ports] for item in rule.protocols],
        "sources": list(rule.source_ranges),
        "destinations": list(rule.destination_ranges),
        "source-tags": list(rule.source_tags),
        "target-tags": list(rule.target_tags),
        "description": rule.description,
        "disabled": rule.disabled,
    }
    return {key: value for key, value in found.items() if value not in (None, "", [], False)}


def _from_json(name: str, body: Mapping[str, Any]) -> Firewall:
    return Firewall(
        name=name,
        network=str(body.get("network", "")),
        direction=Direction.EGRESS if body.get("egress") else Direction.INGRESS,
        priority=int(body.get("priority", 0)),
        allow=body.get("allow") is True,
        protocols=tuple(Protocol(str(item[0]), tuple(map(str, item[1:]))) for item in body.get("protocols", ())),
        source_ranges=tuple(map(str, body.get("sources", ()))),
        destination_ranges=tuple(map(str, body.get("destinations", ()))),
        source_tags=tuple(map(str, body.get("source-tags", ()))),
        target_tags=tuple(map(str, body.get("target-tags", ()))),
        description=str(body.get("description", "")),
        disabled=body.get("disabled") is True,
        id=int(body.get("id", 0)),
        created=datetime.fromisoformat(body["created"]) if body.get("created") else None,
    )
