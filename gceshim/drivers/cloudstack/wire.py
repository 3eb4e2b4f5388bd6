"""POSTs to CloudStack over a keep-alive connection, with bounds: size of the reply, and time for all of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.structures import CaseInsensitiveDict

from gceshim.drivers.cloudstack.settings import Settings

_CHUNK_BYTES: Final = 65_536
_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "Content-Type": "application/x-www-form-urlencoded",
}


class TooLarge(Exception):
    """The reply is larger than we take."""


class Address(NamedTuple):
    """Where the API is. `host` has brackets where it is an IPv6 address."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        port = "" if self.port == (443 if self.secure else 80) else f":{self.port}"
        return f"{'https' if self.secure else 'http'}://{self.host}{port}"


def address(url: str) -> Address:
    """The parts of the URL of the API."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname)
    return Address(secure, host, parts.port or (443 if secure else 80), parts.path)


class Wire:
    """One connection. `verify`: as requests takes it, a file of authorities or whether to look at all."""

    def __init__(self, settings: Settings, verify: str | bool) -> None:
        """Nothing is opened yet."""
        self._settings = settings
        self._verify = verify
        self._origin = address(settings.url).origin
        # Straight to the adapter: what a session merges into each request (cookies, environment, redirects) is not
        # wanted here, and takes as long as all else together.
        self._adapter = requests.adapters.HTTPAdapter()

    def post(self, path: str, form: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        """Send the form, and read the reply within the bounds: TooLarge, TimeoutError, or what requests raises."""
        limit_seconds = self._settings.timeout_seconds
        deadline = time.monotonic() + limit_seconds
        prepared = requests.PreparedRequest()
        prepared.prepare_method("POST")
        prepared.url = f"{self._origin}{path}"
        prepared.headers = CaseInsensitiveDict({**(headers or {}), **_HEADERS})
        prepared.prepare_body(form, None)
        response = self._adapter.send(prepared, stream=True, verify=self._verify, timeout=limit_seconds, proxies={})
        chunks = []
        size_bytes = 0
        try:
            # `iter_content` would wait for whole chunks, and so for ever where bytes come one by one.
            while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
                chunks.append(chunk)
                size_bytes += len(chunk)
                if size_bytes > self._settings.reply_limit_bytes:
                    raise TooLarge
                if time.monotonic() > deadline:
                    raise TimeoutError
        except BaseException:
            response.close()
            raise
        response._content = b"".join(chunks)
        response.encoding = "utf-8"  # else requests guesses, slowly
        return response

    def close(self) -> None:
        """Close the connection."""
        self._adapter.close()
