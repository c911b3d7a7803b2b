"""Whose turn it is to change a lasting environment that several machines may change.

The store has all events in one order. Whoever is about to deploy says so, and reads that order up to its own
word: who stands first in it and is not over has the turn, everybody else stands back. So exactly one
goes on, whoever is slow or dies, and the place in that order is a number that only rises: the fencing
token. A turn does not expire; ``cxlocal env take`` ends one whose machine is gone.

While the store is away nobody knows whose turn it is: then it is recorded as not granted, and it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cxlocal.errors import CxError, Refused
from cxlocal.events.belonging import mark_id
from cxlocal.events.runs import RunRef, run_uri
from cxlocal.events.turns import Asked, turn_asked, turn_ended
from cxlocal.exchange.breaker import PAUSE_MS
from cxlocal.exchange.contact import talk
from cxlocal.exchange.store import Store, StoreUnreachable
from cxlocal.exchange.sync import synchronise, take_in
from cxlocal.journal.file import Journal
from cxlocal.journal.machine import host_name
from cxlocal.journal.rebuild import catch_up
from cxlocal.processes import locks
from cxlocal.runner.admission import DEPLOYS, busy, hold
from cxlocal.runner.record import RunRecord
from cxlocal.text import quoted
from cxlocal.values import NamedTuple

ASK_SECONDS = 1.0
"""For one exchange about a turn: with a run's first exchange what an absent store may cost it."""
WATCH_SECONDS = 1.0
"""Between two questions whether a turn was taken, while something is waited for."""
OPEN = """
SELECT t.id, t.deliverable, t.run, t.stage, t.version, t.host, t.node, t.asked_at, t.environment, p.position
FROM turn t LEFT JOIN turn_position p ON p.node = t.node AND p.sequence = t.sequence
LEFT JOIN run w ON w.id = t.run
WHERE t.deliverable = ? AND t.instance = ? AND t.ended_at IS NULL AND t.asked_at IS NOT NULL
  AND NOT coalesce(w.finished_at >= t.asked_at, 0)
  AND NOT coalesce(w.given_up_at >= t.asked_at, 0)
ORDER BY p.position IS NULL, p.position, t.id
"""

GONE = "SELECT deleted_from FROM environment WHERE deliverable = ? AND instance = ?"


class Turn(NamedTuple):
    """A turn that somebody has."""

    id: str
    number: int
    """Its place in the store's order: higher than that of every turn before; 0 where it was not granted."""
    gone: str = ""
    """How often the environment had gone when it was asked for, as the record counts: another value later says
    that somebody destroyed it meanwhile."""


def is_first(mine: int, others: Iterable[int | None]) -> bool:
    """Whether no other open turn stands before ``mine`` in the store's order. None: the store has not told
    of it, so it comes later. Pure."""
    return all(other is None or other > mine for other in others)


class Turns:
    """Asks for turns, and gives them back."""

    def __init__(
        self, journal: Journal, store: Store | None, warn: Callable[[str], None], *,
        answers: bool = True,
    ) -> None:  # fmt: skip
        """``store``: None where it is not to be asked."""
        self._journal = journal
        self._store = store
        self._warn = warn
        self._answers = answers
        self._watch_at = 0.0
        """When a turn is looked after again, in seconds of the monotonic clock."""
        self._alone_until = 0.0
        """Until when a store that did not answer meanwhile is left alone, by the same clock."""

    def learn(self) -> bool:
        """One bounded exchange: what others deployed, and what we say. Whether all of it was said and heard.

        A store that did not answer is not asked again in this run, so that its absence costs no more than
        it may (promise P17).
        """
        if not self._answers or self._store is None:
            return False
        self._watch_at = self._now() + WATCH_SECONDS
        try:
            found = synchronise(self._journal, self._store, budget_seconds=ASK_SECONDS)
        except CxError:
            # What a store refuses, 'sync' shows in full; a run that can be carried out is.
            self._answers = False
            return False
        self._answers = found.reached
        return found.reached and not found.pending

    def seek(
        self, record: RunRecord, place: str, stage: str, does: str = DEPLOYS
    ) -> Turn | Refused:
        """A turn at a lasting environment, or why there is none now. Its lock is held by this process, so
        what this machine began there and did not end was cut off."""
        name = record.ref.deliverable
        heard = self.learn()
        self._end([one for one in self._open(name, place) if self._is_own(one)], "cut off")
        there = [one for one in self._open(name, place) if not self._is_own(one)]
        if there and heard:
            return elsewhere(place, there[0], does)
        turn, gone = mark_id(self._journal.ids.uuid(), name), self._gone(name, place)
        asked = Asked(turn, place, place, stage, record.version, host_name(), heard)
        record.record(turn_asked(record.ref, asked))
        number = self._number(name, place, turn) if heard and self.learn() else 0
        if not number:
            self._warn(
                f"the store gives no turn, so nobody knows whether another machine {does}"
                f" {place} now"
            )
            return Turn(turn, 0, gone)
        there = [one for one in self._open(name, place) if one["id"] != turn]
        if is_first(number, (one["position"] for one in there)):
            return Turn(turn, number, gone)
        record.record(turn_ended(record.ref, turn=turn, how="stood back"))
        self.learn()
        return elsewhere(place, there[0], does)

    def check(self, turn: Turn) -> None:
        """Raise Refused where somebody took the turn or the environment; a store that does not answer says nothing."""
        self.learn()
        if refused := self._taken(turn):
            raise refused

    def watch(self, turn: Turn) -> Refused | None:
        """What ``check`` would raise, asked while something is waited for. A store that is silent then is left alone
        for a minute, or as long as it says; whether it answers is found out by the next deed, as ever."""
        now = self._now()
        self._watch_at = now + WATCH_SECONDS
        if self._answers and self._store is not None and now >= self._alone_until:
            try:
                reply = talk(self._journal, self._store, push=False, timeout=ASK_SECONDS)
                take_in(self._journal, reply, settle=False)
            except CxError as problem:
                asked = problem.after_seconds if isinstance(problem, StoreUnreachable) else 0
                self._alone_until = now + (asked or PAUSE_MS / 1000)
        return self._taken(turn)

    def watch_seconds(self) -> float:
        """Until ``watch`` is due; 0 for now. Whatever was asked of the store meanwhile counts as that."""
        return max(0.0, self._watch_at - self._now())

    def _now(self) -> float:
        return self._journal.clock.monotonic()

    def _taken(self, turn: Turn) -> Refused | None:
        """The refusal where somebody took the turn, or destroyed the environment, as far as is known here."""
        catch_up(self._journal)
        row = self._journal.one("SELECT * FROM turn WHERE id = ?", (turn.id,))
        if row is None:
            return None
        if row["ended_how"] != "taken":
            same = self._gone(row["deliverable"], row["instance"]) == turn.gone
            return None if same else _destroyed(row["environment"])
        return Refused(
            f"the turn at {row['environment']} was taken from this machine",
            why=f"{row['ended_by']}: {row['ended_why']}",
            hint="'cxlocal env show' and 'cxlocal status' tell what was done there since",
            name="turn-taken",
        )

    def give_back(self, record: RunRecord, turn: Turn) -> None:
        """Let others in, and tell them."""
        record.record(turn_ended(record.ref, turn=turn.id, how="given back"))
        self.learn()

    def close(self) -> None:
        """No more is asked of the store."""
        if self._store is not None:
            self._store.close()

    def _gone(self, deliverable: str, place: str) -> str:
        """The word by which an environment went last; empty where it never did."""
        row = self._journal.one(GONE, (deliverable, place))
        return (row and row["deleted_from"]) or ""

    def _open(self, deliverable: str, place: str) -> list[dict[str, Any]]:
        return open_turns(self._journal, deliverable, place)

    def _is_own(self, one: dict[str, Any]) -> bool:
        return bool(one["node"] == self._journal.node)

    def _number(self, deliverable: str, place: str, turn: str) -> int:
        """The place of an own turn in the store's order; 0 where the store has not told it."""
        mine = [one for one in self._open(deliverable, place) if one["id"] == turn]
        return int(mine[0]["position"] or 0) if mine else 0

    def _end(self, rows: Sequence[dict[str, Any]], how: str) -> None:
        for row in rows:
            ref = _ref_of(self._journal, row)
            self._journal.append(turn_ended(ref, turn=row["id"], how=how))


def learn_once(turns: Turns | None) -> None:
    """One bounded exchange, where there is somebody to ask."""
    if turns is not None:
        try:
            turns.learn()
        finally:
            turns.close()


class TurnVigil:
    """Looks after a turn while something is waited for in it."""

    def __init__(self, turns: Turns, turn: Turn) -> None:
        self._turns, self._turn = turns, turn
        self.refused: Refused | None = None
        """Why it is over, once it was found out that somebody took it."""

    def seconds(self) -> float:
        """Until it is asked again; 0 for now."""
        return self._turns.watch_seconds()

    def ask(self) -> str:
        """Why nobody is to wait any more; empty where that is not so."""
        self.refused = self._turns.watch(self._turn)
        return "" if self.refused is None else self.refused.what


class Door(NamedTuple):
    """A lasting environment that we have to ourselves: on this machine, and as far as the store says."""

    lock: locks.Lock
    turn: Turn | None
    turns: Turns | None
    record: RunRecord

    @property
    def number(self) -> int:
        """The number of its turn; 0 for none."""
        return 0 if self.turn is None else self.turn.number

    def check(self) -> None:
        """Raise Refused where somebody took the turn meanwhile, or the environment."""
        if self.turns is not None and self.turn is not None:
            self.turns.check(self.turn)

    def vigil(self) -> TurnVigil | None:
        """What looks after the turn while something is waited for; None where nobody can take it."""
        if self.turns is None or self.turn is None:
            return None
        return TurnVigil(self.turns, self.turn)

    def leave(self) -> None:
        """Let others in."""
        try:
            if self.turns is not None and self.turn is not None:
                self.turns.give_back(self.record, self.turn)
        finally:
            self.lock.release()


def enter(
    record: RunRecord, place: str, stage: str, who: str, turns: Turns | None,
    warn: Callable[[str], None], does: str = DEPLOYS,
) -> Door | Refused:  # fmt: skip
    """Have a lasting environment to ourselves, or say who has it. ``turns``: None where no other machine
    can be asked."""
    journal, name = record.journal, record.ref.deliverable
    lock = hold(journal, name, place, who, warn)
    if lock is None:
        return busy(journal, name, place, does)
    try:
        found = None if turns is None else turns.seek(record, place, stage, does)
    except BaseException:
        lock.release()
        raise
    if isinstance(found, Refused):
        lock.release()
        return found
    return Door(lock, found, turns, record)


def knock(
    record: RunRecord, place: str, turns: Turns | None, does: str = DEPLOYS
) -> Refused | None:
    """What ``enter`` would refuse now; None where it would let us in. Nothing is taken and nothing recorded."""
    journal, name = record.journal, record.ref.deliverable
    if locks.is_held(locks.environment_lock(journal.home, name, place)):
        return busy(journal, name, place, does)
    if turns is None or not turns.learn():
        return None
    there = [one for one in open_turns(journal, name, place) if one["node"] != journal.node]
    return elsewhere(place, there[0], does) if there else None


@contextmanager
def alone_at(
    journal: Journal, deliverable: str, place: str, who: str, warn: Callable[[str], None],
    does: str = DEPLOYS,
) -> Iterator[None]:  # fmt: skip
    """Have a place to ourselves on this machine, while what runs left is taken away: no turn is asked for that. Raises
    Refused where another command has it."""
    lock = hold(journal, deliverable, place, who, warn)
    if lock is None:
        raise busy(journal, deliverable, place, does)
    try:
        yield
    finally:
        lock.release()


def open_turns(journal: Journal, deliverable: str, place: str) -> list[dict[str, Any]]:
    """Turns at an environment that are not over, in the store's order."""
    catch_up(journal)
    return journal.query(OPEN, (deliverable, place))


def take(journal: Journal, row: dict[str, Any], why: str, actor: dict[str, str]) -> None:
    """End the turn of a machine that is gone, on a person's word."""
    ref = _ref_of(journal, row)
    journal.append(turn_ended(ref, turn=row["id"], how="taken", why=why, actor=actor))


def holder(row: dict[str, Any]) -> str:
    """Who has a turn, in words."""
    return f"{row['host']} (run {row['run'][:8]}, {row['version']}), since {row['asked_at']}"


def elsewhere(place: str, row: dict[str, Any], does: str = DEPLOYS) -> Refused:
    """The refusal where another machine has the turn."""
    return Refused(
        f"another machine {does} {place}",
        why=holder(row),
        hint=f"run this again when it is done; if that machine is gone: cxlocal env take {quoted(place)} -m WHY",
        name="environment-busy",
    )


def _destroyed(place: str) -> Refused:
    """The refusal where an environment went while somebody changed it: neither of them could ask for a turn."""
    return Refused(
        f"{place} was destroyed meanwhile",
        why="another machine did that while the store gave no turn",
        hint=f"'cxlocal env reap' takes away what was made there since; 'cxlocal env show {quoted(place)}' tells"
        " what was done",
        name="destroyed-meanwhile",
    )


def _ref_of(journal: Journal, row: dict[str, Any]) -> RunRef:
    known = RunRecord.find(journal, row["run"])
    if known is not None:
        return known.ref
    return RunRef(row["deliverable"], row["run"], row["deliverable"], run_uri(row["run"], ""))
