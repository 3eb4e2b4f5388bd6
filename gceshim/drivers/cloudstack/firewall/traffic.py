"""
What a set of rules comes to, in a form without precedence: the traffic that one action decides, as boxes.

CloudStack's address rules, egress rules and security groups have one action each and no order. GCE's rules have two
actions, and the first that matches decides. So of each rule of the action that CloudStack has, what rules of the
other action decide before it is cut out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

from gceshim.drivers.cloudstack.firewall.statements import ALL, LAST_PORT, Box, Inexpressible, Statement

#: More rules than this for one address or group are not made.
MOST_BOXES: Final = 200


@dataclass(frozen=True, slots=True)
class Decided:
    """A statement, and what of it holds against those before it that are about every machine."""

    statement: Statement
    boxes: tuple[Box, ...]


def minus(boxes: Iterable[Box], cuts: Iterable[Box]) -> list[Box]:
    """
    The boxes less the cuts.

    :raises Inexpressible: all protocols, but for some of one protocol, are left.
    """
    left = list(boxes)
    for cut in cuts:
        left = [piece for box in left for piece in _cut(box, cut)]
    return left


def _cut(box: Box, cut: Box) -> Iterator[Box]:
    if not box.meets(cut):
        yield box
        return
    if cut.protocol not in (box.protocol, ALL):
        raise Inexpressible(f"all protocols but for {cut.protocol} cannot be said in CloudStack's rules")
    if box.cidr.subnet_of(cut.cidr):
        common = box.cidr
    else:
        common = cut.cidr
        for rest in _without(box.cidr, cut.cidr):
            yield Box(box.protocol, box.low, box.high, rest)
    if box.low < cut.low:
        yield Box(box.protocol, box.low, cut.low - 1, common)
    if cut.high < box.high:
        yield Box(box.protocol, cut.high + 1, box.high, common)


def _without(whole: IPv4Network, part: IPv4Network) -> Sequence[IPv4Network]:
    return sorted(whole.address_exclude(part))


def decided(order: Sequence[Statement], *, allow: bool) -> list[Decided]:
    """
    What each statement of one action decides against those of the other that come before it and have no targets.

    :param order: statements of one direction, the deciding one first.
    :raises Inexpressible: naming both rules.
    """
    found: list[Decided] = []
    cuts: list[tuple[Statement, list[Box]]] = []
    for item in order:
        if item.allow is allow:
            boxes = list(item.boxes())
            for cutter, cut in cuts:
                boxes = less(boxes, item, cut, cutter)
            if len(boxes) > MOST_BOXES:
                raise Inexpressible(f"rule {item.name!r} would need more than {MOST_BOXES} rules of CloudStack's")
            found.append(Decided(item, tuple(boxes)))
        elif not item.targets:
            cuts.append((item, list(unshadowed(item, found))))
    return found


def unshadowed(item: Statement, before: Iterable[Decided]) -> Iterator[Box]:
    """What of a statement is not decided already, for every machine, by these of the other action."""
    shadow = [box for other in before if not other.statement.targets for box in other.boxes]
    for box in item.boxes():
        try:
            yield from minus([box], shadow)
        except Inexpressible:
            yield box  # some of it is decided already; that it is said again changes nothing


def clashes(
    order: Sequence[Statement], found: Sequence[Decided], *, allow: bool
) -> Iterator[tuple[Statement, Decided]]:
    """Each statement of the other action that has targets, with each decided one after it that it would cut."""
    places = _places(order)
    for place, item, cuts in _cutters(order, found, allow=allow):
        for other in found:
            if places[other.statement] > place and any(cut.meets(box) for cut in cuts for box in other.boxes):
                yield item, other


def for_machine(order: Sequence[Statement], found: Sequence[Decided], tags: Iterable[str], *, allow: bool) -> list[Box]:
    """What is decided for a machine with these network tags. :raises Inexpressible: naming both rules."""
    known = set(tags)
    places = _places(order)
    cutters = [cutter for cutter in _cutters(order, found, allow=allow) if cutter[1].applies(known)]
    boxes: list[Box] = []
    for item in found:
        if item.statement.applies(known):
            left = list(item.boxes)
            for place, cutter, cuts in cutters:
                if place < places[item.statement]:
                    left = less(left, item.statement, cuts, cutter)
            boxes += left
    return absorbed(boxes)


def less(boxes: Iterable[Box], item: Statement, cuts: Iterable[Box], cutter: Statement) -> list[Box]:
    """The boxes of one statement less those of another. :raises Inexpressible: naming both rules."""
    try:
        return minus(boxes, cuts)
    except Inexpressible as exc:
        raise Inexpressible(f"rule {cutter.name!r} cannot be cut out of {item.name!r}: {exc}") from exc


def _places(order: Sequence[Statement]) -> dict[Statement, int]:
    return {item: place for place, item in enumerate(order)}


def _cutters(
    order: Sequence[Statement], found: Sequence[Decided], *, allow: bool
) -> Iterator[tuple[int, Statement, list[Box]]]:
    """The statements of the other action that have targets: place, statement, and what they decide."""
    places = _places(order)
    for place, item in enumerate(order):
        if item.allow is not allow and item.targets:
            before = [other for other in found if places[other.statement] < place]
            yield place, item, list(unshadowed(item, before))


def absorbed(boxes: Iterable[Box]) -> list[Box]:
    """The boxes without those that lie in another."""
    left: list[Box] = []
    for box in dict.fromkeys(boxes):
        if any(other.covers(box) for other in left):
            continue
        left = [other for other in left if not box.covers(other)]
        left.append(box)
    return left


def is_everything(boxes: Iterable[Box]) -> bool:
    """Whether one of them is all traffic."""
    return any(box.protocol == ALL and box.cidr.prefixlen == 0 and box.high == LAST_PORT for box in boxes)
