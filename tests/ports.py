"""Ports for servers that are processes of their own."""

from __future__ import annotations

import socket


def kept_port() -> socket.socket:
    """
    A socket that keeps a free port of 127.0.0.1 until it is closed, for a server that is started on it, maybe again.

    Nobody else is given the port, also while the server is down; it itself gets it by the number, as Linux allows where
    both sockets have SO_REUSEADDR and none listens yet.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    return kept


def port_of(kept: socket.socket) -> int:
    """The port that it keeps."""
    port: int = kept.getsockname()[1]
    return port


def free_port() -> int:
    """A port of 127.0.0.1 at which nobody listens now."""
    with kept_port() as kept:
        return port_of(kept)


def listens(port: int) -> bool:
    """Whether somebody listens at it."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
