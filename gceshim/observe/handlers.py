"""`/healthz`, `/readyz` and `/metrics` in a Tornado application."""

from __future__ import annotations

import dataclasses
import json

from tornado import web

from gceshim.observe.health import Health
from gceshim.observe.metrics import CONTENT_TYPE, Metrics

Rule = tuple[str, type[web.RequestHandler], dict[str, object]]


def health_rules(health: Health, prefix: str = "") -> list[Rule]:
    """
    `/healthz`: 200 as long as the process answers at all. `/readyz`: 200 or 503, and why.

    They tell nothing of callers, and may be asked by anyone.
    """
    return [(f"{prefix}/healthz", Alive, {}), (f"{prefix}/readyz", Ready, {"health": health})]


def metrics_rules(metrics: Metrics, prefix: str = "") -> list[Rule]:
    """`/metrics`. It tells how much is going on: not for everyone's eyes."""
    return [(f"{prefix}/metrics", Exposition, {"metrics": metrics})]


class _Plain(web.RequestHandler):
    def set_default_headers(self) -> None:
        """Tornado names itself and its version here."""
        self.set_header("Server", "gceshim")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def write_error(self, status_code: int, **kwargs: object) -> None:
        """One line; nothing of the request."""
        self.set_header("Content-Type", "text/plain")
        self.finish(f"{status_code}\n")


class Alive(_Plain):
    """That there is an answer is the answer."""

    def get(self) -> None:
        """200."""
        self.set_header("Content-Type", "application/json")
        self.finish('{"status": "ok"}\n')

    head = get


class Ready(_Plain):
    """Whether to send requests here."""

    def initialize(self, health: Health) -> None:
        """Called by Tornado."""
        self._health = health

    async def get(self) -> None:
        """200 or 503."""
        found = await self._health.readiness()
        shown = dataclasses.asdict(found)
        del shown["ready"]
        self.set_status(200 if found.ready else 503)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(shown) + "\n")

    head = get


class Exposition(_Plain):
    """The metrics, as Prometheus reads them."""

    def initialize(self, metrics: Metrics) -> None:
        """Called by Tornado."""
        self._metrics = metrics

    def get(self) -> None:
        """200."""
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(self._metrics.text())
