"""What counts as a secret in the output of the suite."""

from __future__ import annotations

import pytest

from tests.leaks import leaked

SIGNATURE = "c2lnbmF0dXJlLW9mLWEtdG9rZW4"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"GET /?access_token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0abc.{SIGNATURE}", True),
        ("-----BEGIN RSA PRIVATE KEY-----", True),
        ("secretkey=demo-secret-key&x", True),
        ("give --secret-key-file, --secret-key-stdin or $GCESHIM_SECRET_KEY", False),
        ("demo-api-key", False),
        ("eyJhbGciOiJIUzI1NiJ9", False),
    ],
)
def test_secrets_are_known_by_their_form(text: str, secret: bool) -> None:
    """Words of the command line and public names are none; what is found is not shown once more."""
    found = leaked(text)
    assert bool(found) is secret
    assert not any(SIGNATURE in place or "PRIVATE" in place for place in found)
