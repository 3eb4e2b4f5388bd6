"""Log records as lines for people or as JSON, with request ids and without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from gceshim.settings import LogSection
from gceshim.trace import current

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_SECRETS: Final = re.compile(
    r"""(?ix)
    (?P<name> (?:api_?key|secret_?key|signature|access_token|refresh_token|token|password|client_secret|assertion)
              ["']? \s* [=:] \s* ["']?
            | bearer \s+ )
    [^\s&"',;}]+
    """
)


# Line ends of all kinds, and what terminals obey.
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def masked(text: str) -> str:
    """The text with the values of what looks like a key, a signature, a token or a password taken out."""
    return _SECRETS.sub(r"\g<name>***", text)


class TextFormatter(logging.Formatter):
    """
    `2026-01-31T12:00:00.000Z INFO gceshim.protocol: message [request-id]`, one line; of a trace more, indented.

    Nothing that callers or CloudStack say can look like another record.
    """

    def format(self, record: logging.LogRecord) -> str:
        request_id = getattr(record, "request_id", "")
        message = record.getMessage().translate(_CONTROLS)
        known = f" [{request_id}]" if request_id and request_id not in message else ""
        line = f"{_time(record)} {record.levelname} {record.name}: {message}{known}"
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            line += "".join(f"\n    {part.translate(_CONTROLS)}" for part in trace)
        return masked(line)


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, and what the record carries beside (`request_id`, ...)."""

    def format(self, record: logging.LogRecord) -> str:
        shown: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": masked(record.getMessage()),
        }
        for name, value in vars(record).items():
            if name not in _OWN:
                shown[name] = masked(value) if isinstance(value, str) else value
        if record.exc_info:
            shown["exception"] = masked(self.formatException(record.exc_info))
        return json.dumps(shown, default=str, ensure_ascii=False)


class TraceFilter(logging.Filter):
    """Lets everything pass, with the id of the request in whose course it was said, and the number of the process."""

    def filter(self, record: logging.LogRecord) -> bool:
        trace = current()
        if trace is not None and trace.request_id and not hasattr(record, "request_id"):
            record.request_id = trace.request_id
        record.pid = record.process
        return True


class StrangersFilter(logging.Filter):
    """Leaves out what Tornado warns of for each client that speaks no TLS, or not ours: it would fill the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name != "tornado.general" or not str(record.msg).startswith("SSL Error on")


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def set_up(settings: LogSection, stream: TextIO | None = None) -> None:
    """
    Send log records of this process to `stream` (standard error).

    Our own at the level of the settings; those of libraries at WARNING or above, as some log whole URLs, signed ones
    too, below that.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(StrangersFilter())
    handler.addFilter(TraceFilter())
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("gceshim").setLevel(settings.level.upper())
