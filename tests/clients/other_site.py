"""Other people's web servers: the program that waits for its code, and the attacker's site."""

from __future__ import annotations

import contextlib
import http.server
import queue
import socket
import threading
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qs, urlsplit


class Site:
    """
    A web server that keeps the queries that come, and answers with the pages that it was given.

    :param host: as a browser writes it: `localhost`, `127.0.0.1` or `[::1]`.
    """

    def __init__(self, host: str, port: int, pages: dict[str, str]) -> None:
        self.url = f"http://{host}:{port}"
        self.pages = pages
        self._queries: queue.Queue[Mapping[str, str]] = queue.Queue()

    def came(self, query: str) -> None:
        """Keep what came to a path without a page."""
        self._queries.put({name: values[0] for name, values in parse_qs(query).items()})

    def answer(self, seconds: float = 30.0) -> Mapping[str, str]:
        """The parameters of the next query; it has to come within the time."""
        return self._queries.get(timeout=seconds)

    @property
    def silent(self) -> bool:
        """Whether nothing came that was not asked for."""
        return self._queries.empty()


@contextlib.contextmanager
def site(host: str = "localhost", **pages: str) -> Iterator[Site]:
    """
    A site for the length of the block, on a port of its own.

    :param pages: HTML by name of the path.
    :raises OSError: this machine has no such address.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            page = running.pages.get(parts.path.strip("/"))
            if page is None and parts.query:
                running.came(parts.query)
            body = (page or "<!doctype html><title>Got it</title><h1>Got it</h1>").encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name of the base class
            """Nothing."""

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    with Server(("::1" if ":" in host else "127.0.0.1", 0), Handler) as server:
        running = Site(host, server.server_address[1], dict(pages))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()
