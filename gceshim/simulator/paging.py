"""Pages of list commands.

Source: BaseListCmd.
"""

from collections.abc import Sequence
from typing import Any

from gceshim.simulator import errors

MAX_PAGE = 500


def page_bounds(page: int | None, page_size: int | None) -> tuple[int, int | None]:
    """First index and length (None: no end) of the rows to show.

    :raises ApiError: 431 where the two parameters do not go together.
    """
    if page_size == -1:
        if page is not None:
            raise errors.invalid("Can't specify page parameter when pagesize is -1 (Unlimited)")
        return 0, None
    if page is None and page_size is None:
        return 0, MAX_PAGE
    if page_size is None:
        raise errors.bad_parameter('"pagesize" parameter is required when "page" is specified')
    if page_size > MAX_PAGE:
        raise errors.bad_parameter(f"Page size can't exceed max allowed page size value: {MAX_PAGE}")
    if page is None:
        raise errors.bad_parameter('"page" parameter is required when "pagesize" is specified')
    return max(0, page - 1) * max(0, page_size), max(0, page_size)


def cut(rows: Sequence[Any], bounds: tuple[int, int | None]) -> Sequence[Any]:
    """The rows within the bounds."""
    start, length = bounds
    return rows[start:] if length is None else rows[start : start + length]
