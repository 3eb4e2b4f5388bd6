"""
Rules that may not overlap: what to make and what to remove so that just the wanted ports are covered.

What is covered already is not covered again, and nothing that stays wanted is removed unless a rule reaches too far.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gceshim.drivers.cloudstack.firewall.statements import Box

Interval = tuple[int, int]
#: Ranges of ports by protocol and range of addresses.
Pieces = dict[tuple[str, str], list[Interval]]
#: A rule that is there: id, protocol, first and last port, ranges of addresses.
Rule = tuple[str, str, int, int, Sequence[str]]
#: A rule to be made: protocol, ports, ranges of addresses.
New = tuple[str, Interval, list[str]]

#: So many ranges of addresses go into one rule at most.
_MOST_CIDRS = 12


@dataclass(frozen=True, slots=True)
class Fit:
    """What to do, in this order. `last` shares ports with what was dropped."""

    first: list[New]
    dropped: list[str]
    last: list[New]


def pieces_of(boxes: Iterable[Box]) -> Pieces:
    """The boxes by protocol and range of addresses."""
    found: Pieces = {}
    for box in boxes:
        found.setdefault((box.protocol, str(box.cidr)), []).append((box.low, box.high))
    return {key: joined(intervals) for key, intervals in found.items()}


def fitted(ours: Sequence[Rule], theirs: Sequence[Rule], wanted: Pieces) -> Fit:
    """
    How to come from the rules that are there to what is wanted.

    :param theirs: rules that stay, and whose ports need not be covered again.
    """
    kept: Pieces = {}
    gone: Pieces = {}
    dropped = []
    for rule_id, protocol, low, high, cidrs in ours:
        fits = all(
            any(first <= low and high <= last for first, last in joined(wanted.get((protocol, cidr), ())))
            for cidr in cidrs
        )
        if not fits:
            dropped.append(rule_id)
        for cidr in cidrs:
            (kept if fits else gone).setdefault((protocol, cidr), []).append((low, high))
    for _, protocol, low, high, cidrs in theirs:
        for cidr in cidrs:
            kept.setdefault((protocol, cidr), []).append((low, high))
    first: Pieces = {}
    last: Pieces = {}
    for key, intervals in wanted.items():
        missing = without(joined(intervals), kept.get(key, ()))
        first[key] = without(missing, gone.get(key, ()))
        last[key] = without(missing, first[key])
    return Fit(_grouped(first), dropped, _grouped(last))


def joined(intervals: Iterable[Interval]) -> list[Interval]:
    """The same ports in as few intervals as can be, in order."""
    found: list[Interval] = []
    for low, high in sorted(intervals):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def without(intervals: Iterable[Interval], cuts: Iterable[Interval]) -> list[Interval]:
    """The ports of the first that are in none of the second."""
    left = list(intervals)
    for low, high in cuts:
        left = [
            piece
            for first, last in left
            for piece in ((first, min(last, low - 1)), (max(first, high + 1), last))
            if piece[0] <= piece[1]
        ]
    return left


def _grouped(pieces: Pieces) -> list[New]:
    """One rule for all ranges of addresses with the same ports, up to a number."""
    found: dict[tuple[str, Interval], list[str]] = {}
    for (protocol, cidr), intervals in pieces.items():
        for interval in intervals:
            found.setdefault((protocol, interval), []).append(cidr)
    return [
        (protocol, interval, cidrs[start : start + _MOST_CIDRS])
        for (protocol, interval), cidrs in found.items()
        for start in range(0, len(cidrs), _MOST_CIDRS)
    ]
