"""Events as other programs want them: one line of JSON each. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cxlocal.events.document import Event
from cxlocal.text import utc_text


def as_cdevents(event: Event) -> str:
    """The document exactly as stored."""
    return event.document


def as_cloudevents(event: Event) -> str:
    """A CloudEvents 1.0 envelope in structured JSON form, by the CDEvents binding."""
    document = event.parsed()
    context = document["context"]
    return _line(
        {
            "specversion": "1.0",
            "id": context["id"],
            "source": context["source"],
            "type": context["type"],
            "subject": document["subject"]["id"],
            "time": context["timestamp"],
            "datacontenttype": "application/json",
            "data": document,
        }
    )


def as_journal(event: Event) -> str:
    """Coordinates and hashes around the document, which stays a text: its bytes are hashed."""
    return _line(
        {
            "node": event.node,
            "sequence": event.sequence,
            "branch": event.branch,
            "type": event.type,
            "deliverable": event.deliverable,
            "deliverable_sequence": event.deliverable_sequence,
            "clock": event.clock,
            "previous": event.previous.hex(),
            "previous_in_deliverable": event.previous_in_deliverable.hex(),
            "hash": event.hash.hex(),
            "received_at": utc_text(event.received_at_ms),
            "document": event.document,
        }
    )


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


FORMS: dict[str, Callable[[Event], str]] = {
    "cdevents": as_cdevents,
    "cloudevents": as_cloudevents,
    "journal": as_journal,
}
