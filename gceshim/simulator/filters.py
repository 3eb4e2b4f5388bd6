"""The filters that list commands share.

Source: QueryManagerImpl, *JoinDaoImpl.
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from gceshim.simulator import errors, scopes
from gceshim.simulator.call import Call
from gceshim.simulator.entities import Record

R = TypeVar("R", bound=Record)


class Rows(Generic[R]):
    """Records of one kind, narrowed step by step by the parameters of a list call.

    Each step looks at one parameter and does nothing where that is absent. ``found`` is what is left.
    """

    def __init__(self, call: Call, rows: Iterable[R]) -> None:
        self._call = call
        self._args = call.args
        self.found: list[R] = list(rows)

    def where(self, test: Callable[[R], object]) -> "Rows[R]":
        """Keep the records that pass a test."""
        self.found = [row for row in self.found if test(row)]
        return self

    def ids(self, kind: type[R]) -> "Rows[R]":
        """``id`` and ``ids``, not both; removed records match nothing.

        :raises ApiError: 431 for both.
        """
        if self._args.has("id") and self._args.has("ids"):
            raise errors.invalid("Specify either id or ids but not both parameters")
        if self._args.has("id"):
            wanted = self._args.one("id", kind)
            return self.where(lambda row: row is wanted)
        if self._args.has("ids"):
            several = set(map(id, self._args.many("ids", kind)))
            return self.where(lambda row: id(row) in several)
        return self

    def owned(self) -> "Rows[R]":
        """Those within the scope of the call: account, listall, domainid, projectid.

        :raises ApiError: 431 or 531.
        """
        kept = set(map(id, scopes.visible(self._call, self.found)))
        return self.where(lambda row: id(row) in kept)

    def same(self, parameter: str, get: Callable[[R], object]) -> "Rows[R]":
        """Equality with a text parameter (in any case) or with the record that a parameter names."""
        if not self._args.has(parameter):
            return self
        record = self._args.one(parameter, Record)
        if record is not None:
            return self.where(lambda row: get(row) is record)
        wanted = (self._args.text(parameter) or "").casefold()
        return self.where(lambda row: str(get(row) or "").casefold() == wanted)

    def flag(self, parameter: str, get: Callable[[R], bool]) -> "Rows[R]":
        """Equality with a boolean parameter."""
        if not self._args.has(parameter):
            return self
        wanted = bool(self._args.flag(parameter))
        return self.where(lambda row: bool(get(row)) is wanted)

    def number(self, parameter: str, get: Callable[[R], int | None]) -> "Rows[R]":
        """Equality with a number."""
        if not self._args.has(parameter):
            return self
        wanted = self._args.number(parameter)
        return self.where(lambda row: get(row) == wanted)

    def like(self, parameter: str, *gets: Callable[[R], str | None]) -> "Rows[R]":
        """The parameter's text occurs, in any case, in one of the texts of the record."""
        if not self._args.has(parameter):
            return self
        wanted = (self._args.text(parameter) or "").casefold()
        return self.where(lambda row: any(wanted in (get(row) or "").casefold() for get in gets))

    def tags(self) -> "Rows[R]":
        """``tags[i].key/.value``: any pair matches; a pair without value matches by key."""
        pairs = [(item.get("key"), item.get("value")) for item in self._args.maps("tags")]
        if not pairs:
            return self
        state = self._call.state
        return self.where(
            lambda row: any(
                tag.key == key and (value is None or tag.value == value)
                for tag in state.tags_of(row.uuid)
                for key, value in pairs
            )
        )
