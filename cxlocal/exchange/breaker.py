"""Leaving a store alone after it did not answer: for a minute, or as long as it asked for.

Decides about waiting only, never about numbers. A remembered time in the future (the clock was set
back since) is void, so that a wrong clock cannot keep a machine away from its store.
"""

from __future__ import annotations

from cxlocal.journal.file import Journal

PAUSE_MS = 60_000
"""How long an unreachable store is left alone."""


SINK = "sink "
"""Begins what a sink is remembered under (``cxlocal.sinks``): a store that answers says nothing of it."""


AFTER_SECONDS_MAX = 600
"""No store is left alone for longer, whatever it asks for."""
_ASKED = "asked "
"""Begins what it is remembered under that a store asked to be left alone: the seconds stand in place of the
reason. A release that does not know of it goes by the minute."""


def rests(failed_at_ms: int, now_ms: int, pause_ms: int = PAUSE_MS) -> bool:
    """Whether a failure at ``failed_at_ms`` still counts. Pure."""
    return failed_at_ms <= now_ms < failed_at_ms + pause_ms


def why_resting(journal: Journal, url: str) -> str:
    """Why the store is left alone just now; empty when it is not."""
    row = journal.one(
        "SELECT said.failed_at_ms, said.why, asked.why AS seconds FROM breaker said LEFT JOIN breaker asked"
        " ON asked.url = ? || said.url AND asked.failed_at_ms = said.failed_at_ms WHERE said.url = ?",
        (_ASKED, url),
    )
    if row is None:
        return ""
    asked_ms = 1000 * int(row["seconds"] or 0)
    now_ms = journal.clock.now_ms()
    if not rests(row["failed_at_ms"], now_ms, asked_ms or PAUSE_MS):
        return ""
    left = (row["failed_at_ms"] + asked_ms - now_ms + 999) // 1000
    return f"{row['why']}; it asks to be left alone for {left} s" if asked_ms else str(row["why"])


def remember_failure(journal: Journal, url: str, why: str, after_seconds: int = 0) -> None:
    """The store did not answer just now, or answered that it will in ``after_seconds`` (0: it did not say)."""
    now_ms, seconds = journal.clock.now_ms(), min(after_seconds, AFTER_SECONDS_MAX)
    with journal.write() as transaction:
        connection = transaction.connection
        rows = [(url, now_ms, why), *([(_ASKED + url, now_ms, str(seconds))] * (seconds > 0))]
        connection.executemany("INSERT OR REPLACE INTO breaker VALUES (?, ?, ?)", rows)


def forget_failure(journal: Journal, url: str) -> None:
    """It answered."""
    if journal.one("SELECT 1 FROM breaker WHERE url = ?", (url,)) is not None:
        with journal.write() as transaction:
            transaction.connection.execute(
                "DELETE FROM breaker WHERE url IN (?, ?)", (url, _ASKED + url)
            )
