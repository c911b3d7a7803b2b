"""Lines of logs to systemd-journal-remote, in the journal's export format over HTTP."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

from cxlocal.hooks.sink import LineRecord, Sink
from cxlocal.text import utc_text
from cxlocal_plugins.sinks.web import Web, send_together

HEADERS = {"Content-Type": "application/vnd.fdo.journal"}
PORT = 19532
"""Of systemd-journal-remote, where the address names none."""
INFORMATION = "6"


class Journald(Sink):
    """Uploads lines with their own times and fields to ask for: ``journalctl CX_RUN=…``."""

    name = "journald"
    schemes = ("journald+http", "journald+https")
    takes = frozenset({"logs"})
    asked_at = schemes

    def __init__(self, to: str, options: Any, **more: Any) -> None:
        super().__init__(to, options, **more)
        url = to.removeprefix("journald+")
        self.web = Web(
            url, token=self.token, timeout_seconds=self.timeout_seconds, default_port=PORT
        )

    def deliver(self, batch: Sequence[LineRecord]) -> int:
        """One upload for the batch."""

        def send(part: Sequence[LineRecord]) -> None:
            content = b"".join(map(entry, part))
            self.web.send(self.web.path.rstrip("/") + "/upload", content, HEADERS)

        return send_together(batch, send)

    def find(self, run: str, stage: str, stage_run: str) -> Iterator[tuple[str, str]]:
        """Ask systemd-journal-gatewayd, by the fields of the entries."""
        query = urlencode({"CX_RUN": run, "CX_STAGE": stage})
        path = f"{self.web.path.rstrip('/')}/entries?{query}"
        for line in self.web.lines(path, {"Accept": "application/json"}):
            found = json.loads(line)
            said = found if isinstance(found, dict) else {}
            yield _text(said.get("CX_ID")), _text(said.get("MESSAGE"))

    def close(self) -> None:
        """Let go of the connection."""
        self.web.close()


def entry(line: LineRecord) -> bytes:
    """One entry. The run stands for the boot: times of a run rise, those of another are its own."""
    micros = str(line.at_ms * 1000)
    fields = {
        "__REALTIME_TIMESTAMP": micros,
        "__MONOTONIC_TIMESTAMP": micros,
        "_BOOT_ID": line.trace,
        "MESSAGE": line.text,
        "PRIORITY": INFORMATION,
        "SYSLOG_IDENTIFIER": "cxlocal",
        "CX_ID": line.id,
        "CX_DELIVERABLE": line.deliverable,
        "CX_VERSION": line.version,
        "CX_RUN": line.run,
        "CX_STAGE": line.stage,
        "CX_PART": line.part,
        "CX_ATTEMPT": str(line.attempt),
        "CX_ENVIRONMENT": line.environment,
        "CX_HOST": line.host,
        "CX_LINE": str(line.line),
        "CX_TRACE": line.trace,
        "CX_SPAN": line.span,
        "CX_STAGE_BEGAN": "" if line.exact else utc_text(line.at_ms),
    }
    kept = {name: value for name, value in fields.items() if value or name == "MESSAGE"}
    return b"".join(_field(name, value.encode()) for name, value in kept.items()) + b"\n"


def _text(value: object) -> str:
    """A field of an answer: what is no plain text comes as a list of bytes. Raises ValueError."""
    if isinstance(value, list):
        return bytes(value).decode("utf-8", "backslashreplace")
    return value if isinstance(value, str) else ""


def _field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"
