"""What a store answered, taken into the journal: acknowledgements, grants, what others recorded."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cxlocal.errors import CxError
from cxlocal.exchange import carried as carrying
from cxlocal.exchange import followed as following
from cxlocal.exchange import standing
from cxlocal.exchange import state as known
from cxlocal.exchange.answers import Answer, Refusal, Stop
from cxlocal.exchange.breaker import SINK
from cxlocal.exchange.copies import continue_beside
from cxlocal.exchange.messages import (
    STORE_MOVED,
    BadMessage,
)  # fmt: skip  # fmt: skip
from cxlocal.exchange.receive import Taken, take_items
from cxlocal.exchange.rewritten import notice
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.journal.file import Transaction
from cxlocal.journal.whereabouts import file_hint, same_place
from cxlocal.journal.witness import note_head, was_put_back
from cxlocal.numbers import holdings
from cxlocal.numbers.log import ONLINE, RESERVE, Entry, entry_hash
from cxlocal.text import utc_text
from cxlocal.values import NamedTuple


class Reply(NamedTuple):
    """An answer, and what it answers."""

    answer: Answer
    sent: known.ContactRow
    wishes: tuple[Wish, ...]
    url: str
    position: int
    """The cursor that was sent."""
    follows: list[str] | None = None
    """The deliverables whose history was asked for; None for every one."""
    followed: standing.LeftOut | None = None
    """What was left out before, and was sent now."""


class Applied(NamedTuple):
    """What an answer changed here."""

    pulled: int = 0
    pushed: int = 0
    more: bool = False
    """There is more to pull."""
    lacking: bool = False
    """Whole items are to be asked for (``receive.Taken``)."""
    granted: Mapping[str, Entry] = MappingProxyType({})
    """By nonce."""
    refused: Mapping[str, Refusal] = MappingProxyType({})
    stopped: tuple[Stop, ...] = ()
    """Why the store hands out no numbers."""
    rewritten: tuple[str, ...] = ()
    """What is another one than was acknowledged, in sentences."""


def apply(transaction: Transaction, reply: Reply) -> Applied:
    """Let an answer take effect here. Raises StoreUnreachable where it does not check; the
    transaction must then be left by that exception."""
    try:
        return _apply(transaction, reply)
    except BadMessage as error:
        raise unreadable_answer(reply.url, error) from error


def _apply(transaction: Transaction, reply: Reply) -> Applied:
    journal, connection, answer = transaction.journal, transaction.connection, reply.answer
    state = meet_store(transaction, answer.lineage, answer.generation, reply.url)
    row = known.contact_row(connection, reply.sent.node)
    # A store that was copied along with the journal cannot vouch for it: the other pair may be
    # spending the same reserve.
    copied = any(stop.cause == STORE_MOVED for stop in answer.stopped)
    if row is not None:
        known.save_contact(
            connection,
            known.accepted_contact(
                row, reply.sent, row.hint if copied else file_hint(journal.path)
            ),
        )
    if not copied:
        if row is not None and not same_place(row.hint, file_hint(journal.path)):
            why = "the journal lies elsewhere; what it was copied from may hold the same numbers"
            holdings.give_up_reserves(transaction, why)
        elif was_put_back(journal):
            why = "the journal was put back to an earlier state; what it lost may have used them"
            holdings.give_up_reserves(transaction, why)
        holdings.lock_reserves(connection, False)
        transaction.afterwards.append(lambda: note_head(journal, settled=True))
    # Whatever was tried before: the store this journal belongs to answers.
    connection.execute("DELETE FROM breaker WHERE url NOT LIKE ?", (f"{SINK}%",))
    if standing.may_read_more(standing.standing_of(connection), answer.standing):
        known.forget_cursor(connection)
    standing.note_standing(transaction, answer.standing)
    words = notice(transaction, answer.ack)
    state = known.store_state(connection)
    pushed = _note_acks(transaction, reply, state.generation)
    granted, refused = _note_grants(transaction, reply, state)
    taken, more = _take_pulled(transaction, reply, state)
    more, lacking = more or bool(words), taken.lacking or bool(words)
    return Applied(taken.new, pushed, more, lacking, granted, refused, answer.stopped, words)


def _take_pulled(
    transaction: Transaction, reply: Reply, state: known.StoreState
) -> tuple[Taken, bool]:
    """Store what was pulled; what came of it, and whether there is more to pull."""
    part = reply.answer.pull
    if part.void:
        taken = Taken(state._replace(position=0, hash=known.NO_CURSOR_HASH), 0, False, False)
    elif reply.position > state.position or reply.follows != following.read_with(
        transaction.journal
    ):
        # Our cursor went back meanwhile, or more is wanted: what came does not follow it.
        return Taken(state, 0, False, False), True
    else:
        items = [item for item in part.items if item.position > state.position]
        taken = take_items(transaction, items, state)
        if taken.ours:
            continue_beside(transaction)
    if taken.state != state:
        known.save_store_state(transaction.connection, taken.state)
    if not (part.more or part.void or taken.lacking):
        following.is_level(transaction)
    return taken, part.more or part.void or taken.lacking


def _note_acks(transaction: Transaction, reply: Reply, generation: int) -> int:
    """Store how far the store has our chains, as it says, where it speaks of our history."""
    connection = transaction.connection
    best: dict[tuple[str, int], known.Ack] = {}
    for held in (*reply.answer.push, reply.answer.ack):
        node, ack = held.node, known.Ack(held.sequence, held.hash)
        branch = known.branch_at(connection, node, *ack) if ack.sequence else 0
        if branch is None and not held.gap:
            continue
        if branch is None or not ack.sequence:
            # It has nothing, or another history here: begin where both agree.
            branch, ack = 0, known.Ack(0, "")
        if ack.sequence >= best.get((node, branch), known.Ack(-1)).sequence:
            best[node, branch] = ack
    for (node, branch), ack in best.items():
        if known.ack_of(connection, node, branch) != ack:
            known.save_ack(connection, node, branch, ack, generation)
            if branch:
                continue
            at = utc_text(transaction.journal.clock.now_ms())
            known.save_ack_step(connection, node, ack.sequence, generation, at)
    if reply.followed is not None and reply.answer.push:
        held = reply.answer.push[0]
        standing.note_followed(transaction, reply.followed, held.sequence, gap=held.gap)
    return sum(held.appended for held in reply.answer.push)


def _note_grants(
    transaction: Transaction, reply: Reply, state: known.StoreState
) -> tuple[dict[str, Entry], dict[str, Refusal]]:
    by_nonce = {wish.nonce: wish for wish in reply.wishes}
    granted: dict[str, Entry] = {}
    refused: dict[str, Refusal] = {}
    for nonce, deliverable, line, entry, refusal in reply.answer.grant:
        wish = by_nonce.get(nonce)
        if wish is None:
            raise BadMessage("the answer grants what nobody asked for")
        if refusal is not None:
            refused[nonce] = refusal
        if entry is None:
            continue
        if (deliverable, line, entry.kind) != (wish.deliverable, wish.line, wish.kind):
            raise BadMessage("the answer grants what nobody asked for")
        ours = entry.node == reply.sent.node
        # A store that files carry answers with the reserve that an earlier wish of ours asked for.
        if wish.kind == ONLINE:
            ours = ours and (entry.run, entry.nonce) == (wish.run, nonce)
        if not ours:
            raise BadMessage(
                "the answer grants what nobody asked for", why="another run or machine"
            )
        wanted = 1 if wish.kind == ONLINE else wish.size
        if entry.nonce == nonce and entry.hi - entry.lo >= wanted:
            raise BadMessage("the answer grants more than was asked for")
        if entry.generation != state.generation:
            raise BadMessage("the answer grants numbers of another life of the store")
        if entry_hash(state.lineage, deliverable, line, entry) != entry.hash:
            raise BadMessage("a grant was changed on the way", why="its hash does not match")
        granted[nonce] = entry
        if entry.kind == RESERVE and reply.sent.node == transaction.journal.node:
            holdings.keep_entry(transaction.connection, deliverable, line, entry, open_=False)
            holdings.install_reserve(transaction, deliverable, line, entry, state.lineage)
    return granted, refused


class Wish(NamedTuple):
    """Numbers asked for in a contact."""

    kind: str
    """``online`` or ``reserve``."""
    deliverable: str
    line: str
    nonce: str
    """Drawn by the asking process and held in its memory only."""
    run: str = ""
    above: int = -1
    first: int = 0
    tagged: int = -1
    size: int = 1
    ahead: int = 1
    held: tuple[int, int] | None = None


def unreadable_answer(url: str, error: CxError) -> StoreUnreachable:
    """An answer that says nothing we can use counts as none."""
    return StoreUnreachable(
        "the store's answer cannot be used",
        why=f"{error.what}: {error.why}" if error.why else error.what,
        hint="see 'cxlocal doctor'; releases go on from the reserve",
        url=url,
    )


def meet_store(
    transaction: Transaction, lineage: str, generation: int, url: str
) -> known.StoreState:
    """Take note of the store's lineage and generation. A new generation voids what an older one
    granted for new spending, and what it had acknowledged. Raises BadMessage for another store."""
    connection = transaction.connection
    state = known.store_state(connection)
    if state.lineage not in ("", lineage):
        raise BadMessage("another store answered", why=f"{lineage[:8]}…")
    if generation > state.generation > 0:
        # Its logs and its feed may continue differently from where we had them: begin anew.
        connection.execute("DELETE FROM ack")
        holdings.settle_open(transaction)
        connection.execute("DELETE FROM grant_entry")
        connection.execute("DELETE FROM turn_position")
        state = state._replace(position=0, hash=known.NO_CURSOR_HASH)
        why = "the store was recovered; numbers it granted before may be in use elsewhere"
        holdings.give_up_reserves(transaction, why, generation)
        carrying.offer_all(connection, lineage)
    met = state._replace(url=url, lineage=lineage, generation=max(state.generation, generation))
    if met != state:
        known.save_store_state(connection, met)
        connection.execute("DELETE FROM local_value WHERE name = ?", (known.LOST_MEMORY,))
    return met
