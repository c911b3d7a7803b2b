"""Bringing a journal and its store together: push what it lacks, pull what we lack, keep reserves
fresh, settle what got lost on the way.

Bounded: one answer is waited for at most ``ANSWER_SECONDS``, all together at most the budget, and a
store that did not answer is left alone for a minute. Cutting it off anywhere costs at most one
batch sent again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from cxlocal.errors import Refused
from cxlocal.exchange import carried as carrying
from cxlocal.exchange import state as known
from cxlocal.exchange.answers import Stop
from cxlocal.exchange.breaker import remember_failure, why_resting
from cxlocal.exchange.carried import Chain
from cxlocal.exchange.contact import (
    ANSWER_SECONDS,
    next_batch,
    reserve_wish,
    reserves_told,
    talk,
)  # fmt: skip
from cxlocal.exchange.followed import worked_on
from cxlocal.exchange.messages import STORE_LEFT
from cxlocal.exchange.number_lock import nobody_asks
from cxlocal.exchange.redaction import drop_redacted
from cxlocal.exchange.reply import Applied, Reply, apply
from cxlocal.exchange.standing import LeftOut, to_follow
from cxlocal.exchange.store import Store, StoreUnreachable
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.journal.schema import PARTIAL
from cxlocal.numbers import holdings
from cxlocal.values import NamedTuple

BUDGET_SECONDS = 3.0
"""What a command may spend on the store beside its own work (promise P17)."""

REASONS_SHOWN = 3
"""Why a store hands out no numbers, of many reasons."""

LEAST_SECONDS = 0.05
"""With less than this left no further contact is begun: it could only fail."""


class ReserveWish(NamedTuple):
    """A reserve this machine should hold."""

    deliverable: str
    line: str
    size: int
    ahead: int


class SyncReport(NamedTuple):
    """What an exchange moved."""

    reached: bool
    why: str = ""
    """Why the store was not reached, in words."""
    pushed: int = 0
    """Events the store did not have before."""
    pulled: int = 0
    """Events this journal did not have before."""
    pending: int = 0
    """Own events the store still lacks."""
    reserves: tuple[str, ...] = ()
    """Reserves received, such as ``webshop 2.7: 114 to 116``."""
    stopped: str = ""
    """Why the store hands out no numbers; empty when it does."""
    left: bool = False
    """It never will again: another store has taken over from it."""
    gone: tuple[str, ...] = ()
    """Deliverables that another store has taken over; the empty name stands for all."""
    relayed: int = 0
    """Events of other machines that the store did not have before: they came here in bundles, or the
    store had lost them."""
    to_relay: int = 0
    """Such events the store still lacks."""
    not_taken: tuple[str, ...] = ()
    """Why the store does not take some of them."""
    staying: Mapping[str, int] = MappingProxyType({})
    """Own events by deliverable that may not be pushed: they stay here."""
    rewritten: tuple[str, ...] = ()
    """What is another one than was acknowledged, here or at the store, in sentences."""
    unremoved: tuple[str, ...] = ()
    """What of redacted bytes is still on this machine, and why."""
    after_seconds: int = 0
    """How long the store, which has too much to do, asks to be left alone."""


def why_no_numbers(report: SyncReport) -> str:
    """Why the store hands out no numbers and what to do about it, as one clause; empty when it does."""
    if not report.stopped or report.left:
        return report.stopped  # where it went on to, its reason says
    return f"{report.stopped}; 'cxlocal store recover' lets it go on"


def pending(journal: Journal) -> int:
    """How many of our own events the store has not acknowledged, of those that may be pushed."""
    connection = journal.connection
    return sum(tail.events for tail in known.unsent(connection)) + known.to_follow_count(connection)


def synchronise(
    journal: Journal,
    store: Store,
    *,
    budget_seconds: float = BUDGET_SECONDS,
    use_breaker: bool = True,
    wanted: Sequence[ReserveWish] = (),
    again: bool = False,
) -> SyncReport:
    """Exchange until both sides are level or the budget is used up.

    ``again``: offer the store also what it refused of other machines' histories. An absent store is
    no error: the report says so. Raises Refused where the store answers but says no (another store,
    another protocol).
    """
    report = SyncReport(False)
    resting = why_resting(journal, store.url) if use_breaker else ""
    if resting:
        return _counted(journal, report._replace(why=resting))
    deadline = journal.clock.monotonic() + budget_seconds
    try:
        report, level = _rounds(journal, store, deadline, wanted)
        catch_up(journal)
        report = report._replace(unremoved=drop_redacted(journal, store).stay)
        if level:
            report = _relay(journal, store, deadline, report, again)
    except StoreUnreachable as error:
        why = error.why or error.what
        remember_failure(journal, store.url, why, error.after_seconds)
        report = report._replace(reached=False, why=why, after_seconds=error.after_seconds)
    return _counted(journal, report)


def _counted(journal: Journal, report: SyncReport) -> SyncReport:
    return report._replace(
        pending=pending(journal),
        to_relay=to_relay(journal),
        staying=known.staying(journal.connection),
    )


def to_relay(journal: Journal) -> int:
    """How many events of other machines, which came in bundles or before the store was recovered, the
    store has not acknowledged."""
    lineage = known.store_state(journal.connection).lineage
    chains = carrying.waiting(journal.connection, lineage)
    return sum(chain.head - chain.acked for chain in chains)


def _relay(
    journal: Journal, store: Store, deadline: float, report: SyncReport, again: bool
) -> SyncReport:
    if not to_relay(journal):
        return report

    relayed = relay(journal, store, deadline, again=again)
    return report._replace(relayed=relayed.moved, not_taken=relayed.refused)


def _rounds(
    journal: Journal, store: Store, deadline: float, wanted: Sequence[ReserveWish]
) -> tuple[SyncReport, bool]:
    """The report, and whether we have seen all the store has: only then is it known what it lacks."""
    report, whole = SyncReport(True), False
    if wanted:
        with journal.write() as transaction:
            for wish in wanted:
                holdings.remember_wish(transaction.connection, *wish)
    while (left := deadline - journal.clock.monotonic()) > LEAST_SECONDS:
        before = _waiting(journal)
        wishes = [reserve_wish(journal, *wish) for wish in holdings.wishes(journal.connection)]
        limit = min(left, ANSWER_SECONDS)
        reply = talk(journal, store, wishes=wishes, timeout=limit, whole=whole)
        applied = take_in(journal, reply, settle=True)
        whole = applied.lacking
        stops = _concerning(journal, applied.stopped)
        report = report._replace(
            pushed=report.pushed + applied.pushed,
            pulled=report.pulled + applied.pulled,
            reserves=report.reserves + reserves_told(reply.wishes, applied),
            stopped=_in_words([stop.why for stop in stops]),
            left=any(stop.cause == STORE_LEFT for stop in stops),
            gone=tuple(stop.deliverable for stop in applied.stopped if stop.cause == STORE_LEFT),
            rewritten=report.rewritten + applied.rewritten,
        )
        waiting = _waiting(journal)
        # A store whose acknowledgements come with a later contact has nothing more to say now.
        if not applied.more and (waiting == before or waiting == ([], None)):
            return report, True
    return report, False


def _in_words(reasons: Sequence[str]) -> str:
    """Each reason once, and of many the first few and how many more there are."""
    different = list(dict.fromkeys(reasons))
    more = len(different) - REASONS_SHOWN
    return "; ".join(different[:REASONS_SHOWN] + ([f"and {more} more"] if more > 0 else []))


def _concerning(journal: Journal, stops: Sequence[Stop]) -> list[Stop]:
    """Those that are of concern here: of what left its store, what this journal still counts."""
    if not any(stop.cause == STORE_LEFT and stop.deliverable for stop in stops):
        return list(stops)
    counted = worked_on(journal)
    return [
        stop
        for stop in stops
        if stop.cause != STORE_LEFT or not stop.deliverable or stop.deliverable in counted
    ]


def _waiting(journal: Journal) -> tuple[list[known.Tail], LeftOut | None]:
    """What is to be sent of our own."""
    return known.unsent(journal.connection), to_follow(journal.connection)


def take_in(journal: Journal, reply: Reply, *, settle: bool) -> Applied:
    """Let an answer take effect in a transaction of its own, and project what came with it."""
    with nobody_asks(journal.path) as alone, journal.write() as transaction:
        if settle and alone:
            holdings.settle_open(transaction)
        applied = apply(transaction, reply)
    if applied.pulled:
        project_pulled(journal)
    return applied


def project_pulled(journal: Journal) -> None:
    """A pull appends first and projects after."""
    catch_up(journal, disputes=False)


_EVIDENCE = """
SELECT deliverable, line, max(high) FROM (
  SELECT deliverable, line, hi AS high FROM grant_entry
  UNION ALL SELECT deliverable, line, hi FROM reserve
  UNION ALL SELECT deliverable, line, number FROM spent WHERE number IS NOT NULL
  UNION ALL SELECT deliverable, line, number FROM version WHERE number >= 0
) GROUP BY deliverable, line
"""


def recover_store(journal: Journal, store: Store, *, margin: int = 1000) -> SyncReport:
    """Begin the next generation of a store that lost part of its memory, was copied or moved, or
    whose file is gone: it continues ``margin`` above everything this journal knows to be in use.

    Raises StoreUnreachable and Refused.
    """
    recovery: dict[str, Any] = {
        "evidence": [list(row) for row in journal.connection.execute(_EVIDENCE).fetchall()],
        "margin": margin,
        "generation": known.store_state(journal.connection).generation,
    }
    take_in(journal, talk(journal, store, push=False, parts={"recover": recovery}), settle=False)
    return synchronise(journal, store, use_breaker=False, budget_seconds=60.0)


class Relayed(NamedTuple):
    """What came of it."""

    moved: int = 0
    """Events the store did not have before."""
    refused: tuple[str, ...] = ()
    """Why the store does not take a chain, one sentence each."""


def relay(journal: Journal, store: Store, deadline: float, *, again: bool = False) -> Relayed:
    """Bring what waits until ``deadline`` (monotonic seconds). ``again``: try what was refused
    before, too. Raises StoreUnreachable."""
    lineage = known.store_state(journal.connection).lineage
    moved = 0
    for chain in carrying.waiting(journal.connection, lineage):
        if chain.refused and not again:
            continue
        last = chain.head if chain.given else carrying.before_gap(journal.connection, chain)
        moved += _relay_chain(journal, store, chain, last, deadline)
    with journal.write() as transaction:
        carrying.forget_offered(transaction.connection, lineage)
    left = carrying.waiting(journal.connection, lineage)
    return Relayed(moved, tuple(f"{one.node[:8]}: {one.refused}" for one in left if one.refused))


def _relay_chain(journal: Journal, store: Store, chain: Chain, last: int, deadline: float) -> int:
    after, moved = chain.acked, 0
    partial = bool(journal.value(PARTIAL + chain.node))
    seen = {after}
    while (left := deadline - journal.clock.monotonic()) > LEAST_SECONDS:
        batch = next_batch(journal, chain.node, after, chain.branch)
        batch = [event for event in batch if event["sequence"] <= last]
        if not batch:
            return moved
        acked = known.ack_of(journal.connection, chain.node, chain.branch).sequence
        in_part = partial and batch[-1]["sequence"] - acked > len(batch)
        try:
            reply = talk(
                journal, store, batch=batch, in_part=in_part, timeout=min(left, ANSWER_SECONDS)
            )
        except Refused as error:
            _refuse(journal, chain, error.why or error.what)
            return moved
        moved += take_in(journal, reply, settle=False).pushed
        after = known.ack_of(journal.connection, chain.node, chain.branch).sequence
        if after in seen:
            _refuse(journal, chain, "the store has nothing that this history continues")
            return moved
        seen.add(after)
    return moved


def _refuse(journal: Journal, chain: Chain, why: str) -> None:
    with journal.write() as transaction:
        carrying.note_refused(transaction.connection, chain, why)
