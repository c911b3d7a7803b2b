"""Records as JSON, as more than one sink sends them. Pure."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from cxlocal.hooks.sink import EventRecord, LineRecord, MetricRecord
from cxlocal.text import utc_text


def as_object(record: Any) -> dict[str, Any]:
    """One record as what stands in a line of NDJSON: ``cx_id``, ``time``, ``kind`` and its fields."""
    head = {"cx_id": record.id, "time": utc_text(record.at_ms), "kind": kind_of(record)}
    if isinstance(record, EventRecord):
        return {**head, "event": json.loads(record.document)}
    fields = {
        name: value
        for name, value in msgspec.structs.asdict(record).items()
        if name not in ("id", "at_ms") and value not in ("", {})
    }
    if isinstance(record, LineRecord):
        return {**head, **fields, "text": record.text}
    if "began_ms" in fields:
        fields["began"] = utc_text(fields.pop("began_ms"))
        fields["span"] = record.id
    return {**head, **fields}


def kind_of(record: Any) -> str:
    """``event``, ``line``, ``metric`` or ``span``."""
    if isinstance(record, EventRecord):
        return "event"
    if isinstance(record, LineRecord):
        return "line"
    return "metric" if isinstance(record, MetricRecord) else "span"


def as_line(value: Any) -> bytes:
    """JSON on one line, with its end."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
