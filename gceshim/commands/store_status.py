"""What `gceshim store status` finds and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gceshim.app import key_ring
from gceshim.auth.keyring import KeyRing
from gceshim.commands.shims import unopened_store
from gceshim.settings import Settings
from gceshim.stores.base import Census, KeyUse, Store
from gceshim.stores.servers import Server, alive

SERVICE_ACCOUNTS: Final = "serviceAccounts"


async def look(settings: Settings) -> dict[str, Any]:
    """
    The store as one JSON object. Nothing is changed or made; of another schema only its version is told.

    :raises SettingsError, CommandError: the master key or the store cannot be used.
    """
    async with unopened_store(settings, make_folder=False) as store:
        upkeep = store.upkeep
        version = await upkeep.version()
        found = {"kind": upkeep.kind, "where": upkeep.where, "schema": version, "schema_of_release": upkeep.schema}
        if version == upkeep.schema:
            await store.open()
            found |= await _content(store, _ring(settings))
    return found


def _ring(settings: Settings) -> KeyRing | None:
    """The master keys; None if there are none yet, for this must not make one."""
    if settings.auth.master_key or Path(settings.auth.master_key_file).exists():
        return key_ring(settings)
    return None


async def _content(store: Store, ring: KeyRing | None) -> dict[str, Any]:
    now = datetime.now(UTC)
    census = await store.upkeep.census(now)
    servers = await alive(store.documents, now)
    return {
        "operations": dict(census.operations),
        "oldest_unfinished": _time(census.oldest_unfinished),
        "leases": _leases(census, servers),
        "credentials": census.credentials,
        "service_accounts": census.documents.get(SERVICE_ACCOUNTS, 0),
        "tokens": dict(census.tokens),
        "documents": dict(census.documents),
        "outdated_records": census.outdated,
        "keys": _keys(census, ring),
        "servers": [_server(server) for server in servers],
    }


def _leases(census: Census, servers: Sequence[Server]) -> list[dict[str, Any]]:
    names = {server.name: server.shown for server in servers}
    return [
        {"holder": holder, "server": names.get(holder), "operations": count}
        for holder, count in sorted(census.leases.items())
    ]


def _keys(census: Census, ring: KeyRing | None) -> list[dict[str, Any]]:
    """Those there are, and those that records need beside them."""
    parts = {key.id: "old" for key in ring.old} if ring else {}
    if ring and ring.following:
        parts = {ring.following.id: "next", **parts}
    if ring:
        parts = {ring.current.id: "current", **parts}
    parts |= {key_id: "missing" for key_id in census.keys if key_id not in parts}
    found = []
    for key_id, part in parts.items():
        use = census.keys.get(key_id, KeyUse())
        row = {"id": key_id, "part": part, "credentials": use.credentials, "operations": use.operations}
        found.append({**row, "tokens": use.tokens, "tokens_until": _time(use.tokens_until)})
    return found


def _server(server: Server) -> dict[str, Any]:
    return {
        "name": server.name,
        "host": server.host,
        "pid": server.pid,
        "release": server.release,
        "keys": list(server.keys),
        "started": server.started,
        "seen": _time(server.seen),
    }


def shown(found: Mapping[str, Any]) -> str:
    """What was found, for people."""
    return "\n".join(_lines(found))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"store        {found['kind']}, {found['where']}"
    if found["schema"] != found["schema_of_release"]:
        if not found["schema"]:
            yield "schema       none yet; the first server makes it"
            return
        yield f"schema       {found['schema']}; this release works with {found['schema_of_release']}"
        newer = found["schema"] > found["schema_of_release"]
        yield f"             {'use a newer release' if newer else 'gceshim store migrate brings it up to date'}"
        return
    yield f"schema       {found['schema']}"
    if found["outdated_records"]:
        yield f"             {found['outdated_records']} records of an older one; gceshim store migrate changes them"
    yield f"operations   {_counts(found['operations'])}"
    if found["oldest_unfinished"]:
        yield f"             the oldest that runs was begun {found['oldest_unfinished']}"
    for lease in found["leases"]:
        yield f"             {lease['operations']} run by {lease['server'] or 'a server that is gone'}"
    yield f"credentials  {found['credentials']}, {found['service_accounts']} of them of service accounts"
    yield f"tokens       {_counts(found['tokens'])}"
    yield f"documents    {_counts(found['documents'])}"
    for key in found["keys"]:
        counts = _counts({name: key[name] for name in ("credentials", "operations", "tokens")})
        until = f", the last until {key['tokens_until']}" if key["tokens_until"] else ""
        yield f"key          {key['id']} ({key['part']}): {counts}{until}"
    for server in found["servers"]:
        yield (
            f"server       {server['host']}, process {server['pid']}: gceshim {server['release']}, "
            f"since {server['started'][:19]}, keys {', '.join(server['keys'])}"
        )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="seconds")
