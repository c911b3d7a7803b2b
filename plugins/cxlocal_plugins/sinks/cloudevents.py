"""CDEvents in CloudEvents 1.0 over HTTP: webhooks, brokers, whatever takes events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cxlocal.hooks.sink import EventRecord, Sink
from cxlocal.text import utc_text
from cxlocal_plugins.sinks.web import Web, send_each

STRUCTURED = {"Content-Type": "application/cloudevents+json; charset=UTF-8"}


class CloudEvents(Sink):
    """Posts each event in structured form. Source and id tell a receiver what it has already."""

    name = "cloudevents"
    schemes = ("cloudevents+http", "cloudevents+https")
    takes = frozenset({"events"})

    def __init__(self, to: str, options: Any, **more: Any) -> None:
        super().__init__(to, options, **more)
        url = to.removeprefix("cloudevents+")
        self.web = Web(url, token=self.token, timeout_seconds=self.timeout_seconds)

    def deliver(self, batch: Sequence[EventRecord]) -> int:
        """One request for each event, in order."""
        return send_each(
            self.web, batch, lambda one: self.web.send(self.web.path, _envelope(one), STRUCTURED)
        )

    def close(self) -> None:
        """Let go of the connection."""
        self.web.close()


def _envelope(event: EventRecord) -> bytes:
    """By the CDEvents binding, as ``cxlocal export --format cloudevents`` writes it."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": event.id,
            "source": event.source,
            "type": event.type,
            "subject": event.subject,
            "time": utc_text(event.at_ms),
            "datacontenttype": "application/json",
            "data": json.loads(event.document),
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()
