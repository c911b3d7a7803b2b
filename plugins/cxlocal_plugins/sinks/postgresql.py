"""Lines of logs in a table of PostgreSQL, where rsyslog writes them as well (``docs/sinks.md``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType

from cxlocal.hooks.sink import LineRecord, Sink, without_library
from cxlocal.text import utc_text
from cxlocal_plugins.sinks.web import send_together


class Postgresql(Sink):
    """Writes into the table ``line``, a batch in a transaction: each id once, whatever is cut."""

    name = "postgresql"
    schemes = ("postgresql",)
    takes = frozenset({"logs"})
    asked_at = schemes

    def deliver(self, batch: Sequence[LineRecord]) -> int:
        """All of it or nothing; where a row is refused, those before it."""
        form = _form()

        def send(part: Sequence[LineRecord]) -> None:
            rows = [(one.id, utc_text(one.at_ms), one.stage, one.text) for one in part]
            form.keep(self.to, self.token, self.timeout_seconds, rows)

        return send_together(batch, send)

    def find(self, run: str, stage: str, stage_run: str) -> Iterator[tuple[str, str]]:
        """Ask by the beginning of the ids."""
        yield from _form().find(self.to, self.token, self.timeout_seconds, f"{stage_run}/")


def _form() -> ModuleType:
    try:
        from cxlocal_plugins.sinks import postgresql_form
    except ImportError as problem:
        raise without_library("postgresql") from problem
    return postgresql_form
