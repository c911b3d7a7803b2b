"""Lines of logs as syslog: RFC 5424 with structured data, in counted frames over TCP or TLS (RFC 5425)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from cxlocal.hooks.sink import LineRecord, Sink
from cxlocal.text import utc_text
from cxlocal_plugins.sinks.streams import send_stretch, split_address

USER_INFORMATION = 14
"""Facility *user*, severity *informational*."""
SD_ID = "cx@32473"
"""Name of the structured data. 32473 is the number that RFC 5612 keeps for whoever has none."""
_UNPRINTABLE = re.compile(r"[^!-~]")
_ESCAPED = re.compile(r'(["\\\]])')


class Syslog(Sink):
    """Sends lines with their own times; run, stage and the like are structured data."""

    name = "syslog"
    schemes = ("syslog+tcp", "syslog+tls")
    takes = frozenset({"logs"})

    def __init__(self, to: str, options: Any, **more: Any) -> None:
        super().__init__(to, options, **more)
        self.scheme, self.host, self.port = split_address(to)

    def deliver(self, batch: Sequence[LineRecord]) -> int:
        """A connection for each batch, which counts when the receiver has closed it."""
        send_stretch(
            self.host, self.port, b"".join(map(frame, batch)), tls=self.scheme.endswith("tls"),
            timeout_seconds=self.timeout_seconds,
        )  # fmt: skip
        return len(batch)


def frame(line: LineRecord) -> bytes:
    """One message behind its length."""
    given = {
        "id": line.id, "deliverable": line.deliverable, "version": line.version, "run": line.run,
        "stage": line.stage, "part": line.part, "attempt": str(line.attempt),
        "environment": line.environment, "line": str(line.line), "trace": line.trace,
        "span": line.span, "time": "" if line.exact else "stage",
    }  # fmt: skip
    data = "".join(
        f' {name}="{_ESCAPED.sub(_backslash, value)}"' for name, value in given.items() if value
    )
    head = (
        f"<{USER_INFORMATION}>1 {utc_text(line.at_ms)} {_word(line.host, 255)} cxlocal"
        f" {_word(line.run[:8], 128)} line [{SD_ID}{data}] "
    )
    message = (head + line.text).encode()
    return b"%d %s" % (len(message), message)


def _backslash(found: re.Match[str]) -> str:
    return f"\\{found[1]}"


def _word(text: str, limit: int) -> str:
    """A header field: printable ASCII without spaces."""
    return _UNPRINTABLE.sub("_", text)[:limit] or "-"
