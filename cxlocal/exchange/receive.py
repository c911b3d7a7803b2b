"""Taking in what a store tells: other machines' events, and grant logs.

Nothing is believed that does not check: every event's hash, its place in its chain, every grant's
hash, and the running hash over all of it up to the cursor.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256

from cxlocal.events.document import Event, hash_of
from cxlocal.events.hybrid import merge_value, wall_ms
from cxlocal.events.types import RUN_TURNASKED
from cxlocal.events.validity import parsed
from cxlocal.exchange.answers import Item
from cxlocal.exchange.chain import GAP, HELD, NEW_BRANCH, Known, place
from cxlocal.exchange.followed import look_again
from cxlocal.exchange.messages import BadMessage
from cxlocal.exchange.rewritten import CHANGED
from cxlocal.exchange.state import (
    Ack,
    StoreState,
    branch_at,
    continues_deliverable,
    is_ours,
    save_ack,
)
from cxlocal.journal.file import Journal, Transaction
from cxlocal.journal.schema import BESIDE, NAME_DIGITS, PARTIAL
from cxlocal.numbers import holdings
from cxlocal.numbers.log import Entry, entry_hash
from cxlocal.projection.project import project, untruth
from cxlocal.projection.truth import is_plainly_true
from cxlocal.text import parse_utc
from cxlocal.values import NamedTuple

_HERE = """
SELECT e.sequence, e.hash, e.branch, t.name FROM json_each(?) asked
CROSS JOIN event e ON e.node = (SELECT id FROM node_lookup WHERE name = ?) AND e.sequence = asked.value
JOIN type_lookup t ON t.id = e.type
"""


class Taken(NamedTuple):
    """What pulled items came to."""

    state: StoreState
    """With its new cursor."""
    new: int
    """Events this journal did not have."""
    ours: bool
    """Some of them go on with our own chain, after all that we recorded."""
    lacking: bool
    """The store left an event out that it believes we brought, and we do not have it: a copy of
    this journal brought it under the same id. The cursor stands before it; ask for whole items."""


def take_items(transaction: Transaction, items: Sequence[Item], state: StoreState) -> Taken:
    """Store pulled items, in order.

    Raises BadMessage when something does not check; the transaction must then be rolled back.
    """
    position, running, new, lacking = state.position, bytes.fromhex(state.hash), 0, False
    ours, own = False, transaction.journal.node
    here = _brought(transaction, items)
    for item in items:
        if item.position != position + 1:
            raise BadMessage("the answer leaves something out", why=f"after position {position}")
        kind = _held(transaction, item, state.generation, own, here)
        if kind is None:
            lacking = True
            break
        if _take_item(transaction, item, state):
            new += 1
            ours |= _goes_on_with_ours(transaction.journal, item)
        if kind == RUN_TURNASKED:
            _note_turn(transaction, item)
        position, running = item.position, sha256(running + bytes.fromhex(item.hash)).digest()
    return Taken(state._replace(position=position, hash=running.hex()), new, ours, lacking)


def _goes_on_with_ours(journal: Journal, item: Item) -> bool:
    """Whether what was taken stands in our own first history. A copy of ours, too, may have said something
    beside what we recorded: that is another branch, and we stay who we are."""
    event = item.event
    if event is None or event.node != journal.node:
        return False
    return branch_at(journal.connection, event.node, event.sequence, event.hash.hex()) == 0


Here = dict[tuple[str, int, str], tuple[int, str]]
"""By node, sequence and hash: branch and type of events that are here."""


def _brought(transaction: Transaction, items: Sequence[Item]) -> Here:
    """Those that the store believes we brought, as far as we have them."""
    asked: dict[str, set[int]] = {}
    for item in items:
        if item.brought is not None:
            asked.setdefault(item.brought[0], set()).add(item.brought[1])
    return {
        (node, sequence, value.hex()): (branch, kind)
        for node, sequences in asked.items()
        for sequence, value, branch, kind in transaction.connection.execute(
            _HERE, (json.dumps(sorted(sequences)), node)
        )
    }


def _held(
    transaction: Transaction, item: Item, generation: int, own: str, here: Here
) -> str | None:
    """The type of an item's event, empty where it has none or the event stands beside the first history;
    None for an event that the store believes we brought and we do not have. Of one we have it is noted that
    the store has it."""
    if item.brought is None:
        return "" if item.event is None else item.event.type
    node, sequence = item.brought
    found = here.get((node, sequence, item.hash))
    if found is None:
        return None
    branch, kind = found
    # Of our own first history the answers to our pushes say how far the store has it.
    if branch > 0 or not (node == own or is_ours(transaction.connection, node)):
        save_ack(transaction.connection, node, branch, Ack(sequence, item.hash), generation)
    return "" if branch else kind


def _note_turn(transaction: Transaction, item: Item) -> None:
    """Remember where a word about a turn stands in the store's order."""
    place = item.brought if item.event is None else (item.event.node, item.event.sequence)
    assert place is not None
    transaction.connection.execute(
        "INSERT OR REPLACE INTO turn_position (node, sequence, position) VALUES (?, ?, ?)",
        (*place, item.position),
    )


def _take_item(transaction: Transaction, item: Item, state: StoreState) -> bool:
    """Store what an item holds; whether it was an event this journal did not have."""
    if item.grant is not None:
        take_grant(transaction, *item.grant, state.lineage)
    return item.event is not None and take_event(
        transaction, item.event, state.generation, rank=item.event.branch
    )


def take_event(
    transaction: Transaction, event: Event, generation: int | None, *, rank: int | None = None
) -> bool:
    """Store one event of another chain; False where it is here already. Raises BadMessage.

    ``generation`` is that of the store it came from, which therefore has it; None where it came
    from elsewhere. ``rank``: how many others that store had at its place before it, where it says so.
    """
    from cxlocal.journal.append import insert_event

    if hash_of(event) != event.hash:
        raise BadMessage("an event was changed on the way", why="its hash does not match")
    journal = transaction.journal
    known = _known(journal, event)
    branch = place(event, known)
    if branch == GAP:
        if not _follows_in_part(journal, event):
            raise BadMessage(
                "the answer leaves something out", why=f"before event {event.sequence}"
            )
        transaction.set_value(PARTIAL + event.node, "1")
        branch = NEW_BRANCH if event.sequence in known else 0
    if branch == HELD:
        branch = next(each for each, value in known[event.sequence] if value == event.hash)
        fresh = False
    else:
        if branch == NEW_BRANCH:
            branch = _next_branch(journal, event.node)
            if rank is not None:
                # A store whose history was changed says nothing true about which was first.
                rank = max(rank, 1) if journal.value(CHANGED + event.node) else rank
                transaction.set_value(BESIDE + event.hash.hex()[:NAME_DIGITS], str(rank))
        now_ms = journal.clock.now_ms()
        stored = event._replace(branch=branch, received_at_ms=now_ms)
        insert_event(journal, stored, _said_at(event))
        _follow_clock(transaction, event, now_ms)
        if event.sequence + 1 in known:
            look_again(transaction)  # it fills a gap: the chain may be whole now
        fresh = True
    # Of our own first history the answers to our pushes say how far the store has it.
    if generation is not None and (branch > 0 or not is_ours(transaction.connection, event.node)):
        ack = Ack(event.sequence, event.hash.hex())
        save_ack(transaction.connection, event.node, branch, ack, generation)
    return fresh


def refuse_untrue(event: Event) -> None:
    """Whoever is handed an event by somebody, a store or a journal that imports a bundle, takes none
    that says what cannot be so. What a store tells is kept: nothing may stop hearing of the rest, and
    it states nothing. Raises BadMessage."""
    if is_plainly_true(event):
        return
    wrong = untruth(event, project(event, parsed(event)))
    if wrong:
        raise BadMessage(
            f"event {event.sequence} of machine {event.node[:8]} is not taken",
            why=wrong, name="untrue-event",
        )  # fmt: skip


def _follows_in_part(journal: Journal, event: Event) -> bool:
    """Whether ``event`` may follow a gap: a store that lets us read some deliverables only leaves
    out what other machines did for the rest. What it lets us read continues without a gap within
    its deliverable; the chain as a whole is known to be partial from then on."""
    connection = journal.connection
    return not is_ours(connection, event.node) and continues_deliverable(connection, event)


def take_grant(
    transaction: Transaction, deliverable: str, line: str, entry: Entry, lineage: str
) -> None:
    """Copy one entry of a grant log. One granted to us that we know nothing of is marked open.
    Raises BadMessage."""
    if entry_hash(lineage, deliverable, line, entry) != entry.hash:
        raise BadMessage("a grant was changed on the way", why="its hash does not match")
    connection = transaction.connection
    ours = entry.kind != "raise" and entry.node == transaction.journal.node
    holdings.keep_entry(
        connection, deliverable, line, entry,
        open_=ours and not _accounted(transaction, deliverable, line, entry),
    )  # fmt: skip


def _accounted(transaction: Transaction, deliverable: str, line: str, entry: Entry) -> bool:
    row = transaction.connection.execute(
        "SELECT 1 FROM spent WHERE deliverable = :d AND line = :l AND number BETWEEN :lo AND :hi"
        " UNION ALL SELECT 1 FROM reserve WHERE deliverable = :d AND line = :l AND lo = :lo"
        " UNION ALL SELECT 1 FROM given_up WHERE deliverable = :d AND line = :l"
        " AND lo <= :hi AND hi >= :lo LIMIT 1",
        {"d": deliverable, "l": line, "lo": entry.lo, "hi": entry.hi},
    ).fetchone()
    return row is not None


def _known(journal: Journal, event: Event) -> Known:
    known: Known = {}
    rows = journal.connection.execute(
        "SELECT e.sequence, e.branch, e.hash FROM event e JOIN node_lookup n ON n.id = e.node"
        " WHERE n.name = ? AND e.sequence BETWEEN ? AND ?",
        (event.node, event.sequence - 1, event.sequence + 1),
    )
    for sequence, branch, value in rows.fetchall():
        known.setdefault(sequence, []).append((branch, value))
    return known


def _next_branch(journal: Journal, node: str) -> int:
    row = journal.connection.execute(
        "SELECT max(branch) FROM event WHERE branch <> 0"
        " AND node = (SELECT id FROM node_lookup WHERE name = ?)",
        (node,),
    ).fetchone()
    return int(row[0] or 0) + 1


def _said_at(event: Event) -> int:
    try:
        return parse_utc(event.parsed()["context"]["timestamp"])
    except (KeyError, TypeError, ValueError):
        return wall_ms(event.clock)  # an event of a later form: close enough for a list of events


def _follow_clock(transaction: Transaction, event: Event, now_ms: int) -> None:
    last = int(transaction.journal.value("clock") or 0)
    merged = merge_value(last, event.clock, now_ms)
    if merged != last:
        transaction.set_value("clock", str(merged))
