"""OTLP over HTTP: logs, figures and traces to whatever speaks OpenTelemetry, encoded by its own
definitions (``opentelemetry-proto``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cxlocal.hooks.sink import LineRecord, MetricRecord, Sink, SpanRecord, without_library
from cxlocal_plugins.sinks.web import Refusal, Web, send_together

HEADERS = {"Content-Type": "application/x-protobuf"}


class Otlp(Sink):
    """Posts to ``/v1/logs``, ``/v1/metrics`` and ``/v1/traces`` below the address."""

    name = "otlp"
    schemes = ("otlp+http", "otlp+https")
    takes = frozenset({"logs", "metrics", "spans"})

    def __init__(self, to: str, options: Any, **more: Any) -> None:
        super().__init__(to, options, **more)
        url = to.removeprefix("otlp+")
        self.web = Web(url, token=self.token, timeout_seconds=self.timeout_seconds)

    def deliver(self, batch: Sequence[Any]) -> int:
        """One request for the batch. What a receiver rejects of it in a *partial success* it has
        decided about; it asks for nothing to be sent again."""
        try:
            from cxlocal_plugins.sinks import otlp_form
        except ImportError as problem:
            raise without_library("otlp") from problem
        kinds: dict[type, tuple[str, Callable[[Any], bytes], Callable[[bytes], int]]] = {
            LineRecord: ("logs", otlp_form.logs, otlp_form.rejected_logs),
            MetricRecord: ("metrics", otlp_form.metrics, otlp_form.rejected_points),
            SpanRecord: ("traces", otlp_form.spans, otlp_form.rejected_spans),
        }
        path, encode, rejected = kinds[type(batch[0])]

        def send(part: Sequence[Any]) -> None:
            whole = f"{self.web.path.rstrip('/')}/v1/{path}"
            answer = self.web.send(whole, encode(part), HEADERS)
            if rejected(answer) >= len(part):
                raise Refusal("all of it was rejected")

        return send_together(batch, send)

    def close(self) -> None:
        """Let go of the connection."""
        self.web.close()
