"""What a receiver of OTLP got, read by the official definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from receivers import Http


class Decoded:
    """OTLP as its official definitions read it."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def of(self, path: str, kind: Any) -> Iterator[Any]:
        for asked, headers, body in self._http.requests:
            if asked == path:
                assert headers["Content-Type"] == "application/x-protobuf"
                yield kind.FromString(body)

    def logs(self) -> list[Any]:
        return [
            line
            for request in self.of("/v1/logs", ExportLogsServiceRequest)
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for line in scope.log_records
        ]

    def metrics(self) -> list[Any]:
        return [
            metric
            for request in self.of("/v1/metrics", ExportMetricsServiceRequest)
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]

    def spans(self) -> list[Any]:
        return [
            span
            for request in self.of("/v1/traces", ExportTraceServiceRequest)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


def attributes(message: Any) -> dict[str, Any]:
    return {
        one.key: getattr(one.value, one.value.WhichOneof("value")) for one in message.attributes
    }
