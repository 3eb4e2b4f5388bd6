"""
Where the items of a list come from, and how to go on reading while the list changes.

A client reads a list in many requests, between which items come and go. No item may be given twice, and none left out
that was there throughout. `Keyed` sources hold that by themselves. A backend that numbers its pages (`Numbered`) does
not: when a row before the one that was last given vanishes, all that follow move up, and a page number then skips one.
So a position names rows, and not only a number: those last given, and the rank of the last one. Each page is asked for
so that the row last given is on it; where it is not, the rows around are looked through for one that was given, and
where all of those are gone too, for the first whose rank is further on. Whatever changes, a read costs one backend call
where nothing moved, one or two more where something did, and never more than `SCAN_PAGES`.

A position is bounded too: of items of one rank (made in one second) it names the last hundred. Should all of those
vanish at once, others of that second that were given before them are given again.
"""

import base64
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

PAGE_SIZE: Final = 500
SCAN_PAGES: Final = 20
_REMEMBERED: Final = 32
_MOST_OF_ONE_RANK: Final = 100
_SHORT_LENGTH: Final = 8

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
State = list[Any]


class PageLike(Protocol[T_co]):
    """One backend page, `model.Page`: its items, and whether a further page of the same size follows."""

    @property
    def items(self) -> Sequence[T_co]: ...

    @property
    def more(self) -> bool: ...


class BadState(Exception):
    """A position that is none of this source's."""


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """
    Items that follow a position, in order.

    :param more: there may be others after them. :param after: the position after the first `n` of them, as JSON.
    """

    items: Sequence[T]
    more: bool
    after: Callable[[int], State]


@dataclass(frozen=True, slots=True)
class Keyed(Generic[T]):
    """
    For a backend that pages by key, which is stable while items come and go.

    :param fetch: `fetch(after, length)`: the items that follow the key `after`, "" for the first.
    :param key: the key of an item. :param by_name: the keys are in the order of the items' names.
    :param newest: as `fetch`, in the reverse order, when that is by time.
    """

    fetch: Callable[[str, int], Awaitable[PageLike[T]]]
    key: Callable[[T], str]
    by_name: bool = False
    newest: Callable[[str, int], Awaitable[PageLike[T]]] | None = None

    async def read(self, state: State | None, length: int) -> Part[T]:
        """
        Up to `length` items after a position, None being the start.

        :raises BadState: the position is not one of these.
        """
        match state:
            case None:
                after = ""
            case ["key", str(after)]:
                pass
            case _:
                raise BadState
        page = await self.fetch(after, length)
        return Part(page.items, page.more, lambda count: ["key", self.key(page.items[count - 1]) if count else after])


@dataclass(frozen=True, slots=True)
class Numbered(Generic[T]):
    """
    For a backend that numbers its pages, whose items keep their order among each other.

    :param fetch: `fetch(page, page_size)`, pages counted from 1, `page_size` 1 to 500.
    :param identity: what tells an item from all others.
    :param rank: what the backend orders by, as a text that compares alike: a name, or a time in ISO 8601; items may
        share one. :param descending: the order is from the highest rank to the lowest.
    """

    fetch: Callable[[int, int], Awaitable[PageLike[T]]]
    identity: Callable[[T], str]
    rank: Callable[[T], str]
    descending: bool = False

    async def read(self, state: State | None, length: int) -> Part[T]:
        """
        Up to `length` items after a position, None being the start; fewer than there are, now and then.

        :raises BadState: the position is not one of these.
        """
        place = _Place(0, "", ()) if state is None else _Place.of(state)
        number, size = window(place.index, length)
        page = await self.fetch(number + 1, size)
        end = (number + 1) * size
        if not place.given:  # at the beginning, or nothing but what the driver leaves out came before
            return self._part(place, page, page.items, end)
        last = self._last_given(page.items, place)
        return await self._found(place) if last is None else self._part(place, page, page.items[last + 1 :], end)

    async def _found(self, place: "_Place") -> Part[T]:
        """The items after a place that is no longer where it was."""
        number = (place.index - 1) // PAGE_SIZE
        later: tuple[PageLike[T], int] | None = None
        for _ in range(SCAN_PAGES):
            page = await self.fetch(number + 1, PAGE_SIZE)
            end = (number + 1) * PAGE_SIZE
            last = self._last_given(page.items, place)
            if last is not None:
                return self._part(place, page, page.items[last + 1 :], end)
            given = [self._is_given(item, place) for item in page.items]
            if given and all(given):
                if later is not None:
                    page, end = later
                    return self._part(place, page, page.items, end)
                if not page.more:
                    return self._part(place, page, (), end)
                number += 1
            elif not any(given) and number:
                later = page, end
                number -= 1
            else:
                fresh = [item for item, is_given in zip(page.items, given, strict=True) if not is_given]
                return self._part(place, page, fresh, end)
        moved = _Place(number * PAGE_SIZE + 1, place.rank, place.given)
        return Part((), more=True, after=lambda _count: moved.state())

    def _part(self, place: "_Place", page: PageLike[T], items: Sequence[T], end: int) -> Part[T]:
        """What of a page follows a place. :param end: the number of the page's last item, counted from 1."""

        def after(count: int) -> State:
            index = end - (len(items) - count)
            if not count:
                return _Place(index, place.rank, place.given).state()
            rank = self.rank(items[count - 1])
            alike = next((n for n, item in enumerate(reversed(items[:count])) if self.rank(item) != rank), count)
            kept = _MOST_OF_ONE_RANK if alike == count and place.rank == rank else max(alike, _REMEMBERED)
            recent = items[max(0, count - _MOST_OF_ONE_RANK) : count]
            given = (*place.given, *(_short(self.identity(item)) for item in recent))
            return _Place(index, rank, given[-min(kept, _MOST_OF_ONE_RANK) :]).state()

        return Part(items, page.more, after)

    def _last_given(self, items: Sequence[T], place: "_Place") -> int | None:
        given = set(place.given)
        found = [index for index, item in enumerate(items) if _short(self.identity(item)) in given]
        return found[-1] if found else None

    def _is_given(self, item: T, place: "_Place") -> bool:
        """By its rank; items of the last one's rank that were given are among those that the place names."""
        rank = self.rank(item)
        return rank != place.rank and (rank > place.rank) == self.descending


Source = Keyed[T] | Numbered[T]


@dataclass(frozen=True, slots=True)
class _Place:
    """
    After the item number `index` of the backend, counted from 1.

    :param rank: of the last item given. :param given: the last items given, and those of that rank, shortened.
    """

    index: int
    rank: str
    given: tuple[str, ...]

    @classmethod
    def of(cls, state: State) -> "_Place":
        match state:
            case ["row", int(index), str(rank), str(given)] if index > 0:
                starts = range(0, len(given), _SHORT_LENGTH)
                return cls(index, rank, tuple(given[start : start + _SHORT_LENGTH] for start in starts))
        raise BadState

    def state(self) -> State:
        return ["row", self.index, self.rank, "".join(self.given)]


def window(index: int, length: int) -> tuple[int, int]:
    """
    The page, counted from 0, and page size that hold the backend's item number `index`, counted from 1 (0: before the
    first), and the `length` that follow it; or as many of those as one page can.
    """
    if not index:
        return 0, length
    for size in range(length + 1, PAGE_SIZE + 1):
        if (index - 1) // size == (index + length - 1) // size:
            return (index - 1) // size, size
    size = max(range(PAGE_SIZE // 2, PAGE_SIZE + 1), key=lambda size: ((index - 1) // size + 1) * size)
    return (index - 1) // size, size


def _short(identity: str) -> str:
    """Enough to tell one item from some hundred others."""
    return base64.b64encode(hashlib.blake2b(identity.encode(), digest_size=_SHORT_LENGTH * 3 // 4).digest()).decode()
