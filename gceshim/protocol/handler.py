"""
The Tornado side: reads a request off the connection and writes the answer.

    tornado.web.Application([*handlers(service, prefix="/gce"), (r"/mine", MyHandler)])
"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, Final

from tornado import httputil, routing, web
from tornado.http1connection import HTTP1Connection

from gceshim.protocol.dispatch import dispatch, is_batch, is_ours
from gceshim.protocol.errors import (
    ApiError,
    BadRequest,
    HeadersTooLarge,
    InternalError,
    MethodNotAllowed,
    RequestTimeout,
    RequestTooLarge,
)
from gceshim.protocol.outbox import Outbox
from gceshim.protocol.service import Service, error_reply
from gceshim.protocol.wire import WireReply, WireRequest

LOG = logging.getLogger("gceshim.protocol")

# A body that is too large is read to its end and dropped, as a client that is still sending might not see the answer.
# From this size on it is refused at once, and the connection closed.
_DRAINED_BYTES: Final = 64 * 1024 * 1024
_LAST_WORD_SECONDS: Final = 5
_PER_HEADER_BYTES: Final = 4


def handlers(service: Service, prefix: str = "", *, fallback: bool = False) -> list[routing.Rule]:
    """
    The rules that put the API into a Tornado application, under `prefix` ("" or `/some/path`).

    :param fallback: answer every other path under the prefix too, with a 404 in GCE's form; for an application
        that has nothing else there.
    """
    prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""
    return [routing.Rule(Mounted(prefix, fallback=fallback), ApiRouter(service, prefix))]


class Mounted(routing.Matcher):
    """Matches the paths of the API under a prefix, by whole segments."""

    def __init__(self, prefix: str, *, fallback: bool) -> None:
        self._prefix = prefix
        self._fallback = fallback

    def match(self, request: httputil.HTTPServerRequest) -> dict[str, Any] | None:
        """An empty dict for a path that is ours, None for any other."""
        path = _below(request.path, self._prefix)
        if path is None:
            return None
        return {} if self._fallback or is_ours(path) else None


class ApiRouter(routing.Router):
    """
    Gives each request an `ApiHandler`. Holds an application of its own, so that two of these, or one inside an
    embedder's application with settings of its own, do not meet.
    """

    def __init__(self, service: Service, prefix: str = "") -> None:
        outbox = Outbox(service.options.unread_bytes, service.options.answer_seconds)
        self._arguments = {"service": service, "prefix": prefix, "outbox": outbox}
        self._application = web.Application(log_function=_no_access_log)

    def find_handler(self, request: httputil.HTTPServerRequest, **kwargs: Any) -> httputil.HTTPMessageDelegate | None:
        """The delegate that reads the request and answers it."""
        return self._application.get_handler_delegate(request, ApiHandler, self._arguments)


@web.stream_request_body
class ApiHandler(web.RequestHandler):
    """Any request to the API."""

    def initialize(self, service: Service, prefix: str, outbox: Outbox) -> None:
        """Called by Tornado with what the router holds."""
        self._service = service
        self._prefix = prefix
        self._outbox = outbox
        self._late: asyncio.TimerHandle | None = None
        self._chunks: list[bytes] = []
        self._received_bytes = 0
        self._answering: asyncio.Future[WireReply] | None = None
        self._left = False
        options = service.options
        batch = is_batch(_below(self.request.path, prefix) or "")
        self._limit_bytes = options.batch_max_bytes if batch else options.max_body_bytes

    def set_default_headers(self) -> None:
        """Tornado names itself and its version here."""
        self.set_header("Server", "gceshim")

    def compute_etag(self) -> str | None:
        """None: no client of GCE asks for one, and it would hash every answer."""
        return None

    def prepare(self) -> None:
        """Before the body is read: bounds the headers, its size and the time it may take."""
        options = self._service.options
        connection = self.request.connection
        if isinstance(connection, HTTP1Connection):
            connection.set_body_timeout(options.body_seconds + _LAST_WORD_SECONDS)
            connection.set_max_body_size(_DRAINED_BYTES)
        if self._head_bytes() > options.max_header_bytes:
            limit_bytes = options.max_header_bytes
            self._refuse(HeadersTooLarge(f"The request line and headers are longer than {limit_bytes} bytes."))
            return
        length = self.request.headers.get("Content-Length", "")
        if length.isdecimal() and (len(length) > 15 or int(length) > _DRAINED_BYTES):
            self._refuse(RequestTooLarge(f"The request body is larger than {self._limit_bytes} bytes."))
        elif length not in ("", "0") or "Transfer-Encoding" in self.request.headers:
            late = RequestTimeout(f"The body of the request did not come within {options.body_seconds:g} seconds.")
            self._late = asyncio.get_running_loop().call_later(options.body_seconds, self._refuse, late)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Keeps what is within the limit."""
        self._received_bytes += len(chunk)
        if self._received_bytes <= self._limit_bytes:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()
        return None

    def on_connection_close(self) -> None:
        """A client that goes away is not worked for any more; an operation that it began goes on."""
        super().on_connection_close()
        self._in_time()
        self._outbox.discard(self)
        self._left = True
        if self._answering is not None:
            self._answering.cancel()

    async def _answer(self) -> None:
        self._in_time()
        connection = self.request.connection
        if isinstance(connection, HTTP1Connection) and connection.stream.closed():
            return  # Tornado tells only of those who leave from here on
        # A task of its own: Tornado takes the cancellation of the handler itself for an error.
        self._answering = asyncio.ensure_future(dispatch(self._service, self._wire_request()))
        try:
            reply = await self._answering
        except asyncio.CancelledError:
            if self._left:
                return
            raise
        self._write(reply)

    get = head = post = put = patch = delete = options = _answer

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """What Tornado itself refuses, such as an unknown HTTP method, in GCE's form too."""
        if status_code == 405:
            self._refuse(
                MethodNotAllowed("This HTTP method is not allowed.", headers={"Allow": "GET, PATCH, POST, PUT, DELETE"})
            )
        elif 400 <= status_code < 500:
            self._refuse(BadRequest("The HTTP request is malformed."))
        else:
            self._refuse(InternalError("Internal error."))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Without the URI, which Tornado would log and which may hold a token."""
        if getattr(value, "status_code", 500) >= 500:
            LOG.error("unexpected error in the handler", exc_info=(typ, value, tb) if value else None)

    def _refuse(self, error: ApiError) -> None:
        if self._finished:
            return
        request = self._service.identified(self._wire_request())
        self._service.record(request, "", error.status, self.request.request_time(), error.detail)
        self._write(error_reply(error).with_headers({"X-Request-Id": request.request_id}))

    def _write(self, reply: WireReply) -> None:
        self.set_status(reply.status)
        for name, value in reply.headers.items():
            self.set_header(name, value)
        connection = self.request.connection
        sent = self.finish(reply.body or None)
        if not sent.done() and isinstance(connection, HTTP1Connection):
            self._outbox.add(self, len(reply.body), connection.stream.close)
            sent.add_done_callback(lambda _: self._outbox.discard(self))

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _head_bytes(self) -> int:
        headers = self.request.headers.get_all()
        return len(self.request.uri or "") + sum(len(name) + len(value) + _PER_HEADER_BYTES for name, value in headers)

    def _wire_request(self) -> WireRequest:
        request = self.request
        return WireRequest(
            method=request.method or "",
            path=_below(request.path, self._prefix) or "/",
            query=request.query,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=b"".join(self._chunks),
            truncated=self._received_bytes > self._limit_bytes,
            scheme=request.protocol,
            host=request.host,
            prefix=self._prefix,
            remote=request.remote_ip or "",
        )


def _below(path: str, prefix: str) -> str | None:
    """The path under the prefix, from its slash; None when it is not under it. `//` counts as `/`."""
    if "://" in path[:8]:  # the absolute form of a request line
        path = "/" + path.split("://", 1)[1].partition("/")[2]
    path = "/" + path.lstrip("/")
    if not prefix:
        return path
    return path[len(prefix) :] if path.startswith(prefix + "/") else None


def _no_access_log(_handler: web.RequestHandler) -> None:
    """The service has logged the request, with what is worth knowing and without its query."""
