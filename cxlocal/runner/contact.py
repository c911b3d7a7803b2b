"""The exchanges with the store that a run makes by itself: one at its beginning, one at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cxlocal.errors import CxError
from cxlocal.exchange.copies import why_doubtful
from cxlocal.exchange.followed import include
from cxlocal.exchange.open import is_own
from cxlocal.exchange.state import store_state
from cxlocal.exchange.store import Store, StoreUnreachable
from cxlocal.exchange.sync import LEAST_SECONDS, SyncReport, synchronise, why_no_numbers
from cxlocal.journal.file import Journal
from cxlocal.numbers.holdings import reserves
from cxlocal.runner.source import Machine, Source, open_store, refuse_stranger
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.runner.request import Request
    from cxlocal.runner.turns import Turns

START_SYNC_SECONDS = 2.0
END_SYNC_SECONDS = 1.0
"""Together they are what an absent store may cost a run: 3 s (promise P17). One that did not answer
at the start is not asked again within a minute."""


FIRST_SECONDS = 3.0
"""What a store that does not answer may cost a run all in all, before what it is about to make."""


class First:
    """Sends what is durable here before the side effect it describes, on a machine whose journal goes away
    with it: then whatever becomes of the machine, another one knows what to take away."""

    def __init__(self, journal: Journal, store: Store, warn: Callable[[str], None]) -> None:
        self._journal = journal
        self._store = store
        self._warn = warn
        self._left = FIRST_SECONDS
        self._warned = False

    def __call__(self) -> None:
        """One bounded exchange. A store that stays away is no obstacle; what that risks is said once."""
        clock = self._journal.clock
        if self._left > 0:
            began = clock.monotonic()
            try:
                report = synchronise(
                    self._journal, self._store, budget_seconds=self._left, use_breaker=False
                )
            except CxError as problem:
                why = problem.what
            else:
                if report.reached and not report.pending:
                    return
                why = report.why or "it did not take all in time"
            self._left -= max(clock.monotonic() - began, LEAST_SECONDS)
            if not self._warned:
                self._warned = True
                self._warn(
                    f"the store does not know yet what is being made here ({why}): should this machine"
                    " go away before it does, nobody else can take that away"
                )


def first_sender(
    journal: Journal, store: Store | None, source: Source, warn: Callable[[str], None]
) -> Callable[[], None]:
    """What a run does between an intent and its side effect; nothing where its journal stays."""
    return (lambda: None) if store is None or source.kept else First(journal, store, warn)


def turns_of(
    journal: Journal,
    store: Store | None,
    source: Source,
    warn: Callable[[str], None],
    why_offline: str,
) -> Turns | None:
    """What asks other machines whose turn it is; None where there are none to ask. Without the store (``--offline``) it
    asks nobody, and knows that nobody else knows."""
    if is_own(source.settings.store_url):
        return None
    from cxlocal.runner.turns import Turns

    return Turns(journal, store, warn, answers=store is not None and not why_offline)


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
    machine: Machine, journal: Journal, source: Source, root: str, request: Request, *, numbered: bool
) -> Met:  # fmt: skip
    """Open the store and learn what others did; ``root`` is the first commit of the repository, and
    ``numbered`` says that it is asked for a number next. Raises Refused for a deliverable that belongs
    to another repository."""
    name = source.config.deliverable.name
    store = (
        None if request.rehearsal else open_store(source, machine, journal, offline=request.offline)
    )
    try:
        if store is not None and numbered and _tells_no_more(journal, store, source):
            met = Met(store, True, "")
        else:
            met = Met(store, *meet(journal, store, source))
        # A home that was empty has only now been told whose it is.
        row = journal.one("SELECT repository_root FROM deliverable WHERE id = ?", (name,))
        refuse_stranger((row and row["repository_root"]) or "", root, name)
        return met
    except BaseException:
        if store is not None:
            store.close()
        raise


def _tells_no_more(journal: Journal, store: Store, source: Source) -> bool:
    """Whether a first exchange would say nothing that asking for the number does not: the store is this
    machine's own and there, the journal is as it left it, and no number can come from elsewhere."""
    if not is_own(source.settings.store_url) or reserves(journal):
        return False
    if not store_state(journal.connection).lineage or why_doubtful(journal):
        return False
    try:
        store.missing_blobs([], timeout=START_SYNC_SECONDS)
    except StoreUnreachable:
        return False
    return True


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
