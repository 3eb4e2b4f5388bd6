"""A server with a simulated cloud in a thread of this process, for clients that are not asyncio's."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from gceshim.resources.base import document
from gceshim.testing.world import World

T = TypeVar("T")
DEADLINE_SECONDS = 180.0


class Background:
    """
    A world, and the loop that it lives in.

    :param world: running.
    """

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop) -> None:
        self.world = world
        self._loop = loop

    @property
    def url(self) -> str:
        """The server's, by plain HTTP."""
        return self.world.url

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the world's loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_SECONDS)

    @contextlib.contextmanager
    def over_tls(self, folder: Path) -> Iterator[tuple[str, Path]]:
        """The same server by TLS too: its URL, and the file with the certificate that vouches for it."""
        certificate, key = certificate_for_localhost(folder)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)

        async def start() -> tuple[HTTPServer, int]:
            socket, port = bind_unused_port()
            server = HTTPServer(self.world.shim.application(), ssl_options=context)
            server.add_sockets([socket])
            return server, port

        async def stop() -> None:
            server.stop()
            await server.close_all_connections()

        server, port = self.run(start())
        try:
            yield f"https://localhost:{port}", certificate
        finally:
            self.run(stop())


@contextlib.contextmanager
def in_background(folder: Path, settings: Mapping[str, Any] | None = None) -> Iterator[Background]:
    """
    A world in a thread.

    :param folder: for its store and key. :param settings: that differ from the defaults, by key.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="background world", daemon=True)
    thread.start()
    world = World(folder, document(), overrides=settings)
    background = Background(world, loop)
    try:
        background.run(world.__aenter__())
        try:
            yield background
        finally:
            background.run(world.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE_SECONDS)
        loop.close()


def certificate_for_localhost(folder: Path) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "localhost.pem", folder / "localhost.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
