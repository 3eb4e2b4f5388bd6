"""What CloudStack says when it refuses, as driver errors; and what may be told of a connection that failed."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.failures import failure

_DETAIL_LIMIT: Final = 200
#: As it stands in the form that was sent. Who has it can send the same once more.
_SIGNATURE: Final = re.compile(r"signature=[\w%+/=.-]*", re.IGNORECASE)


class Refused(Exception):
    """CloudStack answered with an error status."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body


def refusal(command: str, refused: Refused, secrets: tuple[str, ...]) -> errors.DriverError:
    """The driver error for a reply with an error status."""
    row: Any = None
    try:
        body = json.loads(refused.body)
        row = next(iter(body.values()))
        code = int(row.get("errorcode", refused.status))
    except (ValueError, AttributeError, StopIteration, TypeError, RecursionError):
        detail = f"{command}: HTTP {refused.status}"
        if command != "login":  # a page that shows what was sent may hold a password in any spelling
            detail += f": {_clean(refused.body, secrets)[:_DETAIL_LIMIT]!r}"
        if refused.status == 401:
            return errors.Unauthenticated("CloudStack does not accept the credentials", detail=detail)
        if refused.status == 429:
            return errors.Throttled("CloudStack is asked too often", detail=detail)
        return errors.Unavailable("CloudStack gave an answer that is not understood", detail=detail)
    cause_code = row.get("cserrorcode")
    text = _clean(str(row.get("errortext") or ""), secrets)
    return failure(code, text, command=command, cause_code=cause_code if isinstance(cause_code, int) else None)


def _clean(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return _SIGNATURE.sub("***", text)


def reason(exc: BaseException) -> str:
    """The innermost cause by class and system error, never by its text, which may hold a request."""
    seen: BaseException | None = exc
    kind, number = type(exc).__name__, None
    for _ in range(10):
        if seen is None:
            break
        kind = type(seen).__name__
        number = seen.errno if isinstance(seen, OSError) and seen.errno else number
        inner = getattr(seen, "reason", None) or (seen.args[0] if seen.args else None)
        seen = inner if isinstance(inner, BaseException) else seen.__cause__ or seen.__context__
    return f"{kind} (errno {number})" if number else kind
