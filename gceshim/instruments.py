"""What is measured of a server: how its parts feed metrics and health."""

from __future__ import annotations

from gceshim.auth.tokens import Tokens
from gceshim.drivers.base import Driver
from gceshim.drivers.observing import BackendCall
from gceshim.observe.health import Health
from gceshim.observe.lag import LagMonitor
from gceshim.observe.metrics import Metrics
from gceshim.observe.stores import timed
from gceshim.operations.engine import Engine
from gceshim.protocol.service import Observation, Service
from gceshim.stores.base import Store


class Instruments:
    """
    Of one server.

    :param version: of gceshim.
    :param store: its parts are timed from now on: to be made before whatever keeps one of them.
    """

    def __init__(self, version: str, store: Store) -> None:
        self.metrics = Metrics(version)
        self.health = Health(store.ping)
        self.lag = LagMonitor(self.metrics.lag)
        seen = self.metrics.store_call
        store.operations = timed(store.operations, "operations", seen)
        store.credentials = timed(store.credentials, "credentials", seen)
        store.tokens = timed(store.tokens, "tokens", seen)
        store.documents = timed(store.documents, "documents", seen)

    def request(self, seen: Observation) -> None:
        """For `ServiceOptions.observe`."""
        self.metrics.request(seen.method_id, seen.status, seen.seconds, parts=seen.parts)

    def watch(self, driver: Driver, engine: Engine, service: Service, tokens: Tokens) -> None:
        """Once all parts are there."""
        driver.watch(self._backend_call)
        metrics = self.metrics
        metrics.gauge("gceshim_requests_in_flight", "Requests that are being answered.", lambda: service.in_flight)
        metrics.counters(
            "gceshim_rate_limited", "Requests refused for being too many.", "by", lambda: service.limiter.refused
        )
        metrics.gauges(
            "gceshim_backend_pool",
            "Calls to the backend: those that run, those that wait, and how many can run.",
            "state",
            lambda: {
                "slots": driver.load.slots,
                "running": driver.load.running,
                "waiting": driver.load.waiting,
            },
        )
        metrics.gauge("gceshim_backend_reachable", "1, or 0 after a call without answer.", self._reachable)
        metrics.gauges(
            "gceshim_operations",
            "Operations of this process: those that it runs, each by a lease, and those that are waited for; and "
            "tenants with jobs that are followed.",
            "state",
            lambda: engine.numbers,
        )
        metrics.counters(
            "gceshim_operation_events", "What became of operations.", "event", lambda: engine.chronicle.counts
        )
        metrics.counters("gceshim_job_polls", "How often jobs were asked about.", "how", lambda: engine.rounds)
        metrics.counters("gceshim_tokens_issued", "Tokens issued.", "kind", lambda: tokens.issued)

    def _backend_call(self, call: BackendCall) -> None:
        self.metrics.backend_call(call.command, call.outcome, call.seconds)
        self.health.backend_call(call.outcome)

    def _reachable(self) -> float:
        return float(self.health.backend != "unreachable")
