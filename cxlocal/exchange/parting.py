"""Some deliverables of a journal go on in the journal of another store; the rest stays where it is.

Their events are taken along as a member would get them that may read these deliverables alone: each
follows the one before it within its deliverable, and of the chains they stand in the journal that takes
them holds a part. What machines said of no deliverable stays, but for their beginning: it may speak of
what does not go along. The journal that takes them has an id of its own, under which it goes on.

Order, and what a cut costs: the old store stops counting them (their reserve is given up), the new one
counts above that, then the events are taken along in one transaction, and the journal they leave says so.
Between any two of these the same command goes on; until the last step nothing can be counted twice, as
the old store counts them no more and the new one has their history before anybody is let to it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator

from cxlocal.errors import Refused
from cxlocal.events.document import Event
from cxlocal.events.types import NODE_BEGAN
from cxlocal.exchange import carried as carrying
from cxlocal.exchange.adoption import (
    Lines,
    Moved,
    adopt_part,
    leave,
    level,
    too_old,
    used_lines,
)
from cxlocal.exchange.answers import Answer
from cxlocal.exchange.contact import talk
from cxlocal.exchange.followed import chosen, include
from cxlocal.exchange.receive import take_event
from cxlocal.exchange.standing import standing_of
from cxlocal.exchange.state import store_state
from cxlocal.exchange.store import Store
from cxlocal.exchange.sync import take_in
from cxlocal.journal.file import Journal, Transaction
from cxlocal.journal.read import PAGE_EVENTS, SELECT, event_of
from cxlocal.journal.rebuild import catch_up
from cxlocal.journal.schema import AWAY, BESIDE, NAME_DIGITS
from cxlocal.numbers import holdings
from cxlocal.text import quoted, utc_text
from cxlocal.values import NamedTuple

_OPEN = """
SELECT process.run, run.deliverable, run.version FROM process JOIN run ON run.id = process.run
WHERE run.deliverable IN (SELECT value FROM json_each(?)) LIMIT 1
"""
_TAKEN = (
    SELECT
    + """
WHERE event.id > :after AND (event.deliverable IN (SELECT id FROM deliverable_lookup
    WHERE name IN (SELECT value FROM json_each(:names)))
  OR (t.name = :began AND event.node IN (SELECT node FROM event WHERE deliverable IN
    (SELECT id FROM deliverable_lookup WHERE name IN (SELECT value FROM json_each(:names))))))
ORDER BY event.id LIMIT :limit
"""
)
_CHAINS = """
SELECT DISTINCT l.name, e.branch FROM event e JOIN node_lookup l ON l.id = e.node
WHERE e.deliverable IN (SELECT id FROM deliverable_lookup
    WHERE name IN (SELECT value FROM json_each(?)))
  AND (e.branch > 0 OR l.name NOT IN (SELECT node FROM contact))
"""


class Journals(NamedTuple):
    """The journal that is left, and the one of the new store."""

    source: Journal
    target: Journal


def part(
    journals: Journals, old: Store, new: Store, names: Collection[str], *, others: bool = False,
    conflicts: bool = False,
) -> Moved:  # fmt: skip
    """Take the deliverables ``names`` from a journal of ``old`` to the journal of ``new``. ``others`` and
    ``conflicts`` as in ``adoption.move``.

    Raises StoreUnreachable and Refused; nothing was taken along then.
    """
    source, target = journals
    lineage = store_state(source.connection).lineage
    _refuse_open(source, names)
    _refuse_unfollowed(source, names)
    lines: Lines = []
    if lineage:
        request = _Request(target, new, lineage, conflicts)
        take_in(target, talk(target, new, push=False), settle=False)
        if store_state(target.connection).lineage == lineage:
            raise _same_store(source, new)
        request.ask(used_lines(source, names))
        lines = leave(source, old, new.url, request.ask, others=others, names=names)
        with source.write() as transaction:
            # A process that took numbers meanwhile may have been granted a reserve.
            holdings.settle_open(transaction)
            why = f"this machine moved from its store to {new.url}"
            holdings.give_up_reserves(transaction, why, names=names)
        level(source, old)
        request.adopt(lines)
    events = _take_along(journals, names, new.url)
    for name in names:
        include(target, name)
    catch_up(target)
    return Moved(len(lines), events)


class _Request:
    """Speaks to the new store as the journal that belongs to it."""

    def __init__(self, target: Journal, new: Store, lineage: str, conflicts: bool) -> None:
        self.target = target
        self.new = new
        self.lineage = lineage
        self.conflicts = conflicts

    def ask(self, lines: Lines) -> Answer:
        """What it would say to counting above ``lines``. Raises Refused, StoreUnreachable."""
        return self._say(lines, only_ask=True)

    def adopt(self, lines: Lines) -> Answer:
        """Let it count above ``lines``. Raises Refused, StoreUnreachable."""
        return self._say(lines, only_ask=False)

    def _say(self, lines: Lines, *, only_ask: bool) -> Answer:
        told = adopt_part(self.lineage, lines, conflicts=self.conflicts, only_ask=only_ask)
        reply = talk(self.target, self.new, push=False, parts={"adopt": told})
        take_in(self.target, reply, settle=False)
        if reply.answer.adopted is None:
            raise too_old(self.new)
        return reply.answer


def _refuse_open(source: Journal, names: Collection[str]) -> None:
    row = source.one(_OPEN, (_names(names),))
    if row is None:
        return
    run, name = row["run"], row["version"] or row["run"][:8]
    raise Refused(
        f"run {name} of {row['deliverable']} is open on this machine",
        why="what it records from now on would not come along",
        hint=f"wait for it, or end it: CXLOCAL_RUN={run} cxlocal run finish; what was cut off:"
        " cxlocal env reap",
        name="open-run",
    )


def _refuse_unfollowed(source: Journal, names: Collection[str]) -> None:
    follows = chosen(source)
    lacking = [] if follows is None else sorted(set(names) - follows)
    if lacking:
        raise Refused(
            f"this machine does not hold the history of {', '.join(lacking)}",
            why="the new store gets what is here, and the rest would be left behind",
            hint=f"cxlocal store follow {' '.join(map(quoted, lacking))}; cxlocal sync; then again",
            name="followed-in-part",
        )


def _same_store(source: Journal, new: Store) -> Refused:
    known = store_state(source.connection).url
    return Refused(
        f"the store at {new.url} is the one at {known}, by another address",
        why="the journal here belongs to it already",
        hint=f"cxlocal store moved {quoted(new.url)}",
        name="same-store",
        known=known,
    )


def _take_along(journals: Journals, names: Collection[str], url: str) -> int:
    """Take events and wishes along; how many events. The journal they leave is held meanwhile,
    so that nothing is added to what was taken."""
    source, target = journals
    at = utc_text(source.clock.now_ms())
    with source.write() as leaving:
        with target.write() as coming:
            events = _take_events(coming, source, names)
            for wish in holdings.wishes(source.connection):
                if wish[0] in names:
                    holdings.remember_wish(coming.connection, *wish)
            _bring(coming, names, at)
        leaving.connection.execute(
            "DELETE FROM reserve_wish WHERE deliverable IN (SELECT value FROM json_each(?))",
            (_names(names),),
        )
        for name in names:
            leaving.set_value(AWAY + name, url)
    return events


def _take_events(coming: Transaction, source: Journal, names: Collection[str]) -> int:
    count = 0
    for event in _events(source, names):
        told = source.value(BESIDE + event.hash.hex()[:NAME_DIGITS]) if event.branch else None
        count += take_event(
            coming, event._replace(branch=0), None, rank=None if told is None else int(told)
        )
    return count


def _events(source: Journal, names: Collection[str]) -> Iterator[Event]:
    """In the order in which they arrived."""
    wanted = {"after": 0, "names": _names(names), "began": NODE_BEGAN, "limit": PAGE_EVENTS}
    while rows := source.connection.execute(_TAKEN, wanted).fetchall():
        yield from map(event_of, rows)
        wanted["after"] = rows[-1][0]


def _bring(coming: Transaction, names: Collection[str], at: str) -> None:
    """Bring what was taken along to the new store, as far as it lets us."""
    connection = coming.connection
    standing = standing_of(connection)
    push = None if standing is None else standing.rights.push
    if push is not None and not push.issuperset(names):
        return
    lineage = store_state(connection).lineage
    for node, branch in connection.execute(_CHAINS, (_names(names),)).fetchall():
        carrying.note_relayed(connection, node, branch, lineage, at)


def _names(names: Collection[str]) -> str:
    return json.dumps(sorted(names))
