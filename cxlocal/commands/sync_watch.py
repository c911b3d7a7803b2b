"""``cxlocal sync --watch``: exchange again and again, and say what moved."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from cxlocal.clock import Ids
from cxlocal.commands.output import json_text, put
from cxlocal.commands.terminal import say, warn
from cxlocal.errors import CxError
from cxlocal.exchange.store import Store
from cxlocal.exchange.sync import SyncReport, synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.signals import SignalCame, Signals, note_only

ROUND_SECONDS = 5.0
"""For one exchange: what moves more goes on with the next one at once, and a signal is heeded in
between."""
EVERY_SECONDS_MIN = 1
REVERIFY_SECONDS = 600.0
"""Between two times that remotes are asked about runs whose proof was not confirmed."""


class Watch(NamedTuple):
    """What is watched."""

    journal: Journal
    store: Store
    ids: Ids
    every_seconds: float
    settle: Callable[[], list[str]]
    """Asks the remotes again; returns a line for each run that was settled."""


def watch_store(watch: Watch, describe: Callable[[SyncReport], str], *, as_json: bool) -> None:
    """Exchange about every ``every_seconds`` until a signal comes; a round that has begun is ended.

    Raises Refused where the store answers and says no, Trouble where the journal cannot be used.
    """
    said = Said(describe, as_json=as_json)
    asked = -REVERIFY_SECONDS
    with Signals() as signals:
        try:
            while not signals.number:
                signals.wake = note_only
                more, reached = _round(watch, said)
                if reached and watch.journal.clock.monotonic() - asked >= REVERIFY_SECONDS:
                    asked = watch.journal.clock.monotonic()
                    for line in watch.settle():
                        say(line)
                signals.wake = None
                if not signals.number and not more:
                    # Nothing is held while nothing is to do.
                    watch.store.close()
                    # Up to a quarter more or less, so that many machines do not come in step.
                    share = int(watch.ids.token()[:4], 16) / 65536
                    time.sleep(watch.every_seconds * (0.75 + share / 2))
        except SignalCame:
            signals.wake = note_only  # how one leaves this command: no error
    say("Ended.")


def _round(watch: Watch, said: Said) -> tuple[bool, bool]:
    """One exchange: whether more is to move at once, and whether the store was reached."""
    journal = watch.journal
    began = journal.clock.monotonic()
    try:
        report = synchronise(journal, watch.store, budget_seconds=ROUND_SECONDS, use_breaker=False)
        catch_up(journal)
    except CxError as problem:
        if problem.name != "journal-busy":
            raise
        warn(str(problem).replace("\n", ": "))
        return False, False
    said.tell(report)
    moved = report.pushed + report.pulled + report.relayed > 0
    cut = journal.clock.monotonic() - began >= ROUND_SECONDS / 2
    return report.reached and moved and (cut or report.pending > 0), report.reached


class Said:
    """Says what is new since the last time, one line each."""

    def __init__(self, describe: Callable[[SyncReport], str], *, as_json: bool) -> None:
        self._describe = describe
        self._as_json = as_json
        self._before: tuple[object, ...] = (True, "", ())

    def tell(self, report: SyncReport) -> None:
        """A line if something moved, or if how the store answers has changed."""
        now = (report.reached, report.stopped, report.not_taken)
        changed, self._before = now != self._before, now
        if not (changed or report.pushed or report.pulled or report.relayed or report.reserves):
            return
        if self._as_json:
            put(json_text(report._asdict()))
        else:
            say(self._describe(report))
        if changed and not self._as_json:
            for why in report.not_taken:
                warn(f"the store does not take the history of another machine: {why}")
