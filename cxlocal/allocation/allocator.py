"""Getting the number of a run.

The same run asking again gets the same number. With the store reachable it is the next online
number; without it, the lowest of the reserve. Either way the number, the event that says so and
the row that keeps it unique are durable in one commit before anybody sees it. What a crash leaves
in between is skipped, never handed out again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cxlocal.allocation.request import (
    LENT,
    Number,
    NumberRequest,
    _number,
    _sort_key,
    known_node,
    number_of_run,
    passed_over,
    pauses,
    record_use,
    rest_seconds,
    taken_of,
)
from cxlocal.errors import Conflict, CxError, NotSignedIn, Refused, StoreNeeded
from cxlocal.events.runs import run_flagged
from cxlocal.exchange import state as known
from cxlocal.exchange.breaker import remember_failure, why_resting
from cxlocal.exchange.contact import ANSWER_SECONDS, as_error, reserve_wish, talk
from cxlocal.exchange.copies import continue_elsewhere, why_doubtful
from cxlocal.exchange.messages import GRANTS_ELSEWHERE, RUN_HAS_NUMBER, STORE_LEFT
from cxlocal.exchange.number_lock import asking
from cxlocal.exchange.reply import Applied, Wish, apply
from cxlocal.exchange.store import Store, StoreUnreachable
from cxlocal.exchange.sync import project_pulled, synchronise
from cxlocal.journal.witness import has_witness, note_head
from cxlocal.numbers import holdings
from cxlocal.numbers.holdings import Reserve, TakenNumber
from cxlocal.numbers.log import ONLINE, Entry
from cxlocal.numbers.schemes import suffix_text

if TYPE_CHECKING:
    from sqlite3 import Connection

    from cxlocal.allocation.borrower import Lender
    from cxlocal.clock import Ids
    from cxlocal.journal.file import Journal, Transaction


NONE_NOW = ("grants-stopped", GRANTS_ELSEWHERE)
"""Names of refusals that a reserve is for."""

TRIES_MAX = 50
"""Numbers asked for in a row when each turns out unusable (its text is in use already). More means
that the line or the scheme is wrong, not that the next number will do."""

REPORT_SECONDS = 4.0
"""How long is waited for the machine that was granted the number of our run to say that it used it."""


def obtain_number(
    journal: Journal, store: Store | None, request: NumberRequest, *, patience_seconds: float = 0.0,
    find_lender: Callable[[], Lender] | None = None,
) -> Number:  # fmt: skip
    """The number of ``request.run``, durable when this returns.

    ``store`` is None where it must not be asked (``--offline``). A passing machine waits up to
    ``patience_seconds`` for the store, and then asks the machine that ``find_lender`` opens, if there
    is one. Raises StoreNeeded when nobody has one, Refused where the store's rules or the reserve's
    lock say no, ConfigError for an unfit line.
    """
    request.scheme.check_line(request.line)
    found = number_of_run(journal, request.deliverable, request.run)
    if found is not None:
        note_head(journal)  # whoever took it may have been cut off before
        return found
    trouble: CxError | None = None
    if store is not None:
        try:
            return _ask_patiently(journal, store, request, patience_seconds)
        except (StoreUnreachable, Refused) as error:
            if isinstance(error, Refused) and error.name not in NONE_NOW:
                raise
            trouble = error
        except NotSignedIn as error:
            # A reserve was granted while the store knew us. If it had to wait for the store to know
            # us again, a lost file of members would stop every release.
            if not _holds_some(journal, request):
                raise
            trouble = error
    if request.only is not None:
        raise _only_the_store(request, trouble)
    if find_lender is not None and not request.kept:
        from cxlocal.allocation.borrower import borrow

        try:
            return borrow(journal, find_lender, request)
        except CxError as error:
            return take_offline(journal, request, trouble, error)
    return take_offline(journal, request, trouble)


def _holds_some(journal: Journal, request: NumberRequest) -> bool:
    reserve = holdings.reserve_of(journal.connection, request.deliverable, request.line)
    return reserve is not None and bool(reserve.left) and request.kept


def _ask_patiently(
    journal: Journal, store: Store, request: NumberRequest, patience_seconds: float
) -> Number:
    deadline = journal.clock.monotonic() + patience_seconds
    nonce = _Nonce(journal.ids)
    for pause in pauses(journal.ids):
        try:
            return _ask_in_turn(journal, store, request, nonce, not patience_seconds)
        except StoreUnreachable as error:
            left = deadline - journal.clock.monotonic()
            if left < pause:
                raise
            rest = rest_seconds(pause, error.after_seconds, left)
        time.sleep(rest)
    raise AssertionError("pauses never end")


class _Nonce:
    """Names one wish until it is answered: an answer that was lost is asked for again, and burns no
    number. In memory only: a later process, or a copy of the journal, asks for another number."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self.value = ids.token()

    def renew(self) -> None:
        """The wish was answered."""
        self.value = self._ids.token()


def _ask_in_turn(
    journal: Journal, store: Store, request: NumberRequest, nonce: _Nonce, heed_breaker: bool
) -> Number:
    """Ask while no other process of this machine does. What those before us learned of an absent
    store is heeded, so that a row of waiting processes waits for it once, not in turn."""
    with asking(journal.path, journal.clock, ANSWER_SECONDS):
        resting = why_resting(journal, store.url) if heed_breaker else ""
        if resting and _has_reserve(journal, request):
            raise StoreUnreachable(
                "the store cannot be reached",
                why=resting,
                hint="'cxlocal sync' asks it at once",
                url=store.url,
            )
        try:
            return _ask_online(journal, store, request, nonce)
        except StoreUnreachable as error:
            if heed_breaker:
                why = error.why or error.what
                remember_failure(journal, store.url, why, error.after_seconds)
            raise


def _has_reserve(journal: Journal, request: NumberRequest) -> bool:
    reserve = holdings.reserve_of(journal.connection, request.deliverable, request.line)
    return request.kept and reserve is not None and reserve.left > 0


def _ask_online(journal: Journal, store: Store, request: NumberRequest, nonce: _Nonce) -> Number:
    connection = journal.connection
    offered: set[int] = set()
    for _ in range(TRIES_MAX):
        wish = Wish(
            ONLINE, request.deliverable, request.line, nonce.value, run=request.run,
            above=holdings.highest_known(connection, request.deliverable, request.line),
            first=request.first, tagged=request.tagged,
        )  # fmt: skip
        wishes = [wish]
        if request.kept and request.reserve > 0:
            wishes.append(
                reserve_wish(
                    journal,
                    request.deliverable,
                    request.line,
                    request.reserve,
                    request.ahead,
                    first=request.first,
                    tagged=request.tagged,
                )
            )
        reply = talk(journal, store, wishes=wishes, timeout=ANSWER_SECONDS)
        nonce.renew()
        with journal.write() as transaction:
            applied = apply(transaction, reply)
            number = _use_online(transaction, request, wish, applied)
            entry = applied.granted.get(wish.nonce)
            if number is None and entry is not None:
                _refuse_again(connection, request, entry.lo, offered, store.url)
            refused = applied.refused.get(wish.nonce)
            if refused is not None and refused.name == GRANTS_ELSEWHERE:
                _remember_reserve(connection, request)
        if applied.pulled:
            project_pulled(journal)
        if wish.nonce in applied.refused and number is None:
            refused = applied.refused[wish.nonce]
            if refused.name == RUN_HAS_NUMBER:
                number = _of_another_machine(journal, store, request)
            if number is None:
                raise as_error(refused, store.url)
        if number is not None:
            return number
        if request.only is not None:
            raise passed_over(request.scheme.render(request.line, request.only), request.line)
    raise Conflict(
        f"no usable number was found on line {request.line!r}",
        why=f"the texts of {TRIES_MAX} numbers in a row are in use already",
        hint="see 'cxlocal version list'; set [version] from, or change the line",
        name="texts-in-use",
    )


def _refuse_again(
    connection: Connection, request: NumberRequest, number: int, offered: set[int], url: str
) -> None:
    """Raise StoreUnreachable, which leaves the answer without effect, for a number that cannot be
    granted: this machine used it, or has just said that it will not."""
    spent = holdings.is_spent(connection, request.deliverable, request.line, number)
    if not spent and number not in offered:
        offered.add(number)
        return
    text = request.scheme.render(request.line, number)
    raise StoreUnreachable(
        "the store answers, and cannot serve us",
        why=f"it hands out {text}, which this machine "
        + ("used already" if spent else "gave up already"),
        hint="see 'cxlocal store status': it may have been put back to an earlier state",
        url=url,
    )


def _of_another_machine(journal: Journal, store: Store, request: NumberRequest) -> Number | None:
    """The number another machine took for this run, once the store has heard of it. It was granted a
    moment ago where jobs begin one run together, so its use is awaited for as long as an answer."""
    clock = journal.clock
    until = clock.monotonic() + REPORT_SECONDS
    for pause in pauses(journal.ids):
        synchronise(journal, store, budget_seconds=ANSWER_SECONDS, use_breaker=False)
        found = number_of_run(journal, request.deliverable, request.run)
        if found is not None or clock.monotonic() + pause > until:
            return found
        time.sleep(pause)
    raise AssertionError("pauses never end")


def _use_online(
    transaction: Transaction, request: NumberRequest, wish: Wish, applied: Applied
) -> Number | None:
    """Use the number granted for ``wish``; None where it cannot be used and another is needed."""
    connection = transaction.connection
    entry = applied.granted.get(wish.nonce)
    already = holdings.taken_by(connection, request.deliverable, request.run)
    if entry is None:
        return _number(already) if already else None
    holdings.keep_entry(connection, request.deliverable, request.line, entry, open_=False)
    holdings.close_entry(connection, request.deliverable, request.line, entry.k)
    given_up = holdings.is_given_up(connection, request.deliverable, request.line, entry.lo)
    if already is not None:
        if not given_up:
            why = "another process of the same run had taken a number already"
            holdings.give_up(
                transaction, request.deliverable, request.line, entry.lo, entry.hi, why
            )
        return _number(already)
    if given_up or holdings.is_spent(connection, request.deliverable, request.line, entry.lo):
        return None
    if request.only not in (None, entry.lo):
        why = f"{request.scheme.render(request.line, request.only)} was wanted, and no other"
        holdings.give_up(transaction, request.deliverable, request.line, entry.lo, entry.hi, why)
        return None
    if entry.lo <= holdings.highest_spent(connection, request.deliverable, request.line):
        why = "another process of the machine had taken a higher number meanwhile"
        holdings.give_up(transaction, request.deliverable, request.line, entry.lo, entry.hi, why)
        return None
    taken = taken_of(request, entry.lo, ONLINE, known.store_state(connection).lineage)
    if holdings.order_in_use(connection, request.deliverable, taken.sort_key):
        why = f"its text {taken.text} is in use already"
        holdings.give_up(transaction, request.deliverable, request.line, entry.lo, entry.hi, why)
        return None
    _remember_reserve(connection, request)
    return record_use(transaction, request, taken, entry.generation, entry.k)


def _remember_reserve(connection: Connection, request: NumberRequest) -> None:
    if request.kept and request.reserve > 0:
        holdings.remember_wish(
            connection, request.deliverable, request.line, request.reserve, request.ahead
        )


def take_offline(
    journal: Journal,
    request: NumberRequest,
    trouble: CxError | None = None,
    unlent: CxError | None = None,
) -> Number:
    """The lowest number of the reserve, without asking anybody.

    ``trouble`` is why the store did not give one, ``unlent`` why no other machine did. Raises
    StoreNeeded and Refused.
    """
    doubtful = why_doubtful(journal)
    if doubtful:
        with journal.write() as transaction:
            holdings.lock_reserves(transaction.connection, True)
    with journal.write() as transaction:
        connection = transaction.connection
        already = holdings.taken_by(connection, request.deliverable, request.run)
        if already is not None:
            return _number(already)
        state = known.store_state(connection)
        reserve = holdings.reserve_of(connection, request.deliverable, request.line)
        if reserve is not None and reserve.left and request.kept:
            _check_lock(reserve, trouble, doubtful)
            if (reserve.lineage, reserve.generation) == (state.lineage, state.generation):
                number = _spend(transaction, request, reserve)
                if number is not None:
                    _flag_without_witness(transaction, request, number)
                    return number
        if request.when_empty == "suffix":
            if doubtful:
                # The name is unique by the id of its node, and a copy has that of its original.
                continue_elsewhere(transaction)
            return _take_suffix(transaction, request, state.lineage)
    raise _store_needed(request, trouble, unlent)


def _flag_without_witness(transaction: Transaction, request: NumberRequest, number: Number) -> None:
    if has_witness(transaction.journal):
        return
    transaction.append(
        run_flagged(
            kind="no-witness", subject=transaction.journal.node, deliverable=request.deliverable,
            run=request.run,
            text=f"{number.text} was taken offline, and nothing outside the journal could tell"
            " whether it was put back to an earlier state before",
        )
    )  # fmt: skip


def _check_lock(reserve: Reserve, trouble: CxError | None, doubtful: str) -> None:
    """``trouble``: why the store, if it answered, gave no number. ``doubtful``: why they may be in
    use."""
    if reserve.locked:
        stopped = isinstance(trouble, Refused)
        reach = "reach the store ('cxlocal sync')"
        if stopped:
            left = trouble is not None and trouble.data.get("stop") == STORE_LEFT
            reach = "set [store] url to where it went on" if left else "'cxlocal store recover'"
        raise Refused(
            f"the {reserve.left} numbers held for line {reserve.line!r} are locked",
            why=f"the journal {doubtful or 'may be a copy'}"
            + (f"; and {trouble.why}" if trouble is not None and stopped else ""),
            hint=f"{reach}; or, if the journal was moved and no other copy"
            " is in use, or if nothing was released since its state of now, add"
            " --journal-was-moved 'why'",
            name="reserve-locked",
        )


def _spend(transaction: Transaction, request: NumberRequest, reserve: Reserve) -> Number | None:
    """Take the lowest usable number of the reserve; None where none is left.

    Numbers that would not exceed everything known to be in use, or whose text is in use, are given
    up on the way.
    """
    connection = transaction.connection
    known_here = holdings.highest_known(connection, request.deliverable, request.line)
    highest = max(known_here, request.above)
    how = "reserve" if request.lent is None else LENT
    for number in range(max(reserve.next, highest + 1), reserve.hi + 1):
        taken = taken_of(request, number, how, reserve.lineage)
        if not holdings.order_in_use(connection, request.deliverable, taken.sort_key):
            why = "a higher number or the same text was in use already"
            holdings.give_up(
                transaction, request.deliverable, request.line, reserve.next, number - 1, why
            )
            holdings.spend_lowest(connection, reserve, number)
            return record_use(transaction, request, taken, reserve.generation, reserve.k)
    return None


def _take_suffix(transaction: Transaction, request: NumberRequest, lineage: str) -> Number:
    connection = transaction.connection
    highest = holdings.highest_known(connection, request.deliverable, request.line)
    node = known_node(transaction)
    count = connection.execute("SELECT count(*) FROM spent WHERE how = 'suffix'").fetchone()[0] + 1
    text = suffix_text(request.scheme, request.line, max(highest, request.first - 1), node, count)
    taken = TakenNumber(
        request.deliverable, request.run, request.line, None, text,
        _sort_key(request.scheme, text), "suffix", lineage,
    )  # fmt: skip
    return record_use(transaction, request, taken, 0, 0)


def _cause(trouble: CxError | None) -> str:
    return (trouble.why or trouble.what) if trouble is not None else "it was not to be asked"


def _only_the_store(request: NumberRequest, trouble: CxError | None) -> StoreNeeded:
    """For a run that takes ``request.only`` and nothing else."""
    assert request.only is not None
    wanted = request.scheme.render(request.line, request.only)
    return StoreNeeded(
        f"{wanted} cannot be had now",
        why=f"the store alone can give a certain number, and it gave none: {_cause(trouble)}",
        hint="run it again once the store answers",
        name="no-number",
        deliverable=request.deliverable,
        line=request.line,
    )


def _store_needed(
    request: NumberRequest, trouble: CxError | None, unlent: CxError | None
) -> StoreNeeded:
    if not request.kept:
        held = "a passing machine holds no reserve"
    else:
        held = f"this machine holds no number for line {request.line!r}"
    cause = _cause(trouble)
    ways = ["run it again once the store answers"]
    if trouble is not None and trouble.name in NONE_NOW:
        ways = [trouble.hint]
    ways.append("release from a machine that still holds numbers ('cxlocal status' there)")
    if unlent is not None:
        cause += f"; and the lender gave none: {unlent.what}"
        cause += f" ({unlent.why})" if unlent.why else ""
        ways.append(f"mend the lender: {unlent.hint}")
    elif not request.kept:
        ways.append("set [store] lender to a machine that lends numbers ('cxlocal serve --lend')")
    if request.when_empty != "suffix":
        ways.append('or set when_empty = "suffix" in [version] (semver and counter)')
    return StoreNeeded(
        "there is no version number for this run",
        why=f"{held}, and the store gave none: {cause}",
        hint="; ".join(ways),
        name="no-number",
        deliverable=request.deliverable,
        line=request.line,
    )


__all__ = ["Entry", "Number", "NumberRequest", "number_of_run", "obtain_number", "take_offline"]
