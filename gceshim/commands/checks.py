"""What `gceshim doctor` checks, in order. Reads only; a step that fails leaves out those that need it."""

from __future__ import annotations

import enum
import functools
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, TypeVar

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from gceshim.app import make_store
from gceshim.drivers.base import Driver
from gceshim.drivers.errors import DriverError, Invalid, NotFound, Unauthenticated, Unavailable
from gceshim.model import Account, Credentials, QuotaKind, Tenant, Zone
from gceshim.settings import Settings
from gceshim.stores.errors import StoreError

T = TypeVar("T")

IMAGE_PROJECTS: Final = (
    "debian-cloud",
    "ubuntu-os-cloud",
    "rocky-linux-cloud",
    "centos-cloud",
    "rhel-cloud",
    "suse-cloud",
    "windows-cloud",
)
COMMON_FAMILY: Final = ("debian-cloud", "debian-12")
CUSTOM_SIZE: Final = "custom-1-1024"
MOST_SKEW_SECONDS: Final = 60
_ANY_KEYS: Final = Credentials(api_key="gceshim-doctor", secret_key="no-key")  # noqa: S106 - opens nothing
_PROBE_SECONDS: Final = 10.0


class Outcome(enum.Enum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One step: what was found, and what to do about it ("" when nothing)."""

    name: str
    outcome: Outcome
    text: str
    mend: str = ""


class Checkup:
    """Makes the checks and keeps what they found in `checks`."""

    def __init__(self, driver: Driver, settings: Settings) -> None:
        self.checks: list[Check] = [Check("settings", Outcome.OK, f"loaded, driver {settings.driver.name}")]
        self._driver = driver
        self._settings = settings

    async def store(self) -> None:
        """Whether the store can be opened and, of a file, written. Nothing is made."""
        if self._settings.store.mongodb_uri:
            await self._opens("Check store.mongodb_uri: hosts, replica set, user and password.")
        elif self._is_writable():
            await self._opens("Check store.path: is it this server's file?")

    def _is_writable(self) -> bool:
        path = Path(self._settings.store.path)
        at = path if path.exists() else next(parent for parent in path.parents if parent.exists())
        if os.access(at, os.W_OK) and (path.exists() or at.is_dir()):
            return True
        mend = f"Let this user write to {at}, or set store.path to another place."
        self._add("store", Outcome.FAILED, f"{path} cannot be written", mend)
        return False

    async def _opens(self, mend: str) -> None:
        store = make_store(self._settings)
        try:
            await store.upkeep.check()
        except StoreError as exc:
            self._add("store", Outcome.FAILED, str(exc), mend)
        else:
            self._add("store", Outcome.OK, f"{store.upkeep.kind}, {store.upkeep.where}")
        finally:
            await store.close()

    async def backend(self, credentials: Credentials | None, project: str) -> None:
        """The way to the backend, and what it has for these credentials (None: none are given)."""
        if not await self._reachable():
            return
        await self._clock()
        if credentials is None:
            mend = "Give --credentials NAME (gceshim credentials add stores one) or --api-key KEY."
            self._add("credentials", Outcome.SKIPPED, "none given; the rest needs some", mend)
            return
        account = await self._account(credentials)
        if account is None:
            return
        tenant = await self._tried(
            f"project {project}",
            lambda: self._driver.identity.tenant("doctor", credentials, project),
            "Give --project a project of this account by name, or `default` for the account itself.",
        )
        if tenant is None:
            return
        self._add(f"project {project}", Outcome.OK, "yes")
        has = self._driver.capabilities()
        zones = await self._zones(tenant) if "locations" in has else []
        if "catalog" in has:
            for zone in zones:
                await self._machine_types(tenant, zone)
        if "images" in has:
            await self._images(tenant)
        if "networks" in has:
            await self._networks(tenant)
        if "projects" in has:
            await self._quotas(tenant)

    def _add(self, name: str, outcome: Outcome, text: str, mend: str = "") -> None:
        self.checks.append(Check(name, outcome, " ".join(text.split()), mend))

    async def _tried(self, name: str, action: Callable[[], Awaitable[T]], mend: str) -> T | None:
        """What the action gives, or None and a failed check."""
        try:
            return await action()
        except DriverError as exc:
            self._add(name, Outcome.FAILED, exc.message, mend)
            return None

    async def _reachable(self) -> bool:
        """Any answer to a key that nobody has shows that the endpoint is a CloudStack that checks keys."""
        where = str(self._settings.driver.own.get("url", "the backend"))
        try:
            await self._driver.identity.whoami(_ANY_KEYS)
        except Unauthenticated:
            self._add("endpoint", Outcome.OK, f"{where} answers")
            return True
        except Unavailable as exc:
            mend = (
                f"Check driver.{self._settings.driver.name}.url (its path is usually /client/api), name resolution, "
                "firewalls and certificates."
            )
            self._add("endpoint", Outcome.FAILED, f"{where}: {exc.message}", mend)
            return False
        except DriverError as exc:
            mend = f"driver.{self._settings.driver.name}.url must be the API itself; its path is usually /client/api."
            self._add("endpoint", Outcome.FAILED, f"{where}: unexpected answer: {exc.message}", mend)
            return False
        mend = "It takes any key, so it is no API that checks who calls: do not use it."
        self._add("endpoint", Outcome.FAILED, f"{where} accepts a key that nobody has", mend)
        return False

    async def _clock(self) -> None:
        """Signed requests carry a time of expiry, so the two clocks must agree roughly."""
        url = self._settings.driver.own.get("url")
        if not isinstance(url, str):
            return
        try:
            reply = await AsyncHTTPClient().fetch(
                url, raise_error=False, request_timeout=_PROBE_SECONDS, validate_cert=False
            )
            told = parsedate_to_datetime(reply.headers["Date"])
        except (HTTPClientError, OSError, KeyError, ValueError):
            self._add("clock", Outcome.SKIPPED, "the backend does not tell its time")
            return
        skew = abs((datetime.now(UTC) - told).total_seconds())
        if skew > MOST_SKEW_SECONDS:
            mend = "Let both machines follow a time server (chrony, systemd-timesyncd)."
            self._add("clock", Outcome.FAILED, f"{skew:.0f} s away from the backend's", mend)
        else:
            self._add("clock", Outcome.OK, "agrees with the backend's")

    async def _account(self, credentials: Credentials) -> Account | None:
        mend = "Take the key pair anew from CloudStack (user, keys), whole and unexpired; is the user enabled?"
        account = await self._tried("signature", lambda: self._driver.identity.whoami(credentials), mend)
        if account is not None:
            self._add("signature", Outcome.OK, f"account {account.name}, domain {account.domain}")
        return account

    async def _zones(self, tenant: Tenant) -> list[Zone]:
        locations = self._driver.locations
        mend = "Enable a zone for this account's domain."
        zones = await self._tried("zones", lambda: locations.zones(tenant), mend)
        if zones is None:
            return []
        up = [zone for zone in zones if zone.up]
        if not up:
            self._add("zones", Outcome.FAILED, "none is enabled", mend)
        else:
            self._add("zones", Outcome.OK, ", ".join(zone.name for zone in up))
        return up

    async def _machine_types(self, tenant: Tenant, zone: Zone) -> None:
        catalog = self._driver.catalog
        name = f"machine types in {zone.name}"
        mend = "Make a service offering that this account may use in the zone."
        found = await self._tried(name, lambda: catalog.machine_types(tenant, zone.name), mend)
        if found is None:
            return
        if not found:
            self._add(name, Outcome.FAILED, "no service offering", mend)
        else:
            shown = ", ".join(item.name for item in found[:5]) + (", ..." if len(found) > 5 else "")
            self._add(name, Outcome.OK, f"{len(found)}: {shown}")
        try:
            await catalog.machine_type(tenant, zone.name, CUSTOM_SIZE)
        except (NotFound, Invalid) as exc:
            text = f"{CUSTOM_SIZE} is not to be had: {exc.message}"
            mend = "Make a customised offering; else --custom-cpu, and GCE's types without an equal offering, fail."
            self._add(f"custom sizes in {zone.name}", Outcome.WARNING, text, mend)
        except DriverError as exc:
            self._add(f"custom sizes in {zone.name}", Outcome.FAILED, exc.message)
        else:
            self._add(f"custom sizes in {zone.name}", Outcome.OK, "yes")

    async def _images(self, tenant: Tenant) -> None:
        images = self._driver.images
        counts: dict[str, int] = {}
        for project in (*IMAGE_PROJECTS, tenant.project):
            listed = functools.partial(images.list, tenant, project, page=1, page_size=500)
            page = await self._tried("images", listed, "")
            if page is None:
                return
            if page.items:
                counts[project] = len(page.items)
        mend = "Register a template and make it featured or public, or share it with this account."
        if not counts:
            self._add("images", Outcome.FAILED, "no ready template", mend)
            return
        self._add("images", Outcome.OK, ", ".join(f"{project}: {count}" for project, count in counts.items()))
        project, family = COMMON_FAMILY
        try:
            image = await images.newest(tenant, project, family)
        except NotFound:
            mend = f"Only needed for configurations that ask for it. Register a template of that system, {mend[11:]}"
            self._add(f"family {family}", Outcome.WARNING, f"no image in {project}", mend)
        except DriverError as exc:
            self._add(f"family {family}", Outcome.FAILED, exc.message)
        else:
            self._add(f"family {family}", Outcome.OK, image.name)

    async def _networks(self, tenant: Tenant) -> None:
        networks = self._driver.networks
        found = await self._tried("networks", lambda: networks.list(tenant), "")
        if found is None:
            return
        self._add("networks", Outcome.OK, ", ".join(item.name for item in found) or "none yet")
        default = await self._tried("default network", lambda: networks.get(tenant, "default"), "")
        if default is not None:
            regions = sorted(item.region for item in default.subnetworks)
            text = f"in {', '.join(regions)}" if regions else "made at its first use"
            self._add("default network", Outcome.OK, text)

    async def _quotas(self, tenant: Tenant) -> None:
        projects = self._driver.projects
        quotas = await self._tried("quotas", lambda: projects.quotas(tenant), "")
        if quotas is None:
            return
        full = [quota.kind for quota in quotas if quota.limit is not None and (quota.usage or 0) >= quota.limit]
        if full:
            text = f"used up: {', '.join(kind.value for kind in full)}"
            blocking = QuotaKind.INSTANCES in full or QuotaKind.VCPUS in full
            outcome = Outcome.FAILED if blocking else Outcome.WARNING
            self._add("quotas", outcome, text, "Remove what is not needed, or raise the account's limits.")
        else:
            self._add("quotas", Outcome.OK, "room in all")
