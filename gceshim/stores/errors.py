"""
What a store may raise, and nothing else.

    StoreError
      Duplicate  Conflict  Unavailable (Overloaded)  Unsuitable  WrongSchema
"""

from __future__ import annotations


class StoreError(Exception):
    """The store could not do what it was asked. The text names no stored value."""


class Duplicate(StoreError):
    """A record with one of the new record's unique keys is there already."""


class Conflict(StoreError):
    """The record has changed, or is gone, since the version that the caller read."""


class Unavailable(StoreError):
    """The store cannot be reached or cannot write; whether a write took effect is not known."""


class Overloaded(Unavailable):
    """More calls wait than the store takes; this one was not begun."""


class Unsuitable(StoreError):
    """The server at the given place cannot keep what a store promises; the text says what to do."""


class WrongSchema(StoreError):
    """What is at the given place is no store of ours, or of another version than this code works with."""
