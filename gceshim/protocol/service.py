"""
What happens to a request, from its bytes to the answer's, free of any HTTP library.

    path and verb -> method of the document (404, 405)
    token -> caller (401) -> do its scopes allow it (403) -> is it implemented (501)
    -> parameters (400) -> body (400, 413, 415)
    -> the method's coroutine -> partial answer -> JSON, gzip

A path that nobody has is a 404 for anyone; all else about a method is told to known callers only.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gceshim.pace import Pace
from gceshim.protocol import fields, params
from gceshim.protocol.apis import Api, Apis
from gceshim.protocol.call import Authenticator, Call, Caller
from gceshim.protocol.discovery import Document, Method
from gceshim.protocol.errors import (
    ApiError,
    BadRequest,
    GatewayTimeout,
    InsufficientScopes,
    InternalError,
    InvalidCredentials,
    NotImplementedMethod,
    RateLimitExceeded,
    RequestTooLarge,
    UnsupportedMediaType,
    shown,
)
from gceshim.protocol.limits import Limiter, Limits
from gceshim.protocol.links import Links
from gceshim.protocol.page_tokens import PageTokens
from gceshim.protocol.router import Route, split_path
from gceshim.protocol.wire import WireReply, WireRequest, compressed, json_reply, revalidated
from gceshim.trace import Trace, current, tracing

LOG = logging.getLogger("gceshim.protocol")

Implementation = Callable[[Call], Awaitable[dict[str, Any] | None]]

#: What is recorded for a client that went away before it was answered; never sent. Source: nginx's 499.
LEFT: Final = 499

_LONGEST_WAIT_SECONDS: Final = 120.0
_LONGEST_ADDRESS: Final = 64
_OVERRIDES: Final = frozenset({"GET", "PUT", "PATCH", "DELETE", "POST"})
_FORM: Final = "application/x-www-form-urlencoded"
_BEARER: Final = re.compile(r"bearer +([!-~]+) *", re.IGNORECASE)
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")
_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Observation:
    """
    One request, for metrics.

    :param method_id: "" for what reached no method; "batch" and "discovery" for what is none.
    :param status: as answered; `LEFT` where the client went away first.
    :param parts: of a batch, each of which is observed too.
    """

    method_id: str
    status: int
    seconds: float
    parts: int = 0


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """
    What an operator may set.

    :param public_url: scheme, host and prefix that all links begin with; "" takes them from each request.
    :param trust_proxy: believe X-Forwarded-Proto, -Host and -For, and X-Request-Id. For a server that only a proxy can
        reach.
    :param limits: what one caller may ask at a time.
    :param max_header_bytes: longer request lines and headers together are a 431.
    :param body_seconds: longest time for a request's body to come in.
    :param answer_seconds: how long a client may take to read an answer, for each 2 MiB of it.
    :param unread_bytes: answers that are not read yet, all together; at the limit the oldest connections are closed.
    :param max_body_bytes: a larger request body is a 413.
    :param gzip_min_bytes: smaller answers are not compressed.
    :param request_timeout_seconds: a call that takes longer is a 504; longer than the longest wait, 120 s.
    :param batch_max_bytes: a larger batch request is a 413.
    :param batch_answer_bytes: once a batch has so much to answer, its further parts are refused.
    :param batch_concurrency: parts of one batch that run at once, those that wait for operations not counted.
    :param page_token_keys: shared by all processes behind one URL; the first signs, all may have. Empty: random.
    :param observe: called after each request.
    """

    public_url: str = ""
    trust_proxy: bool = False
    limits: Limits = field(default_factory=Limits)
    max_header_bytes: int = 64 * 1024
    body_seconds: float = 60.0
    answer_seconds: float = 60.0
    unread_bytes: int = 256 * 1024 * 1024
    max_body_bytes: int = 1024 * 1024
    gzip_min_bytes: int = 1024
    request_timeout_seconds: float = 180.0
    batch_max_bytes: int = 8 * 1024 * 1024
    batch_answer_bytes: int = 64 * 1024 * 1024
    batch_concurrency: int = 32
    page_token_keys: Sequence[bytes] = ()
    observe: Callable[[Observation], None] | None = None


class Service:
    """
    The API over a table of implemented methods.

    :param document: Compute Engine's.
    :param neighbours: documents of further APIs of which the table has methods.
    :param table: method id to coroutine. Each is called with a checked Call and returns the answer's members, or None
        for an answer without a body; what it raises as ApiError is answered, anything else is a 500.
    :raises DiscoveryError: the table names a method that the documents have not.
    """

    def __init__(
        self,
        document: Document,
        table: Mapping[str, Implementation],
        authenticator: Authenticator,
        options: ServiceOptions | None = None,
        *,
        neighbours: Sequence[Document] = (),
    ) -> None:
        self.apis = Apis([document, *neighbours], table)
        self.options = options or ServiceOptions()
        self._table = dict(table)
        self._authenticator = authenticator
        self.page_tokens = PageTokens(self.options.page_token_keys)
        self._pace = Pace()
        self.limiter = Limiter(self.options.limits)
        self.in_flight = 0

    @property
    def implemented(self) -> frozenset[str]:
        """The ids of the methods that are not answered with a 501."""
        return frozenset(self._table)

    async def handle(self, request: WireRequest) -> WireReply:
        """
        Answer a request for anything that is a method's. Never raises: every mistake, ours too, is an answer.

        The answer carries `X-Request-Id`: the one that a trusted proxy sent, when it is a plain word, else a new one.
        """
        request = self.identified(request)
        self.in_flight += 1
        try:
            with tracing(Trace(request.request_id)) as trace:
                return await self._handle(request, trace)
        finally:
            self.in_flight -= 1

    async def _handle(self, request: WireRequest, trace: Trace) -> WireReply:
        started = time.monotonic()
        api: Api | None = None
        route: Route | None = None
        pretty: bool | None = None
        try:
            request = _overridden(request)
            segments = split_path(request.path)
            api = self.apis.at(segments)
            route = api.route(request.method, segments)
            query = params.parse_query(request.query)
            pretty = _pretty(query)
            async with asyncio.timeout(self.options.request_timeout_seconds):
                reply = await self._answer(request, api, route, query, trace)
        except asyncio.CancelledError:
            self.record(request, route.method.id if route else "", LEFT, time.monotonic() - started)
            raise
        except ApiError as exc:
            reply = error_reply(exc, pretty, api)
            detail = exc.detail
        except TimeoutError:
            reply = error_reply(GatewayTimeout("The request took too long; try again."), pretty, api)
            detail = "timeout"
        except Exception as exc:  # the outermost edge: a mistake of ours must not end the server
            LOG.exception("unexpected error", extra={"request_id": request.request_id})
            reply = self.internal_error(request, pretty, api)
            detail = type(exc).__name__
        else:
            detail = ""
        if not trace.subject and reply.status < 500:
            address = self.address(request)
            try:
                self.limiter.check_address(address)
                self.limiter.count_stranger(address)
            except RateLimitExceeded as exc:
                reply = error_reply(exc, pretty, api)
        self.record(request, route.method.id if route else "", reply.status, time.monotonic() - started, detail)
        reply = await compressed(reply, request.headers.get("accept-encoding", ""), self.options.gzip_min_bytes)
        return reply.with_headers(_COMMON_HEADERS | {"X-Request-Id": request.request_id})

    def identified(self, request: WireRequest) -> WireRequest:
        """The request with a request id."""
        if request.request_id:
            return request
        given = request.headers.get("x-request-id", "") if self.options.trust_proxy else ""
        return replace(request, request_id=given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex)

    def address(self, request: WireRequest) -> str:
        """Where the request comes from; behind a trusted proxy, what that says."""
        forwarded = request.headers.get("x-forwarded-for", "") if self.options.trust_proxy else ""
        return forwarded.rpartition(",")[2].strip()[:_LONGEST_ADDRESS] or request.remote

    def record(
        self, request: WireRequest, name: str, status: int, seconds: float, detail: str = "", *, parts: int = 0
    ) -> None:
        """One line in the log, which holds no query, no header and no body, and one observation."""
        trace = current() or Trace(request.request_id)
        milliseconds = round(seconds * 1000, 1)
        backend_milliseconds = round(trace.backend_seconds * 1000, 1)
        LOG.log(
            logging.WARNING if status >= 500 and status != 501 else logging.INFO,
            "request %s %s %s %d %.1f ms, %s, backend %d calls %.1f ms%s",
            request.request_id,
            request.method[:10] if request.method.isalpha() else "?",
            name or "-",
            status,
            milliseconds,
            repr(trace.subject) if trace.subject else "nobody known",
            trace.backend_calls,
            backend_milliseconds,
            f" ({shown(detail)!r})" if detail else "",
            extra={
                "request_id": request.request_id,
                "method_id": name,
                "status": status,
                "milliseconds": milliseconds,
                "subject": trace.subject,
                "backend_calls": trace.backend_calls,
                "backend_milliseconds": backend_milliseconds,
                "detail": detail,
            },
        )
        if self.options.observe is not None:
            self.options.observe(Observation(name, status, seconds, parts))

    def internal_error(self, request: WireRequest, pretty: bool | None = None, api: Api | None = None) -> WireReply:
        """The 500 that tells the caller nothing but where to look."""
        message = f"Internal error. Please try again or contact support. (Code: '{request.request_id}')"
        return error_reply(InternalError(message), pretty, api)

    def base_url(self, request: WireRequest) -> str:
        """
        What links begin with: the public URL of the settings, else what the client used to reach us.

        :raises BadRequest: there is no Host header, or one that is not a host.
        """
        if self.options.public_url:
            return self.options.public_url.rstrip("/")
        scheme, host = request.scheme, request.host
        if self.options.trust_proxy:
            forwarded = request.headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
            scheme = forwarded if forwarded in ("http", "https") else scheme
            host = request.headers.get("x-forwarded-host", "").split(",")[0].strip() or host
        if not _HOST.fullmatch(host):
            raise BadRequest("The Host header is missing or malformed.", location="Host", location_type="header")
        return f"{scheme}://{host}{request.prefix}"

    async def _answer(
        self, request: WireRequest, api: Api, route: Route, query: params.Query, trace: Trace
    ) -> WireReply:
        standard = params.standard(query)
        bearer = _bearer(request) or standard.bearer
        caller = await self._authenticator.authenticate(bearer, request.headers)
        trace.subject = caller.subject
        prefers = request.method != "GET" and _wait_seconds(request) is not None
        waits = prefers or route.method.name == "wait"
        async with self.limiter.admitted(caller.subject, waits=waits):
            return await self._call(request, api, route, query, caller)

    async def _call(
        self, request: WireRequest, api: Api, route: Route, query: params.Query, caller: Caller
    ) -> WireReply:
        method = route.method
        standard = params.standard(query)
        if caller.scopes is not None and caller.scopes.isdisjoint(method.scopes):
            raise InsufficientScopes(scopes=method.scopes)
        implementation = self._table.get(method.id)
        if implementation is None:
            raise NotImplementedMethod(f"{method.id} is not implemented by this server.")
        mask = fields.Mask.parse(standard.fields, api.document, method.response) if standard.fields else None
        arguments = params.parse(method, route.path_values, query)
        call = Call(
            method=method,
            params=arguments,
            body=self._body(request, api, method),
            cleared=api.bodies.cleared(method, request.body),
            caller=caller,
            links=Links(self.base_url(request), arguments.get("project", "")),
            request_id=request.request_id,
            wait_seconds=_wait_seconds(request),
            document=api.document,
            tokens=self.page_tokens,
            pace=self._pace,
        )
        answer = await implementation(call)
        if answer is None:
            return WireReply(204)
        reply = json_reply(mask.apply(answer) if mask else answer, pretty=standard.pretty)
        return revalidated(reply, request.headers.get("if-none-match")) if request.method == "GET" else reply

    def _body(self, request: WireRequest, api: Api, method: Method) -> dict[str, Any] | None:
        if request.truncated or len(request.body) > self.options.max_body_bytes:
            raise RequestTooLarge(f"The request body is larger than {self.options.max_body_bytes} bytes.")
        if method.request is None:
            return None  # Node posts "", libcloud "ignored", others {}: not looked at
        if not request.body.strip():
            return api.bodies.read(method, b"{}")
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type and content_type != "application/json" and not content_type.endswith("+json"):
            message = f"Content-Type '{shown(content_type)}' is not supported: send application/json."
            raise UnsupportedMediaType(message, location="Content-Type", location_type="header")
        refuse_compressed(request)
        return api.bodies.read(method, request.body)


_COMMON_HEADERS: Final = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}


def refuse_compressed(request: WireRequest) -> None:
    """:raises UnsupportedMediaType: the body is not as it was written."""
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        message = "A compressed request body is not supported."
        raise UnsupportedMediaType(message, location="Content-Encoding", location_type="header")


def error_reply(error: ApiError, pretty: bool | None = None, api: Api | None = None) -> WireReply:
    """An error as an HTTP reply, in the form of the API that it belongs to."""
    body = error.reply(canonical=api is not None and api.canonical_errors)
    return json_reply(body, status=error.status, pretty=pretty).with_headers(error.headers)


def _pretty(query: params.Query) -> bool | None:
    """For the errors found before the parameters are read properly."""
    values = query.get("prettyPrint", [""])
    return {"true": True, "false": False}.get(values[-1].lower())


def _overridden(request: WireRequest) -> WireRequest:
    """
    The request that X-HTTP-Method-Override means.

    Source: google-api-python-client sends a GET of more than 2,048 characters as a POST whose body is the query; taken
    for a POST, a list would be an insert.
    """
    verb = request.headers.get("x-http-method-override", "").strip().upper()
    if not verb or request.method != "POST":
        return request
    if verb not in _OVERRIDES:
        raise BadRequest("X-HTTP-Method-Override has to be GET, PUT, PATCH, POST or DELETE.")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != _FORM:
        return replace(request, method=verb)
    try:
        form = request.body.decode("ascii")
    except UnicodeDecodeError as exc:
        raise BadRequest("A form-encoded body has to be ASCII.") from exc
    query = f"{request.query}&{form}" if request.query and form else request.query or form
    return replace(request, method=verb, query=query, body=b"")


def _bearer(request: WireRequest) -> str | None:
    header = request.headers.get("authorization")
    if header is None:
        return None
    match = _BEARER.fullmatch(header.strip())
    if match is None:
        raise InvalidCredentials("Invalid Credentials: the Authorization header has to be 'Bearer <token>'.")
    return match[1]


def _wait_seconds(request: WireRequest) -> float | None:
    """Source: RFC 7240 `Prefer: wait=N`, N in seconds."""
    match = _WAIT.search(request.headers.get("prefer", ""))
    return min(float(match[1]), _LONGEST_WAIT_SECONDS) if match else None
