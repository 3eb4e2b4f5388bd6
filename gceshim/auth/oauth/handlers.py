"""
The Tornado side of everything about access: which endpoint answers a path, with what bounds.

An endpoint is a coroutine from a request to a reply, free of Tornado, as the API's service is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tornado import httputil, routing, web
from tornado.http1connection import HTTP1Connection

from gceshim.auth.errors import BackendUnavailable
from gceshim.auth.oauth.replies import OAuthError, error_reply, too_many, unavailable
from gceshim.protocol.errors import RateLimitExceeded
from gceshim.protocol.service import Service
from gceshim.protocol.wire import WireReply, WireRequest
from gceshim.stores.errors import StoreError
from gceshim.trace import Trace, tracing

LOG = logging.getLogger("gceshim.oauth")

MAX_BODY_BYTES: Final = 64 * 1024
_DRAINED_BYTES: Final = 8 * 1024 * 1024
_BODY_TIMEOUT_SECONDS: Final = 30
_ANSWER_TIMEOUT_SECONDS: Final = 120
_COMMON_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    :param name: in the log and in metrics, as `oauth.token`.
    :param paths: below the prefix, from the slash.
    :param methods: HTTP methods; a HEAD is answered as the GET, without its body.
    :param answer: may raise `OAuthError`, `BackendUnavailable` and `StoreError`, which are answered in RFC 6749's form.
    """

    name: str
    paths: Sequence[str]
    methods: Sequence[str]
    answer: Callable[[WireRequest], Awaitable[WireReply]]


def handlers(endpoints: Sequence[Endpoint], service: Service, prefix: str = "") -> list[routing.Rule]:
    """
    The rules that put endpoints into a Tornado application, under `prefix` ("" or `/some/path`).

    :param service: the API's, which knows how the server is reached, and records requests.
    """
    prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""
    by_path = {prefix + path: endpoint for endpoint in endpoints for path in endpoint.paths}
    return [routing.Rule(_Paths(by_path.keys()), _Router(by_path, service, prefix))]


class _Paths(routing.Matcher):
    """Matches just these paths."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = frozenset(paths)

    def match(self, request: httputil.HTTPServerRequest) -> dict[str, Any] | None:
        return {} if _plain(request.path) in self._paths else None


class _Router(routing.Router):
    """Holds an application of its own, as the API's router does, whose settings nobody else has."""

    def __init__(self, by_path: dict[str, Endpoint], service: Service, prefix: str) -> None:
        self._by_path = by_path
        self._service = service
        self._prefix = prefix
        self._application = web.Application(log_function=_no_access_log)

    def find_handler(self, request: httputil.HTTPServerRequest, **kwargs: Any) -> httputil.HTTPMessageDelegate | None:
        endpoint = self._by_path[_plain(request.path)]
        arguments = {"endpoint": endpoint, "service": self._service, "prefix": self._prefix}
        return self._application.get_handler_delegate(request, _Handler, arguments)


@web.stream_request_body
class _Handler(web.RequestHandler):
    """Any request to an endpoint."""

    def initialize(self, endpoint: Endpoint, service: Service, prefix: str) -> None:
        self._endpoint = endpoint
        self._service = service
        self._prefix = prefix
        self._body = bytearray()
        self._too_large = False

    def set_default_headers(self) -> None:
        self.set_header("Server", "gceshim")

    def compute_etag(self) -> str | None:
        return None

    def prepare(self) -> None:
        connection = self.request.connection
        if isinstance(connection, HTTP1Connection):
            connection.set_body_timeout(_BODY_TIMEOUT_SECONDS)
            connection.set_max_body_size(_DRAINED_BYTES)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._too_large = self._too_large or len(self._body) + len(chunk) > MAX_BODY_BYTES
        if not self._too_large:
            self._body += chunk
        return None

    async def _answer(self) -> None:
        request = self._service.identified(self._wire_request())
        self._service.in_flight += 1
        try:
            with tracing(Trace(request.request_id)):
                reply = await self._recorded(request)
        finally:
            self._service.in_flight -= 1
        self._write(reply, request.request_id)

    get = head = post = put = patch = delete = options = _answer

    async def _recorded(self, request: WireRequest) -> WireReply:
        """Never raises; as with the API, who is not known here may not ask without end."""
        started = time.monotonic()
        address = self._service.address(request)
        detail = ""
        try:
            self._service.limiter.check_address(address)
            async with asyncio.timeout(_ANSWER_TIMEOUT_SECONDS):
                reply = await self._answered(request)
        except RateLimitExceeded as exc:
            reply, detail = error_reply(too_many(exc)), exc.detail
        except OAuthError as exc:
            reply, detail = error_reply(exc), exc.error
        except (BackendUnavailable, StoreError, TimeoutError) as exc:
            reply, detail = error_reply(unavailable()), str(exc)
        except Exception as exc:  # the outermost edge: a mistake of ours must not end the server
            LOG.exception("unexpected error", extra={"request_id": request.request_id})
            reply, detail = error_reply(OAuthError("server_error", "Internal error.", status=500)), type(exc).__name__
        if 400 <= reply.status < 500 and reply.status != RateLimitExceeded.status:
            self._service.limiter.count_stranger(address)
        self._service.record(request, self._endpoint.name, reply.status, time.monotonic() - started, detail)
        return reply

    async def _answered(self, request: WireRequest) -> WireReply:
        method = "GET" if request.method == "HEAD" else request.method
        if method not in self._endpoint.methods:
            allowed = ", ".join(self._endpoint.methods)
            raise OAuthError("invalid_request", f"Use {allowed}.", status=405, headers={"Allow": allowed})
        if request.truncated:
            raise OAuthError("invalid_request", "The request body is too large.", status=413)
        return await self._endpoint.answer(request)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """What Tornado itself refuses, such as an HTTP method that does not exist."""
        ours = status_code >= 500
        error, text = ("server_error", "Internal error.") if ours else ("invalid_request", "The request is malformed.")
        self._write(error_reply(OAuthError(error, text, status=status_code)), "")

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Without the URI, which Tornado would log and which may hold a token."""
        if getattr(value, "status_code", 500) >= 500:
            LOG.error("unexpected error in the handler", exc_info=(typ, value, tb) if value else None)

    def _write(self, reply: WireReply, request_id: str) -> None:
        self.set_status(reply.status)
        own = {"X-Request-Id": request_id} if request_id else {}
        for name, value in (_COMMON_HEADERS | dict(reply.headers) | own).items():
            self.set_header(name, value)
        self.finish(reply.body or None)

    def _wire_request(self) -> WireRequest:
        request = self.request
        return WireRequest(
            method=request.method or "",
            path=_plain(request.path)[len(self._prefix) :],
            query=request.query,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=b"" if self._too_large else bytes(self._body),
            truncated=self._too_large,
            scheme=request.protocol,
            host=request.host,
            prefix=self._prefix,
            remote=request.remote_ip or "",
        )


def _plain(path: str) -> str:
    """The path of a request line in either of its forms; `//` counts as `/`."""
    if "://" in path[:8]:
        path = "/" + path.split("://", 1)[1].partition("/")[2]
    return "/" + "/".join(part for part in path.split("/") if part)


def _no_access_log(_handler: web.RequestHandler) -> None:
    """The service has recorded the request, without its query."""
