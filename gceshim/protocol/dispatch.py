"""Which part of the protocol answers a path: a method call, a batch, or the discovery document."""

import time
from typing import Final

from gceshim.protocol.batch import handle_batch
from gceshim.protocol.discovery import BATCH_PATH, DIRECTORY_PATH
from gceshim.protocol.errors import ApiError, MethodNotAllowed
from gceshim.protocol.params import parse_query
from gceshim.protocol.router import unknown_path
from gceshim.protocol.service import Service, error_reply
from gceshim.protocol.wire import WireReply, WireRequest, compressed, json_reply

# What our paths begin with, by whole segments; a server that has other pages keeps those to itself.
_ROOTS: Final = ("compute/", "batch/", "discovery/", "$discovery/", "v1/projects/")

_SYSTEM_REST_PATH: Final = "$discovery/rest"
_BATCH: Final = frozenset({"batch", BATCH_PATH})


def is_ours(path: str) -> bool:
    """Whether a path belongs to the API, known or not."""
    return f"{_plain(path)}/".startswith(_ROOTS)


def is_batch(path: str) -> bool:
    """Whether a path is one of the two that take a batch, which may be larger than other bodies."""
    return _plain(path) in _BATCH


async def dispatch(service: Service, request: WireRequest) -> WireReply:
    """Answer any request. Never raises; a path that nothing has is a 404 in GCE's form."""
    plain = _plain(request.path)
    if plain in _BATCH:
        return await handle_batch(service, request)
    if plain in (DIRECTORY_PATH, _SYSTEM_REST_PATH) or plain in service.apis.rest_paths:
        return await _discovery(service, request, plain)
    return await service.handle(request)


async def _discovery(service: Service, request: WireRequest, plain: str) -> WireReply:
    """The discovery documents; open to all, as Google's are: google-api-python-client asks without a token."""
    started = time.monotonic()
    request = service.identified(request)
    detail = ""
    try:
        service.limiter.check_address(service.address(request))
        service.limiter.count_stranger(service.address(request))
        if request.method != "GET":
            raise MethodNotAllowed("A discovery document is read by GET.", headers={"Allow": "GET"})
        root_url = service.base_url(request) + "/"
        if plain == DIRECTORY_PATH:
            reply = json_reply(service.apis.directory(root_url))
        elif plain == _SYSTEM_REST_PATH:
            version = parse_query(request.query).get("version", ["v1"])[-1]
            if version != "v1":
                raise unknown_path(f"/{_SYSTEM_REST_PATH}?version={version}")
            reply = service.apis.discovery(None, root_url)
        else:
            reply = service.apis.discovery(plain, root_url)
    except ApiError as exc:
        reply, detail = error_reply(exc), exc.detail
    service.record(request, "discovery", reply.status, time.monotonic() - started, detail)
    reply = await compressed(reply, request.headers.get("accept-encoding", ""), service.options.gzip_min_bytes)
    return reply.with_headers({"X-Request-Id": request.request_id, "X-Content-Type-Options": "nosniff"})


def _plain(path: str) -> str:
    return "/".join(part for part in path.split("/") if part).replace("%24", "$")
