"""
Batch: many requests in one multipart/mixed body, answered in one.

Source: "Batching requests" of Google's API pages; the two parsers that read the answer (apitools in gcloud, and
google-api-python-client) insist on what `_part` writes: a Content-ID echoed byte for byte behind `response-`, three
tokens in the status line, and inner headers that end in CRLF.
"""

import asyncio
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.client import responses
from typing import Final

from gceshim.protocol.errors import (
    AnswerTooLarge,
    ApiError,
    BadRequest,
    HeadersTooLarge,
    MethodNotAllowed,
    RequestTooLarge,
    UnsupportedMediaType,
)
from gceshim.protocol.params import bearer, parse_query
from gceshim.protocol.service import Service, error_reply, refuse_compressed
from gceshim.protocol.wire import WireReply, WireRequest, compressed

MOST_PARTS: Final = 1_000
_BLANK_LINE: Final = re.compile(rb"\r?\n[ \t]*\r?\n|\A\r?\n")
_REQUEST_LINE: Final = re.compile(
    r"([A-Za-z]{1,20}) +(?:https?://[^/\s]*)?(/[^\s?]*)(?:\?(\S*))?(?: +HTTP/\d(?:\.\d)?)?\s*"
)
_BOUNDARY: Final = re.compile(r';\s*boundary=(?:"([^"\x00-\x1f]{1,200})"|([^\s;",]{1,200}))', re.IGNORECASE)
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}):([^\x00-\x08\x0a-\x1f\x7f]*)")
_CONTENT_ID: Final = re.compile(r"[\x20-\x7e\x80-\xff]{1,1000}")
_WAIT: Final = re.compile(r"/operations/[^/]+/wait/*\Z")
# What a part may say for itself. Every other header is that of the batch: a proxy in front of this server has seen
# those, and has put there who calls and from where; what is written inside the body it has not seen.
_OWN: Final = frozenset(
    {"accept", "authorization", "content-encoding", "content-type", "if-none-match", "prefer", "x-http-method-override"}
)
# Those of the batch that are about its own body, answer or verb.
_OUTER_ONLY: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "if-none-match",
        "transfer-encoding",
        "x-http-method-override",
        "x-request-id",
    }
)


async def handle_batch(service: Service, request: WireRequest) -> WireReply:
    """
    Answer a batch request: 200 with an answer for each part, or one error when the envelope itself is at fault.

    The options' `batch_concurrency` of the parts run at the same time, and beside them all those that wait for an
    operation, which costs nothing. When the client goes away, and this is cancelled, so are they.
    """
    started = time.monotonic()
    request = service.identified(request)
    parts: list[bytes] = []
    try:
        parts = _parts(service, request)
        outer = replace(request, headers=_for_all(request))
    except ApiError as exc:
        reply, detail = error_reply(exc), exc.detail
    else:
        reply, detail = _envelope(await _Run(service, outer, parts).answers()), ""
    service.record(request, "batch", reply.status, time.monotonic() - started, detail, parts=len(parts))
    reply = await compressed(reply, request.headers.get("accept-encoding", ""), service.options.gzip_min_bytes)
    return reply.with_headers({"X-Request-Id": request.request_id, "Cache-Control": "private, no-store"})


def _parts(service: Service, request: WireRequest) -> list[bytes]:
    """
    The parts of the body, none of them looked into.

    :raises ApiError: the envelope is at fault.
    """
    if request.method != "POST":
        raise MethodNotAllowed("A batch is sent by POST.", headers={"Allow": "POST"})
    if request.truncated or len(request.body) > service.options.batch_max_bytes:
        raise RequestTooLarge(f"The batch is larger than {service.options.batch_max_bytes} bytes.")
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "multipart/mixed":
        raise UnsupportedMediaType("A batch has to be sent as multipart/mixed.", location="Content-Type")
    refuse_compressed(request)
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise BadRequest("The Content-Type of the batch has no boundary.")
    parts = []
    for part in _split(request.body, (match[1] or match[2]).encode("latin-1", "replace")):
        if not part.strip():
            continue
        parts.append(part)
        if len(parts) > MOST_PARTS:
            raise BadRequest(f"The batch has more than {MOST_PARTS} parts.")
    if not parts:
        raise BadRequest("The batch has no parts, or its boundary is not the one in its Content-Type.")
    return parts


def _split(body: bytes, boundary: bytes) -> Iterator[bytes]:
    """What stands between the delimiter lines; a missing last one is forgiven."""
    delimiter = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    start = None
    for match in delimiter.finditer(body):
        if start is not None:
            yield body[start : match.start()]
        start = match.end()
        if match[1]:
            return
    if start is not None:
        yield body[start:]


class _Run:
    """The parts of one batch, on their way to be answered."""

    def __init__(self, service: Service, outer: WireRequest, parts: Sequence[bytes]) -> None:
        self._service = service
        self._outer = outer
        self._parts = parts
        self._left = iter(range(len(parts)))
        self._turn = asyncio.Lock()
        self._answers = [b""] * len(parts)
        self._answer_bytes = 0

    async def answers(self) -> Sequence[bytes]:
        """The answer of each part, in their order."""
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._service.options.batch_concurrency, len(self._parts))):
                group.create_task(self._work(group))
        return self._answers

    async def _work(self, group: asyncio.TaskGroup) -> None:
        """Take one part after the other; one begins in each round of the event loop, so that others have theirs."""
        for index in self._left:
            async with self._turn:
                await asyncio.sleep(0)
            content_id, inner = self._read(index)
            if isinstance(inner, WireReply):
                self._put(index, content_id, inner)
            elif _waits(inner):
                group.create_task(self._answer(index, content_id, inner))
            else:
                await self._answer(index, content_id, inner)

    def _read(self, index: int) -> tuple[str, WireRequest | WireReply]:
        """A part's Content-ID, and its request, or the answer when it is none."""
        content_id = ""
        try:
            most_bytes = self._service.options.max_header_bytes
            headers, content = _headers(self._parts[index].lstrip(b"\r\n"), most_bytes)
            content_id = headers.get("content-id", "")
            if content_id and not _CONTENT_ID.fullmatch(content_id):
                content_id = ""
                raise BadRequest("The Content-ID of the part is malformed.")
            return content_id, _inner_request(self._outer, index, content, most_bytes)
        except ApiError as exc:
            return content_id, error_reply(exc)

    async def _answer(self, index: int, content_id: str, inner: WireRequest) -> None:
        if self._answer_bytes > self._service.options.batch_answer_bytes:
            refusal = AnswerTooLarge("The batch has too much to answer; send fewer parts.")
            self._put(index, content_id, error_reply(refusal))
        else:
            self._put(index, content_id, await self._service.handle(inner))

    def _put(self, index: int, content_id: str, reply: WireReply) -> None:
        self._answers[index] = _part(content_id, reply)
        self._answer_bytes += len(self._answers[index])


def _waits(inner: WireRequest) -> bool:
    if inner.method == "GET" or "x-http-method-override" in inner.headers:
        return False  # whatever it prefers
    return _WAIT.search(inner.path) is not None or "wait" in inner.headers.get("prefer", "").lower()


def _for_all(request: WireRequest) -> dict[str, str]:
    """The headers of the batch that hold for all of its parts, with the token that its query may have."""
    headers = {name: value for name, value in request.headers.items() if name not in _OUTER_ONLY}
    token = bearer(parse_query(request.query))
    if token and "authorization" not in headers:
        headers["authorization"] = f"Bearer {token}"
    return headers


def _inner_request(outer: WireRequest, index: int, content: bytes, most_bytes: int) -> WireRequest:
    line, _, rest = content.lstrip(b"\r\n").partition(b"\n")
    if len(line) > most_bytes:
        raise HeadersTooLarge(f"The request line of the part is longer than {most_bytes} bytes.")
    match = _REQUEST_LINE.fullmatch(line.decode("latin-1"))
    if match is None:
        raise BadRequest("The part does not begin with a request line, such as 'GET /compute/v1/... HTTP/1.1'.")
    headers, body = _headers(rest, most_bytes)
    headers = {name: value for name, value in headers.items() if name in _OWN}
    path, query = "/" + match[2].lstrip("/"), match[3] or ""
    if outer.prefix and path.startswith(outer.prefix + "/"):
        path = path[len(outer.prefix) :]
    if path.startswith("/batch"):
        raise BadRequest("A batch cannot hold another batch.")
    inherited = dict(outer.headers)
    if bearer(parse_query(query)):  # the part is somebody else's than the batch
        inherited.pop("authorization", None)
    return replace(
        outer,
        method=match[1].upper(),
        path=path,
        query=query,
        headers=inherited | headers,
        body=body.rstrip(b"\r\n"),
        request_id=f"{outer.request_id}-{index}",
    )


def _headers(text: bytes, most_bytes: int) -> tuple[dict[str, str], bytes]:
    """The header lines at the start of a text, names in lower case, and what follows the empty line."""
    end = _BLANK_LINE.search(text)
    head, body = (text[: end.start()], text[end.end() :]) if end else (text, b"")
    if len(head) > most_bytes:
        raise HeadersTooLarge(f"The headers of the part are longer than {most_bytes} bytes.")
    headers: dict[str, str] = {}
    lines = re.sub(r"\r?\n[ \t]+", " ", head.decode("latin-1")).split("\n")
    for line in lines:
        if not line.strip():
            continue
        match = _HEADER.fullmatch(line.rstrip("\r"))
        if match is None:
            raise BadRequest("A header of the part is malformed.")
        headers[match[1].lower()] = match[2].strip(" \t")
    return headers, body


def _part(content_id: str, reply: WireReply) -> bytes:
    """One answer; the lines end in CRLF, as google-api-python-client needs it."""
    lines = ["Content-Type: application/http"]
    if content_id:
        bracket = "<" if content_id.startswith("<") else ""
        lines.append(f"Content-ID: {bracket}response-{content_id.removeprefix('<')}")
    lines += ["", f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    lines += [f"Content-Length: {len(reply.body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace") + reply.body


def _envelope(parts: Sequence[bytes]) -> WireReply:
    boundary = f"batch_{uuid.uuid4().hex}"
    delimiter = f"--{boundary}".encode()
    body = b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts) + delimiter + b"--\r\n"
    return WireReply(200, {"Content-Type": f'multipart/mixed; boundary="{boundary}"'}, body)
