"""The exchanges with the store that a run makes by itself: one at its beginning, one at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cxlocal.errors import CxError
from cxlocal.exchange.followed import include
from cxlocal.exchange.store import Store
from cxlocal.exchange.sync import SyncReport, synchronise, why_no_numbers
from cxlocal.journal.file import Journal
from cxlocal.runner.source import Machine, Source, open_store, refuse_stranger

if TYPE_CHECKING:
    from cxlocal.runner.request import Request

START_SYNC_SECONDS = 2.0
END_SYNC_SECONDS = 1.0
"""Together they are what an absent store may cost a run: 3 s (promise P17). One that did not answer
at the start is not asked again within a minute."""


class Met(NamedTuple):
    """The store of a run, and what came of the first exchange with it."""

    store: Store | None
    reached: bool | None
    why_offline: str

    def close(self) -> None:
        """No more is asked of it."""
        if self.store is not None:
            self.store.close()


def meet_store(
    machine: Machine, journal: Journal, source: Source, root: str, request: Request
) -> Met:
    """Open the store and learn what others did; ``root`` is the first commit of the repository.
    Raises Refused for a deliverable that belongs to another one."""
    name = source.config.deliverable.name
    store = (
        None if request.rehearsal else open_store(source, machine, journal, offline=request.offline)
    )
    try:
        met = Met(store, *meet(journal, store, source))
        # A home that was empty has only now been told whose it is.
        row = journal.one("SELECT repository_root FROM deliverable WHERE id = ?", (name,))
        refuse_stranger((row and row["repository_root"]) or "", root, name)
        return met
    except BaseException:
        if store is not None:
            store.close()
        raise


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
