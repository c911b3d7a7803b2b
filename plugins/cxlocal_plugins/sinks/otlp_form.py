"""Records as messages of OTLP. Pure; apart, as it alone needs the library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import (
    SEVERITY_NUMBER_INFO,
    LogRecord,
    ResourceLogs,
    ScopeLogs,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    Gauge,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from cxlocal.hooks.sink import LineRecord, MetricRecord, SpanRecord

_SCOPE = InstrumentationScope(name="cxlocal")
NANOS = 1_000_000
"""Nanoseconds in a millisecond."""
Value = str | int | float | bool


def by_resource(records: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """Records that say the same of where they come from, in order."""
    found: dict[Any, list[Any]] = {}
    for one in records:
        found.setdefault(key(one), []).append(one)
    return found


def logs(batch: Sequence[LineRecord]) -> bytes:
    """A request with lines."""
    resources = [
        ResourceLogs(
            resource=_resource(
                {"service.name": name, "service.version": version, "host.name": host}
            ),
            scope_logs=[ScopeLogs(scope=_SCOPE, log_records=[_line(one) for one in lines])],
        )
        for (name, version, host), lines in by_resource(
            batch, lambda one: (one.deliverable, one.version, one.host)
        ).items()
    ]
    return bytes(ExportLogsServiceRequest(resource_logs=resources).SerializeToString())


def _line(line: LineRecord) -> LogRecord:
    return LogRecord(
        time_unix_nano=line.at_ms * NANOS,
        severity_number=SEVERITY_NUMBER_INFO,
        body=AnyValue(string_value=line.text),
        trace_id=bytes.fromhex(line.trace),
        span_id=bytes.fromhex(line.span),
        attributes=_attributes(
            {
                "cx_id": line.id, "cicd.pipeline.name": line.deliverable,
                "cicd.pipeline.run.id": line.run, "cicd.pipeline.task.name": line.stage,
                "cxlocal.part": line.part, "cxlocal.attempt": line.attempt,
                "cxlocal.line": line.line, "cxlocal.exact": line.exact,
                "deployment.environment.name": line.environment,
            }
        ),
    )  # fmt: skip


def metrics(batch: Sequence[MetricRecord]) -> bytes:
    """A request with figures: a gauge each, totals as cumulative sums."""
    resources = [
        ResourceMetrics(
            resource=_resource({"service.name": "cxlocal", "service.instance.id": machine}),
            scope_metrics=[ScopeMetrics(scope=_SCOPE, metrics=[_metric(one) for one in figures])],
        )
        for machine, figures in by_resource(batch, lambda one: one.machine).items()
    ]
    return bytes(ExportMetricsServiceRequest(resource_metrics=resources).SerializeToString())


def _metric(one: MetricRecord) -> Metric:
    about: dict[str, Value] = {**one.labels}
    if not one.counts:
        about["cicd.pipeline.run.id"] = one.run
    point = NumberDataPoint(
        time_unix_nano=one.at_ms * NANOS, as_double=one.value, attributes=_attributes(about)
    )
    if not one.counts:
        return Metric(name=one.name, unit=one.unit, gauge=Gauge(data_points=[point]))
    total = Sum(
        data_points=[point], is_monotonic=True,
        aggregation_temporality=AGGREGATION_TEMPORALITY_CUMULATIVE,
    )  # fmt: skip
    return Metric(name=one.name, unit=one.unit, sum=total)


def spans(batch: Sequence[SpanRecord]) -> bytes:
    """A request with spans."""
    resources = [
        ResourceSpans(
            resource=_resource({"service.name": str(name)}),
            scope_spans=[ScopeSpans(scope=_SCOPE, spans=[_span(one) for one in found])],
        )
        for name, found in by_resource(
            batch, lambda one: one.attributes.get("cicd.pipeline.name", "")
        ).items()
    ]
    return bytes(ExportTraceServiceRequest(resource_spans=resources).SerializeToString())


def _span(one: SpanRecord) -> Span:
    bad = one.outcome != "success"
    return Span(
        trace_id=bytes.fromhex(one.trace),
        span_id=bytes.fromhex(one.id),
        parent_span_id=bytes.fromhex(one.parent),
        name=one.name,
        kind=Span.SPAN_KIND_INTERNAL if one.parent else Span.SPAN_KIND_SERVER,
        start_time_unix_nano=one.began_ms * NANOS,
        end_time_unix_nano=one.at_ms * NANOS,
        attributes=_attributes(one.attributes),
        links=[_link(one.linked)] if one.linked else [],
        status=Status(code=Status.STATUS_CODE_ERROR, message=one.outcome) if bad else Status(),
    )


def _link(traceparent: str) -> Span.Link:
    _, trace, span, _ = traceparent.split("-")
    return Span.Link(trace_id=bytes.fromhex(trace), span_id=bytes.fromhex(span))


def _resource(about: Mapping[str, Value]) -> Resource:
    return Resource(attributes=_attributes(about))


def _attributes(about: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_any(value)) for key, value in about.items() if value != ""]


def _any(value: Value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return (
        AnyValue(double_value=value) if isinstance(value, float) else AnyValue(string_value=value)
    )


def rejected_logs(answer: bytes) -> int:
    """How many records a receiver says that it rejected."""
    return int(ExportLogsServiceResponse.FromString(answer).partial_success.rejected_log_records)


def rejected_points(answer: bytes) -> int:
    """The same of figures."""
    found = ExportMetricsServiceResponse.FromString(answer).partial_success
    return int(found.rejected_data_points)


def rejected_spans(answer: bytes) -> int:
    """The same of spans."""
    return int(ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans)
