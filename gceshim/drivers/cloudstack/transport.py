"""
Calls to the CloudStack API through libcloud, off the event loop. The only module that knows libcloud.

Each thread of a bounded pool has one libcloud driver and with it one keep-alive connection; the caller's keys are in
that driver for the time of one call. Every call is a POST whose parameters are in the body, so that keys and
signatures are in no URL, and so in no log, no exception and no proxy's record; CloudStack takes GET and POST alike.
"""

# mypy: disallow-untyped-calls=False
# libcloud has types for some of its functions only.

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import hashlib
import hmac
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import quote, quote_plus, urlencode

import libcloud.security
import orjson
import requests
import urllib3.exceptions
from libcloud.common.cloudstack import CloudStackConnection, CloudStackResponse
from libcloud.common.types import LibcloudError
from libcloud.compute.drivers.cloudstack import CloudStackNodeDriver
from libcloud.http import LibcloudConnection
from libcloud.utils.misc import lowercase_keys

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.lanes import Lanes, LanesFull
from gceshim.drivers.cloudstack.refusals import Refused, reason, refusal
from gceshim.drivers.cloudstack.settings import Settings
from gceshim.drivers.cloudstack.wire import TooLarge, Wire, address
from gceshim.drivers.fence import pass_fence
from gceshim.drivers.observing import BackendCall, BackendLoad, Watcher, outcome_of
from gceshim.model import Credentials
from gceshim.trace import add_backend_call

log = logging.getLogger(__name__)

_SAFE: Final = ("list", "query", "get", "find")
_RETRY_SECONDS: Final = 0.1
_THROTTLED_SECONDS: Final = 0.5  # CloudStack counts calls by the second
_SIGN_IN_LANE: Final = ""
_SIGNATURE_MINUTES: Final = 15


class _Http(LibcloudConnection):
    """libcloud's HTTP connection, with the bounds of `Wire`; the query goes into the body."""

    def __init__(self, settings: Settings) -> None:
        secure, host, port, _ = address(settings.url)
        super().__init__(host, port, secure=secure)
        self.wire = Wire(settings, _verification(settings))

    def request(  # noqa: PLR0917 - the signature of libcloud
        self,
        method: str,
        url: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        raw: bool = False,
        stream: bool = False,
        hooks: object = None,
    ) -> None:
        """Send it as `Wire.post` does."""
        path, _, form = url.partition("?")
        self.response = self.wire.post(path, form, headers)


class _Response(CloudStackResponse):
    """libcloud's reply, keeping the error's status and body, which libcloud reduces to a text."""

    def __init__(self, response: requests.Response, connection: _Connection) -> None:
        self.connection = connection
        self.headers = lowercase_keys(dict(response.headers))
        self.status = response.status_code
        self.body = response.text.strip()
        if not self.success():
            self.parse_error()
        with connection.one_parses:
            self.object = self.parse_body()

    def parse_body(self) -> Any:
        return orjson.loads(self.body or "")

    def parse_error(self) -> None:
        raise Refused(self.status, str(self.body))


class _Connection(CloudStackConnection):
    """libcloud's CloudStack connection, signing with an expiry and as CloudStack's own Go client escapes."""

    responseCls = _Response  # noqa: N815 - libcloud's name
    one_parses: threading.Lock

    def add_default_params(self, params: dict[str, str]) -> dict[str, str]:
        expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=_SIGNATURE_MINUTES)
        params = super().add_default_params(params)
        params["signatureversion"] = "3"
        params["expires"] = expires.strftime("%Y-%m-%dT%H:%M:%S+0000")
        return params

    def _make_signature(self, params: Mapping[str, str]) -> bytes:
        # libcloud's own leaves "[" and "]" of values as they are, which the server may not.
        pairs = (f"{name}={quote(str(params[name]), safe='*')}" for name in sorted(params, key=str.lower))
        digest = hmac.new(self.key.encode(), "&".join(pairs).lower().encode(), hashlib.sha1).digest()
        return base64.b64encode(digest)


class _NodeDriver(CloudStackNodeDriver):
    connectionCls = _Connection  # noqa: N815 - libcloud's name


class Transport:
    """
    CloudStack's API as one coroutine.

    Another way to CloudStack is a subclass that overrides `call`, `session` and `close`, named by `CloudStackDriver`'s
    `transport_class` in a subclass of that.
    """

    def __init__(self, settings: Settings) -> None:
        """No call is made, no thread started."""
        self._settings = settings
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="cloudstack")
        self._local = threading.local()
        self._drivers: list[Any] = []
        self._drivers_lock = threading.Lock()
        # Parsing a page takes some milliseconds, in which no other thread can run. Were all to parse at once, the event
        # loop would come last as often as not.
        self._one_parses = threading.Lock()
        self._lanes = Lanes(settings.threads, settings.queue_limit)
        self._seen: Watcher | None = None

    async def call(self, credentials: Credentials, command: str, /, **params: object) -> dict[str, Any]:
        """
        Carry out one command and return the object under `<command>response`.

        Takes `timeout_seconds` at most, once it has its turn, and waits for that for `queue_seconds` at most; those of
        one key pair never keep those of others waiting for long. Reads (`list*`, `query*`, `get*`, `find*`) are tried
        again a few times when CloudStack cannot be reached or has an error of its own, and all commands when it says
        that it was asked too often.

        :param params: as CloudStack names them. None is left out, booleans become true/false, sequences are joined
            with commas. Names like `tags[0].key` go in as `**{"tags[0].key": ...}`.
        :raises DriverError: by CloudStack's error code (`failures.BY_CODE`).
        :raises Unavailable: no connection, no JSON, or too much of it. :raises Timeout: no answer in time.
        :raises Overloaded: it did not get its turn. :raises Throttled: CloudStack says that it is asked too often.
        """
        form = {name: _text(value) for name, value in params.items() if value is not None}
        attempt = 0
        while True:
            last = attempt == self._settings.retries
            try:
                return await self.run(
                    command,
                    lambda: self._exchange(credentials, command, form),
                    secrets=(credentials.secret_key, credentials.api_key),
                    lane=credentials.api_key,
                )
            except errors.Throttled:
                if last:
                    raise
                pause_seconds = _THROTTLED_SECONDS * random.uniform(1, 2)  # noqa: S311 - not a secret
                log.info("%s was refused for being asked too often; trying again", command)
            except (errors.Timeout, errors.Overloaded):
                raise
            except (errors.Unavailable, errors.Failed) as exc:
                if last or not command.startswith(_SAFE):
                    raise
                pause_seconds = _RETRY_SECONDS
                log.info("%s failed (%s); trying again", command, exc.detail or exc.message)
            await asyncio.sleep(pause_seconds * 2**attempt)
            attempt += 1

    async def close(self) -> None:
        """Close connections; calls under way end by themselves within `timeout_seconds`."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._drivers_lock:
            drivers, self._drivers = self._drivers, []
        for driver in drivers:
            driver.connection.connection.wire.close()

    def session(self) -> Session:
        """A new session for one who signs in with a password. No call is made; close it in the end."""
        return Session(self, self._settings)

    @property
    def load(self) -> BackendLoad:
        """What is under way."""
        return BackendLoad(self._settings.threads, self._lanes.running, self._lanes.waiting)

    def watch(self, seen: Watcher) -> None:
        """Tell `seen` of each call from now on."""
        self._seen = seen

    async def run(
        self,
        command: str,
        exchange: Callable[[], dict[str, Any]],
        secrets: tuple[str, ...],
        lane: str = _SIGN_IN_LANE,
    ) -> dict[str, Any]:
        """
        Run `exchange` in a thread of the pool, within `timeout_seconds`, and turn what it raises into driver errors.

        :param secrets: what no error may say, should CloudStack have said it.
        :param lane: whose turn it has to be.
        """
        begun = time.monotonic()
        outcome = "ok"
        try:
            await self._enter(command, lane)
            begun = time.monotonic()
            return await self._in_thread(command, exchange, secrets, lane)
        except BaseException as exc:
            outcome = outcome_of(exc)
            raise
        finally:
            seconds = time.monotonic() - begun
            add_backend_call(seconds)
            if self._seen is not None:
                self._seen(BackendCall(command, outcome, seconds))

    async def _enter(self, command: str, lane: str) -> None:
        try:
            await self._lanes.enter(lane, self._settings.queue_seconds)
        except LanesFull as exc:
            message = "CloudStack is too slow for all that is asked of it; try again."
            raise errors.Overloaded(message, detail=f"{command}: not begun") from exc
        if command.startswith(_SAFE):
            return
        try:
            await pass_fence()
        except BaseException:
            self._lanes.leave(lane)
            raise

    async def _in_thread(
        self, command: str, exchange: Callable[[], dict[str, Any]], secrets: tuple[str, ...], lane: str
    ) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        try:
            future = self._pool.submit(self._translated, command, exchange, secrets)
        except RuntimeError as exc:
            self._lanes.leave(lane)
            raise errors.Unavailable("The connection to CloudStack is closed", detail=command) from exc

        def left(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for a turn any more
                loop.call_soon_threadsafe(self._lanes.leave, lane)

        # With the thread, not with who waits for it: that one may go before.
        future.add_done_callback(left)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._settings.timeout_seconds + 1)
        except TimeoutError as exc:
            raise self._timeout(command) from exc

    def _translated(
        self, command: str, exchange: Callable[[], dict[str, Any]], secrets: tuple[str, ...]
    ) -> dict[str, Any]:
        """In a thread of the pool."""
        failed: errors.DriverError
        try:
            return exchange()
        except Refused as exc:
            failed = refusal(command, exc, secrets)
        except TooLarge:
            limit = self._settings.reply_limit_bytes
            failed = errors.Unavailable("CloudStack's answer is too large", detail=f"{command}: over {limit} bytes")
        except (requests.Timeout, TimeoutError):
            failed = self._timeout(command)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
            failed = errors.Unavailable("CloudStack cannot be reached", detail=f"{command}: {reason(exc)}")
        except (LibcloudError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as exc:
            # What libcloud makes of a reply that is not JSON, or not of CloudStack's shape.
            failed = errors.Unavailable(
                "CloudStack gave an answer that is not understood", detail=f"{command}: {type(exc).__name__}"
            )
        # Raised here, outside the handlers, so that no trace carries a libcloud exception that holds a request.
        raise failed

    def _exchange(self, credentials: Credentials, command: str, form: Mapping[str, str]) -> dict[str, Any]:
        driver = self._driver()
        connection = driver.connection
        connection.user_id, connection.key = credentials.api_key, credentials.secret_key
        try:
            reply = driver._sync_request(command, params=dict(form), method="POST")
        finally:
            connection.user_id, connection.key = "", ""
        if not isinstance(reply, dict):
            raise TypeError(type(reply).__name__)
        if "errorcode" in reply:
            raise Refused(int(reply["errorcode"]), json.dumps({"errorresponse": reply}))
        return reply

    def _driver(self) -> Any:
        """The libcloud driver of this thread."""
        driver: Any = getattr(self._local, "driver", None)
        if driver is None:
            secure, host, port, path = address(self._settings.url)
            driver = _NodeDriver("", "", secure=secure, host=host, path=path, port=port)
            driver.connection.connection = _Http(self._settings)
            driver.connection.one_parses = self._one_parses
            self._local.driver = driver
            with self._drivers_lock:
                self._drivers.append(driver)
        return driver

    def _timeout(self, command: str) -> errors.Timeout:
        seconds = self._settings.timeout_seconds
        return errors.Timeout(f"CloudStack gave no answer within {seconds:g} seconds", detail=command)


class Session:
    """
    Calls of one who is known by a cookie, as a browser is, and not by keys.

    They go over a connection of their own, which no other call uses and which holds the cookie. One at a time; none is
    tried again, for each wrong password counts with CloudStack.
    """

    def __init__(self, transport: Transport, settings: Settings) -> None:
        self._transport = transport
        self._path = address(settings.url).path
        self._wire = Wire(settings, _verification(settings))
        self._cookies: dict[str, str] = {}
        self._key = ""

    async def call(self, command: str, /, **params: str) -> dict[str, Any]:
        """As `Transport.call`. What `login` answers makes the calls after it known."""
        password = params.get("password", "")
        secrets = (password, quote_plus(password), self._key, *self._cookies.values())
        return await self._transport.run(command, lambda: self._exchange(command, params), secrets)

    def close(self) -> None:
        """Close the connection; that CloudStack forgets the session too takes a `logout` before."""
        self._wire.close()

    def _exchange(self, command: str, params: Mapping[str, str]) -> dict[str, Any]:
        """In a thread of the pool."""
        form = {**params, "command": command, "response": "json"}
        if self._key:
            form["sessionkey"] = self._key
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        response = self._wire.post(self._path, urlencode(form), {"Cookie": cookies} if cookies else {})
        if response.status_code != 200:
            raise Refused(response.status_code, response.text)
        reply = orjson.loads(response.content)[f"{command.lower()}response"]
        if not isinstance(reply, dict):
            raise TypeError(type(reply).__name__)
        if command == "login":
            self._cookies = {cookie.name: cookie.value or "" for cookie in response.cookies}
            self._key = str(reply["sessionkey"])
        return reply


def _verification(settings: Settings) -> str | bool:
    """What certificates are verified with: libcloud's authorities, unless the settings name others."""
    if not settings.verify_tls:
        return False
    return settings.ca_file or libcloud.security.CA_CERTS_PATH or True


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value)
    return str(value)
