"""Leaving a store alone for a minute after it did not answer.

Decides about waiting only, never about numbers. A remembered time in the future (the clock was set
back since) is void, so that a wrong clock cannot keep a machine away from its store.
"""

from __future__ import annotations

from cxlocal.journal.file import Journal

PAUSE_MS = 60_000
"""How long an unreachable store is left alone."""


SINK = "sink "
"""Begins what a sink is remembered under (``cxlocal.sinks``): a store that answers says nothing of it."""


def rests(failed_at_ms: int, now_ms: int) -> bool:
    """Whether a failure at ``failed_at_ms`` still counts. Pure."""
    return failed_at_ms <= now_ms < failed_at_ms + PAUSE_MS


def why_resting(journal: Journal, url: str) -> str:
    """Why the store is left alone just now; empty when it is not."""
    row = journal.one("SELECT failed_at_ms, why FROM breaker WHERE url = ?", (url,))
    if row is None or not rests(row["failed_at_ms"], journal.clock.now_ms()):
        return ""
    return str(row["why"])


def remember_failure(journal: Journal, url: str, why: str) -> None:
    """The store did not answer just now."""
    with journal.write() as transaction:
        transaction.connection.execute(
            "INSERT OR REPLACE INTO breaker VALUES (?, ?, ?)", (url, journal.clock.now_ms(), why)
        )


def forget_failure(journal: Journal, url: str) -> None:
    """It answered."""
    if journal.one("SELECT 1 FROM breaker WHERE url = ?", (url,)) is not None:
        with journal.write() as transaction:
            transaction.connection.execute("DELETE FROM breaker WHERE url = ?", (url,))
