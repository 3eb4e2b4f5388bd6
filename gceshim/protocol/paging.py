"""
Lists: filtering, ordering and paging over a backend that knows only its own pages.

Source: `maxResults`, `pageToken`, `filter` and `orderBy` of every list method of the Compute Engine API.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from gceshim.protocol.errors import InvalidParameter, invalid_value
from gceshim.protocol.filter import Filter

if TYPE_CHECKING:
    from gceshim.protocol.call import Call

Json = dict[str, Any]
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

PAGE_SIZE: Final = 500
SORT_LIMIT: Final = 5_000
SCAN_PAGES: Final = 20
_TOKEN_LIMIT: Final = 4_096
_NOT_BOUND: Final = frozenset({"pageToken", "maxResults", "pageSize"})


class PageLike(Protocol[T_co]):
    """One backend page, `model.Page`: its items, and whether a further page of the same size follows."""

    @property
    def items(self) -> Sequence[T_co]: ...

    @property
    def more(self) -> bool: ...


Fetch = Callable[[int, int], Awaitable[PageLike[T]]]
"""`fetch(page, page_size)`, pages counted from 1: for a backend that numbers its pages."""


@dataclass(frozen=True, slots=True)
class Keyed(Generic[T]):
    """
    For a backend that pages by key, which is stable while items come and go.

    :param fetch: `fetch(after, page_size)`: the items that follow the key `after`, "" for the first page.
    :param key: the key of an item.
    """

    fetch: Callable[[str, int], Awaitable[PageLike[T]]]
    key: Callable[[T], str]


Source = Fetch[T] | Keyed[T]


@dataclass(frozen=True, slots=True)
class Position:
    """Where the next answer starts: `skip` items into the backend page `page`, or the one that follows `after`."""

    page: int
    page_size: int
    skip: int = 0
    after: str = ""


class PageTokens:
    """
    Makes and reads page tokens: opaque, and good for the same method, parameters and caller only.

    :param keys: the same for all processes that serve one endpoint; the first signs, all may have signed. Random when
        left out, so that tokens then end with the process.
    """

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._keys = tuple(keys) or (secrets.token_bytes(32),)

    def make(self, call: "Call", position: Position) -> str:
        """The token for the answer that starts at `position`."""
        payload = json.dumps([position.page, position.page_size, position.skip, position.after]).encode()
        return base64.urlsafe_b64encode(self._sign(call, payload, self._keys[0]) + payload).decode().rstrip("=")

    def read(self, call: "Call") -> Position | None:
        """
        Where the caller's `pageToken` points; None when there is none.

        :raises InvalidParameter: not a token of ours, or of another query.
        """
        token = call.params.get("pageToken")
        if not token:
            return None
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as exc:
            raise _bad_token(token) from exc
        signature, payload = raw[:16], raw[16:]
        signed = any(hmac.compare_digest(signature, self._sign(call, payload, key)) for key in self._keys)
        if len(token) > _TOKEN_LIMIT or not signed:
            raise _bad_token(token)
        return Position(*json.loads(payload))

    def _sign(self, call: "Call", payload: bytes, key: bytes) -> bytes:
        bound = {name: value for name, value in call.params.items() if name not in _NOT_BOUND}
        query = json.dumps([call.method.id, call.caller.subject, bound], sort_keys=True, default=str)
        return hmac.new(key, query.encode() + b"\0" + payload, hashlib.sha256).digest()[:16]


async def collect(
    call: "Call", source: Source[T], to_gce: Callable[[T], Json], *, backend_filters: bool = False
) -> tuple[list[Json], str | None]:
    """
    One page of GCE bodies, and the token for the next one, None at the end.

    Without filter and order an answer is one backend page of `maxResults`. With a filter, backend pages of 500 are
    read until `maxResults` bodies match, at most 20 of them, so that an answer may hold fewer than it could and still
    have a `nextPageToken`, as GCE's may. With `orderBy` all is read first, up to 5,000 items.

    :param source: where backend pages come from.
    :param to_gce: an item as GCE's JSON; filter and order look at this.
    :param backend_filters: the caller has given the filter to the backend in full; it is not applied again.
    :raises InvalidParameter: `filter`, `orderBy` or `pageToken` is not valid, or too much would have to be sorted.
    """
    limit = min(call.params.get("maxResults") or call.params.get("pageSize") or PAGE_SIZE, PAGE_SIZE)
    wanted = None if backend_filters else list_filter(call)
    order = _order(call.params.get("orderBy", ""))

    def wanted_body(item: T) -> Json | None:
        body = to_gce(item)
        return body if wanted is None or wanted.matches(body) else None

    if order is not None:
        return await _collect_ordered(call, source, wanted_body, order)
    position = call.tokens.read(call) or Position(page=1, page_size=PAGE_SIZE if wanted else limit)
    found: list[Json] = []
    for _ in range(SCAN_PAGES):
        page, following = await _page(source, position)
        bodies = await call.pace.map(wanted_body, page.items[position.skip :])
        for index, body in enumerate(bodies, position.skip):
            if body is None:
                continue
            if len(found) == limit:
                return found, call.tokens.make(call, replace(position, skip=index))
            found.append(body)
        if not page.more:
            return found, None
        position = following
        if wanted is None or len(found) == limit:
            break
    return found, call.tokens.make(call, position)


def list_filter(call: "Call") -> Filter | None:
    """
    The call's `filter`, checked against what the method lists; None when there is none.

    `Filter.equalities()` of it is what a backend may narrow by.

    :raises InvalidParameter: it is malformed, or names a field that the listed resource has not.
    """
    text = call.params.get("filter")
    return Filter.parse(text, call.document, call.document.item_schema(call.method)) if text else None


async def _collect_ordered(
    call: "Call", source: Source[T], wanted_body: Callable[[T], Json | None], order: tuple[str, bool]
) -> tuple[list[Json], str | None]:
    field, descending = order
    bodies: list[Json] = []
    position, more, read = Position(1, PAGE_SIZE), True, 0
    while more:
        page, position = await _page(source, position)
        read += len(page.items)
        more = page.more
        if read > SORT_LIMIT or (more and read >= SORT_LIMIT):
            why = f"Cannot sort more than {SORT_LIMIT} resources; narrow the list or leave orderBy out."
            raise InvalidParameter(invalid_value("orderBy", call.params["orderBy"], why), location="orderBy")
        bodies += [body for body in await call.pace.map(wanted_body, page.items) if body is not None]
    bodies.sort(key=lambda body: str(body.get("name", "")))
    if field != "name":
        bodies.sort(key=lambda body: str(body.get(field, "")), reverse=descending)
    start = call.tokens.read(call)
    first = start.skip if start else 0
    after = first + (call.params.get("maxResults") or PAGE_SIZE)
    token = call.tokens.make(call, Position(1, PAGE_SIZE, after)) if after < len(bodies) else None
    return bodies[first:after], token


async def _page(source: Source[T], position: Position) -> tuple[PageLike[T], Position]:
    """One backend page, and where the next one is."""
    number, size = position.page, position.page_size
    if not isinstance(source, Keyed):
        return await source(number, size), Position(number + 1, size)
    page = await source.fetch(position.after, size)
    last = source.key(page.items[-1]) if page.items else position.after
    return page, Position(number + 1, size, after=last)


def _order(text: str) -> tuple[str, bool] | None:
    """GCE sorts by two things only, which it writes `name` and `creationTimestamp desc`."""
    words = text.split()
    if not words:
        return None
    if words in (["name"], ["name", "asc"]):
        return "name", False
    if words == ["creationTimestamp", "desc"]:
        return "creationTimestamp", True
    why = "Only 'name' and 'creationTimestamp desc' are supported."
    raise InvalidParameter(invalid_value("orderBy", text, why), location="orderBy")


def _bad_token(token: str) -> InvalidParameter:
    why = "The token is malformed or belongs to another list."
    return InvalidParameter(invalid_value("pageToken", token, why), location="pageToken")
