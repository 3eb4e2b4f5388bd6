"""The settings of each section: one frozen dataclass each, whose fields are the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gceshim.rows import Section, row


@dataclass(frozen=True, repr=False)
class ServerSection(Section):
    address: str = row("127.0.0.1", "Address to listen on; `0.0.0.0` or `::` for all.")
    port: int = row(8787, "TCP port to listen on; 0 takes a free one.", minimum=0, maximum=65535)
    public_url: str = row(
        "",
        "URL under which clients reach the server, as `https://gce.example.org`; all links are built from it. "
        "Empty: links are built from the Host header of each request.",
    )
    trust_proxy: bool = row(
        False,
        "Believe `X-Forwarded-Proto`, `X-Forwarded-Host`, the last address of `X-Forwarded-For`, and `X-Request-Id`. "
        "Only behind a proxy that sets them itself.",
    )
    max_body_bytes: int = row(
        1024 * 1024,
        "Longest request body accepted, in bytes; a longer one is answered 413.",
        minimum=1024,
        maximum=1024**3,
    )
    request_timeout_seconds: float = row(
        180.0,
        "Longest time for one request; then it is answered 504. Longer than the 120 seconds that clients may wait "
        "for an operation.",
        minimum=121,
        maximum=3600,
    )
    tls_certificate: str = row("", "PEM file with the certificate chain; empty: plain HTTP.", path=True)
    tls_key: str = row("", "PEM file with the private key of the certificate.", path=True)
    workers: int = row(
        1,
        "How many processes serve. Each has its own connections to the store and to the backend, and the settings "
        "under `limits` hold for each.",
        minimum=1,
        maximum=256,
    )
    metrics_port: int = row(
        0,
        "TCP port for `/metrics`, beside `/healthz` and `/readyz`, which are on the main port too; 0: none. With "
        "several workers the first has this port, and each further one the next.",
        minimum=0,
        maximum=65535,
    )
    metrics_address: str = row(
        "127.0.0.1", "Address for that port. What it tells is for operators: not for an address that all can reach."
    )
    drain_seconds: float = row(
        0.0,
        "How long a server that is told to stop goes on as before, with `/readyz` at 503, for load balancers to "
        "notice.",
        minimum=0,
        maximum=600,
    )
    shutdown_seconds: float = row(
        10.0, "Longest wait, when the server stops, for requests that are being answered.", minimum=0, maximum=600
    )


@dataclass(frozen=True, repr=False)
class LimitsSection(Section):
    requests_per_second: float = row(
        200.0,
        "Requests of one caller per second, in the long run; more are held back for a while and then answered 429. "
        "Each part of a batch is one. 0: no limit.",
        minimum=0,
        maximum=1_000_000,
    )
    burst: int = row(2000, "Requests that a caller may make at once after a rest.", minimum=1, maximum=1_000_000)
    concurrent_requests: int = row(
        200, "Requests of one caller that are answered at a time.", minimum=1, maximum=1_000_000
    )
    concurrent_waits: int = row(
        2000,
        "Requests of one caller that wait for operations at a time; they count apart, as they cost nothing.",
        minimum=1,
        maximum=1_000_000,
    )
    patience_seconds: float = row(
        5.0,
        "How long a request over these limits is held back before it is answered 429. Most commands of gcloud do not "
        "try again after that.",
        minimum=0,
        maximum=60,
    )
    strangers_per_second: float = row(
        50.0,
        "Requests without valid credentials per second from one address (one /64 of IPv6); more are answered 429. 0: "
        "no limit.",
        minimum=0,
        maximum=1_000_000,
    )
    strangers_burst: int = row(500, "Such requests at once after a rest.", minimum=1, maximum=1_000_000)
    connections: int = row(
        4000,
        "Open connections. At the limit the one that is idle for longest is closed for a new one.",
        minimum=1,
        maximum=1_000_000,
    )
    header_seconds: float = row(
        20.0, "Longest time for a new connection to send the headers of a request.", minimum=0.1, maximum=600
    )
    header_bytes: int = row(
        64 * 1024,
        "Longest request line and headers, in bytes; longer ones are answered 431.",
        minimum=8192,
        maximum=2**20,
    )
    body_seconds: float = row(
        60.0, "Longest time to send the body of a request; then it is answered 408.", minimum=0.1, maximum=3600
    )
    idle_seconds: float = row(75.0, "How long a connection is kept between two requests.", minimum=0.1, maximum=3600)
    answer_seconds: float = row(
        60.0,
        "How long a client may take to read an answer, for each 2 MiB of it; then the connection is closed.",
        minimum=0.1,
        maximum=3600,
    )
    unread_bytes: int = row(
        256 * 1024**2,
        "Answers that clients have not read yet, all together, in bytes; over that the oldest are given up.",
        minimum=1024**2,
        maximum=2**40,
    )


@dataclass(frozen=True, repr=False)
class StoreSection(Section):
    path: str = row(
        "",
        "File of the embedded store (tokens, encrypted credentials, operations). Empty: "
        "`$XDG_STATE_HOME/gceshim/gceshim.sqlite`, or `~/.local/state/gceshim/gceshim.sqlite`.",
        path=True,
    )
    mongodb_uri: str = row(
        "",
        "MongoDB to keep all of that in instead, as `mongodb://user:password@host/?replicaSet=rs0`; several servers "
        "can share it if they share the master key. Empty: the embedded store.",
        secret=True,
    )
    mongodb_database: str = row("gceshim", "Name of the database in that MongoDB.")
    mongodb_connections: int = row(50, "Most connections to one server of that MongoDB.", minimum=1, maximum=1000)
    mongodb_timeout_seconds: float = row(
        15.0,
        "Longest wait for that MongoDB to answer one call, in seconds; a fail-over that is shorter is not noticed.",
        minimum=1,
        maximum=120,
    )
    mongodb_standalone: bool = row(
        False,
        "Take a MongoDB that is a single server and no replica set. It may lose what it has acknowledged when it "
        "fails; for trying it out.",
    )


@dataclass(frozen=True, repr=False)
class AuthSection(Section):
    master_key: str = row(
        "",
        "Key that encrypts stored credentials and signs tokens: 32 random bytes in base64 (`openssl rand -base64 "
        "32`). Others that are accepted still, or already, follow as `, KEY old` or `, KEY next`. Empty: the key file "
        "is used.",
        secret=True,
    )
    master_key_file: str = row(
        "",
        "File with that key, and others one a line, readable by its owner alone; `gceshim store rotate-key` changes "
        "it. Empty: `master.key` beside the store, made at the first start.",
        path=True,
    )
    token_lifetime_seconds: int = row(
        3600, "How long a bearer token is good, in seconds.", minimum=60, maximum=365 * 24 * 3600
    )


@dataclass(frozen=True, repr=False)
class OauthSection(Section):
    require_pkce: bool = row(
        False,
        "Refuse programs that ask for a login without PKCE. gcloud sends it; gcutil and oauth2client do not know it.",
    )
    code_seconds: int = row(300, "How long an authorization code is good, in seconds.", minimum=60, maximum=600)
    refresh_token_days: int = row(
        90,
        "How long a login lasts, in days: after that the refresh token is no good any more. One that is exchanged for "
        "a new one at each use (gcutil's) starts anew each time.",
        minimum=1,
        maximum=3650,
    )
    sign_in_attempts_per_minute: int = row(
        10,
        "How often signing in on the consent page may fail within a minute from one address, and a program's secret "
        "key for an API key; a user or an API key may fail three times as often, from all addresses together. Counted "
        "by each server process for itself.",
        minimum=1,
        maximum=1000,
    )


@dataclass(frozen=True, repr=False)
class OperationsSection(Section):
    linger_seconds: float = row(
        0.0,
        "How long a mutation waits to be answered with a finished operation. For clients that cannot follow an "
        "operation at a custom endpoint (google-cloud-compute); 0 answers at once.",
        minimum=0,
        maximum=120,
    )
    poll_min_seconds: float = row(0.05, "Shortest pause between two looks at a backend job.", minimum=0.01, maximum=60)
    poll_max_seconds: float = row(
        2.0,
        "Longest pause between two looks at a backend job; the pause grows with its age.",
        minimum=0.01,
        maximum=600,
    )
    poll_few_jobs: int = row(
        4,
        "Up to so many pending jobs of a tenant are asked about one by one; more are found by one list of what is "
        "pending.",
        minimum=0,
        maximum=1000,
    )
    job_seconds: float = row(
        6 * 3600.0, "How long a backend job may be pending before its operation fails.", minimum=1, maximum=30 * 86400
    )
    unavailable_seconds: float = row(
        1800.0, "How long a backend that does not answer is tried before an operation fails.", minimum=1, maximum=86400
    )
    lease_seconds: float = row(
        20.0,
        "How long after its last sign of life a server loses its operations to another.",
        minimum=1,
        maximum=3600,
    )
    keep_days: float = row(14.0, "How long finished operations are kept, in days.", minimum=0.01, maximum=3650)


@dataclass(frozen=True, repr=False)
class DriverSection(Section):
    name: str = row("cloudstack", "Entry point of the namespace `gceshim.drivers` that reaches the backend.")
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """`[driver.<name>]` tables as read; each driver checks its own."""

    @property
    def own(self) -> Mapping[str, Any]:
        """The table of the chosen driver."""
        return self.tables.get(self.name, {})

    def _shown(self) -> Iterator[tuple[str, Any]]:
        yield "name", self.name
        yield "tables", {name: sorted(table) for name, table in self.tables.items()}


@dataclass(frozen=True, repr=False)
class LogSection(Section):
    level: str = row("info", "Least severity that is logged.", choices=("debug", "info", "warning", "error"))
    format: str = row("text", "`text` for people, `json` for one object a line.", choices=("text", "json"))
