"""What a passing machine leaves behind when the store stays away: its journal, in a bundle.

Its home goes with the job. The bundle lies in the workspace, where CI servers collect files from,
and 'cxlocal import' on any machine brings it to the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.allocation.request import pauses, rest_seconds
from cxlocal.domain import path_part
from cxlocal.exchange.sync import SyncReport, pending, synchronise
from cxlocal.journal.machine import goes_away
from cxlocal.journal.rebuild import catch_up

if TYPE_CHECKING:
    from cxlocal.bundles.writer import Packed
    from cxlocal.exchange.store import Store
    from cxlocal.journal.file import Journal

HURRY_SECONDS = 2.0
"""For the last exchange when a signal ends the run: with the bundle all is done in ten seconds."""
LEAST_SECONDS = 1.0
"""For the only exchange where there is no patience."""
ROUND_SECONDS = 4.0
"""For one exchange: signals are heeded in between."""
BYTES_SECONDS = 10.0
"""For the artifacts of what is live, at least."""
WINK_SECONDS = 0.1
"""Between two looks at signals while waiting."""

_LAST_RUN = "SELECT id FROM run ORDER BY queued_at DESC, rowid DESC LIMIT 1"


def send_patiently(
    journal: Journal,
    store: Store,
    patience_seconds: float,
    hurried: Callable[[], bool] = lambda: False,
) -> SyncReport:
    """Exchange until the store has everything or patience ends: what is not sent is lost with the
    machine. ``hurried`` says whether a signal asks us to end, which leaves ``HURRY_SECONDS``.

    Raises Refused where the store answers and says no.
    """
    clock, waits = journal.clock, pauses(journal.ids)
    deadline = clock.monotonic() + patience_seconds
    if hurried():
        deadline = min(deadline, clock.monotonic() + HURRY_SECONDS)
    while True:
        left = deadline - clock.monotonic()
        budget = min(max(left, LEAST_SECONDS), ROUND_SECONDS)
        report = synchronise(journal, store, budget_seconds=budget, use_breaker=False)
        # What the store refuses of others' histories is not made better by waiting.
        waits_on = report.pending or (report.to_relay and not report.not_taken)
        if report.reached and not waits_on:
            if not hurried():
                _send_bytes(journal, store, max(left, BYTES_SECONDS))
            return report
        moves = report.reached and report.pushed + report.relayed > 0
        left = deadline - clock.monotonic()
        rest = 0.0 if moves else rest_seconds(next(waits), report.after_seconds, left)
        if rest > left:
            return report
        until = clock.monotonic() + rest
        while clock.monotonic() < until:
            if hurried():
                return report
            time.sleep(WINK_SECONDS)


def _send_bytes(journal: Journal, store: Store, seconds: float) -> None:
    """What waits goes with this machine otherwise, what is live, and what a run made that goes on
    elsewhere: whoever rolls back to it or deploys it needs its bytes."""
    from cxlocal.exchange.blobs import carry
    from cxlocal.runner.needed import all_needed, unfinished_artifacts
    from cxlocal.runner.waiting import send_waiting

    catch_up(journal)
    send_waiting(journal, store, seconds)
    wanted = {one.sha256: one for one in [*all_needed(journal), *unfinished_artifacts(journal)]}
    carry(journal, store, list(wanted.values()), seconds, fetch=False)


def fetch_bytes(journal: Journal, store: Store, run: str) -> None:
    """Have what a run made elsewhere, as far as the store has it; who needs the rest says so."""
    from cxlocal.exchange.blobs import BLOB_SECONDS, carry
    from cxlocal.runner.needed import lacking

    catch_up(journal)
    carry(journal, store, lacking(journal, run), BLOB_SECONDS)


def leave_bundle(journal: Journal, folder: Path) -> Packed | None:
    """Write ``cxlocal-<run>.bundle`` into ``folder`` if this machine goes away with something the
    store lacks; None otherwise. Raises Trouble where it cannot be written."""
    if not goes_away(journal) or not pending(journal):
        return None
    from cxlocal.bundles.writer import OWN, pack

    catch_up(journal)
    row = journal.one(_LAST_RUN)
    name = path_part(row["id"]) if row else journal.node
    return pack(journal, folder / f"cxlocal-{name}.bundle", scope=OWN, reports=True, ask=False)
