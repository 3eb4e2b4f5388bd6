"""
Counters and histograms in the form that Prometheus reads, in a registry of their own for each server.

The only module that knows prometheus_client. No label holds anything that callers choose: methods are those of the
discovery documents, commands those that the driver has in its code, and there is none for projects or callers.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_STORE_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
_LAG_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class Metrics:
    """
    The metrics of one server.

    :param version: of gceshim.
    """

    def __init__(self, version: str) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "gceshim_requests",
            "Requests answered; status 499: the client left.",
            ["method", "status"],
            registry=registry,
        )
        self._request_seconds = Histogram(
            "gceshim_request_seconds", "Time to answer.", ["method"], buckets=_SECONDS, registry=registry
        )
        self._batch_parts = Counter("gceshim_batch_parts", "Parts of batch requests.", registry=registry)
        self._backend_calls = Counter(
            "gceshim_backend_calls", "Calls to the backend.", ["command", "outcome"], registry=registry
        )
        self._backend_seconds = Histogram(
            "gceshim_backend_seconds", "Time of calls to the backend.", ["command"], buckets=_SECONDS, registry=registry
        )
        self._store_seconds = Histogram(
            "gceshim_store_seconds", "Time of calls to the store.", ["call"], buckets=_STORE_SECONDS, registry=registry
        )
        self._lag_seconds = Histogram(
            "gceshim_event_loop_lag_seconds",
            "By how much the event loop comes too late.",
            buckets=_LAG_SECONDS,
            registry=registry,
        )
        ProcessCollector(registry=registry)
        build = Gauge("gceshim_build_info", "1, with the versions.", ["version", "python"], registry=registry)
        build.labels(version, platform.python_version()).set(1)

    def request(self, method: str, status: int, seconds: float, *, parts: int = 0) -> None:
        """A request was answered. `parts`: of a batch."""
        self._requests.labels(method or "none", status).inc()
        self._request_seconds.labels(method or "none").observe(seconds)
        if parts:
            self._batch_parts.inc(parts)

    def backend_call(self, command: str, outcome: str, seconds: float) -> None:
        """A call to the backend has ended."""
        self._backend_calls.labels(command, outcome).inc()
        self._backend_seconds.labels(command).observe(seconds)

    def store_call(self, call: str, seconds: float) -> None:
        """A call to the store has ended; `call` is like "operations.insert"."""
        self._store_seconds.labels(call).observe(seconds)

    def lag(self, seconds: float) -> None:
        """The event loop came so much too late."""
        self._lag_seconds.observe(seconds)

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A number that is read when the metrics are."""
        Gauge(name, meaning, registry=self._registry).set_function(read)

    def gauges(self, name: str, meaning: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Several numbers, by a label of few values, that are read when the metrics are."""

        def collect() -> Iterator[Metric]:
            family = GaugeMetricFamily(name, meaning, labels=[label])
            for value, number in read().items():
                family.add_metric([value], number)
            yield family

        self._registry.register(_Read(collect))

    def counters(self, name: str, meaning: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        """The same for numbers that only grow."""

        def collect() -> Iterator[Metric]:
            family = CounterMetricFamily(name, meaning, labels=[label])
            for value, number in read().items():
                family.add_metric([value], number)
            yield family

        self._registry.register(_Read(collect))

    def text(self) -> bytes:
        """All of it, as Prometheus reads it (`CONTENT_TYPE`)."""
        return generate_latest(self._registry)


class _Read(Collector):
    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        return self._collect()
