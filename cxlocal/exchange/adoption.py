"""From a store of one's own to one that is shared: ``cxlocal store adopt``.

In this order, and every step may be repeated after a cut: ask the new store whether it would take
us; give up our reserves; let the old store stop and say how far it counted; let the new one count
above that; change over in the journal, in one transaction. What was sent to the old store is sent to
the new one as if it had never been sent, other machines' histories included.

That is for a journal that goes to the new store as a whole. Where it holds what does not go along,
``parting`` takes some deliverables into the journal of the new store, by the same steps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from typing import Any

from cxlocal.errors import Refused
from cxlocal.exchange import carried as carrying
from cxlocal.exchange import followed as following
from cxlocal.exchange import standing
from cxlocal.exchange import state as known
from cxlocal.exchange.answers import Answer, Refusal
from cxlocal.exchange.contact import ANSWER_SECONDS, as_error, ask, bind_address, talk, told_in
from cxlocal.exchange.copies import ensure_node
from cxlocal.exchange.messages import PROTOCOL
from cxlocal.exchange.rights import may
from cxlocal.exchange.store import Store, StoreUnreachable
from cxlocal.exchange.sync import SyncReport, synchronise, take_in
from cxlocal.exchange.token import NO_TOKEN, propose, token_out
from cxlocal.journal.file import Journal, Transaction
from cxlocal.journal.whereabouts import file_hint
from cxlocal.numbers import holdings
from cxlocal.text import utc_text
from cxlocal.values import NamedTuple

_PROPOSAL = "proposal to another store"
"""Local value: the contact token offered to the new store, the same in every attempt."""
SYNC_SECONDS = 60.0

_USED = """
SELECT deliverable, line, max(number) FROM (
  SELECT deliverable, line, number FROM spent WHERE number IS NOT NULL
  UNION ALL SELECT deliverable, line, number FROM version WHERE number >= 0
) GROUP BY deliverable, line
"""

Lines = list[tuple[str, str, int]]
"""Deliverable, line, highest number."""


class Moved(NamedTuple):
    """What a change of stores came to."""

    lines: int
    """Lines the new store goes on counting."""
    events: int
    """Events that are to be sent to it."""
    already: bool = False
    """The journal belonged to it before."""


def move(
    journal: Journal, old: Store, new: Store, *, others: bool = False, conflicts: bool = False,
    names: Collection[str] | None = None,
) -> Moved:  # fmt: skip
    """Change over from ``old`` to ``new``. ``others``: more machines use the old one and will
    follow; ``conflicts``: it is known that both may have counted the same numbers. ``names``: all
    that the journal counts; the old store goes on counting whatever else it counts.

    Raises StoreUnreachable and Refused; everything is as before then, but for reserves given up and
    an old store that stopped.
    """
    state = known.store_state(journal.connection)
    if not state.lineage:
        return Moved(0, 0, already=True)
    _refuse_partial(journal)
    request = _Request(journal, new, state.lineage, conflicts)
    if not request.would_take(used_lines(journal)):
        bind_address(journal, new.url)  # ours, by another name
        return Moved(0, 0, already=True)
    lines = leave(journal, old, new.url, request.ask, others=others, names=names)
    answer = request.adopt(lines)
    events = _change_over(journal, new.url, answer, request.proposal)
    return Moved(len(request.allowed(lines)), events)


def _refuse_partial(journal: Journal) -> None:
    if following.chosen(journal) is None:
        return
    raise Refused(
        "this machine holds the history of some deliverables only",
        why="the new store gets what is here, and the rest would be left behind",
        hint="cxlocal store follow --all; cxlocal sync; then again",
        name="followed-in-part",
    )


def leave(
    journal: Journal, old: Store, to: str, ask: Callable[[Lines], Answer], *,
    others: bool, names: Collection[str] | None,
) -> Lines:  # fmt: skip
    """Let the old store stop, of all or of ``names``: the lines it counted, as the new one is to count
    on above them. ``ask`` puts them to the new one. Raises StoreUnreachable and Refused."""
    gone = level(journal, old).gone
    if names is not None and not names:
        return []
    with journal.write() as transaction:
        why = f"this machine moves from its store to {to}"
        holdings.give_up_reserves(transaction, why, names=names)
    stopped = _retire(journal, old, to, others=others, names=names)
    if stopped is not None:
        return stopped
    left = "" in gone or (names is not None and set(names) <= set(gone))
    return _follow(journal, old, ask, left=left, names=names)


def level(journal: Journal, old: Store) -> SyncReport:
    """Fetch what only the old store has, and bring what it lacks. Raises StoreUnreachable."""
    report = synchronise(journal, old, use_breaker=False, budget_seconds=SYNC_SECONDS)
    while report.reached and report.pulled:
        report = synchronise(journal, old, use_breaker=False, budget_seconds=SYNC_SECONDS)
    if not report.reached:
        raise StoreUnreachable(
            "the store this machine moves from cannot be reached",
            why=f"{report.why}; only it knows every number it handed out",
            hint="bring it back; if it is lost: cxlocal store recover, then again",
            url=old.url,
        )
    return report


def _follow(
    journal: Journal, old: Store, ask: Callable[[Lines], Answer], *, left: bool,
    names: Collection[str] | None,
) -> Lines:  # fmt: skip
    """What a machine that may not stop the old store brings of its own: somebody else stopped it, and
    the new one counts above all of it already. Raises Refused where that is not so yet."""
    lines = used_lines(journal, names)
    if left and not ask(lines).adopted:
        return lines
    raise Refused(
        "this machine may not move the store",
        why="the new store does not count above the old one yet"
        if left
        else f"{old.url} is in use, and only a member that may invite others may stop it",
        hint="where such a member works: cxlocal store adopt URL --with-others; then here again",
        name="not-allowed",
    )


def _retire(
    journal: Journal, old: Store, to: str, *, others: bool, names: Collection[str] | None
) -> Lines | None:
    """Let the old store stop, which says how far it counted; None where we may not."""
    own = [row["node"] for row in journal.query("SELECT node FROM contact")]
    part: dict[str, Any] = {"to": to, "others": others, "own": own}
    # A part of its own: what does not know it must not stop altogether.
    parts = (
        {"retire": part} if names is None else {"leave": {**part, "deliverables": sorted(names)}}
    )
    try:
        reply = talk(journal, old, push=False, parts=parts)
    except Refused as error:
        if error.name != "not-allowed":
            raise
        return None
    if reply.answer.retired is None:
        raise too_old(old)
    take_in(journal, reply, settle=False)
    highest = {(name, line): number for name, line, number in reply.answer.retired}
    for name, line, number in used_lines(journal, names):
        highest[name, line] = max(number, highest.get((name, line), -1))
    return [(*where, number) for where, number in sorted(highest.items()) if number >= 0]


def used_lines(journal: Journal, names: Collection[str] | None = None) -> Lines:
    """The lines of which this machine knows numbers in use, of all deliverables or of ``names``."""
    rows = journal.connection.execute(_USED).fetchall()
    return [row for row in rows if names is None or row[0] in names]


def adopt_part(lineage: str, lines: Lines, *, conflicts: bool, only_ask: bool) -> dict[str, Any]:
    """The part ``adopt`` of a message."""
    return {
        "lineage": lineage, "lines": [list(line) for line in lines],
        "conflicts_known": conflicts, "only_ask": only_ask,
    }  # fmt: skip


class _Request:
    """Speaks to the new store, which has never heard of this journal."""

    def __init__(self, journal: Journal, new: Store, lineage: str, conflicts: bool) -> None:
        self.new = new
        self.lineage = lineage
        self.conflicts = conflicts
        self.hint = file_hint(journal.path)
        self.standing: standing.Standing | None = None
        with journal.write() as transaction:
            self.node = ensure_node(transaction).node
            self.proposal = _proposal(transaction, new.url, self.node)

    def would_take(self, lines: Lines) -> bool:
        """Whether it is another store than ours. Raises Refused where it would not take us."""
        try:
            answer = self.ask(lines)
        except Refused as error:
            # Ours under another name knows this machine by another token.
            if error.name == "copy":
                return False
            raise
        return answer.lineage != self.lineage

    def adopt(self, lines: Lines) -> Answer:
        """Let it count above ``lines``. Raises Refused, StoreUnreachable."""
        return self._ask(lines, only_ask=False)

    def ask(self, lines: Lines) -> Answer:
        """What it would say to that. Raises Refused, StoreUnreachable."""
        return self._ask(lines, only_ask=True)

    def allowed(self, lines: Lines) -> Lines:
        """Those it lets us count: the others are left to whoever may."""
        take = None if self.standing is None else self.standing.rights.take
        return [line for line in lines if may(take, line[0])]

    def _ask(self, lines: Lines, *, only_ask: bool) -> Answer:
        answer = self._say(lines, only_ask=only_ask)
        if isinstance(answer, Refusal) and answer.name == "not-allowed" and self.standing is None:
            self.standing = told_in(answer)
            # Who may count nothing of what is here has nothing to move.
            if self.allowed(lines):
                answer = self._say(lines, only_ask=only_ask)
        if isinstance(answer, Refusal):
            raise as_error(answer, self.new.url)
        if answer.adopted is None:
            raise too_old(self.new)
        return answer

    def _say(self, lines: Lines, *, only_ask: bool) -> Answer | Refusal:
        message: dict[str, Any] = {
            "protocol": PROTOCOL,
            "contact": {
                "lineage": "", "generation": 0, "node": self.node, "hint": self.hint,
                "token": token_out(NO_TOKEN), "proposal": token_out(self.proposal), "heads": [],
                "cursor": {"position": 0, "hash": known.NO_CURSOR_HASH},
            },
            "push": [],
            "grant": [],
            "adopt": adopt_part(
                self.lineage, self.allowed(lines), conflicts=self.conflicts, only_ask=only_ask
            ),
        }  # fmt: skip
        return ask(self.new, message, ANSWER_SECONDS)[1]


def _proposal(transaction: Transaction, url: str, node: str) -> Any:
    kept = json.loads(transaction.journal.value(_PROPOSAL) or "{}")
    if (kept.get("url"), kept.get("node")) != (url, node):
        kept = {"url": url, "node": node, "value": transaction.journal.ids.token()}
        transaction.set_value(_PROPOSAL, json.dumps(kept))
    return propose(NO_TOKEN, kept["value"])


def too_old(store: Store) -> Refused:
    """What is said of a store that does not know the parts of a move."""
    return Refused(
        "the store does not know how to move",
        why=f"{store.url} is kept by an older release of cxlocal",
        hint="bring it to this release, then: cxlocal store adopt URL",
        name="store-too-old",
    )


def _change_over(journal: Journal, url: str, answer: Answer, proposal: Any) -> int:
    """Let the journal belong to the new store; how many events it is to be sent."""
    with journal.write() as transaction:
        connection = transaction.connection
        holdings.settle_open(transaction)
        # A process that took numbers meanwhile may have been granted a reserve.
        holdings.give_up_reserves(transaction, f"this machine moved from its store to {url}")
        for table in ("ack", "grant_entry", "reserve", "asked", "carried", "relayed", "breaker"):
            connection.execute(f"DELETE FROM {table}")  # sql: a name of ours
        state = known.StoreState(url, answer.lineage, answer.generation)
        known.save_store_state(connection, state)
        for row in connection.execute("SELECT node FROM contact").fetchall():
            known.save_contact(connection, known.fresh_contact(row[0]))
        sent = known.fresh_contact(journal.node)._replace(proposal=proposal)
        accepted = known.accepted_contact(sent, sent, file_hint(journal.path))
        known.save_contact(connection, accepted)
        transaction.set_value(_PROPOSAL, "")
        standing.forget_standing(transaction)
        standing.note_standing(transaction, answer.standing)
        at = utc_text(journal.clock.now_ms())
        if answer.standing is None or answer.standing.rights.push is None:
            _bring(connection, connection.execute(_FOREIGN).fetchall(), answer.lineage, at)
        return int(connection.execute("SELECT count(*) FROM event").fetchone()[0])


_FOREIGN = """
SELECT DISTINCT l.name, e.branch FROM event e JOIN node_lookup l ON l.id = e.node
WHERE e.branch > 0 OR l.name NOT IN (SELECT node FROM contact)
"""


def _bring(connection: Any, chains: Iterable[tuple[str, int]], lineage: str, at: str) -> None:
    for node, branch in chains:
        carrying.note_relayed(connection, node, branch, lineage, at)
