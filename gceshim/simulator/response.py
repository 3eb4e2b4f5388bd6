"""The envelope of replies, in JSON or XML.

Source: ApiResponseSerializer, ExceptionResponse.
"""

import json
from typing import Any
from xml.sax.saxutils import escape

from gceshim.simulator.errors import HIDDEN_CODES, HIDDEN_TEXT, ApiError
from gceshim.simulator.registry import Row


def error_row(exc: ApiError, *, show_all: bool) -> Row:
    """The content of an error reply. Callers other than root admins do not see what is behind 533 and 534."""
    text = HIDDEN_TEXT if exc.code in HIDDEN_CODES and not show_all else exc.text
    row: Row = {"uuidList": [], "errorcode": exc.code}
    if exc.cs_code is not None:
        row["cserrorcode"] = exc.cs_code
    return {**row, "errortext": text}


def encode(name: str, content: Row, response_format: str) -> tuple[str, bytes]:
    """Content type and body of a reply with ``content`` under ``name``."""
    if response_format.lower() == "json":
        text = json.dumps({name: content}, separators=(",", ":"), ensure_ascii=False)
        return "application/json; charset=UTF-8", text.encode()
    body = f'<?xml version="1.0" encoding="UTF-8"?>{_element(name, content)}'
    return "text/xml; charset=UTF-8", body.encode()


def _element(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"<{name}>{''.join(_element(key, item) for key, item in value.items())}</{name}>"
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{name}>{escape(text)}</{name}>"
