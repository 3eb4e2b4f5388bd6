"""Every test of the drivers ends with a look for secrets in all that was logged, at the most talkative level."""

from __future__ import annotations

import logging

import pytest

SECRETS = ("the-api-key-1234", "the-secret-key-5678", "signature=", "-secret-key", "-api-key", "of-mine")


@pytest.fixture(autouse=True)
def nothing_secret(caplog):
    """Fails the test if a key or a signature is in any record, whoever logged it."""
    caplog.set_level(logging.DEBUG, logger="gceshim")
    caplog.set_level(logging.DEBUG, logger="urllib3")
    caplog.set_level(logging.DEBUG, logger="libcloud")
    yield
    for record in caplog.records:
        assert not any(secret in record.getMessage() for secret in SECRETS), record
