"""
Lists: filtering, ordering and paging over a backend that knows only its own pages.

Source: `maxResults`, `pageToken`, `filter` and `orderBy` of every list method of the Compute Engine API.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gceshim.protocol.errors import InvalidParameter, invalid_value
from gceshim.protocol.filter import Filter
from gceshim.protocol.page_tokens import State, bad_token
from gceshim.protocol.sources import PAGE_SIZE, SCAN_PAGES, BadState, Keyed, Source

if TYPE_CHECKING:
    from gceshim.protocol.call import Call

Json = dict[str, Any]
T = TypeVar("T")
SortKey = tuple[float, str, str]

SORT_LIMIT: Final = 5_000
#: By what an item is ordered newest first; an operation has no creationTimestamp.
_TIMES: Final = ("creationTimestamp", "insertTime")


async def collect(call: "Call", source: Source[T], to_gce: Callable[[T], Json]) -> tuple[list[Json], str | None]:
    """
    One page of GCE bodies, and the token for the next one, None at the end.

    However the list changes between the requests of a client, no item comes twice, and none is missed that was there
    throughout; `sources` tells how. Without filter and order an answer is one backend page of `maxResults`. With a
    filter, backend pages of up to 500 are read until `maxResults` bodies match, at most 20 of them, so that an answer
    may hold fewer than it could and still have a `nextPageToken`, as GCE's may. With an order that the source does not
    have all is read first, up to 5,000 items, for each answer anew, which goes on behind the last body that was given.

    :param source: where items come from.
    :param to_gce: an item as GCE's JSON; filter and order look at this.
    :raises InvalidParameter: `filter`, `orderBy` or `pageToken` is not valid, or too much would have to be sorted.
    """
    wanted = list_filter(call)
    order = _order(call.params.get("orderBy", ""))
    state = call.tokens.read(call)

    def wanted_body(item: T) -> Json | None:
        body = to_gce(item)
        return body if wanted is None or wanted.matches(body) else None

    try:
        if order and not (isinstance(source, Keyed) and order == "name" and source.by_name):
            if not isinstance(source, Keyed) or order == "name" or source.newest is None:
                return await _collect_ordered(call, source, wanted_body, order, state)
            source = replace(source, fetch=source.newest)
        return await _collect(call, source, wanted_body, state, filtered=wanted is not None)
    except BadState as exc:
        raise bad_token(call) from exc


async def _collect(
    call: "Call",
    source: Source[T],
    wanted_body: Callable[[T], Json | None],
    state: State | None,
    *,
    filtered: bool,
) -> tuple[list[Json], str | None]:
    limit = _limit(call)
    found: list[Json] = []
    for _ in range(SCAN_PAGES):
        part = await source.read(state, PAGE_SIZE if filtered else limit)
        bodies = await call.pace.map(wanted_body, part.items)
        for index, body in enumerate(bodies):
            if body is None:
                continue
            if len(found) == limit:
                return found, call.tokens.make(call, part.after(index))
            found.append(body)
        if not part.more:
            return found, None
        state = part.after(len(part.items))
        if len(found) == limit or (found and not filtered):
            break
    return found, call.tokens.make(call, state or [])


def list_filter(call: "Call") -> Filter | None:
    """
    The call's `filter`, checked against what the method lists; None when there is none.

    Its `equalities` and `labels` are what a backend may narrow by.

    :raises InvalidParameter: it is malformed, or names a field that the listed resource has not.
    """
    text = call.params.get("filter")
    return Filter.parse(text, call.document, call.document.item_schema(call.method)) if text else None


async def _collect_ordered(
    call: "Call",
    source: Source[T],
    wanted_body: Callable[[T], Json | None],
    order: str,
    state: State | None,
) -> tuple[list[Json], str | None]:
    limit = _limit(call)
    match state:
        case None:
            last = None
        case ["sorted", int() | float() as moment, str(name), str(link)]:
            last = (float(moment), name, link)
        case _:
            raise BadState
    bodies: dict[SortKey, Json] = {}
    position, more, read = None, True, 0
    while more:
        part = await source.read(position, PAGE_SIZE)
        read += len(part.items)
        more, position = part.more, part.after(len(part.items))
        if read > SORT_LIMIT or (more and read >= SORT_LIMIT):
            why = f"Cannot sort more than {SORT_LIMIT} resources; narrow the list or leave orderBy out."
            raise InvalidParameter(invalid_value("orderBy", call.params["orderBy"], why), location="orderBy")
        for body in await call.pace.map(wanted_body, part.items):
            if body is not None:
                bodies[_sort_key(body, order)] = body
    keys = sorted(key for key in bodies if last is None or key > last)
    token = call.tokens.make(call, ["sorted", *keys[limit - 1]]) if len(keys) > limit else None
    return [bodies[key] for key in keys[:limit]], token


def _limit(call: "Call") -> int:
    return min(call.params.get("maxResults") or call.params.get("pageSize") or PAGE_SIZE, PAGE_SIZE)


def _sort_key(body: Json, order: str) -> SortKey:
    """What an order goes by, and what tells two alike from each other."""
    moment = 0.0
    if order != "name":
        text = next((body[name] for name in _TIMES if body.get(name)), None)
        moment = -datetime.fromisoformat(text).timestamp() if text else 0.0
    return moment, str(body.get("name", "")), str(body.get("selfLink", ""))


def _order(text: str) -> str:
    """GCE sorts by two things only, which it writes `name` and `creationTimestamp desc`; "" for none."""
    words = text.split()
    if words in ([], ["name"], ["creationTimestamp", "desc"]):
        return "".join(words[:1])
    if words == ["name", "asc"]:
        return "name"
    why = "Only 'name' and 'creationTimestamp desc' are supported."
    raise InvalidParameter(invalid_value("orderBy", text, why), location="orderBy")
