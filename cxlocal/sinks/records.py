"""Events and lines turned into what sinks take. Pure: the same from whatever machine it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from cxlocal.events import types
from cxlocal.events.document import Event
from cxlocal.events.traces import span_of, trace_of
from cxlocal.hooks.sink import EventRecord, LineRecord, MetricRecord, SpanRecord
from cxlocal.sinks.lines import Line, Spot
from cxlocal.text import counted, parse_utc
from cxlocal.values import NamedTuple

DEPLOYED = (types.SERVICE_DEPLOYED, types.SERVICE_UPGRADED, types.SERVICE_ROLLEDBACK)
OUTCOMES = {
    "success": "success", "failure": "failure", "cancel": "cancellation", "error": "error",
}  # fmt: skip
"""As the CI/CD conventions of OpenTelemetry call them."""
WORK = {"build": "build", "test": "test", "deploy": "deploy"}


class RunFacts(NamedTuple):
    """What is known of a run beside the event at hand; zeros and empty texts for what is not."""

    id: str
    deliverable: str = ""
    version: str = ""
    kind: str = ""
    revision: str = ""
    url: str = ""
    """Of the page at its CI server."""
    queued_ms: int = 0
    started_ms: int = 0
    began_ms: int = 0
    """The oldest commit that it brought; for the lead time."""
    traceparent: str = ""
    """Of whoever started it."""


class StageFacts(NamedTuple):
    """The same of a stage run."""

    id: str
    stage: str = ""
    part: str = ""
    attempt: int = 0
    kind: str = ""
    environment: str = ""
    host: str = ""
    waiting_seconds: float | None = None
    started_ms: int = 0


def event_record(event: Event, said: dict[str, Any]) -> EventRecord:
    """An event as it is."""
    context = said["context"]
    return EventRecord(
        id=str(context["id"]), at_ms=time_of(said), type=event.type,
        source=str(context.get("source", "")), subject=str(said["subject"]["id"]),
        document=event.document,
    )  # fmt: skip


def time_of(said: dict[str, Any]) -> int:
    """When an event happened; 0 where it does not say so properly."""
    return ms_of(said["context"].get("timestamp"))


def ms_of(text: object) -> int:
    """Milliseconds of a UTC text; 0 for anything else."""
    try:
        return parse_utc(str(text)) if text else 0
    except ValueError:
        return 0


def line_record(run: RunFacts, stage: StageFacts, line: Line, at_ms: int | None) -> LineRecord:
    """A line of a stage's log; ``at_ms`` None: only when the stage began is known."""
    place = f"{line.number}.{line.piece}" if line.piece else f"{line.number}"
    return LineRecord(
        id=f"{stage.id}/{place}", at_ms=stage.started_ms if at_ms is None else at_ms,
        text=line.text, deliverable=run.deliverable, version=run.version, run=run.id,
        stage=stage.stage, part=stage.part, attempt=stage.attempt, environment=stage.environment,
        host=stage.host, line=line.number, piece=line.piece, exact=at_ms is not None,
        trace=trace_of(run.id), span=span_of(stage.id),
    )  # fmt: skip


def left_out(run: RunFacts, stage: StageFacts, lines: int | None, at_ms: int) -> LineRecord:
    """What stands for the lines of a log that are not there any more; None: nobody knows how many."""
    text = f"[cxlocal] {counted(lines, 'line') if lines is not None else 'the lines'} left out"
    record = line_record(run, stage, Line(0, 0, 0, text, Spot()), at_ms)
    return msgspec.structs.replace(record, id=f"{stage.id}/left-out")


def metric_records(
    event: Event, said: dict[str, Any], run: RunFacts, stage: StageFacts, machine: str
) -> Iterator[MetricRecord]:
    """The figures of one event (the table in ``docs/sinks.md``). What counts has the value 1: the total
    is put in where it is known."""
    at = time_of(said)
    custom = (said.get("customData") or {}).get("cxlocal") or {}
    content = said["subject"].get("content") or {}
    outcome = str(content.get("outcome", ""))
    labels = {"deliverable": event.deliverable or ""}

    def one(name: str, unit: str, value: float, *, counts: bool = False, **more: str) -> Any:
        return MetricRecord(
            id=f"{said['context']['id']}/{name}", at_ms=at, name=name, unit=unit, value=value,
            counts=counts, labels={**labels, **more}, run=run.id, machine=machine,
        )  # fmt: skip

    if event.type == types.PIPELINE_FINISHED:
        yield one("cxlocal.run.duration", "s", _number(custom.get("seconds")), outcome=outcome)
        if run.started_ms and run.queued_ms:
            wait = max(0, run.started_ms - run.queued_ms) / 1000
            yield one("cxlocal.run.wait", "s", wait)
        yield one("cxlocal.runs", "{run}", 1, counts=True, outcome=outcome)
    elif event.type == types.TASK_FINISHED:
        seconds = _number(custom.get("seconds"))
        yield one("cxlocal.stage.duration", "s", seconds, stage=stage.stage, outcome=outcome)
        if stage.waiting_seconds is not None:
            yield one("cxlocal.stage.wait", "s", max(0, stage.waiting_seconds), stage=stage.stage)
        yield one("cxlocal.stages", "{stage}", 1, counts=True, stage=stage.stage, outcome=outcome)
    elif event.type in DEPLOYED:
        place = str(custom.get("environment", ""))
        yield one(
            "cxlocal.deployments", "{deployment}", 1, counts=True, environment=place,
            outcome="success",
        )  # fmt: skip
        if run.began_ms and event.type != types.SERVICE_ROLLEDBACK:
            yield one("cxlocal.lead_time", "s", max(0, at - run.began_ms) / 1000, environment=place)
    elif event.type == types.DEPLOYMENT_FAILED:
        yield one(
            "cxlocal.deployments", "{deployment}", 1, counts=True, outcome="failure",
            environment=str(custom.get("environment", "")),
        )  # fmt: skip


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def series_of(metric: MetricRecord) -> str:
    """What names the series of a total."""
    return json.dumps([metric.name, sorted(metric.labels.items())], ensure_ascii=False)


def span_record(
    event: Event, said: dict[str, Any], run: RunFacts, stage: StageFacts
) -> SpanRecord | None:
    """The span of what has ended: a run or a stage of one; None for every other event."""
    custom = (said.get("customData") or {}).get("cxlocal") or {}
    outcome = str((said["subject"].get("content") or {}).get("outcome", ""))
    at, subject = time_of(said), str(said["subject"]["id"])
    about: dict[str, str | int | float | bool] = {
        "cicd.pipeline.name": run.deliverable,
        "cicd.pipeline.run.id": run.id,
        "service.version": run.version,
        "vcs.ref.head.revision": run.revision,
    }
    if run.url:
        about["cicd.pipeline.run.url.full"] = run.url
    if event.type == types.PIPELINE_FINISHED:
        about["cicd.pipeline.result"] = OUTCOMES.get(outcome, outcome)
        began = run.queued_ms or at - round(_number(custom.get("seconds")) * 1000)
        return SpanRecord(
            id=span_of(run.id), at_ms=at, trace=trace_of(run.id), parent="",
            name=f"RUN {run.deliverable}", began_ms=min(began, at), outcome=outcome,
            attributes=_given(about), linked=run.traceparent,
        )  # fmt: skip
    if event.type != types.TASK_FINISHED:
        return None
    about["cicd.pipeline.task.name"] = stage.stage
    about["cicd.pipeline.task.run.id"] = subject
    about["cicd.pipeline.task.run.result"] = OUTCOMES.get(outcome, outcome)
    about["cicd.pipeline.task.type"] = WORK.get(stage.kind, "")
    about["cxlocal.attempt"] = stage.attempt
    about["cxlocal.part"] = stage.part
    about["deployment.environment.name"] = stage.environment
    about["host.name"] = stage.host
    ended = ms_of(custom.get("finished_at")) or at
    began = ms_of(custom.get("started_at")) or ended - round(_number(custom.get("seconds")) * 1000)
    return SpanRecord(
        id=span_of(subject), at_ms=ended, trace=trace_of(run.id), parent=span_of(run.id),
        name=stage.stage, began_ms=min(began, ended), outcome=outcome, attributes=_given(about),
    )  # fmt: skip


def _given(about: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in about.items() if value != ""}
