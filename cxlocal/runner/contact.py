"""The exchanges with the store that a run makes by itself: one at its beginning, one at its end."""

from __future__ import annotations

from cxlocal.errors import CxError
from cxlocal.exchange.followed import include
from cxlocal.exchange.store import Store
from cxlocal.exchange.sync import SyncReport, synchronise, why_no_numbers
from cxlocal.journal.file import Journal
from cxlocal.runner.source import (
    Source,
)

START_SYNC_SECONDS = 2.0
END_SYNC_SECONDS = 1.0
"""Together they are what an absent store may cost a run: 3 s (promise P17). One that did not answer
at the start is not asked again within a minute."""


def meet(journal: Journal, store: Store | None, source: Source) -> tuple[bool | None, str]:
    """The first, bounded exchange: whether the store answered, and why not."""
    if store is None:
        return False, "not reached: it was not to be asked"
    include(journal, source.config.deliverable.name)
    report = sync_shortly(journal, store, START_SYNC_SECONDS, source)
    if report is None:
        return False, "answers, and refuses us; 'cxlocal sync' says why"
    if report.stopped:
        return True, f"hands out no numbers: {why_no_numbers(report)}"
    return report.reached, report.why and f"not reached: {report.why}"


def sync_shortly(
    journal: Journal, store: Store, seconds: float, source: Source
) -> SyncReport | None:
    """One bounded exchange; None where the store answered and refused."""
    budget = seconds if source.kept else float(source.settings.store_patience_seconds)
    try:
        return synchronise(journal, store, budget_seconds=budget, use_breaker=source.kept)
    except CxError:
        # What a store refuses (another lineage, another protocol) 'sync' and 'status' show in
        # full; a run that can be carried out is carried out.
        return None
