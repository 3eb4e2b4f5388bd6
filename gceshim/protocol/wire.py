"""A request and a reply as bytes and strings, free of any HTTP library, and how a body is encoded."""

import asyncio
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gceshim.protocol import encoding

JSON_TYPE: Final = "application/json; charset=UTF-8"
_PRETTY_BYTES: Final = 64 * 1024
_LARGEST_PRETTY_BYTES: Final = 1024 * 1024
_GZIP_LEVEL: Final = 4
_TAGGED_BYTES: Final = 64 * 1024
_LONG_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class WireRequest:
    """
    One HTTP request.

    :param path: still percent-encoded, from the first slash, without query and without the prefix.
    :param headers: names in lower case.
    :param prefix: where the handlers are mounted: "" or `/gce`; part of every link.
    :param truncated: the body was over the limit, and `body` is empty.
    :param remote: the address that the connection comes from.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    scheme: str = "http"
    host: str = ""
    prefix: str = ""
    remote: str = ""
    request_id: str = ""
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class WireReply:
    """One HTTP reply. `headers` lacks Content-Length, Date and the like, which the server adds."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)

    def with_headers(self, headers: Mapping[str, str]) -> "WireReply":
        """The same reply with more headers."""
        return replace(self, headers={**self.headers, **headers})


def json_reply(value: Any, *, status: int = 200, pretty: bool | None = None) -> WireReply:
    """
    A value as JSON.

    :param pretty: indented or not; None: indented while that is cheap. A page of 500 instances grows by half, so there
        is a bound even when it is asked for.
    """
    body = encoding.compact(value)
    if pretty is not False and len(body) <= (_LARGEST_PRETTY_BYTES if pretty else _PRETTY_BYTES):
        body = encoding.pretty(value)
    return WireReply(status, {"Content-Type": JSON_TYPE}, body)


def revalidated(reply: WireReply, if_none_match: str | None) -> WireReply:
    """
    The answer of a read with an ETag, or 304 for a client that has it already.

    The ETag is weak, as one answer comes compressed or not. A long one, of a list, is hashed only for a client that
    has asked: Compute Engine's own lists have none. Source: RFC 9110, "If-None-Match"; `ETag` of Google's API pages.

    :param if_none_match: the header; None when it was not sent.
    """
    if reply.status != 200 or (if_none_match is None and len(reply.body) > _TAGGED_BYTES):
        return reply
    tag = f'"{hashlib.blake2b(reply.body, digest_size=12).hexdigest()}"'
    headers = {"ETag": f"W/{tag}"}
    known = [item.strip().removeprefix("W/") for item in (if_none_match or "").split(",")]
    return WireReply(304, headers) if tag in known or "*" in known else reply.with_headers(headers)


async def compressed(reply: WireReply, accept_encoding: str, minimum_bytes: int) -> WireReply:
    """The reply gzipped, when the client takes that and it is worth it."""
    if len(reply.body) < minimum_bytes or "Content-Encoding" in reply.headers:
        return reply
    varied = reply.with_headers({"Vary": "Accept-Encoding"})
    if not _accepts_gzip(accept_encoding):
        return varied
    if len(reply.body) > _LONG_BYTES:  # up to 20 ms for each MiB, in which nobody else would be answered
        body = await asyncio.to_thread(_gzipped, reply.body)
    else:
        body = _gzipped(reply.body)
    return replace(varied.with_headers({"Content-Encoding": "gzip"}), body=body)


def _gzipped(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=_GZIP_LEVEL, mtime=0)


def _accepts_gzip(accept_encoding: str) -> bool:
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
