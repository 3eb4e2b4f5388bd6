"""CloudStack's error codes, and the driver errors that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gceshim.drivers import errors

MESSAGE_LIMIT: Final = 2000

#: `errorcode` of a reply, or `jobresultcode` of a failed job. Source: CloudStack `ApiErrorCode`.
BY_CODE: Final[Mapping[int, type[errors.DriverError]]] = {
    400: errors.Invalid,
    401: errors.Unauthenticated,
    405: errors.Unsupported,  # the server wants what our transport does not send
    411: errors.Unauthenticated,  # two-factor authentication is pending
    429: errors.Throttled,
    430: errors.Invalid,
    431: errors.Invalid,
    432: errors.Forbidden,  # the role may not use the command, or the server has no such command
    530: errors.Failed,
    531: errors.Forbidden,
    532: errors.QuotaExceeded,
    533: errors.CapacityExhausted,
    534: errors.CapacityExhausted,  # a host, pool or router is down: another zone, or a later time, may do
    535: errors.QuotaExceeded,
    536: errors.InUse,
    537: errors.InUse,
}


def kind_of(code: int) -> type[errors.DriverError]:
    """The error class of a CloudStack error code; total."""
    if code in BY_CODE:
        return BY_CODE[code]
    return errors.Invalid if 400 <= code < 500 else errors.Failed


def failure(code: int, text: str, *, command: str, cause_code: int | None = None) -> errors.DriverError:
    """The error for a code and CloudStack's own text. `cause_code`: `cserrorcode`, which goes to the log."""
    detail = f"{command}: errorcode {code}" + (f", cserrorcode {cause_code}" if cause_code is not None else "")
    return kind_of(code)(text.strip()[:MESSAGE_LIMIT] or f"CloudStack error {code}", detail=detail)
