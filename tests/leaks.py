"""
Secrets that must not be in any output: looked for in what each test writes and logs, and in what each server and
command that a test starts writes to standard error.
"""

from __future__ import annotations

import re
from typing import Final

SECRETS: Final = re.compile(
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{20,}"  # a JWT with its signature
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|(?<![\w-])[a-z]+(?:-[a-z]+)*-secret-key(?![\w-])"  # of the simulated cloud's accounts
    r"|IN-CLEAR"  # in all secrets that tests make up to look for them
)
_AROUND: Final = 60


def leaked(text: str) -> list[str]:
    """Where in a text a secret begins, each with the end of what stands before it; the secrets are not repeated."""
    return [f"{text[max(0, match.start() - _AROUND) : match.start()]}<a secret>" for match in SECRETS.finditer(text)]


def check_silence(text: str) -> None:
    """:raises AssertionError: there is a secret in what a program wrote."""
    found = leaked(text)
    assert not found, f"secrets in the output: {found}"
