"""
The composition root: settings in, Tornado handlers out. The only module that knows all parts.

    async with Shim(Settings.load("conf/gceshim.toml")) as shim:
        make_app(shim).listen(8787)
        ...
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

import tornado.web
from tornado import routing

from gceshim import __version__
from gceshim.auth import keyring
from gceshim.auth.attempts import Attempts
from gceshim.auth.authenticator import BearerAuthenticator
from gceshim.auth.consent.origins import Bindings
from gceshim.auth.consent.service import ConsentOptions, ConsentService
from gceshim.auth.credentials import CredentialVault
from gceshim.auth.errors import BadKey
from gceshim.auth.keyring import KeyRing
from gceshim.auth.masterkey import MasterKey
from gceshim.auth.oauth.grants import Grants
from gceshim.auth.oauth.handlers import handlers as oauth_handlers
from gceshim.auth.oauth.id_tokens import IdTokens
from gceshim.auth.oauth.inspection import Inspection
from gceshim.auth.oauth.provider import TOKEN_PATHS, Provider
from gceshim.auth.oauth.sealing import Sealer
from gceshim.auth.oauth.token_endpoint import Lifetimes, TokenEndpoint
from gceshim.auth.service_accounts.accounts import ServiceAccounts
from gceshim.auth.service_accounts.assertions import Assertions
from gceshim.auth.sign_in import SignIn
from gceshim.auth.tokens import Tokens
from gceshim.drivers import loader
from gceshim.drivers.base import Driver
from gceshim.drivers.errors import Unauthenticated
from gceshim.instruments import Instruments
from gceshim.model import Credentials, Tenant
from gceshim.observe.handlers import Rule, health_rules, metrics_rules
from gceshim.operations.engine import Engine
from gceshim.operations.sealed import SealedOperations
from gceshim.operations.settings import OperationsSettings
from gceshim.protocol.call import Authenticator
from gceshim.protocol.discovery import RESOURCE_MANAGER
from gceshim.protocol.handler import handlers as api_handlers
from gceshim.protocol.kinds import Kinds
from gceshim.protocol.limits import Limits
from gceshim.protocol.service import Service, ServiceOptions
from gceshim.resources.base import Services, document
from gceshim.resources.errors import explain
from gceshim.resources.table import method_table
from gceshim.settings import LimitsSection, OperationsSection, Settings, SettingsError
from gceshim.sign_in_backend import DriverBackend
from gceshim.stores.base import Store
from gceshim.stores.servers import Presence
from gceshim.stores.sqlite import SqliteStore

ISSUER: Final = "gceshim"
PAGE_TOKENS: Final = "gceshim page tokens, HMAC-SHA256, 1"
SECONDS_OF_A_DAY: Final = 86_400.0


class KeyUser(Protocol):
    """What encrypts or signs with master keys."""

    def use_keys(self, keys: Sequence[MasterKey]) -> None:
        """Go on with these keys instead, the first for what is new."""


class Shim:
    """
    One server: its store, driver, operations and handlers. Several fit in one process.

    Open for the time of an `async with`, or from `open` to `close`.

    :param driver: instead of the one that the settings name.
    :param authenticator: instead of this server's own bearer tokens: the host application says who calls.
    :raises SettingsError: a setting, the master key or a setting of the driver cannot be used.
    :raises DriverLoadError: the driver cannot be loaded.
    """

    def __init__(
        self, settings: Settings, *, driver: Driver | None = None, authenticator: Authenticator | None = None
    ) -> None:
        self.settings = settings
        keys = key_ring(settings).keys
        self.store = make_store(settings)
        sealed = self.store.operations = SealedOperations(self.store.operations, keys)
        self.driver = driver or _driver(settings)
        self.instruments = Instruments(__version__, self.store)
        self.vault = CredentialVault(self.store, keys)
        self.tokens = Tokens(self.store.tokens, keys, ISSUER)
        self.assertions = Assertions(ServiceAccounts(self.store, self.vault))
        self.authenticator = authenticator or BearerAuthenticator(
            self.tokens, self.vault, self.assertions, public_url=settings.server.public_url
        )
        self.engine = Engine(self.store, self.driver.jobs, self._tenant, explain, operations(settings.operations))
        self.presence = Presence(self.store.documents, self.engine.holder, __version__, [key.id for key in keys])
        services = Services(
            driver=self.driver,
            engine=self.engine,
            store=self.store,
            kinds=Kinds(document()),
            linger_seconds=settings.operations.linger_seconds,
        )
        self._own_logins = authenticator is None
        sealer, bindings, id_tokens = Sealer(keys), Bindings(keys), IdTokens(keys)
        grants = Grants(
            self.tokens,
            sealer,
            code_seconds=settings.oauth.code_seconds,
            require_pkce=settings.oauth.require_pkce,
        )
        sign_in = SignIn(DriverBackend(self.driver.identity), self.vault)
        options = ServiceOptions(
            public_url=settings.server.public_url,
            trust_proxy=settings.server.trust_proxy,
            max_body_bytes=settings.server.max_body_bytes,
            request_timeout_seconds=settings.server.request_timeout_seconds,
            page_token_keys=_page_token_keys(keys),
            limits=limits(settings.limits),
            max_header_bytes=settings.limits.header_bytes,
            body_seconds=settings.limits.body_seconds,
            answer_seconds=settings.limits.answer_seconds,
            unread_bytes=settings.limits.unread_bytes,
            observe=self.instruments.request,
        )
        self.service = Service(
            document(),
            method_table(services),
            self.authenticator,
            options,
            neighbours=[document(RESOURCE_MANAGER)],
        )
        self.instruments.watch(self.driver, self.engine, self.service, self.tokens)

        attempts = Attempts(settings.oauth.sign_in_attempts_per_minute)
        self.consent = ConsentService(
            grants,
            sign_in,
            attempts,
            bindings,
            ConsentOptions(
                address=self.service.address,
                public_url=settings.server.public_url,
                trust_proxy=settings.server.trust_proxy,
                code_seconds=settings.oauth.code_seconds,
            ),
        )
        self.provider = Provider(
            token_endpoint=TokenEndpoint(
                tokens=self.tokens,
                grants=grants,
                id_tokens=id_tokens,
                vault=self.vault,
                sign_in=sign_in,
                attempts=attempts,
                address=self.service.address,
                assertions=self.assertions,
                lifetimes=Lifetimes(settings.auth.token_lifetime_seconds, settings.oauth.refresh_token_days),
                paths=TOKEN_PATHS,
            ),
            inspection=Inspection(
                tokens=self.tokens, id_tokens=id_tokens, vault=self.vault, authenticator=self.authenticator
            ),
            id_tokens=id_tokens,
            base_url=self.service.base_url,
        )
        self._keys = keys
        self._key_users: Sequence[KeyUser] = (sealed, self.vault, self.tokens, sealer, bindings, id_tokens)

    async def open(self) -> None:
        """
        Open the store and go on with operations that no server holds.

        :raises StoreError: the store cannot be used.
        """
        try:
            await self.store.open()
            await self.presence.start()
            await self.engine.start()
            self.instruments.lag.start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Hand over the operations that are under way, and give everything back."""
        self.drain()
        self.instruments.lag.stop()
        await self.engine.close(0.0)
        await self.presence.close()
        await self.driver.close()
        await self.store.close()

    @property
    def key_id(self) -> str:
        """The id of the master key that all new things are made with."""
        return self._keys[0].id

    def reload_keys(self) -> None:
        """
        Read the key file anew, and go on with what it holds; keys that are a setting stay as they are.

        :raises SettingsError: it cannot be used, or holds none of the keys in use. These stay in use then.
        """
        if self.settings.auth.master_key:
            return
        path = self.settings.auth.master_key_file
        try:
            keys = keyring.read(Path(path)).keys
        except BadKey as exc:
            raise SettingsError(exc.message) from exc
        if not {key.id for key in keys} & {key.id for key in self._keys}:
            raise SettingsError(f"auth.master_key_file: {path}: it holds none of the keys in use")
        for user in self._key_users:
            user.use_keys(keys)
        self.service.page_tokens.use_keys(_page_token_keys(keys))
        self.presence.use_keys([key.id for key in keys])
        self._keys = keys

    def drain(self) -> None:
        """Say by `/readyz` that no more requests should come. All are answered as before."""
        self.instruments.health.draining = True

    def stop_waiting(self) -> None:
        """Answer those who wait for operations, which may be for two minutes yet: the server is about to stop."""
        self.engine.stop_waiting()

    def health_handlers(self, prefix: str = "") -> list[Rule]:
        """`/healthz` and `/readyz` under `prefix`, for another Tornado application; fit for anyone to see."""
        return health_rules(self.instruments.health, prefix)

    def metrics_handlers(self, prefix: str = "") -> list[Rule]:
        """`/metrics` under `prefix`, for another Tornado application; not fit for anyone to see."""
        return metrics_rules(self.instruments.metrics, prefix)

    def handlers(self, prefix: str = "") -> list[routing.Rule]:
        """The rules for another Tornado application, all under `prefix`; its other paths stay its own."""
        return [*self._login_handlers(prefix), *api_handlers(self.service, prefix)]

    def application(self, prefix: str = "") -> tornado.web.Application:
        """An application with nothing else in it but `/healthz` and `/readyz`: the rest is a 404 in GCE's form."""
        rules = [*self._login_handlers(prefix), *api_handlers(self.service, prefix, fallback=True)]
        return tornado.web.Application([*self.health_handlers(), *rules], log_function=_no_access_log)

    def inspection(self) -> tornado.web.Application:
        """An application for operators: `/metrics`, `/healthz` and `/readyz`."""
        return tornado.web.Application([*self.health_handlers(), *self.metrics_handlers()], log_function=_no_access_log)

    async def __aenter__(self) -> Shim:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _login_handlers(self, prefix: str) -> list[routing.Rule]:
        """None where the host application says who calls."""
        if not self._own_logins:
            return []
        return oauth_handlers([self.consent.endpoint, *self.provider.endpoints], self.service, prefix)

    async def _tenant(self, subject: str, project: str) -> Tenant:
        """Whose operation it is, when one is taken up again: by the credentials that they have now."""
        credentials = await self.authenticator.credentials(subject)
        if not isinstance(credentials, Credentials):
            raise Unauthenticated(f"There are no credentials of {subject} any more")
        return await self.driver.identity.tenant(subject, credentials, project)


def make_store(settings: Settings) -> Store:
    """
    The store that the settings name, not opened yet.

    :raises SettingsError: `store.mongodb_uri` is no URI that can be used.
    """
    if not settings.store.mongodb_uri:
        return SqliteStore(settings.store.path)
    # Imported here, as its driver is a fifth of what every command and server loads, and most have no MongoDB.
    from gceshim.stores.mongodb import MongoStore  # noqa: PLC0415

    section = settings.store
    try:
        return MongoStore(
            section.mongodb_uri,
            section.mongodb_database,
            pool_size=section.mongodb_connections,
            timeout_seconds=section.mongodb_timeout_seconds,
            standalone=section.mongodb_standalone,
        )
    except ValueError as exc:
        raise SettingsError(f"store.mongodb_uri: {exc}") from exc


def handlers(shim: Shim, prefix: str = "") -> list[routing.Rule]:
    """
    The rules that mount a shim in somebody else's Tornado application, under `prefix` ("" or `/some/path`).

        tornado.web.Application([*handlers(shim, "/gce"), (r"/mine", MyHandler)])

    Of the application's paths they take just those of the API: `compute`, `batch`, `discovery`, `$discovery` and
    `v1/projects` below the prefix; and, unless the shim has an authenticator of its own, those of the OAuth2 provider.
    """
    return shim.handlers(prefix)


def make_app(shim: Shim, prefix: str = "") -> tornado.web.Application:
    """A Tornado application that is nothing but a shim, under `prefix`; `listen` on it, or put it behind a router."""
    return shim.application(prefix)


def key_ring(settings: Settings) -> KeyRing:
    """
    The master keys of the settings, else of the key file.

    :raises SettingsError: they are not fit for use.
    """
    try:
        if settings.auth.master_key:
            return keyring.parse_ring(settings.auth.master_key, "auth.master_key")
        path = Path(settings.auth.master_key_file)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return keyring.load(path)
    except BadKey as exc:
        raise SettingsError(exc.message) from exc
    except OSError as exc:
        raise SettingsError(f"auth.master_key_file: {settings.auth.master_key_file}: {exc.strerror}") from exc


def _page_token_keys(keys: Sequence[MasterKey]) -> list[bytes]:
    return [key.derive(PAGE_TOKENS) for key in keys]


def limits(section: LimitsSection) -> Limits:
    """What one caller may ask at a time."""
    return Limits(
        requests_per_second=section.requests_per_second,
        burst=section.burst,
        concurrent_requests=section.concurrent_requests,
        concurrent_waits=section.concurrent_waits,
        patience_seconds=section.patience_seconds,
        strangers_per_second=section.strangers_per_second,
        strangers_burst=section.strangers_burst,
    )


def operations(section: OperationsSection) -> OperationsSettings:
    """The engine's settings; what the operator does not set follows from what they do."""
    return dataclasses.replace(
        OperationsSettings(),
        poll_min_seconds=section.poll_min_seconds,
        poll_max_seconds=section.poll_max_seconds,
        poll_few_jobs=section.poll_few_jobs,
        job_seconds=section.job_seconds,
        unavailable_seconds=section.unavailable_seconds,
        lease_seconds=section.lease_seconds,
        heartbeat_seconds=section.lease_seconds / 4,
        sweep_seconds=section.lease_seconds / 4,
        orphan_seconds=section.lease_seconds / 2,
        keep_seconds=section.keep_days * SECONDS_OF_A_DAY,
    )


def _no_access_log(_handler: tornado.web.RequestHandler) -> None:
    """What is worth a line has it; probes are not."""


def _driver(settings: Settings) -> Driver:
    try:
        return loader.load(settings.driver.name, settings.driver.own)
    except ValueError as exc:
        raise SettingsError(str(exc)) from exc
