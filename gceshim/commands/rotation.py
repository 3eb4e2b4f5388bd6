"""
The steps of `gceshim store rotate-key`. Which one comes next follows from the key file, the store and its servers.

    one key            a next key is added; servers learn it by SIGHUP, or when they are restarted
    a next key         once all servers accept it, it becomes the current one, and the one before an old one
    an old key         what it has sealed is sealed anew; `finish` removes it when nothing needs it

Broken off at any point, it goes on from there.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gceshim.app import key_ring
from gceshim.auth import keyring
from gceshim.auth.credentials import CredentialVault
from gceshim.auth.errors import BadKey
from gceshim.auth.keyring import KeyRing
from gceshim.auth.rotation import Rotation
from gceshim.commands.errors import CommandError
from gceshim.commands.shims import unopened_store
from gceshim.settings import Settings
from gceshim.stores.base import KeyUse, Report, Store
from gceshim.stores.servers import Server

_WHAT_TO_DO: Final = "send them SIGHUP or restart them, each with this key file, and run this again"


@dataclass
class _Keys:
    """The keys, where they are written (None: in a setting, which is not ours to write), and the open store."""

    ring: KeyRing
    path: Path | None
    store: Store

    @property
    def rotation(self) -> Rotation:
        return Rotation(self.store, self.ring, datetime.now(UTC))

    def write(self, ring: KeyRing, by_hand: str) -> None:
        """
        Put other keys in the place of these.

        :raises CommandError: they are in a setting; `by_hand` says what to do.
        """
        if self.path is None:
            raise CommandError(f"auth.master_key is a setting, so change it by hand: {by_hand}, for all servers")
        keyring.save(self.path, ring)
        self.ring = ring


async def rotate(settings: Settings, report: Report, *, force: bool) -> None:
    """
    Go as far as can be gone now, and print what was done and what is to be done next.

    :param force: do not wait for servers to know the next key.
    :raises SettingsError, CommandError: the keys or the store cannot be used, or keys are to be changed by hand.
    """
    async with _opened(settings) as keys:
        if not (keys.ring.old or keys.ring.following):
            keys.write(keys.ring.with_next(), "after the key write `, KEY next`, KEY from `openssl rand -base64 32`")
            print(f"made the key {keys.ring.following.id if keys.ring.following else ''}")
        if keys.ring.following:
            unready = [] if force else await keys.rotation.unready()
            if unready:
                print("these servers do not know the next key yet:")
                _print_servers(unready)
                print(_WHAT_TO_DO)
                return
            keys.write(keys.ring.promoted(), "write the next key first, and after it `, KEY old` with the present one")
            print(f"the key {keys.ring.current.id} is the current one now")
        await _reseal(keys, report)
        behind = await keys.rotation.behind()
        if behind:
            print("these servers still use the key from before:")
            _print_servers(behind)
            print(_WHAT_TO_DO)
            return
        needed = await keys.rotation.needed()
        print(f"the old key is needed for {_shown(needed)}")
        print("gceshim store rotate-key --finish gives it up")


async def finish(settings: Settings, report: Report, *, revoke_tokens: bool, force: bool) -> None:
    """
    Give up the old keys: they open nothing any more.

    :param revoke_tokens: do so with tokens that they have signed.
    :param force: do not wait for servers that still use an old key.
    :raises CommandError: something needs them; the text says what.
    """
    async with _opened(settings) as keys:
        if keys.ring.following:
            raise CommandError("the keys are being changed: gceshim store rotate-key is the next step")
        if not keys.ring.old:
            print("there is no old key")
            return
        behind = [] if force else await keys.rotation.behind()
        if behind:
            names = "; ".join(server.shown for server in behind)
            raise CommandError(f"servers still use the key from before; send them SIGHUP or restart them: {names}")
        if (await keys.store.upkeep.census(datetime.now(UTC))).outdated:
            raise CommandError("some records are of an older schema; gceshim store migrate comes first")
        await _reseal(keys, report)
        _check(await keys.rotation.needed(), revoke_tokens)
        for key in keys.ring.old:
            await keys.store.tokens.delete_key(key.id)
        await keys.store.upkeep.scrub()
        gone = ", ".join(key.id for key in keys.ring.old)
        holders = await keys.rotation.holders()
        keys.write(keys.ring.without_old(), "take the old keys out")
        print(f"given up: {gone}")
        if holders:
            print("these servers have it in memory until they read this key file (SIGHUP) or end:")
            _print_servers(holders)


def _check(needed: KeyUse, revoke_tokens: bool) -> None:
    if needed.credentials:
        raise CommandError(
            f"{needed.credentials} credentials are still under an old key; if they cannot be read, remove them: "
            "gceshim credentials remove"
        )
    if needed.operations:
        raise CommandError(f"{needed.operations} operations that still run need an old key; try again when they ended")
    if needed.tokens and needed.tokens_until and not revoke_tokens:
        until = needed.tokens_until.isoformat(timespec="seconds")
        raise CommandError(
            f"{needed.tokens} tokens that an old key has signed are good until {until}; wait for that, or revoke them: "
            "--revoke-tokens"
        )


async def _reseal(keys: _Keys, report: Report) -> None:
    total = (await keys.store.upkeep.census(datetime.now(UTC))).credentials
    vault = CredentialVault(keys.store, keys.ring.keys)
    unreadable = await vault.reseal(lambda done: report("credentials", done, max(done, total)))
    for subject in unreadable:
        print(f"the credentials {subject} cannot be read: their key is lost, or they were tampered with")


@contextlib.asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[_Keys]:
    """Keys and store, for nobody else to change the keys meanwhile."""
    path = None if settings.auth.master_key else Path(settings.auth.master_key_file)
    ring = key_ring(settings)
    async with unopened_store(settings) as store:
        await store.open()
        if path is None:
            yield _Keys(ring, None, store)
            return
        try:
            with keyring.locked(path):
                yield _Keys(keyring.load(path), path, store)
        except BadKey as exc:
            raise CommandError(exc.message) from exc


def _print_servers(servers: Sequence[Server]) -> None:
    for server in servers:
        print(f"  {server.shown}")


def _shown(needed: KeyUse) -> str:
    until = f" (the last until {needed.tokens_until.isoformat(timespec='seconds')})" if needed.tokens_until else ""
    return f"{needed.credentials} credentials, {needed.operations} operations, {needed.tokens} tokens{until}"
