"""The names that an embedder's program is written against."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gceshim
from gceshim.app import Shim, handlers, make_app
from gceshim.model import Credentials
from gceshim.protocol.call import Authenticator, Caller
from gceshim.protocol.errors import InvalidCredentials, LoginRequired
from gceshim.settings import Settings

PUBLIC = {
    "Authenticator": Authenticator,
    "Caller": Caller,
    "Credentials": Credentials,
    "InvalidCredentials": InvalidCredentials,
    "LoginRequired": LoginRequired,
    "Settings": Settings,
    "Shim": Shim,
    "__version__": gceshim.__version__,
    "handlers": handlers,
    "make_app": make_app,
}


def test_the_public_names_are_these() -> None:
    """What an embedder's program is written against: a name that goes breaks it, one more is for ever."""
    assert sorted(gceshim.__all__) == sorted(PUBLIC)
    assert {name: getattr(gceshim, name) for name in gceshim.__all__} == PUBLIC
    with pytest.raises(AttributeError, match="module 'gceshim' has no attribute 'nosuch'"):
        gceshim.nosuch  # noqa: B018


def test_importing_the_package_loads_nothing_else() -> None:
    """It is passed through on the way to any of its modules."""
    program = "import gceshim, sys; print(*(name for name in sys.modules if name.startswith(('gceshim', 'tornado'))))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["gceshim"]
