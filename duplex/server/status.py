"""The pages that say how the server is: its models, whether it lives and has room, its metrics."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from duplex.metrics import CONTENT_TYPE, Metrics
from duplex.server import http
from duplex.server.gate import SocketLimits
from duplex.server.keys import Keys
from duplex.server.load import Load
from duplex.server.registry import CallRegistry


@dataclass(frozen=True, slots=True)
class StatusPages:
    """Handlers that look at what a server holds when they are asked."""

    keys: Keys
    models: Sequence[str]
    voices: Sequence[str]
    max_calls: int
    calls: CallRegistry
    sockets: SocketLimits
    load: Load
    metrics: Metrics
    is_stopping: Callable[[], bool]

    @property
    def handlers(self) -> Mapping[str, http.Handler]:
        """By path."""
        return {
            http.MODELS_PATH: http.read_only(self._models),
            "/healthz": http.read_only(self._healthz),
            "/readyz": http.read_only(self._readyz),
            "/metrics": http.read_only(self._metrics),
        }

    def _models(self, request: http.HttpRequest) -> http.HttpAnswer:
        return http.models_page(self.keys, self.models, self.voices, request)

    def _healthz(self, _: http.HttpRequest) -> http.HttpAnswer:
        return http.HttpAnswer(HTTPStatus.OK, b"ok\n", http.TEXT)

    def _readyz(self, _: http.HttpRequest) -> http.HttpAnswer:
        """Whether to send calls here: not while the server stops, is full or is busy."""
        why = "stopping" if self.is_stopping() else self.calls.unready
        status = HTTPStatus.OK if why is None else HTTPStatus.SERVICE_UNAVAILABLE
        return http.HttpAnswer(status, f"{why or 'ready'}\n".encode(), http.TEXT)

    def _metrics(self, request: http.HttpRequest) -> http.HttpAnswer:
        owner = http.key_owner(self.keys, request)
        if owner is None or not owner.may_read_metrics:
            return http.unauthorized()
        gauges = {
            "duplex_calls_open": len(self.calls),
            "duplex_calls_limit": self.max_calls,
            "duplex_sockets_open": self.sockets.open,
            "duplex_tasks": len(asyncio.all_tasks()),
            "duplex_event_loop_lag_p95_seconds": self.load.lag_s,
        }
        page = self.metrics.render(gauges).encode()
        return http.HttpAnswer(HTTPStatus.OK, page, CONTENT_TYPE)
