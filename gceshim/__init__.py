"""
gceshim: a Google Compute Engine v1 API in front of Apache CloudStack.

For a program that embeds it:

    async with gceshim.Shim(gceshim.Settings.load("gceshim.toml")) as shim:
        tornado.web.Application([*gceshim.handlers(shim, "/gce"), (r"/mine", MyHandler)]).listen(8787)

`Shim` is one server, `handlers` mounts it in an application, `make_app` is an application of its own. The rest is what
these three are given: `Settings`, and an `Authenticator` of the host's, which answers with a `Caller` who has
`Credentials`, or raises `LoginRequired` or `InvalidCredentials`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gceshim.app import Shim, handlers, make_app
    from gceshim.model import Credentials
    from gceshim.protocol.call import Authenticator, Caller
    from gceshim.protocol.errors import InvalidCredentials, LoginRequired
    from gceshim.settings import Settings

__version__ = "0.1.0"
__all__ = [
    "Authenticator",
    "Caller",
    "Credentials",
    "InvalidCredentials",
    "LoginRequired",
    "Settings",
    "Shim",
    "__version__",
    "handlers",
    "make_app",
]

_HOMES: Final = {
    "Authenticator": "gceshim.protocol.call",
    "Caller": "gceshim.protocol.call",
    "Credentials": "gceshim.model",
    "InvalidCredentials": "gceshim.protocol.errors",
    "LoginRequired": "gceshim.protocol.errors",
    "Settings": "gceshim.settings",
    "Shim": "gceshim.app",
    "handlers": "gceshim.app",
    "make_app": "gceshim.app",
}


def __getattr__(name: str) -> Any:
    # Imported when asked for: whoever imports any module of the package passes through here, the simulator and the
    # quick commands too, and these do without the server.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
