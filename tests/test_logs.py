"""What stands in the log of a server: whole records, and nothing that strangers can fill it with."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging

import pytest

from gceshim.commands.logs import JsonFormatter, TextFormatter
from tests.command_line import gceshim, running, settings_file

FORGED = "2026-01-31T12:00:00.000Z INFO gceshim.protocol: request forged"


def lines(formatter: logging.Formatter, message: str, error: Exception | None = None) -> list[str]:
    """What is written for one record whose message holds what somebody else chose."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    values = {"name": "gceshim.test", "levelno": logging.INFO, "levelname": "INFO", "msg": "%s", "args": (message,)}
    handler.handle(logging.makeLogRecord({**values, "exc_info": (type(error), error, None) if error else None}))
    return stream.getvalue().removesuffix("\n").split("\n")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\v", "\f", "\x1b[2K", "\x85", "\u2028"])
def test_a_record_is_one_line_whatever_is_in_it(end: str) -> None:
    """Error texts of CloudStack may hold what callers sent; nobody writes records of their own with that."""
    for formatter in (TextFormatter(), JsonFormatter()):
        [line] = lines(formatter, f"operation failed: {end}{FORGED}")
        assert "request forged" in line
        assert formatter.__class__ is JsonFormatter or line.splitlines() == [line]
        assert "\x1b" not in line


def test_a_trace_is_told_apart_from_records() -> None:
    """Its lines are indented, those of the error's own text too."""
    first, *rest = lines(TextFormatter(), "unexpected error", ValueError(f"no\n{FORGED}"))
    assert first.endswith("gceshim.test: unexpected error")
    assert any("request forged" in line for line in rest)
    assert all(line.startswith("    ") for line in rest)
    [line] = lines(JsonFormatter(), "unexpected error", ValueError(f"no\n{FORGED}"))
    assert "request forged" in json.loads(line)["exception"]


def test_one_who_speaks_no_tls_leaves_nothing_in_the_log(tmp_path) -> None:
    """Each connection would be a warning: whoever wants could fill the disk with them."""
    config = settings_file(tmp_path, {"endpoint": "http://127.0.0.1:9/client/api"}, "[log]\nformat = 'json'")
    assert gceshim(tmp_path, "cert", "--dir", str(tmp_path / "tls")).returncode == 0
    words = ["--tls-certificate", str(tmp_path / "tls/server.pem"), "--tls-key", str(tmp_path / "tls/server-key.pem")]

    async def strange(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    with running(tmp_path, "serve", "--config", str(config), *words) as process:
        port = int(process.wait_for(r"gceshim \S+: https://127\.0\.0\.1:(\d+)")[1])
        for _ in range(3):
            asyncio.run(asyncio.wait_for(strange(port), 30))
        assert process.stop() == 0
    assert {json.loads(line)["level"] for line in process.errors} == {"info"}
